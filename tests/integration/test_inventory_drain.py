# SPDX-License-Identifier: Apache-2.0
"""A host that is drained: what runs goes on, nothing new begins; the deadline, the replacement of the mediator."""
import os
import time

import api
import control
import pytest
import vgpu
from inventory import SMALL, VM1, VM2, assigned, daemon
from test_adopt import HOWS

E_DRAINING = 14


@pytest.fixture
def ctl():
    with vgpu.mediator(*SMALL) as m, control.connect(m) as c:
        c.mediator = m
        yield c


def refused(path):
    with vgpu.Client(path) as client:
        answer = client.ask(vgpu.channel_open())
        assert (answer.kind, answer.code) == (vgpu.ERROR, E_DRAINING) and "drained" in answer.text
        # Only programs that want to use the GPU are refused: who asks is answered.
        assert client.device()


def test_nothing_new_begins_and_what_runs_goes_on(ctl):
    client = ctl.mediator.connect()
    channel = client.open()
    assert ctl.do("drain.get") == {"ok": True, "draining": False, "drained": False, "channels": 1, "since_s": None,
                                   "left_ns": None}
    now = time.time()
    d = ctl.do("drain.start")
    assert (d["draining"], d["drained"], d["channels"], d["left_ns"]) == (True, False, 1, None)
    assert now - 2 < d["since_s"] < now + 2
    assert ctl.do("status")["drain"]["draining"] is True and ctl.do("capacity")["gpus"][0]["draining"] is True
    refused(ctl.mediator.socket)
    channel.do("memory 4096")
    vgpu.wait_for(lambda: [t["memory_used"] for t in ctl.do("tenant.list")["tenants"]] == [4096])
    client.close()
    vgpu.wait_for(lambda: ctl.do("drain.get")["drained"])
    refused(ctl.mediator.socket)
    ctl.do("drain.stop")
    with ctl.mediator.connect() as again:
        assert again.open()
    assert ctl.refused("drain.stop") == ("state", "the host is not being drained")


def test_no_vgpu_is_assigned_meanwhile(ctl):
    slot = assigned(ctl)
    ctl.do("vm.add", vm=VM2, name="two")
    free = ctl.do("vgpu.add", profile="small")
    ctl.do("drain.start")
    refused(slot["socket"])
    text = "the host is being drained: no vGPU is assigned (drain.stop)"
    assert ctl.refused("vgpu.assign", vgpu=free["vgpu"], vm=VM2) == ("state", text)
    assert ctl.refused("vgpu.add", profile="small", vm=VM2) == ("state", text)
    ctl.do("vgpu.assign", vgpu=slot["vgpu"], vm=VM1)  # it has it
    ctl.do("vgpu.release", vgpu=slot["vgpu"])
    assert ctl.refused("vgpu.assign", vgpu=slot["vgpu"], vm=VM1) == ("state", text)


def test_what_is_left_at_the_deadline_is_ended(ctl):
    client = ctl.mediator.connect()
    client.open()
    assert 0 < ctl.do("drain.start", **{"for": "3000 s"})["left_ns"] <= 3000 * 10 ** 9
    ctl.do("drain.start", **{"for": "1 ms"})  # sooner after all
    lost = client.receive()
    assert (lost.kind, lost.code) == (vgpu.CHANNEL_LOST, E_DRAINING) and "drained" in lost.text
    vgpu.wait_for(lambda: ctl.do("drain.get")["drained"])
    assert ctl.do("drain.get")["left_ns"] == 0
    refused(ctl.mediator.socket)  # it goes on
    ctl.do("drain.stop")
    assert client.open()


def test_a_deadline_can_be_taken_back(ctl):
    ctl.do("drain.start", **{"for": "3000 s"})
    assert ctl.do("drain.start")["left_ns"] is None
    for bad in ("", "soon", "5", "0 s", "-1 s", "99999999 s"):
        assert ctl.refused("drain.start", **{"for": bad})[0] == "value"


