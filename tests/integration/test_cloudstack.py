# SPDX-License-Identifier: Apache-2.0
"""Each subcommand of vgpu-admin cloudstack that asks CloudStack's API: a real mediator on one side, a management server that
checks all it is asked on the other."""
import contextlib
import csv
import io
import json
import re

import admin
import cloudstack_server
import control
import pytest
import vgpu
from inventory import SMALL, VM1, VM2

KEPT = ("--set", "store.flush=100 ms")
HOSTILE = "a\x1b[2J\u202eb"


class Site:
    """CloudStack, the mediator of its host kvm1, and vgpu-admin with a configuration for both."""

    def __init__(self, cloud, mediator, ctl, path):
        self.cloud, self.mediator, self.ctl, self.path = cloud, mediator, ctl, path
        self.host = cloud.add_host("kvm1")
        self.configure()

    def configure(self, more="", url=None, **settings):
        lines = {"url": url or self.cloud.url, "apikey": cloudstack_server.KEY, "secretkey": cloudstack_server.SECRET,
                 "host": "KVM1", "wait_ms": 1, "tries": 3, "timeout": 10, **settings}
        text = "[cloudstack]\n" + "".join(f"{k} = {v}\n" for k, v in lines.items() if v is not None)
        self.path.write_text(text + "[card]\ndeviceid = 2330\ndevicename = GH100 [H100]\n" + more)
        self.path.chmod(0o600)

    def run(self, *args, **kw):
        return admin.run("cloudstack", *args, "--config", self.path, socket=self.mediator.directory / "api.sock",
                         env={"no_proxy": "*"}, **kw)

    def ok(self, *args):
        r = self.run(*args)
        assert r.returncode == admin.OK and not r.stderr, (r.stdout, r.stderr)
        return r.stdout

    def refused(self, *args, code=admin.REFUSED):
        r = self.run(*args)
        assert r.returncode == code, (r.returncode, r.stdout, r.stderr)
        return r.stderr

    def slot(self, vm=None, name="one"):
        """A slot of the mediator's, held by that VM."""
        if vm and vm not in [v["vm"] for v in self.ctl.do("vm.list")["vms"]]:
            self.ctl.do("vm.add", vm=vm, name=name)
        return self.ctl.do("vgpu.add", profile="small", **({"vm": vm} if vm else {}))["vgpu"]

    def announce(self):
        """The host's agent tells what the mediator has."""
        self.cloud.slots = lambda: {v["vgpu"]: (v["profile"], v["vm"]) for v in self.ctl.do("vgpu.list")["vgpus"]}


@contextlib.contextmanager
def opened(tmp_path, *args, tls=None):
    with cloudstack_server.serving(tls) as cloud, vgpu.mediator(*SMALL, "--set", "gpu.memory=8G", *args) as m, \
            control.connect(m) as ctl:
        yield Site(cloud, m, ctl, tmp_path / "cloudstack.conf")


@pytest.fixture
def site(tmp_path):
    with opened(tmp_path) as s:
        yield s


OFFERING = "[offering small]\nname = gpu.small\ncpunumber = 4\ncpuspeed = 2000\nmemory = 8192\nhosttags = vgpu\nofferha = true\n"


# ---- setup

def test_setup_twice(site):
    site.configure(OFFERING)
    said = site.ok("setup", "--dry-run")
    assert said.splitlines() == ["would do: card GH100 [H100]", "would do: profile small", "would do: offering gpu.small"]
    assert site.cloud.changes() == []
    assert site.ok("setup").splitlines() == ["done: card GH100 [H100]", "done: profile small", "done: offering gpu.small"]
    card, = site.cloud.cards
    assert (card["vendorid"], card["deviceid"], card["name"]) == ("10de", "2330", "NVIDIA Corporation GH100 [H100]")
    profile = site.cloud.profiles[-1]
    assert (profile["name"], profile["gpucardid"], profile["videoram"], profile["maxvgpuperphysicalgpu"]) == \
        ("small", card["id"], 1024, 8)
    offering, = site.cloud.offerings
    assert offering == {"id": offering["id"], "name": "gpu.small", "displaytext": "gpu.small", "cpunumber": 4, "cpuspeed": 2000,
                        "memory": 8192, "vgpuprofileid": profile["id"], "gpucount": 1, "gpudisplay": "false", "offerha": "true",
                        "hosttags": "vgpu"}
    site.cloud.asked.clear()
    assert site.ok("setup") == "CloudStack has it all already.\n"
    assert json.loads(site.ok("setup", "--json")) == []
    assert site.cloud.changes() == [] and len(site.cloud.offerings) == 1


