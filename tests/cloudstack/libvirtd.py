# SPDX-License-Identifier: Apache-2.0
"""A CloudStack host for tests: libvirtd, QEMU, vgpu's mediator, its stubs, and the hooks where they are installed.

A host is a mount, PID and network namespace of its own. /etc, /usr/bin and /var have a layer of its own on top and /run is its own,
so nothing of the machine's is touched; when its first process is killed all of it is dead in the same moment, as after a power
failure. Commands go in by nsenter, and its files are looked at through /proc/PID/root.
"""
import contextlib
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "vm"))
import machine  # noqa: E402  (found through the line above)
import stack  # noqa: E402  (found through machine)

HOOKS = stack.SOURCE / "packaging/cloudstack"
ADMIN = stack.BUILD / "admin/vgpu-admin"
EMULATOR = machine.VM / "qemu/bin/qemu-system-x86_64"
TRANSFORMER = "/etc/cloudstack/agent/hooks/libvirt-vm-xml-transformer.sh"
STATE_CHANGE = "/etc/cloudstack/agent/hooks/libvirt-vm-state-change.sh"
GUARD = "etc/libvirt/hooks/qemu.d/50-vgpu"
LAYERS = ("etc", "usr/bin", "var")
PROFILE = "quarter"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root"}

# As in a container: nothing confines QEMU, and nobody starts virtlogd.
QEMU_CONF = """security_driver = "none"
cgroup_controllers = []
namespaces = []
user = "root"
group = "root"
stdio_handler = "file"
"""
LIBVIRTD_CONF = """auth_unix_rw = "none"
auth_unix_ro = "none"
log_outputs = "2:stderr"
"""
# systemd does not run here: what it does for vgpu-stub@VM.service, as far as the hooks know it.
SYSTEMCTL = f"""#!/bin/sh
vm=${{2#vgpu-stub@}}
vm=${{vm%.service}}
pid=/run/units/$vm
alive() {{ [ -e "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null; }}
case $1 in
start)
	! alive || exit 0
	{machine.STUB} --socket /run/vgpu-stub/$vm.sock --tenant-socket /run/vgpu/vm-$vm.sock --log info </dev/null >/run/units/log.$vm 2>&1 &
	echo $! >"$pid"
	until grep -q ready: /run/units/log.$vm; do kill -0 $! || exit 1; sleep 0.02; done
	;;
stop)
	! alive || kill "$(cat "$pid")"
	while alive; do sleep 0.02; done
	rm -f "$pid"
	;;
esac
"""
# The first process of a host: the parent of all whose own has ended.
INIT = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
while True:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
    signal.sigwait([signal.SIGCHLD])
"""
DOMAIN = """<domain type='{kind}'>
<name>{name}</name>
<uuid>{uuid}</uuid>
<description>Debian GNU/Linux 12 (64-bit)</description>
<metadata><cloudstack:instance xmlns:cloudstack='http://cloudstack.apache.org/instance'>
<cloudstack:name>{name}</cloudstack:name>
</cloudstack:instance></metadata>
<memory>{memory}</memory>
<devices>
<emulator>/usr/bin/qemu-system-x86_64</emulator>
<memballoon model='none'/>
<serial type='file'><source path='{console}'/><target port='0'/></serial>
{devices}
</devices>
<vcpu current='1'>1</vcpu>
<os><type arch='x86_64' machine='{machine}'>hvm</type>{boot}</os>
<features><pae/><apic/><acpi/></features>
<clock offset='utc'/>
<on_reboot>restart</on_reboot>
<on_poweroff>destroy</on_poweroff>
<on_crash>destroy</on_crash>
{more}</domain>
"""
HOSTDEV = "<hostdev mode='subsystem' type='mdev' model='vfio-pci' display='off'><source><address uuid='{}'/></source></hostdev>"
AGENT_PORT = "<serial type='unix'><source mode='bind' path='{}'/><target port='1'/></serial>"
KERNEL = "<kernel>{}</kernel><initrd>{}</initrd><cmdline>{}</cmdline>"
WORDS = ("console=ttyS0 quiet panic=0 oops=panic tsc=reliable no_timer_check random.trust_cpu=on nokaslr mitigations=off "
         "cryptomgr.notests vgpu.test")


def arguments(*values):
    return ("<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>" +
            "".join(f"<qemu:arg value='{v}'/>" for v in values) + "</qemu:commandline>")


@functools.cache
def missing():
    """Why no host can be made here, or None."""
    if os.geteuid() != 0:
        return "a host needs namespaces and mounts: only root can make them"
    for program in ("libvirtd", "virsh", "unshare", "nsenter", "setpriv"):
        if not shutil.which(program, path=PATH):
            return f"no {program} here: apt-get install libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients"
    if not EMULATOR.exists():
        return f"no {EMULATOR}: ./dev setup --vm gets a QEMU with vfio-user-pci"
    why = machine.missing() or (None if machine.STUB.exists() and ADMIN.exists() else f"{stack.BUILD} is not built")
    return why or cannot_layer()


@functools.cache
def image():
    """A guest's file system of what was built just now; skips where there is none with a vgpu."""
    why = machine.missing() or machine.make_module() or machine.missing_device()
    if why:
        pytest.skip(why)
    machine.make_image()
    return machine.INITRD


