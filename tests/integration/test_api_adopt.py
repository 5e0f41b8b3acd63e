# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of a mediator that is replaced: clients see a closed connection, never one that hangs, and go on with the
next mediator where they were."""
import contextlib
import http.client
import signal

import api
import pytest
import vgpu


class Place:
    """A run directory, and whoever is its mediator."""

    def __init__(self, directory):
        self.directory, self.mediators = directory, []

    def start(self):
        self.mediators.append(vgpu.Mediator(self.directory))
        return self.mediators[-1]

    def replace(self, how):
        old = self.mediators[-1]
        if how == "SIGHUP":
            begins = old.log().count("ready:")
            old.process.send_signal(signal.SIGHUP)
            vgpu.wait_for(lambda: old.log().count("ready:") > begins, 10)
            return old
        old.process.send_signal(getattr(signal, how))
        old.process.wait(10)
        return self.start()


@pytest.fixture
def place(tmp_path):
    p = Place(tmp_path)
    yield p
    for m in p.mediators:
        if m.process.poll() is None:
            m.stop()


@pytest.mark.parametrize("how", ["SIGHUP", "SIGUSR1", "SIGKILL"])
def test_clients_go_on_with_the_next_one(place, how):
    m = place.start()
    with contextlib.ExitStack() as stack:
        operator = stack.enter_context(m.connect())
        blue = operator.tenant(name=b"blue")
        idle, a = api.connect(m), api.connect(m)
        idle.get("/v1/store")
        a.do("POST", "/v1/pools", {"pool": "gold", "weight": 3})
        a.do("PATCH", "/v1/tenants/blue", {"weight": 77, "pool": "gold"})
        half = api.raw(m)
        half.sendall(b"GET /v1/sta")
        stream = api.events(m)
        a.do("PATCH", "/v1/tenants/blue", {"weight": 78})
        last, _, _ = stream.next()

        m = place.replace(how)

        assert api.read_all(half) == b""
        with contextlib.suppress(http.client.IncompleteRead, ConnectionResetError):
            assert stream.next() is None
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            idle.ask("GET", "/v1/store")
        with api.connect(m) as a:
            row, = (t for t in a.get("/v1/status")["tenants"] if t["tenant"] == blue.tenant)
            assert (row["name"], row["weight"], row["pool"]) == ("blue", 78, "gold")
            started, = a.get("/v1/events?kind=mediator.started")["events"]
            assert started["fields"]["adopted"] is True and started["id"] > last
        with api.events(m, Last_Event_ID=str(last)) as again:
            assert [again.next()[1] for _ in range(2)] == ["lost", "mediator.started"]
