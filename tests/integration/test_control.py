# SPDX-License-Identifier: Apache-2.0
"""The control socket: operations and what they change. What is refused is in test_control_refusals.py."""
import os
import time

import api
import control
import pytest
import vgpu
from test_turns import crowd, shares


@pytest.fixture
def both(mediator):
    with mediator.connect() as operator, control.connect(mediator) as ctl:
        yield mediator, operator, ctl


def test_status_shows_what_holds(both):
    _, operator, ctl = both
    tenant = operator.tenant(name=b"blue", weight=300, memory=1 << 30).tenant
    pools, tenants = ctl.status()
    assert list(pools) == ["default"] and pools["default"]["weight"] == 100 and pools["default"]["gpu"] is None
    row = tenants[tenant]
    assert (row["name"], row["pool"], row["weight"], row["class"], row["memory"]) == \
        ("blue", "default", 300, "normal", 1 << 30)
    assert row["gpu_cap"] == 0 and row["turn"] == 0 and row["channels"] == []
    assert not row["in_demand"]


def test_weights_change_the_shares_of_running_programs(both):
    mediator, operator, ctl = both
    tenants, *_ = crowd(mediator, operator, (100, 100))
    for weights, want in (((100, 100), 0.5), ((300, 100), 0.75), ((1, 4), 0.2)):
        for tenant, weight in zip(tenants, weights):
            ctl.do("tenant.set", tenant=tenant, weight=weight)
        time.sleep(0.1)
        before = operator.status()
        time.sleep(1.2)
        after = operator.status()
        assert abs(shares(before, after, tenants)[0] - want) < 0.12
        assert after[tenants[0]].weight == weights[0]
    rows = ctl.status()[1]
    assert abs(rows[tenants[0]]["share_target"] - 20) < 0.1


def test_priorities_are_weights(both):
    _, operator, ctl = both
    tenant = operator.tenant(name=b"p").tenant
    for word, weight in (("low", 50), ("medium", 100), ("high", 200)):
        ctl.do("tenant.set", tenant="p", priority=word)
        assert ctl.status()[1][tenant]["weight"] == weight


def test_pools_share_first(both):
    mediator, operator, ctl = both
    ctl.do("pool.add", pool="A", weight=300)
    ctl.do("pool.add", pool="B", priority="medium", gpu_cap=90, turn="20 ms")
    tenants, *_ = crowd(mediator, operator, (100, 100, 100))
    for tenant, pool in zip(tenants, "AAB"):
        ctl.do("tenant.set", tenant=tenant, pool=pool)
    time.sleep(0.1)
    before = operator.status()
    time.sleep(1.5)
    after = operator.status()
    for share, want in zip(shares(before, after, tenants), (3 / 8, 3 / 8, 1 / 4)):
        assert abs(share - want) < 0.12, share
    pools, rows = ctl.status()
    assert pools["A"]["tenants"] == 2 and pools["B"]["gpu_cap"] == 90 and pools["B"]["turn"] == 20_000_000
    assert abs(rows[tenants[2]]["share_target"] - 25) < 0.1
    assert ctl.refused("pool.remove", pool="B")[0] == "state"
    ctl.do("tenant.set", tenant=tenants[2], pool="default")
    ctl.do("pool.remove", pool="B")
    assert "B" not in ctl.status()[0]


def test_a_fixed_share_is_of_the_whole(both):
    mediator, operator, ctl = both
    ctl.do("pool.add", pool="fixed", share=30)
    ctl.do("pool.add", pool="other", weight=700)
    tenants, *_ = crowd(mediator, operator, (100, 100, 100))
    for tenant, pool in zip(tenants, ("fixed", "other", "default")):
        ctl.do("tenant.set", tenant=tenant, pool=pool)
    time.sleep(0.1)
    rows = ctl.status()[1]
    for tenant, want in zip(tenants, (30, 70 * 7 / 8, 70 / 8)):
        assert abs(rows[tenant]["share_target"] - want) < 0.1
    assert ctl.refused("pool.add", pool="too-much", share=70)[0] == "state"
    assert ctl.refused("pool.set", pool="other", share=70)[0] == "state"
    ctl.do("pool.set", pool="other", share=69)