def cannot_layer():
    """Why namespaces or layered mounts cannot be made on this machine (most containers), or None."""
    with tempfile.TemporaryDirectory(prefix="vgpu-host-") as folder:
        os.makedirs(f"{folder}/upper")
        os.makedirs(f"{folder}/work")
        tried = subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc", "mount", "-t", "overlay", "-o",
                                f"lowerdir=/etc,upperdir={folder}/upper,workdir={folder}/work", "overlay", "/etc"],
                               capture_output=True, text=True, check=False)
    return f"no host of its own can be made here: {tried.stderr.strip()}" if tried.returncode else None


class Vm:
    """What CloudStack knows of a virtual machine. `domain` are fields of DOMAIN."""

    numbers = iter(range(1, 1 << 20))

    def __init__(self, **domain):
        self.name, self.uuid, self.domain = f"i-2-{next(self.numbers)}-VM", str(uuid.uuid4()), domain

    def __repr__(self):
        return self.name


class Host:
    """One host; a context manager that leaves nothing behind. `settings` are the mediator's; `kind` is the domains' (qemu is
    translated, kvm not); hooks: they are installed; network: the machine's, not one of its own."""

    def __init__(self, slots=8, settings=(), backend="cpu", kind="qemu", hooks=True, network=False):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="vgpu-host-"))
        self.settings, self.backend, self.kind, self.agent_log, self.child = settings, backend, kind, [], None
        self.namespaces = ["--mount", "--pid", *([] if network else ["--net"])]
        for layer in LAYERS:
            (self.folder / layer).mkdir(parents=True)
            (self.folder / "aside" / layer).mkdir(parents=True)
        (self.folder / "out").mkdir()
        self.install()
        if hooks:
            self.install_hooks()
        try:
            self.boot()
            self.partition(slots)
        except BaseException:
            self.close()
            raise

    # ---- what is installed ----

    def install(self):
        """Before it is there; its layers are folders still."""
        def put(path, text, mode=0o644):
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            file.chmod(mode)

        put("etc/machine-id", uuid.uuid4().hex + "\n")
        put("etc/libvirt/qemu.conf", QEMU_CONF)
        put("etc/libvirt/libvirtd.conf", f'host_uuid = "{uuid.uuid4()}"\n{LIBVIRTD_CONF}')
        put("etc/vgpu/cloudstack-hooks.env", f"VGPU_CLOUDSTACK_EMULATOR={EMULATOR}\n")
        put("usr/bin/systemctl", SYSTEMCTL, 0o755)
        put("usr/bin/vgpu-admin", f'#!/bin/sh\nexec {ADMIN} "$@"\n', 0o755)
        put("usr/bin/qemu-system-x86_64", f'#!/bin/sh\nexec {EMULATOR} "$@"\n', 0o755)
        (self.folder / "var/lib/vgpu").mkdir(parents=True)

    def install_hooks(self):
        """As into an image."""
        subprocess.run([ADMIN, "cloudstack", "install", f"--root={self.folder}", f"--from={HOOKS}"], check=True, capture_output=True,
                       timeout=20 * machine.SLOWER)

    # ---- the host's life ----

    def boot(self):
        """What systemd does, in its order."""
        self.power_on()
        self.start_mediator()
        self.start_libvirtd()

    def power_on(self):
        """A new boot id and an empty /run; nothing runs yet."""
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        for part in ("vgpu", "vgpu-stub", "units", "lock"):
            (self.folder / "run" / part).mkdir(parents=True)
        (self.folder / "boot_id").write_text(f"{uuid.uuid4()}\n", encoding="ascii")
        mounts = "".join(f"mount -t overlay -o lowerdir=/{x},upperdir={self.folder}/{x},workdir={self.folder}/aside/{x} overlay /{x}\n"
                         for x in LAYERS)
        script = f"""set -e
{mounts}mount --bind {self.folder}/run /run
mount --bind {self.folder}/boot_id /proc/sys/kernel/random/boot_id
{"ip link set lo up" if "--net" in self.namespaces else ""}
touch /run/booted
exec python3 -c '{INIT}'"""
        # Whatever becomes of the tests' process, the host ends with it.
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", *self.namespaces, "--fork", "--kill-child", "--mount-proc", "sh", "-c",
                   script]
        with self.log("init") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=ENVIRONMENT)
        machine.wait_for(lambda: (self.folder / "run/booted").exists() or self.child.poll() is not None, 10, "namespaces and mounts")
        assert self.child.poll() is None, self.said("init")
        self.pid = int(pathlib.Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text(encoding="ascii"))
        self.mediator = self.libvirtd = None

    def crash(self):
        """Power off: everything of the host is dead in the same moment."""
        self.child.kill()
        self.child.wait()
        machine.wait_for(lambda: not os.path.exists(f"/proc/{self.pid}"), 10, "the end of the host's processes")
        for process in (self.mediator, self.libvirtd):
            if process:
                process.wait(10)

    def close(self):
        if self.child and self.child.poll() is None:
            self.crash()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- commands ----

    def inside(self, *argv):
        return ["nsenter", f"--target={self.pid}", *self.namespaces, "--", *map(str, argv)]

    def run(self, *argv, text=None, timeout=60):
        return subprocess.run(self.inside(*argv), input=text, stdin=None if text is not None else subprocess.DEVNULL, capture_output=True,
                              text=True, env=ENVIRONMENT, check=False, timeout=timeout * machine.SLOWER)

    def ok(self, *argv, **kw):
        r = self.run(*argv, **kw)
        assert r.returncode == 0, f"{argv}: {r.stdout}{r.stderr}{self.said('libvirtd')}"
        return r.stdout

    def log(self, name):
        return open(self.folder / "out" / name, "ab")

    def said(self, *names):
        return "".join(f"\n-- {n}: {(self.folder / 'out' / n).read_text(encoding='utf-8', errors='replace')[-3000:]}" for n in names)

    def spawn(self, name, *argv):
        with self.log(name) as log:
            return subprocess.Popen(self.inside(*argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT, start_new_session=True)

    def path(self, path):
        """A file of the host, seen from outside."""
        return pathlib.Path(f"/proc/{self.pid}/root{path}")

    def put(self, path, text, mode=0o755):
        """Its path; a file of the host that runs."""
        self.path(path).write_text(text, encoding="utf-8")
        self.path(path).chmod(mode)
        return path

    # ---- its daemons ----

    def start_mediator(self, *settings):
        words = ["--backend", self.backend, "--executor", stack.EXECUTOR]
        for s in (f"profile {PROFILE}.memory=64M", "store.path=/var/lib/vgpu/store.db", "executor.warm=0", "log.level=info", *self.settings,
                  *settings):
            words += ["--set", s]
        self.mediator = self.spawn("mediator", stack.MEDIATOR, *words)
        machine.wait_for(lambda: self.run("vgpu-admin", "status").returncode == 0, 10, lambda: self.said("mediator"))

    def stop_mediator(self):
        self.kill(stack.MEDIATOR, "TERM")
        self.mediator.wait(10 * machine.SLOWER)

    def start_libvirtd(self):
        self.libvirtd = self.spawn("libvirtd", "libvirtd")
        machine.wait_for(lambda: self.virsh("list").returncode == 0, 20, lambda: self.said("libvirtd"))

    def restart_libvirtd(self):
        self.kill("libvirtd", "TERM")
        self.libvirtd.wait(10 * machine.SLOWER)
        self.start_libvirtd()

    # ---- its processes ----

    def processes(self):
        """{pid in the host: (command line, number of file descriptors)}."""
        found = {}
        for pid in filter(str.isdigit, os.listdir(self.path("/proc"))):
            with contextlib.suppress(OSError):
                words = self.path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
                if words != [""]:
                    found[int(pid)] = words, len(os.listdir(self.path(f"/proc/{pid}/fd")))
        return found

    def kill(self, what, signal="KILL"):
        """The one process whose command line has that word."""
        pids = [pid for pid, (words, _) in self.processes().items() if str(what) in words]
        assert len(pids) == 1, (what, self.processes())
        self.ok("kill", f"-{signal}", pids[0])

    # ---- vgpu ----

    def admin(self, *words):
        return json.loads(self.ok("vgpu-admin", *words, "--json"))

    def partition(self, count):
        self.ok("vgpu-admin", "slot", "partition", f"{PROFILE}={count}")

    def slots(self):
        """{vGPU: its row}, in the order of their numbers."""
        return {v["vgpu"]: v for v in sorted(self.admin("slot", "list")["vgpus"], key=lambda v: v["number"])}

    def state(self, slot):
        row = self.slots()[slot]
        return row["state"], row["name"]

    def discover(self, *words):
        """As CloudStack's agent is told: {vGPU: the instance that has it, or None}."""
        gpu, = json.loads(self.ok("vgpu-admin", "cloudstack", "discover", *words))["gpus"]
        return {v["mdev_uuid"]: v["used_by_vm"] for v in gpu["vgpu_instances"]}

    def until(self, slot, state, vm=None):
        want = (state, vm and vm.name)
        machine.wait_for(lambda: self.state(slot) == want, 15, lambda: f"{want}: {self.slots()} {self.said('mediator', 'libvirtd')}")

    def stub_of(self, vm):
        """The pid, in the host, of the VM's stub, or None."""
        return next((pid for pid, (words, _) in self.processes().items()
                     if words[0].endswith("vgpu-stub") and f"/run/vgpu-stub/{vm.uuid}.sock" in words), None)

    def qemu_of(self, vm):
        return next((pid for pid, (words, _) in self.processes().items() if f"guest={vm.name},debug-threads=on" in words), None)

    # ---- libvirt, and what CloudStack's agent does with it ----

    def virsh(self, *words, **kw):
        return self.run("virsh", *words, **kw)

    def xml(self, vm, *slots):
        fields = {"machine": "pc", "boot": "", "memory": 65536, "more": "", "devices": "", **vm.domain}
        fields["devices"] = "\n".join([*map(HOSTDEV.format, slots), fields["devices"]])
        return DOMAIN.format(kind=self.kind, name=vm.name, uuid=vm.uuid, console=self.console(vm), **fields)

    def console(self, vm):
        return self.folder / "out" / f"{vm.name}.console"

    def transform(self, xml):
        """What the agent starts: when the hook fails, the XML as it was."""
        r = self.run(TRANSFORMER, "transform", xml)
        self.agent_log.append(r.stderr)
        return xml if r.returncode else r.stdout

    def create(self, vm, xml, *options):
        """virsh create: a transient domain."""
        return self.virsh("create", "/dev/stdin", *options, text=xml)

    def start(self, vm, *slots, paused=True):
        """As the agent starts a VM; what virsh said. A guest without a program need not run to have its device."""
        made = self.create(vm, self.transform(self.xml(vm, *slots)), *(["--paused"] if paused else []))
        if made.returncode == 0:
            self.ok(STATE_CHANGE, "onStart", vm.name)
        return made

    def started(self, vm, *slots, **kw):
        made = self.start(vm, *slots, **kw)
        assert made.returncode == 0, f"{made.stderr}{self.agent_log[-1]}{self.said('libvirtd', 'mediator')}"
        return vm

    def refused(self, vm, *slots, **kw):
        """What virsh says of a VM that does not start, and that there is nothing of it afterwards."""
        made = self.start(vm, *slots, **kw)
        assert made.returncode == 1, made.stdout
        assert not self.runs(vm) and not self.qemu_of(vm)
        return made.stderr

    def stop(self, vm):
        """As the agent ends a VM."""
        self.ok("virsh", "destroy", vm.name)
        self.ok(STATE_CHANGE, "onStop", vm.name)

    def runs(self, vm):
        return vm.name in self.ok("virsh", "list", "--name").split()

    def pci(self, vm):
        """QEMU's PCI devices: {id: slot}."""
        answer = self.ok("virsh", "qemu-monitor-command", vm.name, '{"execute":"query-pci"}')
        return {d["qdev_id"]: d["slot"] for bus in json.loads(answer)["return"] for d in bus["devices"]}


class Guest(machine.Guest):
    """The guest of a domain that runs already."""

    def __init__(self, host, vm):
        self.host, self.vm, self.folder = host, vm, str(host.folder / "out")
        self.commands, self.changed, self.boots = {}, threading.Condition(), 0
        self.port = machine.connect(agent_port(host, vm), 10, lambda: None)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.wait_boot(1)

    def path(self, name):
        return os.path.join(self.folder, f"{self.vm.name}.{name}")

    def alive(self):
        return self.host.qemu_of(self.vm) is not None

    def ended(self):
        return None if self.alive() else f"QEMU has ended: {self.said()}"

    def close(self):
        self.port.close()


def agent_port(host, vm):
    return host.folder / "out" / f"{vm.name}.agent"


def bootable(host, image, **more):
    """A VM with the project's guest in it."""
    vm = Vm(memory=393216, boot=KERNEL.format(machine.VM / "kernel/vmlinux", image, WORDS), **more)
    vm.domain["devices"] = AGENT_PORT.format(agent_port(host, vm))
    return vm
