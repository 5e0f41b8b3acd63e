# SPDX-License-Identifier: Apache-2.0
"""Channels of a guest: OPEN, records in the ring, doorbell, CLOSE; and commands that are wrong."""
import os
import struct

import guest
import pytest
import vgpu


@pytest.mark.parametrize("host", ["null", "cpu"], indirect=True)
def test_a_record_is_answered(host):
    g = host.guest()
    c = g.channel(5)
    g.interrupts()
    for value in range(100):  # more than the pages that the ring begins with
        c.ping(value)
    assert c.close() == guest.OK
    vgpu.wait_for(lambda: not host.mediator.executors())
    g.close()


def test_the_executor_writes_the_headers_beginning(host):
    g = host.guest()
    c = g.channel()
    assert struct.unpack("<II", g.get(c.first, 8)) == (0x4c4e4843, 1)
    g.close()


def test_a_sleeping_guest_is_woken(host):
    g = host.guest()
    c = g.channel(9)
    g.interrupts()
    g.put(c.address(256), struct.pack("<I", 1))  # guest_waiters
    before = g.bell(9)
    c.push(guest.PING, struct.pack("<Q", 1), 0, 55)
    g.wait_interrupt()
    vgpu.wait_for(lambda: g.bell(9) != before)
    assert g.bell(9) & 1 and g.word(c.address(260)) > 0  # the bell, and the wake word
    assert g.reg("cause") & 2
    g.close()


def test_channels_are_apart_and_numbers_are_used_again(host):
    g = host.guest()
    channels = [g.channel(i) for i in (0, 63, 17)]
    assert len({c.id for c in channels}) == 3
    for c in channels:
        c.ping(c.number)
    assert channels[1].close() == guest.OK
    channels[0].ping()
    again = guest.GuestChannel(g, 63)
    assert again.open() == guest.OK
    again.ping()
    assert len(host.mediator.executors()) == 3
    g.close()
    vgpu.wait_for(lambda: not host.mediator.executors())


def test_who_it_is_in_the_guest(host):
    g = host.guest()
    g.channel()
    with host.mediator.connect() as c:
        row, = c.device().processes
    assert (row.pid, row.name.rstrip(b"\0")) == (77, b"program")
    g.close()


def test_device_question(host):
    g = host.guest()
    g.channel()
    buffer = g.alloc(65536)
    question = vgpu.device(cookie=4711)
    g.put(buffer, question)
    result, body = g.command(guest.DEVICE, struct.pack("<QII", buffer, 65536, len(question)), seconds=20)
    size, = struct.unpack_from("<I", body)
    assert result == guest.OK and size > 2320
    state = vgpu.Message(g.get(buffer, 2320), [])
    rows = vgpu.Message(g.get(buffer + 2320, size - 2320), [])
    assert (state.kind, rows.kind) == (vgpu.DEVICE_STATE, vgpu.DEVICE_ROWS)
    assert state.cookie == rows.cookie == 4711 and rows.rows[0].pid == 77
    g.put(buffer, question)
    assert g.command(guest.DEVICE, struct.pack("<QII", buffer, 4096, len(question)))[0] == guest.OK
    g.put(buffer, vgpu.device(flags=2))
    assert g.command(guest.DEVICE, struct.pack("<QII", buffer, 4096, 24))[0] == guest.INVALID
    assert g.command(guest.DEVICE, struct.pack("<QII", 0x10000, 4096, 24))[0] == guest.NOT_SHARED
    g.close()


def test_many_device_questions_at_once(host):
    g = host.guest()
    buffers = [g.alloc(4096) for _ in range(32)]
    for slot, buffer in enumerate(buffers):
        g.put(buffer, vgpu.device(cookie=slot))
        g.submit(slot, guest.DEVICE, struct.pack("<QII", buffer, 4096, 24))
    for slot, buffer in enumerate(buffers):
        assert g.reply(slot, 30)[0] == guest.OK
        assert struct.unpack_from("<I", g.get(buffer, 16), 12)[0] == slot
    g.close()


def test_wrong_opens(host):
    g = host.guest()
    c = guest.GuestChannel(g, 1)
    good = [(c.first, 8192), (c.rest, guest.CHANNEL_BYTES - 8192), (c.arena, guest.ARENA_BYTES)]
    listed = g.extents(good)

    def opened(pairs=None, n=(2, 1), place=None, **kw):
        place = place or (g.extents(pairs) if pairs else listed)
        return g.command(guest.OPEN, guest.open_body(kw.pop("number", 1), place, *n, **kw))[0]
    assert opened(number=64) == guest.INVALID
    assert opened(channel_bytes=guest.CHANNEL_BYTES - 4096) == guest.INVALID
    assert opened(arena_bytes=64 << 20) == guest.LIMIT
    assert opened(name=b"x" * 16) == guest.INVALID
    assert opened(place=0x4000) == guest.INVALID
    assert opened(n=(1, 2)) == guest.INVALID  # the channel's memory is more than its extents
    assert opened(n=(3, 1)) == guest.INVALID
    assert opened([good[0], good[1], (0x4000, guest.ARENA_BYTES)]) == guest.NOT_SHARED
    assert opened([good[0], good[1], (g.BASE + g.size - 4096, guest.ARENA_BYTES)]) == guest.NOT_SHARED
    assert opened([good[0], (c.rest + 1, good[1][1]), good[2]]) == guest.INVALID
    assert opened([good[0], (c.rest, (1 << 64) - 4096), good[2]]) == guest.INVALID
    assert not any(guest.is_alive(pid) for pid in host.mediator.executors())
    assert opened() == guest.OK
    assert opened() == guest.INVALID  # it is open
    assert c.close() == guest.OK
    assert c.close() == guest.INVALID
    g.close()


