# SPDX-License-Identifier: Apache-2.0
"""CHANNEL_OPEN and what comes with CHANNEL_OK."""
import fcntl
import os
import struct

import vgpu

F_GET_SEALS, SEAL_SEAL, SEAL_SHRINK, SEAL_GROW = 1034, 1, 2, 4


def test_geometry_is_consistent(mediator):
    with mediator.connect() as c:
        channel = c.open()
        a = channel.answer
        parts = sorted([(0, 4096), (a.ring_offset, a.ring_bytes), (a.reply_offset, a.reply_slots * 8192),
                        (a.fence_offset, a.fence_slots * 8)])
        end = 0
        for offset, size in parts:
            assert offset >= end and size > 0
            end = offset + size
        assert a.ring_bytes & (a.ring_bytes - 1) == 0 and a.ring_offset % 4096 == 0
        assert end <= a.channel_bytes == os.fstat(a.fds[0]).st_size
        assert a.window_bytes == os.fstat(a.fds[1]).st_size and a.arena_bytes < a.window_bytes
        assert (a.window_base, a.device_base) == (0x200000000000, 0x300000000000)
        assert a.window_base + a.window_bytes <= a.device_base


def test_header_of_the_channel_is_written(mediator):
    with mediator.connect() as c:
        ch = c.open()
        assert struct.unpack_from("<II", ch.memory) == (0x4c4e4843, 1)
        assert not any(ch.memory[8:4096])


def test_memory_is_sparse_and_sealed(mediator):
    with mediator.connect() as c:
        ch = c.open()
        for fd in (ch.channel_fd, ch.window_fd):
            seals = fcntl.fcntl(fd, F_GET_SEALS)
            assert seals & (SEAL_SEAL | SEAL_SHRINK | SEAL_GROW) == SEAL_SEAL | SEAL_SHRINK | SEAL_GROW
            assert os.fstat(fd).st_blocks * 512 < 1 << 20
            for size in (0, 1 << 40):
                try:
                    os.ftruncate(fd, size)
                except PermissionError:
                    continue
                raise AssertionError("size changed")


def test_the_mediator_keeps_no_fd_of_the_memory(mediator):
    with mediator.connect() as c:
        c.open()

        def kept():
            names = [os.readlink(f"/proc/{mediator.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{mediator.pid}/fd")]
            return [n for n in names if "vgpu-channel" in n or "vgpu-window" in n]
        vgpu.wait_for(lambda: not kept())  # they are closed just after they were sent


def test_channels_of_two_clients_are_apart(mediator):
    with mediator.connect() as a, mediator.connect() as b:
        one, two = a.open(), b.open()
        assert one.id != two.id
        assert os.fstat(one.channel_fd).st_ino != os.fstat(two.channel_fd).st_ino
        one.memory[8192:8200] = b"secret!!"
        assert two.memory[8192:8200] == bytes(8)


def test_opening_does_not_block_the_loop():
    with vgpu.mediator(start="silent") as m, m.connect() as waiting, m.connect() as other:
        waiting.send(vgpu.channel_open())
        vgpu.wait_for(m.executors)
        for _ in range(20):
            assert other.ask(vgpu.status(), timeout=0.5).kind == vgpu.STATUS_ROW
            while other.receive().kind != vgpu.STATUS_END:
                pass


def test_environment_of_the_executor():
    env = {"NOTIFY_SOCKET": "/nowhere", "VGPU_MARK": "kept"}
    with vgpu.mediator(env=env) as m, m.connect() as c:
        c.open()
        pid, = m.executors()
        with open(f"/proc/{pid}/environ", "rb") as f:
            assert b"VGPU_MARK=kept" in f.read().split(b"\0")
        with open(f"/proc/{pid}/personality", encoding="ascii") as f:
            assert int(f.read(), 16) & 0x0200000  # ADDR_COMPAT_LAYOUT: the guest's usual places stay free
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            text = f.read()
        assert "SigBlk:\t0000000000000000" in text and "SigIgn:\t0000000000000000" in text
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            args = f.read().split(b"\0")
        assert args[1:5] == [b"--backend", b"null", b"--link-fd", b"3"]
        assert os.getpgid(pid) == pid
