# SPDX-License-Identifier: Apache-2.0
"""Each command of vgpu-admin against a real mediator: what it does is looked up on the control socket, or the other way round."""
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading

import admin
import control
import pytest
import vgpu

VM = "6f1c4ae2-52a5-4d5c-8a45-0d2f7d6a1b9e"
KEPT = ("--set", "store.flush=100 ms")


@contextlib.contextmanager
def running(*args, needs=()):
    """A tool for a mediator; the test is skipped where the mediator's API has not what it needs."""
    with vgpu.mediator(*args) as m:
        tool = admin.Tool(m)
        routes = tool.routes()
        if not routes:
            pytest.skip("this mediator has no API")
        missing = [r for r in needs if r not in routes]
        if missing:
            pytest.skip(f"this mediator's API has no {missing[0]}")
        yield tool


@pytest.fixture
def tool(request):
    with running(*getattr(request, "param", ())) as t:
        yield t


@pytest.fixture
def kept(tmp_path):
    """With a database."""
    with running("--set", f"store.path={tmp_path}/kept/store.db", *KEPT) as t:
        yield t


@pytest.fixture(autouse=True)
def place(tmp_path):
    (tmp_path / "kept").mkdir()


def test_every_route_that_is_asked_for_is_there(tool):
    asked = subprocess.run([admin.TABLES, "routes"], capture_output=True, text=True, check=True).stdout.splitlines()
    routes = tool.routes()
    kinds = [route.replace("{kind}s", kind + "s") for route in asked for kind in ("tenant", "pool", "profile")]
    missing = {re.sub("{.*?}", "{}", route) for route in kinds} - routes
    if "GET /v1/sessions" not in routes:
        pytest.skip(f"this mediator's API lacks {len(missing)} routes: {sorted(missing)}")
    assert not missing


def test_status(tool):
    with tool.mediator.connect() as operator:
        operator.tenant(name=b"blue", weight=300)
        text = tool.ok("status")
        assert re.search(r"^Backend +null$", text, re.M) and re.search(r"^ *\d+ +blue +default +300 ", text, re.M)
        answer = tool.json("status")
        assert [t["name"] for t in answer["tenants"]] == [f"uid-{os.getuid()}", "blue"]


def test_pools(tool):
    with control.connect(tool.mediator) as ctl:
        assert tool.ok("pool", "create", "gold", "share=30", "turn=3ms") == "Pool gold is there.\n"
        assert tool.ok("pool", "set", "gold", "gpu_cap=12.5") == "Pool gold is changed.\n"
        row = ctl.status()[0]["gold"]
        assert (row["share"], row["gpu_cap"], row["turn"]) == (30, 12.5, 3000000)
        assert tool.refused("pool", "create", "gold").startswith("vgpu-admin: there is a pool 'gold' already")
        assert "'vgpu-admin pool list'" in tool.refused("pool", "set", "silver", "weight=3")
        assert "another one's" not in tool.run("pool", "set", "gold", "--gpu=x").stderr
        if "GET /v1/pools" in tool.routes():
            rows = tool.rows("pool")
            assert set(rows) == {"default", "gold"}
            assert (rows["gold"]["SHARE"], rows["gold"]["CAP"], rows["gold"]["TURN"]) == ("30 %", "12.5 %", "3.00 ms")
            assert re.search(r"^gpu_cap +12.5 %$", tool.ok("pool", "show", "gold"), re.M)
            assert {p["pool"] for p in tool.json("pool", "list")["pools"]} == set(rows)
        assert tool.run("pool", "delete", "gold").returncode == admin.USAGE
        assert "gold" in ctl.status()[0]
        assert tool.ok("pool", "delete", "gold", "--yes") == "Pool gold is gone.\n"
        assert "gold" not in ctl.status()[0]


