# SPDX-License-Identifier: Apache-2.0
"""A mediator for the tests that restart and kill it."""
import os
import signal
import time

import stack


class Mortal(stack.Mediator):
    """A mediator that is replaced."""

    def own_settings(self):
        # Executors are known by their command line: they may be anybody's children.
        self.modules = os.path.join(self.folder, "modules")
        os.mkdir(self.modules)
        for name in ("null", "cpu", "cuda"):
            module = stack.BUILD / "executor" / "backends" / name / f"vgpu-backend-{name}.so"
            if module.exists():
                os.symlink(module, os.path.join(self.modules, module.name))
        return (f"paths.module_directory={self.modules}", "log.level=info", "adopt.wait=10s")

    def processes(self, name, word):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(name) and word(pid, words):
                found.append(int(pid))
        return found

    def executors(self):
        return self.processes(b"vgpu-executor", lambda _, words: self.modules.encode() in words)

    def keepers(self):
        path = os.path.join(self.folder, "run", "keeper.sock")
        with open("/proc/net/unix", encoding="ascii") as f:
            inodes = {f"socket:[{line.split()[6]}]" for line in f if line.rstrip().endswith(path)}

        def has(pid, _):
            try:
                return any(os.readlink(f"/proc/{pid}/fd/{fd}") in inodes for fd in ("3",))
            except OSError:
                return False
        return self.processes(b"vgpu-keeper", has)

    def ready(self, times):
        until = time.monotonic() + 20 * stack.SLOWER
        while self.all_said().count("ready: backend") < times:
            assert self.child.poll() is None and time.monotonic() < until, self.said()
            time.sleep(0.002)

    def all_said(self):
        with open(self.log.name, encoding="utf-8", errors="replace") as f:
            return f.read()

    def replace(self, how):
        times = self.all_said().count("ready: backend")
        if how == "restart":
            self.child.send_signal(signal.SIGHUP)
        else:
            self.child.send_signal(signal.SIGKILL if how == "kill" else signal.SIGUSR1)
            self.child.wait()
            self.begin()
        self.ready(times + 1)
