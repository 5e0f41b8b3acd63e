# SPDX-License-Identifier: Apache-2.0
"""Slots as a cloud uses them: a partition with uuids that stay, reservations that end by themselves, and both after the
mediator's end, its death, another one, and the host's next boot."""
import contextlib
import pathlib
import socket
import sqlite3
import time
import uuid

import api
import control
import pytest
import vgpu
from inventory import SMALL, VM1, VM2, assigned, daemon, tenants_of, vgpus, vms
from test_adopt import HOWS
from test_store import kill, place, query, running  # noqa: F401 (place is a fixture)

SPACE = uuid.UUID("bb6cb8a3-ad08-490b-8223-d1e46458ce93")
SHORT = ("--set", "slot.reserve_for=1 s", "--set", "slot.grace=300 ms")
ANSWERED = {"ok", "vgpu", "vm", "name", "socket", "nvidia_socket", "state", "kept"}


@pytest.fixture
def ctl(request):
    with vgpu.mediator(*SMALL, *getattr(request, "param", ())) as m, control.connect(m) as c:
        c.mediator = m
        yield c


def partition(ctl, count, profile="small"):
    """The uuids, by number."""
    answer = ctl.do("slot.partition", profile=profile, count=count)
    slots = [v for v in vgpus(ctl).values() if v["profile"] == profile]
    assert sorted(answer["vgpus"]) == sorted(v["vgpu"] for v in slots)
    assert sorted(v["number"] for v in slots) == list(range(count))
    return [v["vgpu"] for v in sorted(slots, key=lambda v: v["number"])]


def reserve(ctl, slot, vm=VM1, name="i-2-33-VM"):
    return ctl.do("slot.reserve", vgpu=slot, vm=vm, name=name)


def state(ctl, slot):
    row = vgpus(ctl)[slot]
    return row["state"], row["vm"]


def until(ctl, slot, wanted, vm=VM1, timeout=10):
    vgpu.wait_for(lambda: state(ctl, slot) == (wanted, vm), timeout, wanted)


def freed(ctl, slot):
    vgpu.wait_for(lambda: state(ctl, slot) == ("free", None), 10, "free")


# ---- partition ----

def test_a_partition_has_uuids_that_anybody_can_compute(ctl):
    ids = partition(ctl, 3)
    gpu = ctl.do("gpu.list")["gpus"][0]["gpu"]
    machine = pathlib.Path("/etc/machine-id").read_text(encoding="ascii").strip()
    assert ids == [str(uuid.uuid5(SPACE, f"{machine}|{gpu}|small|{n}")) for n in range(3)]


def test_more_and_fewer(ctl):
    four = partition(ctl, 4)
    answer = ctl.do("slot.partition", profile="small", count=2)
    assert (answer["made"], answer["removed"]) == (0, 2)
    assert partition(ctl, 2) == four[:2]
    answer = ctl.do("slot.partition", profile="small", count=4)
    assert (answer["made"], answer["removed"]) == (2, 0)
    assert partition(ctl, 4) == four
    assert partition(ctl, 0) == [] and vgpus(ctl) == {}


def test_other_profiles_are_left_alone(ctl):
    ctl.do("profile.add", profile="large", memory="2G")
    ctl.do("profile.add", profile="none", memory="1M")
    large, small = partition(ctl, 2, "large"), partition(ctl, 2)
    assert not set(large) & set(small)
    assert partition(ctl, 0) == [] and partition(ctl, 2, "large") == large
    assert partition(ctl, 0, "none") == []


def test_slots_that_were_made_by_hand_give_way(ctl):
    by_hand = ctl.do("vgpu.add", profile="small")["vgpu"]
    ids = partition(ctl, 2)
    assert by_hand not in ids and len(vgpus(ctl)) == 2


