# SPDX-License-Identifier: Apache-2.0
"""The HTTP API: operations that answer later, since they wait for the store or the sensor; clients that do not."""
import contextlib
import http.client
import shutil
import signal
import sqlite3
import time

import api
import control
import pytest
import vgpu
from test_device import with_sensor
from test_store import place, running  # noqa: F401  (place is a fixture)

ADD = b"POST /v1/pools HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


def add(name):
    body = b'{"pool":"%s"}' % name
    return ADD % (len(body), body)


@contextlib.contextmanager
def held(place):  # noqa: F811
    """The database is another one's, so that the store waits."""
    with contextlib.closing(sqlite3.connect(place, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield
        db.execute("ROLLBACK")


@pytest.fixture
def m(place):  # noqa: F811
    with running(place) as mediator:
        yield mediator


def test_others_are_served_meanwhile(m, place):  # noqa: F811
    with api.connect(m) as a, api.connect(m) as other, api.raw(m) as s:
        a.get("/v1/store")
        with held(place):
            s.sendall(add(b"waits") + b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            vgpu.wait_for(lambda: '"waits"' in m.log())
            for _ in range(20):
                other.get("/v1/status")
            s.setblocking(False)
            with pytest.raises(BlockingIOError):  # also what stands behind it
                s.recv(1)
            s.settimeout(30)
        answers = api.read_all(s)
        assert answers.startswith(b"HTTP/1.1 201") and answers.count(b"HTTP/1.1 404") == 1


def test_clients_that_go_meanwhile(m, place):  # noqa: F811
    with api.connect(m) as a:
        a.get("/v1/store")
        before = m.fds()
        with held(place):
            waiting = [api.raw(m) for _ in range(30)]
            for i, s in enumerate(waiting):
                s.sendall(add(b"p%d" % i))
            vgpu.wait_for(lambda: '"p29"' in m.log())
            for s in waiting:
                s.close()
            a.get("/v1/store")
        vgpu.wait_for(lambda: m.fds() == before, 20)
        assert len(a.get("/v1/pools")["pools"]) == 31  # what was asked was done


def test_the_mediator_ends_meanwhile(place):  # noqa: F811
    place.parent.mkdir()
    with vgpu.tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory:
        m = vgpu.Mediator(directory, "--set", f"store.path={place}")
        with api.connect(m) as a:
            a.get("/v1/store")
            with held(place):
                a.connection.request("POST", "/v1/pools", b'{"pool":"p"}', api.JSON)
                vgpu.wait_for(lambda: "pool.add" in m.log())
                m.process.send_signal(signal.SIGTERM)
                with pytest.raises((http.client.HTTPException, ConnectionError)):
                    a.connection.getresponse()
        assert m.process.wait(20) == 0
        assert not api.socket_of(m).exists()


def test_an_upgrade_that_cannot_begin_leaves_nobody_waiting(place, tmp_path):  # noqa: F811
    """The mediator has let go of its store when it finds that there is no program to execute."""
    place.parent.mkdir()
    for name in ("vgpu-mediator", "vgpu-keeper"):
        shutil.copy(vgpu.MEDIATOR.parent / name, tmp_path / name)
    with vgpu.tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory:
        m = vgpu.Mediator(directory, "--set", f"store.path={place}", program=tmp_path / "vgpu-mediator")
        with api.connect(m) as a, control.connect(m) as ctl:
            a.get("/v1/store")
            ctl.do("status")
            with held(place):
                a.connection.request("POST", "/v1/pools", b'{"pool":"one"}', api.JSON)
                ctl.sock.sendall(b'{"op":"pool.add","pool":"two"}\n')
                vgpu.wait_for(lambda: '"one"' in m.log() and '"two"' in m.log())
                (tmp_path / "vgpu-mediator").unlink()
                m.process.send_signal(signal.SIGHUP)
                assert api.Answer(a.connection.getresponse()).problem() == (500, "internal")
                assert ctl.next()["error"] == "internal"
            assert "going on as before" in m.log()
            assert {"one", "two"} <= {p["pool"] for p in a.get("/v1/pools")["pools"]}
        assert m.stop(20) == 0


def test_what_the_card_is_waits_for_the_sensor():
    with with_sensor() as m:
        links = [api.connect(m) for _ in range(8)]
        for link in links:  # none of them is answered before the sensor has begun
            link.connection.request("GET", "/v1/capacity")
        links.pop().close()
        for link in links:
            answer = api.Answer(link.connection.getresponse())
            assert answer.status == 200 and answer.body["gpus"][0]["gpu"].startswith("GPU-")
            link.close()
        with api.connect(m) as a:
            end = time.monotonic() + 10
            while not a.get("/v1/gpus")["gpus"]:
                assert time.monotonic() < end
