# SPDX-License-Identifier: Apache-2.0
"""Our hooks as CloudStack's agent runs them, on domains as it writes them, with a real mediator and a real stub: what comes out is
the domain that went in but for the vGPU; a hook that fails leaves it, and libvirt does not start it."""
import json
import signal
import xml.etree.ElementTree as ET

import host
import pytest
import vgpu
from inventory import VM1, VM2
from test_cloudstack_hooks import QEMU, arguments, devices, mdev
from test_slots import partition

NAME = "i-2-33-VM"
BUS = {"pc": "pci.0", "q35": "pcie.0"}

DISK = """<disk device='disk' type='file'>
<driver name='qemu' type='qcow2' cache='none' />
<source file='/mnt/7e1b/{file}'/>
<target dev='{dev}' bus='virtio'/>
<serial>{file}</serial>
</disk>
"""
NIC = """<interface type='bridge'>
<source bridge='cloudbr{n}'/>
<mac address='02:01:00:d1:00:0{n}'/>
<model type='virtio'/>
<link state='up'/>
</interface>
"""
UEFI = """<loader readonly='yes' secure='no' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader>
<nvram template='/usr/share/OVMF/OVMF_VARS.fd'>/var/lib/libvirt/qemu/nvram/x.fd</nvram>
"""
NUMA = """<maxMemory slots='16' unit='KiB'>8388608</maxMemory>
<vcpu current='2'>8</vcpu>
<cpu mode='host-model'><numa><cell id='0' cpus='0-7' memory='2097152' unit='KiB'/></numa></cpu>
"""
CPU = "<vcpu>2</vcpu>\n<cpu mode='host-passthrough'><topology sockets='1' cores='2' threads='1'/></cpu>\n"
HUGE = "<memoryBacking>\n  <hugepages/>\n</memoryBacking>\n"
METADATA = """<metadata>
<cs:instance xmlns:cs='http://cloudstack.apache.org/instance'><cs:name>web é &lt;1&gt;</cs:name><cs:owner account='labs' domain='ROOT/lab'/>
<cs:offering>gpu.16g</cs:offering></cs:instance>
</metadata>
"""


def domain(*gpus, machine="pc", boot="", cpu=CPU, more="", disks=1, nics=1, metadata="", vm=VM1, name=NAME):
    """As the agent writes it: elements in its order, quotes and blanks as they come."""
    return f"""<domain type='kvm'>
<name>{name}</name>
<uuid>{vm}</uuid>
<description>Debian GNU/Linux 12 (64-bit)</description>
{metadata}<clock offset='utc'>
<timer name='kvmclock' ><catchup threshold='123' slew='120' limit='10000'/></timer></clock>
<features>
<pae/>
<apic/>
<acpi/>
</features>
<devices>
<emulator>/usr/bin/qemu-system-x86_64</emulator>
{"".join(DISK.format(file=f"v{n}", dev="vd" + "abcdefgh"[n]) for n in range(disks))}{"".join(NIC.format(n=n) for n in range(nics))}\
<serial type='pty'>
<target port='0'/>
</serial>
<graphics type='vnc' autoport='yes' listen='192.0.2.7' passwd='a&amp;b&apos;c"d'/>
<watchdog model='i6300esb' action='none'/>
<memballoon model='none'/>
{"".join(mdev(g) + chr(10) for g in gpus)}</devices>
<memory unit='KiB'>2097152</memory>
{cpu}<os>
<type  arch='x86_64' machine='{machine}'>hvm</type>
{boot}<boot dev='cdrom'/>
<boot dev='hd'/>
</os>
<cputune>
<shares>256</shares>
</cputune>
<on_reboot>restart</on_reboot>
<on_poweroff>destroy</on_poweroff>
<on_crash>destroy</on_crash>
{more}</domain>
"""


SHAPES = {
    "pc": {}, "q35 and UEFI": {"machine": "q35", "boot": UEFI}, "numa and room to grow": {"cpu": NUMA},
    "many disks and NICs": {"disks": 8, "nics": 4}, "huge pages": {"more": HUGE},
    "second devices": {"more": "<devices><rng model='virtio'><backend model='random'>/dev/random</backend></rng></devices>\n"},
    "a command line": {"more": arguments("-device", json.dumps({"driver": "virtio-rng-pci"}))}, "metadata": {"metadata": METADATA},
    "all": {"machine": "pc-q35-8.2", "boot": UEFI, "cpu": NUMA, "disks": 3, "nics": 3, "more": HUGE, "metadata": METADATA},
}


@pytest.fixture
def slots(machine):
    with machine.control() as c:
        return partition(c, 2)


