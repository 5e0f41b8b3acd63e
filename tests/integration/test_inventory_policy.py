# SPDX-License-Identifier: Apache-2.0
"""What holds for the tenant of a VM: its profile, what was set by hand on top, its pool and its name."""
import control
import pytest
import vgpu
from inventory import SMALL, VM1, assigned, tenant_of
from test_store import place, query, running  # noqa: F401 (place is a fixture)


@pytest.fixture
def ctl():
    with vgpu.mediator(*SMALL) as m, control.connect(m) as c:
        c.mediator = m
        c.do("profile.add", profile="mine", memory="1G", weight=7)
        yield c


def test_a_profile_that_changes_changes_its_vms_at_once(ctl):
    slot = assigned(ctl, profile="mine")
    with vgpu.Client(slot["socket"]) as client:
        client.open().do("memory 4096")
        vgpu.wait_for(lambda: tenant_of(ctl)["memory_used"] == 4096)
        ctl.do("profile.set", profile="mine", memory="2G", turn="3 ms", **{"class": "latency"})
        row = tenant_of(ctl)
        assert (row["memory"], row["weight"], row["turn"], row["class"]) == (2 << 30, 7, 3000000, "latency")
        assert len(row["channels"]) == 1  # nobody noticed


def test_another_profiles_vms_are_left_alone(ctl):
    assigned(ctl)
    ctl.do("profile.set", profile="mine", weight=9)
    assert tenant_of(ctl)["weight"] == 50


def test_what_was_set_by_hand_stays_on_top(ctl):
    assigned(ctl, profile="mine")
    ctl.do("pool.add", pool="gold")
    ctl.do("pool.add", pool="silver")
    ctl.do("tenant.set", tenant="one", priority="high", turn="1 ms", pool="gold")
    ctl.do("profile.set", profile="mine", weight=9, turn="5 ms", memory="3G")
    row = tenant_of(ctl)
    assert (row["weight"], row["turn"], row["memory"], row["pool"]) == (200, 1000000, 3 << 30, "gold")
    assert sorted(row["by_hand"]) == ["pool", "turn", "weight"]
    ctl.do("vm.set", vm=VM1, pool="silver")
    assert tenant_of(ctl)["pool"] == "gold"


def test_a_vms_pool_is_its_tenants(ctl):
    ctl.do("pool.add", pool="gold")
    assigned(ctl)
    ctl.do("vm.set", vm=VM1, pool="gold")
    assert tenant_of(ctl)["pool"] == "gold"
    ctl.do("vm.set", vm=VM1, pool="")
    assert tenant_of(ctl)["pool"] == "default"


def test_a_new_name_is_the_tenants_at_once(ctl):
    assigned(ctl)
    ctl.do("vm.set", vm=VM1, name="uno")
    assert tenant_of(ctl)["name"] == "uno"
    assert ctl.do("tenant.get", tenant="uno")["vm"] == VM1


def test_usage_strikes_and_limits_stay_the_vms_whatever_it_is_called(place):  # noqa: F811
    with running(place, *SMALL) as m, control.connect(m) as ctl:
        slot = assigned(ctl)
        ctl.do("tenant.set", tenant="one", weight=9)
        with vgpu.Client(slot["socket"]) as client:
            client.open().do("work 50 0")
            vgpu.wait_for(lambda: tenant_of(ctl)["launches"] > 10, 10)
            ctl.do("vm.set", vm=VM1, name="uno")
            vgpu.wait_for(lambda: ctl.do("usage", name=f"vm-{VM1}", by="day")["usage"], 10)
        ctl.do("quarantine.add", tenant="uno")
        # Away and there again: all of it is still its.
        ctl.do("vgpu.release", vgpu=slot["vgpu"])
        ctl.do("vgpu.assign", vgpu=slot["vgpu"], vm=VM1)
        row = tenant_of(ctl)
        assert (row["weight"], row["quarantine"], row["by_hand"]) == (9, True, ["weight"])
        with vgpu.Client(row and slot["socket"]) as client:
            assert client.ask(vgpu.channel_open()).code == vgpu.E_QUARANTINED
        assert {t["tenant"] for t in ctl.do("usage", by="day")["usage"]} == {f"vm-{VM1}"}
        ctl.do("tenant.forget", name=f"vm-{VM1}")
        row = tenant_of(ctl)
        assert (row["weight"], row["by_hand"]) == (50, [])  # as its profile says again
    assert query(place, "SELECT count(*) FROM limits WHERE scope = 'tenant'") == [(0,)]
