# SPDX-License-Identifier: Apache-2.0
"""What fails around a VM of a CloudStack host, and what becomes of the VM and its vGPU: with a real libvirtd, QEMU, mediator and
stubs. docs/cloudstack.md names the test of each failure; those that need no libvirtd are elsewhere:

discovery that is too long, hangs, or has a broken database   tests/integration/test_cloudstack_discover.py
QEMU killed, libvirtd restarted, a slot of another VM         test_libvirt.py
"""
import concurrent.futures
import contextlib
import struct

import libvirtd
import machine
import pytest
from libvirtd import GUARD, HOSTDEV, TRANSFORMER, Host, Vm, arguments



@pytest.fixture(scope="module")
def shared():
    why = libvirtd.missing()
    if why:
        pytest.skip(why)
    with Host(slots=2) as h:
        yield h


@pytest.fixture
def host(shared):
    yield shared
    for name in shared.ok("virsh", "list", "--name").split():
        shared.ok("virsh", "destroy", name)
    machine.wait_for(lambda: all(v["state"] == "free" for v in shared.slots().values()), 10, shared.slots)


@pytest.fixture
def another(shared):
    """A second host."""
    with Host(slots=2) as h:
        yield h


@pytest.fixture
def vm(host):
    """A VM that runs on the first slot."""
    return host.started(Vm(), first(host))


def first(host):
    return list(host.slots())[0]


@contextlib.contextmanager
def mediator_with(host, *settings):
    host.stop_mediator()
    host.start_mediator(*settings)
    try:
        yield
    finally:
        host.stop_mediator()
        host.start_mediator()


def lives(host, vm):
    """What must be the same before and after somebody else's failure."""
    assert host.runs(vm)
    return host.qemu_of(vm), host.stub_of(vm), host.slots()[first(host)]["vm"]


# ---- starts that fail ----

def test_no_mediator_at_the_start(host, vm):
    """It is refused with the reason, VMs that run go on, and when the mediator is back all is as it was."""
    one, two = host.slots()
    before, second = lives(host, vm), Vm()
    host.stop_mediator()
    assert "whether the VM's vGPU is prepared cannot be told" in host.refused(second, two)
    assert "there is no socket" in host.agent_log[-1]
    assert host.discover() == {one: vm.name}  # nothing that could be given away
    host.start_mediator()
    host.until(one, "starting", vm)
    assert lives(host, vm) == before and host.discover() == {one: vm.name, two: None}
    host.started(second, two)


@contextlib.contextmanager
def not_installed(host, *hooks):
    for hook in hooks:
        host.path(hook).chmod(0o644)
    try:
        yield
    finally:
        for hook in hooks:
            host.path(hook).chmod(0o755)


def test_the_agents_hook_is_not_installed(host):
    slot = first(host)
    with not_installed(host, TRANSFORMER):
        assert f"the vGPU {slot} was not prepared: it is free, so the agent's XML hook did not run" in host.refused(Vm(), slot)
    assert host.state(slot) == ("free", None)


def test_no_hook_is_installed(host):
    slot = first(host)
    with not_installed(host, TRANSFORMER, f"/{GUARD}"):
        said = host.refused(Vm(), slot)
    assert "Hook" not in said and "mediated" in said.lower(), said  # libvirt's own words
    assert host.state(slot) == ("free", None)


def test_qemu_does_not_start(host):
    slot, vm = first(host), Vm(more=arguments("-device", "no-such-device"))
    assert "no-such-device" in host.refused(vm, slot)
    assert host.state(slot) == ("free", None)
    machine.wait_for(lambda: not host.stub_of(vm), 10, "the stub's end")


def test_the_agent_dies_before_libvirt_is_asked(host):
    """The stub is there and waits; the reservation ends by itself."""
    slot, vm = first(host), Vm()
    with mediator_with(host, "slot.reserve_for=1 s"):
        xml = host.transform(host.xml(vm, slot))
        assert host.state(slot) == ("reserved", vm.name) and host.stub_of(vm)
        host.until(slot, "free")
        assert "is reserved for this VM" in host.create(vm, xml, "--paused").stderr
    host.started(vm, slot)


