# SPDX-License-Identifier: Apache-2.0
"""The second device of the nvidia personality, as a monitor sees it: identity, sizes, registers, and whatever a hostile guest
or monitor does to it."""
import os
import random
import struct

import guest
import pytest
import vgpu

BAR1, BAR3 = 2, 4  # the slots of the vendor's BAR1 and BAR2/3
BOOT = {0x0: 0x180000a1, 0x4: 0, 0xa00: 0x180a1000}


class Identity(guest.Monitor):
    def word(self, offset, region=guest.BAR0):
        return struct.unpack("<I", self.read(offset, 4, region))[0]

    def put(self, offset, value, region=guest.BAR0):
        self.write(offset, struct.pack("<I", value), region)

    def config(self, offset, count=4):
        return int.from_bytes(self.read(offset, count, guest.CONFIG), "little")


@pytest.fixture
def nvidia(tmp_path, request):
    """A stub of the personality, and a monitor that has its second device; options of the stub as a parameter."""
    options = getattr(request, "param", ())
    with guest.stub(tmp_path, tmp_path / "nobody.sock", "--personality", "nvidia", *options) as s:
        with Identity(f"{s.socket}.nvidia") as m:
            m.stub = s
            yield m
            m.close()
        # Whatever was done to it, the transport works.
        with guest.Guest(s.socket) as g:
            assert g.reg("magic")


def region(m, index):
    return struct.unpack("<IIIIQQ", m.ask(guest.GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, index, 0, 0, 0)))[4]


def test_identity(nvidia):
    assert nvidia.config(0) == 0x233010de
    assert nvidia.config(8) == 0x030200a1  # 3D controller
    assert nvidia.config(0x2c) == 0x16c110de
    assert nvidia.config(0x30) == 0 and nvidia.config(0x3d, 1) == 0  # no ROM, no pin
    assert [region(nvidia, i) for i in range(9)] == [16 << 20, 0, 512 << 20, 0, 32 << 20, 0, 0, 4096, 0]
    listed, at = [], nvidia.config(0x34, 1)
    while at:
        listed.append((at, nvidia.config(at, 1)))
        at = nvidia.config(at + 1, 1)
    assert listed == [(0x40, 1), (0x48, 5), (0x60, 0x10)]


@pytest.mark.parametrize("nvidia", [("--nvidia-model", "h100-pcie", "--nvidia-bar1", "65536")], indirect=True)
def test_the_other_model_and_size(nvidia):
    assert nvidia.config(0) == 0x233110de
    assert nvidia.config(0x2c) == 0x162610de
    assert region(nvidia, BAR1) == 64 << 30
    nvidia.put(0x18, 0xffffffff, guest.CONFIG)
    nvidia.put(0x1c, 0xffffffff, guest.CONFIG)
    assert nvidia.config(0x18) == 0xc and nvidia.config(0x1c) == 0xfffffff0


@pytest.mark.parametrize("option", [("--personality", "other"), ("--nvidia-model", "h200"), ("--nvidia-bar1", "100"),
                                    ("--nvidia-bar1", "32"), ("--nvidia-bar1", "262144"), ("--nvidia-bar1", "")])
def test_wrong_options_are_refused(tmp_path, option):
    with pytest.raises(AssertionError, match=f"vgpu-stub: {option[0]}"):
        guest.Stub(tmp_path, tmp_path / "nobody.sock", *option)


def test_what_drivers_ask_first(nvidia):
    for offset, value in BOOT.items():
        assert nvidia.word(offset) == value
        nvidia.put(offset, 0xffffffff)
        assert nvidia.word(offset) == value
    assert nvidia.word(0x200bc) & 0xff == 0xff  # its own boot has ended
    assert nvidia.word(0x1183a4) == 81559
    size = nvidia.word(0x100ce0)
    assert (size >> 4 & 0x3f) << (size & 0xf) == 80 << 10
    assert nvidia.word(0x1fa828) == 0 and nvidia.word(0x1182cc) == 0
    assert [nvidia.word(o) for o in (0x82074c, 0x820c04)] == [1, 1]
    for offset in (0x8, 0xffffc, 0x610000, 0xfffffc, 0x118234):
        assert nvidia.word(offset) == 0


def test_parts_of_words(nvidia):
    whole = struct.pack("<I", BOOT[0])
    for at in range(4):
        assert nvidia.read(at, 1) == whole[at:at + 1]
    assert nvidia.read(2, 2) == whole[2:]
    assert nvidia.read(0, 8) == whole + bytes(4)
    assert nvidia.read(0x9fe, 8) == bytes(2) + struct.pack("<I", BOOT[0xa00]) + bytes(2)


def test_its_clocks_run(nvidia):
    for low, high in ((0x9400, 0x9410), (0x118f54, 0x118f58), (0xbb0080, 0xbb0084)):
        before = nvidia.word(high) << 32 | nvidia.word(low)
        assert before % 32 == 0
        vgpu.wait_for(lambda b=before, o=(low, high): nvidia.word(o[1]) << 32 | nvidia.word(o[0]) > b, 10, "a later time")


def test_the_flush_page_is_kept_and_forgotten_by_a_reset(nvidia):
    nvidia.put(0x100a38, 0x12)
    nvidia.put(0x100a34, 0x345678)
    assert (nvidia.word(0x100a38), nvidia.word(0x100a34)) == (0x12, 0x345678)
    nvidia.reset()
    assert (nvidia.word(0x100a38), nvidia.word(0x100a34)) == (0, 0)


