# SPDX-License-Identifier: Apache-2.0
"""Executors that fail, die, hang or talk nonsense: the client hears why, nothing is left."""
import os
import signal
import time

import pytest
import vgpu


def refused(m, timeout=5):
    with m.connect() as c:
        answer = c.ask(vgpu.channel_open(cookie=9), timeout)
        assert (answer.kind, answer.cookie) == (vgpu.ERROR, 9)
        # The connection stays.
        assert c.status()
        vgpu.wait_for(lambda: not m.executors(), 1)
        vgpu.wait_for(lambda: c.status()[c.greeting.tenant].channels == 0, 1)
        return answer


@pytest.mark.parametrize("start, text", [
    ("fail no such device here", "no such device here"),
    ("exit 3", "status 3: cannot open the backend: no such device"),
    ("abort", "SIGABRT"),
    ("garbage", "broke the protocol"),
    ("fds", "broke the protocol"),
])
def test_start_that_fails(start, text):
    with vgpu.mediator(start=start) as m:
        answer = refused(m)
        assert answer.code == vgpu.E_BACKEND and text in answer.text


def test_start_that_takes_too_long():
    with vgpu.mediator("--set", "executor.start=200 ms", start="silent") as m:
        answer = refused(m)
        assert answer.code == vgpu.E_BACKEND and "executor.start" in answer.text


def test_start_that_floods_its_output_is_not_the_mediators_problem():
    with vgpu.mediator("--set", "executor.start=500 ms", start="flood") as m:
        assert refused(m).code == vgpu.E_BACKEND
        assert m.log_path.stat().st_size < 100000


def test_executor_that_cannot_be_run(tmp_path):
    program = tmp_path / "executor"
    program.write_text("#!/nowhere/interpreter\n")
    program.chmod(0o755)
    with vgpu.mediator(executor=program) as m:
        answer = refused(m)
        assert answer.code == vgpu.E_BACKEND and "cannot start the program" in answer.text


@pytest.mark.parametrize("order, code, text", [
    ("exit 4", vgpu.E_EXECUTOR_DIED, "status 4"),
    ("exit 0", vgpu.E_EXECUTOR_DIED, "status 0"),
    ("abort", vgpu.E_EXECUTOR_DIED, "SIGABRT"),
    ("ended 8 record 17: length beyond the ring", vgpu.E_BAD_RECORD, "record 17: length beyond the ring"),
    ("garbage", vgpu.E_EXECUTOR_DIED, "broke the protocol"),
    ("fds", vgpu.E_EXECUTOR_DIED, "broke the protocol"),
    ("ended 99 unknown code", vgpu.E_EXECUTOR_DIED, "broke the protocol"),
    ("hangup", vgpu.E_EXECUTOR_DIED, "SIGKILL"),
])
def test_death_while_serving(mediator, order, code, text):
    with mediator.connect() as c, mediator.connect() as neighbour:
        bystander = neighbour.open()
        ch = c.open()
        before = mediator.fds()
        ch.do(order)
        lost = c.receive(timeout=2)
        assert (lost.kind, lost.channel, lost.code) == (vgpu.CHANNEL_LOST, ch.id, code), lost.text
        assert text in lost.text
        vgpu.wait_for(lambda: len(mediator.executors()) == 1, 1)
        vgpu.wait_for(lambda: mediator.fds() < before, 1)
        # A new channel on the same connection; the neighbour's still there.
        assert c.open().id != ch.id
        bystander.do("print hello")
        vgpu.wait_for(lambda: "says: hello" in mediator.log())


def test_killed_from_outside(mediator):
    with mediator.connect() as c:
        c.open()
        os.kill(mediator.executors()[0], signal.SIGKILL)
        lost = c.receive(timeout=2)
        assert (lost.code, "SIGKILL" in lost.text) == (vgpu.E_EXECUTOR_DIED, True)


def test_last_words_are_in_the_reason(mediator):
    with mediator.connect() as c:
        ch = c.open()
        ch.do("print the driver said: \x1b[31mXid 79")
        vgpu.wait_for(lambda: "Xid 79" in mediator.log())
        ch.do("exit 2")
        lost = c.receive(timeout=2)
        assert "the driver said: ?[31mXid 79" in lost.text
        assert "\x1b" not in mediator.log()


def test_second_ready_breaks_the_protocol():
    with vgpu.mediator(start="ready-twice") as m, m.connect() as c:
        assert c.ask(vgpu.channel_open()).kind == vgpu.CHANNEL_OK
        assert c.receive(timeout=2).code == vgpu.E_EXECUTOR_DIED


def test_memory_of_the_dead_is_given_back(mediator):
    with mediator.connect() as operator:
        t = operator.tenant(memory=1 << 30)
        with vgpu.Client(t.path) as a, vgpu.Client(t.path) as b:
            one, two = a.open(), b.open()
            one.do("memory 1000000")
            two.do("memory 234567")
            vgpu.wait_for(lambda: operator.status()[t.tenant].memory_used == 1234567)
            one.do("abort")
            assert a.receive(timeout=2).kind == vgpu.CHANNEL_LOST
            vgpu.wait_for(lambda: operator.status()[t.tenant].memory_used == 234567, 1)
            two.do("exit 0")
            assert b.receive(timeout=2).kind == vgpu.CHANNEL_LOST
            vgpu.wait_for(lambda: operator.status()[t.tenant].memory_used == 0, 1)


def test_one_that_does_not_end_is_killed():
    with vgpu.mediator(start="deaf") as m:
        with m.connect() as c:
            c.open()
            pid, = m.executors()
        begin = time.monotonic()
        vgpu.wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 1)
        assert time.monotonic() - begin > 0.1


def test_counters_of_the_dead_are_kept(mediator):
    with mediator.connect() as operator:
        t = operator.tenant()
        with vgpu.Client(t.path) as c:
            for n in (1, 2):
                ch = c.open()
                ch.do("meters 11 22 33")
                vgpu.wait_for(lambda want=11 * n: operator.status()[t.tenant].launches == want)
                ch.do("exit 0")
                c.receive()
            vgpu.wait_for(lambda: operator.status()[t.tenant].channels == 0)
            row = operator.status()[t.tenant]
            assert (row.launches, row.copy_bytes, row.faults) == (22, 44, 66)
