# SPDX-License-Identifier: Apache-2.0
"""The file that the agent runs in place of its own discovery script: run as the agent does, which reads both outputs as one and
waits for 30 s. (What is to end in time is seen to end; the limits themselves are in the script.)"""
import json
import pathlib
import subprocess
import tempfile

import admin
import control
import pytest
import vgpu
from cloudstack_host import SHIPPED
from inventory import SMALL
from test_cloudstack_discover import OTHER, owners
from test_slots import partition, reserve

SCRIPT = SHIPPED / "gpudiscovery.sh"
PATIENCE_S = 120  # less than what hangs here hangs


class Agent:
    def __init__(self, directory, socket):
        self.directory, self.settings = directory, directory / "settings"
        bin_ = directory / "bin"
        bin_.mkdir()
        (bin_ / "vgpu-admin").symlink_to(admin.ADMIN)
        self.stock, self.journal = directory / "stock.sh", directory / "journal"
        self.program("bin/logger", f'echo "$@" >>{self.journal}; exec cat >>{self.journal}')
        self.set(f"VGPU_CLOUDSTACK_STOCK_DISCOVERY={self.stock}\nVGPU_ADMIN_SOCKET={socket}\n")

    def set(self, text):
        self.settings.write_text(text)

    def program(self, name, text):
        path = self.directory / name
        path.write_text("#!/bin/sh\n" + text + "\n")
        path.chmod(0o755)

    def run(self):
        return subprocess.run([SCRIPT], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, timeout=PATIENCE_S, env=admin.environment(
                                  PATH=f"{self.directory}/bin:/usr/bin:/bin", VGPU_CLOUDSTACK_SETTINGS=str(self.settings)))

    def gpus(self):
        r = self.run()
        assert r.returncode == 0 and r.stdout.count("\n") == 1, r
        return json.loads(r.stdout)["gpus"]

    def fails(self):
        """Nothing that could be taken for a list, and the reason in the journal."""
        r = self.run()
        assert r.returncode != 0 and r.stdout == "", r
        return self.journal.read_text() if self.journal.exists() else ""


@pytest.fixture
def ctl():
    with vgpu.mediator(*SMALL) as m, control.connect(m) as c:
        c.api = m.directory / "api.sock"
        yield c


@pytest.fixture
def agent(request):
    socket = request.getfixturevalue("ctl").api if "ctl" in request.fixturenames else "/nonexistent/api.sock"
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory:
        yield Agent(pathlib.Path(directory), socket)


def test_ours_and_the_stock_scripts(ctl, agent):
    one, two = partition(ctl, 2)
    reserve(ctl, one)
    gpu, = agent.gpus()
    assert owners(gpu) == {one: "i-2-33-VM", two: None}
    agent.program("stock.sh", f"echo noise >&2; echo '{json.dumps({'gpus': [OTHER]})}'")
    ours, other = agent.gpus()
    assert ours == gpu and other["pci_address"] == OTHER["pci_address"]
    assert not agent.journal.exists() or agent.journal.read_text().count("\n") <= 2  # nothing but logger's own call


@pytest.mark.parametrize("stock", ["exit 1", "echo garbage", "echo '{\"gpus\": 5}'", "kill -9 $$", "exec sleep 600"])
def test_a_stock_script_that_fails_costs_only_its_own(ctl, agent, stock):
    slots = partition(ctl, 1)
    agent.program("stock.sh", stock)
    gpu, = agent.gpus()
    assert list(owners(gpu)) == slots


def test_a_stock_script_that_is_this_one(ctl, agent):
    partition(ctl, 1)
    agent.set(f"VGPU_CLOUDSTACK_STOCK_DISCOVERY={SCRIPT}\nVGPU_ADMIN_SOCKET={ctl.api}\n")
    assert len(agent.gpus()) == 1


def test_no_mediator(agent):
    assert "there is no socket" in agent.fails()
    assert "-t vgpu-cloudstack" in agent.journal.read_text()


@pytest.mark.parametrize("settings", ["if (\n", "exit 3\n", "echo loud; echo louder >&2\n"])
def test_settings_that_are_none(ctl, agent, settings):
    """What they print is not in the list, and an error in them is a failure of the script."""
    partition(ctl, 1)
    agent.set(f"VGPU_ADMIN_SOCKET={ctl.api}\n" + settings)
    if settings.startswith("echo"):
        assert len(agent.gpus()) == 1
    else:
        agent.fails()


@pytest.mark.parametrize("what", ["bin/vgpu-admin", "settings"])
def test_whatever_hangs_it_ends_in_time(agent, what):
    if what == "settings":
        agent.set("sleep 600\n")
        agent.fails()
    else:
        (agent.directory / what).unlink()
        agent.program(what, "exec sleep 600")
        assert "took more than" in agent.fails()


def test_a_host_without_vgpu_admin_or_a_journal(agent):
    (agent.directory / "bin/vgpu-admin").unlink()
    agent.fails()
    agent.program("bin/logger", "exit 1")
    agent.fails()
