# SPDX-License-Identifier: Apache-2.0
"""Executors and mediators that die, and the stub's own end."""
import os
import pathlib
import signal
import socket
import struct
import subprocess
import tempfile

import guest
import vgpu


def test_an_executor_is_killed(host):
    g = host.guest()
    c, other = g.channel(0), g.channel(1)
    victim = max(host.mediator.executors())
    g.interrupts()
    os.kill(victim, signal.SIGKILL)
    vgpu.wait_for(lambda: (g.bell(0) | g.bell(1)) & 2)
    dead, alive = (c, other) if g.bell(0) & 2 else (other, c)
    assert g.bell(dead.number) >> 16 == vgpu.E_EXECUTOR_DIED
    g.wait_interrupt()
    alive.ping()
    g.write(0x1000 + 0x1000 * dead.number, b"\1\0\0\0")  # a doorbell that nobody hears
    assert dead.unmap(4096) == guest.ENDED
    assert guest.GuestChannel(g, dead.number).open() == guest.INVALID  # its number is not free
    assert dead.close() == guest.OK
    g.channel(dead.number).ping()
    g.close()


def test_an_executor_dies_with_commands_under_way(host):
    g = host.guest()
    c = g.channel(0)
    pid, = host.mediator.executors()
    os.kill(pid, signal.SIGSTOP)
    page = g.alloc(4096)
    listed = g.extents([(page, 4096)])
    for slot in range(3, 20):
        g.submit(slot, guest.MAP, struct.pack("<IIQQQII", 0, 0, (0x7e00 << 32) + (slot << 12), 4096, listed, 1,
                                                    0))
    os.kill(pid, signal.SIGKILL)
    for slot in range(3, 20):
        assert g.reply(slot)[0] == guest.ENDED
    assert c.close() == guest.OK
    g.close()


def test_the_mediator_dies_and_comes_back():
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory:
        first = vgpu.Mediator(directory, "--set", "adopt.wait=0s", executor=guest.EXECUTOR)
        with guest.stub(directory, first.socket) as s:
            g = guest.Guest(s.socket)
            g.ready()
            c = g.channel(3)
            executor, = first.executors()
            page = g.alloc(4096)
            first.process.kill()
            first.process.wait()
            vgpu.wait_for(lambda: g.bell(3) & 2)
            assert g.bell(3) >> 16 == vgpu.E_SHUTDOWN
            vgpu.wait_for(lambda: not g.reg("status") & guest.READY)
            assert g.reg("cause") & 4
            assert guest.GuestChannel(g, 4).open() == guest.NO_HOST
            assert g.command(guest.DEVICE, struct.pack("<QII", page, 4096, 24))[0] == guest.NO_HOST
            assert c.close() == guest.OK
            assert not guest.is_alive(executor)
            second = vgpu.Mediator(directory, executor=guest.EXECUTOR)
            g.ready()
            g.channel(3).ping()
            assert second.stop() == 0
            g.close()


def test_the_mediator_dies_while_a_channel_opens():
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory:
        silent = pathlib.Path(directory, "silent")
        silent.write_text("#!/bin/sh\nexec sleep 1000\n", encoding="utf-8")
        silent.chmod(0o755)
        m = vgpu.Mediator(directory, "--set", "adopt.wait=0s", executor=silent)
        with guest.stub(directory, m.socket) as s:
            g = guest.Guest(s.socket)
            g.ready()
            c = guest.GuestChannel(g, 0)
            listed = g.extents([(c.first, 8192), (c.rest, guest.CHANNEL_BYTES - 8192), (c.arena, guest.ARENA_BYTES)])
            g.submit(0, guest.OPEN, guest.open_body(0, listed, 2, 1))
            vgpu.wait_for(m.executors)
            m.process.kill()
            m.process.wait()
            assert g.reply(0)[0] == guest.NO_HOST
            g.close()


def test_a_mediator_that_knows_no_vms(tmp_path):
    # Its HELLO_OK takes no feature.
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.bind(str(tmp_path / "old.sock"))
    server.listen()
    with guest.stub(tmp_path, tmp_path / "old.sock") as s, guest.Monitor(s.socket) as m:
        link, _ = server.accept()
        assert link.recv(4096)[4:6] == b"\x01\x01"
        link.send(vgpu.header(vgpu.HELLO_OK, 48, 1) + struct.pack("<IIQIIQ", 1, 1, 0, 100, 0, 0))
        vgpu.wait_for(lambda: "too old" in s.log())
        assert not m.reg("status") & guest.READY
        link.close()
    server.close()


def test_killing_the_stub_ends_its_channels(tmp_path):
    with vgpu.mediator(executor=guest.EXECUTOR) as m:
        s = guest.Stub(tmp_path, m.socket)
        g = guest.Guest(s.socket)
        g.ready()
        g.channel(0)
        s.process.kill()
        s.process.wait()
        vgpu.wait_for(lambda: not m.executors())
        g.close()
        s = guest.Stub(tmp_path, m.socket)
        g = guest.Guest(s.socket)
        g.ready()
        g.channel(0).ping()
        assert s.stop() == 0  # with a guest attached
        vgpu.wait_for(lambda: not m.executors())
        g.close()


def test_help():
    text = subprocess.run([guest.STUB, "--help"], capture_output=True, text=True, check=True).stdout
    assert "--tenant-socket" in text
    assert subprocess.run([guest.STUB], capture_output=True, check=False).returncode != 0
