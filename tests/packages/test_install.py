# SPDX-License-Identifier: Apache-2.0
"""The packages' life in a clean system, in the order of the tests: installed, used, upgraded under load, removed, purged. No systemd
runs there; test_boot.py has one."""
import json
import pathlib
import re
import signal
import subprocess
import tempfile
import time

import chroot
import pytest
from chroot import names_of, next_version, ours

LIBRARIES = "/usr/lib/x86_64-linux-gnu/vgpu"
SOCKET = "/run/vgpu/mediator.sock"
WORKLOAD = "/usr/libexec/vgpu/vgpu-demo-workload"


@pytest.fixture(scope="session")
def host(system):
    debs = ours("vgpu-libs", "vgpu-host")
    system.done("apt-get", "install", "-q", "-y", "--no-install-recommends", *system.put(debs))
    return system


@pytest.fixture(scope="session")
def both(host):
    """Everything else as well; without the module, which has a test of its own. CloudStack's agent has been there before."""
    for path in ("etc/cloudstack/agent/hooks", "etc/libvirt/hooks/qemu.d"):
        (host.root / path).mkdir(parents=True)
    (host.root / "etc/cloudstack/agent/agent.properties").write_text("guid=1\n", encoding="utf-8")
    host.foreign = {f for f in host.files() if f.startswith(("/etc/cloudstack", "/etc/libvirt"))}
    host.before |= host.foreign
    host.told = host.done("apt-get", "install", "-q", "-y", "--no-install-recommends",
                          *host.put(ours("vgpu-guest", "vgpu-doc", "vgpu-dev", "vgpu-cloudstack")))
    return host


class Daemon:
    """A mediator in the system, started by hand."""

    def __init__(self, system, *options):
        self.system, self.log = system, tempfile.TemporaryFile("w+")
        self.child = system.start(self.log, "vgpu-mediator", "--backend", "cpu", "--set", "store.path=/var/lib/vgpu/store.db",
                                  *options)
        try:
            self.wait(1)
        except BaseException:
            self.close()
            raise

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def wait(self, times):
        until = time.monotonic() + 60
        while self.said().count("ready: backend") < times:
            assert self.child.poll() is None and time.monotonic() < until, self.said()
            time.sleep(0.05)

    def close(self):
        self.child.terminate()
        try:
            return self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise


def test_no_systemd_is_needed(host):
    assert host.done("dpkg-query", "-W", "-f=${db:Status-Abbrev}", "vgpu-host").strip() == "ii"
    assert re.search(r"^vgpu:", (host.root / "etc/passwd").read_text(encoding="utf-8"), re.M)
    assert re.search(r"^vgpu-admins:", (host.root / "etc/group").read_text(encoding="utf-8"), re.M)


def test_host_leaves_the_loader_alone(host):
    assert LIBRARIES not in host.done("ldconfig", "-p")


@pytest.mark.parametrize("program", ["vgpu-mediator", "vgpu-admin", "vgpu-run", "vgpu-stub", "vgpu-demo", "vgpu-cdi",
                                     f"{LIBRARIES}/bin/nvidia-smi"])
def test_program_starts(host, program):
    assert re.search("usage|OPTIONS", host.done(program, "--help"), re.I)


def test_loader_finds_the_guests_libraries(both):
    cache = both.done("ldconfig", "-p")
    for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
        assert re.search(rf"\b{re.escape(name)} .* => {LIBRARIES}/{re.escape(name)}", cache), cache
    assert both.done("readlink", "-f", "/usr/bin/nvidia-smi").strip() == f"{LIBRARIES}/bin/nvidia-smi"


def test_guests_check_knows_the_guests_libraries(both):
    """There is no vGPU here, which it says; the rest is as a guest has it."""
    done = both.run("vgpu-guest-check", "--json", "--no-self-test")
    assert done.returncode == 1, done.stdout
    checks = {c["check"]: c for c in json.loads(done.stdout)["checks"]}
    for name in ("libcuda", "libnvidia-ml", "loader-cache", "nvidia-smi", "versions"):
        assert checks[name]["state"] == "ok", checks[name]
    assert checks["device"]["state"] == "failed"


def test_files_of_the_rest(both):
    for path in ("lib/udev/rules.d/60-vgpu.rules", "usr/share/doc/vgpu/docs/operators-guide.md",
                 "usr/share/doc/vgpu-host/examples/vgpu.json", "usr/share/bash-completion/completions/vgpu-admin",
                 "lib/systemd/system/vgpu-mediator.service", "lib/systemd/system/vgpu-stub@.service",
                 "etc/apparmor.d/vgpu-stub", "usr/share/man/man8/vgpu-admin.8.gz"):
        assert (both.root / path).exists(), path


def test_nothing_of_cloudstacks_is_changed(both):
    assert "vgpu-admin cloudstack install --dry-run" in both.told
    assert {f for f in both.files() if f.startswith(("/etc/cloudstack", "/etc/libvirt"))} == both.foreign


