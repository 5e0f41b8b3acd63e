# SPDX-License-Identifier: Apache-2.0
"""vgpu-guest-check in process mode: the libraries and a small program through a tenant's socket, nothing of a virtual machine."""
import json
import os
import signal

import pytest
import stack

CHECK = stack.BUILD / "guest" / "check" / "vgpu-guest-check"
STEPS = ["test-init", "test-device", "test-memory", "test-copy-in", "test-kernel", "test-copy-out", "test-nvml"]
DEVICE = ["module", "device", "driver", "node", "protocol", "shared-memory", "personality", "loader-cache", "locked-memory"]


@pytest.fixture(scope="module")
def mediator():
    backend = "cuda" if "cuda" in os.environ.get("VGPU_TEST_BACKENDS", "") else "cpu"
    why = stack.backend_missing(backend)
    if why:
        pytest.skip(f"{backend}: {why}")
    with stack.Mediator(backend) as running:
        yield running


def look(environment, *options):
    """The exit status and the report."""
    done = stack.run_command([CHECK, "--json", *options], 120, dict(environment, PATH=f"{stack.NVIDIA_SMI.parent}:{os.environ['PATH']}"))
    assert done.status in (0, 1), done.told()
    report = json.loads(done.out)
    return done.status, report, {c["check"]: c for c in report["checks"]}


def test_a_tenant_is_ready(mediator):
    environment = mediator.tenant()
    status, report, checks = look(environment)
    assert status == 0 and report["ready"], report
    assert report["socket"] == environment["VGPU_SOCKET"] and report["personality"] is None
    assert all(checks[name]["state"] == "ok" for name in [*STEPS, "socket", "libcuda", "libnvidia-ml", "nvidia-smi", "versions"]), checks
    assert all(checks[name]["text"] == "a socket is used" for name in DEVICE), checks


def test_memory_that_the_tenant_may_not_have(mediator):
    status, _, checks = look(mediator.tenant("--memory", "100K"))
    assert status == 1 and checks["test-device"]["state"] == "ok"
    assert checks["test-memory"]["state"] == "failed" and "CUDA_ERROR_OUT_OF_MEMORY" in checks["test-memory"]["text"], checks
    assert checks["test-copy-in"]["text"] == "needs 'test-memory'"


def test_a_socket_that_nobody_listens_on(mediator):
    status, _, checks = look(dict(mediator.tenant(), VGPU_SOCKET=f"{mediator.folder}/none"))
    assert status == 1
    assert checks["socket"]["state"] == "failed" and checks["socket"]["next"]
    assert "no mediator answers" in checks["test-init"]["text"], checks


def test_a_kernel_that_computes_nothing():
    """The null backend accepts everything and runs nothing: the sums are looked at."""
    with stack.Mediator("null") as running:
        status, _, checks = look(running.tenant())
    assert status == 1
    assert checks["test-kernel"]["state"] == "ok" and checks["test-copy-out"]["state"] == "failed"
    assert "sum 0 is" in checks["test-copy-out"]["text"] or "sum 1 is" in checks["test-copy-out"]["text"], checks


def test_no_device_is_visible(mediator):
    _, _, checks = look(dict(mediator.tenant(), CUDA_VISIBLE_DEVICES="-1"))
    assert checks["test-init"]["state"] == "failed" and 'CUDA_VISIBLE_DEVICES is "-1"' in checks["test-init"]["next"], checks


def test_a_mediator_that_hangs(mediator):
    environment = mediator.tenant()
    os.kill(mediator.pid, signal.SIGSTOP)
    try:
        status, _, checks = look(environment, "--time-limit", "2")
    finally:
        os.kill(mediator.pid, signal.SIGCONT)
    assert status == 1 and checks["libcuda"]["state"] == "ok"
    for name in ("socket", "test-init", "test-nvml"):
        assert checks[name]["state"] == "failed", checks
    assert "not done after 2 s" in checks["test-init"]["text"] and checks["test-kernel"]["text"] == "needs 'test-copy-in'"
