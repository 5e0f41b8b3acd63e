# SPDX-License-Identifier: Apache-2.0
"""The inventory and the tenants of its VMs when the mediator is ended, killed, or replaced; with a store and without."""
import contextlib
import os
import pathlib
import sqlite3

import control
import pytest
import vgpu
from inventory import SMALL, VM1, VM2, assigned, daemon, everything, tenant_of, tenants_of, vgpus, vms
from test_adopt import HOWS, alive
from test_store import kill, place, query, running  # noqa: F401 (place is a fixture)


def fill(ctl):
    """Some of all kinds; the socket of the assigned one."""
    ctl.do("pool.add", pool="gold", weight=300)
    ctl.do("profile.add", profile="large", memory="2G", turn="3 ms")
    ctl.do("vm.add", vm=VM1, name="one", pool="gold", profile="large")
    ctl.do("vm.add", vm=VM2, name="two", profile="small", personality="nvidia")
    slot = ctl.do("vgpu.add", vm=VM1)
    ctl.do("vgpu.add", profile="small")
    return slot


@pytest.mark.parametrize("how", ["end", "kill"])
def test_all_is_made_again_from_the_store(place, how):  # noqa: F811
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        slot = fill(ctl)
        ctl.do("tenant.set", tenant="one", weight=9)
        before = everything(ctl)
        assert ctl.do("vm.set", vm=VM2, name="zwei")["kept"] is True
        if how == "kill":
            kill(m)
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        before[1][1]["name"] = "zwei"
        assert everything(ctl) == before
        row = tenant_of(ctl)
        assert (row["name"], row["pool"], row["memory"], row["turn"], row["weight"]) == ("one", "gold", 2 << 30, 3000000, 9)
        socket = ctl.do("vgpu.get", vgpu=slot["vgpu"])["socket"]
        assert socket == str(m.directory / f"vm-{VM1}.sock")
        with vgpu.Client(socket) as client:
            assert client.open() and client.greeting.tenant == row["tenant"]
        ctl.do("vgpu.release", vgpu=slot["vgpu"])
        ctl.do("vgpu.remove", vgpu=slot["vgpu"])
        ctl.do("vm.remove", vm=VM1)
        ctl.do("profile.remove", profile="large")
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        assert list(vms(ctl)) == [VM2] and len(vgpus(ctl)) == 1 and tenants_of(ctl) == []


def test_the_audit_tells_the_life_of_a_vgpu(place):  # noqa: F811
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        slot = assigned(ctl)["vgpu"]
        ctl.do("vgpu.release", vgpu=slot)
        ctl.do("vgpu.remove", vgpu=slot)
        rows = ctl.do("audit", subject=slot)["audit"]
        gpu = ctl.do("gpu.list")["gpus"][0]["gpu"]
        one = {"gpu": gpu, "profile": "small", "number": 0, "reserved": False}
        who = f"uid {os.getuid()} pid {os.getpid()} (control)"
        assert [(r["who"], r["what"], r["before"], r["after"]) for r in reversed(rows)] == [
            (who, "slot.set", None, {**one, "vm": VM1}),
            (who, "slot.set", {**one, "vm": VM1}, {**one, "vm": None}),
            (who, "slot.remove", {**one, "vm": None}, None)]


def test_a_profile_of_the_settings_is_a_row_only_while_it_is_used(place):  # noqa: F811
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        slot = ctl.do("vgpu.add", profile="small")["vgpu"]
        assert query(place, "SELECT name, memory_bytes FROM profile") == [("small", 1 << 30)]
    # Taken out of the settings it lives on, as somebody has it.
    with running(place) as m, control.connect(m) as ctl:
        p = ctl.do("profile.get", profile="small")
        assert (p["read_only"], p["policy"], p["vgpus"]) == (False, {"memory": 1 << 30, "weight": 50}, 1)
    # And in the settings again it is what they say.
    with running(place, "--set", "profile small.memory=2G") as m, control.connect(m) as ctl:
        p = ctl.do("profile.get", profile="small")
        assert (p["read_only"], p["policy"], p["vgpus"]) == (True, {"memory": 2 << 30}, 1)
        ctl.do("vgpu.remove", vgpu=slot)
    assert query(place, "SELECT count(*) FROM profile") == query(place, "SELECT count(*) FROM limits") == [(0,)]


def test_a_pool_that_is_no_longer_there_costs_nobody_the_gpu(place):  # noqa: F811
    pool = ("--set", "pool gold.weight=300")
    with running(place, *SMALL, *pool) as m, control.connect(m) as ctl:
        ctl.do("vm.add", vm=VM1, name="one", pool="gold")
        ctl.do("vgpu.add", vm=VM1, profile="small")
        assert tenant_of(ctl)["pool"] == "gold"
    with contextlib.closing(sqlite3.connect(place)) as db:  # the row of the pool alone would bring it back
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("DELETE FROM pool")
        db.commit()
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        assert tenant_of(ctl)["pool"] == "default" and "there is no pool 'gold'" in m.log()
    with running(place, *SMALL, *pool) as m, control.connect(m) as ctl:
        assert tenant_of(ctl)["pool"] == "gold"


