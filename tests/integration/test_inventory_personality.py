# SPDX-License-Identifier: Apache-2.0
"""The personality of a VM: set, kept, told to its stub; and what its guest touched, asked from there."""
import json
import os
import signal
import struct

import admin
import control
import guest
import pytest
import vgpu
from inventory import SMALL, VM1, VM2, assigned, daemon, vms
from test_adopt import HOWS

HELLO_VM, REGISTERS, VM, REGISTERS_ASK = 3, 0x109, 0x20a, 0x20b
ROW = struct.Struct("<IIIIQQ24s")


def words(m, *offsets):
    return [struct.unpack("<I", m.read(o))[0] for o in offsets]


def stub_of(m, *args):
    return guest.stub(m.directory, m.directory / f"vm-{VM1}.sock", *args)


def asked(ctl, vm=VM1):
    return ctl.do("vm.registers", vm=vm)


def test_set_and_shown():
    with vgpu.mediator(*SMALL) as m, control.connect(m) as ctl:
        ctl.do("vm.add", vm=VM1, name="one")
        ctl.do("vm.add", vm=VM2, name="two", personality="nvidia")
        assert [v["personality"] for v in vms(ctl).values()] == ["custom", "nvidia"]
        ctl.do("vm.set", vm=VM1, personality="nvidia")
        ctl.do("vm.set", vm=VM2, name="zwei")
        assert [v["personality"] for v in vms(ctl).values()] == ["nvidia", "nvidia"]
        ctl.do("vm.set", vm=VM2, personality="custom")
        assert ctl.do("vm.get", vm=VM2)["personality"] == "custom"
        for wrong in ("Nvidia", "amd"):
            assert ctl.ask("vm.set", vm=VM1, personality=wrong)["error"] == "value"
        assert asked(ctl) == {"ok": True, "vm": VM1, "personality": "nvidia", "device": "no stub", "registers": []}
        assert ctl.ask("vm.registers", vm="0" * 8)["error"] == "unknown"


def test_a_stub_does_as_the_inventory_says():
    with vgpu.mediator(*SMALL) as m, control.connect(m) as ctl, stub_of(m) as stub:
        second = f"{stub.socket}.nvidia"
        assigned(ctl)
        vgpu.wait_for(lambda: "personality is custom" in stub.log(), 20)
        with pytest.raises((EOFError, ConnectionError)):
            guest.Monitor(second)
        assert asked(ctl)["device"] == "none"
        ctl.do("vm.set", vm=VM1, personality="nvidia")
        vgpu.wait_for(lambda: asked(ctl)["device"] == "unused", 10)
        with guest.Monitor(second) as g:
            assert words(g, 4, 0, 0xa00, 0x1183a4) == [0, 0x180000a1, 0x180a1000, 1024]  # and the profile's memory
            serial = struct.unpack("<II", g.read(0x2f4, 8, guest.CONFIG))
            assert f"{serial[1]:08x}{serial[0]:08x}" == VM1.replace("-", "")[16:]
            # The monitor that is there keeps what it has.
            ctl.do("vm.set", vm=VM1, personality="custom")
            vgpu.wait_for(lambda: stub.log().count("personality is custom\n") == 2, 10)
            assert words(g, 0) == [0x180000a1]
        with pytest.raises((EOFError, ConnectionError)):
            guest.Monitor(second)


def test_who_reserves_is_told_of_the_second_socket():
    with vgpu.mediator(*SMALL) as m, control.connect(m) as ctl:
        slot = ctl.do("vgpu.add", profile="small")["vgpu"]
        answer = ctl.do("slot.reserve", vgpu=slot, vm=VM1, name="one")
        assert answer["nvidia_socket"] is None
        ctl.do("vm.set", vm=VM1, personality="nvidia")
        answer = ctl.do("slot.reserve", vgpu=slot, vm=VM1, name="one")
        assert answer["nvidia_socket"] == answer["socket"] + ".nvidia"
        # A VM that something was said of stays, and with it that.
        ctl.do("slot.release", vgpu=slot, vm=VM1)
        assert vms(ctl)[VM1]["personality"] == "nvidia"


