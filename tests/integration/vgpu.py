# SPDX-License-Identifier: Apache-2.0
"""What the integration tests share: the host link's messages, packed by hand (not generated from the C headers, so
that a changed header is noticed), a client, and a mediator to talk to."""
import array
import collections
import contextlib
import mmap
import os
import pathlib
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
import time

BUILD = pathlib.Path(os.environ.get("VGPU_BUILD", "build")).absolute()
MEDIATOR = BUILD / "mediator/vgpu-mediator"
FAKE = BUILD / "tests/unit/mediator/fake-executor"

MAGIC = 0x55504756
HELLO, CHANNEL_OPEN, TENANT_CREATE, STATUS, DEVICE = 0x0101, 0x0102, 0x0103, 0x0104, 0x0105
CHANNEL_OPEN_VM, CHANNEL_CLOSE, TENANT_CREATE_AS = 0x0106, 0x0107, 0x0108
FEATURE_VM = 1
E_UNKNOWN = 13
HELLO_OK, CHANNEL_OK, TENANT_OK, STATUS_ROW, STATUS_END, CHANNEL_LOST, DEVICE_STATE, DEVICE_ROWS, CHANNEL_GONE, ERROR = \
    0x0201, 0x0202, 0x0203, 0x0204, 0x0205, 0x0206, 0x0207, 0x0208, 0x0209, 0x02ff
(E_VERSION, E_PROTOCOL, E_PERMISSION, E_LIMIT, E_BACKEND, E_INTERNAL, E_EXECUTOR_DIED, E_BAD_RECORD, E_SHUTDOWN,
 E_WATCHDOG, E_QUARANTINED, E_DEVICE_LOST) = range(1, 13)
HEALTH_UNKNOWN, HEALTH_HEALTHY, HEALTH_DEGRADED, HEALTH_LOST = range(4)
MAX_PACKET = 4096

GEOMETRY = struct.Struct("<6I6Q")


def header(kind, length, cookie=0, magic=MAGIC, n_fds=0):
    return struct.pack("<IHHII", magic, kind, n_fds, length, cookie)


def hello(low=1, high=1, features=0, cookie=1):
    return header(HELLO, 32, cookie) + struct.pack("<IIQ", low, high, features)


def channel_open(flags=0, cookie=2):
    return header(CHANNEL_OPEN, 24, cookie) + struct.pack("<Q", flags)


def channel_open_vm(channel=0x281000, arena=1 << 20, extents=2, pid=1, name=b"p", n_fds=4, cookie=6):
    return header(CHANNEL_OPEN_VM, 56, cookie, n_fds=n_fds) + struct.pack("<QQII16s", channel, arena, extents, pid, name)


def channel_close(flags=0, cookie=7):
    return header(CHANNEL_CLOSE, 24, cookie) + struct.pack("<Q", flags)


def tenant_create(name=b"t", weight=100, memory=0, cookie=3, reserved=0):
    return header(TENANT_CREATE, 96, cookie) + struct.pack("<64sIIQ", name, weight, reserved, memory)


def tenant_create_as(name=b"t", profile=b"", pool=b"", weight=0, memory=(1 << 64) - 1, cookie=8, reserved=0):
    return header(TENANT_CREATE_AS, 192, cookie) + struct.pack("<64sIIQ48s48s", name, weight, reserved, memory, profile, pool)


def device(flags=0, cookie=5):
    return header(DEVICE, 24, cookie) + struct.pack("<Q", flags)


def status(cookie=4):
    return header(STATUS, 16, cookie)


# ---- what executors share

SHARED, SHARE, TAKE, DROP = 0x0303, 0x0404, 0x0405, 0x0406
SHARE_OK, SHARE_UNKNOWN, SHARE_LIMIT = range(3)


def key_of(number):
    return struct.pack("<QQ", number, ~number & (1 << 64) - 1)


def share(number, size=0, data=b"", cookie=7, n_fds=0):
    return header(SHARE, 104, cookie, n_fds=n_fds) + key_of(number) + struct.pack("<Q64s", size, data)


def take(number, cookie=8):
    return header(TAKE, 32, cookie) + key_of(number)


def drop(number, owner=0, cookie=9, reserved=0):
    return header(DROP, 40, cookie) + key_of(number) + struct.pack("<II", owner, reserved)


class Shared:
    """An answer to one of these."""

    def __init__(self, exchanged):
        data, self.word = exchanged
        assert data is not None, "no answer"
        magic, kind, n_fds, length, self.cookie, self.code, self.in_use, self.size, self.data = \
            struct.unpack("<IHHIIIIQ64s", data)
        assert (magic, kind, length, n_fds) == (MAGIC, SHARED, len(data), self.word is not None)


