# SPDX-License-Identifier: Apache-2.0
"""A virtual machine without a processor: what its monitor and its guest's driver do, packed by hand. Guest memory is a
memfd, vfio-user messages go to a vgpu-stub, commands and bells are words in that memory."""
import array
import contextlib
import mmap
import os
import pathlib
import signal
import socket
import struct
import subprocess
import time

import vgpu

STUB = vgpu.BUILD / "stub/vgpu-stub"
EXECUTOR = vgpu.BUILD / "executor/vgpu-executor"
PAGE = 4096

(VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_IRQ_INFO, SET_IRQS, REGION_READ, REGION_WRITE,
 RESET) = 1, 2, 3, 4, 5, 7, 8, 9, 10, 13
REPLY, NO_REPLY, ERROR = 1, 0x10, 0x20
BAR0, CONFIG, MSI = 0, 7, 1
EVENTFD, NONE, TRIGGER = 4, 1, 0x20

REG = {"magic": 0, "version": 4, "vm_id": 0x10, "weight": 0x18, "memory": 0x20, "channels": 0x28, "status": 0x40,
       "error": 0x44, "cause": 0x48, "generation": 0x4c, "admin": 0x80, "admin_bytes": 0x88, "enable": 0x8c,
       "command": 0x90}
READY, NO_SHARED, ENABLED = 1, 2, 4
SLOTS, CHANNELS = 32, 64
ADMIN_BYTES = SLOTS * 256 + CHANNELS * 4
OPEN, CLOSE, MAP, UNMAP, DEVICE = 1, 2, 3, 4, 5
(OK, INVALID, LIMIT, NO_HOST, BACKEND, ENDED, NOT_SHARED, ADDRESS, INTERNAL) = range(9)
CHANNEL_BYTES, ARENA_BYTES = 0x281000, 1 << 20
PING, HOST_REGISTER_ADDRESS = 1, 0x7e0000000000


class Refused(Exception):
    """An error reply; .errno is its number."""

    def __init__(self, number):
        super().__init__(os.strerror(number))
        self.errno = number