def test_cloudstacks_hooks_have_what_they_need(both):
    """With the packages' dependencies alone. A domain without a vGPU of ours is left alone."""
    domain, hooks = "<domain type='kvm'><name>i-2-33-VM</name></domain>", "/usr/share/vgpu/cloudstack"
    assert both.done(f"{hooks}/libvirt-vm-xml-transformer.sh", "transform", domain) == domain
    assert both.done(f"{hooks}/libvirt-vm-state-change.sh", "onStart", "i-2-33-VM") == ""
    both.done("sh", "-c", f'printf %s "$0" | {hooks}/qemu.d/50-vgpu i-2-33-VM prepare begin -', domain)
    ours_too = domain.replace("</domain>", "<devices><hostdev type='mdev'><source><address uuid='11111111-2222-4333-8444-555555555555'/>"
                              "</source></hostdev></devices></domain>")
    refused = both.run(f"{hooks}/libvirt-vm-xml-transformer.sh", "transform", ours_too)
    assert refused.returncode == 1 and "vgpu-mediator" in refused.stdout  # it does not run
    daemon = Daemon(both)
    try:
        gpu, = json.loads(both.done("vgpu-admin", "cloudstack", "discover"))["gpus"]
        assert gpu["vgpu_instances"] == []
    finally:
        assert daemon.close() == 0


def test_libvirts_machines_may_use_the_sockets(both):
    """libvirt's own rules for its machines have ours: by themselves on Debian 13, by the line of docs/packages.md on 12."""
    start, line = both.files(), "include <abstractions/vgpu-monitor>"
    both.done("apt-get", "install", "-q", "-y", "--no-install-recommends", "apparmor")
    brings, folder = {"bookworm": "libvirt-daemon-system"}.get(both.release, "libvirt-daemon-driver-qemu"), "/srv/packages/libvirt"
    both.done("sh", "-ec", f"mkdir -p {folder}/etc/apparmor.d/local/abstractions; cd {folder}; "
              f"apt-get -o APT::Sandbox::User=root download -q {brings}; dpkg-deb -x {brings}_*.deb .; "
              "sed -i s/LIBVIRT_TEMPLATE/machine/ etc/apparmor.d/libvirt/TEMPLATE.qemu")
    if both.release == "bookworm":
        assert f"echo '{line}' >>" in (chroot.SOURCE / "docs/packages.md").read_text(encoding="utf-8")
        (both.root / f".{folder}/etc/apparmor.d/local/abstractions/libvirt-qemu").write_text(line + "\n", encoding="utf-8")
    parse = ["apparmor_parser", "-K", "-I", f"{folder}/etc/apparmor.d", f"{folder}/etc/apparmor.d/libvirt/TEMPLATE.qemu"]
    assert "/vgpu-stub/*.sock rw," in both.done(*parse, "-p")
    both.done(*parse, "-Q")
    both.done("apt-get", "purge", "-q", "-y", "apparmor")
    both.before |= both.files() - start


def test_module_is_built(both):
    """DKMS makes the module for a kernel of the distribution, out of what the package has."""
    start = both.files()
    both.done("apt-get", "install", "-q", "-y", "--no-install-recommends", "dkms", "linux-headers-cloud-amd64")
    both.before |= both.files() - start
    both.done("apt-get", "install", "-q", "-y", "--no-install-recommends", *both.put(ours("vgpu-guest-dkms")))
    version = chroot.field(ours("vgpu-guest-dkms")[0], "Version")
    kernel = next(p.name for p in (both.root / "lib/modules").iterdir() if (p / "build").is_symlink())
    told = both.run("dkms", "install", f"vgpu/{version}", "-k", kernel)
    made = both.done("dkms", "status", f"vgpu/{version}")
    assert re.search(rf"{re.escape(kernel)}.*installed", made), told.stdout[-4000:] + made
    assert list((both.root / "lib/modules" / kernel).rglob("vgpu.ko*"))
    both.done("apt-get", "purge", "-q", "-y", "vgpu-guest-dkms")
    assert not list((both.root / "lib/modules").rglob("vgpu.ko*")) and not list((both.root / "usr/src").glob("vgpu-*"))


def test_upgrade_under_load(both, tmp_path):
    """Nothing fails while the new version is unpacked under a mediator at work, and when it takes over."""
    debs = [next_version(d, tmp_path) for d in ours(*names_of(ours())) if "dkms" not in d.name]
    daemon = Daemon(both)
    logs, clients = [tempfile.TemporaryFile("w+") for _ in range(2)], []
    try:
        clients += [both.start(log, "vgpu-run", "--socket", SOCKET, "--name", f"steady{i}", "--", WORKLOAD, "--seconds", "600")
                   for i, log in enumerate(logs)]
        time.sleep(2)
        told = both.done("apt-get", "install", "-q", "-y", *both.put(debs))
        assert "+1" in both.done("dpkg-query", "-W", "vgpu-host"), told
        both.done("vgpu-run", "--socket", SOCKET, "--name", "old", "--", WORKLOAD, "--seconds", "1")
        assert "(deleted)" in exe(daemon.child.pid), "the upgrade put no new program there"
        daemon.child.send_signal(signal.SIGHUP)
        daemon.wait(2)
        assert "adopted what the last mediator left" in daemon.said()
        assert "(deleted)" not in exe(daemon.child.pid)
        both.done("vgpu-run", "--socket", SOCKET, "--name", "new", "--", WORKLOAD, "--seconds", "1")
        for client, log in zip(clients, logs):
            assert client.poll() is None, "a program ended during the upgrade"
            client.send_signal(signal.SIGTERM)  # it checks what is under way, so the new mediator must give it turns
            assert client.wait(60) == 0, words(log)
            assert re.search(r"checked [1-9]\d+ results, 0 wrong", words(log)), words(log)
    finally:
        for client in clients:
            if client.poll() is None:
                client.kill()
                client.wait()
        assert daemon.close() == 0, daemon.said()


