# SPDX-License-Identifier: Apache-2.0
"""GPU code packed by hand, for tests of what reads it."""
import struct

PTX, CODE, LTO = 1, 2, 8
LZ4, ARCH, FAMILY = 0x2000, 0x100000, 0x200000


def ptx(sm="75", version="7.0", name="noargs", body="ret;"):
    return (f".version {version}\n.target sm_{sm}\n.address_size 64\n.global .align 4 .b8 table[12];\n"
            f".visible .entry {name}() {{ {body} }}\n").encode()


def lz4(data):
    """A raw block of literals only, which is what LZ4 makes of what does not repeat."""
    rest, length = len(data) - 15, b""
    if rest >= 0:
        length = b"\xff" * (rest // 255) + bytes([rest % 255])
    return bytes([min(len(data), 15) << 4]) + length + data


def entry(kind, sm, data, flags=0, version=(7, 0), options=b"", packed=False):
    plain, stored = (len(data), lz4(data)) if packed else (0, data)
    used = len(stored)
    stored += b"\0" * (-len(stored) % 8)
    head = b""
    if options:
        head = struct.pack("<II", 72, len(options)) + options
        head += b"\0" * (-len(head) % 8)
    return struct.pack("<HHIQIIHHIIIQQQ", kind, 0x101, 64 + len(head), len(stored), used if packed else 0, 64 if head else 0,
                       version[1], version[0], sm, 0, 0, 0x11 | flags | (LZ4 if packed else 0), 0, plain) + head + stored


def fatbin(*entries):
    body = b"".join(entries)
    return struct.pack("<IHHQ", 0xba55ed50, 1, 16, len(body)) + body


def elf(sections, kind=3):
    """An x86-64 file with sections by name."""
    names = b"\0.names\0" + b"".join(n.encode() + b"\0" for n in sections)
    heads, data, at = [struct.pack("<IIQQQQIIQQ", *[0] * 10)], b"", 64
    for name, bytes_ in {".names": names, **sections}.items():
        pad = -at % 8
        data, at = data + b"\0" * pad, at + pad
        heads.append(struct.pack("<IIQQQQIIQQ", names.index(name.encode() + b"\0"), 1, 0, 0, at, len(bytes_), 0, 0, 8, 0))
        data, at = data + bytes_, at + len(bytes_)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    return ident + struct.pack("<HHIQQQIHHHHHH", kind, 62, 1, 0, 0, at, 0, 64, 56, 0, 64, len(heads), 1) + data + b"".join(heads)


def archive(**members):
    out = b"!<arch>\n"
    for name, data in members.items():
        out += f"{name.replace('_', '.') + '/':<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(data):<10}`\n".encode() + data
        out += b"\n" * (len(out) % 2)
    return out
