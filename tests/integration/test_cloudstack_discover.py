# SPDX-License-Identifier: Apache-2.0
"""vgpu-admin cloudstack discover: the list that CloudStack's agent takes, with a mediator, without one, with a database that
is not there or broken, and with what another script finds."""
import contextlib
import json
import pathlib
import re
import sqlite3
import stat
import time

import admin
import control
import fake_api
import pytest
import vgpu
from inventory import SMALL, VM1, VM2
from test_slots import partition, reserve
from test_store import kill, place, query, running  # noqa: F401 (place is a fixture)

FAKE_SENSOR = pathlib.Path(__file__).parent / "fake_sensor.py"
CARD = ("--set", f"paths.sensor={FAKE_SENSOR}")
KEYS = ["pci_address", "vendor_id", "device_id", "vendor", "device", "numa_node", "pci_root", "full_passthrough",
        "vgpu_instances", "vf_instances"]
SLOT_KEYS = ["mdev_uuid", "profile_name", "max_instances", "video_ram", "used_by_vm"]
OTHER = {"pci_address": "af:00.0", "vendor_id": "10de", "device_id": "1eb8", "vendor": "NVIDIA Corporation", "device": "TU104GL",
         "driver": "vfio-pci", "numa_node": None, "full_passthrough": {"enabled": 1, "used_by_vm": "i-2-9-VM"},
         "vgpu_instances": [], "vf_instances": []}


def asked(socket, *args, store="/nonexistent/store.db", env=None):
    return admin.run("cloudstack", "discover", "--store", store, *args, socket=socket, env=env, timeout=60)


def listed(socket, *args, **kw):
    """The GPUs, from output that must be as the agent takes it."""
    r = asked(socket, *args, **kw)
    assert r.returncode == 0 and r.stderr == "", r
    assert r.stdout.count("\n") == 1 and r.stdout.endswith("}\n") and len(r.stdout) <= 60000
    whole = json.loads(r.stdout)
    assert list(whole) == ["gpus"] and r.stdout == json.dumps(whole, separators=(",", ":"), ensure_ascii=False) + "\n"
    for gpu in whole["gpus"]:
        check(gpu)
    return whole["gpus"]


def check(gpu):
    """What the agent's parser does: what is required is there and of its type, a number is a number and not a bool."""
    for key in ("pci_address", "vendor", "device"):
        assert isinstance(gpu[key], str) and gpu[key]
    for key in ("vendor_id", "device_id"):
        assert re.fullmatch("[0-9a-f]{4}", gpu[key])
    assert type(gpu["full_passthrough"]["enabled"]) is int and isinstance(gpu["vf_instances"], list)
    for slot in gpu["vgpu_instances"]:
        assert list(slot) == SLOT_KEYS and slot["profile_name"]
        assert type(slot["max_instances"]) is int and (slot["video_ram"] is None or type(slot["video_ram"]) is int)
        assert slot["used_by_vm"] is None or isinstance(slot["used_by_vm"], str)


def owners(gpu):
    return {s["mdev_uuid"]: s["used_by_vm"] for s in gpu["vgpu_instances"]}


@pytest.fixture
def ctl(request):
    with vgpu.mediator(*SMALL, *getattr(request, "param", ())) as m, control.connect(m) as c:
        c.mediator, c.api = m, m.directory / "api.sock"
        yield c


def change(place, sql):  # noqa: F811
    with contextlib.closing(sqlite3.connect(place)) as db:
        db.execute(sql)
        db.commit()


