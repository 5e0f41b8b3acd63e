# SPDX-License-Identifier: Apache-2.0
"""The HTTP API: what each route does, and that one connection serves many requests."""
import json
import os

import api
import pytest
import vgpu
from test_store import place, running  # noqa: F401  (place is a fixture)


@pytest.fixture
def both(mediator):
    with mediator.connect() as operator, api.connect(mediator) as a:
        yield mediator, operator, a


def test_status(both):
    _, operator, a = both
    operator.tenant(name=b"blue", weight=300)
    status = a.get("/v1/status")
    assert [p["pool"] for p in status["pools"]] == ["default"]
    assert ("blue", 300) in [(t["name"], t["weight"]) for t in status["tenants"]]
    assert status["backend"] == "null" and "ok" not in status


def pools(a):
    return {p["pool"]: p for p in a.get("/v1/status")["pools"]}


def test_pools(both):
    _, _, a = both
    answer = a.ask("POST", "/v1/pools", {"pool": "gold", "weight": 300, "turn": "20 ms"})
    assert (answer.status, answer.body) == (201, {})
    assert pools(a)["gold"]["weight"] == 300 and pools(a)["gold"]["turn"] == 20_000_000
    a.do("PATCH", "/v1/pools/gold", {"gpu_cap": 12.5})
    assert pools(a)["gold"]["gpu_cap"] == 12.5 and pools(a)["gold"]["weight"] == 300
    assert a.refused("POST", "/v1/pools", {"pool": "gold"}) == (409, "state")
    assert a.refused("DELETE", "/v1/pools/default") == (409, "state")
    a.do("DELETE", "/v1/pools/gold")
    assert "gold" not in pools(a)
    assert a.refused("DELETE", "/v1/pools/gold") == (404, "unknown")


def tenants(a):
    return {t["tenant"]: t for t in a.get("/v1/status")["tenants"]}


@pytest.mark.parametrize("by", ["id", "name", "escaped"])
def test_tenants_by_id_and_by_name(both, by):
    _, operator, a = both
    made = operator.tenant(name=b"two.words:7").tenant
    where = {"id": made, "name": "two.words:7", "escaped": "%74wo%2Ewords%3a%37"}[by]
    a.do("PATCH", f"/v1/tenants/{where}", {"weight": 7, "class": "latency", "memory": "4G"})
    row = tenants(a)[made]
    assert (row["weight"], row["class"], row["memory"]) == (7, "latency", 4 << 30)


@pytest.mark.parametrize("how", ["disconnect", "kill"])
def test_tenants_are_disconnected(both, how):
    mediator, operator, a = both
    made = operator.tenant(name=b"t")
    with vgpu.Client(made.path) as client:
        client.open()
        assert a.do("POST", f"/v1/tenants/{made.tenant}/{how}") == {"channels": 1}
        assert client.receive().kind == vgpu.CHANNEL_LOST
    vgpu.wait_for(lambda: not mediator.executors())


def test_quarantine(both):
    _, operator, a = both
    made = operator.tenant(name=b"bad").tenant
    assert a.get("/v1/quarantines")["tenants"] == [] and a.get("/v1/strikes")["tenants"] == []
    a.do("PUT", "/v1/tenants/bad/quarantine", {"for": "600 s"})
    row, = a.get("/v1/quarantines")["tenants"]
    assert row["tenant"] == made and 590e9 < row["left_ns"] <= 600e9
    a.do("PUT", "/v1/tenants/bad/quarantine")  # without a body: until it is released
    assert a.get("/v1/quarantines")["tenants"][0]["left_ns"] is None
    a.do("DELETE", "/v1/tenants/bad/quarantine")
    assert a.refused("DELETE", "/v1/tenants/bad/quarantine") == (409, "state")


def test_the_store(place):  # noqa: F811
    with running(place) as m, api.connect(m) as a, m.connect() as operator:
        operator.tenant(name=b"blue")
        store = a.get("/v1/store")
        assert (store["state"], store["path"]) == ("good", str(place))
        assert a.do("POST", "/v1/pools", {"pool": "gold", "weight": 3}) == {"kept": True}
        assert a.do("PATCH", "/v1/tenants/blue", {"weight": 9}) == {"kept": True}
        rows = a.get("/v1/audit?subject=name-blue&most=5")["audit"]
        assert rows and {r["who"] for r in rows} == {f"uid {os.getuid()} pid {os.getpid()} (http)"}
        assert len(a.get("/v1/audit?most=1")["audit"]) == 1
        assert a.get("/v1/usage?by=minute&name=name-blue")["usage"] == []
        copy = place.parent / "copy.db"
        answer = a.ask("POST", "/v1/store/backup", {"path": str(copy)})
        assert answer.status == 201 and copy.exists()
        assert a.refused("POST", "/v1/store/backup", {"path": str(copy)}) == (409, "state")
        a.do("DELETE", "/v1/records/name-blue")


