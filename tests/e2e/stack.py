# SPDX-License-Identifier: Apache-2.0
"""Starts and watches the parts of vgpu for the end-to-end tests: mediators, tenants, client programs.

Everything lives in a temporary folder of its own; nothing has a fixed port, path or name. What is looked at from
outside (which executors live, whose children they are) is read from /proc, not asked of the parts under test.
"""
import dataclasses
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("VGPU_BUILD", SOURCE / "build")).resolve()
PROGRAMS = BUILD / "tests" / "e2e"
VGPU_RUN = BUILD / "run" / "vgpu-run"
MEDIATOR = BUILD / "mediator" / "vgpu-mediator"
EXECUTOR = BUILD / "executor" / "vgpu-executor"
LIBCUDA = BUILD / "guest" / "libcuda" / "libcuda.so.1"
NVIDIA_SMI = BUILD / "guest" / "smi" / "nvidia-smi"
LIBNVML = BUILD / "guest" / "libnvml" / "libnvidia-ml.so.1"
WORKLOAD = BUILD / "demo" / "vgpu-demo-workload"
# Under sanitizers, valgrind or on a busy machine everything takes longer; only bounds grow, not waits.
SLOWER = float(os.environ.get("VGPU_TEST_SLOWER", "1"))


def missing():
    """Why the stack cannot be started from this build folder, or None."""
    for part in (VGPU_RUN, MEDIATOR, EXECUTOR, LIBCUDA, LIBNVML, PROGRAMS / "worker"):
        if not part.exists():
            return f"{part} is not built"
    return None


def backend_missing(backend):
    """Why a backend cannot work on this host, or None."""
    if backend == "native" or backend == "cuda":
        code = ("import ctypes,sys\n"
                "try: c=ctypes.CDLL('libcuda.so.1')\n"
                "except OSError: sys.exit(3)\n"
                "sys.exit(0 if c.cuInit(0)==0 else 4)\n")
        status = subprocess.run([sys.executable, "-c", code], check=False, env=clean_environment()).returncode
        return {0: None, 3: "this host has no NVIDIA driver"}.get(status, "the NVIDIA driver here finds no GPU")
    return module_missing(backend)


def module_missing(*backends):
    """Why executors here could not load these backends' modules, or None. A build may have come from another host."""
    for backend in backends:
        module = BUILD / "executor" / "backends" / backend / f"vgpu-backend-{backend}.so"
        if not module.exists():
            return f"{module} is not built"
        told = subprocess.run(["ldd", str(module)], check=False, capture_output=True, text=True).stdout
        lacking = [line.split()[0] for line in told.splitlines() if line.endswith("not found")]
        if lacking:
            return f"this host lacks {', '.join(lacking)}, which {module.name} needs"
    return None


def clean_environment(backend=None, extra=None):
    env = {k: v for k, v in os.environ.items() if k not in ("VGPU_SOCKET", "VGPU_HOST_LIBCUDA")}
    if backend in ("cpu", "null") or "VGPU_HOST_LIBCUDA" in (extra or {}):
        env.pop("CUDA_VISIBLE_DEVICES", None)  # it may name a GPU of this host, which such a device is not
    env["VGPU_SOURCE"] = str(SOURCE)
    if backend:
        env["VGPU_TEST_BACKEND"] = backend
    env.update(extra or {})
    return env


@dataclasses.dataclass
class Result:
    status: int
    out: str
    err: str
    seconds: float

    def failures(self):
        return "\n".join(line for line in self.out.splitlines()
                         if line.startswith(("not ok", "Bail out!")) or line.startswith("error"))

    def told(self):
        """Everything needed to understand a failure."""
        return f"status {self.status} after {self.seconds:.2f} s\n{self.failures() or self.out[-1500:]}\n{self.err[-1500:]}"


def run_command(command, timeout, env=None):
    """Runs to the end, kills the whole process group after the timeout (then the status is 'timeout')."""
    started = time.monotonic()
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
                          errors="replace", start_new_session=True) as child:
        try:
            out, err = child.communicate(timeout=timeout * SLOWER)
            status = child.returncode
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            out, err = child.communicate()
            status, err = "timeout", err + "\n(killed at the time limit)"
    return Result(status, out, err, time.monotonic() - started)


def run_program(backend, name, *args, timeout=60, options=(), env=None):
    """An e2e program natively or through a private mediator of its own."""
    command = [PROGRAMS / name, *args]
    if backend != "native":
        command = [VGPU_RUN, "--private", "--backend", backend, *options, "--", *command]
    return run_command(command, timeout, clean_environment(backend, env))


