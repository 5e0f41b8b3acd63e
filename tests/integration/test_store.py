# SPDX-License-Identifier: Apache-2.0
"""What outlives the mediator: a real daemon with a real database, ended and killed, on disks that do not work."""
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time

import control
import pytest
import vgpu
from test_adopt import Daemon
from test_watch import OFFENCES, STRICT, offend

FAST = ("--set", "store.flush=100 ms", "--set", "store.retry=100 ms")


@pytest.fixture
def place(tmp_path):
    return tmp_path / "kept" / "store.db"


@contextlib.contextmanager
def running(place, *args, **kw):
    """A mediator with that store; a test may kill it."""
    place.parent.mkdir(exist_ok=True)
    with vgpu.tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory:
        m = vgpu.Mediator(directory, "--set", f"store.path={place}", *FAST, *args, **kw)
        try:
            yield m
            if m.process.poll() is None:
                assert m.stop(10) == 0, m.log()
        finally:
            if m.process.poll() is None:
                m.process.kill()
            m.process.wait()


def query(place, sql):
    with contextlib.closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as db:
        return db.execute(sql).fetchall()


def kill(m):
    m.process.kill()
    m.process.wait()


def test_what_was_set_by_hand_holds_after_a_kill(place):
    with running(place) as m, control.connect(m) as ctl, m.connect() as operator:
        operator.tenant(name=b"blue", weight=100)
        m.connect()
        user = f"uid-{os.getuid()}"
        ctl.do("pool.add", pool="gold", weight=300, gpu_cap=12.5)
        for name in ("blue", user):
            assert ctl.do("tenant.set", tenant=name, pool="gold", memory="4G", turn="3 ms")["kept"] is True
        ctl.do("tenant.set", tenant="blue", **{"class": "latency"})
        kill(m)  # what was answered is on the disk
    with running(place) as m, control.connect(m) as ctl, m.connect() as operator:
        blue = operator.tenant(name=b"blue", weight=77).tenant
        pools, tenants = ctl.status()
        assert (pools["gold"]["weight"], pools["gold"]["gpu_cap"]) == (300, 12.5)
        row = tenants[blue]
        assert (row["pool"], row["memory"], row["turn"], row["class"]) == ("gold", 4 << 30, 3000000, "latency")
        assert row["weight"] == 77  # was never set by hand
        mine = tenants[operator.greeting.tenant]
        assert (mine["name"], mine["pool"], mine["memory"]) == (user, "gold", 4 << 30)
        assert "hold" in m.log()


def test_a_tenant_cannot_take_a_users_name(place):
    user = b"uid-%d" % os.getuid()
    with running(place) as m, control.connect(m) as ctl, m.connect() as operator:
        ctl.do("tenant.set", tenant=operator.greeting.tenant, weight=5)
        other = operator.tenant(name=user, weight=100).tenant
        assert ctl.status()[1][other]["weight"] == 100
        ctl.do("tenant.set", tenant=other, weight=6)
        assert ctl.status()[1][operator.greeting.tenant]["weight"] == 5
    assert dict(query(place, "SELECT owner, value FROM limits")) == {user.decode(): 5, "name-" + user.decode(): 6}


def test_the_audit_says_who_and_from_what_to_what(place):
    with running(place) as m, control.connect(m) as ctl:
        ctl.do("pool.add", pool="a", weight=50)
        ctl.do("pool.set", pool="a", weight=60)
        ctl.refused("pool.set", pool="a", weight=0)
        ctl.refused("pool.add", pool="a")
        ctl.do("pool.remove", pool="a")
        rows = ctl.do("audit", subject="a")["audit"]
        who = f"uid {os.getuid()} pid {os.getpid()} (control)"
        assert [(r["who"], r["what"], r["before"], r["after"]) for r in reversed(rows)] == [
            (who, "pool.set", None, {"gpu": None}),
            (who, "pool.limits", None, {"weight": 50}),
            (who, "pool.limits", {"weight": 50}, {"weight": 60}),
            (who, "pool.limits", {"weight": 60}, None),
            (who, "pool.remove", {"gpu": None}, None),
        ]
        page = ctl.do("audit", most=2, below=rows[1]["number"])["audit"]
        assert [r["number"] for r in page] == [rows[2]["number"], rows[3]["number"]]
    with running(place) as m, control.connect(m) as ctl:
        assert "a" not in ctl.status()[0]


