# SPDX-License-Identifier: Apache-2.0
"""One subject a program: each checks itself (tests/e2e/*.c) and runs natively and on every backend."""
import os

import pytest
import stack

PROGRAMS = ["init_and_devices", "error_texts", "proc_address", "contexts", "memory", "pinned_memory",
            "host_register", "copies", "copies_2d_3d", "fills", "stream_order", "per_thread_stream",
            "events_and_streams", "host_functions", "modules", "linking", "module_enumeration", "launches",
            "old_launch", "function_attributes", "kernel_results", "nvcc_kernels", "machine_code", "threads",
            "fork_and_exec", "stale_handles", "capture", "graphs", "virtual_memory", "pools_and_managed",
            "framework_startup", "nvml", "graph_edges", "stream_memory_words", "stream_attributes", "stream_errors",
            "copy_batches", "pointer_attributes", "pools", "ipc_memory", "ipc_events", "shareable_handles",
            "arrays_and_copies", "surfaces", "textures", "conditional_graphs", "context_events", "zero_arguments", "after_exit"]
FAULTS = ["illegal", "freed", "misaligned", "trap", "assert", "read_only", "no_access"]


def check(result):
    if result.status == 77:
        pytest.skip(result.out.partition("SKIP ")[2].strip())
    assert result.status == 0, result.told()


@pytest.mark.parametrize("program", PROGRAMS)
def test_program(backend, program):
    if program in ("host_register", "capture") and "VGPU_SANITIZE" in os.environ:
        pytest.skip("registering heap memory moves whole pages to addresses that AddressSanitizer takes in the executor too")
    check(stack.run_program(backend, program))


@pytest.mark.parametrize("kind", FAULTS)
def test_fault_is_told_and_stays(backend, kind):
    check(stack.run_program(backend, "fault", kind))


def check_assertion(result):
    """The driver's words, once, on stderr and not on stdout."""
    check(result)
    line = "faults.cu:1: do_assert: block: [0,0,0], thread: [0,0,0] Assertion `holds` failed."
    assert result.err.splitlines().count(line) == 1 and line not in result.out, result.told()


def test_assertion_is_told(backend):
    check_assertion(stack.run_program(backend, "fault", "assert"))


def check_prints(result):
    """What kernels print comes between the lines of the program that surround the wait."""
    check(result)
    lines = [line for line in result.out.splitlines() if line.startswith(("before", "kernel", "after"))]
    want = []
    for step, name in enumerate(["context", "stream", "event", "copy", "module"]):
        want += [f"before {name}", f"kernel {step} thread 0", f"after {name}"]
    want += ["before many", *(f"kernel {i} thread 0" for i in range(2000)), "after many"]
    assert lines == want, result.told()


def test_kernels_print(backend):
    check_prints(stack.run_program(backend, "prints"))


@pytest.mark.parametrize("level", ["off", "debug", "trace"])
def test_results_in_the_log(backend, level):
    result = stack.run_program(backend, "result_log", env={"VGPU_LOG": level})
    check(result)
    if backend == "native":
        return
    lines = [line.partition("]: ")[2] for line in result.err.splitlines() if line.startswith("libcuda[")]
    assert lines.count("cuMemAlloc_v2: 1 CUDA_ERROR_INVALID_VALUE") == {"off": 0, "debug": 1, "trace": 3}[level], result.told()
    assert lines.count("cuEventRecord_ptsz: 400 CUDA_ERROR_INVALID_HANDLE") == (level != "off"), result.told()
    assert lines.count("cuDeviceGetCount: 0 CUDA_SUCCESS") == (level == "trace"), result.told()


def test_memory_quota(backend):
    if backend == "native":
        pytest.skip("native: no quota")
    check(stack.run_program(backend, "memory_quota", "256", options=["--memory", "256M"]))


def test_memory_quota_of_every_way(backend):
    if backend == "native":
        pytest.skip("native: no quota")
    check(stack.run_program(backend, "quota_ways", options=["--memory", "256M"]))


def test_shared_memory_is_counted_once(backend):
    if backend == "native":
        pytest.skip("native: no quota")
    check(stack.run_program(backend, "ipc_quota", options=["--memory", "256M"]))


def test_demo_workload(backend):
    options = ["--unchecked"] if backend == "null" else []
    command = [stack.WORKLOAD, "--seconds", "1", *options]
    if backend != "native":
        command = [stack.VGPU_RUN, "--private", "--backend", backend, "--", *command]
    result = stack.run_command(command, 60, stack.clean_environment(backend))
    assert result.status == 0, result.told()
    if backend == "null":
        assert "completed" in result.out, result.told()
    else:
        assert ", 0 wrong" in result.out and not result.out.startswith("checked 0"), result.told()
