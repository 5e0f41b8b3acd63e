# SPDX-License-Identifier: Apache-2.0
"""vgpu-admin cloudstack install and uninstall, in a tree of a host: what is written and what is not, files of others, and
what happens when it cannot be finished."""
import os
import shutil
import stat
import subprocess

import admin
import control
import pytest
import vgpu
from cloudstack_host import (AGENT, CONF, DISCOVERY, FILES, GUARD, HOOKS, PROGRAMS, SETTINGS, SHIPPED, STATE_CHANGE, TIMER,
                             TRANSFORMER, Host)
from inventory import SMALL
from test_slots import partition, reserve

BACKUP = ".before-vgpu"
FILLED = "[cloudstack]\nurl = https://cloud.example.org/client/api\napikey = a\nsecretkey = b\n"


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_dry_run_lists_what_install_then_writes(host):
    would = host.report("install", "--dry-run")
    assert host.tree() == {}
    done = host.report("install")
    assert host.files() == set(FILES)
    for path, mode in FILES.items():
        st = host.at(path).stat()
        assert (stat.S_IMODE(st.st_mode), st.st_uid) == (mode, os.geteuid()), path

    def plain(report):
        return [{**row, "action": None} for row in report["files"]]
    assert plain(would) == plain(done) and would["next"] == done["next"]
    assert {row["path"]: int(row["mode"], 8) for row in done["files"]} == {"/" + p: m for p, m in FILES.items()}
    assert {row["action"] for row in would["files"]} == {"would write"} and {r["action"] for r in done["files"]} == {"written"}
    steps = "\n".join(done["next"])
    for step in ("restart libvirtd", "restart cloudstack-agent", "fill in /etc/vgpu/cloudstack.conf", "cloudstack doctor"):
        assert step in steps


def test_what_is_written_is_what_is_shipped(host):
    host.ok("install")
    for path, source in ((TRANSFORMER, "libvirt-vm-xml-transformer.sh"), (STATE_CHANGE, "libvirt-vm-state-change.sh"),
                         (DISCOVERY, "gpudiscovery.sh"), (GUARD, "qemu.d/50-vgpu"), (SETTINGS, "cloudstack-hooks.env"),
                         (CONF, "cloudstack.conf")):
        text = (SHIPPED / source).read_text()
        lines = host.at(path).read_text()
        assert lines.startswith(text) and lines[len(text):].startswith("# written by") and lines.count("\n") == text.count("\n") + 1
        if path in PROGRAMS:
            assert subprocess.run(["sh", "-n", host.at(path)], check=False).returncode == 0
    # The templates say nothing yet, in the form that is read.
    r = admin.run("cloudstack", "status", "--config", host.at(CONF))
    assert "url is missing" in r.stderr


def test_twice_is_once(host):
    host.ok("install")
    before = host.tree()
    inodes = {p: host.at(p).stat().st_ino for p in FILES}
    assert "Nothing to do" in host.ok("install") and "Nothing to do" in host.ok("install", "--dry-run")
    assert host.tree() == before and {p: host.at(p).stat().st_ino for p in FILES} == inodes
    assert not host.report("install")["changes"]


def test_an_upgrade_and_a_lost_mode(host):
    host.ok("install")
    source = host.source / "gpudiscovery.sh"
    source.write_text(source.read_text() + "# new\n")
    host.at(GUARD).chmod(0o644)
    host.write(STATE_CHANGE, (SHIPPED / "libvirt-vm-state-change.sh").read_text(), 0o755)  # put there by hand
    rows = {r["path"].lstrip("/"): r for r in host.report("install", "--dry-run")["files"]}
    assert rows[DISCOVERY]["detail"].startswith("lines ") and rows[GUARD]["detail"] == "mode or owner"
    changed = {DISCOVERY, GUARD, STATE_CHANGE}
    assert {p for p, r in rows.items() if r["action"] == "would write"} == changed
    assert {p for p, a in host.rows("install").items() if a == "written"} == changed
    assert "# new\n" in host.at(DISCOVERY).read_text() and os.access(host.at(GUARD), os.X_OK)
    assert host.files() == set(FILES)


def test_settings_stay(host):
    host.write(SETTINGS, "VGPU_CLOUDSTACK_EMULATOR=/x\n")
    host.write(CONF, FILLED, 0o600)
    host.ok("install")
    assert host.at(CONF).read_text() == FILLED and host.at(SETTINGS).read_text() == "VGPU_CLOUDSTACK_EMULATOR=/x\n"
    host.ok("uninstall")
    assert host.files() == {CONF, SETTINGS}


