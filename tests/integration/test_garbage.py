# SPDX-License-Identifier: Apache-2.0
"""Packets that are none: each gets PROTOCOL and a closed connection, and the next client notices nothing."""
import contextlib
import os
import random
import struct

import pytest
import vgpu

H = vgpu.hello()

PACKETS = {
    "one byte": b"V",
    "half a header": H[:8],
    "header cut": H[:15],
    "body cut": H[:31],
    "one byte more": H + b"\0",
    "wrong magic": struct.pack("<I", 0x12345678) + H[4:],
    "big endian magic": struct.pack(">I", vgpu.MAGIC) + H[4:],
    "length too small": H[:8] + struct.pack("<I", 31) + H[12:],
    "length too great": H[:8] + struct.pack("<I", 4096) + H[12:],
    "length of all ones": H[:8] + b"\xff" * 4 + H[12:],
    "unknown type": H[:4] + struct.pack("<H", 0x0999) + H[6:],
    "type zero": H[:4] + struct.pack("<H", 0) + H[6:],
    "an answer's type": H[:4] + struct.pack("<H", vgpu.HELLO_OK) + H[6:],
    "an executor's type": H[:4] + struct.pack("<H", 0x0401) + H[6:],
    "fds announced, none sent": H[:6] + struct.pack("<H", 1) + H[8:],
    "zeros": bytes(32),
    "longest packet": vgpu.header(vgpu.HELLO, 4096) + bytes(4080),
    "longer than any": vgpu.header(vgpu.HELLO, 8192) + bytes(8176),
}


@pytest.mark.parametrize("name", PACKETS)
def test_malformed_first_packet(mediator, name):
    with mediator.connect(say_hello=False) as c:
        answer = c.ask(PACKETS[name])
        assert (answer.kind, answer.code) == (vgpu.ERROR, vgpu.E_PROTOCOL), name
        assert c.receive() is None
    with mediator.connect():
        pass


@pytest.mark.parametrize("name", PACKETS)
def test_malformed_packet_after_hello_ends_the_channel_too(mediator, name):
    with mediator.connect() as c:
        c.open()
        assert len(mediator.executors()) == 1
        assert c.ask(PACKETS[name]).code == vgpu.E_PROTOCOL
        assert c.receive() is None
        vgpu.wait_for(lambda: not mediator.executors(), 1, "executor gone")


@pytest.mark.parametrize("packet", [vgpu.channel_open(flags=1), vgpu.channel_open(flags=1 << 63)])
def test_channel_open_flags_must_be_zero(mediator, packet):
    with mediator.connect() as c:
        assert c.ask(packet).code == vgpu.E_PROTOCOL
        assert c.receive() is None


def test_empty_packet_is_no_message(mediator):
    # A packet of no bytes cannot be told from the end of the connection, and is treated as that.
    with mediator.connect() as c:
        c.send(b"")
        assert c.receive() is None


def test_random_packets_do_no_harm(mediator):
    rng = random.Random(20261122)
    valid = [H, vgpu.channel_open(), vgpu.tenant_create(), vgpu.status()]
    with mediator.connect() as c:
        c.open()  # from here on the user's tenant stays, for its counters
    vgpu.wait_for(lambda: not mediator.executors())
    before = mediator.fds()
    for _ in range(400):
        with mediator.connect(say_hello=False) as c:
            if rng.random() < 0.5:
                c.ask(H)
            packet = bytearray(rng.choice(valid))
            for _ in range(rng.randrange(1, 4)):
                packet[rng.randrange(len(packet))] ^= 1 << rng.randrange(8)
            with contextlib.suppress(BrokenPipeError):  # it may have been closed by then
                c.send(bytes(packet))
                if rng.random() < 0.3:
                    c.send(rng.randbytes(rng.randrange(1, 200)))
    vgpu.wait_for(lambda: not mediator.executors(), 5, "executors gone")
    vgpu.wait_for(lambda: mediator.fds() <= before, what="no fd left over")


def test_reason_is_logged_but_not_for_ever(mediator):
    for _ in range(100):
        with mediator.connect(say_hello=False) as c:
            c.ask(PACKETS["wrong magic"])
    log = mediator.log()
    assert "wrong magic" in log and f"pid {os.getpid()}" in log
    assert log.count("wrong magic") <= 60
