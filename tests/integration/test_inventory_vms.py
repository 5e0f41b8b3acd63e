# SPDX-License-Identifier: Apache-2.0
"""VMs and vGPUs: made, assigned, released, removed; what is refused and why; the capacity of the card."""
import os
import pathlib
import re
import stat

import control
import pytest
import vgpu
from inventory import SMALL, VM1, VM2, assigned, tenant_of, tenants_of, vgpus, vms

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
NOBODY = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def ctl(request):
    with vgpu.mediator(*SMALL, *getattr(request, "param", ())) as m, control.connect(m) as c:
        c.mediator = m
        yield c


def test_a_vm_from_beginning_to_end(ctl):
    vm = ctl.do("vm.add", vm=VM1.upper(), name="one")
    assert (vm["vm"], vm["name"], vm["vgpu"], vm["tenant"], vm["socket"]) == (VM1, "one", None, None, None)
    slot = ctl.do("vgpu.add", profile="small")
    assert UUID.fullmatch(slot["vgpu"]) and (slot["number"], slot["vm"], slot["memory"]) == (0, None, 1 << 30)
    assert slot["gpu"] == ctl.do("gpu.list")["gpus"][0]["gpu"]
    slot = ctl.do("vgpu.assign", vgpu=slot["vgpu"], vm=VM1)
    path = pathlib.Path(slot["socket"])
    assert path == ctl.mediator.directory / f"vm-{VM1}.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.stat().st_uid == os.getuid()
    row = tenant_of(ctl)
    assert (row["name"], row["memory"], row["weight"], row["pool"], row["by_hand"]) == ("one", 1 << 30, 50, "default", [])
    assert row["record"] == f"vm-{VM1}" and row["tenant"] == slot["tenant"]

    client = vgpu.Client(path)
    assert (client.greeting.tenant, client.greeting.memory, client.greeting.weight) == (row["tenant"], 1 << 30, 50)
    client.open().do("memory 4096")
    vgpu.wait_for(lambda: tenant_of(ctl)["memory_used"] == 4096)
    vm = ctl.do("vm.get", vm=VM1)
    assert (vm["vgpu"], vm["tenant"], vm["connections"], vm["channels"]) == (slot["vgpu"], row["tenant"], 1, 1)

    assert ctl.do("vgpu.release", vgpu=slot["vgpu"])["channels"] == 1
    lost = client.receive()
    assert (lost.kind, lost.code) == (vgpu.CHANNEL_LOST, vgpu.E_SHUTDOWN) and "removed" in lost.text
    assert client.receive() is None and not path.exists()
    assert tenants_of(ctl) == [] and ctl.do("vm.get", vm=VM1)["tenant"] is None
    ctl.do("vgpu.remove", vgpu=slot["vgpu"])
    ctl.do("vm.remove", vm=VM1)
    assert vms(ctl) == vgpus(ctl) == {}


def test_a_vgpu_goes_from_one_vm_to_another_and_back(ctl):
    slot = assigned(ctl)
    ctl.do("vm.add", vm=VM2, name="two")
    for vm in (VM2, VM1, VM2, VM1):
        before = vgpus(ctl)[slot["vgpu"]]["vm"]
        client = vgpu.Client(ctl.mediator.directory / f"vm-{before}.sock")
        client.open()
        ctl.do("vgpu.release", vgpu=slot["vgpu"])
        now = ctl.do("vgpu.assign", vgpu=slot["vgpu"], vm=vm)  # while the last one is still ending
        with vgpu.Client(now["socket"]) as another:
            assert another.open()
        assert client.receive().kind == vgpu.CHANNEL_LOST
        assert [t["vm"] for t in ctl.do("tenant.list")["tenants"] if t["vm"]] == [vm]


def test_assigning_again_changes_nothing(ctl):
    slot = assigned(ctl)
    with vgpu.Client(slot["socket"]) as client:
        client.open()
        assert ctl.do("vgpu.assign", vgpu=slot["vgpu"], vm=VM1)["tenant"] == slot["tenant"]
        assert tenant_of(ctl)["channels"] != []


def test_the_vms_profile_decides_where_nothing_is_said(ctl):
    ctl.do("profile.add", profile="large", memory="2G")
    ctl.do("vm.add", vm=VM1, name="one", profile="small")
    assert ctl.refused("vgpu.add", vm=VM1, profile="large") == \
        ("state", "the VM 'one' is to have a vGPU of profile 'small', and this one is of 'large'")
    slot = ctl.do("vgpu.add", vm=VM1)
    assert slot["profile"] == "small"
    assert ctl.refused("vm.set", vm=VM1, profile="large") == \
        ("state", f"the VM has the vGPU {slot['vgpu']} of profile 'small': release it first (vgpu.release)")
    ctl.do("vgpu.release", vgpu=slot["vgpu"])
    ctl.do("vm.set", vm=VM1, profile="large")
    assert ctl.refused("vgpu.assign", vgpu=slot["vgpu"], vm=VM1)[0] == "state"
    ctl.do("vm.set", vm=VM1, profile="")
    ctl.do("vgpu.assign", vgpu=slot["vgpu"], vm=VM1)
    ctl.do("vm.add", vm=VM2, name="two")
    assert ctl.refused("vgpu.add", vm=VM2) == \
        ("field", "vgpu.add needs the field 'profile', or a VM that has one")


