# SPDX-License-Identifier: Apache-2.0
"""vgpu-admin as the tests run it, and terminals to run it on."""
import contextlib
import fcntl
import http.client
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios
import time

import vgpu

ADMIN = vgpu.BUILD / "admin/vgpu-admin"
TABLES = vgpu.BUILD / "admin/vgpu-admin-tables"
OK, REFUSED, USAGE, NO_CONNECTION = range(4)


def environment(place=None, **more):
    """Of a user who has set nothing else."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("VGPU_ADMIN_") and k != "NO_COLOR"}
    env.update({"LC_ALL": "C.UTF-8", "TERM": "vt100", **more})
    if place:
        env["VGPU_ADMIN_SOCKET"] = str(place)
    return env


def run(*args, socket=None, env=None, stdin=subprocess.DEVNULL, timeout=20):
    return subprocess.run([ADMIN, *map(str, args)], stdin=stdin, capture_output=True, text=True, timeout=timeout, check=False,
                          env=environment(socket, **(env or {})))


class Screen:
    """What a VT100 shows of what was written to it: as much of one as ncurses uses."""

    def __init__(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.cells = [[" "] * columns for _ in range(rows)]
        self.row = self.column = 0
        self.left = ""

    def write(self, text):
        text = self.left + text
        self.left = ""
        while text:
            if text[0] == "\x1b":
                m = re.match(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b[()][0-9A-B]|\x1b[=>78MDE]", text)
                if not m:
                    self.left = text  # the rest of it comes
                    return
                if m[2]:
                    self.control([int(n or 0) for n in m[1].lstrip("?").split(";")], m[2])
                text = text[m.end():]
            else:
                self.put(text[0])
                text = text[1:]

    def control(self, n, what):
        if what in "Hf":
            self.row, self.column = max(n[0], 1) - 1, max(n[1] if len(n) > 1 else 1, 1) - 1
        elif what in "ABCD":
            by = max(n[0], 1)
            self.row += {"A": -by, "B": by}.get(what, 0)
            self.column += {"C": by, "D": -by}.get(what, 0)
        elif what == "J":
            rows = range(self.rows) if n[0] == 2 else range(self.row + 1, self.rows)
            for r in rows:
                self.cells[r] = [" "] * self.columns
            if n[0] == 0:
                self.erase_line(self.column, self.columns)
        elif what == "K":
            self.erase_line(*{0: (self.column, self.columns), 1: (0, self.column + 1)}.get(n[0], (0, self.columns)))
        else:
            assert what in "mhlr", f"unknown control {n} {what}"

    def erase_line(self, first, end):
        for c in range(first, end):
            self.cells[self.row][c] = " "

    def put(self, char):
        if char == "\n":
            self.row = min(self.row + 1, self.rows - 1)
        elif char == "\r":
            self.column = 0
        elif char == "\b":
            self.column -= 1
        elif char >= " ":
            if self.column < self.columns:
                self.cells[self.row][self.column] = char
            self.column += 1

    def lines(self):
        return ["".join(r).rstrip() for r in self.cells]

    def text(self):
        return "\n".join(self.lines())


class Terminal:
    """vgpu-admin on a terminal of its own."""

    def __init__(self, *args, socket=None, env=None, rows=24, columns=100):
        self.screen, self.raw = Screen(rows, columns), ""
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.process = subprocess.Popen([ADMIN, *map(str, args)], stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True, env=environment(socket, **(env or {})))
        os.close(slave)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if hasattr(self, "process"):
            self.screen = Screen(rows, columns)
            self.process.send_signal(signal.SIGWINCH)

    def read(self, timeout=0.1):
        if not vgpu.is_readable(self.master, timeout):
            return True
        try:
            data = os.read(self.master, 65536).decode(errors="surrogateescape")
        except OSError:  # the program has ended
            return False
        self.raw += data
        self.screen.write(data)
        return bool(data)

    def until(self, what, timeout=20):
        """Reads until the words are there, or what is true of the screen."""
        test = what if callable(what) else lambda s: what in s.text()
        end = time.monotonic() + timeout
        while not test(self.screen):
            assert time.monotonic() < end, f"never {what}:\n{self.screen.text()}"
            alive = self.read()
            assert alive or test(self.screen), f"ended without {what}:\n{self.screen.text()}"

    def type(self, text):
        os.write(self.master, text.encode())

    def wait(self, timeout=20):
        """All that it wrote is read; the exit status."""
        end = time.monotonic() + timeout
        while self.read() and time.monotonic() < end:
            if self.process.poll() is not None and not vgpu.is_readable(self.master, 0):
                break
        return self.process.wait(timeout)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


@contextlib.contextmanager
def terminal(*args, **kw):
    t = Terminal(*args, **kw)
    try:
        yield t
    finally:
        t.close()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Tool:
    """vgpu-admin for one mediator."""

    def __init__(self, mediator):
        self.mediator, self.socket = mediator, mediator.directory / "api.sock"

    def routes(self):
        """Of the API's description of itself: "GET /v1/pools/{}", ...; none where the mediator has no API."""
        if not self.socket.exists():
            return set()
        connection = UnixConnection(self.socket)
        connection.request("GET", "/openapi.json")
        paths = json.loads(connection.getresponse().read())["paths"]
        connection.close()
        return {f"{method.upper()} {re.sub('{.*?}', '{}', path)}" for path, methods in paths.items() for method in methods}

    def run(self, *args, **kw):
        return run(*args, socket=self.socket, **kw)

    def ok(self, *args, **kw):
        """What it printed."""
        r = self.run(*args, **kw)
        assert r.returncode == OK, (args, r.stdout, r.stderr)
        return r.stdout

    def json(self, *args):
        return json.loads(self.ok(*args, "--json"))

    def refused(self, *args):
        r = self.run(*args)
        assert r.returncode == REFUSED, (args, r.returncode, r.stdout, r.stderr)
        return r.stderr

    def rows(self, *args):
        """A table's rows by their first column, each by the columns' titles. Columns are divided by two spaces."""
        lines = [re.split(r"\s{2,}", line.strip()) for line in self.ok(*args).splitlines()]
        return {row[0]: dict(zip(lines[0], row)) for row in lines[1:]}
