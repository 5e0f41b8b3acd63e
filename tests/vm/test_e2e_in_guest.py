# SPDX-License-Identifier: Apache-2.0
"""The programs of the end-to-end tests inside a guest, all in one boot. The default set is one program a subject on
the cpu backend; --long is all of them, and the null backend."""
import contextlib

import machine
import pytest
from machine import stack

import test_programs as process_mode  # of tests/e2e

SHORT = {"init_and_devices", "memory", "pinned_memory", "copies", "stream_order", "events_and_streams", "host_functions", "modules",
         "kernel_results", "threads", "fork_and_exec", "graphs", "nvml", "capi_basics", "capi_threads cuda"}
CAPI = ["capi_basics", "capi_errors", "capi_threads", "capi_threads cuda"]


@pytest.fixture(scope="module")
def machines(device):
    """One machine for each backend, started when it is needed first."""
    with contextlib.ExitStack() as stack_of:
        running = {}

        def get(backend):
            if backend not in running:
                why = stack.backend_missing(backend)
                if why:
                    pytest.skip(f"{backend}: {why}")
                mediator = stack_of.enter_context(stack.Mediator(backend))
                running[backend] = stack_of.enter_context(machine.Machine(mediator, memory="1G"))
            return running[backend]
        yield get


@pytest.mark.parametrize("program", [*process_mode.PROGRAMS, *CAPI, *(f"fault {kind}" for kind in process_mode.FAULTS)])
@pytest.mark.parametrize("backend", ["cpu", "null"])
def test_program(machines, request, backend, program):
    if not request.config.getoption("--long") and (backend == "null" or program not in SHORT | {"fault illegal"}):
        pytest.skip("only in the long set (--vm-long)")
    m = machines(backend)
    result = m.program(program, timeout=180)
    if result.status == 77:
        pytest.skip(result.out.partition("SKIP ")[2].strip())
    assert result.status == 0, f"{result.told()}{m.said()}"


def test_kernels_print(machines):
    m = machines("cpu")
    result = m.program("prints")
    assert result.status == 0, f"{result.told()}{m.said()}"
    process_mode.check_prints(result)


def test_nothing_is_left(machines):
    m = machines("cpu")
    m.mediator.wait_executors(0, 5)
    complaints = m.guest.run("dmesg | grep -E 'BUG|WARNING|Oops|Call Trace'").out
    assert not complaints, complaints