def test_a_slot_in_use_is_never_removed(ctl):
    ids = partition(ctl, 3)
    reserve(ctl, ids[2])
    word, text = ctl.refused("slot.partition", profile="small", count=2)
    assert word == "state" and ids[2] in text and "i-2-33-VM" in text and VM1 in text
    assert partition(ctl, 3) == ids  # nor was any other
    ctl.do("slot.release", vgpu=ids[2], vm=VM1)
    assert partition(ctl, 2) == ids[:2]


def test_one_that_was_made_by_hand_and_is_in_use(ctl):
    slot = assigned(ctl)["vgpu"]
    word, text = ctl.refused("slot.partition", profile="small", count=4)
    assert word == "state" and slot in text and list(vgpus(ctl)) == [slot]


@pytest.mark.parametrize("ctl", [("--set", "capacity.vgpus=4")], indirect=True)
def test_no_more_than_fit(ctl):
    ctl.do("profile.add", profile="large", memory="2G")
    ids = partition(ctl, 3, "large")
    word, text = ctl.refused("slot.partition", profile="small", count=2)
    assert word == "state" and "room for 1 vGPUs of profile 'small'" in text
    assert sorted(vgpus(ctl)) == sorted(ids)
    partition(ctl, 1)
    assert ctl.refused("slot.partition", profile="small", count=2)[0] == "state"


@pytest.mark.parametrize("count, word", [(-1, "value"), (1025, "value"), (1 << 40, "value"), ("4", "value"), (1.5, "value")])
def test_counts_that_are_none(ctl, count, word):
    assert ctl.refused("slot.partition", profile="small", count=count)[0] == word
    assert ctl.refused("slot.partition", profile="blarg", count=1)[0] == "unknown"
    assert ctl.refused("slot.partition", profile="small")[0] == "field"
    assert vgpus(ctl) == {}


def test_the_same_uuids_after_a_restart_and_after_a_lost_store(place):  # noqa: F811
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        ids = partition(ctl, 4)
        assert ctl.do("slot.partition", profile="small", count=4)["made"] == 0
        kill(m)
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        assert sorted(vgpus(ctl)) == sorted(ids)
        answer = ctl.do("slot.partition", profile="small", count=4)
        assert (answer["made"], answer["removed"]) == (0, 0)
    for file in place.parent.iterdir():
        file.unlink()
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        assert vgpus(ctl) == {} and partition(ctl, 4) == ids


# ---- reservations ----

def test_reserve(ctl):
    slot = partition(ctl, 2)[0]
    answer = reserve(ctl, slot, VM1.upper())
    assert set(answer) == ANSWERED
    assert (answer["vgpu"], answer["vm"], answer["name"], answer["state"]) == (slot, VM1, "i-2-33-VM", "reserved")
    assert answer["socket"] == f"/run/vgpu-stub/{VM1}.sock"
    row = vgpus(ctl)[slot]
    assert (row["state"], row["reserved"], row["name"]) == ("reserved", True, "i-2-33-VM")
    assert pathlib.Path(row["socket"]).is_socket() and tenants_of(ctl) != []
    assert {k: v for k, v in reserve(ctl, slot).items() if k != "kept"} == {k: v for k, v in answer.items() if k != "kept"}
    assert len(vms(ctl)) == len(tenants_of(ctl)) == 1


def test_another_vms(ctl):
    one, two = partition(ctl, 2)
    reserve(ctl, one)
    word, text = ctl.refused("slot.reserve", vgpu=one, vm=VM2, name="i-2-34-VM")
    assert word == "state" and "i-2-33-VM" in text and VM1 in text
    assert list(vms(ctl)) == [VM1] and state(ctl, one) == ("reserved", VM1)
    answer = ctl.do("slot.release", vgpu=one, vm=VM2)
    assert (answer["released"], answer["vm"], answer["state"]) == (False, VM1, "reserved")
    with api.connect(ctl.mediator) as a:
        path = f"/v1/vgpus/{one}/reserve"
        assert a.refused("POST", path, {"vm": VM2, "name": "i-2-34-VM"}) == (409, "state")
        assert a.do("POST", path, {"vm": VM1, "name": "i-2-33-VM"})["state"] == "reserved"
        assert a.do("POST", f"/v1/vgpus/{one}/release", {"vm": VM1})["released"] is True
        assert a.do("PUT", "/v1/gpu/partition", {"profile": "small", "count": 1})["removed"] == 1
    assert list(vgpus(ctl)) == [one] and two not in vgpus(ctl)


