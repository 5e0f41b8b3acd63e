# SPDX-License-Identifier: Apache-2.0
"""A client of a mediator written from PROTOCOL.md and wire.md alone: sockets, mmap and struct, none of our libraries and
nothing generated. If it stops working with a build that libcuda works with, the protocol changed without its text."""
import array
import mmap
import os
import select
import socket
import struct
import time

MAGIC, CHANNEL_MAGIC = 0x55504756, 0x4c4e4843
HELLO, HELLO_OK, CHANNEL_OPEN, CHANNEL_OK, CHANNEL_LOST, ERROR = 0x0101, 0x0201, 0x0102, 0x0202, 0x0206, 0x02ff
PING, DEVICE_INFO, CONTEXT_ACTIVATE, FENCE, MEM_INFO, MEM_ALLOC, MEM_FREE = 1, 2, 3, 6, 11, 12, 13
COPY, WRITE, SET, STREAM_CREATE, STREAM_DESTROY = 17, 19, 20, 21, 23
BLOB_CREATE, BLOB_WRITE, MODULE_LOAD, MODULE_UNLOAD, FUNCTION_GET, LAUNCH = 33, 34, 36, 37, 38, 42
STREAM, EVENT, MODULE, FUNCTION, BLOB = 1, 2, 3, 4, 5
DEVICE, HOST = 0, 1
SLOT_BYTES, NO_SLOT = 8192, 0xffff
LOG_BYTES = 4000


class Refused(Exception):
    """The mediator's ERROR, or what a call was answered."""

    def __init__(self, code, text=""):
        super().__init__(f"{code} {text}")
        self.code, self.text = code, text


class Lost(Refused):
    """CHANNEL_LOST."""


def handle(kind, generation, index):
    return kind << 56 | generation << 24 | index


class Link:
    """The connection to a mediator."""

    def __init__(self, path, versions=(1, 1), features=0):
        self.cookie = 0
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(60)
        self.socket.connect(path)
        body, _ = self.ask(HELLO, struct.pack("<IIQ", *versions, features), HELLO_OK)
        self.version, self.tenant, self.features, self.weight, _, self.quota = struct.unpack("<IIQIIQ", body)

    def receive(self):
        """(type, cookie, body, fds)"""
        data, control, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(4 * 16))
        if not data:
            raise EOFError("the mediator hung up")
        fds = array.array("i")
        for level, kind, payload in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(payload)
        magic, kind, n_fds, length, cookie = struct.unpack_from("<IHHII", data)
        assert (magic, n_fds, length) == (MAGIC, len(fds), len(data))
        return kind, cookie, data[16:], list(fds)

    def ask(self, kind, body, wanted):
        self.cookie += 1
        self.socket.send(struct.pack("<IHHII", MAGIC, kind, 0, 16 + len(body), self.cookie) + body)
        while True:
            answer, cookie, body, fds = self.receive()
            if cookie == self.cookie:
                break
        if answer == ERROR:
            code, _, text = struct.unpack("<II256s", body)
            raise Refused(code, text.split(b"\0")[0].decode())
        assert answer == wanted
        return body, fds

    def check(self):
        """Raises Lost if the channel's end was told."""
        while select.select([self.socket], [], [], 0)[0]:
            kind, _, body, _ = self.receive()
            if kind == CHANNEL_LOST:
                code, _, _, text = struct.unpack("<IIQ256s", body)
                raise Lost(code, text.split(b"\0")[0].decode())

    def close(self):
        self.socket.close()


