# SPDX-License-Identifier: Apache-2.0
"""DEVICE_SET_IRQS in the forms that QEMU sends, and in others."""
import os
import struct

import guest
import pytest


def test_error_interrupt_is_taken(monitor):
    fd = os.eventfd(0)
    monitor.set_irq(fd, index=3)
    monitor.set_irq(None, index=3)
    os.close(fd)


def test_fds_are_replaced_and_closed(monitor):
    before = monitor.stub.fds()
    for _ in range(50):
        fd = os.eventfd(0)
        monitor.set_irq(fd)
        os.close(fd)
    assert monitor.stub.fds() == before + 1
    monitor.set_irq(None)
    assert monitor.stub.fds() == before


@pytest.mark.parametrize("flags,index,start,count,n_fds", [
    (0x24, 1, 1, 1, 1), (0x24, 1, 0, 2, 2), (0x24, 2, 0, 1, 1), (0x24, 0, 0, 1, 1), (0x24, 5, 0, 1, 1),
    (0x24, 1, 0, 0, 1), (0x24, 1, 0, 0xffffffff, 0), (0x21, 1, 0, 1, 1), (0x0c, 0, 0, 0, 0), (0x24, 1, 0, 1, 16)])
def test_malformed(monitor, flags, index, start, count, n_fds):
    before = monitor.stub.fds()
    fd = os.eventfd(0)
    with pytest.raises(guest.Refused):
        monitor.ask(guest.SET_IRQS, struct.pack("<IIIII", 20, flags, index, start, count), [fd] * n_fds)
    os.close(fd)
    assert monitor.stub.fds() == before


def test_fds_with_messages_that_have_none(monitor):
    before = monitor.stub.fds()
    fd = os.eventfd(0)
    with pytest.raises(guest.Refused):
        monitor.ask(guest.GET_INFO, bytes(16), [fd] * 16)
    os.close(fd)
    assert monitor.stub.fds() == before