@pytest.mark.parametrize("fields, word", [
    ({"vm": "1234", "name": "a"}, "value"), ({"vm": VM1, "name": "with space"}, "value"), ({"vm": VM1, "name": ""}, "value"),
    ({"vm": VM1, "name": "x" * 64}, "value"), ({"vm": VM1}, "field"), ({"name": "a"}, "field"), ({"vm": 3, "name": "a"}, "value"),
    ({"vm": VM1, "name": "a", "vgpu": VM2}, "unknown"),
])
def test_reservations_that_are_none(ctl, fields, word):
    slot = partition(ctl, 1)[0]
    assert ctl.refused("slot.reserve", **{"vgpu": slot, **fields})[0] == word
    assert vms(ctl) == {} and state(ctl, slot) == ("free", None)


def test_release_is_idempotent(ctl):
    slot = partition(ctl, 1)[0]
    assert ctl.do("slot.release", vgpu=slot, vm=VM1)["released"] is False
    path = pathlib.Path(f"{ctl.mediator.directory}/vm-{VM1}.sock")
    for _ in range(3):
        reserve(ctl, slot)
        with vgpu.Client(path) as client:
            client.open()
            assert ctl.do("slot.release", vgpu=slot, vm=VM1)["released"] is True
            assert client.receive().kind == vgpu.CHANNEL_LOST
        assert ctl.do("slot.release", vgpu=slot, vm=VM1)["released"] is False
        assert state(ctl, slot) == ("free", None) and vms(ctl) == {} and not path.exists()


@pytest.mark.parametrize("ctl", [SHORT], indirect=True)
def test_a_reservation_nobody_comes_for_expires(ctl):
    slot = partition(ctl, 1)[0]
    with api.events(ctl.mediator, "/v1/events?kind=vgpu.freed") as stream:
        reserve(ctl, slot)
        began = time.monotonic()
        freed(ctl, slot)
        assert time.monotonic() - began >= 0.9
        assert vms(ctl) == {} and tenants_of(ctl) == []
        _, kind, data = stream.next()
        assert kind == "vgpu.freed" and data["fields"] == {"vgpu": slot, "vm": VM1} and "slot.reserve_for" in data["text"]


@pytest.mark.parametrize("ctl", [SHORT], indirect=True)
def test_the_states_of_a_slot(ctl):
    slot = partition(ctl, 1)[0]
    reserve(ctl, slot)
    stub = vgpu.Client(vgpus(ctl)[slot]["socket"])  # as a stub does, before its guest has a program
    until(ctl, slot, "starting")
    time.sleep(1.2)
    assert state(ctl, slot) == ("starting", VM1)  # the time for it to come is over, and it is there
    guest = vgpu.Client(vgpus(ctl)[slot]["socket"])
    guest.open()
    until(ctl, slot, "running")
    guest.close()
    vgpu.wait_for(lambda: ctl.do("vm.get", vm=VM1)["channels"] == 0)
    assert state(ctl, slot) == ("running", VM1)
    stub.close()
    until(ctl, slot, "releasing")
    stub = vgpu.Client(vgpus(ctl)[slot]["socket"])
    until(ctl, slot, "starting")
    stub.close()
    freed(ctl, slot)
    assert vms(ctl) == {}


