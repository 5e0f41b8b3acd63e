# SPDX-License-Identifier: Apache-2.0
"""The units under a systemd, as the packages install them: started with the host, in order; used, upgraded. One after the other."""
import contextlib
import json
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

import booted
import chroot
import pytest

sys.path.append(str(pathlib.Path(__file__).parent.parent / "integration"))
import api  # noqa: E402  (found through the line above)
import cloudstack_server  # noqa: E402

WORKLOAD = "/usr/libexec/vgpu/vgpu-demo-workload"
RECONCILE = "vgpu-cloudstack-reconcile.service"
VM, OTHER = "11111111-2222-4333-8444-555555555555", "11111111-2222-4333-8444-666666666666"
# What CloudStack's agent learns first.
AGENT = """[Unit]
After=libvirtd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'vgpu-admin slot list --json >/run/agent-saw'
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture(scope="module")
def host(system):
    """Everything that a CloudStack host has of ours, running."""
    why = booted.missing()
    if why:
        pytest.skip(why)
    folder = tempfile.mkdtemp(prefix="pkg-boot-")
    h = booted.Booted(folder)
    try:
        subprocess.run(["cp", "-a", f"{system.root}/.", folder], check=True)
        h.done("apt-get", "install", "-q", "-y", "--no-install-recommends", "systemd",
               *h.put(chroot.ours("vgpu-libs", "vgpu-host", "vgpu-cloudstack")))
        with open(h.root / "etc/vgpu/mediator.conf", "a", encoding="utf-8") as f:
            f.write("[gpu]\nbackend = cpu\nmemory = 4G\n")
        (h.root / "etc/systemd/system/cloudstack-agent.service").write_text(AGENT, encoding="utf-8")
        h.done("systemctl", "enable", "cloudstack-agent.service")
        h.boot()
        yield h
    finally:
        h.power_off()
        shutil.rmtree(folder, ignore_errors=True)


def slots(host):
    return json.loads(host.done("vgpu-admin", "slot", "list", "--json"))["vgpus"]


def wait_for(condition, why):
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, why()
        time.sleep(0.1)


def test_all_is_up(host):
    assert host.state("vgpu-mediator") == "active", host.journal("vgpu-mediator")
    assert host.state("vgpu-cloudstack-reconcile.timer") == "inactive"
    assert "vgpu" not in host.done("systemctl", "list-units", "--failed", "--no-legend", "--plain")
    assert host.state("cloudstack-agent.service", "Result") == "success", "it began before the mediator answered"


@pytest.mark.parametrize("who", ["root", "nobody"])
def test_a_program_uses_the_gpu(host, who):
    told = host.done("setpriv", f"--reuid={who}", "--clear-groups", "vgpu-run", "--socket", "/run/vgpu/mediator.sock",
                     *(["--name", "blue"] if who == "root" else []), "--", WORKLOAD, "--seconds", "1")
    assert " 0 wrong" in told, host.journal("vgpu-mediator")


def test_a_stub_comes_up_for_a_machine(host):
    host.done("vgpu-admin", "profile", "create", "small", "memory=1G")
    host.done("vgpu-admin", "slot", "partition", "small=2")
    host.done("vgpu-admin", "vm", "create", "i-2-33-VM", f"--uuid={VM}")
    host.done("vgpu-admin", "slot", "assign", slots(host)[0]["vgpu"], VM)
    host.done("systemctl", "start", f"vgpu-stub@{VM}")
    assert host.done("stat", "-c", "%F %U:%G", f"/run/vgpu-stub/{VM}.sock").strip() == "socket vgpu:vgpu"
    wait_for(lambda: "answers: tenant" in host.journal(f"vgpu-stub@{VM}"), lambda: host.journal(f"vgpu-stub@{VM}"))
    assert slots(host)[0]["state"] == "reserved"  # no machine has come
    host.done("systemctl", "stop", f"vgpu-stub@{VM}")


def test_the_journal_has_it_and_no_file_does(host):
    assert "ready: backend cpu" in host.journal("vgpu-mediator")
    assert not [f for f in host.all_files() if f.startswith("/var/log/") and "vgpu" in f]


def configure(host, url):
    path = host.root / "etc/vgpu/cloudstack.conf"
    path.touch(mode=0o600)
    path.write_text(f"[cloudstack]\nurl = {url}\napikey = {cloudstack_server.KEY}\nsecretkey = {cloudstack_server.SECRET}\n"
                    "host = kvm1\ntries = 1\n", encoding="utf-8")


def reconcile(host):
    host.run("systemctl", "start", RECONCILE)
    return host.state(RECONCILE, "Result"), host.journal(RECONCILE)


def test_the_timers_service(host):
    """It reads the keys, which are root's, asks both sides, and fails if one does not answer."""
    host.done("systemctl", "enable", "--now", RECONCILE.replace(".service", ".timer"))
    assert reconcile(host) == ("success", "")  # there is no configuration
    configure(host, "http://localhost:9")
    result, said = reconcile(host)
    assert result == "exit-code" and "Is the management server up" in said
    with cloudstack_server.serving(None) as cloud:
        cloud.add_host("kvm1")
        configure(host, cloud.url)
        result, said = reconcile(host)
        assert result == "success", said
        assert "discoverGpuDevices" in cloud.changes()
    (host.root / "etc/vgpu/cloudstack.conf").unlink()


def test_reservations_end_with_the_host_before_the_agent_starts(host):
    free = next(s["vgpu"] for s in slots(host) if s["state"] == "free")
    asked = api.Api(api.UnixConnection(f"/proc/{host.init}/root/run/vgpu/api.sock"))
    assert asked.do("POST", f"/v1/vgpus/{free}/reserve", {"vm": OTHER, "name": "i-2-34-VM"})["kept"] is True
    host.power_off()
    with contextlib.closing(sqlite3.connect(host.root / "var/lib/vgpu/store.db")) as db:
        assert db.execute("UPDATE slot SET boot = 'another' WHERE boot IS NOT NULL").rowcount == 1
        db.commit()
    host.boot()
    saw = {s["vgpu"]: s["state"] for s in json.loads(host.done("cat", "/run/agent-saw"))["vgpus"]}
    assert saw[free] == "free" and len(saw) == 2
    assert "the host was started anew since it was reserved" in host.journal("vgpu-mediator")


def test_an_upgrade_reloads_the_mediator(host, tmp_path):
    debs = [chroot.next_version(d, tmp_path) for d in chroot.ours("vgpu-libs", "vgpu-host", "vgpu-cloudstack")]
    before = host.state("vgpu-mediator", "MainPID")
    log = tempfile.TemporaryFile("w+")
    program = host.start(log, "vgpu-run", "--socket", "/run/vgpu/mediator.sock", "--name", "steady", "--", WORKLOAD, "--seconds", "20")
    try:
        host.done("apt-get", "install", "-q", "-y", *host.put(debs))
        assert program.wait(120) == 0
        assert "adopted what the last mediator left" in host.journal("vgpu-mediator")
        assert host.state("vgpu-mediator", "MainPID") == before
        log.seek(0)
        assert " 0 wrong" in log.read()
    finally:
        if program.poll() is None:
            program.kill()
            program.wait()


def test_removed_while_it_runs(host):
    host.done("apt-get", "purge", "-q", "-y", "vgpu-cloudstack", "vgpu-host")
    assert "vgpu" not in host.done("systemctl", "list-units", "--all", "--no-legend", "--plain", "vgpu*")
    assert not (host.root / "etc/vgpu").exists() and not (host.root / "var/lib/vgpu").exists()
