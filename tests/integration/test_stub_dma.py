# SPDX-License-Identifier: Apache-2.0
"""DMA_MAP and DMA_UNMAP: what is accepted, and that a reply means that nobody uses the memory any more."""
import os
import signal
import struct
import tempfile

import guest
import pytest
import vgpu


def request(address, size, offset=0, flags=3, argsz=32):
    return struct.pack("<IIQQQ", argsz, flags, offset, address, size)


def test_with_and_without_fds(monitor):
    fds = monitor.stub.fds()
    with tempfile.TemporaryFile() as f:
        f.truncate(1 << 20)
        monitor.map(0, 0x80000, f.fileno())
        monitor.map(0x100000, 0x80000, f.fileno(), offset=0x80000)
    monitor.map(0xc0000, 0x20000, flags=1)
    monitor.map(0xf0000000, 0x80000)
    assert monitor.stub.fds() == fds + 1  # one file
    monitor.unmap(0, 0x80000)
    monitor.unmap(0x100000, 0x80000)
    assert monitor.stub.fds() == fds
    monitor.unmap(0xc0000, 0x20000)
    monitor.unmap(0x12345000, 0x1000)  # nothing there: nobody uses it


def test_a_burst_is_answered_in_order(monitor):
    sent = [monitor.send(guest.DMA_MAP, request(i << 20, 1 << 20)) for i in range(200)]
    assert [monitor.receive()[0] for _ in sent] == sent
    sent = [monitor.send(guest.DMA_UNMAP, struct.pack("<IIQQ", 24, 0, i << 20, 1 << 20)) for i in range(200)]
    assert [monitor.receive()[0] for _ in sent] == sent


def test_fds_that_are_no_files_are_not_kept(monitor):
    before = monitor.stub.fds()
    r, w = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    for i, fd in enumerate((r, w, null, os.eventfd(0))):
        monitor.map(i << 20, 1 << 20, fd)
        os.close(fd)
    assert monitor.stub.fds() == before
    assert monitor.reg("status") & guest.NO_SHARED


@pytest.mark.parametrize("bad", [
    request(0, 0), request(0, 100), request(100, 4096), request((1 << 64) - 4096, 4096),
    request((1 << 64) - 4096, 8192), request(0, 4096, (1 << 64) - 4096), request(0, 4096, (1 << 63) - 4096),
    request(0, 4096, 17), request(0, 4096)[:31], b""])
def test_malformed(monitor, bad):
    before = monitor.stub.fds()
    with tempfile.TemporaryFile() as f, pytest.raises(guest.Refused):
        monitor.ask(guest.DMA_MAP, bad, [f.fileno()])
    assert monitor.stub.fds() == before


def test_what_overlaps_replaces(host):
    """And whoever has memory there loses it first, as by an unmap."""
    g = host.guest()
    extra, other = os.memfd_create("guest-ram-2"), os.memfd_create("guest-ram-3")
    for fd in (extra, other):
        os.ftruncate(fd, 16 << 20)
    g.map(1 << 40, 16 << 20, extra)
    stays, goes = g.channel(0), g.channel(1)
    assert goes.map(0x7e0000000000, [(1 << 40, 8192)]) == guest.OK
    fds = host.stub.fds()
    g.map((1 << 40) - 4096, 8192, other)
    assert sum(map(guest.is_alive, host.mediator.executors())) == 1
    stays.ping()
    assert goes.close() == guest.OK
    assert host.stub.fds() <= fds
    again = g.channel(1)
    assert again.map(0x7e0000000000, [((1 << 40) - 4096, 8192)]) == guest.OK  # of the new file
    assert again.map(0x7e0000100000, [((1 << 40) + 4096, 8192)]) == guest.OK  # what is left of the old one
    for fd in (extra, other):
        os.close(fd)
    g.close()


