# SPDX-License-Identifier: Apache-2.0
"""What vgpu-admin makes of answers that a real mediator does not give on demand: hostile names, refusals, servers that are
none, connections that break off; and of terminals, colours, questions and TLS."""
import json
import re
import shutil
import subprocess

import admin
import fake_api
import pytest

CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\x80-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
HOSTILE = "a\x1b[2J\x07\x9b31m\u202eb\r\n\x7f"
STATUS = ("GET", "/v1/status")


# ---- names and JSON

def hostile_answers():
    row = fake_api.tenant(1, HOSTILE, pool=HOSTILE)
    return {
        STATUS: {**fake_api.status(row), "device": HOSTILE, "health": HOSTILE},
        ("GET", "/v1/tenants"): {"tenants": [row]},
        ("GET", f"/v1/tenants/x"): row,
        ("GET", "/v1/pools"): {"pools": [{"pool": HOSTILE, HOSTILE: 1}]},
        ("GET", "/v1/quarantines"): {"tenants": [{"name": HOSTILE, "cause": HOSTILE, "left_ns": None}]},
        ("GET", "/v1/strikes"): {"tenants": [{"name": HOSTILE, "counts": {HOSTILE: 1}}]},
        ("GET", "/v1/sessions"): {"sessions": [{"session": 1, "name": HOSTILE, "pid": HOSTILE}]},
        ("GET", "/v1/usage"): {"usage": [{"tenant": HOSTILE, "at": 0}]},
        ("GET", "/v1/audit"): {"audit": [{"who": HOSTILE, "what": HOSTILE, "subject": HOSTILE, "after": {HOSTILE: HOSTILE}}]},
        ("GET", "/v1/events"): {"events": [{"id": 1, "kind": HOSTILE, "name": HOSTILE, "text": HOSTILE,
                                            "fields": {HOSTILE: HOSTILE}}]},
        ("GET", "/v1/config"): {"settings": {HOSTILE: {"value": HOSTILE, "from": HOSTILE}}},
        ("GET", "/v1/gpus"): {"gpus": [{"gpu": HOSTILE, "name": HOSTILE}]},
        ("GET", "/v1/capacity"): {"gpus": [{"gpu": HOSTILE, "profiles": [{"profile": HOSTILE, "memory": HOSTILE}]}]},
        ("GET", "/v1/vms"): {"vms": [{"vm": HOSTILE, "name": HOSTILE}]},
        ("GET", "/v1/vgpus"): {"vgpus": [{"vgpu": HOSTILE, "vm": HOSTILE}]},
        ("GET", "/v1/profiles"): {"profiles": [{"profile": HOSTILE, "policy": {"memory": HOSTILE}}]},
        ("GET", "/v1/store"): {"path": HOSTILE, "state": HOSTILE, "text": HOSTILE},
        ("GET", "/v1/drain"): {"channels": HOSTILE},
        ("POST", "/v1/tenants/x/kill"): fake_api.Problem(409, "state", HOSTILE),
    }


SHOWN = ["status", "tenant", "tenant show x", "pool", "quarantine", "quarantine strikes", "session", "usage", "audit",
         "events --last=1", "config", "gpu", "gpu capacity", "vm", "slot", "profile", "backup", "drain", "top --batch -n1 -d 0.1"]


def test_nothing_from_the_server_moves_the_cursor():
    with fake_api.serving(hostile_answers()) as server:
        for command in SHOWN:
            r = admin.run(*command.split(), socket=server.place)
            assert r.returncode == 0, (command, r.stderr)
            assert "\\x1b[2J" in r.stdout, (command, r.stdout)
            assert not CONTROLS.search(r.stdout + r.stderr), command
        r = admin.run("tenant", "kill", "x", "--yes", socket=server.place)
        assert r.returncode == admin.REFUSED and "\\x1b[2J" in r.stderr and not CONTROLS.search(r.stderr)


