# SPDX-License-Identifier: Apache-2.0
"""A virtual GPU without a host behind it: a vfio-user server for tests of vgpu.ko, as protocol/guest/vgpu_pci.h
describes the device. The bytes are packed here by hand, so that the module is not tested against its own header.
How it behaves (and misbehaves) is what the name of the guest's process says: see Gpu.open and Gpu.map."""
import array
import mmap
import os
import socket
import struct
import threading

MAGIC, BAR_BYTES, SLOTS, CHANNELS = 0x55504756, 0x80000, 32, 64
CHANNEL_BYTES, WAKE_WORD = 0x281000, 260
WINDOW, DEVICE_WINDOW, WINDOW_BYTES = 0x200000000000, 0x300000000000, 1 << 40
OK, INVALID, LIMIT, NO_HOST, BACKEND, ENDED, ADDRESS = 0, 1, 2, 3, 4, 5, 7


class Memory:
    """The guest's memory, by the fds that DMA_MAP brings."""

    def __init__(self):
        self.ranges = {}

    def map(self, address, size, fd, offset):
        self.ranges[address] = (size, mmap.mmap(fd, size, offset=offset))

    def unmap(self, address, size):
        """Everything in it: behind an IOMMU one message undoes several maps."""
        for begin in [b for b in self.ranges if address <= b < address + size]:
            del self.ranges[begin]

    def pieces(self, address, size):
        """Where the bytes lie; behind an IOMMU one range of the guest is many maps."""
        while size:
            for begin, (length, view) in self.ranges.items():
                if begin <= address < begin + length:
                    at = address - begin
                    n = min(size, length - at)
                    yield view, at, n
                    address, size = address + n, size - n
                    break
            else:
                raise ValueError(f"guest address {address:#x} is not mapped")

    def read(self, address, size):
        return b"".join(view[at:at + n] for view, at, n in self.pieces(address, size))

    def write(self, address, data):
        for view, at, n in self.pieces(address, len(data)):
            view[at:at + n], data = data[:n], data[n:]