@pytest.mark.parametrize("ctl", [SHORT], indirect=True)
def test_reserved_again_while_the_last_stub_is_there(ctl):
    slot = partition(ctl, 1)[0]
    reserve(ctl, slot)
    stub = vgpu.Client(vgpus(ctl)[slot]["socket"])
    until(ctl, slot, "starting")
    assert reserve(ctl, slot)["state"] == "starting"
    stub.close()
    until(ctl, slot, "releasing")
    time.sleep(0.5)  # longer than the grace
    assert state(ctl, slot) == ("releasing", VM1)
    assert reserve(ctl, slot)["state"] == "reserved"
    freed(ctl, slot)


@pytest.mark.parametrize("ctl", [SHORT], indirect=True)
def test_what_was_assigned_by_hand_stays(ctl):
    slot = partition(ctl, 1)[0]
    ctl.do("vm.add", vm=VM1, name="one")
    ctl.do("vgpu.assign", vgpu=slot, vm=VM1)
    assert reserve(ctl, slot, name="one")["state"] == "reserved" and vgpus(ctl)[slot]["reserved"] is False
    assert ctl.do("slot.release", vgpu=slot, vm=VM1)["released"] is False
    with vgpu.Client(vgpus(ctl)[slot]["socket"]):
        until(ctl, slot, "starting")
    until(ctl, slot, "reserved")
    time.sleep(1.2)
    assert state(ctl, slot) == ("reserved", VM1)
    ctl.do("vgpu.release", vgpu=slot)
    assert list(vms(ctl)) == [VM1]  # it was there before
    # And what was reserved stays once somebody assigns it.
    reserve(ctl, slot, name="one")
    ctl.do("vgpu.assign", vgpu=slot, vm=VM1)
    time.sleep(1.2)
    assert state(ctl, slot) == ("reserved", VM1)


def test_a_vm_that_starts_with_another_slot(ctl):
    one, two = partition(ctl, 2)
    reserve(ctl, one)
    reserve(ctl, two)
    assert state(ctl, one) == ("free", None) and state(ctl, two) == ("reserved", VM1)
    with vgpu.Client(vgpus(ctl)[two]["socket"]):
        until(ctl, two, "starting")
        word, text = ctl.refused("slot.reserve", vgpu=one, vm=VM1, name="i-2-33-VM")
        assert word == "state" and two in text
    ctl.do("slot.release", vgpu=two, vm=VM1)
    assert vms(ctl) == {}


def test_a_vm_of_another_profile_is_refused_and_stays_as_it_was(ctl):
    ctl.do("profile.add", profile="large", memory="2G")
    slot = partition(ctl, 1)[0]
    ctl.do("vm.add", vm=VM1, name="one", profile="large")
    word, text = ctl.refused("slot.reserve", vgpu=slot, vm=VM1, name="one")
    assert word == "state" and "large" in text and list(vms(ctl)) == [VM1]


def test_a_vm_that_an_operator_changed_stays(ctl):
    slot = partition(ctl, 1)[0]
    reserve(ctl, slot)
    ctl.do("vm.set", vm=VM1, profile="small")
    ctl.do("slot.release", vgpu=slot, vm=VM1)
    assert list(vms(ctl)) == [VM1]


@pytest.mark.parametrize("ctl", [("--set", "limits.tenants=1")], indirect=True)
def test_a_vm_for_which_there_is_no_tenant_is_not_left_behind(ctl):
    one, two = partition(ctl, 2)
    reserve(ctl, one)
    assert ctl.refused("slot.reserve", vgpu=two, vm=VM2, name="i-2-34-VM")[0] == "limit"
    assert list(vms(ctl)) == [VM1] and state(ctl, two) == ("free", None)


def test_while_the_host_is_drained(ctl):
    one, two = partition(ctl, 2)
    reserve(ctl, one)
    ctl.do("drain.start")
    assert reserve(ctl, one)["state"] == "reserved"
    assert ctl.refused("slot.reserve", vgpu=two, vm=VM2, name="i-2-34-VM")[0] == "state"
    assert list(vms(ctl)) == [VM1]


