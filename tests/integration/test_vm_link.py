# SPDX-License-Identifier: Apache-2.0
"""CHANNEL_OPEN_VM, CHANNEL_CLOSE and CHANNEL_GONE of the host link, without a stub."""
import array
import contextlib
import mmap
import os
import socket
import struct

import guest
import pytest
import vgpu

CHANNEL, ARENA = 0x281000, 1 << 20


@pytest.fixture
def real():
    with vgpu.mediator(executor=guest.EXECUTOR) as m:
        yield m


def connect(m):
    c = vgpu.Client(m.socket, say_hello=False)
    assert c.ask(vgpu.hello(features=vgpu.FEATURE_VM)).features == vgpu.FEATURE_VM
    return c


class Memory:
    """What a stub sends along."""

    def __init__(self, extents=((0, 0, CHANNEL), (0, CHANNEL, ARENA)), size=CHANNEL + ARENA):
        self.ram = os.memfd_create("ram")
        os.ftruncate(self.ram, size)
        self.list = os.memfd_create("list")
        os.write(self.list, b"".join(struct.pack("<IIQQ", i, 0, offset, size) for i, offset, size in extents))
        self.bell = os.eventfd(0)
        self.link, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link.settimeout(10)
        self.fds = [self.bell, self.theirs.fileno(), self.list, self.ram]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for fd in (self.ram, self.list, self.bell):
            os.close(fd)
        self.link.close()
        self.theirs.close()


def opened(c, memory, **kw):
    c.send(vgpu.channel_open_vm(**kw), memory.fds)
    return c.receive()


def parts(message):
    """CHANNEL_OK of a VM has two fds."""
    assert message.kind == vgpu.CHANNEL_OK and len(message.fds) == 2
    return message


def test_open_and_close(real):
    with connect(real) as c, Memory() as memory:
        ok = parts(opened(c, memory))
        assert (ok.channel_bytes, ok.arena_bytes) == (CHANNEL, ARENA)
        pid, = real.executors()
        with open(f"/proc/self/fdinfo/{ok.fds[1]}", encoding="ascii") as f:
            assert f"Pid:\t{pid}\n" in f.read()
        with contextlib.closing(mmap.mmap(memory.ram, CHANNEL)) as m:
            assert struct.unpack("<II", m[:8]) == (0x4c4e4843, 1)
        c.send(vgpu.channel_close())
        lost, gone = c.receive(), c.receive()
        assert (lost.kind, lost.code) == (vgpu.CHANNEL_LOST, vgpu.E_SHUTDOWN)
        assert (gone.kind, gone.channel) == (vgpu.CHANNEL_GONE, ok.channel)
        assert not guest.is_alive(pid)
        c.send(vgpu.channel_close())
        assert c.receive().code == vgpu.E_LIMIT  # there is none any more
        with Memory() as again:
            parts(opened(c, again))


def test_close_at_once_does_not_wait(real):
    with connect(real) as c, Memory() as memory:
        parts(opened(c, memory))
        pid, = real.executors()
        os.kill(pid, 19)  # SIGSTOP
        c.send(vgpu.channel_close(flags=1))
        assert [c.receive().kind, c.receive().kind] == [vgpu.CHANNEL_LOST, vgpu.CHANNEL_GONE]
        assert not guest.is_alive(pid)


def test_an_error_says_that_the_executor_is_gone(tmp_path):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 100\n")
    slow.chmod(0o755)
    with vgpu.mediator("--set", "executor.start=200ms", executor=slow) as m, connect(m) as c, Memory() as memory:
        answer = opened(c, memory)
        assert (answer.kind, answer.code) == (vgpu.ERROR, vgpu.E_BACKEND)
        assert not any(guest.is_alive(pid) for pid in m.executors())