class Channel:
    """A channel, used by one thread."""

    def __init__(self, link):
        self.link = link
        body, fds = link.ask(CHANNEL_OPEN, bytes(8), CHANNEL_OK)
        (self.id, self.ring_offset, self.ring_bytes, self.reply_offset, self.reply_slots, self.fence_offset, self.fence_slots,
         channel_bytes, self.window_base, _, self.arena_bytes, self.device_base, self.device_bytes) = struct.unpack("<Q6I6Q", body)
        memory, window, self.doorbell = fds
        self.memory = mmap.mmap(memory, channel_bytes)
        self.arena = mmap.mmap(window, self.arena_bytes)
        os.close(memory)
        os.close(window)
        # Words that the other side reads are stored in one piece, which struct does not promise.
        self.words, self.halves = memoryview(self.memory).cast("Q"), memoryview(self.memory).cast("I")
        assert (self.halves[0], self.halves[1]) == (CHANNEL_MAGIC, 1)
        self.tail = self.cookie = self.fence = self.made = 0

    # ---- ring, replies, fences

    def wait(self, condition):
        until = time.monotonic() + 60
        while not condition():
            self.link.check()
            if self.halves[48]:  # the executor sleeps
                self.ring()
            assert time.monotonic() < until, "no answer"
            time.sleep(0.0005)

    def ring(self):
        os.write(self.doorbell, struct.pack("<Q", 1))

    def publish(self, data, size):
        self.wait(lambda: self.tail + size - self.words[16] <= self.ring_bytes)
        at = self.ring_offset + self.tail % self.ring_bytes
        self.memory[at:at + len(data)] = data
        self.tail += size
        self.words[8] = self.tail

    def push(self, opcode, fields, tail=b"", slot=NO_SLOT, cookie=0):
        length = 16 + len(fields) + len(tail)
        size = (length + 15) // 16 * 16
        left = self.ring_bytes - self.tail % self.ring_bytes
        if size > left:
            self.publish(struct.pack("<HHIQ", 0, NO_SLOT, left, 0), left)
        self.publish(struct.pack("<HHIQ", opcode, slot, length, cookie) + fields + tail, size)
        self.ring()

    def call(self, opcode, fields=b"", tail=b""):
        """(result, payload of the reply)"""
        self.cookie += 1
        slot = self.cookie % self.reply_slots
        at = self.reply_offset + SLOT_BYTES * slot
        self.push(opcode, fields, tail, slot, self.cookie)
        self.wait(lambda: self.words[at // 8] == self.cookie)
        result, length = struct.unpack_from("<iI", self.memory, at + 8)
        return result, self.memory[at + 16:at + 16 + length]

    def must(self, opcode, fields=b"", tail=b""):
        result, payload = self.call(opcode, fields, tail)
        if result:
            raise Refused(result)
        return payload

    def errors(self):
        """Raises what the channel's header tells."""
        if self.halves[80]:
            raise Refused(self.halves[80], "sticky")
        if self.halves[81]:
            code, self.halves[81] = self.halves[81], 0
            raise Refused(code, "deferred")

    def finish(self, stream=0, slot=7):
        """Waits for all work of a stream."""
        self.fence += 1
        self.push(FENCE, struct.pack("<QQII", stream, self.fence, slot, 0))
        self.wait(lambda: self.words[self.fence_offset // 8 + slot] >= self.fence or self.halves[80])
        self.errors()

    # ---- what a program wants

    def name(self, kind):
        self.made += 1
        return handle(kind, self.made, self.made)

    def device(self):
        total, version, count, _, text, *attributes = struct.unpack("<QiI16s256s160i", self.must(DEVICE_INFO))
        return total, version, text.split(b"\0")[0].decode(), attributes[:count]

    def activate(self):
        self.must(CONTEXT_ACTIVATE, struct.pack("<II", 0, 0))

    def allocate(self, size):
        return struct.unpack("<QQ", self.must(MEM_ALLOC, struct.pack("<Q", size)))[0]

    def copy(self, dst, dst_space, src, src_space, size, stream=0):
        self.push(COPY, struct.pack("<10QII", stream, dst, src, size, 1, 1, 0, 0, 0, 0, dst_space, src_space))

    def copy_in(self, dst, data):
        for at in range(0, len(data), self.arena_bytes):
            piece = data[at:at + self.arena_bytes]
            self.arena[:len(piece)] = piece
            self.copy(dst + at, DEVICE, self.window_base, HOST, len(piece))
            self.finish()

    def copy_out(self, src, size):
        out = b""
        while len(out) < size:
            piece = min(self.arena_bytes, size - len(out))
            self.copy(self.window_base, HOST, src + len(out), DEVICE, piece)
            self.finish()
            out += self.arena[:piece]
        return out

    def write(self, dst, data, stream=0):
        self.push(WRITE, struct.pack("<QQII", stream, dst, len(data), DEVICE), data)

    def load(self, image):
        """(module, None), or (None, the compiler's errors)."""
        blob, module = handle(BLOB, 1 + self.made, 3), self.name(MODULE)
        self.must(BLOB_CREATE, struct.pack("<QQ", blob, len(image)))
        for at in range(0, len(image), 1 << 20):
            piece = image[at:at + (1 << 20)]
            self.arena[:len(piece)] = piece
            self.push(BLOB_WRITE, struct.pack("<4Q", blob, at, 0, len(piece)))
            self.must(PING, bytes(8))
        result, payload = self.call(MODULE_LOAD, struct.pack("<QQ6I", module, blob, 0, 0, 0, 0, LOG_BYTES, LOG_BYTES))
        info, errors = struct.unpack_from("<II", payload)
        return (None, payload[8 + info:8 + info + errors].decode()) if result else (module, None)

    def function(self, module, name):
        """The kernel, its parameters' (offset, size), and the bytes of all."""
        function = self.name(FUNCTION)
        payload = self.must(FUNCTION_GET, struct.pack("<QQ", module, function), name.encode())
        count, size = struct.unpack_from("<II", payload)
        return function, [struct.unpack_from("<II", payload, 80 + 8 * i) for i in range(count)], size

    def launch(self, kernel, grid, block, values, stream=0):
        function, layout, size = kernel
        packed = bytearray(size)
        for value, (offset, width) in zip(values, layout, strict=True):
            packed[offset:offset + width] = value.to_bytes(width, "little")
        self.push(LAUNCH, struct.pack("<QQ10I", stream, function, *grid, *block, 0, 0, size, 0), bytes(packed))

    def close(self):
        self.words.release()
        self.halves.release()
        self.memory.close()
        self.arena.close()
        os.close(self.doorbell)