def rest(xml):
    """All of a domain but what our hook is to take away and to add; what of that was there."""
    root, found = ET.fromstring(xml), []

    def drop(parent, child):
        parent.remove(child)
        found.append(child.tag)

    for parent in root.findall("devices"):
        for child in parent.findall("hostdev[@type='mdev']"):
            drop(parent, child)
    for parent in root.findall("memoryBacking"):
        for child in parent.findall("source[@type='memfd']") + parent.findall("access[@mode='shared']"):
            drop(parent, child)
        if not len(parent):
            root.remove(parent)
    for cell in root.findall("cpu/numa/cell"):
        if cell.attrib.pop("memAccess", None) == "shared":
            found.append("memAccess")
    for line in root.findall(QEMU + "commandline"):
        args = line.findall(QEMU + "arg")
        if args and "vfio-user-pci" in args[-1].get("value"):
            assert args[-2].get("value") == "-device"
            line.remove(args[-2])
            drop(line, args[-1])
        if not len(line):
            root.remove(line)
    return ET.canonicalize(ET.tostring(root, "unicode"), strip_text=True, rewrite_prefixes=True), sorted(found)


def is_refused(machine, xml, text, name=NAME):
    with pytest.raises(host.Refused, match=text):
        machine.create(name, xml)
    assert not machine.domains


def mdevs(xml):
    return [a.get("uuid") for a in ET.fromstring(xml).iter("address") if a.get("uuid")]


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_else_is_changed(machine, slots, shape):
    before = domain(slots[0], **SHAPES[shape])
    a = machine.transform(before)
    assert a["ran"] == [{"hook": host.HOOKS[0], "error": None}] and mdevs(a["xml"]) == []
    (kept, taken), (same, added) = rest(before), rest(a["xml"])
    assert same == kept and taken == ["hostdev"]
    assert added == sorted(["access", "source", QEMU + "arg"] + ["memAccess"] * before.count("<cell "))
    assert devices(a["xml"])[-1]["bus"] == BUS["q35" if "q35" in before else "pc"]


@pytest.mark.parametrize("shape", SHAPES)
def test_it_starts_and_twice_is_once(machine, slots, shape):
    before = domain(slots[0], **SHAPES[shape])
    once = machine.transform(before)["xml"]
    assert machine.transform(once)["xml"] == once.rstrip("\n")
    machine.create(NAME, once)
    assert machine.slots()[slots[0]][0] == VM1
    assert machine.agent.on_start(machine.hooks, NAME, env=machine.hooked())["ran"] == [{"hook": host.HOOKS[1], "error": None}]
    machine.stop(NAME)
    assert machine.slots() == dict.fromkeys(slots, (None, "free"))


@pytest.mark.parametrize("shape", SHAPES)
def test_without_a_gpu_it_comes_out_as_it_went_in(machine, slots, shape):
    before = domain(**SHAPES[shape])
    machine.end_mediator()
    if "commandline" in before:
        before = before.replace("virtio-rng-pci", "virtio-balloon-pci")
    assert machine.transform(before)["xml"] == before.rstrip("\n")
    machine.create(NAME, before)


def test_a_count_of_two_is_refused(machine, slots):
    before = domain(*slots)
    a = machine.transform(before)
    assert a["xml"] == before and "a VM can have one vGPU" in a["ran"][0]["error"]
    is_refused(machine, before, "was not prepared: it is free")
    assert machine.slots() == dict.fromkeys(slots, (None, "free"))


# ---- ends of all kinds

@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("machine", [("--set", "slot.grace=300 ms")], indirect=True)
def test_a_vm_that_ends_while_there_is_no_mediator(machine, slots, how):
    machine.start(NAME, domain(slots[0]))
    machine.end_mediator(how)
    machine.stop(NAME)
    machine.start_mediator()
    vgpu.wait_for(lambda: machine.slots() == dict.fromkeys(slots, (None, "free")), 20, "free")


def test_a_start_that_never_got_to_libvirt(machine, slots):
    """The agent died, or libvirt does not take the domain for one: then nobody calls libvirt's hook."""
    machine.transform(domain(slots[0]))
    assert machine.slots()[slots[0]] == (VM1, "reserved")
    machine.stop("i-2-34-VM")
    assert machine.slots()[slots[0]] == (VM1, "reserved")
    machine.stop(NAME)
    assert machine.slots() == dict.fromkeys(slots, (None, "free")) and not list(machine.stubs.glob("*.sock"))


# ---- what fails is as if it were not there, and then libvirt's hook has its say

def test_no_mediator(machine, slots):
    machine.end_mediator()
    before = domain(slots[0])
    a = machine.transform(before)
    assert a["xml"] == before and "vgpu-mediator" in a["ran"][0]["error"]
    is_refused(machine, before, "cannot be told")