def test_a_removed_pool_lets_go_of_tenants_that_are_away(place):
    with running(place) as m, control.connect(m) as ctl:
        ctl.do("pool.add", pool="a")
        with m.connect() as operator:
            operator.tenant(name=b"blue")
            ctl.do("tenant.set", tenant="blue", pool="a", weight=9)
        vgpu.wait_for(lambda: ctl.status()[0]["a"]["tenants"] == 0)
        assert ctl.do("pool.remove", pool="a")["kept"] is True
    assert query(place, "SELECT name FROM pool WHERE name = 'a'") == []
    with running(place) as m, control.connect(m) as ctl, m.connect() as operator:
        blue = operator.tenant(name=b"blue").tenant
        row = ctl.status()[1][blue]
        assert (row["pool"], row["weight"]) == ("default", 9)


def test_a_quarantine_outlives_a_kill(place):
    with running(place, *STRICT) as m, m.connect() as operator:
        bad = operator.tenant(name=b"bad")
        for _ in range(3):
            offend(m, bad.path, *OFFENCES["stream"][:2])
        vgpu.wait_for(lambda: query(place, "SELECT count(*) FROM quarantine") == [(1,)], 5)
        kill(m)
    with running(place, *STRICT) as m, m.connect() as operator:
        bad, good = (operator.tenant(name=name) for name in (b"bad", b"good"))
        with vgpu.Client(bad.path) as client:
            answer = client.ask(vgpu.channel_open())
            assert (answer.kind, answer.code) == (vgpu.ERROR, vgpu.E_QUARANTINED)
            assert "malformed stream" in answer.text and " s more" in answer.text
        with vgpu.Client(good.path) as client:
            assert client.open()
    assert query(place, "SELECT cause, count FROM strike_count") == [("stream", 3)]
    assert query(place, "SELECT what, subject FROM audit") == [("quarantine.begin", "name-bad")]


def test_quarantines_by_hand_are_kept_with_who_ordered_them(place):
    who = f"uid {os.getuid()} pid {os.getpid()} (control)"
    with running(place) as m, control.connect(m) as ctl, m.connect() as operator:
        operator.tenant(name=b"bad")
        assert ctl.do("quarantine.add", tenant="bad")["kept"] is True
        kill(m)
    with running(place) as m, control.connect(m) as ctl, m.connect() as operator:
        bad = operator.tenant(name=b"bad")
        assert [(r["tenant"], r["cause"], r["left_ns"]) for r in ctl.do("quarantine.list")["tenants"]] == \
            [(bad.tenant, "operator", None)]
        assert ctl.do("quarantine.release", tenant="bad")["kept"] is True
        assert [(r["who"], r["what"]) for r in ctl.do("audit", subject="name-bad")["audit"]] == \
            [(who, "quarantine.end"), (who, "quarantine.begin")]
        kill(m)
    with running(place) as m, control.connect(m) as ctl, m.connect() as operator:
        operator.tenant(name=b"bad")
        assert ctl.do("quarantine.list")["tenants"] == []


def test_every_item_of_a_policy_is_kept(place):
    values = {"weight": 7, "class": "latency", "gpu_cap": 12.34, "launches_per_s": 100, "copy_per_s": 200,
              "queue_depth": 3, "memory": 1 << 30, "turn": 5000000}
    with running(place) as m, control.connect(m) as ctl, m.connect() as operator:
        fields = ctl.do("operations")["operations"]["tenant.set"]["fields"]
        others = {name: f["type"] for name, f in fields.items() if not f["required"] and name not in values and
                  name not in ("pool", "profile", "priority")}
        for name, kind in others.items():  # those that were added since: the least that its range allows
            values[name] = kind.replace("0 or ", "").split(" to ")[0]
        tenant = operator.tenant(name=b"blue").tenant
        ctl.do("tenant.set", tenant="blue", **values)
        before = ctl.status()[1][tenant]
    assert query(place, "SELECT count(*) FROM limits") == [(len(values),)]
    with running(place) as m, control.connect(m) as ctl, m.connect() as operator:
        tenant = operator.tenant(name=b"blue").tenant
        after = ctl.status()[1][tenant]
        assert {n: after[n] for n in values} == {n: before[n] for n in values}
        assert after["gpu_cap"] == 12.34


