# SPDX-License-Identifier: Apache-2.0
"""Our discovery as CloudStack's agent takes it: the file that is installed, run and read by the agent's rules, with a real
mediator, without one, and beside a script of others that does not do what it should."""
import contextlib
import json
import pathlib
import sqlite3
import time

import agent as agents
import host
import pytest
import test_agent
from inventory import VM1, VM2
from test_agent import NEXT, changed
from test_slots import partition, reserve

FAKE_SENSOR = pathlib.Path(__file__).parent.parent / "integration/fake_sensor.py"
MOST = 65536
PATIENCE = 30  # seconds of the agent


def listed(machine, **kw):
    """The devices, of a discovery that went well."""
    began = time.monotonic()
    a = machine.discover(**kw)
    assert (a["exit"], a["error"]) == (0, None) and 0 < a["bytes"] < MOST, a
    assert time.monotonic() - began < PATIENCE
    return a["devices"]


def owners(devices):
    return {d["bus_address"]: d["vm"] for d in devices if d["type"] == "MDEV"}


def failed(machine, **kw):
    """Nothing was printed, so nothing that is wrong."""
    a = machine.discover(**kw)
    assert a["exit"] == 1 and a["bytes"] == 0 and a["devices"] == [] and a["error"], a


@pytest.fixture
def ctl(machine):
    with machine.control() as c:
        yield c


@pytest.fixture
def slots(ctl):
    return partition(ctl, 2)


# ---- with a mediator

def test_slots_and_owners(machine, ctl, slots):
    reserve(ctl, slots[1])
    card, *devices = listed(machine)
    assert (card["bus_address"], card["type"], card["profile"], card["vm"]) == ("00:00.0", "VGPUOnly", "passthrough", None)
    assert owners(devices) == {slots[0]: None, slots[1]: "i-2-33-VM"}
    for d in devices:
        assert (d["type"], d["parent"], d["profile"], d["max_instances"], d["video_ram"]) == \
            ("MDEV", "00:00.0", "small", 2, 1024)
        assert (d["vendor_id"], d["device_id"], d["name"]) == (card["vendor_id"], card["device_id"], card["name"])


def test_nobody_is_named_who_has_none(machine, ctl, slots):
    reserve(ctl, slots[0])
    ctl.do("slot.release", vgpu=slots[0], vm=VM1)
    assert owners(listed(machine)) == dict.fromkeys(slots)


def test_the_owner_is_an_instances_name(machine, ctl, slots):
    """Also of a VM that an operator made known before, by another name."""
    ctl.do("vm.add", vm=VM2, name="labs")
    reserve(ctl, slots[0], VM2, "i-2-9-VM")
    assert owners(listed(machine))[slots[0]] == "i-2-9-VM"


@pytest.mark.parametrize("name", ["a", "i-2-33-VM", "i-2-1-" + 50 * "x", "x.y:z_0-9"])
def test_names_of_all_kinds(machine, ctl, name):
    profile = (name.replace(".", "").replace(":", ""))[:31]
    ctl.do("profile.add", profile=profile, memory="1M")
    slot, = partition(ctl, 1, profile)
    reserve(ctl, slot, VM1, name)
    device = listed(machine)[1]
    assert (device["bus_address"], device["profile"], device["vm"]) == (slot, profile, name)


MANY = pytest.mark.parametrize("machine", [("--set", "capacity.vgpus=1024", "--set", "profile tiny.memory=1M")], indirect=True)


@MANY
def test_300_slots(machine, ctl):
    slots = partition(ctl, 300, "tiny")
    for n, slot in enumerate(slots):
        reserve(ctl, slot, f"aaaaaaaa-bbbb-4ccc-8ddd-{n:012}", f"i-1234-{100000 + n}-VM")
    assert owners(listed(machine)) == {slot: f"i-1234-{100000 + n}-VM" for n, slot in enumerate(slots)}


@MANY
def test_more_than_the_agent_takes(machine, ctl):
    partition(ctl, 1000, "tiny")
    failed(machine)


def test_the_character_set_of_the_agent_is_no_matter(machine, ctl, slots):
    reserve(ctl, slots[0])
    with agents.running(locale="C") as other:
        assert listed(machine, agent=other) == listed(machine)