def test_json_is_the_answer_as_it_is():
    answers = hostile_answers()
    numbers = '{"tenants": [{"tenant": 1, "share": 0.10, "big": 9223372036854775807, "new": {"deep": [null]}}]}\r\n'
    with fake_api.serving({**answers, ("GET", "/v1/tenants"): numbers}) as server:
        for command in SHOWN:
            r = admin.run(*command.split(), "--json", socket=server.place)
            method, path, _ = server.asked[-1]
            sent = answers[(method, path.split("?")[0])]
            if command != "tenant":
                assert r.returncode == 0 and json.loads(r.stdout) == sent, command
            assert not CONTROLS.search(r.stdout), command
        assert admin.run("tenant", "--json", socket=server.place).stdout == numbers.replace("\r", " ")
        refused = admin.run("tenant", "kill", "x", "--yes", "--json", socket=server.place)
        assert refused.returncode == admin.REFUSED
        assert json.loads(refused.stdout)["detail"] == HOSTILE and "vgpu-admin: " in refused.stderr


def test_names_and_values_arrive_as_they_were_said():
    with fake_api.serving({}) as server:
        for name in ("../../status", "a b?c#d%e", "é", ".."):
            admin.run("tenant", "set", name, "weight=3", "memory=4G", "pool=p", socket=server.place)
            method, path, body = server.asked[-1]
            assert (method, body) == ("PATCH", {"weight": "3", "memory": "4G", "pool": "p"})
            assert path.startswith("/v1/tenants/") and path.count("/") == 3
            assert fake_api.http.server.urllib.parse.unquote(path[len("/v1/tenants/"):]) == name
        admin.run("usage", "--tenant", "name-a&b=c", "--from=2026-11-29", "--most=7", socket=server.place)
        assert server.asked[-1][1] == "/v1/usage?name=name-a%26b%3Dc&from=1795910400&most=7"
        admin.run("slot", "create", "quarter", "--vm=abc", socket=server.place)
        assert server.asked[-1] == ("POST", "/v1/vgpus", {"profile": "quarter", "vm": "abc"})
        admin.run("slot", "release", "xyz", "--yes", socket=server.place)
        assert server.asked[-1] == ("DELETE", "/v1/vgpus/xyz/vm", None)


# ---- refusals

@pytest.mark.parametrize("status, error, hint", [
    (400, "field", None),
    (401, "permission", "--token-file"),
    (404, "unknown", "'vgpu-admin pool list'"),
    (404, "operation", "another version"),
    (405, "operation", "another version"),
    (409, "state", None),
    (422, "value", None),
    (429, "limit", None),
    (500, "internal", "journalctl"),
])
def test_refusals_say_why_and_what_next(status, error, hint):
    with fake_api.serving({("GET", "/v1/pools/a"): fake_api.Problem(status, error, "the reason")}) as server:
        r = admin.run("pool", "show", "a", socket=server.place)
    assert r.returncode == admin.REFUSED and not r.stdout
    lines = r.stderr.splitlines()
    assert lines[0] == "vgpu-admin: the reason" and len(lines) == (2 if hint else 1)
    assert not hint or hint in lines[1]


def test_who_may_not_is_told_the_group():
    no = fake_api.Problem(403, "permission", "this is for admins")
    config = {"settings": {"control.group": {"value": "gpuops", "from": "file"}}}
    with fake_api.serving({("DELETE", "/v1/pools/a"): no, ("GET", "/v1/config"): config}) as server:
        r = admin.run("pool", "delete", "a", "--yes", socket=server.place)
        assert r.returncode == admin.REFUSED and "the group gpuops" in r.stderr
        server.answers[("GET", "/v1/config")] = no
        r = admin.run("pool", "delete", "a", "--yes", socket=server.place)
        assert r.returncode == admin.REFUSED and "control.group name a group of yours" in r.stderr
        server.answers[STATUS] = no
        assert "api.viewer_group" in admin.run("status", socket=server.place).stderr


@pytest.mark.parametrize("answer", [
    (200, "text/html", "<html>"),
    (200, "application/json", "[1]"),
    (200, "application/json", "{\"tenants\": "),
    (404, "text/html", "<h1>Not found</h1>"),
    (302, "text/html", ""),
], ids=["html", "list", "half", "404", "redirect"])
def test_a_server_that_is_no_mediator(answer):
    with fake_api.serving({STATUS: answer}) as server:
        r = admin.run("status", socket=server.place)
        assert r.returncode == admin.NO_CONNECTION and "no mediator's API" in r.stderr
        assert len(server.asked) == 1  # no redirect is followed


