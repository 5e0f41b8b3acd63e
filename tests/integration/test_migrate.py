# SPDX-License-Identifier: Apache-2.0
"""The way of VMs between personalities: a real mediator and its store, sessions that say what stubs say, fake executors.
What a VM did before and did since is written into the store as a mediator would have; what follows from it is the mediator's."""
import contextlib
import json
import os
import socket
import sqlite3
import struct
import tempfile
import time

import admin
import api
import control
import pytest
import vgpu
from inventory import SMALL, VM1, VM2, assigned, vms
from test_adopt import HOWS, Daemon
from test_watch import OFFENCES, lost

MONITOR, VM, PERSONALITY = 0x10a, 0x20a, 2
MORE = [f"{i:08x}-0000-4000-8000-000000000000" for i in range(1, 10)]
FAST = ("--set", "store.flush=100 ms", "--set", "migrate.look=100 ms", "--set", "migrate.minutes=5", "--set", "slot.grace=300 ms")
CHECKS = ("kernel", "driver", "node", "host", "libcuda", "test-init", "test-kernel", "test-copy-out")


@pytest.fixture
def place(tmp_path):
    return tmp_path / "store.db"


@contextlib.contextmanager
def daemon(place, *args):
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory, \
            Daemon(directory, *SMALL, *FAST, "--set", f"store.path={place}", *args) as d:
        yield d


@pytest.fixture
def d(place):
    with daemon(place) as running:
        yield running


class Running(vgpu.Client):
    """A VM that runs, by what its stub says; programs in it."""

    def __init__(self, m, vm=VM1, knows=True):
        super().__init__(m.directory / f"vm-{vm}.sock", say_hello=False)
        assert self.ask(vgpu.hello(features=PERSONALITY if knows else 0)).kind == vgpu.HELLO_OK
        if knows:
            self.sock.recv(vgpu.MAX_PACKET)  # what it is
            self.monitor(True)

    def monitor(self, there):
        self.send(vgpu.header(MONITOR, 24) + struct.pack("<II", there, 0))

    def receive(self, timeout=10):
        """What is said of the VM comes whenever it changes."""
        while struct.unpack("<4xH", self.sock.recv(6, socket.MSG_PEEK) or bytes(6))[0] == VM:
            self.sock.recv(vgpu.MAX_PACKET)
        return super().receive(timeout)

    def restart(self):
        self.monitor(False)
        self.monitor(True)


def report(vm=VM1, target="nvidia", at=None, failed=(), without=(), **more):
    rows = [{"check": c, "state": "failed" if c in failed else "ok", "text": "it says", "next": "do this" if c in failed else None}
            for c in CHECKS if c not in without]
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() if at is None else at))
    return {"time": when, "vm_uuid": vm, "machine": None, "kernel": "6.1", "personality": "custom", "for": target,
            "ready": not failed, "versions": {}, "checks": rows, **more}


def hand_over(ctl, vm=VM1, **kw):
    return ctl.do("migrate.preflight", report=json.dumps(report(vm, **kw)))


def refused(ctl, text, **fields):
    return ctl.refused("migrate.preflight", report=text if isinstance(text, str) else json.dumps(text), **fields)[1]


def status(ctl):
    return ctl.do("migrate.status")


def row(ctl, vm=VM1):
    return next(r for r in status(ctl)["vms"] if r["vm"] == vm)


def personalities(ctl):
    return {uuid: v["personality"] for uuid, v in vms(ctl).items()}


