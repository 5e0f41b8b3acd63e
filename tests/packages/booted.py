# SPDX-License-Identifier: Apache-2.0
"""A system that was started: systemd is its first process (boot.sh)."""
import os
import pathlib
import subprocess
import time

import chroot

BOOT = pathlib.Path(__file__).with_name("boot.sh")


def missing():
    """Why nothing can be started here; None if it can."""
    r = subprocess.run(["unshare", "--mount", "--cgroup", "--pid", "--fork", "sh", "-c", "mount -t cgroup2 cgroup2 /mnt"],
                       capture_output=True, text=True, check=False)
    return f"no control groups for a systemd here: {r.stderr.strip()}" if r.returncode else None


class Booted(chroot.Chroot):
    """Started and ended as often as a test wants; what is run in it runs beside its services."""

    def __init__(self, root):
        super().__init__(root)
        self.name, self.child, self.init = f"vgpu-test-{os.getpid()}", None, None

    def boot(self):
        self.child = subprocess.Popen(["unshare", "--mount", "sh", BOOT, self.root, self.name], stdin=subprocess.DEVNULL)
        until = time.monotonic() + 120
        state = ""
        while state not in ("running", "degraded"):
            assert self.child.poll() is None and time.monotonic() < until, state
            time.sleep(0.2)
            children = pathlib.Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text(encoding="ascii").split()
            if children and pathlib.Path(f"/proc/{children[0]}/comm").read_text(encoding="ascii") == "systemd\n":
                self.init = children[0]
                state = self.run("systemctl", "is-system-running").stdout.strip()

    def power_off(self):
        """As a power failure does it."""
        if not self.child:
            return
        self.child.kill()
        self.child.wait()
        self.child = self.init = None
        subprocess.run(["unshare", "--mount", "sh", "-c", 'mount -t cgroup2 cgroup2 "$0/mnt"; until rmdir "$0/mnt/$1" 2>/dev/null; do '
                        'find "$0/mnt/$1" -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null; done', self.root, self.name],
                       check=True, timeout=30)

    def words(self, *command):
        if not self.init:
            return super().words(*command)
        return ["nsenter", "--target", self.init, "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root", "--wd=/",
                *map(str, command)]

    def state(self, unit, of="ActiveState"):
        return self.done("systemctl", "show", "--value", f"--property={of}", unit).strip()

    def journal(self, unit):
        return self.done("journalctl", "--boot", "--no-pager", "--output=cat", "--unit", unit)
