# SPDX-License-Identifier: Apache-2.0
"""The cuda backend without a GPU: its host driver is our own libcuda.so.1, over a second mediator with the cpu
backend. So guest library, executor, cuda backend and again guest library lie in one call's way.

The lower library cannot map the upper guest's pinned memory into kernels, so the programs that need that are left
out; they run on the cpu backend directly and on a GPU."""
import os

import pytest
import stack
from test_programs import FAULTS, check, check_assertion, check_prints

pytestmark = pytest.mark.skipif("VGPU_SANITIZE" in os.environ, reason="both layers run under the sanitizers by themselves")

PROGRAMS = ["init_and_devices", "error_texts", "proc_address", "contexts", "memory", "copies", "copies_2d_3d", "fills", "capture",
            "graphs", "modules", "linking", "launches", "function_attributes", "kernel_results", "threads", "fork_and_exec",
            "stale_handles", "graph_edges", "stream_attributes", "arrays_and_copies", "surfaces", "textures", "conditional_graphs"]


@pytest.fixture(scope="module")
def upper():
    why = stack.module_missing("cpu", "cuda")
    if why:
        pytest.skip(why)
    # Two address windows of the same kind in one process (the executor's, and its host library's) need two places.
    with stack.Mediator("cpu") as lower:
        env = {"VGPU_HOST_LIBCUDA": str(stack.LIBCUDA), "VGPU_SOCKET": lower.socket,
               "LD_LIBRARY_PATH": str(stack.LIBCUDA.parent)}
        with stack.Mediator("cuda", ["executor.sandbox=off", "gpu.window_offset=2T"], env) as mediator:
            yield mediator


def run(mediator, name, *args):
    command = [stack.VGPU_RUN, "--socket", mediator.socket, "--", stack.PROGRAMS / name, *args]
    return stack.run_command(command, 90, stack.clean_environment("cpu"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_program(upper, program):
    check(run(upper, program))


@pytest.mark.parametrize("kind", FAULTS)
def test_fault_is_told_and_stays(upper, kind):
    check(run(upper, "fault", kind))


def test_events_of_two_processes(upper):
    check(run(upper, "ipc_events", "plain"))


def test_kernels_print(upper):
    check_prints(run(upper, "prints"))


def test_assertion_is_told(upper):
    check_assertion(run(upper, "fault", "assert"))
