# SPDX-License-Identifier: Apache-2.0
"""The units, the AppArmor rules and the packages' lists, as far as they can be checked without installing them."""
import ctypes
import errno
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("VGPU_BUILD", SOURCE / "build"))
UNITS = SOURCE / "packaging" / "systemd"
# What `systemd-analyze security` may say at most (docs/packages.md).
MOST_EXPOSED = {"vgpu-mediator.service": 1.6, "vgpu-stub@.service": 1.0, "vgpu-cloudstack-reconcile.service": 1.4}
# Who starts virtual machines by itself.
STARTERS = ("libvirtd.service", "virtqemud.service", "libvirt-guests.service", "cloudstack-agent.service")


def calls_of(group):
    told = subprocess.run(["systemd-analyze", "syscall-filter", group], check=True, capture_output=True, text=True).stdout
    calls = set()
    for word in (line.strip() for line in told.splitlines()[1:]):
        if word.startswith("@"):
            calls |= calls_of(word)
        elif word and not word.startswith("#"):
            calls.add(word)
    return calls


def settings(unit, name):
    return re.findall(rf"^{name}=(.*)$", (UNITS / unit).read_text(encoding="utf-8"), re.M)


def needs_systemd_analyze():
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")


def allowed_by(unit):
    allowed = set()
    for words in settings(unit, "SystemCallFilter"):
        listed = set()
        for word in words.removeprefix("~").split():
            listed |= calls_of(word) if word.startswith("@") else {word}
        allowed = allowed - listed if words.startswith("~") else allowed | listed
    return allowed


