# SPDX-License-Identifier: Apache-2.0
"""The HTTP API: requests that are not right get a problem document, change nothing, and the next one is served."""
import random

import api
import pytest


@pytest.fixture
def a(mediator):
    with mediator.connect() as operator, api.connect(mediator) as connection:
        operator.tenant(name=b"t", weight=123)
        before = settled(connection)
        yield connection
        with api.connect(mediator) as after:
            assert settled(after) == before


def settled(a):
    status = a.get("/v1/status")
    keys = ("pool", "weight", "share", "gpu_cap", "turn", "class", "memory")
    return [{k: row.get(k) for k in keys} for row in (*status["pools"], *status["tenants"])]


@pytest.mark.parametrize("method,path,allow", [
    ("POST", "/v1/status", "GET, HEAD"), ("DELETE", "/v1/status", "GET, HEAD"), ("GET", "/v1/tenants/t/kill", "POST"),
    ("OPTIONS", "/v1/tenants/t/quarantine", "PUT, DELETE"), ("BREW", "/v1/status", "GET, HEAD"), ("PUT", "/openapi.json", "GET, HEAD"),
])
def test_methods_that_a_path_has_not(a, method, path, allow):
    answer = a.ask(method, path)
    assert answer.problem() == (405, "operation") and answer.headers["Allow"] == allow


@pytest.mark.parametrize("path", ["/index.html", "/v1", "/v1/", "/v2/status", "/v1/status/", "//v1/status", "/v1/%73tatus", "/v1/pools/a/b",
                                  "/v1/pools/%00", "/v1/pools/%zz", "/v1/../v1/status", "/favicon.ico", "/v1/pools/" + "x" * 128])
def test_paths_that_are_none(a, path):
    assert a.refused("GET", path) == (404, "operation")


@pytest.mark.parametrize("body,status", [
    (b"{", 400), (b"[]", 400), (b"null", 400), (b"7", 400), (b'"x"', 400), (b"{}{}", 400), (b'{"pool":"p","pool":"q"}', 400),
    (b'{"pool":"\xff"}', 400), (b'{"pool":"p\\u0000"}', 400), (b'{"pool":' + b"[" * 20 + b"]" * 20 + b"}", 400), (b"\0", 400),
    (b"", 400), (b"{}", 400), (b'{"pool":"p","op":"pool.remove"}', 400), (b'{"pool":"p","id":1}', 400), (b'{"pool":"p","x":1}', 400),
    (b'{"pool":7}', 422), (b'{"pool":"a b"}', 422), (b'{"pool":"p","weight":0}', 422), (b'{"pool":"p","weight":[]}', 422),
    (b'{"pool":"p","weight":1,"priority":"low"}', 422), (b'{"pool":"p","share":"100.5"}', 422), (b'{"pool":"default"}', 409),
    (b'{"pool":"p","gpu":"GPU-1"}', 409),
])
def test_bodies_that_are_not_right(a, body, status):
    a.connection.request("POST", "/v1/pools", body, api.JSON)
    assert api.Answer(a.connection.getresponse()).problem()[0] == status


def test_what_the_path_says_stands_there_only(a):
    assert a.refused("PATCH", "/v1/pools/default", {"pool": "default", "weight": 5}) == (400, "field")
    assert a.refused("PATCH", "/v1/tenants/t", {"tenant": "t", "weight": 5}) == (400, "field")


@pytest.mark.parametrize("path,status", [
    ("/v1/status?x=1", 400), ("/v1/events?last=x", 422), ("/v1/events?last=0", 422), ("/v1/events?last=1001", 422),
    ("/v1/events?last=1&last=2", 400), ("/v1/events?last", 422), ("/v1/events?op=status", 400), ("/v1/events?id=1", 400),
    ("/v1/events?kind=nothing", 422), ("/v1/events?after=-1", 422), ("/v1/events?after=99999999999999999999", 422),
    ("/v1/events?kind=%zz", 400), ("/v1/events?%00=1", 400), ("/v1/events?kind=" + "x" * 200, 400), ("/v1/events?" + "x" * 200 + "=1", 400),
    ("/v1/events?kind=%ff", 400), ("/v1/events?" + "&".join(f"a{i}=1" for i in range(17)), 400),
])
def test_queries_that_are_not_right(a, path, status):
    assert a.ask("GET", path).problem()[0] == status