def test_an_answer_without_end_is_given_up():
    def endless(handler, _):
        handler.stream("")
        with pytest.raises(OSError):
            while True:
                handler.wfile.write(b" " * (1 << 20))

    with fake_api.serving({STATUS: endless}) as server:
        r = admin.run("status", socket=server.place)
    assert r.returncode == admin.NO_CONNECTION and "longer than 64 MiB" in r.stderr


# ---- questions

HURTS = ["tenant kill x", "tenant disconnect x", "tenant forget x", "pool delete x", "profile delete x", "vm delete x",
         "slot delete x", "slot release x", "quarantine add x", "quarantine release x", "session kill 7", "drain start"]


@pytest.mark.parametrize("command", HURTS)
def test_what_hurts_is_asked_for(command):
    with fake_api.serving({}) as server:
        r = admin.run(*command.split(), socket=server.place)
        assert r.returncode == admin.USAGE and "--yes" in r.stderr and not server.asked
        r = admin.run(*command.split(), "--yes", socket=server.place)
        assert r.returncode == admin.REFUSED and len(server.asked) == 1  # and refused by the server


@pytest.mark.parametrize("answer, done", [("y\n", True), ("yes\n", True), ("n\n", False), ("\n", False), ("yep\n", False),
                                          ("\x04", False)])
def test_the_question(answer, done):
    with fake_api.serving({("DELETE", "/v1/pools/gold"): {}}) as server, \
            admin.terminal("pool", "delete", "gold", socket=server.place) as t:
        t.until("Delete the pool gold? [y/N]")
        t.type(answer)
        assert t.wait() == (admin.OK if done else admin.REFUSED)
        assert ("Pool gold is gone." if done else "nothing was done") in t.screen.text()
        assert len(server.asked) == done


# ---- terminals

def on_terminal(server, *args, columns=100, env=None):
    with admin.terminal(*args, socket=server.place, columns=columns, env=env) as t:
        assert t.wait() == 0
        return t


def test_colours_are_for_terminals():
    answers = {STATUS: {**fake_api.status(), "health": "lost"}}
    with fake_api.serving(answers) as server:
        assert "\x1b[1;31mlost\x1b[0m" in on_terminal(server, "status").raw
        assert "\x1b" not in on_terminal(server, "status", env={"NO_COLOR": "1"}).raw
        assert "\x1b" not in on_terminal(server, "status", env={"TERM": "dumb"}).raw
        assert "\x1b" not in on_terminal(server, "status", "--color=never").raw
        assert "\x1b" not in admin.run("status", socket=server.place).stdout
        assert "\x1b[1;31mlost" in admin.run("status", "--color=always", socket=server.place).stdout
        assert "\x1b" not in admin.run("status", "--json", "--color=always", socket=server.place).stdout


def test_tables_fit_the_terminal():
    rows = [fake_api.tenant(i, f"tenant-with-a-long-name-{i}", pool="a-pool-with-a-long-name") for i in range(3)]
    with fake_api.serving({("GET", "/v1/tenants"): {"tenants": rows}}) as server:
        for columns in (60, 80, 132):
            lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in
                     on_terminal(server, "tenant", columns=columns).raw.splitlines()]
            assert len(lines) == 4 and max(map(len, lines)) <= columns
            assert "TARGET" in lines[0] and "50.0 %" in lines[1]
        wide = on_terminal(server, "tenant", "--wide", columns=60).raw
        assert "tenant-with-a-long-name-2" in wide and "CONNECTIONS" in wide
        piped = admin.run("tenant", socket=server.place).stdout
        assert "tenant-with-a-long-name-2" in piped and "CONNECTIONS" in piped


# ---- events

def event(number, **more):
    data = {"id": number, "at_ms": 1795942921000, "kind": "tenant.came", "text": f"event {number}", **more}
    return f"id: {number}\nevent: {data['kind']}\ndata: {json.dumps(data)}\n\n"