def test_the_slot_is_another_vms(host, vm):
    """CloudStack's list is not up to date."""
    slot, before, late = first(host), lives(host, vm), Vm()
    assert f"it is that of the VM {vm.name}" in host.refused(late, slot)
    assert lives(host, vm) == before and not host.stub_of(late)


# ---- discovery ----

def test_discovery_fails(host, vm):
    one, two = host.slots()
    before = lives(host, vm)
    hanging = host.put("/etc/vgpu/hangs.sh", "#!/bin/sh\nexec sleep 1000\n")
    killed = host.run("timeout", "-s", "KILL", "0.5", "vgpu-admin", "cloudstack", "discover", "--merge", hanging)
    assert killed.returncode and not killed.stdout
    broken = host.put("/etc/vgpu/broken.sh", "#!/bin/sh\necho 'xmlstarlet: not found'; exit 1\n")
    assert host.discover("--merge", broken) == {one: vm.name, two: None}
    host.stop_mediator()
    nothing = host.run("vgpu-admin", "cloudstack", "discover", "--store", "/nowhere/store.db")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    host.start_mediator()
    assert host.discover() == {one: vm.name, two: None} and lives(host, vm) == before


def test_a_vm_starts_while_discovery_runs(host):
    """From the moment it is reserved the owner is told, until it is free."""
    slot, vm, seen = first(host), Vm(), []
    xml = host.transform(host.xml(vm, slot))
    assert host.discover()[slot] == vm.name
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        creates = pool.submit(host.create, vm, xml, "--paused")
        while not creates.done():
            seen.append(host.discover()[slot])
    assert creates.result().returncode == 0, creates.result().stderr
    assert seen and set(seen) == {vm.name} and host.discover()[slot] == vm.name
    host.stop(vm)
    assert host.discover()[slot] is None


def test_the_agent_is_restarted(host, vm):
    """And all else that may be, one after the other: discovery tells the same owners."""
    told = host.discover()
    assert told[first(host)] == vm.name
    host.restart_libvirtd()
    assert host.discover() == told
    host.stop_mediator()
    host.start_mediator()
    assert host.discover() == told


# ---- ends ----

def test_qemu_dies_while_libvirtd_is_away(host):
    """Nobody calls a hook: the slot is free by itself, and stays so when libvirtd is back."""
    slot = first(host)
    with mediator_with(host, "slot.grace=500 ms"):
        vm = host.started(Vm(), slot)
        host.until(slot, "starting", vm)
        host.kill("libvirtd")
        host.libvirtd.wait(10)
        host.ok("kill", "-KILL", host.qemu_of(vm))
        host.until(slot, "free")
    host.start_libvirtd()
    assert not host.runs(vm) and host.state(slot) == ("free", None)


def test_libvirtd_is_killed(host, vm):
    before = lives(host, vm)
    host.kill("libvirtd")
    host.libvirtd.wait(10)
    host.start_libvirtd()
    assert lives(host, vm) == before
    host.stop(vm)
    assert host.state(first(host)) == ("free", None)


def test_the_host_crashes_and_the_vm_starts_elsewhere(another, host):
    """What was reserved is nobody's at the next boot, before libvirtd or the agent are there; what an operator assigned stays."""
    slot, by_hand = another.slots()
    vm, kept = another.started(Vm(), slot), Vm()
    another.ok("vgpu-admin", "vm", "create", kept.name, f"--uuid={kept.uuid}")
    another.ok("vgpu-admin", "slot", "assign", by_hand, kept.uuid)
    another.crash()
    here = first(host)
    host.started(vm, here)
    another.power_on()
    another.start_mediator()
    assert another.discover() == {slot: None, by_hand: kept.name}
    another.start_libvirtd()
    assert not another.runs(vm) and host.state(here) == ("starting", vm.name)
    another.started(Vm(), slot)


# ---- what a VM with a vGPU cannot do ----

def to(other):
    """The other's libvirtd, seen from any host."""
    return f"qemu+unix:///system?socket={other.folder}/run/libvirt/libvirt-sock"


