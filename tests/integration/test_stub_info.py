# SPDX-License-Identifier: Apache-2.0
"""DEVICE_GET_INFO, DEVICE_GET_REGION_INFO, DEVICE_GET_IRQ_INFO."""
import struct

import guest
import pytest


@pytest.mark.parametrize("argsz", [16, 32, 0])
def test_device(monitor, argsz):
    _, flags, regions, irqs = struct.unpack("<IIII", monitor.ask(guest.GET_INFO, struct.pack("<IIII", argsz, 0, 0, 0)))
    assert flags == 3  # it can be reset, it is a PCI device
    assert (regions, irqs) == (9, 5)


def test_regions(monitor):
    sizes = {}
    for index in range(9):
        reply = monitor.ask(guest.GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, index, 0, 0, 0))
        argsz, flags, got, capabilities, size, offset = struct.unpack("<IIIIQQ", reply)
        assert (argsz, got, capabilities, offset) == (32, index, 0, 0)
        assert flags == (3 if size else 0)  # none can be mapped: writes stay posted
        sizes[index] = size
    assert sizes == {**dict.fromkeys(range(9), 0), 0: 0x80000, 7: 4096}


def test_interrupts(monitor):
    counts = []
    for index in range(5):
        reply = monitor.ask(guest.GET_IRQ_INFO, struct.pack("<IIII", 16, 0, index, 0))
        _, flags, got, count = struct.unpack("<IIII", reply)
        assert (flags, got) == (1, index)
        counts.append(count)
    assert counts == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("command,payload", [
    (guest.GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, 9, 0, 0, 0)), (guest.GET_REGION_INFO, bytes(8)),
    (guest.GET_IRQ_INFO, struct.pack("<IIII", 16, 0, 5, 0)), (guest.GET_IRQ_INFO, b""),
    (6, bytes(32)), (11, bytes(32)), (12, bytes(32)), (14, b""), (16, bytes(64)), (0, b""), (0xffff, bytes(100))])
def test_what_is_not_there_is_refused(monitor, command, payload):
    with pytest.raises(guest.Refused):
        monitor.ask(command, payload)
    assert monitor.reg("version") == 1  # and the stream is in step
