# SPDX-License-Identifier: Apache-2.0
"""The vgpu behind a port that does what hardware does: it reports errors, which the guest's kernel has the driver recover
from, and tells of devices that come and go by itself (native hotplug; the other tests have ACPI's). And a vgpu whose host
process has died, which can be unplugged all the same."""
import machine
import pytest
from machine import stack

# Only then does QEMU's port say that its link is up, without which no kernel recovers it.
NATIVE_HOTPLUG = "--", "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"


@pytest.fixture(scope="module")
def m(device):
    with stack.Mediator("cpu") as mediator, machine.Machine(mediator, memory="384M", options=NATIVE_HOTPLUG) as running:
        yield running


def start_worker(m):
    worker = m.guest.start("worker loop", VGPU_TEST_BACKEND="cpu")
    worker.wait_line("ready")
    return worker


def inject(m, error):
    said = m.guest.qmp("human-monitor-command", **{"command-line": f"pcie_aer_inject_error port0 {error}"})
    assert said.startswith("OK"), said


@pytest.mark.parametrize("error, how", [("POISON_TLP", "Non-Fatal"), ("DLP", "Fatal"), ("SDN", "Fatal"), ("COMP_ABORT", "Non-Fatal")])
def test_recovery(m, error, how):
    """What was open is lost, as after a reset, and what is opened next works. A fatal error brings a reset of the link."""
    worker = start_worker(m)
    m.guest.check("dmesg -c >/dev/null")
    inject(m, error)
    assert worker.wait(60).status == 3, worker.result().told() + m.said()
    m.mediator.wait_executors(0, 10)
    m.guest.check("for i in $(seq 100); do dmesg | grep -q 'device recovery' && exit 0; sleep 0.2; done; exit 1", timeout=120)
    said = m.guest.check("dmesg")
    assert f"Uncorrected ({how})" in said and "device recovery successful" in said, said
    assert ("link has been reset (0)" in said) == (how == "Fatal"), said
    assert not machine.complaints(said), said
    m.works()


def test_errors_while_programs_come_and_go(m):
    load = [m.guest.start("for i in $(seq 6); do worker turns 3; done; true", VGPU_TEST_BACKEND="cpu") for _ in range(2)]
    for error in ("POISON_TLP", "DLP", "COMP_ABORT"):
        machine.wait_for(m.mediator.executors, 30, m.said)
        inject(m, error)
    for loop in load:
        assert loop.wait(180).status == 0, loop.result().told()
    m.mediator.wait_executors(0, 10)
    # The programs may have come to their ends before the last error was dealt with.
    m.guest.check("for i in $(seq 100); do dmesg | grep -E 'PCIe Bus Error|device recovery' | tail -n 1 | grep -q recovery && exit 0; "
                  "sleep 0.2; done; exit 1", timeout=120)
    m.works()
    said = m.guest.check("dmesg")
    assert not machine.complaints(said), said


def test_unplugged_by_native_hotplug(m):
    worker = start_worker(m)
    m.guest.unplug()
    assert worker.wait(60).status == 3, worker.result().told()
    assert m.guest.run("test -e /dev/vgpu0").status == 1
    m.guest.plug(m.stub.socket)
    m.guest.wait_node()
    m.works()


def test_unplugged_when_its_process_is_dead(m):
    """Its registers read all ones: the driver lets go of the device without the host's word, keeps what the host might
    still use, and takes a new device in its place."""
    # One that has its channel and is still: QEMU 11.1 may abort when a register is written in just that moment.
    worker = m.guest.start("worker hold 1", VGPU_TEST_BACKEND="cpu")
    worker.wait_line("ready")
    m.stub.kill()
    m.mediator.wait_executors(0, 10)
    m.guest.unplug()
    assert m.guest.run("test -e /dev/vgpu0").status == 1
    worker.kill()
    assert worker.wait().status == -9
    m.stub.start()
    m.guest.plug(m.stub.socket)
    m.guest.wait_node()
    m.works()
    m.guest.check("rmmod vgpu && insmod /lib/modules/vgpu.ko")
    m.works()
    said = m.guest.check("dmesg")
    assert not machine.complaints(said), said


def test_another_id(device):
    """A driver that was not built for the ids the operator gave is told of them."""
    with stack.Mediator("null") as mediator, machine.Machine(mediator, memory="256M", stub_options=("--pci-id", "1234:5678")) as m:
        assert m.guest.run("test -e /dev/vgpu0").status == 1
        m.guest.check("echo 1234 5678 >/sys/bus/pci/drivers/vgpu/new_id")
        m.guest.wait_node()
        m.guest.check("vm-reopen 2")
