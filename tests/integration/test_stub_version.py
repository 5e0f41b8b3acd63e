# SPDX-License-Identifier: Apache-2.0
"""VERSION: what monitors say first, and what the stub takes."""
import json
import struct

import guest
import pytest


def fresh(monitor):
    monitor.close()
    return guest.Monitor(monitor.stub.socket, say_version=False)


def test_answer(monitor):
    with fresh(monitor) as m:
        reply = m.ask(guest.VERSION, struct.pack("<HH", 0, 1) + b'{"capabilities":{"max_msg_fds":8}}\0')
        assert struct.unpack("<HH", reply[:4]) == (0, 0) and reply[-1] == 0
        capabilities = json.loads(reply[4:-1])["capabilities"]
        assert capabilities["max_msg_fds"] <= 16 and capabilities["max_data_xfer_size"] >= 4096
        assert "migration" not in capabilities and "write_multiple" not in capabilities


def test_capabilities_are_optional(monitor):
    with fresh(monitor) as m:
        m.ask(guest.VERSION, struct.pack("<HH", 0, 0))
        assert m.reg("magic") == 0x55504756


@pytest.mark.parametrize("payload", [b"", b"\0\0\0", struct.pack("<HH", 1, 0) + b"{}\0", b"\0\0\0\0{}"])
def test_malformed(monitor, payload):
    with fresh(monitor) as m:
        with pytest.raises(guest.Refused):
            m.ask(guest.VERSION, payload)
        m.ask(guest.VERSION, b"\0\0\0\0{}\0")


def test_nothing_before_it(monitor):
    with fresh(monitor) as m:
        for command in (guest.DMA_MAP, guest.GET_INFO, guest.REGION_READ, guest.RESET):
            with pytest.raises(guest.Refused):
                m.ask(command, bytes(64))


def test_only_once(monitor):
    with pytest.raises(guest.Refused):
        monitor.ask(guest.VERSION, b"\0\0\0\0{}\0")
    assert monitor.reg("version") == 1
