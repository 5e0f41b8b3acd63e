# SPDX-License-Identifier: Apache-2.0
"""MAP and UNMAP: guest memory in an executor's address space."""
import re
import struct

import guest
import pytest
import vgpu

AT = 0x7e0000000000
OPCODES = dict(re.findall(r"OPCODE_(\w+) = (\d+)", (vgpu.BUILD / "protocol/guest/calls.h").read_text()))
INVALID_VALUE, ALREADY_REGISTERED = 1, 712


def executors_maps(host):
    pid, = host.mediator.executors()
    return guest.maps_of(pid, "guest-ram")


def test_pieces_come_to_lie_side_by_side(host):
    g = host.guest()
    c = g.channel()
    pages = g.alloc(8 * 4096)
    before = executors_maps(host)
    assert c.map(AT, [(pages, 4096), (pages + 4 * 4096, 8192), (pages + 6 * 4096, 4096)]) == guest.OK
    new = [m for m in executors_maps(host) if m not in before]
    assert [new[0][0], new[-1][1]] == [AT, AT + 4 * 4096]
    assert c.unmap(AT) == guest.OK
    assert executors_maps(host) == before
    assert c.unmap(AT) == guest.INVALID
    c.ping()
    g.close()


def test_in_the_host_window(host):
    g = host.guest()
    c = g.channel()
    pages = g.alloc(2 * 4096)
    assert c.map(c.window + (1 << 30), [(pages, 8192)]) == guest.OK
    assert (c.window + (1 << 30), c.window + (1 << 30) + 8192) in executors_maps(host)
    assert c.unmap(c.window + (1 << 30)) == guest.OK
    assert c.map(c.window + (1 << 30), [(pages + 4096, 4096)]) == guest.OK
    g.close()


def test_where_nothing_may_be_mapped(host):
    g = host.guest()
    c = g.channel()
    page = g.alloc(4096)
    pid, = host.mediator.executors()
    with open(f"/proc/{pid}/maps", encoding="ascii") as f:
        own = [int(line.split("-")[0], 16) for line in f if "[vsyscall]" not in line]
    own.remove(c.window + guest.ARENA_BYTES)  # the free part of the window
    for address in [*own, 0, 4096, c.window, c.window + guest.ARENA_BYTES - 4096, c.window + (64 << 30),
                    0x100000000000, 0x300000000000, 0x30ffffff0000, 0x7ffffffff000,
                    0x800000000000, 0xffff800000000000, (1 << 64) - 8192]:
        assert c.map(address, [(page, 4096)]) == guest.ADDRESS, hex(address)
    assert c.map(c.window - 4096, [(page, 8192)]) == guest.ADDRESS  # half of it in the window
    c.ping()
    g.close()


def test_overlaps(host):
    g = host.guest()
    c = g.channel()
    pages = g.alloc(8 * 4096)
    assert c.map(AT, [(pages, 4 * 4096)]) == guest.OK
    for page in (-1, 0, 3):
        assert c.map(AT + page * 4096, [(pages, 8192)]) == guest.ADDRESS
    assert c.map(AT - 4096, [(pages, 8 * 4096)]) == guest.ADDRESS
    assert c.map(AT + 4 * 4096, [(pages, 4096)]) == guest.OK
    assert c.unmap(AT + 4096) == guest.INVALID
    # The same memory at another place is no overlap.
    assert c.map(AT + (1 << 30), [(pages, 4096)]) == guest.OK
    g.close()


def test_sums_that_are_not_right(host):
    g = host.guest()
    c = g.channel()
    pages = g.alloc(8 * 4096)
    before = executors_maps(host)
    assert c.map(AT, [(pages, 4096)], size=8192) == guest.INVALID
    assert c.map(AT, [(pages, 8192)], size=4096) == guest.INVALID
    assert c.map(AT, [(pages, 100)], size=4096) == guest.INVALID
    assert c.map(AT, [(pages + 5, 4096)]) == guest.INVALID
    assert c.map(AT, [(0x5000, 4096)]) == guest.NOT_SHARED
    assert c.map(AT + 1, [(pages, 4096)]) == guest.INVALID
    assert executors_maps(host) == before
    g.close()


def test_scattered_pages_up_to_the_limit(host):
    g = host.guest()
    c = g.channel()
    pages = g.alloc(64 * 4096)
    n = 32768
    pairs = [(pages + i * 2 % 64 * 4096, 4096) for i in range(n)]
    assert c.map(AT, pairs) == guest.OK
    assert c.map(AT - (1 << 30), pairs[:1]) == guest.LIMIT  # no piece is left
    assert c.unmap(AT) == guest.OK
    assert c.map(AT, pairs + pairs[:2]) == guest.LIMIT
    assert c.map(AT, pairs[:1]) == guest.OK
    c.ping()
    g.close()


def test_a_file_that_is_shorter_than_was_said(host):
    g = host.guest()
    c = g.channel()
    before = executors_maps(host)
    g.map(1 << 40, 1 << 20, g.fd, offset=g.size)  # behind its end
    assert c.map(AT, [(1 << 40, 4096)]) == guest.INVALID
    assert executors_maps(host) == before
    c.ping()
    g.close()


def opcode(name):
    return int(OPCODES[name])


def registered(c, address, size):
    return c.call(opcode("HOST_REGISTER"), struct.pack("<QQQ", address, size, 0))[0]


@pytest.mark.parametrize("host", ["null", "cpu"], indirect=True)
def test_registrations_lie_in_what_is_mapped(host):
    g = host.guest()
    c = g.channel()
    pages = g.alloc(8 * 4096)
    assert c.call(opcode("CONTEXT_ACTIVATE"), bytes(8), 30)[0] == 0
    assert registered(c, AT, 4096) == INVALID_VALUE
    assert registered(c, c.window + guest.ARENA_BYTES, 4096) == INVALID_VALUE
    assert c.map(AT, [(pages, 4096), (pages + 8192, 4 * 4096)]) == guest.OK
    assert registered(c, AT + 4096, 8 * 4096) == INVALID_VALUE
    assert registered(c, AT, 2 * 4096) == 0
    assert registered(c, AT + 4096, 4096) == ALREADY_REGISTERED
    assert registered(c, AT + 2 * 4096, 4096) == 0
    assert c.unmap(AT) == guest.OK  # which undoes the registrations
    assert registered(c, AT, 4096) == INVALID_VALUE
    assert c.map(AT, [(pages, 8192)]) == guest.OK
    assert registered(c, AT, 8192) == 0
    assert c.call(opcode("HOST_UNREGISTER"), struct.pack("<Q", AT))[0] == 0
    assert c.unmap(AT) == guest.OK
    g.close()