class Gpu:
    """Registers and commands."""

    def __init__(self, memory, interrupt):
        self.memory, self.interrupt = memory, interrupt
        self.generation, self.kept = 1, None
        self.faults = []  # what the guest did wrong, for the test to look at
        self.reset()

    def reset(self):
        self.admin, self.enabled, self.open_channels, self.bells = 0, False, {}, {}

    def read(self, at):
        words = {0x000: MAGIC, 0x004: 1, 0x010: 42, 0x018: 300, 0x020: 1 << 30, 0x028: CHANNELS,
                 0x040: 1 | (4 if self.enabled else 0), 0x04c: self.generation}
        return words.get(at, 0)

    def write(self, at, value):
        if at >= 0x1000:
            self.rung((at - 0x1000) // 0x1000)
        elif at == 0x080:
            self.admin = self.admin & ~0xffffffff | value
        elif at == 0x084:
            self.admin = self.admin & 0xffffffff | value << 32
        elif at == 0x08c:
            if not value:
                self.reset()
            self.enabled = bool(value)
        elif at == 0x090:
            self.command(value)

    def command(self, slot):
        at = self.admin + slot * 256
        data = self.memory.read(at, 128)
        code, sequence = struct.unpack_from("<II", data)
        act = {1: self.open, 2: self.close, 3: self.map, 4: self.unmap, 5: self.device}[code]
        act(data[8:], lambda result, body=b"", seq=sequence: self.reply(at, seq, result, body))

    def reply(self, at, sequence, result, body=b""):
        self.memory.write(at + 132, struct.pack("<I", result) + body)
        self.memory.write(at + 128, struct.pack("<I", sequence))
        self.interrupt()

    def extents(self, where, n, want):
        """The list, whose bytes must add up to what was told."""
        data = self.memory.read(where, 16 * n)
        found = [struct.unpack_from("<QQ", data, 16 * i) for i in range(n)]
        if sum(size for _, size in found) != want or any((a | b) & 4095 or not b for a, b in found):
            self.faults.append(f"extents {found} are not {want} bytes in whole pages")
        return found

    def open(self, data, reply):
        number, pid, name, size, arena, where, n, n_arena = struct.unpack_from("<II16sQQQII", data)
        name = name.split(b"\0")[0].decode()
        memory = self.extents(where, n, CHANNEL_BYTES)
        pieces = memory + self.extents(where + 16 * n, n_arena, arena)
        if size != CHANNEL_BYTES or not pid or number in self.open_channels:
            self.faults.append(f"OPEN {number} of {name}: {size} bytes, pid {pid}")
        if any(self.memory.read(a, b).count(0) != b for a, b in pieces):
            self.faults.append("a channel's memory was not zero")
        geometry = struct.pack("<6I6Q", 4096, 1 << 20, 0x101000, 128, 0x201000, 65536, size, WINDOW, 64 << 30, arena,
                               DEVICE_WINDOW, WINDOW_BYTES)
        body = struct.pack("<Q", 7) + geometry + struct.pack("<II", 42, 0)
        if name in ("refused", "nohost", "backend"):
            reply({"refused": LIMIT, "nohost": NO_HOST, "backend": BACKEND}[name])
            return
        self.bells[number] = 0
        self.open_channels[number] = {"name": name, "header": memory[0][0], "maps": {}}
        if name == "never":
            return
        if name == "sequence":
            reply(OK, body, 0xfffffff0)
        elif name == "geometry":
            reply(OK, b"\xff" * 120)
        else:
            reply(OK, body)
        if name == "release" and self.kept:
            self.kept(OK)
            self.kept = None

    def close(self, data, reply):
        channel = self.open_channels.pop(struct.unpack_from("<I", data)[0], None)
        if channel and channel["name"] == "holdclose":
            self.kept = reply
        else:
            reply(OK if channel else INVALID)

    def map(self, data, reply):
        number, _, address, size, where, n, _ = struct.unpack_from("<IIQQQII", data)
        channel = self.open_channels[number]
        at, pieces = address, self.extents(where, n, size)
        for piece, length in pieces:
            for page in range(piece, piece + length, 4096):
                if struct.unpack("<Q", self.memory.read(page, 8))[0] != at:
                    self.faults.append(f"page {page:#x} is not that of {at:#x}")
                self.memory.write(page + 8, struct.pack("<Q", ~at & (1 << 64) - 1))
                at += 4096
        channel["maps"][address] = size
        if channel["name"] == "mapaddress":
            reply(ADDRESS)
        elif channel["name"] != "mapnever":
            # How many pieces it was, for the guest to see.
            self.memory.write(channel["header"] + 1024, struct.pack("<I", n))
            reply(OK)

    def unmap(self, data, reply):
        number, _, address = struct.unpack_from("<IIQ", data)
        reply(OK if self.open_channels[number]["maps"].pop(address, 0) else INVALID)

    def device(self, data, reply):
        """Answers with the question's bytes the other way round."""
        buffer, room, size = struct.unpack_from("<QII", data)
        question = self.memory.read(buffer, size)
        self.memory.write(buffer, question[::-1])
        reply(OK, struct.pack("<I", size if question[0] != 0x21 else room + 1))

    def rung(self, number):
        channel = self.open_channels.get(number)
        if not channel:
            self.faults.append(f"doorbell of channel {number}, which is not open")
            return
        at = channel["header"] + WAKE_WORD
        bell = self.bells.get(number, 0)
        if channel["name"] == "ended":
            bell |= 2 | 8 << 16
        else:
            self.memory.write(at, struct.pack("<I", struct.unpack("<I", self.memory.read(at, 4))[0] + 1))
            bell ^= 1
        self.bells[number] = bell
        self.memory.write(self.admin + SLOTS * 256 + 4 * number, struct.pack("<I", bell))
        self.interrupt()


def config_space():
    c = bytearray(4096)
    struct.pack_into("<HHHHBBBBBBBB", c, 0, 0x1af4, 0x10f0, 0, 0x0010, 1, 0, 0, 0x12, 0, 0, 0, 0)
    struct.pack_into("<HHIB", c, 0x2c, 0x1af4, 0x10f0, 0, 0x50)
    struct.pack_into("<BBH", c, 0x50, 0x05, 0x60, 0x0080)  # MSI, one vector, 64 bit
    struct.pack_into("<BBH", c, 0x60, 0x10, 0, 0x0002)     # PCI Express endpoint
    return c


class Server:
    """vfio-user: one QEMU after another."""

    def __init__(self, path):
        self.path, self.irq = path, -1
        self.memory = Memory()
        self.gpu = Gpu(self.memory, self.interrupt)
        self.config, self.link, self.quit = config_space(), None, False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def interrupt(self):
        if self.irq >= 0:
            os.write(self.irq, struct.pack("<Q", 1))

    def die(self):
        """As a process that was killed: the guest reads all ones from now on."""
        self.quit = True
        for s in (self.link, self.listener):
            if s:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                s.close()
        self.thread.join(10)

    def run(self):
        while not self.quit:
            try:
                self.link, _ = self.listener.accept()
                self.serve()
            except OSError:
                pass
            self.memory.ranges.clear()
            self.gpu.reset()
            self.set_irq(-1)

    def set_irq(self, fd):
        if self.irq >= 0:
            os.close(self.irq)
        self.irq = fd

    def receive(self, size, fds):
        data = b""
        while len(data) < size:
            part, control, _, _ = self.link.recvmsg(size - len(data), socket.CMSG_SPACE(64))
            if not part:
                raise OSError("hung up")
            for level, kind, body in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds += array.array("i", body[:len(body) // 4 * 4]).tolist()
            data += part
        return data

    def serve(self):
        while True:
            fds = []
            head = self.receive(16, fds)
            number, command, size, flags, _ = struct.unpack("<HHIII", head)
            body = self.receive(size - 16, fds)
            answer = self.handle(command, body, fds)
            for fd in fds:
                os.close(fd)
            if flags & 0x10:
                continue
            error = answer is None
            answer = answer or b""
            self.link.sendmsg([struct.pack("<HHIII", number, command, 16 + len(answer), 0x21 if error else 1,
                                           25 if error else 0) + answer])

    def handle(self, command, body, fds):
        """The reply's body; None: an error."""
        if command == 1:
            return struct.pack("<HH", 0, 0) + b'{"capabilities":{"max_msg_fds":16,"max_data_xfer_size":1048576}}\0'
        if command == 2:
            _, _, offset, address, size = struct.unpack_from("<IIQQQ", body)
            if fds:
                self.memory.map(address, size, fds[0], offset)
            return b""
        if command == 3:
            self.memory.unmap(*struct.unpack_from("<IIQQ", body)[2:])
            return body[:24]
        if command == 4:
            return struct.pack("<IIII", 16, 3, 9, 5)
        if command == 5:
            index = struct.unpack_from("<III", body)[2]
            size = {0: BAR_BYTES, 7: 4096}.get(index, 0)
            return struct.pack("<IIIIQQ", 32, 3 if size else 0, index, 0, size, 0)
        if command == 7:
            index = struct.unpack_from("<III", body)[2]
            return struct.pack("<IIII", 16, 1, index, 1 if index == 1 else 0)
        if command == 8:
            return self.set_irqs(body, fds)
        if command == 9:
            return self.region_read(body)
        if command == 10:
            return self.region_write(body)
        if command == 13:
            self.gpu.reset()
            self.gpu.generation += 1
            return b""
        return None

    def set_irqs(self, body, fds):
        _, flags, index, _, _ = struct.unpack_from("<IIIII", body)
        if index == 1:
            self.set_irq(fds.pop(0) if flags & 4 and fds else -1)
        return b""

    def region_read(self, body):
        offset, region, count = struct.unpack_from("<QII", body)
        if region == 7:
            data = bytes(self.config[offset:offset + count])
        else:
            data = struct.pack("<I", self.gpu.read(offset))[:count]
        return body[:16] + data.ljust(count, b"\0")

    def region_write(self, body):
        offset, region, count = struct.unpack_from("<QII", body)
        if region == 7:
            keep = slice(0, 4), slice(8, 64), slice(0x50, 4096)
            old = bytes(self.config)
            self.config[offset:offset + count] = body[16:16 + count]
            for k in keep:  # only command and status are written
                self.config[k] = old[k]
        elif count == 4:
            self.gpu.write(offset, struct.unpack_from("<I", body, 16)[0])
        return body[:16]