def test_numbers_are_of_a_profile_and_used_again(ctl):
    ctl.do("profile.add", profile="tiny", memory="64M")
    slots = [ctl.do("vgpu.add", profile="tiny") for _ in range(3)]
    assert [s["number"] for s in slots] == [0, 1, 2]
    assert ctl.do("vgpu.add", profile="small")["number"] == 0
    ctl.do("vgpu.remove", vgpu=slots[1]["vgpu"])
    assert ctl.do("vgpu.add", profile="tiny")["number"] == 1


def test_what_is_in_use_stays(ctl):
    ctl.do("profile.add", profile="mine", memory="1G")
    ctl.do("pool.add", pool="gold")
    ctl.do("vm.add", vm=VM1, name="one", pool="gold", profile="mine")
    slot = ctl.do("vgpu.add", vm=VM1)
    assert ctl.refused("vm.remove", vm=VM1) == \
        ("state", f"the VM has the vGPU {slot['vgpu']}: release it first (vgpu.release)")
    assert ctl.refused("vgpu.remove", vgpu=slot["vgpu"]) == \
        ("state", f"the VM 'one' ({VM1}) has it: release it first (vgpu.release)")
    assert ctl.refused("profile.remove", profile="mine") == ("state", "1 vGPUs and 1 VMs are of the profile 'mine'")
    assert ctl.refused("pool.remove", pool="gold") == \
        ("state", f"the VM 'one' ({VM1}) is to be in the pool: change that first (vm.set)")
    ctl.do("vm.add", vm=VM2, name="two")
    assert ctl.refused("vgpu.assign", vgpu=slot["vgpu"], vm=VM2) == \
        ("state", f"the VM 'one' ({VM1}) has it: release it first (vgpu.release)")
    assert ctl.refused("vgpu.add", vm=VM1, profile="mine") == \
        ("state", f"the VM 'one' has the vGPU {slot['vgpu']} already: release it first (vgpu.release)")
    ctl.do("vgpu.release", vgpu=slot["vgpu"])
    assert ctl.refused("vgpu.release", vgpu=slot["vgpu"]) == ("state", "no VM has it")
    assert ctl.refused("profile.remove", profile="mine") == ("state", "1 vGPUs and 1 VMs are of the profile 'mine'")
    ctl.do("vgpu.remove", vgpu=slot["vgpu"])
    ctl.do("vm.set", vm=VM1, pool="", profile="")
    ctl.do("profile.remove", profile="mine")
    vgpu.wait_for(lambda: ctl.status()[0]["gold"]["tenants"] == 0)  # the tenant has ended
    ctl.do("pool.remove", pool="gold")


def test_what_vms_and_vgpus_refuse(ctl):
    ctl.do("vm.add", vm=VM1, name="one")
    assert ctl.refused("vm.add", vm=VM1, name="two") == ("state", f"there is a VM {VM1} already")
    assert ctl.refused("vm.add", name="two", pool="none") == ("unknown", "there is no pool 'none'")
    assert ctl.refused("vm.add", name="two", profile="none") == ("unknown", "there is no profile 'none'")
    assert ctl.refused("vm.add")[0] == "field"
    for bad in ("", "a b", "a/b", "x" * 64, "ä"):
        assert ctl.refused("vm.add", name=bad)[0] == "value"
        assert ctl.refused("vm.set", vm=VM1, name=bad)[0] == "value"
    for bad in ("", "one", VM1 + "0", "../../../../../../../../../../../../", "00000000-0000-0000-0000-000000000000"):
        assert ctl.refused("vm.add", vm=bad, name="two")[0] == "value"
        assert ctl.refused("vm.get", vm=bad)[0] == "unknown"
    for op in ("vm.get", "vm.set", "vm.remove"):
        assert ctl.refused(op, vm=NOBODY) == ("unknown", f"there is no VM '{NOBODY}'")
    for op in ("vgpu.get", "vgpu.remove", "vgpu.release"):
        assert ctl.refused(op, vgpu=NOBODY) == ("unknown", f"there is no vGPU '{NOBODY}'")
    slot = ctl.do("vgpu.add", profile="small")["vgpu"]
    assert ctl.refused("vgpu.assign", vgpu=slot, vm=NOBODY)[0] == "unknown"
    assert ctl.refused("vgpu.assign", vgpu=NOBODY, vm=VM1)[0] == "unknown"
    assert ctl.refused("vgpu.add", profile="none")[0] == "unknown"
    assert ctl.refused("vgpu.add", profile="small", vm=NOBODY)[0] == "unknown"
    assert list(vms(ctl)) == [VM1] and list(vgpus(ctl)) == [slot]