def test_too_many_are_taken_and_not_shared(monitor):
    for i in range(65535):
        monitor.send(guest.DMA_MAP, request(i * 8192, 4096), flags=guest.NO_REPLY)
    with tempfile.TemporaryFile() as f:
        f.truncate(4096)
        monitor.map(65535 * 8192, 4096, f.fileno())
        assert monitor.reg("status") & guest.NO_SHARED and "will not be shared" in monitor.stub.log()
        monitor.unmap(65535 * 8192, 4096)  # nothing of it is there
        monitor.ask(guest.DMA_UNMAP, struct.pack("<IIQQ", 24, 2, 0, 0))  # all
        monitor.map(65535 * 8192, 4096, f.fileno())
        assert not monitor.reg("status") & guest.NO_SHARED


def test_too_many_files(monitor):
    """Of one more than there is room for no piece is shared; those before stay."""
    files = [os.memfd_create(f"part{i}") for i in range(65)]
    for i, fd in enumerate(files):
        os.ftruncate(fd, 1 << 20)
        monitor.map(i << 20, 1 << 20, fd)
        os.close(fd)
    assert "will not be shared" in monitor.stub.log()
    monitor.unmap(64 << 20, 1 << 20)
    assert not monitor.reg("status") & guest.NO_SHARED


def test_unmap_waits_for_the_executors_end(host):
    g = host.guest()
    c, other = g.channel(0), g.channel(1)
    c.ping()
    pids = host.mediator.executors()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)  # it would not end by itself
    g.unmap(g.BASE, g.size)
    # The reply is there: nobody is.
    for pid in pids:
        assert not guest.is_alive(pid)
    assert other.number == 1 and not g.reg("status") & guest.ENABLED
    g.close()


def test_only_channels_in_the_range_end(host):
    g = host.guest()
    extra = os.memfd_create("guest-ram-2")
    os.ftruncate(extra, 16 << 20)
    g.map(1 << 40, 16 << 20, extra)
    stays = g.channel(0)
    goes = g.channel(1)
    assert goes.map(0x7e0000000000, [(1 << 40, 8192)]) == guest.OK
    g.unmap(1 << 40, 16 << 20)
    assert sum(map(guest.is_alive, host.mediator.executors())) == 1
    stays.ping()
    vgpu.wait_for(lambda: g.bell(1) & 2)
    assert g.bell(1) >> 16 == vgpu.E_SHUTDOWN and not g.bell(0) & 2
    assert goes.close() == guest.OK
    os.close(extra)
    g.close()


def test_memory_goes_while_a_channel_opens(host):
    g = host.guest()
    c = guest.GuestChannel(g, 1)
    extra = os.memfd_create("guest-ram-2")
    os.ftruncate(extra, 16 << 20)
    g.map(1 << 40, 16 << 20, extra)
    listed = g.extents([(c.first, 8192), (c.rest, guest.CHANNEL_BYTES - 8192), (1 << 40, guest.ARENA_BYTES)])
    g.submit(0, guest.OPEN, guest.open_body(1, listed, 2, 1))
    g.unmap(1 << 40, 16 << 20)
    if g.reply(0)[0] != guest.ENDED:  # it was quicker
        assert c.close() == guest.OK
    assert c.open() == guest.OK  # its number is free
    os.close(extra)
    g.close()


def test_map_and_unmap_of_other_memory_disturbs_nobody(host):
    g = host.guest()
    c = g.channel(0)
    for _ in range(20):
        g.map(0xc0000, 0x20000, flags=1)
        g.unmap(0xc0000, 0x20000)
    c.ping()
    g.close()


def test_without_shared_memory_nothing_opens(host):
    g = guest.Guest(host.stub.socket, shared=False, enable=False)
    g.ready()
    assert g.reg("status") == guest.READY | guest.NO_SHARED
    g.write(guest.REG["admin"], struct.pack("<Q", g.admin))
    g.set_reg("admin_bytes", guest.ADMIN_BYTES)
    g.set_reg("enable", 1)
    assert not g.reg("status") & guest.ENABLED and g.reg("error") == guest.NOT_SHARED
    g.close()