def test_tenants(tool):
    with control.connect(tool.mediator) as ctl, tool.mediator.connect() as operator:
        blue = operator.tenant(name=b"blue")
        tool.ok("pool", "create", "gold")
        assert tool.ok("tenant", "set", "blue", "pool=gold", "weight=200", "memory=4G") == "Tenant blue is changed.\n"
        row = ctl.status()[1][blue.tenant]
        assert (row["pool"], row["weight"], row["memory"]) == ("gold", 200, 4 << 30)
        tool.ok("tenant", "set", blue.tenant, "weight=300")  # by its id
        assert ctl.status()[1][blue.tenant]["weight"] == 300
        assert "'vgpu-admin pool list'" in tool.refused("tenant", "set", "blue", "pool=none")
        if "GET /v1/tenants" in tool.routes():
            assert tool.rows("tenant")[str(blue.tenant)]["TENANT"] == "blue"
            shown = tool.ok("tenant", "show", "blue")
            assert re.search(r"^Pool +gold$", shown, re.M) and re.search(r"^memory +4 GiB$", shown, re.M)
            assert tool.json("tenant", "show", "blue")["weight"] == 300
        with vgpu.Client(blue.path) as client:
            assert client.open()
            tool.ok("tenant", "disconnect", "blue", "--yes")
            assert client.receive().kind == vgpu.CHANNEL_LOST
        with vgpu.Client(blue.path) as client:
            assert client.open()
            tool.ok("tenant", "kill", "--yes", "blue")
            assert client.receive().kind == vgpu.CHANNEL_LOST


def test_limits(tool):
    if "GET /v1/tenants/{}" not in tool.routes():
        pytest.skip("this mediator's API has no GET /v1/tenants/{}")
    values = {"weight": ("7", "7"), "class": ("latency", "latency"), "gpu_cap": ("12.34", "12.34 %"),
              "launches_per_s": ("100", "100"), "copy_per_s": ("1M", "1 MiB/s"), "queue_depth": ("3", "3"),
              "memory": ("1G", "1 GiB"), "turn": ("5ms", "5.00 ms"), "work": ("90 s", "90.0 s"), "objects": ("50", "50 %"),
              "pinned": ("1G", "1 GiB"), "strikes": ("9", "9"), "channels": ("2", "2"), "quarantine": ("5 s", "5.00 s")}
    every = {i["item"] for i in json.loads(tool.ok("limit", "items", "--json")) if i["for"].startswith("tenants")}
    assert every == set(values) | {"priority"}
    with tool.mediator.connect() as operator:
        operator.tenant(name=b"blue")
        tool.ok("limit", "set", "tenant", "blue", *[f"{n}={v}" for n, (v, _) in values.items()])
        shown = dict(re.split(r"\s{2,}", line) for line in tool.ok("limit", "show", "tenant", "blue").splitlines())
        assert {n: shown[n] for n in values} == {n: s for n, (_, s) in values.items()}
        tool.ok("limit", "set", "tenant", "blue", "priority=low")
        assert tool.json("limit", "show", "tenant", "blue")["weight"] == 50
        tool.ok("limit", "set", "pool", "default", "gpu_cap=99")
        assert re.search(r"^gpu_cap +99 %$", tool.ok("limit", "show", "pool", "default"), re.M)
        assert "class" in tool.refused("limit", "set", "pool", "default", "class=latency")


def test_profiles(tool):
    if "POST /v1/profiles" not in tool.routes():
        pytest.skip("this mediator's API has no profiles")
    tool.ok("profile", "create", "quarter", "memory=1G", "weight=50")
    tool.ok("profile", "set", "quarter", "class=latency")
    row = tool.rows("profile")["quarter"]
    assert (row["MEMORY"], row["WEIGHT"], row["CLASS"]) == ("1 GiB", "50", "latency")
    assert re.search(r"^class +latency$", tool.ok("profile", "show", "quarter"), re.M)
    assert re.search(r"^memory +1 GiB$", tool.ok("limit", "show", "profile", "quarter"), re.M)
    tool.ok("limit", "set", "profile", "quarter", "gpu_cap=20")
    assert tool.json("profile", "show", "quarter")["policy"] == {"memory": 1 << 30, "weight": 50, "class": "latency", "gpu_cap": 20}
    tool.ok("profile", "delete", "quarter", "--yes")
    assert "no profile" in tool.refused("profile", "show", "quarter")