def test_events_go_on_where_they_broke_off():
    seen = []

    def stream(handler, _):
        seen.append(handler.headers.get("Last-Event-ID"))
        if len(seen) == 1:
            handler.stream("retry: 1\n\n:\n\n" + event(5) + event(6) + "id: 7\ndata: half of")
        elif len(seen) == 2:
            handler.send(fake_api.Problem(503, "internal", "not yet"))
        else:
            handler.stream(event(7) + event(8, kind="tenant.strike", name="blue", fields={"cause": "a hang"}))

    with fake_api.serving({("GET", "/v1/events"): stream}) as server:
        r = admin.run("events", "--count=4", "--kind=x", socket=server.place)
        assert server.asked[0][1] == "/v1/events?kind=x"
    assert r.returncode == 0 and seen == [None, "6", "6"]
    lines = r.stdout.splitlines()
    assert [re.search(r"event \d", line)[0] for line in lines] == [f"event {n}" for n in (5, 6, 7, 8)]
    assert lines[3].startswith("2026-11-29 09:02:01  tenant.strike ") and lines[3].endswith("blue: event 8  cause='a hang'")
    assert r.stderr.count("trying again") == 1


def test_events_that_were_and_that_come():
    def answer(handler, asked):
        if "last=2" in asked[1]:
            handler.send({"complete": True, "events": [{"id": 3, "kind": "k", "text": "three"},
                                                       {"id": 4, "kind": "k", "text": "four"}]})
        else:
            assert handler.headers["Last-Event-ID"] == "4"
            handler.stream(event(5))

    with fake_api.serving({("GET", "/v1/events"): answer}) as server:
        r = admin.run("events", "--last=2", socket=server.place)
        assert [line.split()[-1] for line in r.stdout.splitlines()] == ["three", "four"]
        r = admin.run("events", "-n2", "--follow", "--count=3", "--json", socket=server.place)
        assert [json.loads(line)["id"] for line in r.stdout.splitlines()] == [3, 4, 5]


def test_events_that_are_refused_end():
    with fake_api.serving({("GET", "/v1/events"): fake_api.Problem(403, "permission", "no")}) as server:
        r = admin.run("events", socket=server.place)
    assert r.returncode == admin.REFUSED and "vgpu-admin: no" in r.stderr


# ---- top

class Machine:
    """A mediator whose clock goes on by a second with each question."""

    def __init__(self):
        self.now, self.names = 0, ["one", HOSTILE]

    def status(self, *_):
        self.now += 1
        return fake_api.status(*[
            fake_api.tenant(i + 1, name, share_achieved=10.0 * (i + 1), launches=1000 * self.now * (i + 1),
                            held_ns={"turn": 250000000 * self.now, "launches_per_s": 500000000 * self.now})
            for i, name in enumerate(self.names)], now_ns=self.now * 10**9)

    def answers(self):
        name = "vgpu_tenant_launch_delay_seconds_bucket"
        metrics = "".join(f'{name}{{tenant="x",id="1",le="{le}"}} {n}\n' for le, n in (("0.001", 9), ("+Inf", 9)))
        return {STATUS: self.status, ("GET", "/metrics"): (200, "text/plain", metrics),
                ("GET", "/v1/gpus"): {"gpus": [{"memory": 80 << 30, "memory_used": 1 << 30, "temperature_c": 54}]}}


def test_top_in_plain_frames():
    with fake_api.serving(Machine().answers()) as server:
        r = admin.run("top", "--batch", "-n", "2", "-d", "0.1", "--by=id", socket=server.place)
        assert r.returncode == 0
        frames = r.stdout.split("\n\n")
        assert len(frames) == 2 and not CONTROLS.search(r.stdout)
        for frame in frames:
            head, count, _, one, two = frame.strip().splitlines()
            assert head == "Fake card (null), healthy: 1 GiB used, 80 GiB in all, 54 C"
            assert count.startswith("2 tenants, 2 in demand")
            assert one.split()[:4] == ["1", "one", "default", "waiting"]
            assert " 1000 " in one and " 2000 " in two and "25 %" in one and "launches_per_s 50 %" in one
        answers = admin.run("top", "-n2", "-d0.1", "--json", socket=server.place).stdout.splitlines()
        assert [json.loads(a)["device"] for a in answers] == ["Fake card"] * 2


