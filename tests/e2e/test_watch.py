# SPDX-License-Identifier: Apache-2.0
"""What programs see of the watch: of work that hangs though nobody waits for the GPU, and of a quarantine."""
import pytest
import stack


def computing(backend):
    if backend in ("native", "null"):
        pytest.skip(f"{backend}: no endless kernel there")


@pytest.mark.parametrize("kind", ["hang", "hang_polled"])
def test_a_hang_is_a_launch_timeout_and_stays(backend, kind):
    computing(backend)
    with stack.Mediator(backend, ["watch.work=500ms"]) as mediator:
        client = mediator.client("fault", kind)
        assert client.wait(30) == 0, client.lines
        mediator.wait_executors(0)
        after = mediator.client("worker", "turns", "5")
        assert after.wait(30) == 0, after.lines


def test_work_with_progress_may_last_longer_than_the_limit(backend):
    computing(backend)
    with stack.Mediator(backend, ["watch.work=1500ms"]) as mediator:
        client = mediator.client(stack.WORKLOAD, "--seconds", "4")
        assert client.wait(30) == 0, client.lines


def test_limits_of_objects_and_pinned_memory(backend):
    if backend == "native":
        pytest.skip("native: no limits")
    with stack.Mediator(backend, ["limits.streams=40", "limits.events=50", "limits.pinned=24M"]) as mediator:
        client = mediator.client("tenant_limits", "40", "50", "24")
        assert client.wait(30) == 0, client.lines
        killed = mediator.tenant()
        for _ in range(2):  # what a killed program had pinned is back
            holder = mediator.inside(killed, "tenant_limits", "40", "50", "24")
            assert holder.wait(30) == 0, holder.lines


def test_a_memory_storm_brings_quarantine(backend):
    if backend == "native":
        pytest.skip("native: no strikes")
    with stack.Mediator(backend, ["strikes.refusals=200", "strikes.most=1"]) as mediator:
        bad = mediator.client("worker", "storm", "1000000000", options=["--memory", "64M"])
        assert bad.wait(60) == 3, bad.lines
        assert "CUDA_ERROR_DEVICE_UNAVAILABLE" in bad.wait_line("error"), bad.lines
        assert "memory storm" in mediator.said()
        other = mediator.client("worker", "turns", "5")
        assert other.wait(30) == 0, other.lines


def test_quarantine_is_an_unavailable_device(backend):
    computing(backend)
    with stack.Mediator(backend, ["watch.work=300ms", "strikes.most=2"]) as mediator:
        env = mediator.tenant()
        for _ in range(2):
            stuck = mediator.inside(env, "worker", "forever")
            assert stuck.wait(15) == 3, stuck.lines
            assert "CUDA_ERROR_LAUNCH_TIMEOUT" in stuck.wait_line("error"), stuck.lines
        refused = mediator.inside({**env, "VGPU_LOG": "debug"}, "worker", "turns", "1")
        assert refused.wait(15) != 0
        said = "\n".join(refused.lines)
        assert "CUDA_ERROR_DEVICE_UNAVAILABLE" in said and "in quarantine" in said and "hang" in said, said
        other = mediator.client("worker", "turns", "5")
        assert other.wait(15) == 0, other.lines
