# SPDX-License-Identifier: Apache-2.0
"""Events: what causes them, and their stream: where it begins, goes on and ends."""
import os
import signal

import api
import control
import pytest
import vgpu
from test_store import fill, make_room, place, running  # noqa: F401  (place is a fixture)
from test_watch import OFFENCES, STRICT, offend

FAST_BEAT = ("--set", "api.heartbeat=1 s")


def kinds(a, **only):
    rows = a.get("/v1/events")["events"]
    return [r["kind"] for r in rows if all(r.get(k) == v for k, v in only.items())]


def test_a_programs_life(mediator):
    with mediator.connect() as operator, api.connect(mediator) as a:
        made = operator.tenant(name=b"blue")
        with vgpu.Client(made.path) as client:
            channel = client.open()
        vgpu.wait_for(lambda: "channel.went" in kinds(a, name="blue"))
        vgpu.wait_for(lambda: "session.went" in kinds(a, name="blue"))
        assert kinds(a, name="blue")[:3] == ["tenant.came", "session.came", "channel.came"]
        rows = {r["kind"]: r for r in a.get("/v1/events")["events"] if r.get("name") == "blue"}
        assert rows["channel.came"]["fields"] == rows["channel.went"]["fields"] == {"channel": channel.id}
        assert "client is gone" in rows["channel.went"]["text"]
        assert rows["session.came"]["fields"]["pid"] == os.getpid() and rows["session.came"]["fields"]["uid"] == os.getuid()
        assert {r["tenant"] for r in rows.values()} == {made.tenant}
        operator.close()
        vgpu.wait_for(lambda: "tenant.went" in kinds(a, name="blue"))


def test_strikes_and_quarantine():
    with vgpu.mediator(*STRICT) as m, m.connect() as operator, api.connect(m) as a:
        made = operator.tenant(name=b"bad")
        for _ in range(3):
            offend(m, made.path, *OFFENCES["stream"][:2])
        vgpu.wait_for(lambda: "tenant.quarantine" in kinds(a, name="bad"))
        strikes = a.get("/v1/events?kind=tenant.strike")["events"]
        assert [s["fields"]["counting"] for s in strikes] == [1, 2, 3]
        a.do("DELETE", "/v1/tenants/bad/quarantine")
        a.do("PUT", "/v1/tenants/bad/quarantine", {"for": "600 s"})
        assert [k for k in kinds(a, name="bad") if k in ("tenant.quarantine", "tenant.released")] == \
            ["tenant.quarantine", "tenant.released", "tenant.quarantine"]
        assert a.get("/v1/events?kind=tenant.quarantine")["events"][1]["fields"] == {"cause": "operator"}


def test_changes_by_both_doors_say_who(mediator):
    with api.connect(mediator) as a, control.connect(mediator) as ctl:
        a.do("POST", "/v1/pools", {"pool": "one"})
        ctl.do("pool.add", pool="two")
        ctl.refused("pool.add", pool="two")
        rows = a.get("/v1/events?kind=operator.changed")["events"]
        me = f"uid {os.getuid()} pid {os.getpid()}"
        assert [r["fields"] for r in rows] == [{"who": f"{me} (http)", "operation": "pool.add"},
                                               {"who": f"{me} (control)", "operation": "pool.add"}]
        assert '"pool":"two"' in rows[1]["text"]


def test_a_stream_tells_what_happens(mediator):
    with api.events(mediator) as stream, api.connect(mediator) as a:
        assert stream.block() == ["retry: 2000"]
        for i in range(20):
            a.do("POST", "/v1/pools", {"pool": f"p{i}"})
        ids = []
        for i in range(20):
            number, kind, data = stream.next()
            assert kind == data["kind"] == "operator.changed" and number == data["id"] and f'"p{i}"' in data["text"]
            ids.append(number)
        assert ids == sorted(set(ids))
        assert a.get(f"/v1/events?after={ids[0] - 1}")["events"][0]["id"] == ids[0]


def test_one_kind(mediator):
    with api.events(mediator, "/v1/events?kind=tenant.came") as stream, mediator.connect() as operator:
        for name in (b"a", b"b"):
            operator.tenant(name=name)
        assert [stream.next()[2]["name"] for _ in range(3)] == [f"uid-{os.getuid()}", "a", "b"]