def test_setup_tells_a_size_that_was_changed(site):
    site.ok("setup")
    site.cloud.profiles[-1]["videoram"] = 512
    assert json.loads(site.ok("setup", "--json")) == [{"step": "size of profile", "name": "small"}]
    assert site.cloud.profiles[-1]["videoram"] == 1024 and site.cloud.changes()[-1] == "updateVgpuProfile"
    assert site.ok("setup") == "CloudStack has it all already.\n"


def test_setup_tells_what_a_vm_of_a_profile_is(site):
    site.ctl.do("profile.add", profile="apps", memory="1G", protocol="custom", personality="nvidia")
    site.ok("setup")
    text = {p["name"]: p.get("description") for p in site.cloud.profiles}
    assert text["small"] == "a share of a GPU, profile small"
    assert text["apps"] == "a share of a GPU, profile apps; seen as an NVIDIA GPU as well; for programs of libvgpu only"
    site.ctl.do("profile.set", profile="apps", protocol="cuda", personality="custom")
    assert site.ok("setup") == "done: description of profile apps\n"
    apps, = [p for p in site.cloud.profiles if p["name"] == "apps"]
    assert apps["description"] == "a share of a GPU, profile apps; for CUDA programs only"
    assert site.ok("setup") == "CloudStack has it all already.\n"
    # What somebody wrote there stays.
    apps["description"] = "for the trainees"
    site.ctl.do("profile.set", profile="apps", protocol="any")
    assert site.ok("setup") == "CloudStack has it all already.\n"


def test_setup_goes_on_where_it_ended(site):
    site.configure(OFFERING)
    site.cloud.faults["createServiceOffering"] = [431]
    said = site.refused("setup")
    assert "createServiceOffering (431): fault 431" in said and "4.21" in said
    assert site.ok("setup") == "done: offering gpu.small\n"


def test_setup_leaves_a_foreign_offering_alone(site):
    site.configure(OFFERING)
    site.cloud.offerings.append({"id": "1", "name": "gpu.small", "vgpuprofileid": "another"})
    assert "another name" in site.refused("setup")
    assert len(site.cloud.offerings) == 1


def test_setup_of_a_profile_that_is_none(site):
    site.configure(OFFERING.replace("offering small", "offering large"))
    assert "no profile 'large'" in site.refused("setup") and "'vgpu-admin profile list'" in site.refused("setup")
    assert not site.cloud.offerings


def test_setup_wants_to_know_the_card(site):
    site.path.write_text(site.path.read_text().replace("deviceid = 2330\n", ""))
    assert "needs deviceid" in site.refused("setup", code=admin.USAGE)
    assert site.cloud.changes() == []


# ---- status, reconcile, prune

def test_status_side_by_side(site):
    one, two, gone = site.slot(VM1), site.slot(), "00000000-0000-4000-8000-00000000dead"
    vm = site.cloud.add_vm(VM1, "labs's")
    site.cloud.add_device(site.host, one, "small", vm)
    site.cloud.add_device(site.host, gone, "small", state="Error")
    site.cloud.add_device(site.host, "3b:00.0", "passthrough", gpudevicetype="VGPUOnly")
    other = site.cloud.add_host("kvm2", state="Down")
    site.cloud.add_device(other, "11111111-0000-4000-8000-000000000000", "small")
    hosts, slots = site.ok("status").split("\n\n")
    assert re.search(r"^kvm1 +Up +Enabled +4 +1 ", hosts, re.M) and re.search(r"^kvm2 +Down ", hosts, re.M)
    rows = {line.split()[0]: line for line in slots.splitlines()[1:]}
    assert set(rows) == {one, two, gone}
    assert re.search(r" small +Allocated +labs's +Running +one +-$", rows[one])
    assert rows[two].endswith("not known to CloudStack") and rows[gone].endswith("no slot any more: prune")
    found = json.loads(site.ok("status", "--json"))
    assert [h["name"] for h in found["hosts"]] == ["kvm1", "kvm2"] and found["host"] == "kvm1"
    assert {r["slot"]: r["differs"] for r in found["vgpus"]} == {one: False, two: True, gone: True}


