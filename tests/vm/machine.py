# SPDX-License-Identifier: Apache-2.0
"""Starts and watches virtual machines for the tests: a stub for a tenant's socket, QEMU, and the agent in the guest
(agent.c) that runs commands there. Mediators are those of the end-to-end tests (tests/e2e/stack.py).

Everything lives in a temporary folder of its own. What the host side holds is read from /proc, not asked of the parts
under test.
"""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest

for _suite in ("integration", "e2e"):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / _suite))
import stack  # noqa: E402  (found through the lines above)

SOURCE = stack.SOURCE
SCRIPTS = SOURCE / "scripts" / "vm"
VM = pathlib.Path(os.environ.get("VGPU_VM_DIR", SOURCE / "build-vm"))
STUB = stack.BUILD / "stub" / "vgpu-stub"
INITRD = VM / f"initramfs-{stack.BUILD.name}.cpio"
# Where test_deaths.py counts, of pytest's configuration.
TALLY = pytest.StashKey()
# A guest is translated, or shares its host with others: bounds only.
SLOWER = stack.SLOWER * 2


def missing():
    """Why no machine can be started here, or None."""
    which = subprocess.run([SCRIPTS / "run-guest", "--which"], capture_output=True, text=True, check=False)
    if which.returncode:
        return which.stderr.strip() or "scripts/vm/run-guest does not work here"
    if not (VM / "kernel" / "version").exists():
        return "no guest kernel: ./dev setup --vm gets one"
    if not (stack.BUILD / "tests/vm/vm-agent").exists():
        return f"{stack.BUILD} is not built"
    return None


def missing_device():
    """Why no guest can have a vgpu, or None."""
    if not STUB.exists():
        return f"{STUB} is not built"
    if not (VM / "kmod" / "vgpu.ko").exists():
        return "vgpu.ko is not built: ./dev vm says why"
    return None


def make_module():
    """Builds vgpu.ko for the guest's kernel. Why that cannot be done on this machine, or None; what does not build is an error."""
    made = subprocess.run([SCRIPTS / "make-module"], capture_output=True, text=True, check=False)
    assert made.returncode in (0, 77), made.stderr
    return made.stderr.strip() if made.returncode else None


def make_image(output=INITRD, *more):
    """A guest's file system of what was built just now, and more files ("FILE:PATH")."""
    subprocess.run([SCRIPTS / "make-initramfs", "--build", stack.BUILD, "--output", output, *more], check=True, stdout=subprocess.DEVNULL)


def header_folders():
    """The folders of kernel headers that scripts/vm fetched."""
    return sorted(f for f in VM.glob("kbuild*/usr/src/linux-headers-*-amd64") if (f / "Makefile").exists())


def complaints(text):
    """The lines of a kernel's messages that say that something is wrong with it."""
    return [line for line in text.splitlines() if re.search(r"\bBUG\b|WARNING|Oops|Call Trace|cut here|\bleak", line)]


def wait_for(condition, seconds, what):
    """Polls until the condition holds; its value. `what` may be a function that tells more."""
    until = time.monotonic() + seconds * SLOWER
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds * SLOWER:.0f} s: {what() if callable(what) else what}")
        time.sleep(0.02)


def connect(path, seconds, alive):
    """Connects to a socket that a starting process listens on soon."""
    until = time.monotonic() + seconds * SLOWER
    while True:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            s.connect(str(path))
            return s
        except OSError as e:
            s.close()
            why = alive()
            if why or time.monotonic() > until:
                raise AssertionError(f"{path}: {e}; {why}") from None
        time.sleep(0.02)


