# SPDX-License-Identifier: Apache-2.0
"""More programs than the device has memory for, and a mediator that is replaced meanwhile: all of it comes back as it
was, nobody waits for ever, nothing is counted twice."""
import os
import random
import sys
import time

import pytest
import stack
from mortal import Mortal
from test_park import DEVICE, FAST, finish, parkings, wait_for

sys.path.insert(0, str(stack.SOURCE / "tests" / "integration"))
import vgpu  # noqa: E402

SIXTY_PERCENT = str(DEVICE * 6 // 10)
HOWS = ["restart", "kill"]  # one that leaves is in tests/integration


@pytest.fixture
def crowded(backend):
    if backend == "native":
        pytest.skip("native: nothing of vgpu runs")
    with Mortal(backend, (f"gpu.memory={DEVICE}M", *FAST)) as m:
        m.ready(1)
        yield m


def used(mediator):
    """Memory of each tenant that has any, as an operator sees it."""
    with vgpu.Client(mediator.socket) as operator:
        return sorted(row.memory_used for row in operator.status().values() if row.memory_used)


def nothing_is_left(mediator):
    mediator.wait_executors(0, 5)
    wait_for(lambda: not used(mediator), lambda: used(mediator))


@pytest.mark.parametrize("how", HOWS)
def test_parked_while_its_mediator_is_replaced(crowded, how):
    idle = crowded.client("parked", SIXTY_PERCENT, "2", "1500")
    idle.wait_line("ready")
    other = crowded.client("worker", "hold", SIXTY_PERCENT)
    other.wait_line("ready")
    assert parkings(crowded)
    before = used(crowded)
    for _ in range(2):
        crowded.replace(how)
        assert used(crowded) == before and len(before) == 2
    finish(idle)
    assert other.child.poll() is None
    wait_for(lambda: len(used(crowded)) == 1, lambda: used(crowded))


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("pause_ms", [0, 150], ids=["at work", "idle now and then"])
def test_replaced_again_and_again(crowded, how, pause_ms):
    """At any moment of parking, coming back and waiting for room."""
    moments = random.Random(os.environ.get("VGPU_TEST_SEED", "11"))
    clients = [crowded.client("parked", SIXTY_PERCENT, "5", str(pause_ms)) for _ in range(3)]
    until = time.monotonic() + 90 * stack.SLOWER
    while any(client.child.poll() is None for client in clients):
        time.sleep(moments.random() * 0.4)
        crowded.replace(how)
        assert time.monotonic() < until, [client.lines for client in clients]
    for client in clients:
        finish(client)
    assert len(parkings(crowded)) >= 3 or not pause_ms
    nothing_is_left(crowded)


@pytest.mark.parametrize("how", HOWS)
def test_replaced_while_one_parks(crowded, how):
    for delay in (0, 0.005, 0.02, 0.06):
        goes = crowded.client("parked", SIXTY_PERCENT, "2", "400")
        goes.wait_line("ready")
        time.sleep(0.08)
        comes = crowded.client("parked", SIXTY_PERCENT, "1", "0")
        time.sleep(delay)
        crowded.replace(how)
        finish(comes)
        finish(goes)
        nothing_is_left(crowded)


@pytest.mark.parametrize("how", HOWS)
def test_no_room_is_made_out_of_nothing(crowded, how):
    """Nobody can go: an allocation that waits is refused, whoever hears of it."""
    busy = crowded.client("worker", "loop")
    busy.wait_line("ready")
    refused = crowded.client("worker", "hold", str(DEVICE + 1))
    crowded.replace(how)
    assert refused.wait(40) == 3 and "OUT_OF_MEMORY" in refused.lines[-1], refused.lines
    assert busy.child.poll() is None