def test_top_on_a_terminal():
    machine = Machine()
    with fake_api.serving(machine.answers()) as server, \
            admin.terminal("top", "-d", "0.2", socket=server.place, columns=120) as t:
        t.until("launches_per_s 50 %")
        assert t.screen.lines()[0].startswith("vgpu-admin top")
        t.until(lambda s: s.lines()[4].split()[:1] == ["2"])  # the greatest share first
        assert "a\\x1b[2J" in t.screen.lines()[4] and "\x9b" not in t.raw and "\u202e" not in t.raw
        t.type("n")
        t.until("by name")
        t.type("r")
        t.until(lambda s: "by name, reversed" in s.text() and s.lines()[4].split()[1] == "one")
        t.type("i")
        t.until("by id")
        machine.names.append("three")
        t.until("3 tenants")
        t.resize(10, 60)
        t.until(lambda s: s.lines()[0].startswith("vgpu-admin top") and "three" in s.text())
        assert max(map(len, t.screen.lines())) <= 60
        server.answers[STATUS] = (503, "text/plain", "")
        t.until("NO CONNECTION")
        assert "three" in t.screen.text()  # what was known is still there
        server.answers[STATUS] = machine.status
        t.until(lambda s: "NO CONNECTION" not in s.text())
        t.type("q")
        assert t.wait() == 0


def test_top_when_the_terminal_is_not_known():
    with fake_api.serving(Machine().answers()) as server, \
            admin.terminal("top", socket=server.place, env={"TERM": "no-such-terminal"}) as t:
        assert t.wait() == admin.USAGE
        assert "--batch" in t.screen.text()


# ---- TLS

@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    where = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", where / "key.pem", "-out",
                    where / "cert.pem"], check=True, capture_output=True)
    return where / "cert.pem", where / "key.pem"


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "token"
    path.write_text("s3cret\nother\n")
    path.chmod(0o600)
    return path


def test_over_the_network(certificate, token):
    with fake_api.serving({STATUS: fake_api.status()}, tls=certificate) as server:
        where = ("--url", server.place + "/", "--token-file", token)
        r = admin.run("status", *where, "--ca-file", certificate[0])
        assert r.returncode == 0 and "Fake card" in r.stdout, r.stderr
        assert server.headers_seen[-1]["Authorization"] == "Bearer s3cret"
        r = admin.run("status", env={"VGPU_ADMIN_URL": server.place, "VGPU_ADMIN_TOKEN_FILE": str(token),
                                     "VGPU_ADMIN_CA_FILE": str(certificate[0])})
        assert r.returncode == 0
        n = len(server.asked)
        r = admin.run("status", *where)  # signed by nobody
        assert r.returncode == admin.NO_CONNECTION and "--ca-file" in r.stderr
        other = server.place.replace("localhost", "127.0.0.1")  # the certificate is not for this name
        r = admin.run("status", "--url", other, "--token-file", token, "--ca-file", certificate[0])
        assert r.returncode == admin.NO_CONNECTION and "certificate" in r.stderr
        assert len(server.asked) == n  # nobody else got the token


def test_the_token_is_kept_secret(certificate, token, tmp_path):
    with fake_api.serving({STATUS: fake_api.status()}, tls=certificate) as server:
        def status(path):
            return admin.run("status", "--url", server.place, "--ca-file", certificate[0], "--token-file", path)

        token.chmod(0o640)
        r = status(token)
        assert r.returncode == admin.USAGE and "chmod 600" in r.stderr
        r = status(tmp_path / "none")
        assert r.returncode == admin.USAGE and "No such file" in r.stderr
        for text in ("", "\nx\n", "a b\n", "x" * 600):
            bad = tmp_path / "bad"
            bad.write_text(text)
            bad.chmod(0o600)
            r = status(bad)
            assert r.returncode == admin.USAGE and "no token" in r.stderr
        assert not server.asked
