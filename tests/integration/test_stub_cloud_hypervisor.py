# SPDX-License-Identifier: Apache-2.0
"""cloud-hypervisor's client, played from what its sources say that it sends and reads. It reads answers of fixed sizes whatever
their header says, one request at a time: an answer that is shorter hangs it, one that is longer puts it out of step."""
import array
import json
import os
import signal
import socket
import struct

import guest
import pytest
import vgpu

INTX = 0


class CloudHypervisor:
    """Connects and does what there is done for --user-device, in that order."""

    def __init__(self, path, info_words):
        self.info_words = info_words  # 4, or 5 where the structure is the kernel's newer one
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(path))
        self.message = 0
        self.negotiate()
        self.regions = self.get_regions()
        self.find_capabilities()
        self.bar = self.size_bars()

    def request(self, command, payload=b"", fds=()):
        header = struct.pack("<HHIII", self.message, command, 16 + len(payload), 0, 0)
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        assert self.sock.sendmsg([header + payload], control) == 16 + len(payload)
        self.message = self.message + 1 & 0xffff

    def exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            assert more, "the stub hung up"
            data += more
        return data

    def answer(self, n):
        """The payload of an answer of n bytes; the header, that nobody there looks at, is right as well."""
        data = self.exactly(16 + n)
        number, _, size, flags, error = struct.unpack_from("<HHIII", data)
        assert (number, size, flags, error) == (self.message - 1 & 0xffff, 16 + n, 1, 0)
        return data[16:]

    def negotiate(self):
        # Without the level "capabilities" that the specification has.
        self.request(1, struct.pack("<HH", 0, 1) + b'{"max_msg_fds":1,"max_data_xfer_size":1048576,"migration":{"pgsize":4096}}\0')
        size, major, minor = struct.unpack("<4xI8xHH", self.exactly(20))
        assert (major, minor) == (0, 0)
        text = self.exactly(size - 20)
        assert text[-1] == 0 and isinstance(json.loads(text[:-1]), dict)

    def get_regions(self):
        bytes_ = 4 * self.info_words
        self.request(4, struct.pack("<I", 16 + bytes_).ljust(bytes_, b"\0"))  # its argsz counts the header
        _, flags, n_regions, n_irqs, *capabilities = struct.unpack(f"<{self.info_words}I", self.answer(bytes_))
        assert flags & 2 and n_irqs >= 3 and not any(capabilities)
        # It resets those devices only that say they cannot be reset.
        assert flags & 1
        regions = {}
        for index in range(n_regions):
            self.request(5, struct.pack("<IIIIQQ", 32, 0, index, 0, 0, 0))
            argsz, flags, index_told, _, size, _ = struct.unpack("<IIIIQQ", self.answer(32))
            assert argsz == 32 and index_told == index and not flags & 4
            regions[index] = size
        return regions

    def region_read(self, region, offset, n):
        self.request(9, struct.pack("<QII", offset, region, n))
        return self.answer(16 + n)[16:]

    def region_write(self, region, offset, data):
        self.request(10, struct.pack("<QII", offset, region, len(data)) + data)
        assert self.answer(16) == struct.pack("<QII", offset, region, len(data))

    def config(self, offset, n):
        return int.from_bytes(self.region_read(7, offset, n), "little")

    def irq_count(self, index):
        self.request(7, struct.pack("<IIII", 16, 0, index, 0))
        return struct.unpack("<IIII", self.answer(16))[3]

    def find_capabilities(self):
        at, found = self.config(0x34, 1), {}
        while at:
            found[self.config(at, 1)] = at
            at = self.config(at + 1, 1)
        assert 0x10 in found and 0x05 in found and 0x11 not in found
        assert self.config(found[0x10] + 2, 2) & 0xf
        assert self.config(0x100, 4) & 0xffff == 0  # no extended ones
        self.msi = found[5]
        assert self.config(self.msi + 2, 2) & 0x80
        assert self.irq_count(guest.MSI) == 1 and self.irq_count(INTX) == 0

    def size_bars(self):
        """{index: size}, by writing ones; the expansion ROM's as well."""
        found = {}
        for index, at in [*((i, 0x10 + 4 * i) for i in range(6)), (6, 0x30)]:
            flags = self.config(at, 4)
            self.region_write(7, at, b"\xff" * 4)
            mask = self.config(at, 4) & ~0xf
            if mask:
                assert not flags & 5
                found[index] = (~mask & 0xffffffff) + 1
        return found

    def map(self, address, size, fd, offset):
        self.request(2, struct.pack("<IIQQQ", 32, 3, offset, address, size), [fd])
        self.answer(0)

    def unmap(self, address, size):
        self.request(3, struct.pack("<IIQQ", 24, 0, address, size))
        assert self.answer(24)[8:] == struct.pack("<QQ", address, size)

    def enable_msi(self, fd):
        self.request(8, struct.pack("<IIIII", 20, 0x24, guest.MSI, 0, 1), [fd])
        self.answer(0)

    def disable_msi(self):
        self.request(8, struct.pack("<IIIII", 20, 0x21, guest.MSI, 0, 0))
        self.answer(0)

    def shutdown(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class Driver(guest.Guest):
    """The guest's driver of the other tests, whose accesses go the way they do here: each waits, none is posted."""

    def __init__(self, client, ram=32 << 20):
        self.client = client
        self.make_memory(ram)
        client.map(self.BASE, ram, self.fd, 0)
        client.enable_msi(self.irq)
        self.ready()
        self.enable()

    def read(self, offset, count=4, region=guest.BAR0):
        return self.client.region_read(region, offset, count)

    def write(self, offset, data, region=guest.BAR0, posted=False):
        self.client.region_write(region, offset, data)


@pytest.fixture(params=[4, 5], ids=["short-info", "long-info"])
def client(host, request):
    made = CloudHypervisor(host.stub.socket, request.param)
    yield made
    made.sock.close()


def test_attach(client):
    assert client.regions[0] == 0x80000 and client.regions[7] == 4096
    assert client.bar == {0: 0x80000}
    assert all(not size for index, size in client.regions.items() if index not in (0, 7))


def test_a_channel(client):
    g = Driver(client)
    c = g.channel(0)
    c.ping()
    assert c.map(0x7e0000000000, [(g.alloc(8192), 8192)]) == guest.OK
    assert c.close() == guest.OK
    client.disable_msi()


def test_reset_at_connect_instead_of_a_message(client, host):
    """It sends none: what the last machine left is gone when the next one's client comes."""
    g = Driver(client)
    g.channel(0).ping()
    generation = g.reg("generation")
    pid, = host.mediator.executors()
    os.kill(pid, signal.SIGSTOP)
    client.shutdown()
    again = Driver(CloudHypervisor(host.stub.socket, client.info_words))
    assert not guest.is_alive(pid)
    assert again.reg("generation") > generation
    again.channel(0).ping()
    again.client.shutdown()


def test_memory_goes_before_the_machine(client, host):
    g = Driver(client)
    g.channel(0).ping()
    client.unmap(g.BASE, g.size)
    assert not host.mediator.executors() or not any(map(guest.is_alive, host.mediator.executors()))
    client.disable_msi()
    client.shutdown()
    with guest.Monitor(host.stub.socket) as m:
        assert m.reg("version") == 1
    vgpu.wait_for(lambda: not host.mediator.executors())
