# SPDX-License-Identifier: Apache-2.0
"""DEVICE_RESET, ADMIN_ENABLE and disconnects: everything of the guest's ends, and only then it is said so."""
import os
import signal
import struct

import guest
import vgpu


def test_reset_ends_every_channel_first(host):
    g = host.guest()
    for i in range(3):
        g.channel(i)
    pids = host.mediator.executors()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    generation = g.reg("generation")
    g.reset()
    assert len(pids) == 3 and not any(guest.is_alive(pid) for pid in pids)
    assert g.reg("generation") == generation + 1
    assert g.reg("status") == guest.READY
    g.enable()
    g.channel(0).ping()
    g.close()


def test_reset_while_channels_open(host):
    g = host.guest()
    for i in range(4):
        c = guest.GuestChannel(g, i)
        listed = g.extents([(c.first, 8192), (c.rest, guest.CHANNEL_BYTES - 8192), (c.arena, guest.ARENA_BYTES)])
        g.submit(i, guest.OPEN, guest.open_body(i, listed, 2, 1))
    g.reset()
    assert not any(guest.is_alive(pid) for pid in host.mediator.executors())
    assert not any(g.has_reply(i) for i in range(4))  # nobody waits for them
    g.enable()
    g.close()


def test_disable_lets_go_of_all_memory(host):
    g = host.guest()
    g.channel(0)
    pid, = host.mediator.executors()
    g.set_reg("enable", 0)
    vgpu.wait_for(lambda: not g.reg("status") & guest.ENABLED)
    assert not guest.is_alive(pid)
    g.submit(0, guest.CLOSE, bytes(8))  # nobody looks
    assert g.reg("status") == guest.READY and not g.has_reply(0)
    g.enable()
    g.channel(0).ping()
    g.close()


def test_area_that_is_no_good(host):
    g = host.guest(enable=False)
    for address, size in ((0, guest.ADMIN_BYTES), (g.admin + 8, guest.ADMIN_BYTES), (g.admin, guest.ADMIN_BYTES - 1),
                          (g.BASE + g.size - 4096, guest.ADMIN_BYTES), (0x4000, guest.ADMIN_BYTES),
                          ((1 << 64) - 4096, guest.ADMIN_BYTES)):
        g.write(guest.REG["admin"], struct.pack("<Q", address))
        g.set_reg("admin_bytes", size)
        g.set_reg("enable", 1)
        assert not g.reg("status") & guest.ENABLED
        assert g.reg("error") in (guest.INVALID, guest.NOT_SHARED)
    g.enable()
    g.set_reg("enable", 1)  # it is
    assert g.reg("status") & guest.ENABLED
    g.close()


def test_configuration_is_reset(host):
    g = host.guest()
    g.write(4, b"\x06\x00", guest.CONFIG)
    g.reset()
    assert g.read(4, 2, guest.CONFIG) == b"\0\0"
    g.close()


def test_the_next_monitor_waits_for_the_end_of_the_last(host):
    g = host.guest()
    for i in range(3):
        g.channel(i).ping()
    pids = host.mediator.executors()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    g.close()
    with guest.Monitor(host.stub.socket) as m:
        assert not any(guest.is_alive(pid) for pid in pids)
        vgpu.wait_for(lambda: m.reg("status") & guest.READY, 10, "READY")


def test_disconnect_while_a_reply_is_held(host):
    g = host.guest()
    g.channel(0)
    for pid in host.mediator.executors():
        os.kill(pid, signal.SIGSTOP)
    g.send(guest.RESET)
    g.close()
    with guest.Monitor(host.stub.socket) as m:
        assert m.reg("version") == 1
