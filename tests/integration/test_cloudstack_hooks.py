# SPDX-License-Identifier: Apache-2.0
"""The hooks of a CloudStack host: run as the agent and libvirt run them, against a server that keeps slots as the mediator's
API does."""
import contextlib
import json
import os
import pathlib
import socket
import stat
import subprocess
import tempfile
import xml.etree.ElementTree as ET

import admin
import fake_api
import pytest

HOOKS = pathlib.Path(os.environ.get("VGPU_SOURCE", ".")).absolute() / "packaging/cloudstack"
TRANSFORMER, STATE_CHANGE = HOOKS / "libvirt-vm-xml-transformer.sh", HOOKS / "libvirt-vm-state-change.sh"
QEMU_HOOK = HOOKS / "qemu.d/50-vgpu"
VM, VM2 = "6f1c4ae2-52a5-4d5c-8a45-0d2f7d6a1b9e", "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
SLOT, SLOT2, FOREIGN = (f"0a1b2c3d-0000-4000-8000-{n:012x}" for n in (1, 2, 3))
QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"
ELSEWHERE = ["start", "started", "reconnect", "attach", "migrate", "restore"]


def mdev(uuid):
    return f"<hostdev mode='subsystem' type='mdev' model='vfio-pci' display='off'><source><address uuid='{uuid}'/></source></hostdev>"


def domain(*devices, vm=VM, name="i-2-33-VM", more="", machine="pc"):
    return f"""<domain type='kvm'>
<name>{name}</name>
<uuid>{vm}</uuid>
<description>Debian &lt;12&gt; é</description>
<memory>4194304</memory>
<os><type arch='x86_64' machine='{machine}'>hvm</type></os>
<devices>
<emulator>/usr/bin/qemu-system-x86_64</emulator>
{"".join(d + chr(10) for d in devices)}<graphics type='vnc' passwd="it's a &quot;secret&quot; $HOME `id` \\n"/>
</devices>
{more}</domain>
"""


def arguments(*values):
    return (f"<qemu:commandline xmlns:qemu='{QEMU[1:-1]}'>" +
            "".join(f"<qemu:arg value='{v}'/>" for v in values) + "</qemu:commandline>")


def device_of(path, number=0):
    return json.dumps({"driver": "vfio-user-pci", "id": f"vgpu{number}", "bus": "pci.0", "addr": "0x1e",
                       "socket": {"type": "unix", "path": str(path)}}, separators=(",", ":"))