def test_the_mirrors_of_the_config_space_agree_with_it(nvidia):
    nvidia.put(0x4, 0x6, guest.CONFIG)
    plain = nvidia.read(0, 4096, guest.CONFIG)
    assert plain[4] == 6
    for base in (0x88000, 0x92000):
        assert b"".join(nvidia.read(base + i, 8) for i in range(0, 4096, 8)) == plain
        nvidia.put(base + 4, 0)
        assert nvidia.config(4, 1) == 6


def test_the_apertures_hold_nothing(nvidia):
    for index, last in ((BAR1, (512 << 20) - 4), (BAR3, (32 << 20) - 4)):
        for offset in (0, last):
            nvidia.put(offset, 0xffffffff, index)
            assert nvidia.word(offset, index) == 0
        with pytest.raises(guest.Refused):
            nvidia.read(last + 4, 4, index)


def test_memory_of_the_vm_is_not_kept(nvidia):
    fd = os.memfd_create("guest-ram")
    os.ftruncate(fd, 1 << 20)
    before = nvidia.stub.fds()
    for i in range(32):
        nvidia.map(i << 20, 1 << 20, fd)
    assert nvidia.stub.fds() == before
    assert not guest.maps_of(nvidia.stub.pid, "guest-ram")
    nvidia.unmap(0, 1 << 20)
    nvidia.unmap(7 << 40, 1 << 20)  # never there
    os.close(fd)


def test_no_interrupt_is_raised(nvidia):
    irq = os.eventfd(0, os.EFD_NONBLOCK)
    nvidia.set_irq(irq)
    rnd = random.Random(1)
    for _ in range(500):
        nvidia.put(rnd.randrange(0, 16 << 20) & ~3, rnd.getrandbits(32))
    nvidia.put(0xbb0090, 1)  # a channel's doorbell
    nvidia.put(0x110c00, 1)  # the firmware's
    nvidia.reset()
    with pytest.raises(BlockingIOError):
        os.eventfd_read(irq)
    os.close(irq)


def test_garbage_everywhere(nvidia):
    """More registers than are counted one by one, every shape of access, all of the configuration space."""
    rnd = random.Random(2)
    sizes = {guest.BAR0: 16 << 20, BAR1: 512 << 20, BAR3: 32 << 20, guest.CONFIG: 4096}
    for _ in range(4000):
        where = rnd.choice(list(sizes))
        count = rnd.choice((1, 2, 3, 4, 5, 8, 16, 64, 4096))
        offset = rnd.randrange(0, sizes[where] - count + 1)
        if rnd.random() < 0.5:
            nvidia.read(offset, count, where)
        else:
            nvidia.write(offset, rnd.randbytes(count), where, posted=rnd.random() < 0.5)
    for where, size in sizes.items():
        for count in (1, 8, 4096):
            with pytest.raises(guest.Refused):
                nvidia.read(size - count + 1, count, where)
    assert nvidia.word(0) == BOOT[0] and nvidia.config(0) == 0x233010de
    nvidia.reset()
    assert nvidia.config(4, 2) == 0


def test_one_monitor_after_the_other(nvidia):
    path = f"{nvidia.stub.socket}.nvidia"
    with pytest.raises((EOFError, ConnectionError)):
        Identity(path)
    nvidia.close()
    for _ in range(3):
        with Identity(path) as again:
            assert again.word(0) == BOOT[0]


def test_both_devices_are_apart(tmp_path):
    with guest.stub(tmp_path, tmp_path / "nobody.sock", "--personality", "nvidia") as s:
        with guest.Guest(s.socket) as transport, Identity(f"{s.socket}.nvidia") as m:
            assert transport.reg("status") & guest.ENABLED
            m.reset()
            m.sock.sendall(b"\xff" * 64)  # not a message
            with pytest.raises((EOFError, ConnectionError)):
                m.exactly(1)
            assert transport.reg("status") & guest.ENABLED
            with Identity(f"{s.socket}.nvidia") as again:
                assert again.word(0) == BOOT[0]
    assert not os.path.exists(f"{s.socket}.nvidia")


def test_custom_has_no_second_socket(tmp_path):
    with guest.stub(tmp_path, tmp_path / "nobody.sock", "--personality", "custom") as s:
        assert os.listdir(tmp_path) and not os.path.exists(f"{s.socket}.nvidia")


def test_a_path_that_is_too_long_for_a_second_socket(tmp_path):
    deep = tmp_path / ("d" * (95 - len(str(tmp_path))))  # with /gpu.sock 104 of 107
    deep.mkdir()
    with guest.stub(deep, tmp_path / "nobody.sock") as s, guest.Guest(s.socket) as g:
        assert g.reg("magic") and "too long" in s.log()
    with pytest.raises(AssertionError, match="too long"):
        guest.Stub(deep, tmp_path / "nobody.sock", "--personality", "nvidia")


def test_without_the_mediators_word_monitors_wait(tmp_path):
    with guest.stub(tmp_path, tmp_path / "nobody.sock") as s:
        with pytest.raises(TimeoutError):
            Identity(f"{s.socket}.nvidia", timeout=0.5)


def test_a_tenant_that_is_no_vm_of_the_inventory_has_one_device(tmp_path, mediator):
    with guest.stub(tmp_path, mediator.socket) as s:
        with pytest.raises((EOFError, ConnectionError)):
            Identity(f"{s.socket}.nvidia")
        assert "personality is custom" in s.log()