def test_live_migration(another, host, vm):
    """As CloudStack asks for it: with a vGPU of the destination in the new XML. And without."""
    slot, before = first(another), lives(host, vm)
    xml = host.ok("virsh", "dumpxml", "--migratable", vm.name)
    wanted = host.put("/etc/vgpu/migrate.xml", xml.replace("</devices>", HOSTDEV.format(slot) + "</devices>"))
    refused = host.virsh("migrate", "--live", vm.name, to(another), f"unix://{another.folder}/migrate", "--xml", wanted)
    assert refused.returncode == 1 and "host device count 1 does not match source 0" in refused.stderr
    refused = host.virsh("migrate", "--live", vm.name, to(another), f"unix://{another.folder}/migrate")
    assert refused.returncode == 1 and "is reserved for this VM" in refused.stderr
    assert lives(host, vm) == before and not another.runs(vm) and another.state(slot) == ("free", None)


def empty_disk(path):
    """A qcow2 image of 64 MiB without anything in it: header, reference counts, one table."""
    page = 65536
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 16, 64 << 20, 0, 1, 3 * page, page, 1, 0, 0)
    table = struct.pack(">Q", 2 * page).ljust(page, b"\0")
    path.write_bytes(header.ljust(page, b"\0") + table + struct.pack(">4H", 1, 1, 1, 1).ljust(page, b"\0") + bytes(page))
    return f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}'/><target dev='hda' bus='ide'/></disk>"


def test_a_snapshot_with_memory(host):
    """QEMU makes it, and the VM goes on. There is no way back to it: the guard refuses, and the slot is free. libvirt 9.0 must be
    restarted before that VM starts again."""
    slot = first(host)
    vm = host.started(Vm(devices=empty_disk(host.folder / "out/disk.qcow2")), slot)
    before = lives(host, vm)
    made = host.virsh("snapshot-create-as", vm.name, "one")
    assert lives(host, vm) == before
    if made.returncode:
        return
    refused = host.virsh("snapshot-revert", vm.name, "one")
    assert refused.returncode == 1 and "is reserved for this VM" in refused.stderr
    assert not host.runs(vm) and host.state(slot) == ("free", None)
    host.restart_libvirtd()
    host.started(vm, slot)


def test_saving(host, vm):
    """Where libvirt and QEMU can do it the VM ends with it, and what was saved does not come back without its vGPU."""
    before, file = lives(host, vm), host.folder / "out/saved"
    if host.virsh("save", vm.name, file).returncode:
        assert lives(host, vm) == before
        return
    host.until(first(host), "free")
    refused = host.virsh("restore", file)
    assert refused.returncode == 1 and "is reserved for this VM" in refused.stderr


def test_a_partition_in_use(host, vm):
    one, two = host.slots()
    before = lives(host, vm)
    refused = host.run("vgpu-admin", "slot", "partition", f"{libvirtd.PROFILE}=0")
    assert refused.returncode == 1 and vm.name in refused.stderr
    assert list(host.slots()) == [one, two] and lives(host, vm) == before
    assert host.run("vgpu-admin", "slot", "delete", one, "--yes").returncode == 1
    assert host.run("vgpu-admin", "profile", "delete", libvirtd.PROFILE, "--yes").returncode == 1
    host.partition(1)  # the free one may go
    host.partition(2)
    assert list(host.slots()) == [one, two] and lives(host, vm) == before


# ---- CloudStack's API ----

def test_the_api_cannot_be_reached(host, vm):
    one, two = host.slots()
    before = lives(host, vm)
    host.put("/etc/vgpu/cloudstack.conf", "[cloudstack]\nurl = http://localhost:9/client/api\napikey = a\nsecretkey = b\ntries = 1\n"
             "[card]\ndeviceid = 2330\ndevicename = H100\n", 0o600)
    for command in ("status", "setup", "reconcile"):
        asked = host.run("vgpu-admin", "cloudstack", command)
        assert asked.returncode and "localhost:9" in asked.stderr, asked
    assert lives(host, vm) == before
    second = host.started(Vm(), two)
    host.stop(second)
    host.stop(vm)
    assert [host.state(s) for s in (one, two)] == [("free", None)] * 2
