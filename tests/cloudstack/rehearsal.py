#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A cloud on one machine, from a service offering to a VM whose program runs on its vGPU, and back: a host of its own (libvirtd.py)
with a mediator and libvirtd, our hooks as `vgpu-admin cloudstack install` puts them there, the agent's part (below), and an API server
(region.py). Nothing of the machine's is changed. As root:

    tests/cloudstack/rehearsal.py [--backend cpu|cuda|null] [--vms N] [--accel tcg|kvm]

Each step is said with what it showed; the first that goes wrong ends it with status 1. 77: it cannot run here."""
import argparse
import contextlib
import csv
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]
import cloudstack_server  # noqa: E402  (these are found through the line above)
import libvirtd  # noqa: E402
import machine  # noqa: E402
import region  # noqa: E402

PATIENCE = 120  # s, for a guest to boot and its programs to end
KINDS = {"tcg": "qemu", "kvm": "kvm"}
PROGRAM = HERE / "rehearsal-guest"
DISCOVERY = "/etc/cloudstack/agent/gpudiscovery.sh"
CONFIGURATION = """[cloudstack]
url = {url}
apikey = {key}
secretkey = {secret}
host = kvm1
wait_ms = 50

[card]
deviceid = 2330
devicename = GH100 [H100]

[offering {profile}]
name = gpu.{profile}
cpunumber = 1
cpuspeed = 2000
memory = 512
"""


class Wrong(Exception):
    """A step did not show what it should."""


class Agent:
    """What CloudStack's agent does on this host when the management server asks."""

    def __init__(self, host, image, words):
        self.host, self.image, self.words = host, image, words

    def discover(self):
        answer = json.loads(self.host.ok(DISCOVERY))
        return {v["mdev_uuid"]: (v["profile_name"], v["used_by_vm"]) for gpu in answer["gpus"] for v in gpu["vgpu_instances"]}

    def start(self, row, slots):
        boot = libvirtd.KERNEL.format(machine.VM / "kernel/vmlinux", self.image, f"{libvirtd.WORDS} {self.words}")
        made = self.host.start(self.of(row, memory=row["offering"]["memory"] << 10, boot=boot), *slots, paused=False)
        if made.returncode:
            raise OSError(made.stderr.strip())

    def stop(self, row):
        self.host.stop(self.of(row))

    @staticmethod
    def of(row, **domain):
        vm = libvirtd.Vm(**domain)
        vm.name, vm.uuid = row["instancename"], row["id"]
        return vm

    def console(self, row):
        file = self.host.console(self.of(row))
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