def test_without_a_store(both):
    _, _, a = both
    assert a.get("/v1/store")["state"] == "off"
    for path in ("/v1/usage", "/v1/audit"):
        assert a.refused("GET", path) == (409, "state")


def test_events_as_a_list(both):
    _, operator, a = both
    operator.tenant(name=b"blue")
    a.do("POST", "/v1/pools", {"pool": "gold"})
    rows = a.get("/v1/events")["events"]
    assert [r["kind"] for r in rows] == ["mediator.started", "tenant.came", "session.came", "tenant.came", "operator.changed"]
    assert rows[3]["name"] == "blue" and rows[4]["fields"]["operation"] == "pool.add"
    assert [r["id"] for r in rows] == list(range(rows[0]["id"], rows[0]["id"] + 5))
    assert a.get("/v1/events?last=2")["events"] == rows[3:]
    assert a.get("/v1/events?kind=tenant.came")["events"] == [rows[1], rows[3]]
    assert a.get("/v1/events?kind=tenant.came&last=1")["events"] == [rows[3]]
    after = a.get(f"/v1/events?after={rows[1]['id']}")
    assert after == {"complete": True, "events": rows[2:]}
    assert a.get("/v1/events?after=1") == {"complete": False, "events": rows}


def test_head_has_no_body(both):
    _, _, a = both
    answer = a.ask("HEAD", "/v1/status")
    assert answer.status == 200 and answer.raw == b"" and int(answer.headers["Content-Length"]) > 10
    assert a.get("/v1/store")["state"] == "off"  # the connection is as good as before


def test_one_connection_serves_many_requests(both):
    _, _, a = both
    a.get("/v1/status")
    sock = a.connection.sock
    for _ in range(50):
        a.get("/v1/status")
        assert a.refused("GET", "/v1/nothing") == (404, "operation")
        assert a.refused("POST", "/v1/pools", {"pool": "a", "weight": 0}) == (422, "value")
    assert a.connection.sock is sock


def test_requests_in_one_piece(both):
    """Pipelined: the answers come in order."""
    mediator, _, _ = both
    with api.raw(mediator) as s:
        s.sendall(b"GET /v1/store HTTP/1.1\r\nHost: x\r\n\r\n" * 5 + b"GET /v1/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = api.read_all(s)
    assert text.count(b"HTTP/1.1 200") == 5 and text.count(b"HTTP/1.1 404") == 1


def test_none_is_none():
    with vgpu.mediator("--set", "api.socket=none") as m:
        assert not api.socket_of(m).exists()


def test_the_socket_goes_with_the_mediator():
    with vgpu.mediator() as m:
        path = api.socket_of(m)
        assert path.stat().st_mode & 0o777 == 0o600
        m.stop()
        assert not path.exists()
        m.stop = lambda: 0
        m.process.poll = lambda: None


def test_settings_that_do_not_go_together(tmp_path):
    import subprocess
    for words, said in ((["api.listen=127.0.0.1:0"], "needs api.certificate"), (["api.socket=x"], "absolute"),
                        (["api.viewer_group=no-such-group"], "no group")):
        args = [w for word in words for w in ("--set", word)]
        done = subprocess.run([vgpu.MEDIATOR, "--socket", tmp_path / "s", "--set", f"paths.run_directory={tmp_path}", "--backend", "null",
                               "--executor", vgpu.FAKE, *args], capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode != 0 and said in done.stderr, done.stderr


def test_answers_are_objects_without_ok(both):
    _, _, a = both
    document = a.get("/openapi.json")
    for path in document["paths"]:
        if "{" in path or "get" not in document["paths"][path]:
            continue
        answer = a.ask("GET", path)
        if answer.body is not None:
            assert isinstance(answer.body, dict) and "ok" not in answer.body, (path, json.dumps(answer.body))


def test_metrics_are_text(mediator):
    with api.connect(mediator) as a:
        answer = a.ask("GET", "/metrics")
        assert answer.status == 200 and answer.type.startswith("text/plain; version=0.0.4")
        assert b"\nvgpu_build_info{" in answer.raw
