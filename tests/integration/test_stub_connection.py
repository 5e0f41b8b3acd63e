# SPDX-License-Identifier: Apache-2.0
"""Connections: garbage, floods, pieces, second monitors, and what comes after a disconnect."""
import os
import random
import socket
import struct
import subprocess
import tempfile

import guest
import pytest
import vgpu


def is_closed(sock):
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("header", [
    struct.pack("<HHIII", 1, 1, 15, 0, 0), struct.pack("<HHIII", 1, 1, 0, 0, 0),
    struct.pack("<HHIII", 1, 9, 0xffffffff, 0, 0), struct.pack("<HHIII", 1, 9, 65536 + 65, 0, 0),
    struct.pack("<HHIII", 1, 9, 32, 1, 0), b"\xff" * 16])
def test_what_cannot_be_followed_ends_the_connection(monitor, header):
    monitor.sock.sendall(header)
    assert is_closed(monitor.sock)
    with guest.Monitor(monitor.stub.socket) as m:
        assert m.reg("version") == 1


def test_random_bytes(monitor):
    monitor.close()
    rng = random.Random(4)
    for _ in range(200):
        with guest.Monitor(monitor.stub.socket, say_version=rng.random() < 0.5) as m:
            try:
                for _ in range(8):
                    body = rng.randbytes(rng.randrange(0, 80))
                    m.send(rng.randrange(0, 18), body, flags=rng.choice([0, 0, 0, 0x10, 0x1]))
            except (BrokenPipeError, ConnectionResetError):
                pass
    with guest.Monitor(monitor.stub.socket) as m:
        assert m.reg("version") == 1


def test_a_message_in_pieces(monitor):
    message = struct.pack("<HHIII", 9, guest.REGION_READ, 32, 0, 0) + struct.pack("<QII", 0, 0, 4)
    for byte in message:
        monitor.sock.sendall(bytes([byte]))
    assert monitor.receive()[2][16:] == b"VGPU"


def test_many_messages_at_once(monitor):
    message = struct.pack("<HHIII", 9, guest.REGION_READ, 32, 0, 0) + struct.pack("<QII", 0, 0, 4)
    monitor.sock.sendall(message * 500)
    for _ in range(500):
        assert monitor.receive()[2][16:] == b"VGPU"


def test_one_who_does_not_read_is_not_served_further(monitor):
    message = struct.pack("<HHIII", 9, guest.REGION_READ, 32, 0, 0) + struct.pack("<QII", 0, 0, 65536)
    monitor.sock.setblocking(False)
    sent = b""
    try:
        while len(sent) < 64 << 20:
            sent += message[:monitor.sock.send(message)]
    except BlockingIOError:
        pass
    assert len(sent) < 64 << 20
    with open(f"/proc/{monitor.stub.pid}/statm", encoding="ascii") as f:
        assert int(f.read().split()[1]) * 4096 < 64 << 20
    monitor.sock.setblocking(True)
    for _ in range(len(sent) // len(message)):
        assert len(monitor.receive()[2]) == 16 + 65536


def test_a_second_monitor_is_turned_away(monitor):
    other = socket.socket(socket.AF_UNIX)
    other.settimeout(10)
    other.connect(str(monitor.stub.socket))
    assert is_closed(other)
    assert monitor.reg("version") == 1


def test_nothing_is_left_of_a_monitor(monitor):
    before = monitor.stub.fds()
    for i in range(20):
        with tempfile.TemporaryFile() as f:
            f.truncate(1 << 20)
            monitor.map(i << 20, 1 << 20, f.fileno())
    monitor.close()
    vgpu.wait_for(lambda: monitor.stub.fds() == before - 1, what="its files are closed")
    with guest.Monitor(monitor.stub.socket) as m:
        assert m.reg("generation") > 1
        m.map(0, 1 << 20)


def test_fds_of_half_a_message_are_closed(monitor):
    before = monitor.stub.fds()
    fd = os.eventfd(0)
    monitor.send(guest.DMA_MAP, b"", [fd] * 16, size=48)
    vgpu.wait_for(lambda: monitor.stub.fds() == before + 16)
    monitor.close()
    os.close(fd)
    vgpu.wait_for(lambda: monitor.stub.fds() == before - 1)


def test_once(tmp_path):
    s = guest.Stub(tmp_path, tmp_path / "none", "--once")
    guest.Monitor(s.socket).close()
    assert s.process.wait(10) == 0 and not s.socket.exists()


def test_a_socket_that_is_in_use_is_left_alone(monitor):
    second = subprocess.run([guest.STUB, "--socket", monitor.stub.socket], stderr=subprocess.PIPE, check=False)
    assert second.returncode == 1 and b"somebody answers" in second.stderr
    assert monitor.reg("version") == 1


def test_a_socket_left_behind_is_replaced(tmp_path):
    s = guest.Stub(tmp_path, tmp_path / "none")
    s.process.kill()
    s.process.wait()
    assert s.socket.exists()
    with guest.stub(tmp_path, tmp_path / "none") as t, guest.Monitor(t.socket) as m:
        assert m.reg("version") == 1