class Rehearsal:
    def __init__(self, host, cloud, folder, options, say):
        self.host, self.cloud, self.options, self.say = host, cloud, options, say
        self.config = pathlib.Path(folder) / "cloudstack.conf"
        self.user = region.User(cloud.url)

    def step(self, what, shown=""):
        self.say(f"ok: {what}" + (f": {shown}" if shown else ""))

    def must(self, truth, what):
        if not truth:
            raise Wrong(what)

    def vgpu_admin(self, *words):
        """On the host, as its operator says it."""
        self.say(f"$ vgpu-admin {' '.join(map(str, words))}")
        return self.host.ok("vgpu-admin", *words)

    def cloudstack(self, *words):
        return self.vgpu_admin("cloudstack", *words, f"--config={self.config}")

    def owners(self):
        """By vGPU: its state and the instance that has it."""
        return {slot: (row["state"], row["name"]) for slot, row in self.host.slots().items()}

    # ---- the steps

    def prepare(self):
        self.config.touch(mode=0o600)
        self.config.write_text(CONFIGURATION.format(url=self.cloud.url, key=cloudstack_server.KEY, secret=cloudstack_server.SECRET,
                                                    profile=libvirtd.PROFILE))
        self.say(self.vgpu_admin("cloudstack", "install", f"--from={libvirtd.HOOKS}").rstrip())
        self.host.restart_libvirtd()
        self.vgpu_admin("slot", "partition", f"{libvirtd.PROFILE}={self.options.vms}")
        self.must(len(self.owners()) == self.options.vms, "the partition has other vGPUs")
        self.cloud.connect("kvm1", self.agent)
        states = [d["state"] for d in self.cloud.devices]
        self.must(states == ["Free"] * self.options.vms, f"devices are {states}")
        self.step("the agent connected, and its discovery made devices", f"{len(states)} Free")

    def offer(self):
        self.cloudstack("setup")
        changes = self.cloud.changes()
        self.cloudstack("setup")
        self.must(self.cloud.changes() == changes, "setup changed something the second time")
        self.offering, = self.user.ask("listServiceOfferings")["serviceoffering"]
        self.step("offering, and again nothing to do", f"{self.offering['name']} of profile {libvirtd.PROFILE}")

    def deploy(self):
        """All at once."""
        names = [f"web{n}" for n in range(self.options.vms)]
        jobs = [self.user.ask("deployVirtualMachine", serviceofferingid=self.offering["id"], name=n)["jobid"] for n in names]
        self.vms = [self.user.wait(job) for job in jobs]
        self.must([vm["state"] for vm in self.vms] == ["Running"] * len(names), f"deployed: {self.vms}")
        taken = sorted(name for _, name in self.owners().values())
        self.must(taken == sorted(vm["instancename"] for vm in self.vms), f"the mediator's owners are {self.owners()}")
        self.step(f"{len(names)} VMs deployed", ", ".join(vm["instancename"] for vm in self.vms))

    def compute(self):
        """The guests' programs ran on their vGPUs."""
        for vm in self.vms:
            machine.wait_for(lambda vm=vm: "rehearsal: done" in self.agent.console(vm) or "Kernel panic" in self.agent.console(vm),
                             PATIENCE, lambda vm=vm: f"the guest's programs; {self.agent.console(vm)[-2000:]} {self.host.said('mediator')}")
            lines = [line for line in self.agent.console(vm).splitlines() if line.startswith("rehearsal: ")]
            self.must("rehearsal: program ended with 0" in lines, f"{vm['instancename']}: {self.agent.console(vm)[-2000:]}")
            self.step(f"a CUDA program ran in {vm['instancename']}", "; ".join(x[len("rehearsal: "):] for x in lines[:-2]))

    def look(self):
        self.cloud.discoverGpuDevices({"id": self.cloud.hosts[0]["id"]})
        held = {d["virtualmachineid"]: d["state"] for d in self.cloud.devices if "virtualmachineid" in d}
        self.must(held == {vm["id"]: "Allocated" for vm in self.vms}, f"after discovery: {self.cloud.devices}")
        self.cloudstack("reconcile")
        self.say(self.cloudstack("status").rstrip())
        self.step("CloudStack and the mediator agree about who has what")

    def refuse(self):
        """One more than there are vGPUs; and one whose device CloudStack would hand out a second time, were its books wrong."""
        with self.refusal() as text:
            self.user.do("deployVirtualMachine", serviceofferingid=self.offering["id"], name="one too many")
        self.step("one more VM is refused by CloudStack", text())
        device, first = self.cloud.devices[0], dict(self.cloud.devices[0])
        self.cloud.free(device)
        with self.refusal() as text:
            self.user.do("deployVirtualMachine", serviceofferingid=self.offering["id"], name="double")
        self.must("was not prepared" in text(), text())
        self.must(all(state in ("starting", "running") for state, _ in self.owners().values()), f"{self.owners()}")
        device.update(first)
        self.step("were its books wrong, by libvirt's hook", text())

    @contextlib.contextmanager
    def refusal(self):
        said = []
        try:
            yield lambda: said[0]
        except OSError as e:
            said.append(str(e))
        self.must(said, "a VM was deployed without a vGPU for it")

    def bill(self):
        def rows():
            text = self.host.ok("vgpu-admin", "cloudstack", "usage", "--csv", f"--config={self.config}")
            return [r for r in csv.DictReader(io.StringIO(text)) if int(r["launches"])]

        machine.wait_for(lambda: len(rows()) == len(self.vms), 30, lambda: f"usage of every VM: {rows()}")
        self.say(self.cloudstack("usage").rstrip())
        self.must({r["vm"] for r in rows()} == {vm["id"] for vm in self.vms}, f"usage: {rows()}")
        self.step("usage", ", ".join(f"{r['name']} of {r['account']}: {r['launches']} launches, {int(r['gpu_ns']) / 1e6:.1f} ms" for r in rows()))

    def end(self):
        first, *others = self.vms
        self.user.do("stopVirtualMachine", id=first["id"])
        machine.wait_for(lambda: self.owner_of(first) is None, 30, lambda: f"the stopped VM's vGPU: {self.owners()}")
        self.step(f"{first['instancename']} stopped, its vGPU is free", str(sorted(state for state, _ in self.owners().values())))
        self.user.do("startVirtualMachine", id=first["id"])
        self.must(self.owner_of(first), "a VM that was started again has no vGPU")
        self.step(f"{first['instancename']} started again, with a vGPU")
        for vm in [first, *others]:
            self.user.do("destroyVirtualMachine", id=vm["id"], expunge="true")
        machine.wait_for(lambda: set(self.owners().values()) == {("free", None)}, 30, lambda: f"all vGPUs free: {self.owners()}")
        self.cloud.discoverGpuDevices({"id": self.cloud.hosts[0]["id"]})
        self.must({d["state"] for d in self.cloud.devices} == {"Free"}, f"{self.cloud.devices}")
        self.step("all destroyed: vGPUs free in the mediator and in CloudStack")

    def owner_of(self, vm):
        return next((slot for slot, (_, name) in self.owners().items() if name == vm["instancename"]), None)

    def run(self):
        self.agent = Agent(self.host, self.options.image, "vgpu.run=/rehearsal-guest")
        for step in (self.prepare, self.offer, self.deploy, self.compute, self.look, self.refuse, self.bill, self.end):
            step()


def rehearse(options, say):
    """Raises Wrong or AssertionError at the first step that goes wrong."""
    with tempfile.TemporaryDirectory(prefix="vgpu-rehearsal-") as folder:
        options.image = pathlib.Path(folder) / "guest.cpio"
        machine.make_image(options.image, f"{PROGRAM}:/rehearsal-guest")
        with cloudstack_server.serving(cloud=region.Region()) as cloud, \
                libvirtd.Host(slots=0, settings=("store.flush=100 ms",), backend=options.backend, kind=KINDS[options.accel], hooks=False,
                              network=True) as host:
            Rehearsal(host, cloud, folder, options, say).run()


def main():
    parser = argparse.ArgumentParser(description="a cloud on one machine, from an offering to a program on a vGPU and back")
    parser.add_argument("--backend", default="cpu", choices=["cpu", "cuda", "null"])
    parser.add_argument("--vms", type=int, default=2)
    parser.add_argument("--accel", default="tcg", choices=["tcg", "kvm"])
    options = parser.parse_args()
    why = libvirtd.missing() or machine.missing_device() or machine.stack.backend_missing(options.backend)
    if why:
        print(f"cannot run here: {why}", file=sys.stderr)
        return 77
    try:
        rehearse(options, lambda text: print(text, flush=True))
    except (Wrong, AssertionError, OSError, subprocess.SubprocessError) as e:
        print(f"wrong: {e}", file=sys.stderr)
        return 1
    print(f"rehearsed with {options.vms} VMs on the {options.backend} backend: all as it should be")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
