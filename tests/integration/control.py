# SPDX-License-Identifier: Apache-2.0
"""The control socket as an operator's program speaks it: lines of JSON."""
import json
import socket


class Control:
    """A connection to a mediator's control socket."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(10)
        self.sock.connect(str(path))
        self.file = self.sock.makefile("rb")

    def raw(self, data):
        """Sends bytes as they are; the answer, or None when the connection was closed."""
        try:
            self.sock.sendall(data)
        except BrokenPipeError:
            pass
        return self.next()

    def next(self):
        try:
            line = self.file.readline()
        except ConnectionResetError:
            return None
        return json.loads(line) if line else None

    def ask(self, op, **fields):
        return self.raw(json.dumps({"op": op, **fields}).encode() + b"\n")

    def do(self, op, **fields):
        answer = self.ask(op, **fields)
        assert answer["ok"], answer
        return answer

    def refused(self, op, **fields):
        """The code and the text of the refusal."""
        answer = self.ask(op, **fields)
        assert not answer["ok"], answer
        return answer["error"], answer["text"]

    def status(self):
        s = self.do("status")
        return ({p["pool"]: p for p in s["pools"]}, {t["tenant"]: t for t in s["tenants"]})

    def close(self):
        self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect(mediator):
    return Control(mediator.directory / "control.sock")
