# SPDX-License-Identifier: Apache-2.0
"""Limits and shares of real programs, changed while they run over the control socket. Rates and shares are counters
divided by the time between two looks, so a slow machine changes nothing; how exact shares are is tested in simulation
(tests/unit/mediator/test_wfq_*)."""
import pathlib
import sys
import time

import pytest
import stack

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import control  # noqa: E402  (its folder is on the path only now)

LIMITS = ("--set", "profile p.launches_per_s=4000", "--set", "profile p.copy_per_s=400M", "--set", "profile p.queue_depth=2",
          "--set", "profile p.gpu_cap=60", "--set", "tenant.profile=p")


@pytest.fixture
def ctl(mediator):
    with control.Control(f"{mediator.folder}/run/control.sock") as c:
        yield c


def row(ctl, name):
    return next(t for t in ctl.status()[1].values() if t["name"] == name)


def wait_for_work(ctl, *names):
    until = time.monotonic() + 60 * stack.SLOWER
    while not all(any(t["name"] == n and t["launches"] > 20 for t in ctl.status()[1].values()) for n in names):
        assert time.monotonic() < until, f"{names} do not work: {ctl.status()[1]}"
        time.sleep(0.05)


def rates(ctl, name, seconds):
    """What a tenant's counters grew by in a second of the mediator's clock."""
    before, begin = row(ctl, name), time.monotonic()
    time.sleep(seconds)
    after, took = row(ctl, name), time.monotonic() - begin
    return {k: (after[k] - before[k]) / took for k in ("gpu_ns", "launches", "copy_bytes", "capped_ns")}, \
        {k: after["held_ns"][k] - before["held_ns"][k] for k in after["held_ns"]}, took


def work(mediator, name, *options):
    return mediator.client(stack.WORKLOAD, "--unchecked", options=["--name", name, *options])


def test_weights_change_while_programs_run(mediator, ctl):
    for name in ("a", "b"):
        work(mediator, name)
    wait_for_work(ctl, "a", "b")
    # How much of its share a program can use is the machine's business; which one has more is not.
    for weights, least, most in (((100, 100), 0.35, 0.65), ((400, 100), 0.6, 0.9), ((100, 400), 0.1, 0.4)):
        for name, weight in zip("ab", weights):
            ctl.do("tenant.set", tenant=name, weight=weight)
        time.sleep(0.3)
        before = {n: row(ctl, n) for n in "ab"}
        time.sleep(2)
        after = {n: row(ctl, n) for n in "ab"}
        used = {n: after[n]["contended_gpu_ns"] - before[n]["contended_gpu_ns"] for n in "ab"}
        if sum(used.values()) < 0.5e9:
            pytest.skip("the programs hardly wanted the GPU at the same time here")
        assert least <= used["a"] / sum(used.values()) <= most, used


def test_a_cap_of_a_fifth_holds_alone(mediator, ctl):
    work(mediator, "a")
    wait_for_work(ctl, "a")
    ctl.do("tenant.set", tenant="a", gpu_cap=20)
    time.sleep(0.5)
    rate, held, took = rates(ctl, "a", 3)
    # A bucket and what was in flight can be shifted into the time looked at.
    assert rate["gpu_ns"] <= 0.2e9 + 0.1e9 / took, rate
    assert rate["gpu_ns"] >= 0.01e9 and rate["capped_ns"] > 0.05e9 and held["turn"] > 0
    ctl.do("tenant.set", tenant="a", gpu_cap=0)
    rate, _, _ = rates(ctl, "a", 1)
    assert rate["capped_ns"] < 0.1e9 and rate["launches"] > 0


def test_launches_a_second_hold(mediator, ctl):
    client = work(mediator, "a")
    wait_for_work(ctl, "a")
    ctl.do("tenant.set", tenant="a", launches_per_s=100)
    time.sleep(0.3)
    rate, held, took = rates(ctl, "a", 3)
    assert rate["launches"] <= 100 + 110 / took, rate  # a burst, and a graph of a hundred kernels
    assert rate["launches"] > 30 and held["launches_per_s"] > 0.1e9, (rate, held)
    assert row(ctl, "a")["gpu_ns"] > 0 and client.child.poll() is None
    ctl.do("tenant.set", tenant="a", launches_per_s=0)
    rate, held, _ = rates(ctl, "a", 1)
    assert rate["launches"] > 150 or held["launches_per_s"] == 0


def test_launches_of_graphs_count_as_their_kernels(mediator, ctl):
    program = stack.BUILD / "bench" / "vgpu-bench-share-load"
    client = mediator.client(program, "graph", "20", "1", options=["--name", "a"])  # fifty kernels each
    client.wait_line("working")
    ctl.do("tenant.set", tenant="a", launches_per_s=500)
    time.sleep(0.3)
    rate, held, took = rates(ctl, "a", 3)
    assert 50 < rate["launches"] <= 500 + 100 / took, rate
    assert held["launches_per_s"] > 0.1e9, held


def test_copied_bytes_a_second_hold(mediator, ctl):
    mediator.client("worker", "loop", options=["--name", "a"])
    wait_for_work(ctl, "a")
    ctl.do("tenant.set", tenant="a", copy_per_s=40)  # it copies 4 bytes after each 20 launches
    time.sleep(0.3)
    rate, held, took = rates(ctl, "a", 3)
    assert 10 < rate["copy_bytes"] <= 40 + 8 / took, rate
    assert held["copy_per_s"] > 0.1e9


def test_a_shallow_queue_changes_no_result(mediator, ctl):
    client = mediator.client("worker", "loop", options=["--name", "a"])
    wait_for_work(ctl, "a")
    ctl.do("tenant.set", tenant="a", queue_depth=1)
    rate, _, _ = rates(ctl, "a", 1)
    assert rate["launches"] > 0 and client.child.poll() is None, client.lines


@pytest.mark.parametrize("program", ["graphs", "copies", "stream_order", "host_functions", "copy_batches"])
def test_programs_are_right_under_limits(backend, program):
    if backend == "native":
        pytest.skip("native: nothing of vgpu runs")
    free = stack.run_program(backend, program, timeout=120)
    result = stack.run_program(backend, program, timeout=240, options=LIMITS)
    assert result.status == free.status, result.told()
    assert result.failures() == free.failures()


def test_disconnected_programs_get_an_error(mediator, ctl):
    client = mediator.client("worker", "loop", options=["--name", "a"])
    client.wait_line("ready")
    ctl.do("tenant.kill", tenant="a")
    assert client.wait(20) != 0
    client.wait_line("error CUDA_ERROR_")
    mediator.wait_executors(0, 3)