def filtered(allowed):
    """What a child does before it becomes the program: the filter that systemd would install."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(library.seccomp_init(0x00050000 | errno.EPERM))
    for name in allowed:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            library.seccomp_rule_add(rules, 0x7fff0000, number, 0)
    return lambda: library.seccomp_load(rules) and os._exit(99)


def needs_build(*programs):
    for program in programs:
        if not (BUILD / program).exists():
            pytest.skip(f"{program} is not built")


@pytest.mark.parametrize("backend", ["null", "cpu"])
def test_programs_work_under_the_mediators_filter(backend):
    needs_systemd_analyze()
    needs_build("run/vgpu-run", f"executor/backends/{backend}/vgpu-backend-{backend}.so")
    load = [str(BUILD / "demo/vgpu-demo-workload"), "--seconds", "1", *(["--unchecked"] if backend == "null" else [])]
    r = subprocess.run([str(BUILD / "run/vgpu-run"), "--private", "--backend", backend, "--", *load], capture_output=True,
                       text=True, check=False, timeout=60, preexec_fn=filtered(allowed_by("vgpu-mediator.service")))
    assert r.returncode == 0, r.stdout + r.stderr


def test_stub_works_under_its_filter(tmp_path):
    needs_systemd_analyze()
    needs_build("stub/vgpu-stub")
    child = subprocess.Popen([str(BUILD / "stub/vgpu-stub"), "--socket", str(tmp_path / "s"), "--tenant-socket",
                              str(tmp_path / "none")], stderr=subprocess.PIPE, text=True,
                             preexec_fn=filtered(allowed_by("vgpu-stub@.service")))
    with pytest.raises(subprocess.TimeoutExpired):  # it serves until it is told to end
        child.wait(2)
    child.send_signal(signal.SIGTERM)
    said = child.communicate(timeout=10)[1]
    assert child.returncode == 0, said


@pytest.mark.parametrize("unit, sandbox", [("vgpu-mediator.service", "executor/sandbox.c"),
                                           ("vgpu-stub@.service", "stub/sandbox.c")])
def test_filter_has_what_the_sandbox_needs(unit, sandbox):
    """The inner list of system calls lies in the outer one, and it can be installed there."""
    needs_systemd_analyze()
    allowed = allowed_by(unit)
    source = (SOURCE / sandbox).read_text(encoding="utf-8")
    lists = re.findall(r"^static const char \*const \w+\[\] = \{(.*?)\};", source, re.M | re.S)
    inner = {name for text in lists for name in re.findall(r'"(\w+)"', text)}
    assert len(inner) > 20, "the list in the source was not found"
    assert not inner - allowed
    assert "seccomp" in allowed


@pytest.mark.parametrize("unit", MOST_EXPOSED)
def test_exposure(unit):
    needs_systemd_analyze()
    told = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNITS / unit)],
                          capture_output=True, text=True, check=False).stdout
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert level, told
    assert float(level.group(1)) <= MOST_EXPOSED[unit]


def put_units(folder):
    """The programs need not be there."""
    for unit in UNITS.iterdir():
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(encoding="utf-8"), flags=re.M)
        (folder / unit.name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("unit", sorted(p.name for p in UNITS.iterdir()))
def test_unit_is_understood(unit, tmp_path):
    """systemd knows every word of it."""
    needs_systemd_analyze()
    put_units(tmp_path)
    file = tmp_path / unit.replace("@.", "@11111111-2222-4333-8444-555555555555.")
    if file.name != unit:
        file.symlink_to(unit)
    r = subprocess.run(["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True, check=False)
    ours = [line for line in r.stderr.splitlines() if "vgpu" in line]
    assert r.returncode == 0 and not ours, r.stderr


@pytest.mark.parametrize("first", ["vgpu-mediator.service", "vgpu-stub@1.service"])
@pytest.mark.parametrize("starter", STARTERS)
def test_started_before_who_starts_machines(first, starter, tmp_path):
    """As systemd understands it: the contrary makes a cycle."""
    needs_systemd_analyze()
    put_units(tmp_path)
    (tmp_path / "vgpu-stub@1.service").symlink_to("vgpu-stub@.service")
    (tmp_path / "all.target").write_text(f"[Unit]\nWants={first} {starter}\nAfter={first} {starter}\n", encoding="utf-8")
    for order, cycle in ((f"After={first}", False), (f"Before={first}", True)):
        (tmp_path / starter).write_text(f"[Unit]\n{order}\n[Service]\nExecStart=/bin/true\n", encoding="utf-8")
        r = subprocess.run(["systemd-analyze", "verify", "--man=no", str(tmp_path / "all.target")], capture_output=True, text=True,
                           check=False)
        assert ("ordering cycle" in r.stderr) == cycle, r.stderr


def test_nothing_but_the_journal():
    """No unit writes to a file, and no package brings a folder of logs."""
    for unit in UNITS.glob("*.service"):
        assert not [line for name in ("StandardOutput", "StandardError", "LogsDirectory") for line in settings(unit.name, name)]
    lists = [f.read_text(encoding="utf-8") for f in (SOURCE / "debian").iterdir() if f.suffix in (".install", ".tmpfiles")]
    assert lists and not [text for text in lists if "var/log" in text or "logrotate" in text]


@pytest.mark.parametrize("name", ["vgpu-stub", "abstractions/vgpu-monitor", "abstractions/libvirt-qemu.d/vgpu"])
def test_apparmor(name, tmp_path):
    if not shutil.which("apparmor_parser"):
        pytest.skip("apparmor_parser is not installed (package apparmor)")
    profile = SOURCE / "packaging" / "apparmor" / name
    if "abstractions" in name:  # as the local rules of a monitor's profile have it
        whole = tmp_path / "profile"
        whole.write_text(f"abi <abi/3.0>,\ninclude <tunables/global>\nprofile m {{\n  include \"{profile}\"\n}}\n",
                         encoding="utf-8")
        profile = whole
    # Ours are included from their folder here, all else from where it is installed.
    include = ["-I", str(SOURCE / "packaging" / "apparmor"), "-I", "/etc/apparmor.d"]
    r = subprocess.run(["apparmor_parser", "-Q", "-K", *include, str(profile)], capture_output=True, text=True, check=False)
    assert r.returncode == 0, r.stderr
    if "abstractions" in name:
        r = subprocess.run(["apparmor_parser", "-p", *include, str(profile)], capture_output=True, text=True, check=True)
        assert "/vgpu-stub/*.sock rw," in r.stdout
