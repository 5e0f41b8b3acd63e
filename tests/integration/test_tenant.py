# SPDX-License-Identifier: Apache-2.0
"""TENANT_CREATE: every field, the tenant's socket and the tenant's end."""
import os
import socket
import stat

import pytest
import vgpu


def test_answer_and_socket(mediator):
    with mediator.connect() as operator:
        t = operator.tenant(name=b"training-1", weight=400, memory=1 << 30)
        assert t.cookie == 3
        assert stat.S_ISSOCK(os.stat(t.path).st_mode)
        with vgpu.Client(t.path) as c:
            assert (c.greeting.tenant, c.greeting.weight, c.greeting.memory) == (t.tenant, 400, 1 << 30)
            row = operator.status()[t.tenant]
            assert (row.name, row.weight, row.memory_quota, row.channels) == ("training-1", 400, 1 << 30, 0)


@pytest.mark.parametrize("name", [b"", b"a b", b"a/b", b"../x", b"\xc3\xa9", b"x" * 64, b"a\0b", b"a\nb", b"%s"])
def test_bad_names(mediator, name):
    with mediator.connect() as c:
        answer = c.ask(vgpu.tenant_create(name=name))
        assert (answer.code, "name" in answer.text) == (vgpu.E_PROTOCOL, True)
        assert c.receive() is None


@pytest.mark.parametrize("name", [b"a", b"x" * 63, b"A-z0.9_:"])
def test_good_names(mediator, name):
    with mediator.connect() as c:
        made = c.tenant(name=name).tenant
        assert c.status()[made].name == name.decode()


@pytest.mark.parametrize("weight", [0, 10001, 0xffffffff])
def test_bad_weights(mediator, weight):
    with mediator.connect() as c:
        assert c.ask(vgpu.tenant_create(weight=weight)).code == vgpu.E_PROTOCOL


def test_reserved_must_be_zero(mediator):
    with mediator.connect() as c:
        assert c.ask(vgpu.tenant_create(reserved=1)).code == vgpu.E_PROTOCOL


def test_tenant_ends_with_the_link_that_made_it(mediator):
    operator = mediator.connect()
    t = operator.tenant()
    c = vgpu.Client(t.path)
    ch = c.open()
    operator.close()
    lost = c.receive()
    assert (lost.kind, lost.code, lost.channel) == (vgpu.CHANNEL_LOST, vgpu.E_SHUTDOWN, ch.id)
    assert c.receive() is None
    vgpu.wait_for(lambda: not os.path.exists(t.path) and not mediator.executors())
    with mediator.connect() as again:
        vgpu.wait_for(lambda: t.tenant not in again.status())


def test_tenants_have_a_limit_and_give_their_place_back():
    with vgpu.mediator("--set", "limits.tenants=4") as m, m.connect() as c:
        for _ in range(3):  # one is the user's own
            c.tenant()
        answer = c.ask(vgpu.tenant_create())
        assert answer.code == vgpu.E_LIMIT and "limits.tenants" in answer.text
        assert c.status()  # still connected
        c.close()

        def room():
            with m.connect() as again:
                return again.ask(vgpu.tenant_create()).kind == vgpu.TENANT_OK
        vgpu.wait_for(room)


def test_many_tenants_leave_nothing(mediator):
    with mediator.connect() as settled:
        settled.status()
        before, maps = mediator.fds(), mediator.maps()
        with mediator.connect() as c:
            paths = [c.tenant(name=b"t%d" % i).path for i in range(200)]
            assert len(set(paths)) == 200
            rows = settled.status()
            assert len(rows) == 201
        vgpu.wait_for(lambda: mediator.fds() == before and mediator.maps() == maps)
        assert not any(os.path.exists(p) for p in paths)


def test_stale_socket_file_is_replaced(mediator):
    path = mediator.directory / "tenant-2.sock"
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stale.bind(str(path))
    stale.close()
    with mediator.connect() as c:
        t = c.tenant()
        assert t.path == str(path)
        with vgpu.Client(t.path):
            pass


def test_something_else_in_the_place_of_the_socket_is_left_alone(mediator):
    path = mediator.directory / "tenant-2.sock"
    path.write_text("mine")
    with mediator.connect() as c:
        answer = c.ask(vgpu.tenant_create())
        assert answer.kind == vgpu.ERROR and "socket" in answer.text
        assert path.read_text() == "mine"
        path.unlink()
        c.tenant()