def test_names_of_others_do_not_move_the_cursor(site):
    site.cloud.add_device(site.host, site.slot(VM1), HOSTILE, site.cloud.add_vm(VM1, HOSTILE))
    site.cloud.hosts[0]["ipaddress"] = HOSTILE
    for command in (["status"], ["drain", "--dry-run"], ["drain", "--yes"], ["status", "--json"]):
        said = site.ok(*command)
        assert "\x1b" not in said and "\u202e" not in said and "[2J" in said, command


def test_a_host_that_is_not_there(site):
    site.configure(host="kvm9")
    said = site.run("status")
    assert said.returncode == admin.REFUSED and "no KVM host 'kvm9'" in said.stderr and "kvm1" in said.stdout


def test_reconcile(site):
    one, two = site.slot(VM1), site.slot()
    vm = site.cloud.add_vm(VM1, "labs's")
    assert site.run("reconcile", "--dry-run").returncode == admin.REFUSED
    assert "2 differences; without --dry-run" in site.refused("reconcile", "--dry-run")
    assert site.cloud.changes() == []
    site.announce()
    said = site.ok("reconcile")
    assert said.count("not known to CloudStack") == 2 and said.endswith("CloudStack and the mediator agree.\n")
    assert site.cloud.changes() == ["discoverGpuDevices"]
    assert {d["busaddress"]: d.get("virtualmachineid") for d in site.cloud.devices} == {one: vm["id"], two: None}
    assert site.ok("reconcile") == "CloudStack and the mediator agree.\n"
    assert site.cloud.changes() == ["discoverGpuDevices"]

    device = next(d for d in site.cloud.devices if d["busaddress"] == one)
    for field in ("virtualmachineid", "virtualmachinename", "vmstate"):
        del device[field]
    device["state"] = "Free"  # a second VM could be given it
    assert "in use, but free in CloudStack" in site.run("reconcile", "--dry-run").stdout
    answer = json.loads(site.ok("reconcile", "--json"))
    assert answer == {"differences": [], "discovered": True} and device["state"] == "Allocated"


def test_reconcile_says_what_is_left(site):
    site.slot(VM1)
    site.cloud.slots = lambda: {"00000000-0000-4000-8000-000000000007": ("small", None)}
    r = site.run("reconcile")
    assert r.returncode == admin.REFUSED and "2 differences are left" in r.stderr
    assert site.cloud.changes() == ["discoverGpuDevices"]


def test_prune(site):
    one, gone, held = site.slot(VM1), "00000000-0000-4000-8000-00000000dead", "00000000-0000-4000-8000-00000000beef"
    vm = site.cloud.add_vm(VM1, "labs's", "Stopped")
    other = site.cloud.add_host("kvm2")
    kept = [site.cloud.add_device(site.host, one, "small", state="Error"),
            site.cloud.add_device(site.host, held, "small", vm, state="Error"),
            site.cloud.add_device(site.host, "3b:00.0", "passthrough", gpudevicetype="PCI", state="Error"),
            site.cloud.add_device(other, "22222222-0000-4000-8000-000000000000", "small", state="Error")]
    site.cloud.add_device(site.host, gone, "small", state="Error")
    assert gone in site.ok("prune", "--dry-run")
    r = site.run("prune")
    assert r.returncode == admin.USAGE and "Delete this device in CloudStack? Nothing was done" in r.stderr
    assert site.cloud.changes() == []
    assert site.ok("prune", "--yes").endswith(f"Device {gone} is deleted.\n")
    assert site.cloud.devices == kept
    assert site.ok("prune", "--yes") == "There is nothing to delete.\n" and len(site.cloud.changes()) == 1


def test_prune_without_a_mediator_deletes_nothing(site):
    site.cloud.add_device(site.host, "00000000-0000-4000-8000-00000000dead", "small", state="Error")
    r = admin.run("cloudstack", "prune", "--yes", "--config", site.path, socket="/nowhere.sock")
    assert r.returncode == admin.NO_CONNECTION and "/nowhere.sock" in r.stderr
    assert len(site.cloud.devices) == 1


# ---- drain

def holders(site):
    vms = [site.cloud.add_vm(VM1, "labs's"), site.cloud.add_vm(VM2, "bert's"),
           site.cloud.add_vm("33333333-2222-4333-8444-555555555555", "off", "Stopped")]
    for i, vm in enumerate([vms[0], vms[0], vms[1], vms[2]]):
        site.cloud.add_device(site.host, f"00000000-0000-4000-8000-00000000000{i}", "small", vm)
    return vms