@pytest.mark.parametrize("ctl", [("--set", "slot.stub_socket=/srv/VM/s")], indirect=True)
def test_where_stubs_listen(ctl):
    assert reserve(ctl, partition(ctl, 1)[0])["socket"] == f"/srv/{VM1}/s"


# ---- afterwards ----

@pytest.mark.parametrize("kept", ["store", "nothing"])
@pytest.mark.parametrize("how", HOWS)
def test_another_mediator_goes_on(tmp_path, how, kept):
    long = ("--set", "slot.reserve_for=3 s", "--set", "slot.grace=300 ms")
    with daemon(*long, *(["--set", f"store.path={tmp_path}/store.db"] if kept == "store" else [])) as d:
        with control.connect(d.m) as ctl:
            one, two, three = partition(ctl, 3)
            reserve(ctl, one)
            reserve(ctl, two, VM2, "i-2-34-VM")
            client = vgpu.Client(vgpus(ctl)[one]["socket"])
            client.open()
            until(ctl, one, "running")
        d.replace(how)
        with control.connect(d.m) as ctl:
            assert (state(ctl, one), state(ctl, two), state(ctl, three)) == \
                (("running", VM1), ("reserved", VM2), ("free", None))
            assert vgpus(ctl)[one]["reserved"] and vgpus(ctl)[two]["reserved"]
            freed(ctl, two)
            client.close()
            freed(ctl, one)
            assert vms(ctl) == {}


@pytest.mark.parametrize("how", ["end", "kill"])
def test_after_the_mediators_end(place, how):  # noqa: F811
    with running(place, *SMALL, *SHORT, "--set", "slot.reserve_for=3 s") as m, control.connect(m) as ctl:
        one, two, three = partition(ctl, 3)
        assert reserve(ctl, one)["kept"] is True
        reserve(ctl, two, VM2, "i-2-34-VM")
        by_hand = "aaaaaaaa-bbbb-4ccc-8ddd-000000000003"
        ctl.do("vm.add", vm=by_hand, name="three")
        ctl.do("vgpu.assign", vgpu=three, vm=by_hand)
        client = vgpu.Client(vgpus(ctl)[two]["socket"])
        until(ctl, two, "starting", VM2)
        ctl.do("vm.set", vm=by_hand, name="drei")  # answered when all before is on the disk
        if how == "kill":
            kill(m)
        client.close()
    with running(place, *SMALL, *SHORT, "--set", "slot.reserve_for=3 s") as m, control.connect(m) as ctl:
        assert state(ctl, one) == ("reserved", VM1)
        assert state(ctl, two) == ("releasing", VM2)
        assert state(ctl, three)[1] == by_hand
        freed(ctl, two)
        freed(ctl, one)
        assert list(vms(ctl)) == [by_hand]
        with vgpu.Client(vgpus(ctl)[three]["socket"]) as c:
            assert c.open()


def test_after_the_hosts_next_boot(place):  # noqa: F811
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        one, two, three = partition(ctl, 3)
        reserve(ctl, one)
        ctl.do("vm.add", vm=VM2, name="two")
        ctl.do("vgpu.assign", vgpu=two, vm=VM2)
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", "")
    assert query(place, "SELECT uuid, boot, with_vm FROM slot WHERE boot IS NOT NULL") == [(one, boot, 1)]
    with contextlib.closing(sqlite3.connect(place)) as db:
        db.execute("UPDATE slot SET boot = 'another' WHERE boot IS NOT NULL")
        db.commit()
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        assert (state(ctl, one), state(ctl, two), state(ctl, three)) == (("free", None), ("reserved", VM2), ("free", None))
        assert list(vms(ctl)) == [VM2] and "started anew" in m.log()
        ctl.do("vm.set", vm=VM2, name="zwei")  # answered when all before is on the disk
        assert query(place, "SELECT count(*) FROM slot WHERE boot IS NOT NULL") == [(0,)]
        assert query(place, "SELECT uuid FROM vm") == [(VM2,)]