def test_a_cap_holds_alone_and_goes_away(both):
    mediator, operator, ctl = both
    tenants, *_ = crowd(mediator, operator, (100,))
    ctl.do("tenant.set", tenant=tenants[0], gpu_cap=20)
    time.sleep(0.3)
    before = ctl.status()[1][tenants[0]]
    begin = time.monotonic()
    time.sleep(2)
    after = ctl.status()[1][tenants[0]]
    used = (after["gpu_ns"] - before["gpu_ns"]) / ((time.monotonic() - begin) * 1e9)
    assert 0.05 < used < 0.23, used
    assert after["capped_ns"] - before["capped_ns"] > 1e9
    ctl.do("tenant.set", tenant=tenants[0], gpu_cap=0)
    before = ctl.status()[1][tenants[0]]
    time.sleep(0.5)
    after = ctl.status()[1][tenants[0]]
    assert after["gpu_ns"] - before["gpu_ns"] > 0.1e9 and after["capped_ns"] == before["capped_ns"]


def test_latency_class_is_served_first():
    with vgpu.mediator("--set", "turn.length=50ms", "--set", "turn.shortest=50ms") as mediator, \
            mediator.connect() as operator, control.connect(mediator) as ctl:
        tenants, _, channels = crowd(mediator, operator, (100,) * 5, ["work 300 0"] * 4 + ["work 200 20000"])
        rounds = []
        for kind in ("normal", "latency"):
            ctl.do("tenant.set", tenant=tenants[4], **{"class": kind})
            time.sleep(0.2)
            before = operator.status()
            time.sleep(1.5)
            after = operator.status()
            rounds.append(after[tenants[4]].launches - before[tenants[4]].launches)
        # Without waiting for the others' turns a round is hardly longer than its pause.
        assert rounds[1] > rounds[0], rounds


def test_memory_quota_changes(both):
    _, operator, ctl = both
    tenant = operator.tenant(name=b"m").tenant
    ctl.do("tenant.set", tenant="m", memory="256M")
    assert operator.status()[tenant].memory_quota == 256 << 20
    ctl.do("tenant.set", tenant="m", memory=0)
    assert operator.status()[tenant].memory_quota == 0


@pytest.mark.parametrize("op", ["tenant.disconnect", "tenant.kill"])
def test_tenants_are_disconnected(both, op):
    mediator, operator, ctl = both
    tenants, clients, channels = crowd(mediator, operator, (100, 100))
    channels[0].do("deaf")  # does not end by itself
    assert ctl.do(op, tenant=tenants[0])["channels"] == 1
    lost = clients[0].receive()
    assert (lost.kind, lost.code) == (vgpu.CHANNEL_LOST, vgpu.E_SHUTDOWN) and "operator" in lost.text
    assert clients[0].receive() is None
    vgpu.wait_for(lambda: len(mediator.executors()) == 1)
    with vgpu.Client(mediator.directory / f"tenant-{tenants[0]}.sock") as again:  # the tenant is still there
        again.open().do("work 200 0")
        vgpu.wait_for(lambda: operator.status()[tenants[0]].channels == 1)
    assert operator.status()[tenants[1]].channels == 1


