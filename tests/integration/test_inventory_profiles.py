# SPDX-License-Identifier: Apache-2.0
"""Profiles, the card and its capacity, lists and single ones of pools and tenants, the settings in force."""
import signal

import control
import pytest
import vgpu
from test_store import kill, place, query, running  # noqa: F401 (place is a fixture)

SETTINGS = ("--set", "profile small.memory=1G", "--set", "profile small.weight=50", "--set", "pool gold.weight=300")


@pytest.fixture
def ctl():
    with vgpu.mediator(*SETTINGS) as m, control.connect(m) as c:
        c.mediator = m
        yield c


def profiles(ctl):
    return {p["profile"]: p for p in ctl.do("profile.list")["profiles"]}


def test_profiles_are_made_changed_and_removed(ctl):
    ctl.do("profile.add", profile="large", memory="8G", priority="high")
    assert ctl.do("profile.get", profile="large") == {
        "ok": True, "profile": "large", "from": "operator", "read_only": False, "vgpus": 0, "vms": 0,
        "policy": {"weight": 200, "memory": 8 << 30}}
    ctl.do("profile.set", profile="large", gpu_cap=12.5, **{"class": "latency"})
    assert profiles(ctl)["large"]["policy"] == {"weight": 200, "memory": 8 << 30, "gpu_cap": 12.5, "class": "latency"}
    ctl.do("profile.remove", profile="large")
    assert list(profiles(ctl)) == ["small"]


def test_what_profiles_refuse(ctl):
    ctl.do("profile.add", profile="a")
    assert ctl.refused("profile.add", profile="a") == ("state", "there is a profile 'a' already")
    assert ctl.refused("profile.add", profile="small") == ("state", "there is a profile 'small' already, in the settings")
    assert ctl.refused("profile.add", profile="a b")[0] == "value"
    assert ctl.refused("profile.add", profile="b", memory="much")[0] == "value"
    assert ctl.refused("profile.add", profile="b", share=5)[0] == "field"  # a pool's
    assert ctl.refused("profile.set", profile="b", weight=1) == ("unknown", "there is no profile 'b'")
    assert ctl.refused("profile.remove", profile="b")[0] == "unknown"
    assert ctl.refused("profile.get", profile="b")[0] == "unknown"
    for op, fields in (("profile.set", {"weight": 1}), ("profile.remove", {})):
        error, text = ctl.refused(op, profile="small", **fields)
        assert error == "state" and "section of the settings" in text
    for i in range(62):
        ctl.do("profile.add", profile=f"p{i}")
    assert ctl.refused("profile.add", profile="p62") == \
        ("limit", "there are 64 profiles already (VGPU_MAX_PROFILES)")


def test_a_profile_of_the_control_socket_is_as_good_as_one_of_the_settings(ctl):
    ctl.do("profile.add", profile="large", memory="8G", weight=7)
    with ctl.mediator.connect() as operator:
        made = operator.ask(vgpu.tenant_create_as(name=b"blue", profile=b"large"))
        assert made.kind == vgpu.TENANT_OK
        t = ctl.do("tenant.get", tenant="blue")
        assert (t["memory"], t["weight"], t["record"]) == (8 << 30, 7, "name-blue")
        ctl.do("tenant.set", tenant="blue", profile="small")
        t = ctl.do("tenant.get", tenant="blue")
        assert (t["memory"], t["weight"]) == (1 << 30, 50)


def test_without_a_store_that_is_said(ctl):
    assert ctl.do("profile.add", profile="a")["kept"] is False
    assert ctl.do("profile.set", profile="a", weight=3)["kept"] is False
    assert "kept" not in ctl.do("profile.get", profile="a")
    assert ctl.do("profile.remove", profile="a")["kept"] is False


def test_profiles_outlive_a_kill(place):  # noqa: F811
    with running(place, *SETTINGS) as m, control.connect(m) as ctl:
        assert ctl.do("profile.add", profile="large", memory="8G", gpu_cap=12.5)["kept"] is True
        assert ctl.do("profile.add", profile="gone")["kept"] is True
        assert ctl.do("profile.set", profile="large", weight=7)["kept"] is True
        assert ctl.do("profile.remove", profile="gone")["kept"] is True
        before = profiles(ctl)
        kill(m)
    assert query(place, "SELECT name, memory_bytes FROM profile") == [("large", 8 << 30)]
    assert query(place, "SELECT what, subject FROM audit WHERE subject = 'gone' ORDER BY id") == \
        [("profile.set", "gone"), ("profile.remove", "gone")]
    with running(place, *SETTINGS) as m, control.connect(m) as ctl:
        assert profiles(ctl) == before
        ctl.do("profile.remove", profile="large")
    assert query(place, "SELECT count(*) FROM limits") == [(0,)]


