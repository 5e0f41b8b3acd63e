# SPDX-License-Identifier: Apache-2.0
"""The HTTP API as a program speaks it: http.client over the unix socket, or raw bytes."""
import contextlib
import http.client
import json
import os
import socket
import subprocess
import traceback

import pytest
import vgpu

JSON = {"Content-Type": "application/json"}


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=10):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)  # waits for its turn, however many others come
        self.sock.settimeout(self.timeout)


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.raw = response.status, response.headers, response.read()
        self.type = self.headers.get("Content-Type", "")
        self.body = json.loads(self.raw) if self.raw and "json" in self.type else None

    def problem(self):
        """Status and word of an answer that must be a whole problem document."""
        assert self.type == "application/problem+json", (self.status, self.type, self.raw)
        assert set(self.body) == {"type", "title", "status", "detail", "error"}, self.body
        assert self.body["status"] == self.status and self.body["detail"] and self.body["title"]
        assert self.body["type"] == f"urn:vgpu:error:{self.body['error']}"
        return self.status, self.body["error"]


class Api:
    """A connection, used again for each request."""

    def __init__(self, connection):
        self.connection = connection

    def ask(self, method, path, body=None, headers=None):
        data = json.dumps(body) if body is not None else None
        self.connection.request(method, path, data, {**(JSON if data is not None else {}), **(headers or {})})
        return Answer(self.connection.getresponse())

    def get(self, path, **kw):
        answer = self.ask("GET", path, **kw)
        assert answer.status == 200, (answer.status, answer.raw)
        return answer.body

    def do(self, method, path, body=None):
        answer = self.ask(method, path, body)
        assert 200 <= answer.status < 300, (answer.status, answer.raw)
        assert "ok" not in answer.body
        return answer.body

    def refused(self, method, path, body=None, **kw):
        return self.ask(method, path, body, **kw).problem()

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def describe():
    """The description of the API, as the program prints it."""
    return json.loads(subprocess.run([vgpu.MEDIATOR, "--help-api"], capture_output=True, check=True).stdout)


def routes():
    """Every route once, as (method, path without braces, role)."""
    return [(method.upper(), path.replace("{", "").replace("}", ""), what["x-role"])
            for path, methods in describe()["paths"].items() for method, what in methods.items()]


def socket_of(mediator):
    return mediator.directory / "api.sock"


def connect(mediator, **kw):
    return Api(UnixConnection(socket_of(mediator), **kw))


def raw(mediator):
    """A bare connection."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.connect(str(socket_of(mediator)))
    s.settimeout(30)
    return s


def read_all(sock):
    """Until the other end closes."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            data += piece
    return data


def as_user(function, groups=(), uid=12345):
    """What function returns (as JSON) in a process of another user."""
    if os.geteuid() != 0:
        pytest.skip("needs root to be somebody else")
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgroups(list(groups))
            os.setgid(uid)
            os.setuid(uid)
            os.write(write, json.dumps(function()).encode())
            code = 0
        except BaseException:
            os.write(write, json.dumps({"raised": traceback.format_exc()}).encode())
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as f:
        text = f.read()
    os.waitpid(pid, 0)
    result = json.loads(text)
    assert not isinstance(result, dict) or "raised" not in result, result["raised"]
    return result


class Events:
    """A stream of events."""

    def __init__(self, connection, path="/v1/events", headers=None):
        self.connection = connection
        connection.request("GET", path, headers={"Accept": "text/event-stream", **(headers or {})})
        self.response = connection.getresponse()
        assert self.response.status == 200, self.response.read()
        assert self.response.headers["Content-Type"] == "text/event-stream"

    def block(self):
        """Lines up to an empty one; None at the end."""
        lines = []
        while True:
            line = self.response.readline()
            if not line:
                return None
            if line == b"\n":
                return lines
            lines.append(line.decode().rstrip("\n"))

    def next(self):
        """The next event as (id, kind, data); comments are skipped. None at the end."""
        while True:
            lines = self.block()
            if lines is None:
                return None
            fields = dict(line.split(": ", 1) for line in lines if ": " in line and not line.startswith(":"))
            if "event" in fields:
                return int(fields.get("id", 0)), fields["event"], json.loads(fields["data"])

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def events(mediator, path="/v1/events", **headers):
    return Events(UnixConnection(socket_of(mediator)), path, {k.replace("_", "-"): v for k, v in headers.items()})