def test_a_real_card(agent, tmp_path):
    with contextlib.closing(host.Host(tmp_path, agent, "--set", f"paths.sensor={FAKE_SENSOR}",
                                      env={"VGPU_FAKE_SENSOR": "placed"})) as machine:
        card, = listed(machine)
        assert (card["bus_address"], card["vendor_id"], card["device_id"], card["type"]) == ("3b:00.0", "10de", "2330", "VGPUOnly")


# ---- without one

def test_only_those_in_use(machine, ctl, slots):
    reserve(ctl, slots[0])
    listed(machine)
    machine.end_mediator()
    assert owners(listed(machine)) == {slots[0]: "i-2-33-VM"}
    machine.lose_power()
    assert owners(listed(machine)) == {}
    machine.start_mediator()
    assert owners(listed(machine)) == dict.fromkeys(slots)


def test_no_database_either(machine, slots):
    machine.end_mediator()
    machine.store.unlink()
    failed(machine)


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_somebody_holds_the_database(machine, ctl, slots, how):
    """Whoever looks at it with a tool of SQLite's own; readers of a WAL are in nobody's way."""
    reserve(ctl, slots[0])
    machine.end_mediator()
    with contextlib.closing(sqlite3.connect(machine.store, isolation_level=None)) as db:
        db.execute(f"BEGIN {how}")
        assert owners(listed(machine)) == {slots[0]: "i-2-33-VM"}


def test_a_database_that_is_locked_for_good(machine, ctl, slots):
    reserve(ctl, slots[0])
    machine.end_mediator()
    with contextlib.closing(sqlite3.connect(machine.store, isolation_level=None)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
        failed(machine)
    assert owners(listed(machine)) == {slots[0]: "i-2-33-VM"}


# ---- what others find

@pytest.fixture
def stock(tmp_path):
    return lambda text: host.program(tmp_path / "stock.sh", text)


def said(*gpus):
    return f"cat <<'E'\n{json.dumps({'gpus': gpus})}\nE"


def places(devices):
    return [d["bus_address"] for d in devices]


def test_gpus_of_others_follow(machine, slots, stock):
    devices = listed(machine, merge=stock(f"{said(NEXT)}\necho noise >&2"))
    assert places(devices)[-1] == "af:00.0" and devices[-1]["type"] == "PCI"
    assert set(owners(devices)) == set(slots)


@pytest.mark.parametrize("text", ["exit 1", "echo nonsense", f"{said(NEXT)}\nexit 1", "echo '{\"gpus\":['", "head -c 300000 /dev/zero",
                                  "kill -9 $$", "exec sleep 100", "exec >&-; exec sleep 100"])
def test_one_that_fails_costs_nothing(machine, slots, stock, text):
    assert owners(listed(machine, merge=stock(text))) == dict.fromkeys(slots)


CHOKED = next(m for m in test_agent.test_a_fault_cuts_the_list.pytestmark if m.name == "parametrize").args[1]


@pytest.mark.parametrize("gpu", CHOKED, ids=range(len(CHOKED)))
def test_what_the_agent_cannot_read_is_left_out(machine, slots, stock, gpu):
    """Each of these cuts the agent's list (test_agent.py); what comes after it is there all the same."""
    devices = listed(machine, merge=stock(said(gpu, NEXT)))
    assert owners(devices).items() >= dict.fromkeys(slots).items() and places(devices)[-1] == "af:00.0"


@pytest.mark.parametrize("gpu", [
    changed(["numa_node"], "-1"), changed(["numa_node"]), changed(["vgpu_instances", 0, "profile_name"]),
    changed(["vgpu_instances", 0, "max_instances"], None), changed(["vgpu_instances", 0, "profile_name"], None),
    changed(["driver"], {"x": 1}), changed(["vf_instances"], [{"vf_pci_address": "3b:00.4", "vf_profile": "x", "used_by_vm": None}]),
], ids=range(7))
def test_what_it_can_read_is_left_in(machine, slots, stock, gpu):
    assert "3b:00.0" in places(listed(machine, merge=stock(said(gpu, NEXT))))


def test_a_list_that_would_be_too_long_with_ours(machine, slots, stock):
    failed(machine, merge=stock(said(*({**NEXT, "pci_address": f"{n:02x}:00.0"} for n in range(1, 255)))))


