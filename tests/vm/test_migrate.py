# SPDX-License-Identifier: Apache-2.0
"""A guest under load goes over to the nvidia personality with its next start, and back: what vgpu-guest-check says in it lets
it in, the mediator sees the start and judges it by what the guest does, and programs compute what they should all the time."""
import contextlib
import json
import os
import time

import machine
import pytest
from machine import stack

import control  # of the integration tests

VM = "5f0c2f8e-9a54-4c55-9d4e-0a1b2c3d4e5f"
SETTINGS = ("profile small.memory=1G", "migrate.look=200ms", "migrate.minutes=1", "store.flush=200ms")
SYS = "/sys/bus/pci/devices/0000:02:00.0"


class Mediator(stack.Mediator):
    def own_settings(self):
        return (f"store.path={self.folder}/store.db",)

    def control(self):
        return control.Control(os.path.join(self.folder, "run", "control.sock"))


class Host:
    """A VM of the inventory on a mediator: its stub, and the guest as it was started last."""

    def __init__(self, mediator, stub):
        self.mediator, self.stub = mediator, stub

    @contextlib.contextmanager
    def guest(self, nvidia):
        """It runs, with the second device in its definition or without."""
        sockets = [self.stub, *([f"{self.stub.socket}.nvidia"] if nvidia else [])]
        with machine.Guest(*sockets, options=("--", "-uuid", VM)) as guest:
            yield guest

    def row(self, ctl):
        row, = ctl.do("migrate.status")["vms"]
        return row

    def becomes(self, ctl, state, seconds=20):
        machine.wait_for(lambda: self.row(ctl)["state"] == state, seconds, lambda: f"never {state}: {self.row(ctl)}")


@pytest.fixture
def host(device):
    with Mediator("cpu", SETTINGS) as mediator, mediator.control() as ctl:
        ctl.do("vm.add", vm=VM, name="one")
        ctl.do("vgpu.add", vm=VM, profile="small")
        with machine.Stub(os.path.join(mediator.folder, "run", f"vm-{VM}.sock")) as stub:
            yield Host(mediator, stub)


def works(guest):
    result = guest.run("worker turns 20", 120, VGPU_TEST_BACKEND="cpu")
    assert result.status == 0, result.told() + guest.said()


def load(guest):
    worker = guest.start("worker loop", VGPU_TEST_BACKEND="cpu")
    worker.wait_line("ready")
    return worker


def report(guest, target):
    """As an operator carries it from the guest to the host."""
    result = guest.run(f"vgpu-guest-check --json --for {target}", 180)
    assert result.status == 0, result.told() + guest.said()
    found = json.loads(result.out)
    for check in found["checks"]:
        if check["state"] != "failed":
            del check["text"], check["next"]
    assert found["vm_uuid"] == VM
    return json.dumps(found)


def begin(ctl, guest, target):
    ctl.do("migrate.plan", to=target)
    assert ctl.refused("migrate.canary")[0] == "state"
    ctl.do("migrate.preflight", report=report(guest, target))  # it says itself whose it is
    assert ctl.do("migrate.canary")["moved"] == 1


def has_identity(guest):
    return guest.run(f"test $(cat {SYS}/vendor) = 0x10de").status == 0


def test_there_under_load_and_back(host):
    with host.mediator.control() as ctl:
        with host.guest(nvidia=False) as guest:
            works(guest)
            begin(ctl, guest, "nvidia")
            worker = load(guest)
            time.sleep(1)
            assert host.row(ctl)["state"] == "waiting" and not has_identity(guest)
            assert worker.status is None, worker.result().told()
            guest.reboot()  # the machine stays what it is: the monitor did not start anew
            assert host.row(ctl)["state"] == "waiting" and not has_identity(guest)
            works(guest)
            load(guest)
        host.becomes(ctl, "observed")
        with host.guest(nvidia=True) as guest:
            assert has_identity(guest)
            works(guest)
            worker = load(guest)
            host.becomes(ctl, "good", 150)  # by a minute of what it does
            assert ctl.do("migrate.status")["state"] == "done" and worker.status is None, worker.result().told()
            assert host.row(ctl)["after"]["launches"] > 0
            worker.kill()
            worker.wait()
            begin(ctl, guest, "custom")
            load(guest)
        host.becomes(ctl, "observed")
        with host.guest(nvidia=False) as guest:
            assert not has_identity(guest)
            works(guest)
            ctl.do("migrate.rollback")  # in the middle: it is nvidia again with its next start
            works(guest)
        with host.guest(nvidia=True) as guest:
            assert has_identity(guest)
            works(guest)
