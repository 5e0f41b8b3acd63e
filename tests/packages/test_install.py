# SPDX-License-Identifier: Apache-2.0
"""The packages' life in a clean system, in the order of the tests: installed, used, upgraded under load, removed, purged."""
import pathlib
import re
import signal
import subprocess
import tempfile
import time

import chroot
import pytest

LIBRARIES = "/usr/lib/x86_64-linux-gnu/vgpu"
SOCKET = "/run/vgpu/mediator.sock"
WORKLOAD = "/usr/libexec/vgpu/vgpu-demo-workload"


def ours(*names):
    found = [d for d in chroot.debs() if not names or chroot.field(d, "Package") in names]
    return [d for d in found if not chroot.field(d, "Package").endswith("-dbgsym")]


def names_of(debs):
    return [chroot.field(d, "Package") for d in debs]


def next_version(deb, folder):
    """The same package with a version that comes after."""
    tree = folder / f"{deb.name}.d"
    subprocess.run(["dpkg-deb", "--raw-extract", str(deb), str(tree)], check=True)
    version, control = chroot.field(deb, "Version"), tree / "DEBIAN" / "control"
    text = control.read_text(encoding="utf-8")
    text = text.replace(f"Version: {version}\n", f"Version: {version}+1\n").replace(f"(= {version})", f"(= {version}+1)")
    control.write_text(text, encoding="utf-8")
    file = folder / deb.name
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(file)], check=True, capture_output=True)
    return file


@pytest.fixture(scope="session")
def system(clean):
    """What the packages need is there, and they themselves not yet."""
    needs = [chroot.field(d, f) for d in ours() for f in ("Depends", "Recommends") if "dkms" not in d.name]
    needs = [n.strip() for text in needs for n in text.split(",") if n.strip() and "vgpu" not in n]
    clean.done("apt-get", "satisfy", "-q", "-y", "--no-install-recommends", *needs)
    clean.before = clean.files()
    return clean


@pytest.fixture(scope="session")
def host(system):
    debs = ours("vgpu-libs", "vgpu-host")
    system.done("apt-get", "install", "-q", "-y", "--no-install-recommends", *system.put(debs))
    return system


@pytest.fixture(scope="session")
def both(host):
    """A guest's packages as well; without the module, which has a test of its own."""
    host.done("apt-get", "install", "-q", "-y", "--no-install-recommends", *host.put(ours("vgpu-guest", "vgpu-doc")))
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


def test_files_of_the_rest(both):
    for path in ("lib/udev/rules.d/60-vgpu.rules", "usr/share/doc/vgpu/docs/operators-guide.md",
                 "usr/share/doc/vgpu-host/examples/vgpu.json", "usr/share/bash-completion/completions/vgpu-admin",
                 "lib/systemd/system/vgpu-mediator.service", "lib/systemd/system/vgpu-stub@.service",
                 "etc/apparmor.d/vgpu-stub", "usr/share/man/man8/vgpu-admin.8.gz"):
        assert (both.root / path).exists(), path


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
    both.done("apt-get", "purge", "-q", "-y", *names)
    assert sorted(both.files() - both.before) == []
    assert sorted(both.before - both.files()) == []


def exe(pid):
    return str(pathlib.Path(f"/proc/{pid}/exe").readlink())


def words(log):
    log.seek(0)
    return log.read()
