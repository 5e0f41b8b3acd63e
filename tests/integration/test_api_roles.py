# SPDX-License-Identifier: Apache-2.0
"""The HTTP API's roles on the unix socket: admins may all, viewers change nothing, strangers see nothing."""
import json
import os
import signal

import api
import pytest
import vgpu

GROUP, OTHER_GROUP = 65534, 1  # nogroup, daemon
TWO = ("--set", "control.group=nogroup", "--set", "api.viewer_group=daemon")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")


def reachable(m):
    """Directories of tests are their user's alone."""
    os.chmod(m.directory, 0o755)
    return api.socket_of(m)


def ask_all(path, routes, wanted):
    """Statuses of every route that has a role of wanted, and the words of those with a problem."""
    out = []
    for method, where, role in routes:
        if role not in wanted or where == "/":
            continue
        with api.Api(api.UnixConnection(path)) as a:
            answer = a.ask(method, where, {} if method in ("POST", "PUT", "PATCH") else None)
            out.append([method, where, answer.status, (answer.body or {}).get("error")])
    return out


def test_viewers_look_and_change_nothing():
    with vgpu.mediator(*TWO) as m:
        path, routes = reachable(m), api.routes()
        looked = api.as_user(lambda: ask_all(path, routes, ["viewer"]), [OTHER_GROUP])
        assert len(looked) >= 8
        assert {row[2] for row in looked} <= {200, 400, 404, 409}, looked
        assert ["GET", "/v1/status", 200, None] in looked and ["GET", "/openapi.json", 200, None] in looked
        tried = api.as_user(lambda: ask_all(path, routes, ["admin"]), [OTHER_GROUP])
        assert len(tried) >= 9
        assert {tuple(row[2:]) for row in tried} == {(403, "permission")}, tried
        assert api.as_user(lambda: [api.Api(api.UnixConnection(path)).get("/v1/self")["role"]], [OTHER_GROUP]) == ["viewer"]
        with api.connect(m) as a:
            assert a.get("/v1/self")["role"] == "admin"
            assert [p["pool"] for p in a.get("/v1/status")["pools"]] == ["default"]


def test_a_viewer_by_its_first_group():
    with vgpu.mediator("--set", "api.viewer_group=daemon") as m:
        path, routes = reachable(m), api.routes()
        assert path.stat().st_mode & 0o777 == 0o660 and path.stat().st_gid == OTHER_GROUP
        assert api.as_user(lambda: ask_all(path, routes, ["viewer"]), [OTHER_GROUP])


def test_members_of_the_group_are_admins():
    with vgpu.mediator(*TWO) as m:
        path = reachable(m)

        def change():
            with api.Api(api.UnixConnection(path)) as a:
                a.do("POST", "/v1/pools", {"pool": "mine"})
                return [r["fields"]["who"] for r in a.get("/v1/events?kind=operator.changed")["events"]]

        who, = api.as_user(change, [GROUP])
        assert who.startswith("uid 12345 pid ") and who.endswith(" (http)")


def test_strangers_see_nothing():
    with vgpu.mediator(*TWO) as m:
        path, routes = reachable(m), api.routes()
        assert path.stat().st_mode & 0o777 == 0o666  # two groups: the mediator tells them apart
        seen = api.as_user(lambda: ask_all(path, routes, ["admin", "viewer"]))
        assert len(seen) >= 17 and {tuple(row[2:]) for row in seen} == {(403, "permission")}, seen

        def stranger():
            with api.Api(api.UnixConnection(path)) as a:
                return [a.ask("GET", "/no/such/path").status, a.ask("BREW", "/v1/status").status,
                        a.ask("GET", "/v1/events", headers={"Accept": "text/event-stream"}).status]

        assert api.as_user(stranger) == [403, 403, 403]
        assert "may not use the API" in m.log()


def test_strangers_take_no_places():
    """However many connections they hold, others are served."""
    with vgpu.mediator(*TWO) as m, api.connect(m) as a:
        path = reachable(m)
        a.get("/v1/store")

        def crowd():
            held = []
            for _ in range(100):
                held.append(api.UnixConnection(path))
                held[-1].connect()
            a.get("/v1/store")  # over the connection that was there before them

        api.as_user(crowd)
        held = []
        try:
            for _ in range(63):
                held.append(api.connect(m))
                held[-1].get("/v1/store")
        finally:
            for c in held:
                c.close()


def test_viewers_leave_places_to_admins():
    with vgpu.mediator(*TWO) as m:
        path = reachable(m)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups([OTHER_GROUP])
                os.setgid(12345)
                os.setuid(12345)
                held, statuses = [], []
                for _ in range(36):
                    held.append(api.Api(api.UnixConnection(path)))
                    statuses.append(held[-1].ask("GET", "/v1/store").status)
                os.write(write, json.dumps(statuses).encode() + b"\n")
                signal.pause()  # holds them until it is killed
            finally:  # whatever happened: the tests go on in the other process
                os._exit(1)
        os.close(write)
        try:
            with os.fdopen(read, "rb") as f:
                statuses = json.loads(f.readline())
            assert statuses == [200] * 32 + [429] * 4
            with api.connect(m) as a:
                a.get("/v1/store")
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def test_without_groups_the_socket_is_the_owners():
    with vgpu.mediator() as m:
        path, routes = reachable(m), api.routes()
        assert path.stat().st_mode & 0o777 == 0o600

        def knock():
            try:
                api.UnixConnection(path).connect()
            except PermissionError:
                return "no"
            return "yes"

        assert api.as_user(knock) == "no"
        os.chmod(path, 0o666)  # whatever the file says, the mediator asks who it is
        assert {row[2] for row in api.as_user(lambda: ask_all(path, routes, ["viewer"]))} == {403}