class Client:
    """A client program running in the background; its lines are collected as they come."""

    def __init__(self, command, env):
        self.child = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      text=True, errors="replace", env=env, start_new_session=True)
        self.pid = self.child.pid
        self.lines = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.child.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def wait_line(self, start, timeout=20):
        """The first line that starts so; fails with everything said when none comes."""
        until = time.monotonic() + timeout * SLOWER
        with self._changed:
            while True:
                for line in self.lines:
                    if line.startswith(start):
                        return line
                left = until - time.monotonic()
                if left <= 0 or (self.child.poll() is not None and not self._reader.is_alive()):
                    raise AssertionError(f"no line '{start}'; it said: {self.lines[-10:]}, status {self.child.poll()}")
                self._changed.wait(min(left, 0.2))

    def wait(self, timeout=20):
        try:
            status = self.child.wait(timeout * SLOWER)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s; it said: {self.lines[-10:]}") from None
        self._reader.join(5)
        return status

    def kill(self, number=signal.SIGKILL):
        if self.child.poll() is None:
            os.kill(self.pid, number)

    def close(self):
        if self.child.poll() is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.child.wait()
        self._reader.join(5)
        self.child.stdout.close()


class Mediator:
    """A mediator of this test's own; a context manager that leaves nothing behind."""

    def __init__(self, backend, settings=(), env=None):
        self.backend = backend
        self.folder = tempfile.mkdtemp(prefix="vgpu-e2e-")
        self.socket = os.path.join(self.folder, "m.sock")
        self.clients = []
        self.environments = 0
        command = [str(MEDIATOR), "--backend", backend, "--executor", str(EXECUTOR)]
        for setting in (f"paths.socket={self.socket}", f"paths.run_directory={self.folder}/run", "log.level=warning",
                        "executor.warm=0", "adopt.wait=1s", *self.own_settings(), *settings):
            command += ["--set", setting]
        self.command, self.env = command, clean_environment(None, env)
        self.log = open(os.path.join(self.folder, "log"), "w+", encoding="utf-8", errors="replace")
        self.begin()

    def own_settings(self):
        """Settings that need the folder; for subclasses."""
        return ()

    def begin(self):
        """Starts the daemon; once more for one that has ended."""
        self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                      env=self.env, start_new_session=True)
        self.pid = self.child.pid

    def __enter__(self):
        until = time.monotonic() + 10 * SLOWER
        while not self.listens():
            if self.child.poll() is not None or time.monotonic() > until:
                said = self.said()
                self.close()
                raise AssertionError(f"the mediator does not start: {said}")
            time.sleep(0.01)
        return self

    def listens(self):
        """The socket's file is there a moment before somebody listens at it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            return s.connect_ex(self.socket) == 0

    def __exit__(self, *_):
        self.close()

    def said(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8", errors="replace") as f:
            return f.read()[-3000:]

    def client(self, *command, options=()):
        """Starts a client as a tenant of its own. Commands are e2e programs by name, or paths."""
        first = command[0] if os.path.isabs(str(command[0])) else PROGRAMS / command[0]
        client = Client([VGPU_RUN, "--socket", self.socket, *options, "--", first, *command[1:]],
                        clean_environment(self.backend))
        self.clients.append(client)
        return client

    def tenant(self, *options):
        """The environment of a new tenant: several programs can be started in it."""
        path = os.path.join(self.folder, f"env{self.environments}")
        self.environments += 1
        holder = Client([VGPU_RUN, "--socket", self.socket, *options, "--", "/bin/sh", "-c",
                         'env -0 >"$1.part" && mv "$1.part" "$1" && exec sleep 600', "sh", path], clean_environment(self.backend))
        self.clients.append(holder)
        until = time.monotonic() + 10 * SLOWER
        while not os.path.exists(path):
            assert time.monotonic() < until, f"no tenant: {holder.lines} {self.said()}"
            time.sleep(0.01)
        with open(path, encoding="utf-8") as f:
            return dict(pair.split("=", 1) for pair in f.read().split("\0") if "=" in pair)

    def inside(self, environment, name, *args):
        """Starts a program in a tenant made by tenant(): its pid is the client's own."""
        client = Client([PROGRAMS / name, *args], environment)
        self.clients.append(client)
        return client

    def executors(self):
        """Pids of the executors: processes that run its program and descend from the mediator, or did."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
                with open(f"/proc/{pid}/stat", "rb") as f:
                    fields = f.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if words and words[0].endswith(b"vgpu-executor") and fields[0] != b"Z" and int(fields[1]) == self.pid:
                found.append(int(pid))
        return found

    def wait_executors(self, count, timeout=1.0):
        """Waits until so many are left; the time it took."""
        started = time.monotonic()
        while len(self.executors()) != count:
            took = time.monotonic() - started
            assert took < timeout * SLOWER, f"{len(self.executors())} executors after {took:.1f} s, expected {count}"
            time.sleep(0.01)
        return time.monotonic() - started

    def alive(self):
        return self.child.poll() is None

    def close(self):
        for client in self.clients:
            client.close()
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(5 * SLOWER)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.child.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