def test_profiles_are_named_sets_of_limits(tmp_path):
    config = tmp_path / "mediator.conf"
    config.write_text("[pool gold]\nweight = 300\ngpu_cap = 80\n[profile small]\nweight = 25\nmemory = 2G\ngpu_cap = 12.5\n"
                      "class = latency\n[tenant]\npool = gold\nprofile = small\n")
    with vgpu.mediator("--config", config) as m, m.connect() as operator, control.connect(m) as ctl:
        pools, tenants = ctl.status()
        assert pools["gold"]["weight"] == 300 and pools["gold"]["gpu_cap"] == 80
        row = tenants[operator.greeting.tenant]
        assert (row["pool"], row["weight"], row["memory"], row["gpu_cap"], row["class"]) == \
            ("gold", 25, 2 << 30, 12.5, "latency")
        other = operator.tenant(name=b"other", weight=500).tenant
        ctl.do("tenant.set", tenant="other", profile="small", gpu_cap=50)
        row = ctl.status()[1][other]
        assert (row["weight"], row["memory"], row["gpu_cap"]) == (25, 2 << 30, 50)


def test_members_of_the_group_may_ask():
    if os.geteuid() != 0:
        pytest.skip("needs root to be somebody else")
    with vgpu.mediator("--set", "control.group=nogroup") as m:
        os.chmod(m.directory, 0o755)
        path = m.directory / "control.sock"
        assert path.stat().st_mode & 0o777 == 0o660
        for groups, code in (([65534], "yes"), ([], "permission")):
            os.chmod(path, 0o666)  # the file's permissions are not what is tested here

            def asked():
                with control.Control(path) as c:
                    answer = c.ask("status")
                    return "yes" if answer["ok"] else answer["error"]
            assert api.as_user(asked, groups) == code


def test_operations_describe_themselves(both):
    ctl = both[2]
    operations = ctl.do("operations")["operations"]
    assert {"status", "pool.add", "pool.set", "pool.remove", "tenant.set", "tenant.kill"} <= set(operations)
    assert "gpu_cap" in operations["tenant.set"]["fields"] and "share" in operations["pool.add"]["fields"]


def test_none_is_none():
    with vgpu.mediator("--set", "control.socket=none") as m:
        assert not (m.directory / "control.sock").exists()


def test_tenants_are_made_by_profile_and_pool(tmp_path):
    config = tmp_path / "mediator.conf"
    config.write_text("[pool gold]\nweight = 300\n[profile small]\nweight = 25\nmemory = 2G\ngpu_cap = 12.5\n")
    with vgpu.mediator("--config", config) as m, m.connect() as operator, control.connect(m) as ctl:
        wishes = {"plain": ({}, ("default", 100, 0, 0)), "by": ({"profile": b"small"}, ("default", 25, 2 << 30, 12.5)),
                  "own": ({"profile": b"small", "pool": b"gold", "weight": 7, "memory": 5}, ("gold", 7, 5, 12.5)),
                  "free": ({"profile": b"small", "memory": 0}, ("default", 25, 0, 12.5))}
        for name, (wish, want) in wishes.items():
            made = operator.ask(vgpu.tenant_create_as(name=name.encode(), **wish))
            assert made.kind == vgpu.TENANT_OK, vars(made)
            row = ctl.status()[1][made.tenant]
            assert (row["pool"], row["weight"], row["memory"], row["gpu_cap"]) == want
            with vgpu.Client(made.path) as program:
                assert program.greeting.memory == want[2]
        tenants = len(ctl.status()[1])
        for wish in ({"profile": b"none"}, {"pool": b"none"}, {"profile": b"gold"}):
            refused = operator.ask(vgpu.tenant_create_as(**wish))
            assert (refused.kind, refused.code) == (vgpu.ERROR, vgpu.E_UNKNOWN) and "there is no" in refused.text
        assert len(ctl.status()[1]) == tenants


@pytest.mark.parametrize("wish", [{"profile": b"a b"}, {"pool": b"../x"}, {"pool": b"x" * 48}, {"weight": 10001}, {"name": b""},
                                  {"profile": b"a\0b"}, {"reserved": 1}])
def test_malformed_wishes_end_the_connection(mediator, wish):
    with mediator.connect() as operator:
        refused = operator.ask(vgpu.tenant_create_as(**wish))
        assert (refused.kind, refused.code) == (vgpu.ERROR, vgpu.E_PROTOCOL) and operator.receive() is None