def test_what_was_touched():
    with vgpu.mediator(*SMALL) as m, control.connect(m) as ctl, stub_of(m) as stub:
        assigned(ctl)
        ctl.do("vm.set", vm=VM1, personality="nvidia")
        vgpu.wait_for(lambda: asked(ctl)["device"] == "unused", 20)
        with guest.Monitor(f"{stub.socket}.nvidia") as g:
            words(g, 0xa00, 0x0, 0xa00)
            g.write(0x1234, struct.pack("<I", 0x55))
            g.read(0, 4, 2)
            answer = asked(ctl)
            assert answer["device"] == "in use" and answer["personality"] == "nvidia"
            assert answer["registers"] == [
                {"register": "0x000a00", "name": "PMC_BOOT_42", "reads": 2, "writes": 0, "answer": "0x180a1000", "written": None},
                {"register": "0x000000", "name": "PMC_BOOT_0", "reads": 1, "writes": 0, "answer": "0x180000a1", "written": None},
                {"register": "0x001234", "name": None, "reads": 0, "writes": 1, "answer": None, "written": "0x00000055"}]
            assert (answer["more_reads"], answer["aperture_reads"], answer["aperture_writes"], answer["odd"]) == (0, 1, 0, 0)
            # As many as are counted one by one, in packets, and more.
            for i in range(700):
                g.read(0x200000 + 4 * i)
            answer = asked(ctl)
            assert len(answer["registers"]) == 512 and answer["more_reads"] == 700 - 509
            assert [int(r["register"], 16) for r in answer["registers"][3:]] == [0x200000 + 4 * i for i in range(509)]
        assert len(asked(ctl)["registers"]) == 512  # of the last monitor
        with guest.Monitor(f"{stub.socket}.nvidia"):
            assert asked(ctl)["registers"] == []


def test_for_people():
    with vgpu.mediator(*SMALL) as m, control.connect(m) as ctl:
        place = m.directory / "api.sock"

        def said(*command):
            r = admin.run("vm", *command, socket=place)
            assert r.returncode == 0, r.stderr
            return r.stdout

        assigned(ctl)
        assert "no stub now" in said("registers", VM1)
        said("set", VM1, "--personality=nvidia")
        assert "nvidia" in said("show", VM1) and "nvidia" in said("list")
        with stub_of(m) as stub:
            vgpu.wait_for(lambda: asked(ctl)["device"] == "unused", 20)
            assert "touched no register" in said("registers", VM1)
            with guest.Monitor(f"{stub.socket}.nvidia") as g:
                words(g, 0)
                assert "0x000000  PMC_BOOT_0      1  0x180000a1" in said("registers", VM1)
            said("set", VM1, "--personality=custom")
            vgpu.wait_for(lambda: asked(ctl)["device"] == "none", 10)
            assert "personality is custom" in said("registers", VM1)
        r = admin.run("vm", "set", VM1, "--personality=amd", socket=place)
        assert r.returncode in (admin.USAGE, admin.REFUSED) and "custom" in r.stderr


@pytest.mark.parametrize("how", HOWS)
def test_the_next_mediator_asks_the_same_stub(how):
    with daemon() as d:
        with control.connect(d.m) as ctl:
            assigned(ctl)
            ctl.do("vm.set", vm=VM1, personality="nvidia")
        with stub_of(d.m) as stub:
            with control.connect(d.m) as ctl:
                vgpu.wait_for(lambda: asked(ctl)["device"] == "unused", 20)  # noqa: B023
            with guest.Monitor(f"{stub.socket}.nvidia") as g:
                words(g, 0)
                d.replace(how)
                with control.connect(d.m) as ctl:
                    assert len(asked(ctl)["registers"]) == 1 and asked(ctl)["device"] == "in use"
                    ctl.do("vm.set", vm=VM1, personality="custom")
                vgpu.wait_for(lambda: "personality is custom" in stub.log(), 10)
                assert words(g, 0) == [0x180000a1]


# ---- a stub that lies or is silent ----