def test_it_goes_on_after_the_last_one_seen(mediator):
    with api.connect(mediator) as a:
        with api.events(mediator) as stream:
            a.do("POST", "/v1/pools", {"pool": "seen"})
            last, _, _ = stream.next()
        for i in range(5):
            a.do("POST", "/v1/pools", {"pool": f"missed{i}"})
        for how in ({"Last_Event_ID": str(last)}, {"path": f"/v1/events?after={last}"}):
            with api.events(mediator, **how) as stream:
                got = [stream.next() for _ in range(5)]
                assert [g[0] for g in got] == list(range(last + 1, last + 6))
                assert all(f'"missed{i}"' in g[2]["text"] for i, g in enumerate(got))


@pytest.mark.parametrize("last", ["1", "999999999999999999"])
def test_what_is_not_held_any_more_is_said(mediator, last):
    with api.events(mediator, Last_Event_ID=last) as stream:
        assert stream.next()[1] == "lost"
        assert stream.next()[1] == "mediator.started"


def change(mediator, pool, times):
    """So many events, over connections that each have less than their requests a second."""
    for _ in range(times // 200):
        with control.connect(mediator) as ctl:
            for weight in range(1, 201):
                ctl.do("pool.set", pool=pool, weight=weight)


def test_many_more_than_are_held(mediator):
    with api.connect(mediator) as a:
        with api.events(mediator) as stream:
            a.do("POST", "/v1/pools", {"pool": "first"})
            first, _, _ = stream.next()
        change(mediator, "first", 1200)
        rows = a.get("/v1/events")["events"]
        assert len(rows) == 1000 and all("pool.set" in r["text"] for r in rows)
        assert a.get(f"/v1/events?after={first}&last=3")["complete"] is False
        with api.events(mediator, Last_Event_ID=str(first)) as stream:
            assert stream.next()[1] == "lost"
            got = [stream.next()[0] for _ in range(1024)]
            assert got == list(range(got[0], got[0] + 1024)) and got[-1] == rows[-1]["id"]


def test_it_says_that_it_is_alive():
    with vgpu.mediator(*FAST_BEAT) as m, api.events(m) as stream:
        assert stream.block() == ["retry: 2000"]
        for _ in range(2):
            assert stream.block() == [":"]


def test_listeners_that_do_not_listen_are_cut_off(mediator):
    with api.connect(mediator) as a, api.events(mediator) as stream:
        change(mediator, "default", 4000)
        last = None
        while (got := stream.next()):
            last = got[0]
        rows = a.get("/v1/events?last=1")["events"]
        assert last < rows[0]["id"]
        with api.events(mediator, Last_Event_ID=str(last)) as again:  # and may come back
            assert again.next()[1] in ("lost", "operator.changed")


def test_too_many_listeners(mediator):
    streams = [api.events(mediator) for _ in range(32)]
    with api.connect(mediator) as a:
        accept = {"Accept": "text/event-stream"}
        assert a.refused("GET", "/v1/events", headers=accept) == (429, "limit")
        a.get("/v1/events?last=1")  # without a stream
        streams.pop().close()
        a.do("POST", "/v1/pools", {"pool": "p"})  # it is noticed with the next event
        vgpu.wait_for(lambda: listens(mediator))
    for stream in streams:
        stream.close()


def listens(mediator):
    try:
        api.events(mediator).close()
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("path,headers,code", [
    ("/v1/events?last=3", {}, (400, "field")), ("/v1/events?kind=x", {}, (422, "value")), ("/v1/events?x=1", {}, (400, "field")),
    ("/v1/events", {"Last-Event-ID": "x"}, (422, "value")), ("/v1/events", {"Last-Event-ID": "-1"}, (422, "value")),
    ("/v1/events", {"Last-Event-ID": "9" * 19}, (422, "value")),
])
def test_streams_that_are_refused(mediator, path, headers, code):
    with api.connect(mediator) as a:
        assert a.refused("GET", path, headers={"Accept": "text/event-stream", **headers}) == code


def test_the_end_is_told(mediator):
    with api.events(mediator) as stream, api.connect(mediator) as a:
        a.get("/v1/store")
        mediator.process.send_signal(signal.SIGTERM)
        assert stream.next()[1] == "mediator.stopping"
        assert stream.next() is None
        assert mediator.process.wait(10) == 0
        mediator.process.poll = lambda: None
        mediator.stop = lambda: 0


def test_a_disk_that_fails_and_works_again(place):  # noqa: F811
    with running(place, "--set", "store.most=1M") as m, api.connect(m) as a:
        fill(place)
        for weight in range(1, 1000):
            if not a.do("PATCH", "/v1/pools/default", {"weight": weight})["kept"]:
                break
        vgpu.wait_for(lambda: "store.degraded" in kinds(a))
        make_room(place)
        vgpu.wait_for(lambda: "store.good" in kinds(a), 20)
