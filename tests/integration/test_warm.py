# SPDX-License-Identifier: Apache-2.0
"""Executors that are started ahead: a channel takes one that waits, and never notices one that does not."""
import os
import signal
import time

import pytest
import vgpu

FAST = ("--set", "executor.warm_pause=1 ms")


def warm(count, *args, how="ok", **kw):
    return vgpu.mediator("--set", f"executor.warm={count}", *FAST, *args, env={"VGPU_FAKE_WARM": how}, **kw)


def waiting(m, count):
    """Waits until so many executors were ready ahead in all."""
    vgpu.wait_for(lambda: m.log().count("waits for a tenant") >= count, 10, what="executors started ahead")


def test_channel_takes_the_one_that_has_waited_longest():
    with warm(2) as m:
        waiting(m, 2)
        ahead = m.executors()
        with m.connect() as c:
            c.open()
            vgpu.wait_for(lambda: f"executor {ahead[0]}" in m.log() and "channel 1 of tenant" in m.log())
            assert f"channel 1 of tenant 1: executor {ahead[0]}" in m.log()
            # Its place is filled again, and it ends with its client like any other.
            waiting(m, 3)
            assert len(m.executors()) == 3
        vgpu.wait_for(lambda: ahead[0] not in m.executors())
        vgpu.wait_for(lambda: len(m.executors()) == 2)


def test_none_is_used_twice():
    with warm(1) as m:
        used = set()
        for i in range(4):
            waiting(m, i + 1)
            pid, = m.executors()
            assert pid not in used
            used.add(pid)
            with m.connect() as c:
                c.open()
            vgpu.wait_for(lambda pid=pid: pid not in m.executors())


def test_more_clients_than_wait_are_served_all_the_same():
    with warm(1) as m:
        waiting(m, 1)
        clients = [m.connect() for _ in range(5)]
        for c in clients:
            c.open()
        for c in clients:
            c.close()


@pytest.mark.parametrize("how, said", [
    ("die", "does not serve: it"),
    ("ignore", "does not serve: it did not answer in executor.warm_answer"),
])
def test_one_that_fails_its_client_is_replaced_before_the_client_hears(how, said):
    with warm(1, "--set", "executor.warm_answer=50 ms", how=how) as m:
        waiting(m, 1)
        first, = m.executors()
        with m.connect() as c:
            channel = c.open()
            channel.do("memory 4096")
            vgpu.wait_for(lambda: c.status()[c.greeting.tenant].memory_used == 4096)
            assert said in m.log() and first not in m.executors()


def test_client_that_leaves_while_its_executor_is_replaced():
    with warm(1, "--set", "executor.warm_answer=200 ms", how="ignore") as m:
        waiting(m, 1)
        c = m.connect()
        c.send(vgpu.channel_open())
        time.sleep(0.05)
        c.close()
        with m.connect() as other:
            vgpu.wait_for(lambda: other.status()[other.greeting.tenant].channels == 0)


def test_one_that_dies_while_it_waits_is_replaced():
    with warm(1) as m:
        waiting(m, 1)
        first, = m.executors()
        os.kill(first, signal.SIGKILL)
        waiting(m, 2)
        assert m.executors() != [first] and "started ahead, ended (signal 9)" in m.log()
        with m.connect() as c:
            c.open()


@pytest.mark.parametrize("how, said", [
    ("exit 3", "no device for anybody"),
    ("fail out of luck", "started ahead, ended (status 1)"),
    ("silent", "was not ready in executor.start"),
    ("garbage", "broke the protocol"),
])
def test_starts_that_fail_cost_no_client_anything(how, said):
    with warm(2, "--set", "executor.start=100 ms", how=how) as m:
        vgpu.wait_for(lambda: said in m.log(), 10)
        with m.connect() as c:
            c.open()
        # They come less and less often.
        vgpu.wait_for(lambda: m.log().count("started ahead, ended") >= 4, 20)
        assert m.log().count("started ahead, ended") < 40


def test_no_more_than_one_is_started_at_a_time():
    with warm(8, "--set", "executor.start=60 s", how="silent") as m:
        time.sleep(0.3)
        assert len(m.executors()) == 1


def test_old_one_is_replaced_by_a_new_one():
    with warm(1, "--set", "executor.warm_age=100 ms") as m:
        waiting(m, 1)
        first, = m.executors()
        vgpu.wait_for(lambda: m.executors() and first not in m.executors())
        assert "ended (" not in m.log()


@pytest.mark.parametrize("settings, how", [
    (("--set", "executor.warm_spare=1T"), "ok"),
    ((), "crowded"),
])
def test_none_is_kept_where_memory_is_short(settings, how):
    with warm(2, *settings, how=how) as m:
        time.sleep(0.2)
        vgpu.wait_for(lambda: not m.executors())
        assert "waits for a tenant" not in m.log()
        with m.connect() as c:
            c.open()


def test_end_of_the_mediator_ends_those_that_wait(tmp_path):
    m = vgpu.Mediator(tmp_path, "--set", "executor.warm=3", *FAST)
    waiting(m, 3)
    ahead = m.executors()
    assert len(ahead) == 3 and m.stop() == 0
    assert not [pid for pid in ahead if os.path.exists(f"/proc/{pid}")]