def fds_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory_of(pid):
    """Bytes in memory of its own (files and memory that others share are not counted)."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return sum(int(line.split()[1]) << 10 for line in f if line.startswith("Private_Dirty"))


class Stub:
    """A vgpu-stub: one tenant's device for one machine."""

    def __init__(self, tenant_socket, *options):
        self.folder = tempfile.mkdtemp(prefix="vgpu-vm-")
        self.socket = os.path.join(self.folder, "s.sock")
        self.log_path = os.path.join(self.folder, "stub.log")
        self.command = [STUB, "--socket", self.socket, "--tenant-socket", tenant_socket, "--log", "info", *options]
        self.start()

    def start(self):
        """Also anew, for a next machine or a vgpu that is plugged in again."""
        with open(self.log_path, "ab") as log:
            begin = log.tell()
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=stack.clean_environment(), start_new_session=True)
        self.pid = self.child.pid
        wait_for(lambda: "ready:" in self.said(begin) or self.child.poll() is not None, 10, "the stub's socket")
        assert self.child.poll() is None, self.said()

    def said(self, begin=0):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            f.seek(begin)
            return f.read()[-3000:]

    def alive(self):
        return self.child.poll() is None

    def kill(self):
        self.child.kill()
        self.child.wait()

    def close(self):
        if self.alive():
            self.child.terminate()
            try:
                self.child.wait(5 * SLOWER)
            except subprocess.TimeoutExpired:
                self.kill()
        self.child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Machine:
    """A tenant of a mediator with a stub and a guest; a context manager that leaves nothing behind. What tests of
    process mode say of a client holds for a program in the guest."""

    making_tenants = threading.Lock()

    def __init__(self, mediator, *options, socket=None, stub_options=(), nvidia=False, **guest):
        """socket: of a VM of the inventory, in place of a tenant of its own. nvidia: the guest also has the second device of
        that personality, as 0000:02:00.0."""
        self.mediator = mediator
        with self.making_tenants:
            self.tenant_socket = socket or mediator.tenant(*options)["VGPU_SOCKET"]
        self.stub = Stub(self.tenant_socket, *stub_options, *(["--personality", "nvidia"] if nvidia else []))
        try:
            self.guest = Guest(self.stub, *([f"{self.stub.socket}.nvidia"] if nvidia else []), **guest)
        except BaseException:
            self.stub.close()
            raise

    def program(self, command, timeout=120):
        """Runs one of the end-to-end programs in the guest."""
        return self.guest.run(command, timeout, VGPU_TEST_BACKEND=self.mediator.backend)

    def works(self):
        """A program computes what it should."""
        result = self.program("worker turns 20")
        assert result.status == 0, f"{result.told()}{self.said()}"

    def said(self):
        return f"{self.guest.said()}\n-- stub: {self.stub.said()}\n-- mediator: {self.mediator.said()}"

    def close(self):
        self.guest.close()
        self.stub.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Command:
    """A shell command that runs in a guest."""

    def __init__(self, guest, number):
        self.guest, self.number, self.status = guest, number, None
        self.out, self.err = b"", b""
        self.started = time.monotonic()

    def lines(self):
        return self.out.decode(errors="replace").splitlines()

    def wait_line(self, start, timeout=20):
        """The first line it wrote that begins so."""
        def found():
            line = next((x for x in self.lines() if x.startswith(start)), None)
            assert line is not None or self.status is None, self.result().told()
            return line
        return self.guest.until(found, timeout, lambda: f"line '{start}'; it said {self.lines()[-10:]} {self.err[-500:]}")

    def wait(self, timeout=60):
        try:
            self.guest.until(lambda: self.status is not None, timeout, "the end of a command")
        except TimeoutError:
            self.kill()
            self.guest.until(lambda: self.status is not None, 10, lambda: f"the end of a killed command; {self.guest.said()}")
            self.status = "timeout"
        return self.result()

    def result(self):
        return stack.Result(self.status, self.out.decode(errors="replace"), self.err.decode(errors="replace"),
                            time.monotonic() - self.started)

    def kill(self):
        self.guest.tell(f"kill {self.number}")