def test_strikes_count_on_after_a_restart(place):
    for n in (2, 1):
        with running(place, *STRICT) as m, m.connect() as operator:
            bad = operator.tenant(name=b"bad")
            for _ in range(n):
                offend(m, bad.path, *OFFENCES["stream"][:2])
    assert query(place, "SELECT count(*) FROM quarantine WHERE ended IS NULL") == [(1,)]


def test_usage_is_booked_and_outlives_the_tenant(place):
    with running(place) as m, control.connect(m) as ctl, m.connect() as operator:
        blue = operator.tenant(name=b"blue")
        with vgpu.Client(blue.path) as client:
            client.open().do("work 500 0")
            vgpu.wait_for(lambda: operator.status()[blue.tenant].launches > 300, 10)
            vgpu.wait_for(lambda: ctl.do("usage", name="name-blue", by="minute")["usage"], 10)
        vgpu.wait_for(lambda: operator.status()[blue.tenant].channels == 0, 5)
        last = operator.status()[blue.tenant]
    # The daemon has ended: all of it is there.
    sums = [query(place, f"SELECT sum(launches), sum(gpu_ns) FROM usage_{step}")[0] for step in ("minute", "hour", "day")]
    assert sums[0] == sums[1] == sums[2]
    assert sums[0][0] == last.launches and sums[0][1] >= last.gpu_ns > 0
    with running(place) as m, control.connect(m) as ctl:
        rows = ctl.do("usage", by="day")["usage"]
        assert [r["tenant"] for r in rows] == ["name-blue"]
        assert rows[0]["at"] % 86400 == 0 and rows[0]["launches"] == last.launches
        assert ctl.do("usage", by="day", name="name-red")["usage"] == []
        ctl.refused("usage", by="week")


def test_usage_is_booked_once_when_the_mediator_is_replaced(place):
    with running(place) as m, m.connect() as operator:
        blue = operator.tenant(name=b"blue")
        with vgpu.Client(blue.path) as client:
            client.open().do("work 500 0")
            vgpu.wait_for(lambda: operator.status()[blue.tenant].launches > 300, 10)
            before = operator.status()[blue.tenant].launches
            m.process.send_signal(signal.SIGHUP)
            vgpu.wait_for(lambda: "adopted what the last" in m.log(), 10)
            vgpu.wait_for(lambda: operator.status()[blue.tenant].launches > before + 300, 10)
        vgpu.wait_for(lambda: operator.status()[blue.tenant].channels == 0, 5)
        last = operator.status()[blue.tenant].launches
    booked = query(place, "SELECT sum(launches) FROM usage_day")[0][0]
    assert booked == last


def test_a_forgotten_tenant_leaves_nothing(place):
    with running(place) as m, control.connect(m) as ctl, m.connect() as operator:
        operator.tenant(name=b"blue")
        ctl.do("tenant.set", tenant="blue", weight=9)
        ctl.do("tenant.forget", name="name-blue")
        assert query(place, "SELECT count(*) FROM limits") == [(0,)]
        assert ctl.do("store.status")["state"] == "good"


def test_without_a_path_nothing_is_kept_and_all_works(mediator):
    with control.connect(mediator) as ctl:
        assert ctl.do("store.status")["state"] == "off"
        assert "kept" not in ctl.do("pool.add", pool="a")
        assert ctl.refused("audit")[0] == "state"
        assert ctl.refused("store.backup", path="/nowhere")[0] == "state"