@pytest.mark.parametrize("extents,size", [
    (((0, 0, CHANNEL), (0, CHANNEL, ARENA)), CHANNEL + ARENA - 4096),  # the file is too short
    (((1, 0, CHANNEL), (0, CHANNEL, ARENA)), CHANNEL + ARENA),  # there is no such file
    (((0, 0, CHANNEL), (0, CHANNEL, ARENA - 4096)), CHANNEL + ARENA),  # too little
    (((0, 0, CHANNEL + 4096), (0, CHANNEL, ARENA - 4096)), CHANNEL + ARENA),  # over the parts' border
    (((0, 1, CHANNEL), (0, CHANNEL, ARENA)), CHANNEL + ARENA + 4096),
    (((0, (1 << 64) - 4096, CHANNEL), (0, CHANNEL, ARENA)), CHANNEL + ARENA),
    (((0, 0, CHANNEL),), CHANNEL + ARENA)])  # the list is shorter than it says
def test_lists_that_executors_refuse(real, extents, size):
    with connect(real) as c, Memory(extents, size) as memory:
        answer = opened(c, memory)
        assert (answer.kind, answer.code) == (vgpu.ERROR, vgpu.E_BACKEND)


@pytest.mark.parametrize("change", [
    {"arena": 0}, {"arena": 4096 + (32 << 20)}, {"arena": 70000}, {"extents": 1}, {"extents": 32769},
    {"name": b"x" * 16}, {"n_fds": 3}, {"n_fds": 5}])
def test_malformed(real, change):
    with connect(real) as c, Memory() as memory:
        answer = opened(c, memory, **change)
        assert (answer.kind, answer.code) == (vgpu.ERROR, vgpu.E_PROTOCOL)
        assert c.receive() is None


def test_another_size_of_channels(real):
    with connect(real) as c, Memory() as memory:
        assert opened(c, memory, channel=CHANNEL + 4096).code == vgpu.E_VERSION
        parts(opened(c, memory))


@pytest.mark.parametrize("n", [0, 3, 12, 16])
def test_wrong_numbers_of_fds(real, n):
    before = real.fds()
    with connect(real) as c, Memory() as memory:
        c.send(vgpu.channel_open_vm(n_fds=n), (memory.fds * 4)[:n])
        assert c.receive().code == vgpu.E_PROTOCOL
    vgpu.wait_for(lambda: real.fds() <= before)


def test_not_without_the_feature(real):
    for message, fds in ((vgpu.channel_open_vm(), True), (vgpu.channel_close(), False)):
        with real.connect() as c, Memory() as memory:
            c.send(message, memory.fds if fds else [])
            assert c.receive().code == vgpu.E_PROTOCOL
            assert c.receive() is None


def test_a_client_that_goes(real):
    with connect(real), Memory() as memory:
        before = real.fds()
        with connect(real) as c:
            parts(opened(c, memory))
        vgpu.wait_for(lambda: not real.executors() and real.fds() == before)


def ask(memory, packet, fds=()):
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    memory.link.sendmsg([packet], control)


@pytest.mark.parametrize("packet", [
    b"x", vgpu.header(0x0701, 16), vgpu.header(0x0703, 24) + bytes(8), vgpu.header(0x0702, 24, magic=1) + bytes(8),
    vgpu.header(0x0702, 25) + bytes(8), vgpu.header(0x0702, 24, n_fds=1) + bytes(8), bytes(4096)])
def test_garbage_on_the_memory_link_ends_the_channel(real, packet):
    with connect(real) as c, Memory() as memory:
        parts(opened(c, memory))
        ask(memory, packet)
        lost = c.receive()
        assert (lost.kind, lost.code) == (vgpu.CHANNEL_LOST, vgpu.E_BAD_RECORD) and "memory link" in lost.text
        assert c.receive().kind == vgpu.CHANNEL_GONE


def test_maps_with_wrong_files(real):
    with connect(real) as c, Memory() as memory:
        parts(opened(c, memory))
        r, w = os.pipe()
        for fds in ([], [memory.list], [r, memory.ram], [memory.list, r], [memory.ram, memory.list]):
            ask(memory, vgpu.header(0x0701, 40, 9, n_fds=len(fds)) +
                struct.pack("<QQII", 0x7e << 40, 4096, 1, 0), fds)
            kind, result = struct.unpack("<4xH10xII", memory.link.recv(100))[:2]
            assert (kind, result) == (0x0801, 1)
        os.close(r)
        os.close(w)
        pid, = real.executors()
        assert not [f for f in os.listdir(f"/proc/{pid}/fd") if "ram" in os.readlink(f"/proc/{pid}/fd/{f}")]
