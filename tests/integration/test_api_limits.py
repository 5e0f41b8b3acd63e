# SPDX-License-Identifier: Apache-2.0
"""The HTTP API's limits: too large, too many, too slow. Whoever passes one is told or cut off, and others are served."""
import contextlib
import http.client
import json
import time

import api
import pytest
import vgpu

MAX_BODY, MAX_LINKS, TURNED_AWAY, PER_SECOND = 16384, 64, 8, 200


@pytest.fixture
def a(mediator):
    with api.connect(mediator) as connection:
        yield connection
        connection.close()
        connection.get("/v1/store")


def post(a, body, **headers):
    a.connection.request("POST", "/v1/pools", body, {**api.JSON, **headers})
    return api.Answer(a.connection.getresponse())


def body_of(n):
    return (b'{"pool":"default","x":"' + b"y" * n)[:n - 2] + b'"}'


def test_bodies_of_all_lengths(a):
    assert post(a, body_of(MAX_BODY)).problem() == (400, "field")
    sock = a.connection.sock
    for n in (MAX_BODY + 1, 2 * MAX_BODY, 8 * MAX_BODY):
        answer = post(a, body_of(n))
        assert answer.problem() == (413, "limit") and "VGPU_MAX_API_BODY" in answer.body["detail"]
    assert a.connection.sock is sock


def test_a_body_that_is_not_even_read(mediator):
    with api.raw(mediator) as s:
        s.sendall(b"POST /v1/pools HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000000000\r\n\r\n{")
        assert b" 413 " in api.read_all(s)


def test_bodies_in_chunks(a, mediator):
    for n, code in ((100, (409, "state")), (MAX_BODY + 1, (413, "limit"))):
        text = b'{"pool":"default"' + b" " * n + b"}"
        a.connection.request("POST", "/v1/pools", (text[i:i + 7] for i in range(0, len(text), 7)), api.JSON, encode_chunked=True)
        assert api.Answer(a.connection.getresponse()).problem() == code
    with api.raw(mediator) as s:  # without end
        s.sendall(b"POST /v1/pools HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        with pytest.raises(OSError):
            while sent < 64 << 20:
                s.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
                sent += 65536


@pytest.mark.parametrize("head", [
    b"GET /v1/" + b"x" * 40000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/store HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 40000 + b"\r\n\r\n",
    b"GET /v1/store HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(10000)) + b"\r\n",
    b"GET /v1/store?" + b"&".join(b"a%d=1" % i for i in range(10000)) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
])
def test_heads_that_are_too_long(a, mediator, head):
    with api.raw(mediator) as s:
        try:
            s.sendall(head)
        except (BrokenPipeError, ConnectionResetError):
            return
        assert b" 200 " not in api.read_all(s)[:20]


def test_too_many_connections(mediator):
    held = [api.connect(mediator) for _ in range(MAX_LINKS)]
    for link in held:
        link.get("/v1/store")
    with api.connect(mediator) as one_more:
        answer = one_more.ask("GET", "/v1/store")
        assert answer.problem() == (429, "limit") and "VGPU_MAX_API_LINKS" in answer.body["detail"]
        assert answer.headers["Connection"] == "close"
    silent = [api.raw(mediator) for _ in range(TURNED_AWAY)]
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)), api.connect(mediator) as one_more:
        one_more.ask("GET", "/v1/store")
    held.pop().close()

    def served():
        with api.connect(mediator) as c:
            try:
                return c.ask("GET", "/v1/store").status == 200
            except (http.client.HTTPException, ConnectionError):
                return False

    for s in silent:
        s.close()
    vgpu.wait_for(served)
    for link in held:
        link.close()


def test_too_many_requests(a):
    codes = [a.ask("GET", "/v1/store").status for _ in range(3 * PER_SECOND)]
    assert codes[:PER_SECOND] == [200] * PER_SECOND
    # As many as this machine asks in the time it takes; those refused are told, and the connection stays.
    assert set(codes) <= {200, 429}
    a.connection.sock.settimeout(10)
    text = b"GET /v1/store HTTP/1.1\r\nHost: x\r\n\r\n"
    a.connection.sock.sendall(text * 450)
    with a.connection.sock.makefile("rb") as f:
        statuses = []
        while len(statuses) < 450:
            line = f.readline()
            assert line
            if line.startswith(b"HTTP/1.1 "):
                statuses.append(int(line.split()[1]))
    assert 429 in statuses


def test_slow_requests_are_cut_off(mediator):
    """One byte after the other, so that they are never silent for long."""
    begins = (b"", b"GET /v1/st", b"POST /v1/pools HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(api.raw(mediator)) for _ in begins]
        other = stack.enter_context(api.connect(mediator))
        for s, begin in zip(slow, begins):
            s.sendall(begin)
            s.setblocking(False)
        silent = slow[0]
        end = time.monotonic() + 60
        while slow:
            assert time.monotonic() < end
            for s in list(slow):
                try:
                    if s is not silent:
                        s.sendall(b"x")
                    assert s.recv(1000) == b""
                    slow.remove(s)
                except BlockingIOError:
                    pass
                except OSError:
                    slow.remove(s)
            time.sleep(0.2)
        other.close()
        other.get("/v1/store")


def test_answers_that_nobody_takes(mediator):
    """The library keeps one answer of a connection, whatever is asked on it; others are served."""
    with api.raw(mediator) as deaf, api.connect(mediator) as a:
        deaf.setblocking(False)
        sent = 0
        while sent < 20 << 20:
            try:
                sent += deaf.send(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            except BlockingIOError:
                break
        assert sent < 20 << 20
        for _ in range(10):
            a.get("/v1/store")


def test_connections_that_come_and_go_leave_nothing(mediator):
    with api.connect(mediator) as a:
        a.get("/v1/store")
        before = mediator.fds()
        for i in range(300):
            with api.connect(mediator) as c:
                if i % 3:
                    c.get("/v1/store")
                elif i % 2:
                    c.connection.connect()
                else:
                    c.connection.connect()
                    c.connection.sock.sendall(b"GET /v1")
        vgpu.wait_for(lambda: mediator.fds() == before, 5)
        assert json.dumps(a.get("/v1/store"))