def test_drain(site):
    vms = holders(site)
    said = site.ok("drain", "--dry-run")
    assert re.search(rf"^labs's +Running +2 +small +{VM1}$", said, re.M) and "bert's" in said and "off" not in said
    r = site.run("drain")
    assert r.returncode == admin.USAGE and "Stop these VMs on kvm1?" in r.stderr and site.cloud.changes() == []
    with admin.terminal("cloudstack", "drain", "--config", site.path, env={"no_proxy": "*"}) as t:
        t.until("[y/N]")
        t.type("n\n")
        assert t.wait() == admin.REFUSED
    assert site.cloud.changes() == []
    said = site.ok("drain", "kvm1", "--yes")
    assert "VM labs's is stopped." in said and "VM bert's is stopped." in said and "disable the host" in said
    assert [v["state"] for v in vms] == ["Stopped"] * 3 and site.cloud.changes() == ["stopVirtualMachine"] * 2
    assert all("forced" not in p for name, p in site.cloud.asked if name == "stopVirtualMachine")
    assert site.ok("drain", "--yes") == "No VM holds a vGPU on kvm1.\n"


def test_drain_goes_on_when_one_does_not_stop(site):
    holders(site)
    site.cloud.stop_fails[VM1] = (530, "the guest is stuck")
    r = site.run("drain", "--yes", "--forced")
    assert r.returncode == admin.REFUSED and "to stop labs's (530): the guest is stuck" in r.stderr
    assert "VM bert's is stopped." in r.stdout and "any more" not in r.stdout
    assert all(p["forced"] == "true" for name, p in site.cloud.asked if name == "stopVirtualMachine")


def test_drain_does_not_wait_for_ever(site):
    holders(site)
    site.configure(job_timeout=1)
    site.cloud.polls = 1 << 30
    r = site.run("drain", "--yes")
    assert r.returncode == admin.REFUSED and "still runs after 1 s" in r.stderr


# ---- usage

def test_usage(tmp_path):
    (tmp_path / "kept").mkdir()
    with opened(tmp_path, "--set", f"store.path={tmp_path}/kept/store.db", *KEPT) as site:
        for vm, name in ((VM1, "one"), (VM2, "two")):
            slot = site.slot(vm, name)
            socket = next(v["socket"] for v in site.ctl.do("vgpu.list")["vgpus"] if v["vgpu"] == slot)
            with vgpu.Client(socket) as client:
                client.open().do("work 500 0")

                def recorded(vm=vm):
                    rows = site.ctl.do("usage", name=f"vm-{vm}", by="hour")["usage"]
                    return rows and rows[0]["gpu_ns"] > 0

                vgpu.wait_for(recorded, 10)
        site.cloud.add_vm(VM1, "=cmd()", account="labs")
        for i in range(450):  # more than two pages
            site.cloud.add_vm(f"{i}", f"other-{i}")
        site.cloud.add_vm(VM2, "bert's", account="bert", project="shop", domain="ROOT, too")
        site.cloud.asked.clear()
        text = site.ok("usage", "--from=-2h")
        assert re.search(r"^=cmd\(\) +labs +- +ROOT/lab +gpu.small +\S", text, re.M) and "bert's" in text and "other" not in text
        assert [p["page"] for name, p in site.cloud.asked if "projectid" not in p] == ["1", "2", "3"]

        rows = list(csv.DictReader(io.StringIO(site.ok("usage", "--csv"))))
        by_vm = {r["vm"]: r for r in rows}
        assert set(by_vm) == {VM1, VM2} and by_vm[VM1]["name"] == "'=cmd()"
        assert by_vm[VM2]["domain"] == "ROOT, too" and by_vm[VM2]["project"] == "shop"
        told = json.loads(site.ok("usage", "--from=-1d", "--json"))["usage"]
        booked = {r["tenant"]: r for r in site.ctl.do("usage", by="day")["usage"]}
        for row in told:
            assert row["gpu_ns"] == booked[f"vm-{row['vm']}"]["gpu_ns"] == int(by_vm[row["vm"]]["gpu_ns"]) > 0
        assert site.ok("usage", "--to=2020-01-01") == "No VM used a vGPU in that time.\n"

        site.cloud.vms.pop()
        r = site.run("usage")
        assert r.returncode == 0 and "1 of these VMs CloudStack does not know" in r.stderr and VM2 in r.stdout
        assert "not both" in site.refused("usage", "--csv", "--json", code=admin.USAGE)
        assert "not before" in site.refused("usage", "--from=2026-01-02", "--to=2026-01-01", code=admin.USAGE)


def test_usage_without_records(site):
    assert "store.path" in site.refused("usage")