@pytest.mark.parametrize("kept", ["store", "nothing"])
@pytest.mark.parametrize("how", HOWS)
def test_running_vms_are_taken_over(tmp_path, how, kept):
    with daemon(*(["--set", f"store.path={tmp_path}/store.db"] if kept == "store" else [])) as d:
        with control.connect(d.m) as ctl:
            slot = fill(ctl)
            ctl.do("tenant.set", tenant="one", weight=9)
            before, row = everything(ctl), tenant_of(ctl)
        client = vgpu.Client(slot["socket"])
        client.open().do("memory 4096")
        with control.connect(d.m) as ctl:  # not its only child: the sensor may be there as well
            executor = tenant_of(ctl)["channels"][0]["pid"]
        for _ in range(3):
            d.replace(how)
            with control.connect(d.m) as ctl:
                vgpu.wait_for(lambda: tenant_of(ctl)["memory_used"] == 4096)  # noqa: B023
                assert everything(ctl) == before
                now = tenant_of(ctl)
                assert {k: now[k] for k in ("tenant", "weight", "by_hand", "pool", "memory", "record")} == \
                    {k: row[k] for k in ("tenant", "weight", "by_hand", "pool", "memory", "record")}
                assert alive(executor)
        # What happens to the profile reaches it, but for what was set by hand; and so does the end.
        with control.connect(d.m) as ctl:
            ctl.do("profile.set", profile="large", weight=77, memory="3G")
            assert (tenant_of(ctl)["weight"], tenant_of(ctl)["memory"]) == (9, 3 << 30)
            with vgpu.Client(slot["socket"]) as another:
                assert another.open()
            ctl.do("vgpu.release", vgpu=slot["vgpu"])
            assert client.receive().kind == vgpu.CHANNEL_LOST
            vgpu.wait_for(lambda: not alive(executor))
            assert not pathlib.Path(slot["socket"]).exists()


def test_settings_that_changed_reach_vms_that_were_taken_over():
    with daemon() as d:
        with control.connect(d.m) as ctl:
            slot = assigned(ctl)
        client = vgpu.Client(slot["socket"])
        client.open()
        d.args = ("--set", "profile small.memory=2G", "--set", "profile small.weight=60")
        d.replace("kill")
        with control.connect(d.m) as ctl:
            row = tenant_of(ctl)
            assert (row["memory"], row["weight"], len(row["channels"])) == (2 << 30, 60, 1)
        client.close()


def test_what_was_removed_before_a_replacement_stays_so():
    with daemon() as d:
        with control.connect(d.m) as ctl:
            slot = fill(ctl)
            ctl.do("vgpu.release", vgpu=slot["vgpu"])
            ctl.do("vgpu.remove", vgpu=slot["vgpu"])
            ctl.do("vm.remove", vm=VM1)
            ctl.do("profile.remove", profile="large")
            before = everything(ctl)
        d.replace("kill")
        with control.connect(d.m) as ctl:
            assert everything(ctl) == before and tenants_of(ctl) == []


def test_a_disk_that_works_late_brings_what_it_has(place):  # noqa: F811
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        fill(ctl)
        before = everything(ctl)
    with contextlib.closing(sqlite3.connect(place)) as db:  # it is somebody else's for a while
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN IMMEDIATE")
        with vgpu.tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory:
            m = vgpu.Mediator(directory, "--set", f"store.path={place}", "--set", "store.retry=100 ms", *SMALL)
            try:
                with control.connect(m) as ctl:
                    assert ctl.do("store.status")["state"] == "degraded" and vms(ctl) == {}
                    mine = ctl.do("vgpu.add", profile="small")
                    assert mine["kept"] is False and mine["number"] == 0
                    db.close()
                    vgpu.wait_for(lambda: ctl.do("store.status")["state"] == "good", 10)
                    vgpu.wait_for(lambda: tenants_of(ctl), 10)
                    after = everything(ctl)
                    assert after[:2] == (before[0][:1] + [{**before[0][1], "vgpus": 2}], before[1])
                    # The number was taken: what is made here moves on.
                    assert vgpus(ctl)[mine["vgpu"]]["number"] == 1
                    assert ctl.do("vgpu.remove", vgpu=mine["vgpu"])["kept"] is True
                    assert everything(ctl) == before
            finally:
                assert m.stop() == 0, m.log()
    assert query(place, "SELECT count(*) FROM slot") == [(2,)]