@pytest.fixture
def asked(both):
    """What vgpu-admin was asked for; a line in `fails` has it fail."""
    stand_in, log = both.root / "usr/local/bin/vgpu-admin", both.root / "srv/packages/asked"
    stand_in.write_text('#!/bin/sh\necho "$*" >>/srv/packages/asked\n[ ! -e /srv/packages/fails ]\n', encoding="utf-8")
    stand_in.chmod(0o755)

    def take():
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines
    yield take
    stand_in.unlink()
    (both.root / "srv/packages/fails").unlink(missing_ok=True)


def test_hooks_follow_the_package(both, asked):
    """They are vgpu-admin's to copy and to remove; whatever it answers, dpkg goes on."""
    guard, stub = both.root / "etc/libvirt/hooks/qemu.d/50-vgpu", both.root / "run/vgpu-stub/1.sock"
    deb = both.put(ours("vgpu-cloudstack"))[0]
    both.done("dpkg", "-i", deb)
    assert asked() == []
    guard.touch()
    both.done("dpkg", "-i", deb)
    assert asked() == ["cloudstack install"]
    (both.root / "srv/packages/fails").touch()
    assert "hooks stay as they were" in both.done("dpkg", "-i", deb)
    assert asked() == ["cloudstack install"]
    stub.touch()
    assert "vGPUs are in use" in both.done("dpkg", "-r", "vgpu-cloudstack")
    assert asked() == []
    stub.unlink()
    both.done("dpkg", "-i", deb)
    asked()
    assert "hooks were not removed" in both.done("dpkg", "-r", "vgpu-cloudstack")
    assert asked() == ["cloudstack uninstall --force"]
    guard.unlink()
    keys = both.root / "etc/vgpu/cloudstack.conf"
    keys.touch()
    both.done("dpkg", "-i", deb)
    both.done("dpkg", "-r", "vgpu-cloudstack")
    assert keys.exists() and asked() == []
    both.done("dpkg", "-P", "vgpu-cloudstack")
    assert not keys.exists()
    both.done("dpkg", "-i", deb)


def test_hooks_that_were_installed(both, tmp_path):
    """From their installation to their end with the package."""
    if both.run("vgpu-admin", "cloudstack", "install", "--help").returncode:
        pytest.skip("this vgpu-admin has no 'cloudstack install'")
    guard = both.root / "etc/libvirt/hooks/qemu.d/50-vgpu"
    told = both.done("vgpu-admin", "cloudstack", "install")
    assert guard.exists(), told
    both.done("dpkg", "-i", *both.put([next_version(d, tmp_path, changed_hook) for d in ours("vgpu-cloudstack")]))
    assert "# of the next version" in guard.read_text(encoding="utf-8")
    both.done("apt-get", "remove", "-q", "-y", "vgpu-cloudstack")
    assert not guard.exists()


def changed_hook(tree):
    with open(tree / "usr/share/vgpu/cloudstack/qemu.d/50-vgpu", "a", encoding="utf-8") as f:
        f.write("# of the next version\n")


def test_remove_leaves_data_and_purge_nothing(both):
    """What an operator made stays after remove; after purge the files are those of before."""
    (both.root / "etc/vgpu/stub-vm1.env").write_text("VGPU_SOCKET=/run/vgpu/x.sock\n", encoding="utf-8")
    assert (both.root / "var/lib/vgpu/store.db").exists(), "the mediator of the test before kept nothing"
    names = names_of(ours())
    both.done("apt-get", "remove", "-q", "-y", *names)
    for kept in ("var/lib/vgpu/store.db", "etc/vgpu/mediator.conf", "etc/vgpu/stub-vm1.env"):
        assert (both.root / kept).exists(), kept
    assert LIBRARIES not in both.done("ldconfig", "-p")
    assert not (both.root / "usr/bin/vgpu-mediator").exists()
    # apt knows only what left something, or what others speak of.
    left = both.done("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", "vgpu-*").splitlines()
    both.done("apt-get", "purge", "-q", "-y", *(line.split()[0] for line in left if line.endswith("config-files")))
    # Folders of others' that were not there yet, as their own files in them are left out of small systems, are dpkg's.
    assert [path for path in sorted(both.files() - both.before) if both.run("dpkg-query", "-S", path).returncode] == []
    assert sorted(both.before - both.files()) == []


def exe(pid):
    return str(pathlib.Path(f"/proc/{pid}/exe").readlink())


def words(log):
    log.seek(0)
    return log.read()
