# SPDX-License-Identifier: Apache-2.0
"""More programs than the device has memory for: those that are idle make room, and nothing changes for them."""
import os
import re
import signal
import time

import pytest
import stack

DEVICE = 64  # MiB that the device is said to have
FAST = ("park.idle=50ms", "park.residence=50ms", "park.patience=100ms", "park.wait=20s", "log.level=debug")


@pytest.fixture
def crowded(backend):
    if backend == "native":
        pytest.skip("native: nothing of vgpu runs")
    with stack.Mediator(backend, (f"gpu.memory={DEVICE}M", *FAST)) as running:
        yield running


def said(mediator):
    with open(mediator.log.name, encoding="utf-8", errors="replace") as f:
        return f.read()


def parkings(mediator):
    return [int(n) for n in re.findall(r"channel \d+: (\d+) of \d+ bytes parked", said(mediator)) if int(n)]


def wait_for(condition, what, seconds=20):
    until = time.monotonic() + seconds * stack.SLOWER
    while not condition():
        assert time.monotonic() < until, what()
        time.sleep(0.01)


def finish(client):
    assert client.wait(90) == 0 and client.lines[-1] == "right", client.lines[-20:]


def test_four_of_sixty_percent(crowded):
    """Twice and more of what the device has; each is at work now and then, and finds everything as it left it."""
    clients = [crowded.client("parked", str(DEVICE * 6 // 10), "4", "300") for _ in range(4)]
    for client in clients:
        finish(client)
    assert len(parkings(crowded)) >= 4, crowded.said()
    crowded.wait_executors(0)


def test_at_work_all_the_time(crowded):
    """Nobody is ever idle: they take turns on the device, and none waits for ever."""
    clients = [crowded.client("parked", str(DEVICE * 6 // 10), "8", "0") for _ in range(2)]
    for client in clients:
        finish(client)


def test_alone_nobody_is_parked(crowded):
    client = crowded.client("parked", str(DEVICE * 6 // 10), "3", "200")
    finish(client)
    assert not parkings(crowded)


def test_an_allocation_that_no_room_can_be_made_for_fails_at_once(crowded):
    busy = crowded.client("worker", "hold", str(DEVICE + 1))
    assert busy.wait(20) == 3 and "OUT_OF_MEMORY" in busy.lines[0], busy.lines


def test_the_tenants_number_does_not_change(crowded):
    env = crowded.tenant("--memory", f"{DEVICE * 6 // 10 + 20}M")
    first = crowded.inside(env, "worker", "hold", str(DEVICE * 6 // 10))
    first.wait_line("ready")
    time.sleep(0.1)
    crowded.client("worker", "hold", str(DEVICE * 6 // 10)).wait_line("ready")
    assert parkings(crowded)
    # What is parked is still in its quota.
    refused = crowded.inside(env, "worker", "hold", "40")
    assert refused.wait() == 3 and "OUT_OF_MEMORY" in refused.lines[0], refused.lines


def test_parked_tenant_dies(crowded):
    idle = crowded.client("worker", "hold", str(DEVICE * 6 // 10))
    idle.wait_line("ready")
    first, = crowded.executors()
    time.sleep(0.1)
    other = crowded.client("worker", "hold", str(DEVICE * 6 // 10))
    other.wait_line("ready")
    assert parkings(crowded)
    os.kill(first, signal.SIGKILL)
    crowded.wait_executors(1)
    finish(crowded.client("parked", "32", "2", "10"))


def test_killed_while_it_parks(crowded):
    """At any moment of moving out or in: the others go on, and nothing is left."""
    for delay in (0, 0.01, 0.03, 0.1):
        idle = crowded.client("worker", "hold", str(DEVICE * 6 // 10))
        idle.wait_line("ready")
        first, = crowded.executors()
        time.sleep(0.08)
        other = crowded.client("parked", str(DEVICE * 6 // 10), "1", "0")
        time.sleep(delay)
        os.kill(first, signal.SIGKILL)
        finish(other)
        crowded.wait_executors(0)


def test_without_host_memory_nobody_is_parked(backend):
    if backend == "native":
        pytest.skip("native: nothing of vgpu runs")
    with stack.Mediator(backend, (f"gpu.memory={DEVICE}M", *FAST, "park.host_memory=0")) as mediator:
        first = mediator.client("worker", "hold", str(DEVICE * 6 // 10))
        first.wait_line("ready")
        time.sleep(0.1)
        second = mediator.client("worker", "hold", str(DEVICE * 6 // 10))
        assert second.wait(20) == 3 and "OUT_OF_MEMORY" in second.lines[0], second.lines
        assert not parkings(mediator)
