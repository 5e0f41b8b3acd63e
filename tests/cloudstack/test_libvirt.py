# SPDX-License-Identifier: Apache-2.0
"""Domains as CloudStack's agent writes them, under a real libvirtd with a real QEMU: what becomes of a VM's vGPU from the agent's
XML to the VM's end, whatever ends it. What goes wrong around it: test_libvirt_failures.py."""
import concurrent.futures
import json

import libvirtd
import machine
import pytest
from libvirtd import GUARD, Guest, Vm, arguments, bootable


@pytest.fixture(scope="module")
def shared():
    why = libvirtd.missing()
    if why:
        pytest.skip(why)
    with libvirtd.Host() as h:
        yield h


@pytest.fixture
def host(shared):
    """The shared host; a test leaves it as it was."""
    yield shared
    left = shared.virsh("list", "--all", "--name").stdout.split()
    for name in left:
        shared.virsh("destroy", name)
    assert not left and all(v["state"] == "free" for v in shared.slots().values()), (left, shared.slots())
    assert not [words for words, _ in shared.processes().values()
                if words[0].endswith(("vgpu-stub", "vgpu-executor")) or str(libvirtd.EMULATOR) in words]


@pytest.fixture(scope="session")
def image():
    return libvirtd.image()


def device_of(vm, name="vgpu0"):
    """The argument for QEMU that is the VM's device, as the hook writes it."""
    return json.dumps({"driver": "vfio-user-pci", "id": name, "bus": "pci.0", "addr": "0x1e",
                       "socket": {"type": "unix", "path": f"/run/vgpu-stub/{vm.uuid}.sock"}})


@pytest.mark.parametrize("machine_type", ["pc", "q35"])
def test_from_the_agents_xml_to_the_end(host, machine_type):
    slot = list(host.slots())[0]
    vm = Vm(machine=machine_type)
    host.started(vm, slot)
    assert host.pci(vm)["vgpu0"] == 0x1e
    host.until(slot, "starting", vm)
    assert host.stub_of(vm)
    host.stop(vm)
    assert host.state(slot) == ("free", None) and not host.stub_of(vm)
    assert not host.path(f"/run/vgpu-stub/{vm.uuid}.sock").exists()


def test_reserved_before_libvirt_is_asked(host):
    slot = list(host.slots())[0]
    vm = Vm()
    xml = host.transform(host.xml(vm, slot))
    assert host.state(slot) == ("reserved", vm.name) and host.stub_of(vm) and slot not in xml
    assert host.create(vm, xml, "--paused").returncode == 0
    host.stop(vm)


def test_a_guest_from_its_first_program_to_poweroff(host, image):
    """And a reboot between: the same QEMU, the same slot."""
    slot = list(host.slots())[0]
    vm = host.started(bootable(host, image), slot, paused=False)
    host.until(slot, "starting", vm)
    guest = Guest(host, vm)
    try:
        assert "0000:00:1e.0" in guest.check("ls /sys/bus/pci/drivers/vgpu")
        works(guest)
        host.until(slot, "running", vm)
        qemu, stub = host.qemu_of(vm), host.stub_of(vm)
        guest.reboot()
        works(guest)
        assert (host.state(slot), host.qemu_of(vm), host.stub_of(vm)) == (("running", vm.name), qemu, stub)
        guest.tell("run 1000 poweroff -f")
        machine.wait_for(lambda: not host.runs(vm), 30, guest.said)
        host.until(slot, "free")
        machine.wait_for(lambda: not host.stub_of(vm), 10, "the stub's end")
    finally:
        guest.close()


def works(guest):
    result = guest.run("worker turns 20", 120, VGPU_TEST_BACKEND="cpu")
    assert result.status == 0, f"{result.told()}{guest.said()}"


def test_libvirtd_restarts_under_a_running_guest(host, image):
    slot = list(host.slots())[0]
    vm = host.started(bootable(host, image), slot, paused=False)
    guest = Guest(host, vm)
    try:
        works(guest)
        qemu, stub = host.qemu_of(vm), host.stub_of(vm)
        host.restart_libvirtd()
        assert host.runs(vm) and (host.qemu_of(vm), host.stub_of(vm)) == (qemu, stub)
        works(guest)
        assert host.state(slot) == ("running", vm.name)
        host.stop(vm)
        assert host.state(slot) == ("free", None) and not host.stub_of(vm)
    finally:
        guest.close()


def test_qemu_is_killed(host):
    slot = list(host.slots())[0]
    vm = host.started(Vm(), slot)
    host.ok("kill", "-KILL", host.qemu_of(vm))
    machine.wait_for(lambda: not host.runs(vm), 10, lambda: host.said("libvirtd"))
    host.until(slot, "free")
    machine.wait_for(lambda: not host.stub_of(vm), 10, "the stub's end")