class FakeStub(vgpu.Client):
    """What says HELLO as a stub does."""

    def __init__(self, m):
        super().__init__(m.directory / f"vm-{VM1}.sock", say_hello=False)
        assert self.ask(vgpu.hello(features=HELLO_VM)).kind == vgpu.HELLO_OK
        assert self.kind_and_cookie() == (VM, 0)

    def kind_and_cookie(self):
        data = self.sock.recv(vgpu.MAX_PACKET)
        return struct.unpack_from("<4xH6xI", data) if data else (0, 0)

    def answer(self, cookie, rows=(), n=None, left=0, state=2, reserved=0):
        body = b"".join(ROW.pack(*r) for r in rows)
        self.send(vgpu.header(REGISTERS, 72 + len(body), cookie) + struct.pack(
            "<IIIIQQQQQ", len(rows) if n is None else n, left, state, reserved, 0, 0, 0, 0, 0) + body)


@pytest.fixture
def faked():
    with vgpu.mediator(*SMALL) as m, control.connect(m) as ctl:
        assigned(ctl)
        with FakeStub(m) as fake:
            yield m, ctl, fake


def question(fake):
    kind, cookie = fake.kind_and_cookie()
    assert kind == REGISTERS_ASK
    return cookie


def ask(ctl):
    ctl.sock.sendall(json.dumps({"op": "vm.registers", "vm": VM1}).encode() + b"\n")


def test_a_stub_that_does_not_answer(faked):
    m, ctl, fake = faked
    ask(ctl)
    late = question(fake)
    with control.connect(m) as other:
        assert other.ask("vm.registers", vm=VM1)["error"] == "limit"
    assert ctl.next()["error"] == "internal"
    fake.answer(late)  # too late is not wrong
    ask(ctl)
    fake.answer(question(fake), [(4, 5, 6, 0, 7, 8, b"name")])
    assert ctl.next()["registers"][0]["written"] == "0x00000006"


def test_a_stub_that_goes(faked):
    m, ctl, fake = faked
    ask(ctl)
    question(fake)
    fake.close()
    assert ctl.next()["error"] == "internal"


def test_who_asked_goes(faked):
    m, ctl, fake = faked
    with control.connect(m) as other:
        ask(other)
        cookie = question(fake)
    fake.answer(cookie, [(4, 5, 6, 0, 7, 8, b"name")])
    assert ctl.do("vm.get", vm=VM1)["connections"] == 1


def test_a_restart_that_fails_meanwhile_is_survived(faked):
    m, ctl, fake = faked
    ask(ctl)
    question(fake)
    os.kill(m.process.pid, signal.SIGHUP)  # without a keeper it goes on as before, or it comes back
    vgpu.wait_for(lambda: "SIGHUP" in m.log(), 10)


GOOD = (4, 5, 6, 0, 7, 8, b"name")
LIES = {"more rows than travel": {"rows": [GOOD], "n": 2}, "fewer": {"rows": [GOOD], "n": 0}, "too many to come": {"left": 513},
        "a state that is none": {"state": 3}, "reserved": {"reserved": 1}, "a name without an end": {"rows": [(4, 5, 6, 0, 7, 8, b"a" * 24)]},
        "a name for a terminal": {"rows": [(4, 5, 6, 0, 7, 8, b"\x1b[2J")]}, "a row's reserved": {"rows": [(4, 5, 6, 1, 7, 8, b"")]}}


@pytest.mark.parametrize("lie", LIES)
def test_a_stub_that_lies_is_closed(faked, lie):
    m, ctl, fake = faked
    ask(ctl)
    fake.answer(question(fake), **LIES[lie])
    assert ctl.next()["error"] == "internal"
    assert fake.receive().kind == vgpu.ERROR


def test_rows_without_end(faked):
    m, ctl, fake = faked
    ask(ctl)
    cookie = question(fake)
    for _ in range(9):
        fake.answer(cookie, [GOOD] * 64, left=64)
    assert ctl.next()["error"] == "internal"


def test_nobody_else_answers_registers():
    with vgpu.mediator(*SMALL) as m, vgpu.Client(str(m.socket)) as c:
        c.send(vgpu.header(REGISTERS, 72, 0) + struct.pack("<IIIIQQQQQ", 0, 0, 0, 0, 0, 0, 0, 0, 0))
        assert c.receive().kind == vgpu.ERROR