def test_the_vgpu_is_another_vms(machine, slots):
    machine.start("i-2-34-VM", domain(slots[0], vm=VM2, name="i-2-34-VM"))
    before = domain(slots[0])
    a = machine.transform(before)
    assert a["xml"] == before and f"is that of the VM i-2-34-VM ({VM2})" in a["ran"][0]["error"]
    with pytest.raises(host.Refused, match="is that of the VM i-2-34-VM"):
        machine.create(NAME, before)
    assert machine.slots()[slots[0]] == (VM2, "starting") and list(machine.domains) == ["i-2-34-VM"]


@pytest.mark.parametrize("how", ["missing", "not executable", "without vgpu-admin", "hangs"])
def test_a_hook_that_does_not_work(machine, slots, how):
    hook, seconds = machine.hooks / host.HOOKS[0], 30
    if how == "missing":
        hook.unlink()
    elif how == "not executable":
        hook.chmod(0o644)
    elif how == "hangs":
        host.program(hook, "exec sleep 100")
        seconds = 1
    else:
        (machine.bin / "vgpu-admin").rename(machine.bin / "elsewhere")
    before = domain(slots[0])
    a = machine.transform(before, seconds=seconds)
    assert a["xml"] == before and bool(a["ran"]) == (how != "missing")
    if how == "without vgpu-admin":
        (machine.bin / "elsewhere").rename(machine.bin / "vgpu-admin")
    is_refused(machine, before, "was not prepared: it is free")


def test_a_domain_longer_than_the_agent_takes(machine, slots):
    """Read in part it would be another domain."""
    before = domain(slots[0], metadata=f"<metadata><x xmlns='x'>{64000 * 'x'}</x></metadata>\n")
    a = machine.transform(before, seconds=10)
    assert a["xml"] == before and "65536" in a["ran"][0]["error"]
    is_refused(machine, before, "was not prepared: it is free")
    long = domain(slots[0], metadata=f"<metadata><x xmlns='x'>{131000 * 'x'}</x></metadata>\n")
    a = machine.transform(long)
    assert a["xml"] == long and a["ran"][0]["error"]
    is_refused(machine, long, "was not prepared: it is free")


def test_the_type_of_the_device_is_wrong(machine, slots):
    """Of a uuid that is taken for a PCI address the agent makes this."""
    bridge = ("<hostdev mode='subsystem' type='pci' managed='yes' display='off'><driver name='vfio'/><source>"
              "<address domain='0x0000' bus='0x00' slot='0x00' function='0x0'/></source></hostdev>")
    before = domain(more=f"<devices>{bridge}</devices>\n")
    is_refused(machine, machine.transform(before)["xml"], "type of the GPU device: MDEV")


# ---- beside an operator's hook

def groovy(machine, body):
    (machine.hooks / "libvirt-vm-xml-transformer.groovy").write_text(
        f"class Operators {{ Object transform(Object logger, String xml) {{ {body} }} }}\nnew Operators()\n", encoding="utf-8")


def test_an_operators_hook_in_groovy_goes_first(machine, slots):
    groovy(machine, "xml.replace('<on_crash>destroy', '<on_crash>preserve')")
    before = domain(slots[0])
    a = machine.transform(before)
    assert [r["hook"] for r in a["ran"]] == ["libvirt-vm-xml-transformer.groovy", host.HOOKS[0]]
    assert not any(r["error"] for r in a["ran"])
    assert mdevs(a["xml"]) == [] and len(devices(a["xml"])) == 1 and "<on_crash>preserve" in a["xml"]
    assert machine.transform(a["xml"])["xml"] == a["xml"]
    machine.create(NAME, a["xml"])


@pytest.mark.parametrize("body", ["xml", "throw new Exception('x')", "null"])
def test_one_that_changes_nothing(machine, slots, body):
    before = domain(slots[0])
    alone = machine.transform(before)["xml"]
    groovy(machine, body)
    assert machine.transform(before)["xml"] == alone


def test_one_that_breaks_the_domain(machine, slots):
    groovy(machine, "xml.replace('</domain>', '')")
    before = domain(slots[0])
    a = machine.transform(before)
    assert a["xml"] == before.replace("</domain>", "") and "not XML" in a["ran"][1]["error"]
    is_refused(machine, before, "was not prepared: it is free")


def test_arguments_come_as_they_are(machine, slots):
    """Quotes, ampersands and whatever a shell would take for its own; each value arrives in QEMU's list as it was."""
    value = "x=$HOME,y=`id`,z=\\n%s!*?[a]{{b}}~ &amp;&lt;&quot;' \té"
    a = machine.transform(domain(slots[0], more=arguments(value.replace("'", "&apos;"), "-S")))
    assert a["ran"][0]["error"] is None
    assert [e.get("value") for e in ET.fromstring(a["xml"]).iter(QEMU + "arg")][:2] == \
        [value.replace("&amp;", "&").replace("&lt;", "<").replace("&quot;", '"').replace("\t", " "), "-S"]