@pytest.mark.parametrize("how", HOWS)
def test_a_mediator_that_is_replaced_goes_on_draining(how):
    with daemon() as d:
        client = d.m.connect()
        client.open()
        with control.connect(d.m) as ctl:
            since = ctl.do("drain.start", **{"for": "1000 s"})["since_s"]
        d.replace(how)
        with control.connect(d.m) as ctl:
            now = ctl.do("drain.get")
            assert (now["draining"], now["since_s"], now["channels"]) == (True, since, 1)
            assert 0 < now["left_ns"] < 1000 * 10 ** 9
            refused(d.m.socket)
            ctl.do("drain.start", **{"for": "1 ms"})
            assert client.receive().code == E_DRAINING
            ctl.do("drain.stop")
        d.replace(how)
        with d.m.connect() as another:
            assert another.open()
        client.close()


def test_a_deadline_that_passes_in_the_gap_is_kept():
    with daemon() as d:
        client = d.m.connect()
        client.open()
        with control.connect(d.m) as ctl:
            ctl.do("drain.start", **{"for": "50 ms"})
            d.kill()
        d.again()
        assert client.receive().code == E_DRAINING


# ---- connections ----

def test_sessions_are_shown_with_what_was_opened_over_them(ctl):
    with ctl.mediator.connect() as operator, ctl.mediator.connect(say_hello=False):
        blue = operator.tenant(name=b"blue")
        with vgpu.Client(blue.path) as client:
            now = time.time()
            channel = client.open()
            vgpu.wait_for(lambda: len(ctl.do("session.list")["sessions"]) == 3)
            row, = ctl.do("session.list", tenant="blue")["sessions"]
            assert (row["tenant"], row["name"], row["uid"], row["pid"]) == (blue.tenant, "blue", os.getuid(), os.getpid())
            assert row["channels"] == [channel.id] and row["kind"] == "program"
            assert now - 5 < row["since_s"] < now + 5
            assert sorted(s["kind"] for s in ctl.do("session.list")["sessions"]) == ["new", "program", "program"]
            assert ctl.refused("session.list", tenant="red")[0] == "unknown"


@pytest.mark.parametrize("number, name", [(0, None), (1, "libcuda"), (2, "libvgpu"), (3, "libnvidia-ml"), (4, None), (255, None)])
def test_a_program_tells_its_library(ctl, number, name):
    with ctl.mediator.connect(say_hello=False) as client:
        assert client.ask(vgpu.hello(features=number << 56)).features == 0
        row, = ctl.do("session.list")["sessions"]
        assert row["library"] == name


def test_the_end_of_a_session_by_order(ctl):
    with ctl.mediator.connect() as one, ctl.mediator.connect() as two:
        one.open()
        two.open()
        rows = {s["channels"][0]: s["session"] for s in ctl.do("session.list")["sessions"]}
        first = rows[min(rows)]
        assert ctl.do("session.end", session=first)["channels"] == 1
        lost = one.receive()
        assert (lost.kind, lost.code) == (vgpu.CHANNEL_LOST, vgpu.E_SHUTDOWN) and "ended by the operator" in lost.text
        assert one.receive() is None
        assert two.status() and [s["session"] for s in ctl.do("session.list")["sessions"]] == [rows[max(rows)]]
        for bad in (first, 0, -1, 1 << 62):
            assert ctl.refused("session.end", session=bad)[0] == "unknown"


@pytest.mark.parametrize("how", HOWS)
def test_sessions_keep_their_number_age_and_library(how):
    with daemon() as d:
        client = d.m.connect(say_hello=False)
        client.ask(vgpu.hello(features=2 << 56))
        client.open()
        with control.connect(d.m) as ctl:
            before = ctl.do("session.list")["sessions"]
            assert before[0]["library"] == "libvgpu"
        d.replace(how)
        with control.connect(d.m) as ctl:
            assert ctl.do("session.list")["sessions"] == before
            ctl.do("session.end", session=before[0]["session"])
        assert client.receive().kind == vgpu.CHANNEL_LOST


def test_over_http(ctl):
    with api.connect(ctl.mediator) as a, ctl.mediator.connect() as client:
        client.open()
        assert a.do("PUT", "/v1/drain", {"for": "600 s"})["draining"] is True
        assert a.get("/v1/drain")["channels"] == 1
        a.do("DELETE", "/v1/drain")
        assert a.refused("DELETE", "/v1/drain") == (409, "state")
        row, = a.get("/v1/sessions")["sessions"]
        assert a.do("DELETE", f"/v1/sessions/{row['session']}") == {"channels": 1}
        assert client.receive().kind == vgpu.CHANNEL_LOST
        assert a.refused("DELETE", f"/v1/sessions/{row['session']}") == (404, "unknown")
