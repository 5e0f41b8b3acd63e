# SPDX-License-Identifier: Apache-2.0
"""A KVM host: a real mediator with a database, our discovery and hooks as an installation has them, real stubs, and as much of
libvirt as starts and ends domains: its hooks in their order, and a monitor's connection to the stub in place of QEMU."""
import contextlib
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import xml.etree.ElementTree as ET

import admin
import control
import guest
import test_cloudstack_hooks
import vgpu
from test_adopt import keepers_in

PACKAGED = pathlib.Path(os.environ.get("VGPU_SOURCE", pathlib.Path(__file__).parents[2])).absolute() / "packaging/cloudstack"
DISCOVERY = PACKAGED / "gpudiscovery.sh"
HOOKS = ("libvirt-vm-xml-transformer.sh", "libvirt-vm-state-change.sh")
QEMU_HOOK = PACKAGED / "qemu.d/50-vgpu"
SETTINGS = ("--set", "profile small.memory=1G", "--set", "store.flush=100 ms")


class Refused(Exception):
    """libvirt does not start the domain."""


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


class Host:
    """Its mediator runs, with nothing in it."""

    def __init__(self, directory, agent, *args, env=None):
        self.directory, self.agent, self.args, self.mediator_env = pathlib.Path(directory), agent, args, env
        self.run, self.bin, self.hooks, self.stubs = (self.directory / name for name in ("run", "bin", "hooks", "stubs"))
        for folder in (self.run, self.bin, self.hooks, self.stubs, self.directory / "kept"):
            folder.mkdir()
        self.store, self.api, self.log = self.directory / "kept/store.db", self.run / "api.sock", self.directory / "log"
        self.domains = {}  # by name: (XML, QEMU's connection)
        for name in HOOKS:
            shutil.copy(PACKAGED / name, self.hooks / name)
        (self.bin / "vgpu-admin").symlink_to(admin.ADMIN)
        program(self.bin / "systemctl", f"""vm=${{2#vgpu-stub@}}
vm=${{vm%.service}}
case $1 in
start)
	{guest.STUB} {"--sandbox off" if "VGPU_SANITIZE" in os.environ else ""} --socket {self.stubs}/$vm.sock \\
		--tenant-socket {self.run}/vm-$vm.sock </dev/null >>{self.log} 2>&1 &
	echo $! >{self.stubs}/$vm.pid
	;;
stop)
	kill "$(cat {self.stubs}/$vm.pid)"
	while kill -0 "$(cat {self.stubs}/$vm.pid)" 2>/dev/null && [ -S {self.stubs}/$vm.sock ]; do sleep 0.02; done
	rm {self.stubs}/$vm.pid
	;;
esac""")
        # The discovery that is installed takes the database where it usually is; here it is elsewhere.
        (self.directory / "discovery").mkdir()
        program(self.directory / "discovery/vgpu-admin", f"""[ "$1 $2" = "cloudstack discover" ] || exit 9
exec {admin.ADMIN} "$@" --store {self.store}""")
        self.discovery = DISCOVERY if DISCOVERY.exists() else \
            program(self.directory / "gpudiscovery.sh", f"""set --
[ ! -x "$VGPU_CLOUDSTACK_STOCK_DISCOVERY" ] || set -- --merge "$VGPU_CLOUDSTACK_STOCK_DISCOVERY"
exec vgpu-admin cloudstack discover "$@" 2>>{self.log}""")
        self.env = {"VGPU_ADMIN_SOCKET": str(self.api), "VGPU_CLOUDSTACK_SETTINGS": "/nowhere", "LC_ALL": "C.UTF-8"}
        self.mediator = None
        self.start_mediator()

    # ---- the mediator

    def start_mediator(self):
        self.mediator = vgpu.Mediator(self.run, *SETTINGS, "--set", f"store.path={self.store}", "--set",
                                      f"slot.stub_socket={self.stubs}/VM.sock", *self.args, env=self.mediator_env)

    def is_up(self):
        return self.mediator.process.poll() is None

    def end_mediator(self, how=signal.SIGTERM):
        self.mediator.process.send_signal(how)
        code = self.mediator.process.wait(10)
        assert code == 0 or how == signal.SIGKILL, self.mediator.log()

    def control(self):
        return control.connect(self.mediator)

    def slots(self):
        """Owner's uuid and state of each vGPU."""
        with self.control() as c:
            return {v["vgpu"]: (v["vm"], v["state"]) for v in c.do("vgpu.list")["vgpus"]}

    # ---- the agent

    def discover(self, merge=None, agent=None, **kw):
        """What the agent answers; merge: another script whose list is added."""
        env = {**self.env, "PATH": f"{self.directory}/discovery:/usr/bin:/bin",
               "VGPU_CLOUDSTACK_STOCK_DISCOVERY": str(merge or "/nowhere")}
        return (agent or self.agent).discover(self.discovery, env=env, **kw)

    def hooked(self):
        return {**self.env, "PATH": f"{self.bin}:/usr/bin:/bin"}

    def transform(self, xml, **kw):
        return self.agent.transform(self.hooks, xml, env=self.hooked(), **kw)

    def start(self, name, xml):
        """From the XML that the agent made to the VM's run."""
        self.create(name, self.transform(xml)["xml"])
        self.agent.on_start(self.hooks, name, env=self.hooked())

    def stop(self, name):
        """As the agent is told to, whether there is such a domain or not."""
        if name in self.domains:
            self.end(name)
        self.agent.on_stop(self.hooks, name, env=self.hooked())

    # ---- libvirt

    def step(self, name, operation, xml):
        r = subprocess.run([QEMU_HOOK, name, operation, "begin", "-"], input=xml, capture_output=True, text=True, timeout=40,
                           check=False, env={**os.environ, **self.hooked()})
        return r.returncode, r.stderr

    def create(self, name, xml):
        if name in self.domains:
            raise Refused(f"the domain {name} exists")
        code, text = self.step(name, "prepare", xml)
        try:
            if code:
                raise Refused(text)
            self.domains[name] = (xml, self.qemu(xml))
        except Refused:
            self.after(name, xml)
            raise
        for operation in ("start", "started"):
            assert self.step(name, operation, xml) == (0, ""), operation

    def qemu(self, xml):
        """A monitor's connection to the domain's vGPU; None where it has none."""
        if ET.fromstring(xml).find("devices/hostdev[@type='mdev']") is not None:
            raise Refused("mediated device not found")
        devices = [d for d in test_cloudstack_hooks.devices(xml) if d["driver"] == "vfio-user-pci"]
        try:
            return guest.Monitor(devices[0]["socket"]["path"], timeout=20) if devices else None
        except (OSError, EOFError, guest.Refused) as e:
            raise Refused(f"vfio-user: {e}") from e

    def after(self, name, xml):
        for operation in ("stopped", "release"):
            code, _ = self.step(name, operation, xml)
            assert code == 0, operation

    def end(self, name):
        """QEMU ends, for whatever reason; libvirt notices."""
        xml, connection = self.domains.pop(name)
        if connection:
            connection.sock.close()
        self.after(name, xml)

    # ---- the machine

    def kill_stubs(self):
        for file in self.stubs.glob("*.pid"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(file.read_text()), signal.SIGKILL)
            file.unlink()

    def lose_power(self):
        """All programs end, nobody runs a hook, and the next start is another boot."""
        for _, connection in self.domains.values():
            if connection:
                connection.sock.close()
        self.domains.clear()
        if self.is_up():
            self.end_mediator(signal.SIGKILL)
        for pid in keepers_in(self.run):
            os.kill(pid, signal.SIGKILL)
        self.kill_stubs()
        for folder in (self.run, self.stubs):
            for file in folder.iterdir():
                if file.is_socket():
                    file.unlink()
        with contextlib.closing(sqlite3.connect(self.store)) as db:
            db.execute("UPDATE slot SET boot = 'another' WHERE boot IS NOT NULL")
            db.commit()

    def close(self):
        for _, connection in self.domains.values():
            if connection:
                connection.sock.close()
        self.kill_stubs()
        if self.is_up():
            self.mediator.process.kill()
        self.mediator.process.wait()
        for pid in keepers_in(self.run):
            os.kill(pid, signal.SIGKILL)
