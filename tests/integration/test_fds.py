# SPDX-License-Identifier: Apache-2.0
"""File descriptors with packets: clients may send none; none of them stays in the mediator."""
import os

import pytest
import vgpu


@pytest.mark.parametrize("n", [1, 2, 16])
def test_unwanted_fds_are_refused_and_closed(mediator, n):
    with mediator.connect() as settled:
        settled.status()
        before = mediator.fds()
        r, w = os.pipe()
        with mediator.connect() as c:
            c.send(vgpu.status(), fds=[w] * n)
            answer = c.receive()
            assert answer.code == vgpu.E_PROTOCOL and "file descriptors" in answer.text
            assert c.receive() is None
        os.close(w)
        assert os.read(r, 1) == b""  # the last copy of the other end is closed
        os.close(r)
        vgpu.wait_for(lambda: mediator.fds() == before)


@pytest.mark.parametrize("n", [17, 64, 253])
def test_more_fds_than_a_message_may_have(mediator, n):
    r, w = os.pipe()
    with mediator.connect() as c:
        c.send(vgpu.status(), fds=[w] * n)
        assert c.receive().code == vgpu.E_PROTOCOL
        assert c.receive() is None
    os.close(w)
    assert os.read(r, 1) == b""
    os.close(r)


def test_fds_announced_and_sent_are_refused_too(mediator):
    r, w = os.pipe()
    with mediator.connect() as c:
        c.send(vgpu.header(vgpu.STATUS, 16, n_fds=1), fds=[w])
        assert c.receive().code == vgpu.E_PROTOCOL
    os.close(w)
    assert os.read(r, 1) == b""
    os.close(r)


def test_fds_with_garbage(mediator):
    r, w = os.pipe()
    with mediator.connect(say_hello=False) as c:
        c.send(b"x", fds=[w, w])
        assert c.receive().code == vgpu.E_PROTOCOL
    os.close(w)
    assert os.read(r, 1) == b""
    os.close(r)


def test_opening_and_closing_leaks_nothing(mediator):
    with mediator.connect() as c:
        c.open().close()
    vgpu.wait_for(lambda: not mediator.executors())
    before, maps = mediator.fds(), mediator.maps()
    for _ in range(30):
        with mediator.connect() as c:
            c.open().close()
    vgpu.wait_for(lambda: not mediator.executors())
    vgpu.wait_for(lambda: mediator.fds() == before and mediator.maps() == maps, what="fds and mappings as before")


def test_executor_gets_the_allowed_fds_only(mediator):
    leaked = os.open("/dev/null", os.O_RDONLY)
    with mediator.connect() as other, mediator.connect() as c:
        other.open()
        c.open()
        for pid in mediator.executors():
            fds = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
            assert fds[0] == "/dev/null"
            assert fds[1].startswith("pipe:") and fds[2] == fds[1]
            assert fds[3].startswith("socket:")
            # and the six of its ASSIGN
            assert sorted(fds) == list(range(10)), fds
            assert sum("memfd:vgpu-" in name for name in fds.values()) == 4, fds
            assert sum("eventfd" in name for name in fds.values()) == 2, fds
    os.close(leaked)