def test_a_vm_without_a_uuid_gets_one(ctl):
    made = {ctl.do("vm.add", name="same")["vm"] for _ in range(3)}
    assert len(made) == 3 and all(UUID.fullmatch(u) for u in made)


def card(ctl):
    c, = ctl.do("capacity")["gpus"]
    return c, {p["profile"]: p for p in c["profiles"]}


@pytest.mark.parametrize("ctl", [("--set", "gpu.memory=4G")], indirect=True)
def test_the_card_fills_up(ctl):
    ctl.do("profile.add", profile="half", memory="2G")
    assert {n: p["fit"] for n, p in card(ctl)[1].items()} == {"small": 4, "half": 2}
    half = ctl.do("vgpu.add", profile="half")
    slots = [ctl.do("vgpu.add", profile="small") for _ in range(2)]
    c, rows = card(ctl)
    assert (c["memory"], c["memory_taken"], c["vgpus"]) == (4 << 30, 4 << 30, 3)
    assert {n: p["fit"] for n, p in rows.items()} == {"small": 0, "half": 0}
    error, text = ctl.refused("vgpu.add", profile="small")
    assert error == "state" and "no room for another vGPU of profile 'small'" in text and "capacity.overcommit" in text
    ctl.do("vm.add", vm=VM1, name="one")
    ctl.do("vgpu.assign", vgpu=slots[0]["vgpu"], vm=VM1)
    assert (card(ctl)[1]["small"]["vgpus"], card(ctl)[1]["small"]["assigned"]) == (2, 1)
    # More memory for all of a profile has to fit as well; less always does.
    assert ctl.refused("profile.set", profile="half", memory="3G")[0] == "state"
    ctl.do("vgpu.remove", vgpu=slots[1]["vgpu"])
    ctl.do("profile.set", profile="half", memory="3G")
    ctl.do("profile.set", profile="half", memory="1G")
    ctl.do("vgpu.remove", vgpu=half["vgpu"])
    assert card(ctl)[1]["small"]["fit"] == 3


@pytest.mark.parametrize("ctl", [("--set", "gpu.memory=4G", "--set", "capacity.overcommit=150", "--set",
                                  "capacity.vgpus=5")], indirect=True)
def test_overcommit_and_the_most_vgpus(ctl):
    ctl.do("profile.add", profile="all")
    ctl.do("profile.add", profile="too-large", memory="5G")
    assert {n: p["fit"] for n, p in card(ctl)[1].items()} == {"small": 5, "all": 1, "too-large": 0}
    for _ in range(5):
        ctl.do("vgpu.add", profile="small")
    assert ctl.refused("vgpu.add", profile="small") == ("state", "the card has 5 vGPUs already (capacity.vgpus)")


@pytest.mark.parametrize("ctl", [("--set", "limits.tenants=2")], indirect=True)
def test_a_tenant_that_cannot_be_made_leaves_all_as_it_was(ctl):
    first = assigned(ctl)
    own = ctl.mediator.connect()  # makes the user's tenant
    ctl.do("vm.add", vm=VM2, name="two")
    slot = ctl.do("vgpu.add", profile="small")
    assert ctl.refused("vgpu.assign", vgpu=slot["vgpu"], vm=VM2) == \
        ("limit", "there are 2 tenants already (limits.tenants)")
    assert ctl.refused("vgpu.add", profile="small", vm=VM2)[0] == "limit"
    assert own.status().keys() == {first["tenant"], own.greeting.tenant}
    assert len(vgpus(ctl)) == 2 and vgpus(ctl)[slot["vgpu"]]["vm"] is None
    ctl.do("vgpu.release", vgpu=first["vgpu"])
    vgpu.wait_for(lambda: ctl.ask("vgpu.assign", vgpu=slot["vgpu"], vm=VM2)["ok"])


def test_a_run_directory_that_is_too_long_is_said(tmp_path):
    long = tmp_path / ("x" * (79 - len(str(tmp_path))))
    long.mkdir()
    m = vgpu.Mediator(long, *SMALL)
    try:
        with control.connect(m) as c:
            c.do("vm.add", vm=VM1, name="one")
            assert "paths.run_directory is too long" in c.refused("vgpu.add", profile="small", vm=VM1)[1]
            assert vgpus(c) == {}
    finally:
        assert m.stop() == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a socket away")
@pytest.mark.parametrize("ctl", [("--set", "paths.stub_user=nobody", "--set", "paths.stub_group=daemon")], indirect=True)
def test_the_socket_is_the_stubs(ctl):
    import grp
    import pwd
    s = os.stat(assigned(ctl)["socket"])
    assert (s.st_uid, s.st_gid, stat.S_IMODE(s.st_mode)) == \
        (pwd.getpwnam("nobody").pw_uid, grp.getgrnam("daemon").gr_gid, 0o660)


def test_a_stub_user_that_is_not_there_is_said(tmp_path):
    for key in ("stub_user", "stub_group"):
        with pytest.raises(AssertionError) as e:
            vgpu.Mediator(tmp_path, "--set", f"paths.{key}=no-such-name")
        assert f"paths.{key}: there is no 'no-such-name'" in str(e.value)