class Monitor:
    """The VMM's end of a vfio-user connection."""

    def __init__(self, path, say_version=True, timeout=10):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(str(path))
        self.next_id = 0
        if say_version:
            self.ask(VERSION, struct.pack("<HH", 0, 0) + b'{"capabilities":{"max_msg_fds":16}}\0')

    def send(self, command, payload=b"", fds=(), flags=0, size=None):
        self.next_id = self.next_id + 1 & 0xffff
        data = struct.pack("<HHIII", self.next_id, command, 16 + len(payload) if size is None else size, flags,
                           0) + payload
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([data], control)
        return self.next_id

    def exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def receive(self):
        """(id, command, payload); Refused for an error."""
        number, command, size, flags, error = struct.unpack("<HHIII", self.exactly(16))
        payload = self.exactly(size - 16)
        assert flags & 0xf == REPLY
        if flags & ERROR:
            assert not payload and error
            raise Refused(error)
        return number, command, payload

    def ask(self, command, payload=b"", fds=()):
        sent = self.send(command, payload, fds)
        number, answered, reply = self.receive()
        assert (number, answered) == (sent, command)
        return reply

    def map(self, address, size, fd=None, offset=0, flags=3):
        assert self.ask(DMA_MAP, struct.pack("<IIQQQ", 32, flags, offset, address, size),
                        [fd] if fd is not None else []) == b""

    def unmap(self, address, size):
        request = struct.pack("<IIQQ", 24, 0, address, size)
        assert self.ask(DMA_UNMAP, request) == request

    def read(self, offset, count=4, region=BAR0):
        head = struct.pack("<QII", offset, region, count)
        reply = self.ask(REGION_READ, head)
        assert reply[:16] == head and len(reply) == 16 + count
        return reply[16:]

    def write(self, offset, data, region=BAR0, posted=False):
        head = struct.pack("<QII", offset, region, len(data))
        if posted:
            self.send(REGION_WRITE, head + data, flags=NO_REPLY)
        else:
            assert self.ask(REGION_WRITE, head + data) == head

    def reg(self, name):
        return struct.unpack("<I", self.read(REG[name]))[0]

    def set_reg(self, name, value, posted=False):
        self.write(REG[name], struct.pack("<I", value), posted=posted)

    def set_irq(self, fd=None, index=MSI):
        if fd is None:
            self.ask(SET_IRQS, struct.pack("<IIIII", 20, NONE | TRIGGER, index, 0, 0))
        else:
            self.ask(SET_IRQS, struct.pack("<IIIII", 20, EVENTFD | TRIGGER, index, 0, 1), [fd])

    def reset(self):
        assert self.ask(RESET) == b""

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Guest(Monitor):
    """A VM with shared memory, the device's area in it, and pages to give away."""
    BASE = 0x100000000

    def __init__(self, path, ram=32 << 20, shared=True, enable=True):
        super().__init__(path)
        self.make_memory(ram)
        self.map(self.BASE, ram, self.fd if shared else None)
        self.set_irq(self.irq)
        if enable:
            self.enable()

    def make_memory(self, ram):
        """All that the stub is not told of yet."""
        self.fd = os.memfd_create("guest-ram")
        os.ftruncate(self.fd, ram)
        self.ram = mmap.mmap(self.fd, ram)
        self.size = ram
        self.irq = os.eventfd(0, os.EFD_NONBLOCK)
        self.used = 0
        self.sequence = 0
        self.admin = self.alloc(3 * PAGE)
        self.seen = [0] * SLOTS

    def alloc(self, size):
        """Guest-physical address of that many bytes of zeroed pages."""
        address = self.BASE + self.used
        self.used += (size + PAGE - 1) // PAGE * PAGE
        assert self.used <= self.size
        return address

    def put(self, address, data):
        self.ram[address - self.BASE:address - self.BASE + len(data)] = data

    def get(self, address, size):
        return self.ram[address - self.BASE:address - self.BASE + size]

    def word(self, address):
        return struct.unpack("<I", self.get(address, 4))[0]

    def enable(self):
        self.write(REG["admin"], struct.pack("<Q", self.admin))
        self.set_reg("admin_bytes", ADMIN_BYTES)
        self.set_reg("enable", 1)
        assert self.reg("status") & ENABLED, self.reg("error")

    def ready(self, seconds=10):
        vgpu.wait_for(lambda: self.reg("status") & READY, seconds, "READY")

    def extents(self, pairs):
        """A list of extents in guest memory."""
        data = b"".join(struct.pack("<QQ", *p) for p in pairs)
        address = self.alloc(max(len(data), 1))
        self.put(address, data)
        return address

    def submit(self, slot, code, body, sequence=None):
        self.sequence += 1
        sequence = self.sequence if sequence is None else sequence
        place = self.admin + slot * 256
        self.put(place + 128, bytes(4))
        self.put(place, struct.pack("<II", code, sequence) + body.ljust(120, b"\0"))
        self.seen[slot] = sequence
        self.set_reg("command", slot, posted=True)

    def reply(self, slot, seconds=10):
        """(result, body)"""
        place = self.admin + slot * 256 + 128
        vgpu.wait_for(lambda: self.word(place), seconds, f"reply in slot {slot}")
        sequence, result = struct.unpack("<II", self.get(place, 8))
        assert sequence == self.seen[slot]
        return result, self.get(place + 8, 120)

    def has_reply(self, slot):
        return self.word(self.admin + slot * 256 + 128) != 0

    def command(self, code, body, slot=0, seconds=20):
        self.submit(slot, code, body)
        return self.reply(slot, seconds)

    def bell(self, channel):
        return self.word(self.admin + SLOTS * 256 + 4 * channel)

    def interrupts(self):
        try:
            return os.eventfd_read(self.irq)
        except BlockingIOError:
            return 0

    def wait_interrupt(self, seconds=10):
        assert vgpu.is_readable(self.irq, seconds), "no interrupt"
        return self.interrupts()

    def channel(self, number=0, **kw):
        c = GuestChannel(self, number, **kw)
        result = c.open()
        assert result == OK, result
        return c

    def close(self):
        super().close()
        os.close(self.irq)
        os.close(self.fd)
        self.ram.close()


def open_body(number, listed, n_channel, n_arena, channel_bytes=CHANNEL_BYTES, arena_bytes=ARENA_BYTES,
              name=b"program", pid=77):
    return struct.pack("<II16sQQQII", number, pid, name, channel_bytes, arena_bytes, listed, n_channel, n_arena)


