# SPDX-License-Identifier: Apache-2.0
"""The hooks of a CloudStack host with a real mediator and a real stub: a VM's vGPU from its domain's XML to its end."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile

import admin
import guest
import inventory
import pytest
import vgpu
from test_cloudstack_hooks import QEMU_HOOK, STATE_CHANGE, TRANSFORMER, VM, VM2, devices, domain, fails_closed, mdev


class Machine:
    """A host whose systemctl starts and stops stubs; its mediator has one vGPU."""

    def __init__(self, directory, daemon):
        self.directory, self.pid = directory, directory / "pid"
        self.api = pathlib.Path(daemon.directory) / "api.sock"
        (directory / "bin").mkdir()
        (directory / "bin/vgpu-admin").symlink_to(admin.ADMIN)
        program = directory / "bin/systemctl"
        program.write_text(f"""#!/bin/sh
vm=${{2#vgpu-stub@}}
vm=${{vm%.service}}
case $1 in
start)
	{guest.STUB} --socket {directory}/$vm.sock --tenant-socket {daemon.directory}/vm-$vm.sock >>{directory}/log 2>&1 &
	echo $! >{self.pid}
	;;
stop)
	kill "$(cat {self.pid})"
	while kill -0 "$(cat {self.pid})" 2>/dev/null && [ -S {directory}/$vm.sock ]; do sleep 0.05; done
	;;
esac
""")
        program.chmod(0o755)
        self.env = admin.environment(self.api, PATH=f"{directory}/bin:/usr/bin:/bin", VGPU_CLOUDSTACK_SETTINGS="/nowhere")

    def run(self, *argv, xml=""):
        return subprocess.run([str(a) for a in argv], input=xml, capture_output=True, text=True, timeout=40, check=False,
                              env=self.env)

    def slots(self):
        rows = json.loads(admin.run("slot", "list", "--json", socket=self.api).stdout)["vgpus"]
        return {r["vgpu"]: (r["vm"], r["state"]) for r in rows}

    def close(self):
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(self.pid.read_text()), signal.SIGKILL)


@pytest.fixture
def machine():
    with vgpu.mediator() as plain:
        routes = admin.Tool(plain).routes()
    if "POST /v1/vgpus/{}/reserve" not in routes:
        pytest.skip("this mediator cannot reserve vGPUs")
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory, \
            inventory.daemon("--set", f"slot.stub_socket={directory}/VM.sock") as d, \
            contextlib.closing(Machine(pathlib.Path(directory), d)) as m:
        made = admin.run("slot", "create", "small", socket=m.api)
        assert made.returncode == 0, made.stderr
        yield m


def test_from_xml_to_the_end(machine):
    (slot, was), = machine.slots().items()
    assert was == (None, "free")
    before = domain(mdev(slot))
    fails_closed(machine.run(QEMU_HOOK, "i-2-33-VM", "prepare", "begin", "-", xml=before), "was not prepared: it is free")

    r = machine.run(TRANSFORMER, "transform", before)
    assert (r.returncode, r.stderr) == (0, "")
    path = machine.directory / f"{VM}.sock"
    assert [d["socket"]["path"] for d in devices(r.stdout)] == [str(path)] and path.is_socket()
    assert machine.slots()[slot][0] == VM
    assert machine.run(TRANSFORMER, "transform", r.stdout).stdout == r.stdout
    prepared = machine.run(QEMU_HOOK, "i-2-33-VM", "prepare", "begin", "-", xml=r.stdout)
    assert (prepared.returncode, prepared.stderr) == (0, "")
    assert machine.run(STATE_CHANGE, "onStart", "i-2-33-VM").returncode == 0

    # Nobody else gets it, nor in by its socket.
    fails_closed(machine.run(TRANSFORMER, "transform", domain(mdev(slot), vm=VM2)), "is that of the VM i-2-33-VM")
    stolen = machine.run(QEMU_HOOK, "i-2-34-VM", "prepare", "begin", "-", xml=r.stdout.replace(f">{VM}<", f">{VM2}<"))
    fails_closed(stolen, "is reserved for this VM")
    assert machine.slots()[slot][0] == VM

    for operation in ("stopped", "release"):
        ended = machine.run(QEMU_HOOK, "i-2-33-VM", operation, "end", "-", xml=r.stdout)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert machine.slots()[slot] == (None, "free") and not path.exists()