def fill_queue(path):
    """How many datagrams wait there then."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as s:
        for n in range(10000):
            try:
                s.sendto(b"x", str(path))
            except BlockingIOError:
                return n
    raise AssertionError("the queue has no end")


def test_systemd_is_told_when_the_last_boots_reservations_are_gone(place, tmp_path):  # noqa: F811
    """Who starts machines waits for READY=1 (Before= in the unit). Its queue is full, so the mediator stands where it says it."""
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        one = partition(ctl, 1)[0]
        reserve(ctl, one)
    with contextlib.closing(sqlite3.connect(place)) as db:
        db.execute("UPDATE slot SET boot = 'another' WHERE boot IS NOT NULL")
        db.commit()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        full = fill_queue(tmp_path / "notify")
        with running(place, *SMALL, env={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as m:
            assert m.log().index("started anew") < m.log().index("ready:")
            systemd.settimeout(10)
            assert [systemd.recv(4096) for _ in range(full + 1)] == [b"x"] * full + [b"READY=1"]
            with control.connect(m) as ctl:
                assert state(ctl, one) == ("free", None)


def test_a_store_of_before_there_were_states(place):  # noqa: F811
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        slot = assigned(ctl)["vgpu"]
    with contextlib.closing(sqlite3.connect(place)) as db:
        for table, columns in {"slot": ("state", "boot", "with_vm"), "gpu": ("pci", "pci_id"), "vm": ("personality", "protocol")}.items():
            for column in columns:
                db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        for table in ("migration", "migration_vm", "use_library", "use_feature"):
            db.execute(f"DROP TABLE {table}")
        db.execute("PRAGMA user_version = 2")
        db.commit()
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        assert state(ctl, slot) == ("reserved", VM1) and vgpus(ctl)[slot]["reserved"] is False


def test_the_audit_tells_who_reserved(place):  # noqa: F811
    with running(place, *SMALL, *SHORT) as m, control.connect(m) as ctl:
        slot = partition(ctl, 1)[0]
        reserve(ctl, slot)
        freed(ctl, slot)
        ctl.do("profile.list")
        vgpu.wait_for(lambda: len(ctl.do("audit", subject=slot)["audit"]) == 3)
        rows = list(reversed(ctl.do("audit", subject=slot)["audit"]))
        assert [(r["after"]["vm"], r["after"]["reserved"]) for r in rows] == [(None, False), (VM1, True), (None, False)]
        assert "control" in rows[1]["who"] and rows[2]["who"] == "vgpu-mediator"


# ---- with a stub ----

@pytest.fixture
def with_stub(request):
    """A slot that is reserved for VM1, and the VM's real stub."""
    import guest
    with vgpu.mediator(*SMALL, *request.param, executor=guest.EXECUTOR) as m, control.connect(m) as ctl:
        slot = partition(ctl, 1)[0]
        reserve(ctl, slot)
        with guest.stub(m.directory, m.directory / f"vm-{VM1}.sock") as stub:
            yield ctl, slot, stub, guest


@pytest.mark.parametrize("with_stub", [("--set", "slot.grace=300 ms")], indirect=True)
def test_a_real_stub(with_stub):
    ctl, slot, stub, guest = with_stub
    assert state(ctl, slot) == ("reserved", VM1)  # a stub whose VM has not come
    with contextlib.closing(guest.Guest(stub.socket)) as g:
        until(ctl, slot, "starting", timeout=20)
        g.ready(20)
        assert guest.GuestChannel(g, 0).open() == guest.OK
        until(ctl, slot, "running")
    freed(ctl, slot)  # whatever becomes of the stub


@pytest.mark.parametrize("with_stub", [SHORT], indirect=True)
def test_a_real_stub_whose_vm_never_comes(with_stub):
    ctl, slot, stub, _ = with_stub
    freed(ctl, slot)
    assert stub.process.poll() is None