def test_a_backup_is_made_and_restored(place, tmp_path):
    copy, copy2 = tmp_path / "copy.db", tmp_path / "copy2.db"
    tool = [vgpu.MEDIATOR, "--set", f"store.path={place}"]
    with running(place) as m, control.connect(m) as ctl:
        ctl.do("pool.add", pool="a", weight=7)
        ctl.do("store.backup", path=str(copy))
        assert ctl.refused("store.backup", path=str(copy))[0] == "state"  # it exists
        assert ctl.refused("store.backup", path="relative")[0] == "value"
        subprocess.run([*tool, "--backup-store", copy2], check=True)  # beside the daemon
        ctl.do("pool.add", pool="b")
        refused = subprocess.run([*tool, "--restore-store", copy], capture_output=True, text=True)
        assert refused.returncode != 0 and "another mediator has it" in refused.stderr
    for path in (copy, copy2):
        assert query(path, "SELECT name FROM pool") == [("a",)]
    subprocess.run([*tool, "--restore-store", copy2], check=True)
    with running(place) as m, control.connect(m) as ctl:
        assert sorted(ctl.status()[0]) == ["a", "default"]
        assert ctl.status()[0]["a"]["weight"] == 7
    assert len(list(place.parent.glob("store.db.broken-*"))) == 1
    assert subprocess.run([vgpu.MEDIATOR, "--backup-store", "/x"], capture_output=True).returncode != 0


def test_a_broken_database_is_set_aside_and_programs_run(place):
    with running(place) as m, control.connect(m) as ctl:
        ctl.do("pool.add", pool="a")
    with open(place, "r+b") as f:
        f.seek(4096)
        f.write(b"\xa5" * 40960)
    with running(place) as m, control.connect(m) as ctl, m.connect() as client:
        assert "the database is broken" in m.log() and "restored" in m.log()
        assert client.open()
        assert list(ctl.status()[0]) == ["default"]
        ctl.do("pool.add", pool="b")
    assert len(list(place.parent.glob("store.db.broken-*"))) == 1
    assert query(place, "SELECT name FROM pool") == [("b",)]


def test_a_database_that_vanishes_is_told_again_what_holds(place):
    with running(place) as m, control.connect(m) as ctl, m.connect() as operator:
        operator.tenant(name=b"blue")
        ctl.do("pool.add", pool="a", weight=7)
        ctl.do("tenant.set", tenant="blue", pool="a", weight=9)
        for path in place.parent.glob("store.db*"):
            path.unlink()
        ctl.do("pool.add", pool="b")
        vgpu.wait_for(lambda: place.exists() and ("b",) in query(place, "SELECT name FROM pool"), 5)
    with running(place) as m, control.connect(m) as ctl, m.connect() as operator:
        blue = operator.tenant(name=b"blue").tenant
        pools, tenants = ctl.status()
        assert pools["a"]["weight"] == 7 and "b" in pools
        assert (tenants[blue]["pool"], tenants[blue]["weight"]) == ("a", 9)


def fill(place):
    """Leaves no room in a database with store.most=1M."""
    with contextlib.closing(sqlite3.connect(place, timeout=30)) as db:
        db.execute("CREATE TABLE filler (x)")
        with contextlib.suppress(sqlite3.OperationalError):
            db.execute("PRAGMA max_page_count=256")
            while True:
                db.execute("INSERT INTO filler VALUES (zeroblob(100000))")
                db.commit()
        with contextlib.suppress(sqlite3.OperationalError):
            while True:
                db.execute("INSERT INTO filler VALUES (zeroblob(3000))")
                db.commit()


def make_room(place):
    with contextlib.closing(sqlite3.connect(place, timeout=30)) as db:
        db.execute("DROP TABLE filler")


def test_a_full_disk_stops_nobody(place):
    with running(place, "--set", "store.most=1M") as m, control.connect(m) as ctl, m.connect() as operator:
        blue = operator.tenant(name=b"blue")
        with vgpu.Client(blue.path) as client:
            client.open().do("work 200 0")
            fill(place)
            answers = [ctl.do("tenant.set", tenant="blue", weight=w, id=w) for w in range(1, 60)]
            assert [a["id"] for a in answers] == list(range(1, 60))
            for pool in range(30):
                answer = ctl.do("pool.add", pool=f"pool-{pool}")
            assert answer["kept"] is False  # and it says so
            assert ctl.do("store.status")["state"] == "degraded"
            launches = operator.status()[blue.tenant].launches
            vgpu.wait_for(lambda: operator.status()[blue.tenant].launches > launches + 100)
            assert ctl.status()[1][blue.tenant]["weight"] == 59
            assert m.log().count("Programs are served as before") == 1
            make_room(place)
            vgpu.wait_for(lambda: ctl.do("store.status")["state"] == "good", 20)
            vgpu.wait_for(lambda: ctl.do("store.status")["waiting"] == 0, 20)
    assert query(place, "SELECT count(*) FROM pool") == [(30,)]