def test_wrong_commands(host):
    g = host.guest()
    for code in (0, 6, 255, 0xffffffff):
        assert g.command(code, bytes(120))[0] == guest.INVALID
    for slot in (32, 33, 0xffffffff):
        g.set_reg("command", slot)
    g.submit(3, guest.CLOSE, bytes(8), sequence=0)
    assert g.reg("status") & guest.READY and not g.has_reply(3)
    assert g.command(guest.MAP, struct.pack("<IIQQQII", 0, 0, 4096 << 20, 4096, g.admin, 1, 0))[0] == guest.INVALID
    assert g.command(guest.UNMAP, struct.pack("<IIQ", 0, 0, 4096))[0] == guest.INVALID
    g.close()


def test_a_slot_that_is_rung_twice_is_one_command(host):
    g = host.guest()
    c = guest.GuestChannel(g, 0)
    listed = g.extents([(c.first, 8192), (c.rest, guest.CHANNEL_BYTES - 8192), (c.arena, guest.ARENA_BYTES)])
    g.submit(0, guest.OPEN, guest.open_body(0, listed, 2, 1))
    for _ in range(20):
        g.set_reg("command", 0, posted=True)
    assert g.reply(0)[0] == guest.OK
    assert len(host.mediator.executors()) == 1
    g.close()


def test_closed_while_it_opens(host):
    g = host.guest()
    c = guest.GuestChannel(g, 0)
    listed = g.extents([(c.first, 8192), (c.rest, guest.CHANNEL_BYTES - 8192), (c.arena, guest.ARENA_BYTES)])
    g.submit(0, guest.OPEN, guest.open_body(0, listed, 2, 1))
    g.submit(1, guest.CLOSE, struct.pack("<II", 0, 0))
    assert g.reply(1)[0] == guest.OK
    assert g.reply(0)[0] in (guest.OK, guest.ENDED)
    assert not any(guest.is_alive(pid) for pid in host.mediator.executors())
    g.close()


def test_bad_records_end_the_channel(host):
    g = host.guest()
    c = g.channel(2)
    c.push(0xfff, b"")
    vgpu.wait_for(lambda: g.bell(2) & 2)
    assert g.bell(2) >> 16 == vgpu.E_BAD_RECORD
    assert c.map(0x7e0000000000, [(c.arena, 4096)]) == guest.ENDED
    assert c.close() == guest.OK
    assert g.channel(2).close() == guest.OK
    g.close()


def test_opening_and_closing_leaks_nothing(host):
    g = host.guest()
    c = g.channel(0)
    c.close()
    before, mediators = host.stub.fds(), host.mediator.fds()
    for _ in range(10):
        g.put(c.first, bytes(8192))
        assert c.open() == guest.OK and c.close() == guest.OK
    vgpu.wait_for(lambda: (host.stub.fds(), host.mediator.fds()) == (before, mediators))
    g.close()


def test_the_limit_of_channels(tmp_path):
    with vgpu.mediator("--set", "limits.channels=1", executor=guest.EXECUTOR) as m, \
            guest.stub(tmp_path, m.socket) as s:
        g = guest.Guest(s.socket)
        g.ready()
        g.channel(0)
        assert guest.GuestChannel(g, 1).open() == guest.LIMIT
        g.close()


def test_no_executor(tmp_path):
    with vgpu.mediator(executor="/bin/false") as m, guest.stub(tmp_path, m.socket) as s:
        g = guest.Guest(s.socket)
        g.ready()
        assert guest.GuestChannel(g, 1).open() == guest.BACKEND
        g.close()


def test_the_executor_keeps_no_fd_of_the_guests_memory(host):
    g = host.guest()
    c = g.channel()
    assert c.map(0x7e0000000000, [(c.arena, 4096)]) == guest.OK
    pid, = host.mediator.executors()
    names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert not [n for n in names if "guest-ram" in n or "extents" in n]
    names = [os.readlink(f"/proc/{host.mediator.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{host.mediator.pid}/fd")]
    assert not [n for n in names if "guest-ram" in n]
    with open(f"/proc/{host.mediator.pid}/maps", encoding="ascii") as f:
        assert "guest-ram" not in f.read()
    g.close()