def test_vms_and_their_vgpus():
    with running("--set", "gpu.memory=4G", needs=["POST /v1/vms", "PUT /v1/vgpus/{}/vm"]) as tool:
        tool.ok("profile", "create", "small", "memory=1G")
        assert VM in tool.ok("vm", "create", "build-7", "--uuid", VM, "--profile=small")
        assert re.search(r"^Name +build-7$", tool.ok("vm", "show", VM), re.M)
        tool.ok("vm", "set", VM, "--name=build-8")
        assert tool.rows("vm")[VM]["NAME"] == "build-8"

        slot = tool.json("slot", "create", "small")["vgpu"]
        assert tool.rows("slot")[slot]["PROFILE"] == "small"
        shown = tool.ok("slot", "assign", slot, VM)
        path = re.search(r"^Socket for its stub +(.*)$", shown, re.M)[1]
        with vgpu.Client(path) as client:
            assert client.open()
            assert "build-8" in tool.ok("tenant")
            assert tool.rows("slot")[slot]["VM"] == VM == tool.json("slot", "show", slot)["vm"]
            assert "VM" in tool.refused("slot", "delete", slot, "--yes")
            assert tool.run("slot", "release", slot).returncode == admin.USAGE
            assert tool.ok("slot", "release", slot, "--yes") == f"vGPU {slot} is free.\n"
            assert client.receive().kind == vgpu.CHANNEL_LOST
        again = tool.json("slot", "create", "--vm", VM)  # of the VM's own profile
        assert (again["profile"], again["vm"]) == ("small", VM)

        text = tool.ok("gpu", "capacity")
        assert re.search(r"^Taken +2 GiB$", text, re.M) and re.search(r"^small +1 GiB +2 +1 +2$", text, re.M)
        assert tool.json("gpu", "capacity")["gpus"][0]["profiles"][0]["fit"] == 2
        for _ in range(2):
            tool.ok("slot", "create", "small")
        assert tool.refused("slot", "create", "small")

        tool.ok("slot", "release", again["vgpu"], "--yes")
        for vgpu_ in tool.json("slot")["vgpus"]:
            tool.ok("slot", "delete", vgpu_["vgpu"], "--yes")
        tool.ok("vm", "delete", VM, "--yes")
        assert tool.ok("vm") == "There are no VMs.\n" and tool.ok("slot") == "There are no vGPUs.\n"
        assert "'vgpu-admin slot list'" in tool.refused("slot", "show", slot)


def test_gpu():
    with running(needs=["GET /v1/gpus"]) as tool:
        gpu = tool.json("gpu")["gpus"][0]
        assert list(tool.rows("gpu")) == [gpu["gpu"]] and gpu["name"] in tool.ok("gpu", "list")


def test_sessions():
    with running(needs=["GET /v1/sessions"]) as tool, tool.mediator.connect() as client:
        sessions = tool.json("session")["sessions"]
        mine = [s for s in sessions if s["pid"] == os.getpid()]
        assert len(mine) == 1
        row = tool.rows("session")[str(mine[0]["session"])]
        assert (row["PID"], row["UID"], row["TENANT"]) == (str(os.getpid()), str(os.getuid()), mine[0]["name"])
        assert len(tool.json("session", "--tenant", mine[0]["name"])["sessions"]) == 1
        assert "'vgpu-admin tenant list'" in tool.refused("session", "list", "--tenant=none")
        tool.ok("session", "kill", mine[0]["session"], "--yes")
        while client.receive():
            pass
        assert not [s for s in tool.json("session")["sessions"] if s["pid"] == os.getpid()]
        assert "'vgpu-admin session list'" in tool.refused("session", "kill", 999999, "--yes")


def test_quarantine(tool):
    with tool.mediator.connect() as operator:
        operator.tenant(name=b"bad")
        assert tool.ok("quarantine") == "Nobody is in quarantine.\n" and tool.ok("quarantine", "strikes") == "Nobody has strikes.\n"
        assert tool.ok("quarantine", "add", "bad", "--yes") == "Tenant bad is in quarantine.\n"
        row = next(iter(tool.rows("quarantine").values()))
        assert (row["TENANT"], row["CAUSE"], row["LEFT"]) == ("bad", "operator", "until released")
        tool.ok("quarantine", "add", "bad", "--for=600 s", "--yes")
        assert next(iter(tool.rows("quarantine").values()))["LEFT"].startswith(("9 min", "10 min"))
        assert "for: '5'" in tool.refused("quarantine", "add", "bad", "--for=5", "--yes")
        tool.ok("quarantine", "release", "bad", "--yes")
        assert "is not in quarantine" in tool.refused("quarantine", "release", "bad", "--yes")
        assert tool.ok("quarantine") == "Nobody is in quarantine.\n"