class Message:
    """One received packet, taken apart."""

    def __init__(self, data, fds):
        self.data, self.fds = data, fds
        magic, self.kind, self.n_fds, length, self.cookie = struct.unpack_from("<IHHII", data)
        assert magic == MAGIC and length == len(data) and self.n_fds == len(fds)
        body = data[16:]
        if self.kind == HELLO_OK:
            self.version, self.tenant, self.features, self.weight, reserved, self.memory = \
                struct.unpack("<IIQIIQ", body)
            assert reserved == 0
        elif self.kind == CHANNEL_OK:
            self.channel = struct.unpack_from("<Q", body)[0]
            (self.ring_offset, self.ring_bytes, self.reply_offset, self.reply_slots, self.fence_offset,
             self.fence_slots, self.channel_bytes, self.window_base, self.window_bytes, self.arena_bytes,
             self.device_base, self.device_bytes) = GEOMETRY.unpack(body[8:])
        elif self.kind == TENANT_OK:
            self.tenant, reserved, path, reserved2 = struct.unpack("<II108sI", body)
            assert reserved == 0 and reserved2 == 0
            self.path = path.rstrip(b"\0").decode()
        elif self.kind == STATUS_ROW:
            (self.tenant, self.weight, name, self.channels, self.in_demand, self.gpu_ns, self.turns, self.launches,
             self.copy_bytes, self.faults, self.memory_used, self.memory_quota, self.contended_gpu_ns,
             self.contended_ns) = struct.unpack("<II64sII9Q", body)
            self.name = name.rstrip(b"\0").decode()
        elif self.kind == DEVICE_STATE:
            self.unpack_device(body)
        elif self.kind == DEVICE_ROWS:
            n, self.left = struct.unpack_from("<II", body)
            assert len(body) == 8 + n * 72
            self.rows = [Process(*struct.unpack_from("<6QII16s", body, 8 + i * 72)) for i in range(n)]
        elif self.kind == STATUS_END:
            self.rows, self.health, self.now_ns, backend, device = struct.unpack("<IIQ32s64s", body)
            self.backend, self.device = backend.rstrip(b"\0").decode(), device.rstrip(b"\0").decode()
        elif self.kind == CHANNEL_LOST:
            self.code, reserved, self.channel, text = struct.unpack("<IIQ256s", body)
            self.text = text.split(b"\0")[0].decode()
            assert reserved == 0
        elif self.kind == CHANNEL_GONE:
            self.channel, = struct.unpack("<Q", body)
        elif self.kind == ERROR:
            self.code, reserved, text = struct.unpack("<II256s", body)
            self.text = text.split(b"\0")[0].decode()
            assert reserved == 0 and self.text
        else:
            raise AssertionError(f"unknown message {self.kind:#x}")


    def unpack_device(self, body):
        (self.source, reserved, self.age_ns, backend, name, self.uuid, self.total_memory, self.driver_version,
         self.attribute_count) = struct.unpack_from("<IIQ16s256s16sQiI", body)
        assert reserved == 0
        self.backend, self.name = backend.rstrip(b"\0").decode(), name.rstrip(b"\0").decode()
        self.attributes = struct.unpack_from("<160i", body, 320)
        self.texts = [t.rstrip(b"\0").decode() for t in struct.unpack_from("<80s32s32s80s16s64s", body, 960)]
        low, high, *values = struct.unpack_from("<130Q", body, 1264)
        assert len(body) == 1264 + 130 * 8
        valid = low | high << 64
        # A number that is not valid is 0.
        assert not any(v for i, v in enumerate(values) if not valid >> i & 1)
        self.values = {i: v for i, v in enumerate(values) if valid >> i & 1}


Process = collections.namedtuple("Process", "channel pid memory gpu_ns launches started_us busy valid name")


class Client:
    """A connection to a mediator."""

    def __init__(self, path, say_hello=True):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(10)
        self.sock.connect(str(path))
        if say_hello:
            self.greeting = self.ask(hello())
            assert self.greeting.kind == HELLO_OK, vars(self.greeting)

    def send(self, data, fds=()):
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([data], control)

    def receive(self, timeout=10):
        """The next message, or None when the connection was closed."""
        self.sock.settimeout(timeout)
        try:
            data, ancillary, _, _ = self.sock.recvmsg(MAX_PACKET, socket.CMSG_SPACE(16 * 4))
        except ConnectionResetError:
            return None
        fds = array.array("i")
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(payload[:len(payload) - len(payload) % 4])
        return Message(data, list(fds)) if data else None

    def ask(self, data, timeout=10):
        self.send(data)
        return self.receive(timeout)

    def ask_or_none(self, data):
        """As ask, for a connection that may be closed already."""
        with contextlib.suppress(BrokenPipeError):
            self.send(data)
        return self.receive()

    def open(self, timeout=10):
        """Opens a channel; the answer must be CHANNEL_OK."""
        answer = self.ask(channel_open(), timeout)
        assert answer.kind == CHANNEL_OK, (answer.kind, getattr(answer, "text", ""))
        return Channel(self, answer)

    def status(self):
        rows, answer = {}, self.ask(status())
        while answer.kind == STATUS_ROW:
            rows[answer.tenant] = answer
            answer = self.receive()
        assert answer.kind == STATUS_END and answer.rows == len(rows)
        self.health = answer.health
        return rows

    def device(self, flags=0):
        """The device's state, with the tenant's processes as .processes."""
        state = self.ask(device(flags))
        assert state.kind == DEVICE_STATE, (state.kind, getattr(state, "text", ""))
        state.processes, left = [], 1
        while left:
            answer = self.receive()
            assert answer.kind == DEVICE_ROWS and answer.cookie == state.cookie
            state.processes += answer.rows
            left = answer.left
        return state

    def tenant(self, **kw):
        answer = self.ask(tenant_create(**kw))
        assert answer.kind == TENANT_OK, (answer.kind, getattr(answer, "text", ""))
        return answer

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


