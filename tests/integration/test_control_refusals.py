# SPDX-License-Identifier: Apache-2.0
"""What the control socket refuses: bytes that are no request, requests that are not right, too much of anything. After
each the mediator answers as before and nothing has changed."""
import os
import random
import socket
import time

import api
import control
import pytest
import vgpu
from test_device import with_sensor

MAX_LINE, MAX_LINKS = 16384, 32


@pytest.fixture
def ctl(mediator):
    with mediator.connect() as operator:
        operator.tenant(name=b"t", weight=123)
        with control.connect(mediator) as c:
            before = settled(c)
            yield c
            with control.connect(mediator) as after:
                assert settled(after) == before


def settled(c):
    """What requests could have changed."""
    pools, tenants = c.status()
    keys = ("pool", "weight", "share", "gpu_cap", "turn", "class", "memory", "launches_per_s", "copy_per_s", "queue_depth")
    return [{k: row.get(k) for k in keys} for row in (*pools.values(), *tenants.values())]


@pytest.mark.parametrize("line", [
    b"", b"{", b"}", b"[]", b"null", b"7", b'"status"', b"{}{}", b'{"op":"status"} x', b"\0", b'{"op":"status\0"}',
    b'{"op":"status","op":"status"}', b'{"op":"\xff\xfe"}', b'{"op":"\\ud800"}', b"{'op':'status'}", b'{"op":"status",}',
    b'{"op":"tenant.set","tenant":"t","weight":1e999}', b'{"op":"tenant.set","tenant":"t","weight":NaN}',
    b'{"op":"tenant.set","tenant":"t","weight":99999999999999999999999}', b"\x00\xff" * 300,
])
def test_no_json(ctl, line):
    answer = ctl.raw(line + b"\n")
    assert answer == {"ok": False, "error": "json", "text": answer["text"]} and answer["text"]
    assert ctl.ask("status")["ok"]


def test_deep(ctl):
    for opener, closer in (("[", "]"), ('{"a":', "}")):
        for depth in (5, 1000, 2000):
            line = '{"op":"status","id":' + opener * depth + "1" + closer * depth + "}"
            assert ctl.raw(line.encode() + b"\n")["error"] == "json"
    assert ctl.raw(b'{"op":"status","id":"[[[[[[[[{{{{{{\\"[[["}\n')["ok"]  # in a string it is no depth


@pytest.mark.parametrize("fields,code", [
    ({}, "field"), ({"op": 7}, "field"), ({"op": "nothing"}, "operation"), ({"op": ""}, "operation"),
    ({"op": "status", "extra": 1}, "field"), ({"op": "status", "weight": 1}, "field"), ({"op": "status", "id": []}, "value"),
    ({"op": "tenant.set"}, "field"), ({"op": "tenant.set", "tenant": []}, "value"), ({"op": "tenant.set", "tenant": 1.5}, "value"),
    ({"op": "tenant.set", "tenant": "nobody"}, "unknown"), ({"op": "tenant.set", "tenant": 0}, "unknown"),
    ({"op": "tenant.set", "tenant": -1}, "unknown"), ({"op": "tenant.set", "tenant": 2 ** 32 + 1}, "unknown"),
    ({"op": "tenant.set", "tenant": 2 ** 62}, "unknown"), ({"op": "tenant.set", "tenant": "t", "share": 5}, "field"),
    ({"op": "tenant.set", "tenant": "t", "pool": "none"}, "unknown"), ({"op": "tenant.set", "tenant": "t", "pool": "a b"}, "value"),
    ({"op": "tenant.set", "tenant": "t", "profile": "none"}, "unknown"),
    ({"op": "pool.add"}, "field"), ({"op": "pool.add", "pool": ""}, "value"), ({"op": "pool.add", "pool": "x" * 41}, "value"),
    ({"op": "pool.add", "pool": "../x"}, "value"), ({"op": "pool.add", "pool": "default"}, "state"),
    ({"op": "pool.add", "pool": "p", "class": "latency"}, "field"), ({"op": "pool.add", "pool": "p", "share": 99.5}, "value"),
    ({"op": "pool.remove", "pool": "default"}, "state"), ({"op": "pool.set", "pool": "p"}, "unknown"),
    ({"op": "tenant.kill", "tenant": "t", "now": True}, "field"),
])
def test_requests_that_are_not_right(ctl, fields, code):
    answer = ctl.ask(**fields) if "op" in fields else ctl.raw(b"{}\n")
    assert (answer["ok"], answer["error"]) == (False, code), answer


@pytest.mark.parametrize("name,value", [
    ("weight", 0), ("weight", 10001), ("weight", -1), ("weight", 1.5), ("weight", True), ("weight", None), ("weight", "x"),
    ("weight", "1 00"), ("weight", [100]), ("priority", "highest"), ("priority", 1), ("class", "realtime"), ("class", 1),
    ("gpu_cap", 100.5), ("gpu_cap", -0.5), ("gpu_cap", 0.001), ("gpu_cap", "1e1"), ("gpu_cap", "12.345"), ("gpu_cap", ""),
    ("gpu_cap", "."), ("launches_per_s", 1e13), ("copy_per_s", "1X"), ("copy_per_s", -1), ("queue_depth", 513),
    ("memory", "17179869184G"), ("memory", 1e300), ("turn", 1), ("turn", "99us"), ("turn", "11s"), ("turn", "5"),
])
def test_values_out_of_range(ctl, name, value):
    # The good one beside it is not taken either.
    code, text = ctl.refused("tenant.set", tenant="t", queue_depth=4, **{name: value}) if name != "queue_depth" else \
        ctl.refused("tenant.set", tenant="t", memory=4, **{name: value})
    assert code == "value" and text.startswith(name), text