def test_where_agent_properties_has_its_hooks(host):
    host.write(f"{AGENT}/agent.properties", "agent.hooks.basedir = /opt/hooks\n"
               "agent.hooks.libvirt_vm_xml_transformer.shell_script=t.sh\nagent.hooks.libvirt_vm_on_stop.shell_script=stop.sh\n")
    host.ok("install")
    hooks = {"opt/hooks/t.sh", "opt/hooks/stop.sh", "opt/hooks/libvirt-vm-state-change.sh"}
    assert host.files() - {f"{AGENT}/agent.properties"} == hooks | {DISCOVERY, GUARD, SETTINGS, CONF}
    host.ok("uninstall")
    assert host.files() == {f"{AGENT}/agent.properties"}
    host.write(f"{AGENT}/agent.properties", "agent.hooks.libvirt_vm_on_start.shell_script=../../x\n")
    assert "not a file's name" in host.refused("install")
    assert host.files() == {f"{AGENT}/agent.properties"}


@pytest.mark.parametrize("path", PROGRAMS)
def test_a_foreign_file(host, path):
    theirs = host.write(path, "#!/bin/sh\necho mine\n", 0o750)
    before = host.tree()
    for more in ((), ("--dry-run",)):
        said = host.refused("install", *more)
        assert f"/{path} is not vgpu's" in said and "--replace" in said
        assert host.tree() == before
    host.ok("install", "--replace")
    assert "vgpu-admin" in theirs.read_text()
    backup = (host.at("etc/libvirt/hooks/50-vgpu" + BACKUP) if path == GUARD else host.at(path + BACKUP))
    assert backup.read_text() == "#!/bin/sh\necho mine\n"
    assert list(host.at(GUARD).parent.iterdir()) == [host.at(GUARD)]  # libvirt runs all that is there
    host.ok("uninstall")
    assert (theirs.read_text(), stat.S_IMODE(theirs.stat().st_mode)) == ("#!/bin/sh\necho mine\n", 0o750)
    assert host.files() == {path}
    # A second backup has no place.
    host.ok("install", "--replace")
    host.write(path, "again")
    assert "moved before" in host.refused("install", "--replace")


def test_a_groovy_script_that_would_run_first(host):
    groovy = host.write(f"{HOOKS}/libvirt-vm-xml-transformer.groovy", "new T()\n")
    assert "runs before ours" in host.refused("install") and host.files() == {f"{HOOKS}/libvirt-vm-xml-transformer.groovy"}
    assert host.rows("install", "--replace", "--dry-run")[f"{HOOKS}/libvirt-vm-xml-transformer.groovy"] == "would move"
    host.ok("install", "--replace")
    assert not groovy.exists() and host.at(f"{HOOKS}/libvirt-vm-xml-transformer.groovy{BACKUP}").exists()
    host.ok("uninstall")
    assert groovy.read_text() == "new T()\n" and host.files() == {f"{HOOKS}/libvirt-vm-xml-transformer.groovy"}


def test_a_changed_file(host):
    host.ok("install")
    host.at(TRANSFORMER).write_text(host.at(TRANSFORMER).read_text() + "# mine\n")
    assert "was changed since" in host.refused("install")
    rows = host.rows("uninstall", "--dry-run")
    assert rows[TRANSFORMER] == "kept" and rows[GUARD] == "would remove"
    assert host.files() == set(FILES)
    assert host.rows("uninstall")[TRANSFORMER] == "kept"
    assert host.files() == {TRANSFORMER}
    assert host.rows("uninstall") == {TRANSFORMER: "kept"}


def test_uninstall_of_nothing(host):
    assert "Nothing to do" in host.ok("uninstall")
    host.write(DISCOVERY, "mine")
    assert "Nothing to do" in host.ok("uninstall") and host.at(DISCOVERY).read_text() == "mine"


# ---- links and strangers ----

def test_a_link_in_a_files_place_is_not_written_through(host):
    victim = host.write("victim", "precious")
    host.at(AGENT).mkdir(parents=True)
    host.at(DISCOVERY).symlink_to(victim)
    assert "is not vgpu's" in host.refused("install")
    host.ok("install", "--replace")
    assert victim.read_text() == "precious" and not host.at(DISCOVERY).is_symlink()
    host.ok("uninstall")
    assert host.at(DISCOVERY).is_symlink() and victim.read_text() == "precious"
    # Nor where it is written first.
    (host.at(AGENT) / ".gpudiscovery.sh.vgpu-new").symlink_to(victim)
    host.ok("install", "--replace")
    assert victim.read_text() == "precious" and not (host.at(AGENT) / ".gpudiscovery.sh.vgpu-new").is_symlink()


@pytest.mark.parametrize("folder", ["etc", AGENT, HOOKS, "etc/libvirt/hooks/qemu.d", "etc/vgpu"])
def test_a_link_on_the_way_is_not_followed(host, tmp_path, folder):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    host.at(folder).parent.mkdir(parents=True, exist_ok=True)
    host.at(folder).symlink_to(elsewhere)
    before = host.tree()
    assert f"/{folder} is a link" in host.refused("install", "--replace")
    assert not list(elsewhere.iterdir()) and host.tree() == before


def test_a_folder_that_others_can_write_to(host):
    host.at(HOOKS).mkdir(parents=True)
    host.at(HOOKS).chmod(0o775)
    assert f"chmod go-w /{HOOKS}" in host.refused("install")
    host.at(HOOKS).chmod(0o755)
    if os.geteuid() == 0:
        os.chown(host.at(HOOKS), 12345, 12345)
        assert f"chown root /{HOOKS}" in host.refused("install")
    assert host.files() == set()