def test_places_that_cannot_be_used_end_the_start_with_a_reason(tmp_path):
    for path, text in ((tmp_path / "none/store.db", "No such file"), ("/etc/hostname", "not a database of vgpu")):
        if path == "/etc/hostname":
            other = tmp_path / "other.txt"
            other.write_text("something else\n" * 100)
            path = other
        got = subprocess.run([vgpu.MEDIATOR, "--socket", tmp_path / "m.sock", "--set", f"paths.run_directory={tmp_path}",
                              "--executor", vgpu.FAKE, "--backend", "null", "--set", f"store.path={path}"],
                             capture_output=True, text=True, timeout=60)
        assert got.returncode != 0 and text in got.stderr, got.stderr
    assert (tmp_path / "other.txt").read_text().startswith("something else")


def test_two_mediators_do_not_share_a_store(place):
    with running(place), vgpu.tempfile.TemporaryDirectory() as directory:
        with pytest.raises(AssertionError, match="another mediator has it"):
            vgpu.Mediator(directory, "--set", f"store.path={place}")


def test_kills_under_changes_leave_audit_and_rows_in_agreement(place):
    acknowledged = {}
    for round_ in range(8):
        with running(place) as m:
            with control.connect(m) as ctl, m.connect() as operator:
                operator.tenant(name=b"blue")
                timer = threading.Timer(0.1 + 0.07 * round_, m.process.kill)
                timer.start()
                for i in range(100000):
                    pool, weight = f"p{i % 7}", 1 + (round_ * 1000 + i) % 9999
                    op = "pool.set" if pool in acknowledged else "pool.add"
                    answer = None
                    time.sleep(0.002)  # below VGPU_MAX_CONTROL_REQUESTS_PER_S
                    with contextlib.suppress(ConnectionError):
                        answer = ctl.raw(json.dumps({"op": op, "pool": pool, "weight": weight}).encode() + b"\n")
                    if not answer:
                        break
                    if not answer["ok"]:
                        assert answer["error"] == "state", answer  # made, and killed before the answer
                        acknowledged.setdefault(pool, None)
                        continue
                    acknowledged[pool] = weight
                timer.join()
            m.process.wait()
        now = dict(query(place, "SELECT owner, value FROM limits WHERE scope = 'pool'"))
        for name, weight in acknowledged.items():
            if weight and name != f"p{i % 7}":  # the one that was under way may be either
                assert now[name] == weight
        told = dict(query(place, "SELECT subject, json_extract(after, '$.weight') FROM audit WHERE id IN "
                                 "(SELECT max(id) FROM audit WHERE what = 'pool.limits' GROUP BY subject)"))
        assert told == now
        assert query(place, "PRAGMA integrity_check") == [("ok",)]
    assert len(acknowledged) == 7


@pytest.mark.parametrize("how", ["kill", "leave", "restart"])
def test_usage_is_booked_once_over_several_mediators(place, tmp_path, how):
    """Whenever each of them ends: all that the executors did is in the file, and nothing twice."""
    place.parent.mkdir()
    moments = random.Random(5)
    with Daemon(tmp_path, "--set", f"store.path={place}", *FAST) as d:
        operator = d.m.connect()
        blue = operator.tenant(name=b"blue")
        with vgpu.Client(blue.path) as client:
            client.open().do("work 500 0")
            for _ in range(12):
                time.sleep(0.05 + 0.15 * moments.random())
                d.replace(how)
        vgpu.wait_for(lambda: operator.status()[blue.tenant].channels == 0, 5)
        last = operator.status()[blue.tenant]
    assert last.launches > 500
    assert query(place, "SELECT sum(launches), sum(turns) FROM usage_day") == [(last.launches, last.turns)]
