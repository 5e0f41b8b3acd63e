# SPDX-License-Identifier: Apache-2.0
"""vgpu-admin cloudstack doctor: a host on which all is right, as a tree with a server in place of the mediator's API and one in
place of CloudStack's; then each thing that can be wrong with it, one at a time, and the step that is named for it."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import admin
import cloudstack_server
import fake_api
import guest
import pytest
import vgpu
from cloudstack_host import AGENT, CONF, DISCOVERY, GUARD, HOOKS, SETTINGS, TIMER, TRANSFORMER, Host
from inventory import SMALL, VM1

GPU = "GPU-00000000-0000-4000-8000-000000000001"
SLOTS = [f"0a1b2c3d-0000-4000-8000-{n:012x}" for n in (1, 2)]
PROPERTIES, JAR = f"{AGENT}/agent.properties", "usr/share/cloudstack-agent/lib/cloud-plugin-hypervisor-kvm-%s.jar"
QEMU, LIBVIRTD = "usr/bin/qemu-system-x86_64", "usr/sbin/libvirtd"
LOCAL, ENABLED = "etc/apparmor.d/local/abstractions/libvirt-qemu", "sys/module/apparmor/parameters/enabled"
UNITS, WANTS = "usr/lib/systemd/system", "etc/systemd/system/multi-user.target.wants"
PACKAGING = pathlib.Path(os.environ.get("VGPU_SOURCE", ".")).absolute() / "packaging"
FOREVER = 1 << 40  # clock ticks after this host's start, which was in 1970


def version():
    return admin.run("--version").stdout.split()[1]


class Sick(Host):
    """A host with everything that doctor looks at."""

    def __init__(self, directory, mediator, cloud):
        super().__init__(directory, mediator.place)
        self.mediator, self.cloud = mediator, cloud
        self.env = {"PATH": f"{directory}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "no_proxy": "*"}
        (directory / "bin").mkdir()
        (directory / "bin/vgpu-admin").symlink_to(admin.ADMIN)
        mediator.answers[("GET", "/openapi.json")] = {"info": {"version": version()}}
        self.gpu = {"gpu": GPU, "name": "NVIDIA H200", "backend": "cuda", "pci": "00000000:3b:00.0", "pci_vendor": "10de",
                    "pci_device": "2335", "memory": 1 << 37, "health": "good"}
        mediator.answers[("GET", "/v1/gpus")] = lambda *_: {"gpus": [self.gpu]}
        self.slots = [{"vgpu": s, "gpu": GPU, "profile": "half", "memory": 1 << 36, "vm": None, "name": None, "state": "free"}
                      for s in SLOTS]
        mediator.answers[("GET", "/v1/vgpus")] = lambda *_: {"vgpus": self.slots}
        self.make_programs()
        self.make_system()
        self.make_cloud()
        self.ok("install")
        for prefix in ("usr", "usr/local"):
            shutil.copytree(self.source, self.at(prefix) / "share/vgpu/cloudstack")

    def make_programs(self):
        self.at("usr/bin").mkdir(parents=True)
        self.at("usr/bin/vgpu-stub").symlink_to(guest.STUB)
        self.qemu("11.1.0", "vfio-user-pci")
        self.libvirt("9.0.0")
        self.write(JAR % "4.22.0.0", "")
        self.write(PROPERTIES, "vm.memballoon.disable=true\n")

    def qemu(self, number, device, path=QEMU):
        self.write(path, f"""#!/bin/sh