Room = collections.namedtuple("Room", "held parked asked answered refused lease")


class Channel:
    """A channel with a fake executor behind it."""

    def __init__(self, client, answer):
        self.fds = list(answer.fds)
        self.client, self.answer, self.id = client, answer, answer.channel
        self.channel_fd, self.window_fd, self.doorbell = answer.fds
        self.memory = mmap.mmap(self.channel_fd, answer.channel_bytes)

    def do(self, line):
        """Has the fake executor obey a line (see fake_executor.c)."""
        place = self.answer.ring_offset
        self.memory[place:place + 400] = line.encode().ljust(400, b"\0")
        os.write(self.doorbell, struct.pack("<Q", 1))

    def heard(self):
        """Whether it has taken the last line, so that another one can be said."""
        return self.memory[self.answer.ring_offset] == 0

    def exchange(self, packet, n_fds=0):
        """Has the fake executor send a packet; the answer's bytes (None: there was none) and what its fd holds."""
        place = self.answer.ring_offset + 1024
        before, = struct.unpack_from("<I", self.memory, place)
        self.do(f"send {n_fds} {packet.hex()}")
        wait_for(lambda: struct.unpack_from("<I", self.memory, place)[0] != before, what="an answer")
        _, length, fds, _, word = struct.unpack_from("<4IQ", self.memory, place)
        return bytes(self.memory[place + 24:place + 24 + length]) or None, word if fds else None

    def room(self):
        """How the fake executor has device memory (struct fake_room)."""
        return Room(*struct.unpack_from("<6Q", self.memory, self.answer.ring_offset + 1536))

    def close(self):
        self.memory.close()
        self.__del__()

    def __del__(self):
        # Most tests let theirs go; a thousand of them would be too many files for an ordinary limit.
        while self.fds:
            os.close(self.fds.pop())


class Mediator:
    """A vgpu-mediator with the fake executor, in a directory of its own."""

    def __init__(self, directory, *args, start="ok", env=None, executor=FAKE, preexec=None, program=MEDIATOR):
        self.directory = pathlib.Path(directory)
        self.socket = self.directory / "m.sock"
        self.log_path = self.directory / "log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [program, "--socket", self.socket, "--set", f"paths.run_directory={self.directory}",
                 "--executor", executor, "--backend", "null", "--set", "log.level=debug", "--set", "executor.warm=0",
                 "--set", "sensor.patrol=0 s", *args],
                stderr=log, stdin=subprocess.DEVNULL, preexec_fn=preexec,
                env={**os.environ, "VGPU_FAKE_START": start, **(env or {})})
        self.pid = self.process.pid
        end = time.monotonic() + 10
        while not self.socket.exists() or "ready:" not in self.log():
            assert self.process.poll() is None and time.monotonic() < end, self.log()
            time.sleep(0.005)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def connect(self, **kw):
        return Client(self.socket, **kw)

    def executors(self):
        """Pids of its children."""
        children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(p) for p in children.read_text().split()]

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def maps(self):
        return len(re.findall("memfd:vgpu", pathlib.Path(f"/proc/{self.pid}/maps").read_text()))

    def stop(self, timeout=5):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


@contextlib.contextmanager
def mediator(*args, **kw):
    """A running mediator that must end cleanly, whatever the test did to it."""
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory:
        m = Mediator(directory, *args, **kw)
        try:
            yield m
            assert m.process.poll() is None, f"the mediator died:\n{m.log()}"
            assert m.stop() == 0, m.log()
            assert not m.socket.exists()
            assert not list(m.directory.glob("tenant-*.sock"))
        finally:
            if m.process.poll() is None:
                m.process.kill()
                m.process.wait()


def is_readable(file, seconds):
    """Whatever its number: select() ends at 1024."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(1000 * seconds))


def wait_for(condition, seconds=2.0, what="condition"):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.005)
