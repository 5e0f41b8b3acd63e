# SPDX-License-Identifier: Apache-2.0
"""Turns with real clocks and processes: shares, early release, overrun, watchdog. The exact behaviour is tested in
simulation (tests/unit/mediator/test_wfq_*); here it is enough that the parts work together."""
import os
import struct
import time

import vgpu


def crowd(m, operator, weights, order="work 200 0"):
    """One program in each tenant; all asked to work at once."""
    tenants = [operator.tenant(name=b"w%d" % w, weight=w).tenant for w in weights]
    paths = {t: m.directory / f"tenant-{t}.sock" for t in tenants}
    clients = [vgpu.Client(paths[t]) for t in tenants]
    channels = [c.open() for c in clients]
    for ch, o in zip(channels, [order] * len(weights) if isinstance(order, str) else order):
        ch.do(o)
    return tenants, clients, channels


def shares(before, after, tenants):
    used = [after[t].contended_gpu_ns - before[t].contended_gpu_ns for t in tenants]
    return [u / sum(used) for u in used]


def test_shares_follow_weights(mediator):
    with mediator.connect() as operator:
        tenants, *_ = crowd(mediator, operator, (400, 200, 100))
        time.sleep(0.1)
        before = operator.status()
        time.sleep(1.4)
        after = operator.status()
        for share, want in zip(shares(before, after, tenants), (4 / 7, 2 / 7, 1 / 7)):
            assert abs(share - want) < 0.03, share
        for t in tenants:
            assert after[t].in_demand == 1 and after[t].turns > 10
            assert after[t].contended_ns - before[t].contended_ns > 1.3e9


def test_one_alone_is_left_alone(mediator):
    with mediator.connect() as operator:
        tenants, _, _ = crowd(mediator, operator, (100,))
        time.sleep(0.3)
        row = operator.status()[tenants[0]]
        assert row.turns == 0 and row.contended_ns == 0 and row.contended_gpu_ns == 0
        assert row.gpu_ns > 0.2e9 and row.launches > 50


def test_idle_one_takes_nothing(mediator):
    with mediator.connect() as operator:
        tenants, _, _ = crowd(mediator, operator, (100, 100), ["work 300 0", "print idle"])
        time.sleep(0.5)
        rows = operator.status()
        assert rows[tenants[1]].gpu_ns == 0 and rows[tenants[1]].in_demand == 0
        assert rows[tenants[0]].contended_gpu_ns == 0 and rows[tenants[0]].gpu_ns > 0.3e9


def test_pausing_one_gives_way_and_gets_its_turn(mediator):
    with mediator.connect() as operator:
        tenants, _, _ = crowd(mediator, operator, (100, 100), ["work 300 0", "work 1000 20000"])
        time.sleep(0.2)
        before = operator.status()
        time.sleep(1)
        after = operator.status()
        # 1 ms of 21 and what it waits for: at least 30 rounds a second, and nearly all else for the other one.
        assert after[tenants[1]].launches - before[tenants[1]].launches > 20
        assert after[tenants[0]].gpu_ns - before[tenants[0]].gpu_ns > 0.75e9


def test_overrun_does_not_stop_the_others():
    with vgpu.mediator("--set", "turn.overrun=50 ms") as m, m.connect() as operator:
        tenants, _, channels = crowd(m, operator, (100, 100), ["overrun 700000", "print later"])
        time.sleep(0.05)
        channels[1].do("work 200 0")
        time.sleep(0.5)
        rows = operator.status()
        # The other one works since 50 ms after the deadline, beside the overrunner.
        assert rows[tenants[1]].launches > 500
        time.sleep(0.5)
        rows = operator.status()
        assert rows[tenants[0]].channels == 1 and rows[tenants[0]].in_demand == 0


def test_watchdog_kills_a_hung_executor():
    with vgpu.mediator("--set", "turn.overrun=20 ms", "--set", "turn.watchdog=300 ms") as m, m.connect() as operator:
        tenants, clients, channels = crowd(m, operator, (100, 100), ["keep", "print later"])
        time.sleep(0.6)
        assert operator.status()[tenants[0]].channels == 1  # alone it may take as long as it likes
        channels[1].do("work 200 0")
        lost = clients[0].receive(timeout=2)
        assert (lost.kind, lost.code) == (vgpu.CHANNEL_LOST, vgpu.E_WATCHDOG)
        assert "turn.watchdog" in lost.text
        vgpu.wait_for(lambda: operator.status()[tenants[0]].channels == 0)
        launches = operator.status()[tenants[1]].launches
        vgpu.wait_for(lambda: operator.status()[tenants[1]].launches > launches + 100)


def test_holder_that_dies_hands_over_at_once(mediator):
    with mediator.connect() as operator:
        tenants, clients, channels = crowd(mediator, operator, (100, 100), ["keep", "print later"])
        time.sleep(0.05)
        channels[1].do("work 200 0")
        time.sleep(0.03)
        clients[0].close()
        vgpu.wait_for(lambda: operator.status()[tenants[1]].launches > 100, 1)


def test_stuffed_doorbell_stops_nobody(mediator):
    """The guest shares the doorbell with the mediator: it makes it blocking and fills it up."""
    with mediator.connect() as operator:
        tenants, _, channels = crowd(mediator, operator, (100, 100), ["work 200 0", "work 200 0"])
        bell = channels[0].doorbell
        os.set_blocking(bell, True)
        filler = os.fork()
        if filler == 0:
            os.set_blocking(bell, False)
            end = time.monotonic() + 0.8
            while time.monotonic() < end:
                try:
                    os.write(bell, struct.pack("<Q", 0xfffffffffffffffe))
                except BlockingIOError:
                    pass
                os.set_blocking(bell, True)
                os.set_blocking(bell, False)
            os._exit(0)
        launches = 0
        for _ in range(5):
            time.sleep(0.15)
            rows = operator.status()
            assert rows[tenants[1]].launches > launches
            launches = rows[tenants[1]].launches
        os.waitpid(filler, 0)


def test_kick_storm_leaves_time_for_others(mediator):
    with mediator.connect() as operator:
        tenants, _, channels = crowd(mediator, operator, (100, 100), ["kicks", "work 200 0"])
        vgpu.wait_for(lambda: operator.status()[tenants[1]].launches > 500, 10, "the other one's launches")
        assert channels


def test_lies_on_the_turn_page_are_bounded(mediator):
    with mediator.connect() as operator:
        tenants, _, channels = crowd(mediator, operator, (100, 100), ["lie", "work 200 0"])
        begin = time.monotonic_ns()
        vgpu.wait_for(lambda: operator.status()[tenants[1]].launches > 500, 10, "the other one's launches")
        assert operator.status()[tenants[0]].gpu_ns < 2 * (time.monotonic_ns() - begin) + 1e9
        channels[0].do("exit 0")
        vgpu.wait_for(lambda: operator.status()[tenants[0]].channels == 0)
        assert operator.status()[tenants[0]].memory_used == 0