class Guest:
    """A running machine; a context manager that leaves nothing behind."""

    def __init__(self, *stubs, initrd=INITRD, memory="512M", cpus=1, append="", share=None, options=()):
        self.folder = tempfile.mkdtemp(prefix="vgpu-vm-")
        self.commands, self.changed, self.boots = {}, threading.Condition(), 0
        command = [SCRIPTS / "run-guest", "--memory", memory, "--cpus", str(cpus), "--agent", self.path("agent"),
                   "--qmp", self.path("qmp"), "--console", self.path("console"), "--initrd", initrd, "--append", f"vgpu.test {append}"]
        if share:
            command += ["--share", share]
        for stub in stubs:
            command += ["--socket", getattr(stub, "socket", stub)]
        self.log = open(self.path("log"), "wb")
        self.child = subprocess.Popen([str(c) for c in [*command, *options]], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                      start_new_session=True)
        self.pid = self.child.pid
        self.port = self.control = None
        try:
            self.port = connect(self.path("agent"), 10, self.ended)
            self.reader = threading.Thread(target=self.read, daemon=True)
            self.reader.start()
            self.wait_boot(1)
        except BaseException:
            self.close()
            raise

    def path(self, name):
        return os.path.join(self.folder, name)

    def ended(self):
        return None if self.child.poll() is None else f"QEMU ended with {self.child.returncode}: {self.said()}"

    def alive(self):
        return self.child.poll() is None

    def said(self):
        """The end of the console and of what QEMU wrote."""
        text = ""
        for name in ("console", "log"):
            try:
                with open(self.path(name), encoding="utf-8", errors="replace") as f:
                    text += f"\n-- {name}: {f.read()[-2500:]}"
            except FileNotFoundError:
                pass
        return text

    def qemu_said(self):
        """All that QEMU itself wrote."""
        with open(self.path("log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def panicked(self):
        """Whether the guest's kernel has given up. It stays as it is then, to be looked at."""
        try:
            with open(self.path("console"), "rb") as f:
                return b"Kernel panic" in f.read()
        except FileNotFoundError:
            return False

    def until(self, condition, timeout, what):
        """Waits for what the agent says; TimeoutError, or AssertionError when the machine has ended."""
        limit = time.monotonic() + timeout * SLOWER
        with self.changed:
            while not (value := condition()):
                assert self.alive() and not self.panicked(), self.ended() or self.said()
                if time.monotonic() > limit:
                    raise TimeoutError(f"not within {timeout * SLOWER:.0f} s: {what() if callable(what) else what}{self.said()}")
                self.changed.wait(0.2)
        return value

    def wait_boot(self, count, timeout=40):
        self.until(lambda: self.boots >= count, timeout, f"boot {count} of the guest")

    def read(self):
        """The agent's messages, in a thread."""
        with self.port.makefile("rb") as stream:
            try:
                while line := stream.readline():
                    self.message(line.decode(errors="replace").split(), stream)
            except (OSError, ValueError):
                pass

    def message(self, words, stream):
        if words == ["ready"]:
            with self.changed:
                # Commands of the machine's last life have ended with it.
                for command in self.commands.values():
                    command.status = "gone" if command.status is None else command.status
                self.boots += 1
                self.changed.notify_all()
        elif len(words) == 3 and words[0] in ("out", "err", "end"):
            command, number = self.commands.get(int(words[1])), int(words[2])
            data = stream.read(number) if words[0] != "end" else b""
            with self.changed:
                if command and words[0] == "end":
                    command.status = number
                elif command:
                    setattr(command, words[0], getattr(command, words[0]) + data)
                self.changed.notify_all()

    def tell(self, line):
        self.port.sendall(line.encode() + b"\n")

    def start(self, command, **environment):
        words = "".join(f"{k}='{v}' " for k, v in environment.items())
        assert "\n" not in command + words
        number = len(self.commands) + 1
        self.commands[number] = Command(self, number)
        self.tell(f"run {number} {'export ' + words + '; ' if words else ''}{command}")
        return self.commands[number]

    def run(self, command, timeout=60, **environment):
        return self.start(command, **environment).wait(timeout)

    def check(self, command, timeout=60, **environment):
        """As run, for what must succeed; what it wrote."""
        result = self.run(command, timeout, **environment)
        assert result.status == 0, f"{command}: {result.told()}{self.said()}"
        return result.out

    def qmp(self, command, **arguments):
        """One command of QEMU's control protocol; its answer. Events are put into self.events."""
        if not self.control:
            self.control = connect(self.path("qmp"), 10, self.ended).makefile("rwb")
            self.events = []
            json.loads(self.control.readline())
            self.qmp("qmp_capabilities")
        self.control.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        self.control.flush()
        while True:
            line = self.control.readline()
            assert line, f"QEMU closed its control socket: {self.ended()}"
            answer = json.loads(line)
            if "event" in answer:
                self.events.append(answer)
                continue
            assert "return" in answer, f"{command} {arguments}: {answer}"
            return answer["return"]

    def wait_event(self, name, timeout=10):
        """Until it has come, since the last one that was waited for."""
        def seen():
            self.qmp("query-status")
            found = [e for e in self.events if e["event"] == name]
            self.events = [e for e in self.events if e not in found]
            return found
        return wait_for(seen, timeout, lambda: f"event {name}; {self.events} {self.said()}")

    def plug(self, socket_path, port=0):
        """Plugs a vgpu in behind that port; run-guest names them so."""
        self.qmp("device_add", driver="vfio-user-pci", id=f"vgpu{port}", bus=f"port{port}", socket={"type": "unix", "path": socket_path})

    def unplug(self, port=0, timeout=60):
        """Asks the guest to give its vgpu back, and waits until it did (native hotplug takes its five seconds)."""
        self.qmp("device_del", id=f"vgpu{port}")
        self.wait_event("DEVICE_DELETED", timeout)

    def wait_node(self):
        """Until the guest's driver has a vgpu."""
        self.check("for i in $(seq 100); do [ -c /dev/vgpu0 ] && exit 0; sleep 0.2; done; exit 1", timeout=120)

    def wake_when_asleep(self):
        wait_for(lambda: self.qmp("query-status")["status"] == "suspended", 60, self.said)
        self.qmp("system_wakeup")

    def reboot(self):
        count = self.boots
        self.start("reboot -f")
        self.wait_boot(count + 1)

    def kill(self):
        self.child.kill()
        self.child.wait()

    def close(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.child.wait()
        for s in (self.control, self.port, self.log):
            if s:
                s.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