def script(tmp_path, text, name="stock.sh", head="#!/bin/sh\n"):
    path = tmp_path / name
    path.write_text(head + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


# ---- a mediator answers ----

def test_slots_and_their_owners(ctl):
    one, two, three = partition(ctl, 3)
    reserve(ctl, two)
    ctl.do("vm.add", vm=VM2, name="by-hand")
    ctl.do("vgpu.assign", vgpu=three, vm=VM2)
    gpu, = listed(ctl.api)
    assert list(gpu) == KEYS and gpu["full_passthrough"] == {"enabled": 0, "used_by_vm": None}
    assert (gpu["pci_address"], gpu["vendor_id"], gpu["device_id"], gpu["vf_instances"]) == ("00:00.0", "0000", "0000", [])
    assert owners(gpu) == {one: None, two: "i-2-33-VM", three: "by-hand"}
    assert {(s["profile_name"], s["max_instances"], s["video_ram"]) for s in gpu["vgpu_instances"]} == {("small", 3, 1024)}
    ctl.do("slot.release", vgpu=two, vm=VM1)
    assert owners(listed(ctl.api)[0])[two] is None


def test_an_owner_is_named_as_long_as_there_is_one(ctl):
    slot = partition(ctl, 1)[0]
    reserve(ctl, slot)
    socket = ctl.do("vgpu.get", vgpu=slot)["socket"]
    for state in ("reserved", "starting", "running", "releasing"):
        if state == "starting":
            client = vgpu.Client(socket)
        elif state == "running":
            client.open()
        elif state == "releasing":
            client.close()
        vgpu.wait_for(lambda: ctl.do("vgpu.get", vgpu=slot)["state"] == state, 10)  # noqa: B023
        assert owners(listed(ctl.api)[0]) == {slot: "i-2-33-VM"}


def test_profiles_are_counted_apart_and_one_without_a_limit_has_the_card(ctl):
    partition(ctl, 2)
    ctl.do("profile.add", profile="large", memory="2G")
    partition(ctl, 1, "large")
    rows = {(s["profile_name"], s["max_instances"], s["video_ram"]) for s in listed(ctl.api)[0]["vgpu_instances"]}
    assert rows == {("small", 2, 1024), ("large", 1, 2048)}
    partition(ctl, 0)
    partition(ctl, 0, "large")
    assert listed(ctl.api)[0]["vgpu_instances"] == []
    ctl.do("profile.add", profile="whole")
    partition(ctl, 1, "whole")
    memory = ctl.do("gpu.list")["gpus"][0]["memory"]
    assert listed(ctl.api)[0]["vgpu_instances"][0]["video_ram"] == memory >> 20


def test_a_card_is_where_the_sensor_says():
    with vgpu.mediator(*SMALL, *CARD, env={"VGPU_FAKE_SENSOR": "placed"}) as m:
        gpu, = listed(m.directory / "api.sock")
        assert (gpu["pci_address"], gpu["vendor_id"], gpu["device_id"], gpu["vendor"]) == \
            ("3b:00.0", "10de", "2330", "NVIDIA Corporation")


def test_a_card_that_cannot_be_read_is_not_made_up(place):  # noqa: F811
    with running(place, *SMALL, *CARD, env={"VGPU_FAKE_SENSOR": "placed"}) as m, control.connect(m) as ctl:
        partition(ctl, 1)
        vgpu.wait_for(lambda: query(place, "SELECT pci, pci_id FROM gpu") == [("00000000:3b:00.0", 0x233010de)], 10)
    with vgpu.mediator(*SMALL, *CARD, env={"VGPU_FAKE_SENSOR": "ok"}) as m:
        r = asked(m.directory / "api.sock")
        assert r.returncode == 1 and r.stdout == "" and "PCI" in r.stderr
        # The database knows it from before.
        assert listed(m.directory / "api.sock", store=place)[0]["pci_address"] == "3b:00.0"


SIZES = [pytest.param(("--set", "capacity.vgpus=1024", "--set", "profile tiny.memory=1M"), id="many")]


@pytest.mark.parametrize("ctl", SIZES, indirect=True)
def test_300_slots(ctl):
    slots = partition(ctl, 300, "tiny")
    for n, slot in enumerate(slots[:40]):
        reserve(ctl, slot, f"aaaaaaaa-bbbb-4ccc-8ddd-{n:012}", f"i-2-{1000 + n}-VM")
    began = time.monotonic()
    gpu, = listed(ctl.api)
    assert time.monotonic() - began < 5
    assert owners(gpu) == {slot: f"i-2-{1000 + n}-VM" if n < 40 else None for n, slot in enumerate(slots)}


@pytest.mark.parametrize("ctl", SIZES, indirect=True)
def test_too_many_slots_are_not_cut_but_refused(ctl):
    partition(ctl, 1000, "tiny")
    r = asked(ctl.api)
    assert r.returncode == 1 and r.stdout == "" and "60000" in r.stderr


def test_nothing_is_changed(ctl):
    slot = partition(ctl, 1)[0]
    reserve(ctl, slot)
    before = [ctl.do(op) for op in ("vgpu.list", "vm.list", "profile.list")]
    listed(ctl.api)
    assert before == [ctl.do(op) for op in ("vgpu.list", "vm.list", "profile.list")]


# ---- no mediator answers ----

@pytest.mark.parametrize("how", ["end", "kill"])
def test_without_a_mediator_only_those_in_use(place, tmp_path, how):  # noqa: F811
    with running(place, *SMALL, *CARD, env={"VGPU_FAKE_SENSOR": "placed"}) as m, control.connect(m) as ctl:
        one, two, three = partition(ctl, 3)
        reserve(ctl, two)
        vgpu.wait_for(lambda: query(place, "SELECT pci FROM gpu") == [("00000000:3b:00.0",)], 10)
        before, = listed(m.directory / "api.sock", store=place)
        if how == "kill":
            kill(m)
    files = {p.name: p.read_bytes() for p in place.parent.glob("store.db")}
    gpu, = listed(tmp_path / "none.sock", store=place)
    assert owners(gpu) == {two: "i-2-33-VM"} and one != three
    # Of the same card, as it was announced before.
    assert {k: v for k, v in gpu.items() if k != "vgpu_instances"} == {k: v for k, v in before.items() if k != "vgpu_instances"}
    assert [s for s in before["vgpu_instances"] if s["used_by_vm"]] == gpu["vgpu_instances"]
    assert files == {p.name: p.read_bytes() for p in place.parent.glob("store.db")}
    # What was reserved before the host's last start is nobody's.
    change(place, "UPDATE slot SET boot = 'x' WHERE boot IS NOT NULL")
    assert owners(listed(tmp_path / "none.sock", store=place)[0]) == {}


def test_without_a_card_and_a_mediator(place, tmp_path):  # noqa: F811
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        slot = partition(ctl, 2)[0]
        reserve(ctl, slot)
        before, = listed(m.directory / "api.sock", store=place)
    gpu, = listed(tmp_path / "none.sock", store=place)
    assert owners(gpu) == {slot: "i-2-33-VM"} and gpu["pci_address"] == before["pci_address"] == "00:00.0"


@pytest.mark.parametrize("what", ["missing", "junk", "empty", "cut", "another", "directory", "fresh"])
def test_a_database_that_says_nothing(place, tmp_path, what):  # noqa: F811
    place.parent.mkdir(exist_ok=True)
    if what in ("cut", "fresh"):
        with running(place, *SMALL) as m, control.connect(m) as ctl:
            if what == "cut":
                partition(ctl, 2)
    if what == "cut":
        place.write_bytes(place.read_bytes()[:6000])
    elif what == "junk":
        place.write_bytes(b"\x5a" * 10000)
    elif what == "empty":
        place.touch()
    elif what == "directory":
        place.mkdir()
    elif what == "another":
        change(place, "CREATE TABLE t (a)")
    stock = script(tmp_path, f"echo '{json.dumps({'gpus': [OTHER]})}'\n")
    for args in ((), ("--merge", stock)):  # which is ours is not known: nothing is announced
        r = asked(tmp_path / "none.sock", *args, store=place)
        assert r.returncode == 1 and r.stdout == "" and str(place) in r.stderr


def test_what_answers_is_no_mediator(place):  # noqa: F811
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        slot = partition(ctl, 1)[0]
        reserve(ctl, slot)
    for answer in ({"nothing": 1}, {"gpus": []}, {"gpus": {}}):
        with fake_api.serving({("GET", "/v1/gpus"): answer}) as server:
            assert owners(listed(server.place, store=place)[0]) == {slot: "i-2-33-VM"}


# ---- what another script finds ----

@pytest.fixture
def slot(ctl):
    return partition(ctl, 1)[0]


def test_gpus_of_others_follow(ctl, slot, tmp_path):
    stock = script(tmp_path, f"echo noise >&2\ncat <<'E'\n{json.dumps({'gpus': [OTHER]}, indent=1)}\nE\n")
    ours, other = listed(ctl.api, "--merge", stock)
    assert owners(ours) == {slot: None} and other == OTHER


def test_ours_is_dropped_from_what_others_say(tmp_path):
    with vgpu.mediator(*SMALL, *CARD, env={"VGPU_FAKE_SENSOR": "placed"}) as m:
        whole = {**OTHER, "pci_address": "0000:3b:00.0"}
        stock = script(tmp_path, f"echo '{json.dumps({'gpus': [whole, OTHER]})}'\n")
        ours, other = listed(m.directory / "api.sock", "--merge", stock)
        assert ours["pci_address"] == "3b:00.0" and ours["full_passthrough"]["enabled"] == 0 and other == OTHER


@pytest.mark.parametrize("text", [
    "exit 0", "exit 1", f"echo '{json.dumps({'gpus': [OTHER]})}'; exit 3", "echo '{\"gpus\":['", "echo '{\"gpus\":7}'", "echo []",
    "kill -9 $$", "head -c 1000000 /dev/zero", "echo xmlstarlet: not found",
])
def test_a_script_that_fails_is_left_out(ctl, slot, tmp_path, text):
    gpu, = listed(ctl.api, "--merge", script(tmp_path, text + "\n"))
    assert owners(gpu) == {slot: None}


def test_scripts_that_are_none(ctl, slot, tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("x")
    for path in (tmp_path / "missing", tmp_path, plain, script(tmp_path, "", "badhead", "#!/nonexistent/sh\n")):
        assert owners(listed(ctl.api, "--merge", path)[0]) == {slot: None}


def test_a_script_that_hangs_ends_with_what_it_started(ctl, slot, tmp_path):
    mark = tmp_path / "pid"
    began = time.monotonic()
    gpu, = listed(ctl.api, "--merge", script(tmp_path, f"sleep 100 & echo $! >{mark}; wait\n"))
    assert owners(gpu) == {slot: None} and time.monotonic() - began < 25  # the agent waits 30 s
    pid = int(mark.read_text())
    vgpu.wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists()
                  or ") Z " in pathlib.Path(f"/proc/{pid}/stat").read_text(), 5)


def test_a_script_that_is_this_one(ctl, slot, tmp_path):
    path = tmp_path / "again.sh"
    script(tmp_path, f"exec {admin.ADMIN} cloudstack discover --merge {path}\n", "again.sh")
    gpu, = listed(ctl.api, "--merge", path)  # ours once, and an end
    assert owners(gpu) == {slot: None}


def test_a_script_whose_list_is_too_long_with_ours(ctl, slot, tmp_path):
    long = script(tmp_path, f"cat <<'E'\n{json.dumps({'gpus': [{**OTHER, 'device': 'x' * 59900}]})}\nE\n")
    r = asked(ctl.api, "--merge", long)
    assert r.returncode == 1 and r.stdout == "" and "60000" in r.stderr


def test_partition_from_the_command_line(ctl):
    tool = admin.Tool(ctl.mediator)
    said = tool.ok("slot", "partition", "small=4")
    assert re.search(r"^Made +4$", said, re.M) and re.search(r"^vGPUs +4$", said, re.M)
    assert tool.json("slot", "partition", "small=3")["removed"] == 1
    assert {r["STATE"] for r in tool.rows("slot").values()} == {"free"}
    reserve(ctl, sorted(r["vgpu"] for r in ctl.do("vgpu.list")["vgpus"] if r["number"] == 2)[0])
    assert "i-2-33-VM" in tool.refused("slot", "partition", "small=2")
    for word in ("small", "small=", "=4", "small=x", "small=-1", "small=4x", "small=99999999999999999999"):
        assert tool.run("slot", "partition", word).returncode == admin.USAGE
    assert len(ctl.do("vgpu.list")["vgpus"]) == 3