def test_usage_audit_and_what_is_forgotten(kept):
    with kept.mediator.connect() as operator:
        blue = operator.tenant(name=b"blue")
        kept.ok("tenant", "set", "blue", "weight=7")
        with vgpu.Client(blue.path) as client:
            client.open().do("work 500 0")
            vgpu.wait_for(lambda: kept.json("usage", "--tenant=name-blue", "--by=minute", "--from=-1h")["usage"], 10)
        text = kept.ok("usage", "--by=day")
        assert re.search(r"00:00:00 +name-blue +\S+ \S+ +\d+ ", text)
        assert kept.ok("usage", "--to=2020-01-01") == "Nothing was used in that time.\n"
        assert re.search(r"uid \d+ pid \d+.* tenant.limits +name-blue +- +\{\"weight\":7\}", kept.ok("audit", "--subject=name-blue"))
        numbers = [r["number"] for r in kept.json("audit")["audit"]]
        assert [r["number"] for r in kept.json("audit", "--most=1", f"--below={numbers[0]}")["audit"]] == numbers[1:2]

        def forgotten():
            """Until it is: what was used last is booked with the next flush."""
            assert kept.ok("tenant", "forget", "name-blue", "--yes") == "Nothing is kept of name-blue.\n"
            return kept.ok("usage", "--tenant=name-blue") == "Nothing was used in that time.\n"

        vgpu.wait_for(forgotten, 10)


def test_backup(kept, tmp_path):
    copy = tmp_path / "copy.db"
    assert re.search(r"^State +good$", kept.ok("backup"), re.M)
    assert kept.ok("backup", "create", copy) == f"The backup {copy} is complete.\n"
    assert copy.read_bytes().startswith(b"SQLite")
    assert kept.refused("backup", "create", copy) and "absolute path" in kept.refused("backup", "create", "copy.db")


def test_without_a_database(tool):
    assert re.search(r"^State +off$", tool.ok("backup"), re.M)
    assert "store.path" in tool.refused("audit") and "store.path" in tool.refused("usage")


def test_config():
    with running("--set", "turn.length=3 ms", needs=["GET /v1/config"]) as tool:
        assert re.search(r"^turn\.length +3 ?ms +command line$", tool.ok("config", "turn.length"), re.M)
        section = tool.ok("config", "turn").splitlines()
        assert len(section) > 5 and all(line.startswith(("turn.", "SETTING")) for line in section)
        changed = tool.ok("config", "--changed")
        assert "turn.length" in changed and "turn.round" not in changed
        assert tool.run("config", "turn.none").returncode == admin.USAGE
        assert tool.json("config")["settings"]["turn.length"]["value"] == 3000000


def test_drain():
    with running(needs=["GET /v1/drain", "PUT /v1/drain"]) as tool, tool.mediator.connect() as before:
        assert before.open()
        assert tool.run("drain", "start").returncode == admin.USAGE
        assert re.search(r"^Programs left +1$", tool.ok("drain", "start", "--yes"), re.M)
        assert re.search(r"^They may take +\S+ min", tool.ok("drain", "start", "--yes", "--for=600 s"), re.M)
        assert "for:" in tool.refused("drain", "start", "--yes", "--for=soon")
        assert re.search(r"^Draining +yes$", tool.ok("drain"), re.M)
        with tool.mediator.connect() as client:
            client.send(vgpu.channel_open())
            assert client.receive().kind == vgpu.ERROR
        assert tool.ok("drain", "stop") == "The host takes programs again.\n"
        assert "not being drained" in tool.refused("drain", "stop")
        with tool.mediator.connect() as client:
            assert client.open()


# ---- what goes on