def write_minutes(place, vm, first_s, n, gpu_ms=20000, launches=1000000, faults=0):
    """What the VM did in n minutes from then on."""
    with contextlib.closing(sqlite3.connect(place, timeout=20)) as db, db:
        db.execute("INSERT OR IGNORE INTO tenant (name, seen) VALUES (?, 0)", (f"vm-{vm}",))
        tenant, = db.execute("SELECT id FROM tenant WHERE name = ?", (f"vm-{vm}",)).fetchone()
        for i in range(n):
            at = (int(first_s) // 60 + i) * 60
            db.execute("INSERT INTO usage_minute VALUES (?, ?, ?, 1, ?, 0, 0, ?) ON CONFLICT DO UPDATE SET gpu_ns = excluded.gpu_ns, "
                       "launches = excluded.launches, faults = excluded.faults", (tenant, at, gpu_ms * 1000000, launches, faults))


def history(place, vm, **kw):
    write_minutes(place, vm, time.time() - 7200, 60, **kw)


def since(place, ctl, vm, n=5, **kw):
    """After its start; minutes that have not come yet are as good as others."""
    write_minutes(place, vm, row(ctl, vm)["started"] + 60, n, **kw)


def becomes(ctl, state, vm=VM1):
    vgpu.wait_for(lambda: row(ctl, vm)["state"] == state, 20, lambda: f"{vm} never {state}: {row(ctl, vm)}")


def run_becomes(ctl, state):
    vgpu.wait_for(lambda: status(ctl)["state"] == state, 20, lambda: f"never {state}: {status(ctl)}")


def audited(ctl, subject):
    return [(r["what"], r["after"]) for r in reversed(ctl.do("audit", subject=subject, most=1000)["audit"])]


# ---- plan

def test_without_a_store_nothing_is_planned():
    with vgpu.mediator(*SMALL) as m, control.connect(m) as ctl:
        assigned(ctl)
        code, text = ctl.refused("migrate.plan")
        assert code == "state" and "store.path" in text
        assert ctl.do("migrate.plan", dry_run=True)["vms"][0]["group"] == "canary"
        assert status(ctl)["run"] is False and status(ctl)["host"] == {"custom": 1, "nvidia": 0}


def test_groups_over_pools_and_profiles(d):
    with control.connect(d.m) as ctl:
        ctl.do("pool.add", pool="gold")
        ctl.do("profile.add", profile="tiny", memory="64M")
        for i, vm in enumerate(MORE):
            ctl.do("vm.add", vm=vm, name=f"v{i}", profile="tiny" if i % 2 else "small", **({"pool": "gold"} if i < 6 else {}))
        ctl.do("vm.set", vm=MORE[0], personality="nvidia")

        def groups(**kw):
            return [(r["name"], r["group"]) for r in ctl.do("migrate.plan", dry_run=True, **kw)["vms"]]

        assert groups(pool="gold", canary="1", wave=2) == \
            [("v1", "canary"), ("v2", "wave 1"), ("v3", "wave 1"), ("v4", "wave 2"), ("v5", "wave 2")]
        assert groups(pool="gold", profile="tiny", canary="50%") == [("v1", "canary"), ("v3", "canary"), ("v5", "wave 1")]
        assert [g for _, g in groups(pool="default", canary="99")] == ["canary"] * 3
        assert groups(to="custom") == [("v0", "canary")]
        assert groups(vms=f"{MORE[7].upper()},{MORE[8]}") == [("v7", "canary"), ("v8", "wave 1")]
        assert status(ctl)["run"] is False
        for wrong in ({"canary": "0"}, {"canary": "101%"}, {"canary": "x"}, {"canary": ""}, {"canary": "-1"}, {"wave": 0}, {"wave": -3},
                      {"to": "amd"}):
            assert ctl.refused("migrate.plan", **wrong)[0] == "value", wrong
        for unknown in ({"pool": "none"}, {"profile": "none"}, {"vms": VM1}, {"vms": "x"}, {"vms": "," + MORE[1]}, {"to": "custom", "vms": MORE[1]}):
            assert ctl.refused("migrate.plan", **unknown)[0] == "unknown", unknown
        assert ctl.do("migrate.plan", pool="gold")["state"] == "planned"
        assert "going on" in ctl.refused("migrate.plan")[1]
        ctl.do("migrate.plan", end=True, profile="small")
        assert {r["name"] for r in status(ctl)["vms"]} == {"v2", "v4", "v6", "v8"}
        assert personalities(ctl)[MORE[1]] == "custom"


# ---- preflight

def test_reports_that_do_not_count(d):
    with control.connect(d.m) as ctl:
        assigned(ctl)
        assigned(ctl, VM2, "two")
        assert "no run" in refused(ctl, report())
        ctl.do("migrate.plan", vms=VM1)
        assert "another machine" in refused(ctl, report(VM2), vm=VM1)
        assert "not in the run" in refused(ctl, report(VM2))
        assert "say the VM" in refused(ctl, report(None))
        assert "not for nvidia" in refused(ctl, report(target="custom"))
        assert "hours old" in refused(ctl, report(at=time.time() - 90000))
        assert "future" in refused(ctl, report(at=time.time() + 3600))
        assert "contradicts" in refused(ctl, report(failed=["driver"], ready=True))
        for broken in ("", "{", "[1]", json.dumps({"ready": True}), "[" * 5000):
            assert refused(ctl, broken)
        assert "longer than" in refused(ctl, " " * 12289)
        assert (row(ctl)["report"], row(ctl)["preflight"]) == ("none", "missing")
        ctl.refused("migrate.preflight", vm="x")
        ctl.refused("migrate.preflight", without_report="all of them")
        assert "may move" in ctl.refused("migrate.canary")[1]


def test_what_failed_in_the_guest_and_what_was_left_out(d):
    with control.connect(d.m) as ctl:
        assigned(ctl)
        ctl.do("migrate.plan")
        hand_over(ctl, failed=["libcuda"])
        r = row(ctl)
        assert (r["preflight"], r["report"]) == ("failed", "failed") and "libcuda: it says -> do this" in r["preflight_why"]
        assert "vgpu-guest-check" in r["next"]
        hand_over(ctl, without=["test-kernel"])
        assert row(ctl)["preflight_why"] == "test-kernel: not checked"
        ctl.refused("migrate.canary")
        hand_over(ctl)
        assert row(ctl)["preflight"] == "passed"
        assert ctl.do("migrate.canary")["moved"] == 1


def test_one_machine_has_one_report(d):
    with control.connect(d.m) as ctl:
        assigned(ctl)
        assigned(ctl, VM2, "two")
        ctl.do("migrate.plan")
        machine = "0123456789abcdef"
        ctl.do("migrate.preflight", vm=VM1, report=json.dumps(report(None, machine=machine)))
        assert VM1 in refused(ctl, report(None, machine=machine), vm=VM2)
        ctl.do("migrate.preflight", vm=VM1, report=json.dumps(report(None, machine=machine)))
        # A copy of a machine has its id, and a uuid of its own.
        hand_over(ctl, VM2, machine=machine)


def test_a_reason_in_place_of_a_report_is_audited(d):
    with control.connect(d.m) as ctl:
        assigned(ctl)
        ctl.do("migrate.plan")
        assert ctl.do("migrate.preflight", vm=VM1, without_report="an appliance\x1b[2J")["kept"] is True
        r = row(ctl)
        assert (r["preflight"], r["report"]) == ("passed", "waived")
        after = audited(ctl, VM1)[-1][1]
        assert after["report"] == "waived" and after["report_why"].startswith("an appliance") and "\x1b" not in after["report_why"]


def test_what_the_host_says(place):
    with daemon(place, "--set", f"slot.stub_socket=/run/{'x' * 62}/VM.sock") as d, control.connect(d.m) as ctl:
        ctl.do("vm.add", vm=VM1, name="one")
        ctl.do("migrate.plan")
        hand_over(ctl)

        def why():
            return row(ctl)["preflight_why"]

        assert "no vGPU" in why()
        ctl.do("vgpu.add", vm=VM1, profile="small")
        assert "too long" in why()
        with Running(d.m, knows=False):
            assert "no personalities" in why()
        ctl.do("quarantine.add", tenant="one")
        assert "quarantine" in why()
        ctl.refused("migrate.canary")


# ---- both directions, and who restarts when

@pytest.mark.parametrize("target, other", [("nvidia", "custom"), ("custom", "nvidia")])
def test_over_in_groups(d, place, target, other):
    with control.connect(d.m) as ctl, contextlib.ExitStack() as stack:
        for vm, name in ((VM1, "one"), (VM2, "two")):
            assigned(ctl, vm, name)
            ctl.do("vm.set", vm=vm, personality=other)
            history(place, vm)
        running = {vm: stack.enter_context(Running(d.m, vm)) for vm in (VM1, VM2)}
        channel = running[VM1].open()
        channel.do("work 200 0")
        ctl.do("migrate.plan", to=target, canary="1")
        assert "canary comes first" in ctl.refused("migrate.apply", force=True)[1]
        hand_over(ctl, target=target)
        assert ctl.do("migrate.canary")["left"] == 0
        assert personalities(ctl) == {VM1: target, VM2: other}
        assert row(ctl)["state"] == "waiting" and "start" in row(ctl)["next"]
        assert "not judged" in ctl.refused("migrate.apply")[1] and ctl.refused("migrate.canary")
        assert d.m.executors()  # nothing of what runs is touched
        time.sleep(0.5)  # it is looked at, and still runs with what it was
        assert row(ctl)["state"] == "waiting"
        running[VM1].restart()
        becomes(ctl, "observed")
        since(place, ctl, VM1)
        becomes(ctl, "good")
        r = row(ctl)
        assert r["before"]["minutes"] == 60 and r["before"]["gpu_ns_per_launch"] == 20000
        run_becomes(ctl, "good")
        assert "none of the 1" in ctl.refused("migrate.apply")[1]  # no report of two's guest
        hand_over(ctl, VM2, target=target)
        ctl.do("migrate.apply")
        assert personalities(ctl) == {VM1: target, VM2: target}
        running[VM2].close()  # it stops for good
        becomes(ctl, "observed", VM2)
        since(place, ctl, VM2)
        run_becomes(ctl, "done")
        assert "migrate.good" in {e["kind"] for e in ctl.do("events")["events"]}
        ctl.do("migrate.plan", to=other)  # a run that is done is in nobody's way


def test_a_vm_that_does_not_run_counts_at_once(d):
    with control.connect(d.m) as ctl:
        assigned(ctl)
        ctl.do("migrate.plan")
        hand_over(ctl)
        time.sleep(0.4)  # slot.grace, for stubs of before
        ctl.do("migrate.canary")
        assert row(ctl)["state"] == "observed" and row(ctl)["next"] == "start the VM"


# ---- judged

def moved(d, ctl, place, n=1, **kw):
    """Canaries that were moved and started again."""
    stack = contextlib.ExitStack()
    for vm, name in ((VM1, "one"), (VM2, "two"))[:n]:
        assigned(ctl, vm, name)
        history(place, vm, **kw)
    running = [stack.enter_context(Running(d.m, vm)) for vm in (VM1, VM2)[:n]]
    ctl.do("migrate.plan", canary="100%")
    for vm in (VM1, VM2)[:n]:
        hand_over(ctl, vm)
    ctl.do("migrate.canary")
    for r, vm in zip(running, (VM1, VM2)):
        r.restart()
        becomes(ctl, "observed", vm)
    stack.running = running
    return stack


WORSE = {"errors": ({"faults": 2}, "migrate.errors"), "slower": ({"gpu_ms": 40000}, "migrate.slower"),
         "less of the GPU": ({"gpu_ms": 1000, "launches": 50000}, "migrate.fall")}


@pytest.mark.parametrize("how", WORSE)
def test_a_canary_that_is_worse_goes_back_with_its_group(d, place, how):
    kw, words = WORSE[how]
    with control.connect(d.m) as ctl, moved(d, ctl, place, 2):
        ctl.do("vm.add", vm=MORE[0], name="third")
        since(place, ctl, VM1, **kw)
        run_becomes(ctl, "stopped")
        assert personalities(ctl) == {VM1: "custom", VM2: "custom", MORE[0]: "custom"}
        assert words in row(ctl)["why"] and words in status(ctl)["why"]
        assert row(ctl, VM2)["state"] == "rolled back" and VM1 in row(ctl, VM2)["why"]
        assert "start" in row(ctl)["next"]
        event, = (e for e in ctl.do("events")["events"] if e["kind"] == "migrate.rolled_back")
        assert event["fields"] == {"group": "canary", "vm": VM1} and words in event["text"]
        assert [after["personality"] for what, after in audited(ctl, VM1) if what == "vm.set"] == ["", "nvidia", ""]  # nobody said
        assert [r["who"] for r in ctl.do("audit", subject=VM1)["audit"] if r["what"] == "vm.set"][0] == "vgpu-mediator"
        assert "no run" in ctl.refused("migrate.apply", force=True)[1]


def test_what_is_not_judged_yet_goes_back_too(d, place):
    """The run is over: nobody would judge it any more."""
    with control.connect(d.m) as ctl:
        for vm, name in ((VM1, "one"), (VM2, "two")):
            assigned(ctl, vm, name)
        with Running(d.m, VM1) as one, Running(d.m, VM2):
            ctl.do("migrate.plan", canary="1")
            for vm in (VM1, VM2):
                hand_over(ctl, vm)
            ctl.do("migrate.canary")
            ctl.do("migrate.apply", force=True)
            assert row(ctl, VM2)["state"] == "waiting"
            one.restart()
            becomes(ctl, "observed")
            since(place, ctl, VM1, faults=1)
            run_becomes(ctl, "stopped")
            assert personalities(ctl) == {VM1: "custom", VM2: "custom"} and row(ctl, VM2)["state"] == "rolled back"


def test_strikes_count_at_once(place):
    line, code, _ = OFFENCES["stream"]
    with daemon(place, "--set", "migrate.errors=1", "--set", "strikes.most=0") as d, control.connect(d.m) as ctl, \
            moved(d, ctl, place) as stack:
        for _ in range(2):
            assert status(ctl)["state"] == "moving"
            stack.running[0].open().do(line)
            assert lost(stack.running[0]).code == code
        run_becomes(ctl, "stopped")
        assert "2 faults, strikes" in row(ctl)["why"]


def test_strikes_of_before_are_nobodys_fault(place):
    """Also when it has no vGPU, and so no tenant to ask, in the moment of its start."""
    line, code, _ = OFFENCES["stream"]
    with daemon(place, "--set", "migrate.errors=1", "--set", "strikes.most=0") as d, control.connect(d.m) as ctl:
        slot = assigned(ctl)["vgpu"]
        with Running(d.m) as running:
            for _ in range(5):
                running.open().do(line)
                assert lost(running).code == code
            ctl.do("migrate.plan")
            hand_over(ctl)
            ctl.do("migrate.canary")
            ctl.do("vgpu.release", vgpu=slot)
            becomes(ctl, "observed")
        ctl.do("vgpu.assign", vgpu=slot, vm=VM1)
        strikes, = ctl.do("strike.list")["tenants"]
        assert sum(strikes["counts"].values()) == 5
        vgpu.wait_for(lambda: row(ctl)["after"], 10)
        assert row(ctl)["state"] == "observed" and row(ctl)["after"]["errors"] == 0


def test_ordinary_noise_stays(d, place):
    with control.connect(d.m) as ctl, moved(d, ctl, place):
        since(place, ctl, VM1, gpu_ms=24000)
        becomes(ctl, "good")
        run_becomes(ctl, "done")
        assert personalities(ctl) == {VM1: "nvidia"}


def test_not_judged_needs_force(place):
    with daemon(place, "--set", "migrate.deadline=60 s") as d:
        with control.connect(d.m) as ctl:
            for vm, name in ((VM1, "one"), (VM2, "two")):
                assigned(ctl, vm, name)
            ctl.do("migrate.plan", canary="1")
            for vm in (VM1, VM2):
                hand_over(ctl, vm)
            time.sleep(0.4)
            ctl.do("migrate.canary")
            becomes(ctl, "observed")
        d.kill()
        with contextlib.closing(sqlite3.connect(place, timeout=20)) as db, db:  # as if it had been an hour ago
            db.execute("UPDATE migration_vm SET started = started - 3600 WHERE started > 0")
        d.again()
        with control.connect(d.m) as ctl:
            becomes(ctl, "not judged")
            run_becomes(ctl, "not judged")
            assert "5 are needed" in row(ctl)["why"]
            assert "force" in ctl.refused("migrate.apply")[1]
            assert ctl.do("migrate.apply", force=True)["moved"] == 1
            assert personalities(ctl) == {VM1: "nvidia", VM2: "nvidia"}


# ---- back, at any time

def test_rolled_back_in_the_middle(d, place):
    with control.connect(d.m) as ctl, moved(d, ctl, place, 2):
        assert ctl.do("migrate.rollback", vms=VM2)["rolled_back"] == 1
        assert personalities(ctl) == {VM1: "nvidia", VM2: "custom"} and status(ctl)["state"] == "moving"
        assert ctl.refused("migrate.rollback", vms=MORE[0])[0] == "unknown"
        assert ctl.do("migrate.rollback")["rolled_back"] == 1
        assert personalities(ctl) == {VM1: "custom", VM2: "custom"} and status(ctl)["state"] == "stopped"
        assert ctl.do("migrate.rollback")["rolled_back"] == 0


def test_a_vm_that_was_not_restarted_goes_back_without_a_trace(d):
    with control.connect(d.m) as ctl:
        assigned(ctl)
        with Running(d.m):
            ctl.do("migrate.plan")
            hand_over(ctl)
            ctl.do("migrate.canary")
            ctl.do("migrate.rollback")
            assert (row(ctl)["state"], row(ctl)["next"], personalities(ctl)[VM1]) == ("rolled back", None, "custom")


def test_a_vm_that_is_forgotten_does_not_hold_the_run_up(d):
    with control.connect(d.m) as ctl:
        slot = assigned(ctl)["vgpu"]
        with Running(d.m):
            ctl.do("migrate.plan")
            hand_over(ctl)
            ctl.do("migrate.canary")
            ctl.do("vgpu.release", vgpu=slot)
        ctl.do("vm.remove", vm=VM1)
        becomes(ctl, "not judged")
        ctl.do("migrate.rollback")
        assert status(ctl)["state"] == "stopped"


# ---- the mediator is replaced meanwhile

@pytest.mark.parametrize("how", HOWS)
def test_the_next_mediator_goes_on(d, place, how):
    with control.connect(d.m) as ctl:
        assigned(ctl)
        history(place, VM1)
    with Running(d.m) as running:
        with control.connect(d.m) as ctl:
            ctl.do("migrate.plan")
            hand_over(ctl)
        d.replace(how)
        with control.connect(d.m) as ctl:
            assert row(ctl)["report"] == "passed"
            ctl.do("migrate.canary")
        d.replace(how)
        with control.connect(d.m) as ctl:
            time.sleep(0.6)  # beyond slot.grace
            assert (row(ctl)["state"], personalities(ctl)[VM1]) == ("waiting", "nvidia")
            running.restart()
            becomes(ctl, "observed")
        d.replace(how)
        with control.connect(d.m) as ctl:
            since(place, ctl, VM1, gpu_ms=50000)
            run_becomes(ctl, "stopped")
        d.replace(how)
        with control.connect(d.m) as ctl:
            becomes(ctl, "rolled back")  # it may have been killed before all of that was on the disk
            assert personalities(ctl)[VM1] == "custom"
            vgpu.wait_for(lambda: row(ctl)["before"] and row(ctl)["after"], 10)  # asked from the store again
            assert row(ctl)["before"]["gpu_ns_per_launch"] == 20000 and "takes 50000 ns" in row(ctl)["why"]


def ended_and_begun(d):
    """Nothing is adopted: stubs come back by themselves."""
    assert d.m.stop() == 0
    d.m = vgpu.Mediator(d.directory, *d.args)


def waiting(d):
    with control.connect(d.m) as ctl:
        assigned(ctl)
        with Running(d.m):
            ctl.do("migrate.plan")
            hand_over(ctl)
            ctl.do("migrate.canary")
            ended_and_begun(d)


def test_a_stub_that_is_not_back_yet_is_no_start(place):
    with daemon(place, "--set", "slot.grace=60 s") as d:
        waiting(d)
        with control.connect(d.m) as ctl:
            time.sleep(0.3)  # it was looked at
            assert row(ctl)["state"] == "waiting"
            with Running(d.m) as running:
                time.sleep(0.3)
                assert row(ctl)["state"] == "waiting"
                running.restart()
                becomes(ctl, "observed")


def test_a_vm_that_ended_while_nobody_looked(d):
    waiting(d)
    with control.connect(d.m) as ctl:
        becomes(ctl, "observed")


def test_killed_in_the_middle_of_a_rollback(d, place):
    """What the store has when a mediator dies between its steps: the next one ends what was begun."""
    with control.connect(d.m) as ctl, moved(d, ctl, place, 2):
        pass
    d.kill()
    with contextlib.closing(sqlite3.connect(place, timeout=20)) as db, db:
        db.execute("UPDATE migration_vm SET state = 'failed', why = 'w' WHERE vm = ?", (VM1,))
        db.execute("UPDATE migration SET state = 'stopped', ended = 1")
    d.again()
    with control.connect(d.m) as ctl:
        becomes(ctl, "rolled back")
        assert personalities(ctl) == {VM1: "custom", VM2: "custom"}


def test_killed_when_a_group_was_begun(d, place):
    """The run's row was written, and none of its VMs': it is as if nothing had been said."""
    with control.connect(d.m) as ctl:
        assigned(ctl)
        ctl.do("migrate.plan")
        hand_over(ctl)
    d.kill()
    with contextlib.closing(sqlite3.connect(place, timeout=20)) as db, db:
        db.execute("UPDATE migration SET state = 'moving', begun = 1")
    d.again()
    with control.connect(d.m) as ctl:
        run_becomes(ctl, "planned")
        assert ctl.do("migrate.canary")["moved"] == 1


# ---- for people, and who may

def test_for_people(d, place, tmp_path):
    where = d.m.directory / "api.sock"

    def said(*command, expect=0):
        r = admin.run("migrate", *command, socket=where)
        assert r.returncode == expect, r.stdout + r.stderr
        return r.stdout + r.stderr

    with control.connect(d.m) as ctl:
        assigned(ctl)
        history(place, VM1)
        assert "There is no migration" in said()
        ctl.do("vm.add", vm=VM2, name="two", personality="nvidia")
        out = said("plan", "--dry-run")
        assert "canary" in out and VM2 not in out and "already: 1" in out
        out = said("plan", VM1, "--canary=1")
        assert "planned" in out and "there is no report of its guest" in out and "preflight" in out
        file = tmp_path / "guest.json"
        # As long as the real one, and longer than the mediator takes: what is for people stays here.
        full = report()
        for check in full["checks"]:
            check["text"] = "x" * 2000
        file.write_text(json.dumps(full, indent=4))
        assert "passed" in said("preflight", f"--report={file}")
        file.write_text("x" * 70000)
        assert "longer than" in said("preflight", f"--report={file}", expect=admin.USAGE)
        file.write_text("x")
        assert "not a report" in said("preflight", f"--report={file}", expect=admin.USAGE)
        file.write_text(json.dumps(report(VM2)))
        assert "another machine" in said("preflight", VM1, f"--report={file}", expect=admin.REFUSED)
        assert "waived" in said("preflight", VM1, "--without-report=an appliance", "--json")
        with Running(d.m):
            assert "waiting" in said("canary", "--yes")
            assert "stop and start" in said("status")
            assert "rolled back" in said("rollback", VM1, "--yes")
        kept = tmp_path / "report.txt"
        said("status", f"--report={kept}")
        assert "stopped" in kept.read_text() and VM1 in kept.read_text()
        assert json.loads(said("status", "--json"))["state"] == "stopped"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_viewers_look_and_change_nothing(place):
    with daemon(place, "--set", "api.viewer_group=daemon") as d:
        with control.connect(d.m) as ctl:
            assigned(ctl)
            ctl.do("migrate.plan")
        os.chmod(d.directory, 0o755)
        path = api.socket_of(d.m)

        def look():
            out = []
            for method, where in [("GET", ""), *(("POST", f"/{w}") for w in ("preflight", "canary", "apply", "rollback"))]:
                with api.Api(api.UnixConnection(path)) as a:
                    out.append(a.ask(method, f"/v1/migration{where}", {} if where else None).status)
            return out

        assert api.as_user(look, [1]) == [200, 403, 403, 403, 403]