class GuestChannel:
    def __init__(self, guest, number, gap=True):
        self.guest, self.number = guest, number
        # The channel's memory in two pieces that do not touch.
        self.first = guest.alloc(PAGE * 2)
        if gap:
            guest.alloc(PAGE)
        self.rest = guest.alloc(CHANNEL_BYTES - PAGE * 2)
        self.arena = guest.alloc(ARENA_BYTES)
        self.tail = 0
        self.cookie = 100

    def open(self, slot=0):
        g = self.guest
        listed = g.extents([(self.first, PAGE * 2), (self.rest, CHANNEL_BYTES - PAGE * 2), (self.arena, ARENA_BYTES)])
        result, body = g.command(OPEN, open_body(self.number, listed, 2, 1), slot, 60)
        if result == OK:
            self.id = struct.unpack_from("<Q", body)[0]
            (self.ring_offset, self.ring_bytes, self.reply_offset, self.reply_slots, self.fence_offset, _,
             channel_bytes, self.window, _, arena_bytes, _, _) = vgpu.GEOMETRY.unpack_from(body, 8)
            assert (channel_bytes, arena_bytes) == (CHANNEL_BYTES, ARENA_BYTES)
        return result

    def address(self, offset):
        return self.first + offset if offset < 2 * PAGE else self.rest + offset - 2 * PAGE

    def push(self, opcode, payload, reply_slot=0xffff, cookie=0):
        g, length = self.guest, 16 + len(payload)
        record = struct.pack("<HHIQ", opcode, reply_slot, length, cookie) + payload
        for i in range(0, len(record), 8):  # a record may lie across pieces
            g.put(self.address(self.ring_offset + self.tail + i), record[i:i + 8])
        self.tail += length + 15 & ~15
        g.put(self.address(64), struct.pack("<Q", self.tail))
        g.write(0x1000 + 0x1000 * self.number, struct.pack("<I", 1), posted=True)

    def call(self, opcode, payload, seconds=10):
        """(CUresult, payload of the reply)"""
        self.cookie += 1
        self.push(opcode, payload, 0, self.cookie)
        place = self.address(self.reply_offset)
        vgpu.wait_for(lambda: struct.unpack("<Q", self.guest.get(place, 8))[0] == self.cookie, seconds, "reply")
        result, length = struct.unpack("<iI", self.guest.get(place + 8, 8))
        return result, self.guest.get(place + 16, length)

    def ping(self, value=0x1122334455667788):
        result, body = self.call(PING, struct.pack("<Q", value))
        assert result == 0 and struct.unpack("<Q", body)[0] == value

    def map(self, address, pairs, slot=1, size=None):
        g = self.guest
        listed = g.extents(pairs)
        size = sum(p[1] for p in pairs) if size is None else size
        return g.command(MAP, struct.pack("<IIQQQII", self.number, 0, address, size, listed, len(pairs), 0), slot)[0]

    def unmap(self, address, slot=1):
        return self.guest.command(UNMAP, struct.pack("<IIQ", self.number, 0, address), slot)[0]

    def close(self, slot=2):
        return self.guest.command(CLOSE, struct.pack("<II", self.number, 0), slot)[0]


class Stub:
    """A vgpu-stub in a directory."""

    def __init__(self, directory, tenant_socket, *args):
        self.directory = pathlib.Path(directory)
        self.socket = self.directory / "gpu.sock"
        self.log_path = self.directory / "stub.log"
        with open(self.log_path, "wb") as log:
            # A sanitizer's runtime makes system calls of its own when the process ends.
            sandbox = ["--sandbox", "off"] if "VGPU_SANITIZE" in os.environ else []
            self.process = subprocess.Popen([STUB, *sandbox, "--socket", self.socket, "--tenant-socket", str(tenant_socket),
                                             "--log", "debug", *args], stderr=log, stdin=subprocess.DEVNULL)
        self.pid = self.process.pid
        end = time.monotonic() + 10
        while "ready:" not in self.log():
            assert self.process.poll() is None and time.monotonic() < end, self.log()
            time.sleep(0.005)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def stop(self, timeout=10):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


@contextlib.contextmanager
def stub(directory, tenant_socket, *args):
    """A running stub that must end cleanly, whatever the test did to it."""
    s = Stub(directory, tenant_socket, *args)
    try:
        yield s
        assert s.process.poll() is None, f"the stub died: {s.process.returncode}\n{s.log()}"
        assert s.stop() == 0, s.log()
        assert not s.socket.exists()
    finally:
        if s.process.poll() is None:
            s.process.kill()
            s.process.wait()


def maps_of(pid, name):
    """Address ranges of a process that map a file of that name."""
    ranges = []
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        if name in line:
            begin, end = line.split()[0].split("-")
            ranges.append((int(begin, 16), int(end, 16)))
    return ranges


def is_alive(pid):
    """Whether a process has memory still: a zombie has none."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