def test_events_through_a_restart(tool):
    if "GET /v1/events" not in tool.routes():
        pytest.skip("this mediator's API has no events")
    command = [admin.ADMIN, "events", "--json", "--kind=operator.changed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=admin.environment(tool.socket)) as follower:
        seen, changes, heard = [], iter(range(1, 10000)), 0
        reader = threading.Thread(target=lambda: seen.extend(iter(follower.stdout.readline, "")))
        reader.start()

        def hears():
            """Changes something until the follower, which connects in its own time, has heard of a change."""
            tool.ok("pool", "set", "default", f"weight={next(changes)}")
            return len(seen) > heard

        try:
            vgpu.wait_for(hears, 10)
            tool.mediator.process.send_signal(signal.SIGHUP)
            vgpu.wait_for(lambda: "adopted what the last" in tool.mediator.log(), 10)
            vgpu.wait_for(lambda: tool.run("status").returncode == 0, 10)
            heard = len(seen)
            vgpu.wait_for(hears, 15)
        finally:
            follower.terminate()
            reader.join()
    events = [json.loads(line) for line in seen]
    # What the last mediator told is not known to the next: "lost" says so to whoever asks for what came behind it.
    assert {e.get("kind", "lost") for e in events} - {"lost"} == {"operator.changed"}, events
    assert events[-1]["at_ms"] > 1700000000000


def test_the_last_events(tool):
    if "GET /v1/events" not in tool.routes():
        pytest.skip("this mediator's API has no events")
    tool.ok("pool", "create", "gold")
    tool.ok("pool", "delete", "gold", "--yes")
    lines = tool.ok("events", "--last=2", "--kind=operator.changed").splitlines()
    assert len(lines) == 2 and "pool.add" in lines[0] and "pool.remove" in lines[1]
    assert [e["kind"] for e in tool.json("events", "--last=1", "--kind=mediator.started")["events"]] == ["mediator.started"]
    assert "there are no events" in tool.refused("events", "--last=1", "--kind=none")


def test_top(tool):
    with tool.mediator.connect() as operator:
        blue = operator.tenant(name=b"blue", weight=300)
        with vgpu.Client(blue.path) as client:
            client.open().do("work 200 0")
            vgpu.wait_for(lambda: " blue " in tool.ok("top", "--batch", "-n1", "-d0.3") and re.search(
                r"^ *\d+ +blue +default +\S+ +[\d.]+ % +[\d.]+ % +\S+ +[1-9]", tool.ok("top", "--batch", "-n1", "-d0.3"), re.M), 15)
            with admin.terminal("top", "-d0.3", socket=tool.socket, columns=120) as t:
                t.until(lambda s: re.search(r"^ *\d+ +blue +\w* *", s.text(), re.M))
                t.type("q")
                assert t.wait() == 0
            if "GET /metrics" in tool.routes():
                lines = tool.ok("top", "--batch", "-n1", "-d0.3").splitlines()
                assert re.split(r"\s{2,}", next(line for line in lines if " blue " in line).strip())[6] != "-"  # QUEUE


def test_roles(tool):
    if os.geteuid() != 0:
        pytest.skip("needs root to be somebody else")
    with vgpu.mediator("--set", "api.viewer_group=games") as m:
        tool = admin.Tool(m)
        os.chmod(m.directory, 0o755)
        program = m.directory / "vgpu-admin"  # where others can read it
        program.write_bytes(admin.ADMIN.read_bytes())
        program.chmod(0o755)

        def by(*args, group):
            return subprocess.run([program, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, user=65534,
                                  group=65534, extra_groups=[group], env=admin.environment(tool.socket), timeout=20, check=False)

        viewers = 60  # games
        assert by("status", group=viewers).returncode == admin.OK
        r = by("pool", "create", "gold", group=viewers)
        assert r.returncode == admin.REFUSED and "admins" in r.stderr and "control.group" in r.stderr
        r = by("status", group=65534)
        assert r.returncode in (admin.REFUSED, admin.NO_CONNECTION) and re.search("group games|api.viewer_group", r.stderr)


def test_over_the_network(tool, tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    certificate, key, tokens = (tmp_path / name for name in ("cert.pem", "key.pem", "tokens"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=vgpu test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    roles = {"admin": "secret-of-operators", "viewer": "one-that-may-look", "nobody": "unknown"}
    for role, secret in roles.items():
        (tmp_path / role).write_text(secret + "\n")
        (tmp_path / role).chmod(0o600)
    tokens.write_text("".join(f"{role} {hashlib.sha256(roles[role].encode()).hexdigest()} {role}-name\n"
                              for role in ("admin", "viewer")))
    tokens.chmod(0o600)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    settings = {"listen": f"127.0.0.1:{port}", "certificate": certificate, "key": key, "tokens": tokens}
    with vgpu.mediator(*(word for name, value in settings.items() for word in ("--set", f"api.{name}={value}"))):
        def by(role, *args):
            return admin.run(*args, "--url", f"https://127.0.0.1:{port}", "--ca-file", certificate, "--token-file", tmp_path / role)

        assert by("admin", "pool", "create", "gold").stdout == "Pool gold is there.\n"
        assert "gold" in by("viewer", "status").stdout
        assert "token admin-name (https)" in by("viewer", "events", "--last=1", "--kind=operator.changed").stdout
        r = by("viewer", "pool", "delete", "gold", "--yes")
        assert r.returncode == admin.REFUSED and "role admin" in r.stderr
        r = by("nobody", "status")
        assert r.returncode == admin.REFUSED and "api.tokens" in r.stderr
