# SPDX-License-Identifier: Apache-2.0
"""REGION_READ and REGION_WRITE: registers and configuration space."""
import errno
import struct
import subprocess

import guest
import pytest


def test_configuration_space(monitor):
    config = monitor.read(0, 4096, guest.CONFIG)
    assert struct.unpack_from("<HH", config) == (0x1af4, 0x10f0)
    assert config[9:12] == b"\x00\x00\x12"
    seen, at = [], config[0x34]
    while at:
        seen.append(config[at])
        at = config[at + 1]
    assert seen == [1, 5, 16]  # power management, MSI, PCI Express


def test_ids_that_the_operator_chose(tmp_path):
    with guest.stub(tmp_path, tmp_path / "none", "--pci-id", "1234:aBcd") as s, guest.Monitor(s.socket) as m:
        for _ in range(2):
            config = m.read(0, 64, guest.CONFIG)
            assert struct.unpack_from("<HH", config) == struct.unpack_from("<HH", config, 0x2c) == (0x1234, 0xabcd)
            m.reset()
    for bad in ("", "1234", "1234:", "0000:1234", "ffff:1234", "1234:12345", "12 4:1234", "0x12:1234", "1234-1234"):
        refused = subprocess.run([guest.STUB, "--socket", tmp_path / "s", "--pci-id", bad], stderr=subprocess.PIPE, check=False)
        assert refused.returncode == 64 and b"--pci-id" in refused.stderr


def test_bar_sizing(monitor):
    monitor.write(0x10, b"\xff" * 4, guest.CONFIG)
    assert struct.unpack("<I", monitor.read(0x10, 4, guest.CONFIG))[0] == 0xfff80000
    monitor.write(0x10, struct.pack("<I", 0xfe000000), guest.CONFIG)
    assert struct.unpack("<I", monitor.read(0x10, 4, guest.CONFIG))[0] == 0xfe000000


def test_registers(monitor):
    assert monitor.read(0, 8) == b"VGPU" + struct.pack("<I", 1)
    assert monitor.read(1, 1) == b"G" and monitor.read(2, 2) == b"PU"
    assert monitor.read(0x700, 8) == bytes(8)
    assert monitor.reg("channels") == 64


def test_memory_that_is_not_shared_is_told(monitor):
    assert monitor.reg("status") & guest.NO_SHARED
    monitor.map(0, 1 << 20)
    assert monitor.reg("status") & guest.NO_SHARED
    assert "share=on" in monitor.stub.log()


@pytest.mark.parametrize("region,offset,count", [
    (0, 0x80000, 4), (0, 0x7fffe, 4), (7, 4096, 1), (7, 4090, 8), (1, 0, 4), (6, 0, 4), (8, 0, 4), (9, 0, 4),
    (0xffffffff, 0, 4), (0, (1 << 64) - 4, 8), (0, (1 << 64) - 8, 8), (0, 0, 0), (0, 0, 65537), (0, 0, 0xffffffff)])
def test_outside(monitor, region, offset, count):
    for command, data in ((guest.REGION_READ, b""), (guest.REGION_WRITE, bytes(min(count, 64)))):
        with pytest.raises(guest.Refused) as error:
            monitor.ask(command, struct.pack("<QII", offset, region, count) + data)
        assert error.value.errno == errno.EINVAL
    assert monitor.reg("version") == 1


def test_a_write_that_says_more_than_it_has(monitor):
    with pytest.raises(guest.Refused):
        monitor.ask(guest.REGION_WRITE, struct.pack("<QII", 0, 0, 8) + bytes(4))


def test_posted_writes_have_no_reply(monitor):
    for value in range(100):
        monitor.write(guest.REG["admin_bytes"], struct.pack("<I", value), posted=True)
    assert monitor.reg("admin_bytes") == 99


def test_every_byte_of_bar0_can_be_read_and_written(monitor):
    for offset in range(0, 0x80000, 0x10000):
        monitor.read(offset, 65536)
    for offset in range(0, 0x3000, 4):
        for data in (b"\0", b"\xff\xff", b"\xff" * 4, b"\xff" * 8):
            monitor.write(offset, data, posted=True)
    assert monitor.reg("magic") == 0x55504756
    assert not monitor.reg("status") & guest.ENABLED