def test_what_was_not_transformed_does_not_start(host):
    slot = list(host.slots())[0]
    vm = Vm()
    made = host.create(vm, host.xml(vm, slot))
    assert made.returncode == 1 and f"the vGPU {slot} was not prepared: it is free" in made.stderr
    assert host.state(slot) == ("free", None) and not host.runs(vm)


def test_a_uuid_that_was_taken_for_a_pci_device(host):
    bridge = ("<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0x00' slot='0x00' "
              "function='0x0'/></source></hostdev>")
    assert "0000:00:00.0: CloudStack takes a vGPU for a PCI device" in host.refused(Vm(devices=bridge))


def test_a_vm_without_a_vgpu_is_left_alone(host):
    vm = Vm()
    xml = host.xml(vm)
    assert host.transform(xml) == xml
    host.started(vm)
    host.stop(vm)


def test_eight_at_once(host):
    slots = list(host.slots())
    vms = [Vm() for _ in slots]
    with concurrent.futures.ThreadPoolExecutor(len(vms)) as pool:
        list(pool.map(host.started, vms, slots))
    assert {s: v["name"] for s, v in host.slots().items()} == {s: vm.name for s, vm in zip(slots, vms)}
    assert len({host.stub_of(vm) for vm in vms} - {None}) == len(vms)
    with concurrent.futures.ThreadPoolExecutor(len(vms)) as pool:
        list(pool.map(host.stop, vms))


def test_a_third_vm_on_two_slots(host):
    host.partition(2)
    try:
        one, two = slots = list(host.slots())
        vms = [host.started(Vm(), slot) for slot in slots]
        third = Vm()
        said = host.refused(third, one)
        assert f"the vGPU {one} was not prepared: it is that of the VM {vms[0].name} ({vms[0].uuid})" in said
        assert f"is that of the VM {vms[0].name}" in host.agent_log[-1]
        assert not host.stub_of(third) and [host.state(s) for s in (one, two)] == [("starting", vm.name) for vm in vms]
        host.stop(vms[0])
        host.started(third, one)
        host.stop(third)
        host.stop(vms[1])
    finally:
        host.partition(8)


def test_twenty_starts_leave_nothing(host):
    slot = list(host.slots())[0]
    vm = Vm()

    def counted():
        return sorted((words, fds) for words, fds in host.processes().values())

    def no_more():
        """What twenty starts leave is twenty more; libvirtd has one now and then."""
        now = counted()
        return [w for w, _ in now] == [w for w, _ in before] and all(n <= m for (_, n), (_, m) in zip(now, before))

    for turn in range(22):
        host.started(vm, slot)
        host.stop(vm)
        if turn == 1:
            before = counted()
    machine.wait_for(no_more, 10, lambda: f"{before}: {counted()}")
    assert not list(host.path("/run/vgpu-stub").iterdir()) and not list(host.path("/run/vgpu").glob("vm-*"))


HOSTILE = {
    "device": lambda vm: arguments("-device", device_of(vm)),
    "second device": lambda vm: arguments("-device", device_of(vm, "vgpu1")),
    "disguised": lambda vm: arguments("-device", device_of(vm).replace("vfio-user", "vfi\\u006f-user")),
    "chardev": lambda vm: arguments("-chardev", f"socket,id=a,path=/run/vgpu-stub/{vm.uuid}.sock"),
    "serial port": lambda vm: f"<devices><serial type='unix'><source mode='connect' path='/run/vgpu-stub/{vm.uuid}.sock'/></serial></devices>",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_domain_with_somebody_elses_socket(host, kind):
    one, two = list(host.slots())[:2]
    victim = host.started(Vm(), one)
    stub = host.stub_of(victim)
    for slots in ((), (two,)):
        said = host.refused(Vm(more=HOSTILE[kind](victim)), *slots)
        assert "reserved for this VM" in said or "not vgpu's" in said or "names a socket of vgpu" in said or "was not prepared" in said
        assert host.state(two) == ("free", None)
    assert host.stub_of(victim) == stub and host.state(one) == ("starting", victim.name)
    host.stop(victim)


def test_the_guard_is_what_refuses(host):
    """Without it the first of the domains above would reach QEMU: the tests above can fail."""
    victim = host.started(Vm(), list(host.slots())[0])
    attacker = Vm(more=arguments("-device", device_of(victim)))
    guard = host.path(f"/{GUARD}")
    guard.chmod(0o644)
    try:
        made = host.create(attacker, host.xml(attacker), "--paused")
        assert made.returncode == 1 and "vgpu-admin" not in made.stderr and "vfio-user" in made.stderr
    finally:
        guard.chmod(0o755)
    host.stop(victim)