def test_weight_and_priority(ctl):
    assert ctl.refused("tenant.set", tenant="t", weight=5, priority="low")[0] == "value"


def test_two_of_a_name(mediator):
    with mediator.connect() as operator, control.connect(mediator) as ctl:
        ids = [operator.tenant(name=b"same").tenant for _ in range(2)]
        code, text = ctl.refused("tenant.set", tenant="same", weight=5)
        assert code == "unknown" and "2 tenants" in text
        ctl.do("tenant.set", tenant=ids[1], weight=5)
        assert operator.status()[ids[0]].weight == 100


def test_too_many_pools(mediator):
    with control.connect(mediator) as ctl:
        for i in range(63):
            ctl.do("pool.add", pool=f"p{i}")
        code, text = ctl.refused("pool.add", pool="one-more")
        assert code == "limit" and "VGPU_MAX_POOLS" in text


def test_a_pool_on_another_gpu():
    ours, other = "GPU-30313233-3435-3637-3839-616263646566", "GPU-00000000-1111-2222-3333-444444444444"
    with with_sensor() as m, control.connect(m) as ctl:
        code, text = ctl.refused("pool.add", pool="p", gpu=ours)
        assert code == "gpu" and "not known yet" in text
        vgpu.wait_for(lambda: "not known" not in ctl.ask("pool.add", pool="q", gpu=other)["text"], 5)
        code, text = ctl.refused("pool.add", pool="p", gpu=other)
        assert code == "gpu" and ours in text and other in text
        ctl.do("pool.add", pool="p", gpu=ours.lower())
        assert ctl.status()[0]["p"]["gpu"] == ours.lower() and "q" not in ctl.status()[0]


def test_a_line_that_is_too_long(ctl, mediator):
    with control.connect(mediator) as other:
        answer = other.raw(b'{"op":"status","id":"' + b"x" * MAX_LINE + b'"}\n')
        assert answer["error"] == "limit" and "VGPU_MAX_CONTROL_LINE" in answer["text"]
        assert other.next() is None
    line = b'{"op":"status","id":"' + b"x" * (MAX_LINE - 23) + b'"}'
    assert len(line) == MAX_LINE and ctl.raw(line + b"\n")["ok"]


def test_bytes_one_by_one_and_many_lines_at_once(ctl):
    for byte in b'{"op":"status","id":"slow"}':
        ctl.sock.sendall(bytes([byte]))
    assert ctl.raw(b"\n")["id"] == "slow"
    ctl.sock.sendall(b"".join(b'{"op":"operations","id":%d}\n' % i for i in range(100)))
    assert [ctl.next()["id"] for _ in range(100)] == list(range(100))


def test_a_flood_is_cut_off(mediator):
    with control.connect(mediator) as ctl:
        ctl.sock.setblocking(True)
        answers = []
        for _ in range(40):
            try:
                ctl.sock.sendall(b'{"op":"x"}\n' * 100)
            except (BrokenPipeError, ConnectionResetError):
                break
            answers += [ctl.next() for _ in range(100)]
            if answers[-1] is None:
                break
        assert any(a and a["error"] == "limit" for a in answers) and answers[-1] is None or len(answers) < 4000


def test_answers_that_nobody_reads(mediator):
    """It keeps one answer and no more, whatever is asked; others are served."""
    with control.connect(mediator) as deaf, control.connect(mediator) as ctl:
        deaf.sock.setblocking(False)
        sent = 0
        while sent < 20 << 20:
            try:
                sent += deaf.sock.send(b'{"op":"operations"}\n' * 500)
            except BlockingIOError:
                break
        assert sent < 20 << 20
        begin = time.monotonic()
        assert ctl.ask("status")["ok"] and time.monotonic() - begin < 2


def test_too_many_connections(mediator):
    links = [control.connect(mediator) for _ in range(MAX_LINKS)]
    for link in links:
        assert link.ask("status")["ok"]
    with control.connect(mediator) as one_more:
        answer = one_more.next()
        assert answer["error"] == "limit" and one_more.next() is None
    links.pop().close()
    vgpu.wait_for(lambda: answers(mediator))
    for link in links:
        link.close()


def answers(mediator):
    with control.connect(mediator) as c:
        return (c.ask("status") or {"ok": False})["ok"]


def test_strangers_are_told_and_closed(mediator):
    if os.geteuid() != 0:
        pytest.skip("needs root to be somebody else")
    path = mediator.directory / "control.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    os.chmod(mediator.directory, 0o755)
    os.chmod(path, 0o666)

    def asked():
        with control.Control(path) as c:
            return (c.next() or {}).get("error"), c.next()
    assert api.as_user(asked) == ["permission", None]


def test_random_bytes(mediator):
    rng = random.Random(7)
    good = b'{"op":"tenant.set","tenant":"t","weight":100,"gpu_cap":"12.5","id":3}\n'
    for _ in range(300):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data) - 1)] = rng.randrange(256)
        with control.connect(mediator) as c:
            c.sock.sendall(bytes(data) + good)
            c.sock.shutdown(socket.SHUT_WR)
            while c.next():
                pass
    assert answers(mediator)
