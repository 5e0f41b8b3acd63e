#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A sensor without a card for the mediator's integration tests; misbehaves as $VGPU_FAKE_SENSOR says:

  ok | placed | identity | silent | mute | garbage | exit | crash | lost | twice | hangup | wild | @FILE

FILE is read at the start and before each answer: ok | lost | missing (it cannot start) | xid N ... (once)
"""
import os
import signal
import socket
import struct
import sys
import time

MAGIC, SENSE, SENSOR_READY, SENSED = 0x55504756, 0x0501, 0x0601, 0x0602
HOW = os.environ.get("VGPU_FAKE_SENSOR", "ok")


def header(kind, length):
    return struct.pack("<IHHII", MAGIC, kind, 0, length, 0)


def ready(readings):
    return header(SENSOR_READY, 968) + struct.pack(
        "<II16s256s16sQiI160i", readings, 0, b"cuda", b"Fake card\x1b", b"0123456789abcdef", 80 << 30, 13000, 146,
        *range(160))


def sensed(values, lost=0, xids=()):
    valid = sum(1 << i for i in values)
    return header(SENSED, 1432) + struct.pack(
        "<II16I80s32s32s80s16s64s130Q", lost, len(xids), *(*xids, *[0] * 16)[:16], b"580.159.04", b"96.00", b"", b"", b"", b"", valid & (1 << 64) - 1, valid >> 64,
        *(values.get(i, 0) for i in range(128)))


def ordered():
    if not HOW.startswith("@"):
        return [HOW]
    with open(HOW[1:], encoding="ascii") as f:
        words = f.read().split()
    if words[0] == "xid":
        with open(HOW[1:], "w", encoding="ascii") as f:
            f.write("ok")
    return words


def main():
    print("fds", *sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")), flush=True)
    link = socket.socket(fileno=3)
    if ordered() == ["missing"]:
        print("no card is here", flush=True)
        sys.exit(3)
    if HOW == "silent":
        time.sleep(600)
    if HOW == "exit":
        print("no card is here", flush=True)
        sys.exit(3)
    if HOW == "garbage":
        link.send(b"garbage")
        time.sleep(600)
    link.send(ready(0 if HOW == "identity" else 1))
    if HOW == "identity":
        return
    if HOW == "hangup":
        link.close()
        time.sleep(600)
    temperature = 40
    while True:
        message = link.recv(4096)
        if not message:
            return
        assert message == header(SENSE, 16), message
        if HOW == "mute":
            time.sleep(600)
        if HOW == "crash":
            os.kill(os.getpid(), signal.SIGABRT)
        how = ordered()
        if how[0] == "xid":
            link.send(sensed({27: temperature}, 0, [int(n) for n in how[1:]]))
            continue
        if how[0] == "lost":
            link.send(sensed({}, 1))
            sys.exit(2)
        # temperature, its most, draw, the greatest limit, utilisation and free memory of the card
        values = {27: temperature, 31: 88, 35: 350000, 40: 700000, 68: 93, 72: 5 << 30}
        if HOW == "placed":
            values |= {0: 0, 1: 0x3b, 2: 0, 3: 0x233010de}
        if HOW == "wild":  # out of range; the tenant's own; unknown here
            values |= {27: 5000, 79: 7, 80: 7, 127: 7}
        link.send(sensed(values))
        if HOW == "twice":
            link.send(sensed(values))
        temperature += 1


main()