case $1 in
--version) echo "QEMU emulator version {number} (Debian)" ;;
*) echo 'name "{device}", bus PCI' ;;
esac
""", 0o755)

    def libvirt(self, number):
        self.write(LIBVIRTD, f"#!/bin/sh\necho 'libvirtd (libvirt) {number}'\n", 0o755)

    def process(self, pid, cmdline, ticks=FOREVER):
        self.write(f"proc/{pid}/cmdline", "\0".join(cmdline) + "\0")
        self.write(f"proc/{pid}/stat", f"{pid} (a b) S " + " ".join(str(n) for n in range(4, 22)) + f" {ticks} 0 0\n")

    def make_system(self):
        self.write("proc/stat", "cpu 1 2\nbtime 0\n")
        self.write("proc/meminfo", "MemTotal: 99999999 kB\nMemAvailable: 88888888 kB\nHugePages_Total:       0\n")
        self.process(7, ["/usr/sbin/libvirtd", "--timeout", "120"])
        self.process(8, ["/usr/bin/java", "-cp", "x", "com.cloud.agent.AgentShell"])
        self.write("etc/passwd", "root:x:0:0::/:/bin/sh\nlibvirt-qemu:x:64055:108::/:/usr/sbin/nologin\n")
        self.write("etc/group", "root:x:0:\nvgpu:x:990:libvirt-qemu\n")
        self.write(ENABLED, "Y\n")
        self.write(LOCAL, "include <abstractions/vgpu-monitor>\n")
        self.write("etc/apparmor.d/abstractions/vgpu-monitor", "")
        for unit in ("vgpu-mediator.service", "vgpu-stub@.service"):
            self.write(f"{UNITS}/{unit}", (PACKAGING / "systemd" / unit).read_text())
        self.write(f"{UNITS}/{TIMER}", "[Timer]\nOnUnitActiveSec=60\n[Install]\nWantedBy=timers.target\n")
        self.at(WANTS).mkdir(parents=True)
        self.at(f"{WANTS}/vgpu-mediator.service").symlink_to("/usr/lib/systemd/system/vgpu-mediator.service")

    def make_cloud(self):
        self.there = self.cloud.add_host("kvm1")
        for slot in SLOTS:
            self.cloud.add_device(self.there, slot, "half")
        self.conf()

    def conf(self, **changes):
        lines = {"url": self.cloud.url, "apikey": cloudstack_server.KEY, "secretkey": cloudstack_server.SECRET, "host": "kvm1",
                 **changes}
        self.write(CONF, "[cloudstack]\n" + "".join(f"{k} = {v}\n" for k, v in lines.items()), 0o600)

    def checks(self):
        r = self.run("doctor", "--json")
        report = json.loads(r.stdout)
        rows = {row["check"]: row for row in report["checks"]}
        assert len(rows) == len(report["checks"]) and r.stderr == ""
        for result in ("warning", "failed"):
            n = sum(row["result"] == result for row in rows.values())
            assert report["warnings" if result == "warning" else result] == n
        assert r.returncode == (1 if report["failed"] else 0)
        for row in rows.values():
            assert row["text"] and (row["next"] or row["result"] in ("ok", "not checked")), row
            assert row["result"] != "ok" or not row["next"], row
        return rows

    def wrong(self, check, result, text, step):
        """That check alone says this."""
        rows = self.checks()
        assert (rows[check]["result"], text in rows[check]["text"], step in rows[check]["next"]) == (result, True, True), rows[check]
        return {name: row["result"] for name, row in rows.items() if row["result"] != "ok" and name != check}


@pytest.fixture
def host():
    if os.geteuid() != 0:
        pytest.skip("most checks are root's")
    if not shutil.which("systemctl"):
        pytest.skip("no systemctl here")
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory, fake_api.serving({}) as mediator, \
            cloudstack_server.serving() as cloud:
        yield Sick(pathlib.Path(directory), mediator, cloud)


def test_all_is_right(host):
    rows = host.checks()
    assert {r["result"] for r in rows.values()} == {"ok"}, [r for r in rows.values() if r["result"] != "ok"]
    text = host.ok("doctor")
    assert f"{len(rows)} ok, 0 warnings, 0 failed, 0 not checked" in text and "->" not in text
    assert "2 of half" in rows["vgpus"]["text"] and "1 GPUs with 2 vGPUs" in rows["discovery"]["text"]
    assert version() in rows["versions"]["text"] and "4.22" in rows["agent"]["text"]


def test_nothing_is_changed_and_nothing_hostile_shown(host):
    before = host.tree()
    host.gpu["name"] = "a\x1b[2J"
    r = host.run("doctor")
    assert host.tree() == before and "\x1b" not in r.stdout
    assert {name for name, _ in host.cloud.asked} == {"listHosts", "listGpuDevices"}
    assert {method for method, *_ in host.mediator.asked} == {"GET"}


# ---- vgpu

def test_no_mediator(host):
    host.socket = "/nonexistent/api.sock"
    others = host.wrong("mediator", "failed", "there is no socket", "vgpu-mediator")
    assert others == {"versions": "not checked", "card": "not checked", "vgpus": "not checked", "discovery": "failed",
                      "devices": "not checked"}
    host.socket = host.mediator.place
    host.mediator.answers[("GET", "/v1/vgpus")] = fake_api.Problem(503, "busy", "not now")
    assert "discovery" in host.wrong("mediator", "failed", "status 503", "systemctl status vgpu-mediator")


def test_versions(host):
    host.mediator.answers[("GET", "/openapi.json")] = {"info": {"version": "0.0.1"}}
    assert host.wrong("versions", "failed", "the mediator 0.0.1", "reload vgpu-mediator") == {}
    stub = host.at("usr/bin/vgpu-stub")
    stub.unlink()
    assert host.wrong("versions", "failed", "is not there", "packages of one version") == {}
    host.write("usr/bin/vgpu-stub", "#!/bin/sh\necho vgpu-stub 9.9\n", 0o755)
    assert host.wrong("versions", "failed", "vgpu-stub 9.9", "packages of one version") == {}


def test_card(host):
    host.gpu["pci"] = None
    host.gpu["pci_vendor"] = host.gpu["pci_device"] = None
    assert host.wrong("card", "failed", "not known", "journalctl -u vgpu-mediator") == {"discovery": "failed"}
    host.gpu["backend"] = "cpu"
    assert host.wrong("card", "warning", "cpu", "gpu.backend=cuda") == {}
    host.gpu.update(backend="cuda", pci="00000000:3b:00.0", health="lost")
    assert host.wrong("card", "failed", "is lost", "journalctl -k") == {}


def test_vgpus(host):
    host.slots = []
    host.cloud.devices.clear()
    assert host.wrong("vgpus", "failed", "no vGPUs", "slot partition") == {}
    host.slots = [{"vgpu": SLOTS[0], "gpu": GPU, "profile": "passthrough", "vm": None, "state": "free"}]
    host.cloud.add_device(host.there, SLOTS[0], "passthrough")
    assert host.wrong("vgpus", "failed", "passthrough", "another name") == {}


def test_units(host):
    host.at(f"{WANTS}/vgpu-mediator.service").unlink()
    assert host.wrong("units", "failed", "does not start with the host", "systemctl enable --now vgpu-mediator") == {}
    host.at(f"{UNITS}/vgpu-stub@.service").unlink()
    assert host.wrong("units", "failed", "vgpu-stub@.service is not there", "vgpu-host") == {}


def test_memory(host):
    host.write("proc/meminfo", "MemAvailable: 88888888 kB\nHugePages_Total:  16\n")
    assert host.wrong("memory", "warning", "16 huge pages", "nr_hugepages=0") == {}
    host.write("proc/meminfo", "MemAvailable: 1024 kB\nHugePages_Total:  0\n")
    assert host.wrong("memory", "warning", "only 1 MiB", "memory") == {}


# ---- the agent

def test_agent(host):
    host.at(JAR % "4.22.0.0").unlink()
    assert host.wrong("agent", "failed", "no CloudStack agent", "4.21") == {}
    host.write(JAR % "4.20.1.0", "")
    assert host.wrong("agent", "failed", "4.20", "4.21") == {}


@pytest.mark.parametrize("path", [TRANSFORMER, GUARD])
def test_files(host, path):
    text = host.at(path).read_text()
    step = "cloudstack install"
    host.write(path, text, 0o644)
    assert host.wrong("files", "failed", "not executable", step) == {}
    host.write(path, text + "# mine\n", 0o755)
    assert host.wrong("files", "warning", "was changed", step) == {}
    host.write(path, "#!/bin/sh\n", 0o755)
    assert host.wrong("files", "failed", "not vgpu's", step) == {}
    host.at(path).unlink()
    assert host.wrong("files", "failed", f"/{path} is not there", step) == {}
    host.ok("install")
    assert {r["result"] for r in host.checks().values()} == {"ok"}


def test_files_of_another_version(host):
    for prefix in ("usr", "usr/local"):
        with open(host.at(prefix) / "share/vgpu/cloudstack/gpudiscovery.sh", "a", encoding="utf-8") as f:
            f.write("# new\n")
    assert host.wrong("files", "warning", "another version", "cloudstack install") == {}


def test_files_where_agent_properties_has_them(host):
    host.write(PROPERTIES, "vm.memballoon.disable=true\nagent.hooks.basedir=/opt/hooks\n")
    assert host.wrong("files", "failed", "/opt/hooks/libvirt-vm-xml-transformer.sh is not there", "cloudstack install") == {}
    host.write(PROPERTIES, "agent.hooks.basedir=x\n")
    r = host.run("doctor")
    assert r.returncode == admin.USAGE and "does not begin with /" in r.stderr


def test_groovy(host):
    host.write(f"{HOOKS}/libvirt-vm-xml-transformer.groovy", "")
    assert host.wrong("groovy", "failed", "runs before ours", "--replace") == {}


@pytest.mark.parametrize("text, said", [("exit 7", "ends with 7"), ("echo hello", "no list"), ("echo '[]'", "no list"),
                                        ("head -c 70000 /dev/zero", "more than 60000"), ("echo '{\"gpus\":[]}' >&2; exit 0", None)])
def test_discovery(host, text, said):
    host.write(DISCOVERY, f"#!/bin/sh\n{text}\n", 0o755)
    if said:
        assert host.wrong("discovery", "failed", said, "cloudstack discover") == {"files": "failed"}
    else:  # the agent reads both outputs
        assert host.checks()["discovery"]["result"] == "ok"


def test_no_discovery(host):
    host.at(DISCOVERY).unlink()
    assert host.wrong("discovery", "failed", "not there", "cloudstack install") == {"files": "failed"}


@pytest.mark.parametrize("check, pid, name, step, result", [
    ("agent's start", 8, "the agent", "restart cloudstack-agent", "failed"),
    ("libvirt's start", 7, "libvirtd", "restart libvirtd", "warning")])
def test_what_started_before_our_files_were_there(host, check, pid, name, step, result):
    cmdline = host.at(f"proc/{pid}/cmdline").read_text().split("\0")[:-1]
    host.process(pid, cmdline, ticks=500)
    assert host.wrong(check, "failed", f"{name} started before", step) == {}
    host.write("proc/stat", f"btime {int(time.time()) + 3600}\n")
    assert host.checks()[check]["result"] == "ok"
    shutil.rmtree(host.at(f"proc/{pid}"))
    assert host.wrong(check, result, "not run", step.split()[-1]) == {}


def test_a_tree_without_processes(host):
    shutil.rmtree(host.at("proc"))
    rows = host.checks()
    assert {rows[c]["result"] for c in ("agent's start", "libvirt's start", "memory")} == {"not checked"}


def test_ballooning(host):
    host.write(PROPERTIES, "")
    assert host.wrong("ballooning", "warning", "balloon", "vm.memballoon.disable=true") == {}


# ---- libvirt and QEMU

def test_libvirt(host):
    host.libvirt("6.4.9")
    assert host.wrong("libvirt", "failed", "6.4", "6.5") == {}
    host.at(LIBVIRTD).unlink()
    assert host.wrong("libvirt", "failed", "neither", "6.5") == {}


def test_qemu(host):
    host.qemu("7.2.22", "vfio-pci")
    assert host.wrong("qemu", "failed", "QEMU 7.2", "VGPU_CLOUDSTACK_EMULATOR") == {}
    host.qemu("10.1.0", "vfio-pci")
    assert host.wrong("qemu", "failed", "without vfio-user-pci", "VGPU_CLOUDSTACK_EMULATOR") == {}
    host.qemu("10.1.0", "vfio-user-pci", "opt/qemu")
    host.write(SETTINGS, "VGPU_CLOUDSTACK_EMULATOR='/opt/qemu'\n")
    assert host.checks()["qemu"]["text"].startswith("/opt/qemu is QEMU 10.1")
    host.at("opt/qemu").unlink()
    assert host.wrong("qemu", "failed", "does not say its version", "VGPU_CLOUDSTACK_EMULATOR") == {}
    host.write(SETTINGS, "")
    host.at(QEMU).unlink()
    assert host.wrong("qemu", "failed", "no QEMU", "VGPU_CLOUDSTACK_EMULATOR") == {}


def test_qemus_user(host):
    host.write("etc/group", "vgpu:x:990:\n")
    assert host.wrong("qemu's user", "failed", "libvirt-qemu is not in the group vgpu", "usermod -a -G vgpu libvirt-qemu") == {}
    host.write("etc/libvirt/qemu.conf", '#user = "root"\nuser = "other"\n')
    assert host.wrong("qemu's user", "failed", "other is not in", "usermod -a -G vgpu other") == {}
    host.write("etc/libvirt/qemu.conf", 'user = "root"\n')
    assert host.checks()["qemu's user"]["result"] == "ok"
    host.write("etc/libvirt/qemu.conf", "")
    host.write("etc/passwd", "qemu:x:107:990::/:/x\n")
    assert host.checks()["qemu's user"]["text"].startswith("qemu is in the group")


def test_confinement(host):
    host.write(LOCAL, "# nothing\n")
    assert host.wrong("confinement", "failed", "AppArmor is on", "include <abstractions/vgpu-monitor>") == {}
    host.write("etc/apparmor.d/abstractions/libvirt-qemu.d/vgpu", "# as vgpu-host has it\n")
    assert host.wrong("confinement", "failed", "AppArmor is on", "include <abstractions/vgpu-monitor>") == {}  # Debian 12
    host.write("etc/apparmor.d/abstractions/libvirt-qemu", "include if exists <abstractions/libvirt-qemu.d>\n")
    assert host.checks()["confinement"]["result"] == "ok"
    host.write("sys/fs/selinux/enforce", "1")
    assert host.wrong("confinement", "warning", "SELinux", "ausearch") == {}
    host.write("etc/libvirt/qemu.conf", 'security_driver = "none"\n')
    assert host.checks()["confinement"]["result"] == "ok"


# ---- CloudStack's API

def test_configuration(host):
    host.at(CONF).chmod(0o644)
    others = {"api": "not checked", "clock": "not checked", "host": "not checked", "devices": "not checked", "timer": "not checked"}
    assert host.wrong("configuration", "failed", "others can read", "mend it") == others
    host.at(CONF).unlink()
    assert host.wrong("configuration", "not checked", "not filled in", "VMs do not need it") == others
    host.write(CONF, (host.source / "cloudstack.conf").read_text(), 0o600)
    assert host.wrong("configuration", "not checked", "not filled in", "VMs do not need it") == others


def test_api(host):
    others = {"clock": "not checked", "host": "not checked", "devices": "not checked"}
    host.conf(secretkey="wrong")
    assert host.wrong("api", "failed", "(401)", "timedatectl") == others
    host.conf(url="http://127.0.0.1:1/client/api")
    assert host.wrong("api", "failed", "127.0.0.1", "Is the management server up") == others


def test_clock(host, monkeypatch):
    monkeypatch.setattr("http.server.BaseHTTPRequestHandler.date_time_string", lambda *_: "Sun, 06 Nov 1994 08:49:37 GMT")
    assert host.wrong("clock", "warning", "differs from ours by -", "timedatectl") == {}
    monkeypatch.setattr("http.server.BaseHTTPRequestHandler.date_time_string", lambda *_: "no time")
    assert host.checks()["clock"]["result"] == "not checked"


def test_host(host):
    host.conf(host="kvm9")
    assert host.wrong("host", "failed", "no KVM host 'kvm9'", "cloudstack status") == {"devices": "not checked"}
    host.conf()
    host.there["state"] = "Disconnected"
    assert host.wrong("host", "failed", "Disconnected", "cloudstack-agent") == {}


def test_devices(host):
    host.slots[0].update(vm=VM1, name="i-2-33-VM", state="running")
    assert host.wrong("devices", "failed", "1 of 2", "cloudstack reconcile") == {}


def test_timer(host):
    link = host.at(f"etc/systemd/system/timers.target.wants/{TIMER}")
    assert link.is_symlink()  # install found keys
    link.unlink()
    assert host.wrong("timer", "failed", "not on", f"systemctl enable --now {TIMER}") == {}
    host.at(f"{UNITS}/{TIMER}").unlink()
    assert host.wrong("timer", "warning", "not there", "vgpu-cloudstack") == {}


# ---- other hosts

def test_not_root(host):
    host.root.parent.chmod(0o755)
    r = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", admin.ADMIN, "cloudstack", "doctor", "--json",
                        "--root", host.root], capture_output=True, text=True, check=False, timeout=60,
                       env=admin.environment(host.socket, **host.env))
    if not r.stdout:
        pytest.skip(f"the build is nobody's to run: {r.stderr}")
    rows = {row["check"]: row for row in json.loads(r.stdout)["checks"]}
    for check in ("mediator", "files", "discovery", "qemu", "configuration"):
        assert (rows[check]["result"], rows[check]["next"]) == ("not checked", "run it as root")


def test_this_host_with_a_real_mediator():
    """Whatever this machine is: nothing breaks, and the mediator's own part is right."""
    with vgpu.mediator(*SMALL) as m:
        r = admin.run("cloudstack", "doctor", "--json", socket=m.directory / "api.sock", timeout=120)
    rows = {row["check"]: row for row in json.loads(r.stdout)["checks"]}
    assert r.stderr == "" and len(rows) == 23
    if os.geteuid() == 0:
        assert rows["mediator"]["result"] == "ok" and rows["vgpus"]["result"] == "failed"
        assert (rows["card"]["result"], "null" in rows["card"]["text"]) == ("warning", True)