def test_without_a_store_profiles_outlive_a_mediator_that_is_adopted():
    with vgpu.mediator(*SETTINGS) as m, control.connect(m) as ctl:
        ctl.do("profile.add", profile="large", memory="8G", gpu_cap=12.5)
        ctl.do("profile.add", profile="gone")
        ctl.do("profile.remove", profile="gone")
        before = profiles(ctl)
        m.process.send_signal(signal.SIGHUP)
        vgpu.wait_for(lambda: "adopted what the last" in m.log(), 10)
        with control.connect(m) as again:
            assert profiles(again) == before
            again.do("profile.remove", profile="large")


def test_the_card_is_known_without_anybody_having_asked_before(ctl):
    gpu, = ctl.do("gpu.list")["gpus"]
    assert gpu["gpu"].startswith("GPU-") and gpu["memory"] > 0
    assert gpu["backend"] == "null" and gpu["health"] == "unknown"
    assert gpu["temperature_c"] is None


def test_capacity_of_an_empty_card(ctl):
    card, = ctl.do("capacity")["gpus"]
    memory = ctl.do("gpu.list")["gpus"][0]["memory"]
    assert (card["memory"], card["memory_most"], card["memory_taken"]) == (memory, memory, 0)
    assert (card["vgpus"], card["vgpus_most"], card["overcommit"]) == (0, 64, 100)
    ctl.do("profile.add", profile="all")
    rows = {p["profile"]: p for p in ctl.do("capacity")["gpus"][0]["profiles"]}
    assert rows["small"] == {"profile": "small", "memory": 1 << 30, "vgpus": 0, "assigned": 0,
                             "fit": min(64, memory >> 30), "personality": "custom", "protocol": "any"}
    assert (rows["all"]["memory"], rows["all"]["fit"]) == (memory, 1)


def test_without_a_sensor_the_card_is_not_known(tmp_path):
    bad = tmp_path / "sensor"
    bad.write_text("#!/bin/false\n")
    bad.chmod(0o755)
    with vgpu.mediator("--set", f"paths.sensor={bad}") as m, control.connect(m) as ctl:
        assert ctl.refused("capacity")[0] == "gpu"
        assert ctl.refused("gpu.list", id=5)[0] == "gpu"


def test_one_pool_and_one_tenant(ctl):
    with ctl.mediator.connect() as operator:
        operator.tenant(name=b"blue")
        pools, tenants = ctl.status()
        assert {p["pool"]: p["weight"] for p in ctl.do("pool.list")["pools"]} == {"default": 100, "gold": 300}
        assert ctl.do("pool.get", pool="gold")["weight"] == pools["gold"]["weight"]
        assert {t["tenant"] for t in ctl.do("tenant.list")["tenants"]} == set(tenants)
        blue = ctl.do("tenant.get", tenant="blue")
        assert ctl.do("tenant.get", tenant=blue["tenant"])["name"] == "blue"
        assert ctl.refused("pool.get", pool="none")[0] == "unknown"
        assert ctl.refused("tenant.get", tenant="none")[0] == "unknown"


def test_settings_in_force(tmp_path):
    file = tmp_path / "config"
    file.write_text("[turn]\nlength = 3 ms\nround = 1 s\n[pool gold]\nshare = 12.5\n")
    with vgpu.mediator("--config", str(file), "--set", "turn.round=2 s") as m, control.connect(m) as ctl:
        c = ctl.do("config")
        length = c["settings"]["turn.length"]
        assert (length["value"], length["default"], length["shown"], length["from"]) == (3000000, 8000000, "3ms", "file")
        assert c["settings"]["turn.round"]["from"] == "command line"
        assert c["settings"]["turn.shortest"]["from"] == "default"
        assert c["settings"]["paths.run_directory"]["value"] == str(m.directory)
        assert c["pools"] == {"gold": {"from": "file", "policy": {"share": 12.5}}}
        assert c["profiles"] == {}