def test_what_is_no_file(host):
    host.at(GUARD).mkdir(parents=True)
    assert f"/{GUARD} is no file" in host.refused("install", "--replace")
    assert host.files() == set()
    host.at(GUARD).rmdir()
    os.mkfifo(host.at(GUARD))
    assert f"/{GUARD} is no file" in host.refused("install", "--replace")


# ---- when it cannot be finished ----

def test_nothing_is_left_of_what_failed(host):
    """A folder stands where a file is written first: the last of them cannot be."""
    host.write(DISCOVERY, "#!/bin/sh\n", 0o755)
    staged = host.at("etc/vgpu/.cloudstack.conf.vgpu-new")
    staged.mkdir(parents=True)
    before = host.tree()
    said = host.refused("install", "--replace")
    assert "/etc/vgpu/cloudstack.conf" in said and "Nothing was installed" in said
    assert host.tree() == before


def test_what_was_put_into_place_is_taken_back(host, tmp_path):
    """The file system says no at a rename in the middle: with a file that was moved and an older one before it."""
    host.ok("install")
    older = host.source / "libvirt-vm-xml-transformer.sh"
    older.write_text(older.read_text() + "# newer\n")
    host.at(STATE_CHANGE).write_text("#!/bin/sh\n# theirs\n")
    host.at(CONF).unlink()
    host.at(GUARD).unlink()
    before = host.tree()
    lib = tmp_path / "fail.so"
    (tmp_path / "fail.c").write_text("""
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int renameat(int a, const char *from, int b, const char *to)
{
	if (!strcmp(to, "cloudstack.conf")) { errno = EIO; return -1; }
	return (int)syscall(SYS_renameat2, a, from, b, to, 0);
}
""")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", lib, tmp_path / "fail.c"], check=True)
    if "VGPU_SANITIZE" in os.environ:
        pytest.skip("the sanitizer's runtime wants to be the first that is preloaded")
    host.env["LD_PRELOAD"] = str(lib)
    said = host.refused("install", "--replace")
    assert "Input/output error" in said and "is not as it was" not in said
    assert host.tree() == before
    del host.env["LD_PRELOAD"]
    host.ok("install", "--replace")
    assert host.at(TRANSFORMER).read_text().count("# newer\n") == 1


def test_files_that_are_not_shipped(host):
    (host.source / "gpudiscovery.sh").unlink()
    assert "gpudiscovery.sh is not there: --from" in host.refused("install")
    assert host.files() == set()
    shutil.rmtree(host.source)
    assert "No such file" in host.refused("install")


# ---- the timer ----

@pytest.fixture
def systemd(host):
    if not shutil.which("systemctl"):
        pytest.skip("no systemctl here")
    host.write(f"usr/lib/systemd/system/{TIMER}", "[Timer]\nOnUnitActiveSec=60\n[Install]\nWantedBy=timers.target\n")
    return host.at(f"etc/systemd/system/timers.target.wants/{TIMER}")


def test_the_timer_is_enabled_when_there_are_keys(host, systemd):
    host.ok("install")
    assert not systemd.is_symlink()
    host.write(CONF, FILLED, 0o600)
    assert host.rows("install", "--dry-run")[TIMER] == "would enable" and not systemd.is_symlink()
    assert host.rows("install")[TIMER] == "enabled" and systemd.is_symlink()
    assert "Nothing to do" in host.ok("install")
    assert host.rows("uninstall", "--dry-run")[TIMER] == "would disable" and systemd.is_symlink()
    assert host.rows("uninstall")[TIMER] == "disabled" and not systemd.is_symlink()


def test_without_a_timer_that_is_said(host):
    host.write(CONF, FILLED, 0o600)
    assert any("package vgpu-cloudstack" in step for step in host.report("install")["next"])


# ---- VMs ----

def test_uninstall_while_vms_have_vgpus(host):
    host.ok("install")
    with vgpu.mediator(*SMALL) as m, control.connect(m) as ctl:
        host.socket = m.directory / "api.sock"
        slot = partition(ctl, 2)[0]
        reserve(ctl, slot)
        said = host.refused("uninstall")
        assert "i-2-33-VM" in said and "--force" in said and host.files() == set(FILES)
        assert host.refused("uninstall", "--dry-run")
        host.ok("uninstall", "--force")
        assert host.files() == set()
        host.ok("install")
        ctl.do("slot.release", vgpu=slot, vm=ctl.do("vgpu.get", vgpu=slot)["vm"])
        host.ok("uninstall")
        assert host.files() == set()


def test_uninstall_when_it_is_not_known_who_has_what(host):
    host.ok("install")
    host.write("var/lib/vgpu/store.db", "garbage")
    assert "not known" in host.refused("uninstall") and set(FILES) < host.files()
    host.ok("uninstall", "--force")
    assert host.files() == {"var/lib/vgpu/store.db"}