class Host:
    """Slots as the mediator keeps them, stubs' sockets that come with a reservation or with systemctl, and the hooks."""

    def __init__(self, directory, server):
        self.directory, self.server, self.owners, self.sockets, self.units = directory, server, {}, {}, True
        self.names, self.lie, self.by_hand, self.nvidia = {}, None, False, ""
        server.answers[("GET", "/v1/vgpus")] = lambda *_: self.list()
        for slot in (SLOT, SLOT2):
            self.owners[slot] = None
            server.answers[("POST", f"/v1/vgpus/{slot}/reserve")] = lambda _, asked, slot=slot: self.reserve(slot, asked[2])
            server.answers[("POST", f"/v1/vgpus/{slot}/release")] = lambda _, asked, slot=slot: self.release(slot, asked[2])
        bin_ = directory / "bin"
        bin_.mkdir()
        (bin_ / "vgpu-admin").symlink_to(admin.ADMIN)
        self.systemctl(f"""echo "$@" >>{directory}/units
vm=${{2#vgpu-stub@}}
[ "$1" != stop ] || rm -f {directory}/${{vm%%-*}}.sock.stub""")
        self.env = admin.environment(server.place, PATH=f"{bin_}:/usr/bin:/bin", VGPU_CLOUDSTACK_SETTINGS=f"{directory}/none")

    def systemctl(self, text):
        program = self.directory / "bin/systemctl"
        program.write_text(f"#!/bin/sh\necho noise; echo noise >&2\n{text}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def unit_calls(self):
        path = self.directory / "units"
        return path.read_text().split("\n")[:-1] if path.exists() else []

    def list(self):
        return {"vgpus": [{"vgpu": s, "profile": "quarter", "memory": 1, "vm": vm, "name": self.names.get(vm),
                           "state": "reserved" if vm else "free"} for s, vm in self.owners.items()]}

    def path_of(self, vm):
        return self.directory / f"{vm[:8]}.sock.stub"

    def reserve(self, slot, body):
        if set(body) != {"vm", "name"}:
            return fake_api.Problem(400, "field", "unknown fields")
        if self.owners[slot] not in (None, body["vm"]):
            return fake_api.Problem(409, "state", f"the vGPU {slot} is reserved for \x1b another")
        self.owners[slot] = body["vm"]
        self.names[body["vm"]] = body["name"]
        if self.units and not self.path_of(body["vm"]).exists():
            self.listen(self.path_of(body["vm"]))
        return self.lie or {"vgpu": slot, "vm": body["vm"], "name": body["name"], "socket": str(self.path_of(body["vm"])),
                            "nvidia_socket": f"{self.path_of(body['vm'])}{self.nvidia}" if self.nvidia else None, "state": "reserved"}

    def listen(self, path):
        self.sockets[path] = socket.socket(socket.AF_UNIX)
        self.sockets[path].bind(str(path))
        self.sockets[path].listen()

    def release(self, slot, body):
        if self.owners[slot] == body["vm"] and not self.by_hand:
            self.owners[slot] = None
        return {"vgpu": slot, "vm": self.owners[slot], "state": "free"}

    def asked(self):
        return [(method, path) for method, path, _ in self.server.asked]

    def run(self, *argv, xml="", env=None):
        return subprocess.run([str(a) for a in argv], input=xml, capture_output=True, text=True, timeout=40, check=False,
                              env={**self.env, **(env or {})})

    def transform(self, xml, **env):
        """As the agent does: the XML is an argument."""
        return self.run(TRANSFORMER, "transform", xml, env=env)

    def step(self, operation, xml, name="i-2-33-VM"):
        """As libvirt does."""
        return self.run(QEMU_HOOK, name, operation, "begin", "-", xml=xml)

    def close(self):
        for s in self.sockets.values():
            s.close()


@pytest.fixture
def host():
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory, fake_api.serving({}) as server, \
            contextlib.closing(Host(pathlib.Path(directory), server)) as h:
        yield h


@pytest.fixture
def alone():
    """Without a mediator."""
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory, fake_api.serving({}) as server:
        h = Host(pathlib.Path(directory), server)
        h.env["VGPU_ADMIN_SOCKET"] = f"{directory}/nobody.sock"
        yield h
        assert not server.asked


def fails_closed(result, text):
    assert (result.returncode, result.stdout) == (1, ""), result
    assert text in result.stderr and "\x1b" not in result.stderr, result.stderr


def devices(xml):
    """The arguments for QEMU that are JSON devices."""
    args = [a.get("value") for a in ET.fromstring(xml).iter(QEMU + "arg")]
    assert args[::2] == ["-device"] * (len(args) // 2)
    return [json.loads(a) for a in args[1::2]]


# ---- transform

def test_a_vm_gets_its_vgpu(host):
    before = domain(mdev(SLOT))
    r = host.transform(before)
    assert (r.returncode, r.stderr) == (0, "")
    root = ET.fromstring(r.stdout)
    assert devices(r.stdout) == [{"driver": "vfio-user-pci", "id": "vgpu0", "bus": "pci.0", "addr": "0x1e",
                                  "socket": {"type": "unix", "path": str(host.path_of(VM))}}]
    assert not root.findall(".//hostdev") and SLOT not in r.stdout
    assert root.find("memoryBacking/source").get("type") == "memfd" and root.find("memoryBacking/access").get("mode") == "shared"
    assert host.owners[SLOT] == VM and host.owners[SLOT2] is None and host.names[VM] == "i-2-33-VM"
    # Everything else is as it was.
    root.remove(root.find("memoryBacking"))
    root.remove(root.find(QEMU + "commandline"))
    was = ET.fromstring(before)
    was.find("devices").remove(was.find("devices/hostdev"))

    def plain(r):
        return ET.canonicalize(ET.tostring(r, encoding="unicode"), strip_text=True)
    assert plain(root) == plain(was)


def test_a_vm_of_the_nvidia_personality_gets_two_devices(host):
    host.nvidia = ".nvidia"
    once = host.transform(domain(mdev(SLOT)))
    assert [(d["id"], d["addr"], d["socket"]["path"]) for d in devices(once.stdout)] == [
        ("vgpu0", "0x1e", str(host.path_of(VM))), ("vgpu1", "0x1d", f"{host.path_of(VM)}.nvidia")]
    again = host.transform(once.stdout)
    assert (again.returncode, again.stdout, again.stderr) == (0, once.stdout, "")
    assert host.step("prepare", once.stdout).returncode == 0
    # Which it must still be when it starts, and a path that is none is not taken.
    host.nvidia = ""
    r = host.step("prepare", once.stdout)
    assert r.returncode and "no vGPU with the socket" in r.stderr and ".nvidia" in r.stderr
    host.nvidia = 108 * "x"
    fails_closed(host.transform(domain(mdev(SLOT))), "names no socket")


def test_twice_is_once(host):
    once = host.transform(domain(mdev(SLOT))).stdout
    r = host.transform(once)
    assert (r.returncode, r.stdout, r.stderr) == (0, once, "")
    # The agent may ask again with the same XML as before, too: it tried to start and could not.
    assert host.transform(domain(mdev(SLOT))).stdout == once


def test_q35_and_emulator(host):
    r = host.transform(domain(mdev(SLOT), machine="pc-q35-8.2"), VGPU_CLOUDSTACK_EMULATOR="/opt/vgpu/qemu")
    assert devices(r.stdout)[0]["bus"] == "pcie.0"
    assert ET.fromstring(r.stdout).find("devices/emulator").text == "/opt/vgpu/qemu"
    settings = host.directory / "settings"
    settings.write_text("VGPU_CLOUDSTACK_EMULATOR='/opt/other/qemu'\n")
    r = host.transform(domain(mdev(SLOT)), VGPU_CLOUDSTACK_SETTINGS=str(settings))
    assert ET.fromstring(r.stdout).find("devices/emulator").text == "/opt/other/qemu"


@pytest.mark.parametrize("xml", [domain(), domain(more=arguments("-device", "virtio-rng-pci")), "<domain/>",
                                 domain("<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0' "
                                        "bus='0x17' slot='0x0' function='0x0'/></source></hostdev>"),
                                 "<?xml version='1.0'?>\n\n<domain >\t</domain >\n\n<!-- é -->\n"])
def test_without_a_vgpu_nothing_is_changed_or_asked(alone, xml):
    r = alone.transform(xml)
    assert (r.returncode, r.stdout, r.stderr) == (0, xml, "")
    assert alone.step("prepare", xml).returncode == 0 and alone.step("release", xml).returncode == 0


def test_somebody_elses_mediated_device_stays(host):
    xml = domain(mdev(FOREIGN))
    assert host.transform(xml).stdout == xml
    assert host.step("prepare", xml).returncode == 0
    assert set(host.asked()) == {("GET", "/v1/vgpus")}
    both = host.transform(domain(mdev(FOREIGN), mdev(SLOT))).stdout
    assert [a.get("uuid") for a in ET.fromstring(both).iter("address")] == [FOREIGN]


def test_the_slot_is_another_vms(host):
    host.transform(domain(mdev(SLOT), vm=VM2, name="i-2-99-VM"))
    fails_closed(host.transform(domain(mdev(SLOT))), f"is that of the VM i-2-99-VM ({VM2})")
    # It became so after we looked: the mediator says so, and its words are harmless.
    host.server.answers[("GET", "/v1/vgpus")] = {"vgpus": [{"vgpu": SLOT, "vm": None}]}
    fails_closed(host.transform(domain(mdev(SLOT))), "is reserved for \\x1b another")
    assert host.owners[SLOT] == VM2


def test_what_is_reserved_is_given_back_when_it_fails(host):
    fails_closed(host.transform(domain(mdev(SLOT), mdev(SLOT2))), "a VM can have one vGPU")
    assert host.owners == {SLOT: None, SLOT2: None}
    assert host.unit_calls() == [f"stop vgpu-stub@{VM}.service"]
    fails_closed(host.transform(domain(mdev(SLOT), mdev(SLOT))), "twice")
    assert host.owners == {SLOT: None, SLOT2: None}
    fails_closed(host.transform(domain(mdev(SLOT), machine="microvm")), "microvm")
    assert host.owners == {SLOT: None, SLOT2: None}
    host.owners[SLOT] = VM  # by a try before this one
    fails_closed(host.transform(domain(mdev(SLOT), machine="microvm")), "microvm")
    assert host.owners[SLOT] == VM


def test_two_vgpus_where_each_has_a_stub(host):
    host.path_of = lambda vm: host.directory / f"{len([s for s in host.owners.values() if s])}.sock.stub"
    found = devices(host.transform(domain(mdev(SLOT), mdev(SLOT2))).stdout)
    assert [(d["id"], d["addr"], d["socket"]["path"][-11:]) for d in found] == [
        ("vgpu0", "0x1e", "/1.sock.stub"[1:]), ("vgpu1", "0x1d", "/2.sock.stub"[1:])]


def test_the_stub_is_started_by_systemd(host):
    host.units = False
    path = host.path_of(VM)
    host.systemctl(f"""echo "$@" >>{host.directory}/units
python3 -c 'import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1])' {path}""")
    r = host.transform(domain(mdev(SLOT)))
    assert (r.returncode, r.stderr) == (0, "") and devices(r.stdout)[0]["socket"]["path"] == str(path)
    assert host.unit_calls() == [f"start vgpu-stub@{VM}.service"]


def test_a_stub_that_does_not_start(host):
    host.units = False
    host.systemctl("exit 3")
    fails_closed(host.transform(domain(mdev(SLOT))), f"systemctl start vgpu-stub@{VM} failed")
    assert host.owners[SLOT] is None


@pytest.mark.parametrize("answer", [
    {"vm": VM2, "socket": "/x"}, {"vm": VM}, {"vm": VM, "socket": "x"}, {"vm": VM, "socket": "/" + 108 * "x"},
    (200, "text/plain", "hello"), (200, "application/json", "[]"), (500, "text/html", "<html>"),
])
def test_answers_that_are_none(host, answer):
    host.lie = answer
    fails_closed(host.transform(domain(mdev(SLOT))), "mediator")


def test_no_mediator(alone):
    fails_closed(alone.transform(domain(mdev(SLOT))), "there is no socket")
    fails_closed(alone.transform(domain(more=arguments("-device", device_of("/run/vgpu-stub/x.sock")))), "there is no socket")
    fails_closed(alone.step("prepare", domain(mdev(SLOT))), "cannot be told")
    assert alone.step("release", domain(mdev(SLOT))).returncode == 0


@pytest.mark.parametrize("xml, text", [
    ("", "not XML"), ("hello", "not XML"), (domain() + domain(), "not XML"),
    (f"<domains>{domain()}</domains>", "no domain"),
    ("<!DOCTYPE domain [<!ENTITY a 'b'>]>" + domain(mdev(SLOT)), "document type"),
    (domain(mdev(SLOT), more=arguments("-device", "vfio-user-pci,socket.path=/x")), "not vgpu"),
    (domain(mdev(SLOT), more="<uuid>" + VM2 + "</uuid>"), "two elements"),
    (domain(mdev(SLOT)).replace(f"<uuid>{VM}</uuid>", ""), "no uuid"),
    (domain(more=f"<title>{66000 * 'x'}</title>"), "65536"),
    (domain(mdev(SLOT), more=f"<title>{65000 * 'x'}</title>"), "65536"),
])
def test_what_is_not_as_it_should_be(host, xml, text):
    fails_closed(host.transform(xml), text)
    assert host.owners == {SLOT: None, SLOT2: None}


def test_more_than_an_argument_can_be(host):
    fails_closed(host.run(admin.ADMIN, "cloudstack", "transform", xml=domain(more=f"<title>{131072 * 'x'}</title>")), "131071")
    fails_closed(host.run(TRANSFORMER, "onStart", "x"), "no method")


def test_a_socket_that_is_not_ones_own(host):
    mine = host.transform(domain(mdev(SLOT))).stdout
    theirs = mine.replace(VM, VM2)
    for check in (host.transform, lambda x: host.step("prepare", x)):
        fails_closed(check(theirs), "is reserved for this VM")
        fails_closed(check(domain(more=arguments("-device", device_of(host.path_of(VM)), "-device",
                                                 device_of(host.path_of(VM), 1)))), "is reserved for this VM")
        fails_closed(check(domain(more=arguments("-chardev", "socket,id=a,path=/run/vgpu-stub/x.sock"))), "not vgpu")
    assert host.owners[SLOT] == VM


# ---- libvirt's hook

def test_guard(host):
    xml = domain(mdev(SLOT))
    fails_closed(host.step("prepare", xml), f"the vGPU {SLOT} was not prepared: it is free")
    after = host.transform(xml).stdout
    r = host.step("prepare", after)
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")
    fails_closed(host.step("prepare", xml), "did not finish")
    fails_closed(host.step("prepare", domain(mdev(SLOT), vm=VM2)), "is that of the VM i-2-33-VM")
    host.owners[SLOT] = None  # it expired
    fails_closed(host.step("prepare", after), "is reserved for this VM")
    bridge = ("<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0x00' slot='0x00' "
              "function='0x0'/></source></hostdev>")
    fails_closed(host.step("prepare", domain(bridge)), "0000:00:00.0")
    fails_closed(host.step("prepare", ""), "not XML")


def test_a_host_without_vgpu_admin(host):
    host.env["PATH"] = "/usr/bin:/bin"
    assert host.step("prepare", domain("")).returncode == 0
    assert host.step("prepare", domain(mdev(SLOT))).returncode == 1
    assert host.step("release", domain(mdev(SLOT))).returncode == 0


@pytest.mark.parametrize("operation", ["release", "stopped"])
def test_release(host, operation):
    after = host.transform(domain(mdev(SLOT))).stdout
    host.transform(domain(mdev(SLOT2), vm=VM2, name="i-2-99-VM"))
    assert host.step(operation, after.replace(VM, FOREIGN)).returncode == 0
    assert host.owners == {SLOT: VM, SLOT2: VM2}
    assert host.path_of(VM).exists()
    for _ in range(2):
        r = host.step(operation, after)
        assert (r.returncode, r.stdout, r.stderr) == (0, "", "")
        assert host.owners == {SLOT: None, SLOT2: VM2}
    assert host.unit_calls().count(f"stop vgpu-stub@{VM}.service") == 1 and not host.path_of(VM).exists()
    assert f"stop vgpu-stub@{VM2}.service" not in host.unit_calls() and host.path_of(VM2).exists()


def test_what_an_operator_assigned_stays(host):
    after = host.transform(domain(mdev(SLOT))).stdout
    host.by_hand = True
    r = host.step("release", after)
    assert (r.returncode, r.stderr) == (0, "") and host.owners[SLOT] == VM
    assert not host.unit_calls() and host.path_of(VM).exists()


def test_release_when_the_mediator_fails(host):
    after = host.transform(domain(mdev(SLOT))).stdout
    host.server.answers[("POST", f"/v1/vgpus/{SLOT}/release")] = fake_api.Problem(503, "busy", "not now")
    r = host.step("stopped", after)
    assert (r.returncode, r.stdout) == (0, "") and "not now" in r.stderr
    assert not host.unit_calls()


def test_release_of_a_vm_that_never_started(host):
    """Its XML is that with the mediated device: what the agent made of ours was lost."""
    host.transform(domain(mdev(SLOT)))
    assert host.step("release", domain(mdev(SLOT))).returncode == 0
    assert host.owners[SLOT] is None


def test_elsewhere_nothing_fails(host):
    after = host.transform(domain(mdev(SLOT))).stdout
    n = len(host.server.asked)
    for operation in ELSEWHERE:
        for xml in (after, domain(mdev(SLOT)), domain(more=arguments("-device", "vfio-user-pci")), "garbage"):
            r = host.step(operation, xml)
            assert (r.returncode, r.stdout, r.stderr) == (0, "", ""), operation
            direct = host.run(admin.ADMIN, "cloudstack", "libvirt-hook", "x", operation, "begin", "-", xml=xml)
            assert (direct.returncode, direct.stdout, direct.stderr) == (0, "", "")
    assert len(host.server.asked) == n and host.owners[SLOT] == VM
    for operation in ("release", "stopped"):
        assert host.step(operation, "garbage").returncode == 0
    broken = host.directory / "broken"
    broken.write_text("if (\n")
    for operation, status in (("reconnect", 0), ("stopped", 0), ("release", 0), ("prepare", 1)):
        r = host.run(QEMU_HOOK, "x", operation, "begin", "-", xml=after, env={"VGPU_CLOUDSTACK_SETTINGS": str(broken)})
        assert r.returncode == status, operation


# ---- hints

def test_hints_say_nothing_and_never_fail(host):
    host.transform(domain(mdev(SLOT)))
    owners, n = dict(host.owners), len(host.server.asked)
    for argv in (("onStart", "i-2-33-VM"), ("onStop", "i-2-34-VM"), ("onStop", "-x"), ("onStop", ""), ("other", "x")):
        r = host.run(STATE_CHANGE, *argv)
        assert (r.returncode, r.stdout, r.stderr) == (0, "", ""), argv
    assert host.owners == owners and set(host.asked()[n:]) == {("GET", "/v1/vgpus")}
    for hint in ("on-start", "on-stop"):  # without a mediator
        r = host.run(admin.ADMIN, "cloudstack", hint, "i-2-33-VM", env={"VGPU_ADMIN_SOCKET": "/nobody"})
        assert (r.returncode, r.stdout, r.stderr) == (0, "", "")


def test_a_stop_gives_back_what_never_started(host):
    host.transform(domain(mdev(SLOT)))
    assert host.run(STATE_CHANGE, "onStop", "i-2-33-VM").returncode == 0
    assert host.owners[SLOT] is None and host.unit_calls() == [f"stop vgpu-stub@{VM}.service"]


@pytest.mark.parametrize("state", ["starting", "running", "releasing"])
def test_but_not_what_a_qemu_is_or_was_connected_for(host, state):
    """The stop failed, or the mediator sees the end by itself."""
    host.transform(domain(mdev(SLOT)))
    host.server.answers[("GET", "/v1/vgpus")] = {"vgpus": [{**host.list()["vgpus"][0], "state": state}]}
    host.run(STATE_CHANGE, "onStop", "i-2-33-VM")
    assert host.owners[SLOT] == VM and not host.unit_calls()


def test_nor_what_is_an_operators(host):
    host.transform(domain(mdev(SLOT)))
    host.by_hand = True
    host.run(STATE_CHANGE, "onStop", "i-2-33-VM")
    assert host.owners[SLOT] == VM and not host.unit_calls()


def test_hooks_are_programs():
    for hook in (TRANSFORMER, STATE_CHANGE, QEMU_HOOK):
        assert os.access(hook, os.X_OK) and hook.read_text(encoding="utf-8").startswith("#!/bin/sh\n")