def test_a_query_is_for_get(a):
    assert a.refused("PATCH", "/v1/tenants/t?weight=5", {}) == (400, "field")
    assert a.refused("DELETE", "/v1/pools/default?x=1") == (400, "field")


def test_types_of_bodies(a):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", ""):
        a.connection.request("POST", "/v1/pools", b'{"pool":"p"}', {"Content-Type": kind})
        assert api.Answer(a.connection.getresponse()).problem() == (415, "json"), kind
    a.connection.request("PATCH", "/v1/tenants/t", b'{"weight":123}', {"Content-Type": "Application/JSON; charset=utf-8"})
    assert api.Answer(a.connection.getresponse()).status == 200


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_methods_without_a_body(a, method):
    a.connection.request(method, "/v1/pools/default" if method == "DELETE" else "/v1/status", b"{}", api.JSON)
    assert api.Answer(a.connection.getresponse()).problem() == (400, "field")


@pytest.mark.parametrize("method,path,code", [
    ("PATCH", "/v1/tenants/nobody", (404, "unknown")), ("PATCH", "/v1/tenants/0", (404, "unknown")),
    ("PATCH", "/v1/tenants/4294967297", (404, "unknown")), ("PATCH", "/v1/tenants/99999999999999999999", (404, "unknown")),
    ("PATCH", "/v1/tenants/-1", (404, "unknown")), ("PATCH", "/v1/pools/none", (404, "unknown")),
    ("PATCH", "/v1/pools/a%20b", (422, "value")), ("POST", "/v1/tenants/nobody/kill", (404, "unknown")),
    ("PUT", "/v1/tenants/nobody/quarantine", (404, "unknown")), ("DELETE", "/v1/tenants/%ff/quarantine", (400, "value")),
])
def test_things_that_are_not_there(a, method, path, code):
    assert a.refused(method, path, {} if method in ("PATCH", "PUT") else None) == code


def test_too_many_pools(mediator):
    with api.connect(mediator) as a:
        for i in range(63):
            a.do("POST", "/v1/pools", {"pool": f"p{i}"})
        answer = a.ask("POST", "/v1/pools", {"pool": "one-more"})
        assert answer.problem() == (429, "limit") and "VGPU_MAX_POOLS" in answer.body["detail"] and answer.headers["Retry-After"]


@pytest.mark.parametrize("text", [
    b"GET\r\n\r\n", b"GET /v1/status\r\n\r\n", b"GET /v1/status HTTP/9.9\r\n\r\n", b"\0" * 100, b"{\"op\":\"status\"}\n",
    b"GET http://x/v1/status HTTP/1.1\r\n\r\n", b"GET /v1/status HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"POST /v1/pools HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /v1/pools HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
])
def test_what_is_not_http(a, mediator, text):
    with api.raw(mediator) as s:
        s.sendall(text)
        if b"\n" in text:  # else it waits for more
            s.shutdown(1)
            assert b" 20" not in api.read_all(s)[:13]


def test_random_bytes(a, mediator):
    rng = random.Random(11)
    body = b'{"weight":123,"memory":0}'
    good = b"PATCH /v1/tenants/t HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    for _ in range(200):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(data))
            if data[at:at + 1].isdigit():
                continue  # a body that is longer than said would be waited for; a weight would be another one
            data[at] = rng.randrange(256)
        with api.raw(mediator) as s:
            s.sendall(bytes(data))
    a.connection.close()
    a.get("/v1/status")
