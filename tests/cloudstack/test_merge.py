# SPDX-License-Identifier: Apache-2.0
"""What CloudStack's tables (model.py) make of our lists, one after the other: rows that stay the same ones, owners, what is missing,
and who gets a device."""
import contextlib

import model
import pytest
from inventory import VM1
from test_slots import partition, reserve


@pytest.fixture(params=[False, True], ids=["kept", "detached"])
def cloud(database, request):
    with contextlib.closing(model.Cloud(database, request.param)) as c:
        c.add_host("kvm1")
        yield c


def look(cloud, machine):
    """The devices that a VM can have, after discovery."""
    cloud.discovered("kvm1", machine.discover()["devices"])
    return {bus: d for bus, d in cloud.devices("kvm1").items() if d["type"] == "MDEV"}


def states(rows):
    return {bus: (d["state"], d["vm"]) for bus, d in rows.items()}


def running(cloud, machine):
    """A VM of CloudStack's that has a vGPU there as here: its number, its name, and the vGPU."""
    number = cloud.deploy("small")
    slot, = cloud.allocate(number, "kvm1")
    vm = cloud.vm(number)
    with machine.control() as c:
        reserve(c, slot, vm["uuid"], vm["instance_name"])
    cloud.started(number, [slot])
    return number, vm["instance_name"], slot


def test_rows_stay_the_same_ones(cloud, machine):
    with machine.control() as c:
        two = partition(c, 2)
        rows = look(cloud, machine)
        assert states(rows) == dict.fromkeys(two, ("Free", None))
        parent, = (d for d in cloud.devices("kvm1").values() if d["type"] != "MDEV")
        assert parent["type"] == "VGPUOnly" and {d["parent_gpu_device_id"] for d in rows.values()} == {parent["id"]}
        profiles = {p["name"]: p for p in cloud.do("SELECT * FROM vgpu_profile")}
        assert set(profiles) == {"passthrough", "small"}
        assert (profiles["small"]["video_ram"], profiles["small"]["max_vgpu_per_pgpu"]) == (1024, 2)
        partition(c, 1)
        assert states(look(cloud, machine)) == {two[0]: ("Free", None), two[1]: ("Error", None)}
        partition(c, 3)
        again = look(cloud, machine)
    assert {bus: again[bus]["id"] for bus in two} == {bus: rows[bus]["id"] for bus in two} and len(again) == 3
    assert {d["state"] for d in again.values()} == {"Free"} and len(cloud.do("SELECT * FROM gpu_card")) == 1
    assert cloud.one("SELECT max_vgpu_per_pgpu m FROM vgpu_profile WHERE name = 'small'")["m"] == 2  # copied once


def test_owners(cloud, machine):
    with machine.control() as c:
        two = partition(c, 2)
        look(cloud, machine)
        number, name, slot = running(cloud, machine)
        other, = set(two) - {slot}
        assert states(look(cloud, machine)) == {slot: ("Allocated", name), other: ("Free", None)}
        reserve(c, other, VM1, "i-9-99-VM")  # of another cloud's, or a VM that was expunged
        assert states(look(cloud, machine))[other] == ("Error", None)
        c.do("slot.release", vgpu=other, vm=VM1)
        c.do("slot.release", vgpu=slot, vm=cloud.vm(number)["uuid"])
        cloud.stopped(number)
        kept = ("Free", None) if cloud.detach else ("Allocated", name)
        assert states(look(cloud, machine)) == {slot: kept, other: ("Free", None)}
        cloud.destroyed(number)
        assert states(look(cloud, machine)) == dict.fromkeys((slot, other), ("Free", None))


def test_without_a_mediator_nothing_is_to_be_had_and_nobody_loses(cloud, machine):
    with machine.control() as c:
        two = partition(c, 2)
    look(cloud, machine)
    _, name, slot = running(cloud, machine)
    other, = set(two) - {slot}
    machine.end_mediator()
    assert states(look(cloud, machine)) == {slot: ("Allocated", name), other: ("Error", None)}
    assert cloud.allocate(cloud.deploy("small"), "kvm1") is None
    machine.start_mediator()
    assert states(look(cloud, machine)) == {slot: ("Allocated", name), other: ("Free", None)}
    assert cloud.allocate(cloud.deploy("small"), "kvm1") == [other]


def test_only_what_is_free_and_of_the_profile_is_given(cloud, machine):
    with machine.control() as c:
        partition(c, 2)
        c.do("profile.add", profile="large", memory="2G")
        large, = partition(c, 1, "large")
    look(cloud, machine)
    assert cloud.allocate(cloud.deploy("passthrough"), "kvm1") is None  # the GPU itself
    assert cloud.allocate(cloud.deploy("large"), "kvm1") == [large]
    assert cloud.allocate(cloud.deploy("large"), "kvm1") is None
    assert cloud.allocate(cloud.deploy("small", 3), "kvm1") is None
    assert len(cloud.allocate(cloud.deploy("small", 2), "kvm1")) == 2
