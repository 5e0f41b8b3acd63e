# SPDX-License-Identifier: Apache-2.0
"""What happens to a guest's vgpu in its life: found, used by several, left, taken away and given back."""
import os

import machine
import pytest
from machine import stack, wait_for


@pytest.fixture(scope="module")
def m(device):
    with stack.Mediator("cpu") as mediator, machine.Machine(mediator, "--weight", "4", "--memory", "300M") as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left(m):
    """After each test: no executor, and the stub holds what it held before."""
    before = machine.fds_of(m.stub.pid) if m.stub.alive() else None
    yield
    m.mediator.wait_executors(0, 5)
    if before is not None and m.stub.alive():
        wait_for(lambda: machine.fds_of(m.stub.pid) <= before, 5, lambda: f"{machine.fds_of(m.stub.pid)} fds, before {before}")


def test_the_device_is_on_the_bus(m):
    assert m.guest.check("cd /sys/bus/pci/devices/0000:01:00.0 && cat vendor device class") == "0x1af4\n0x10f0\n0x120000\n"
    assert "vgpu" in m.guest.check("readlink /sys/bus/pci/devices/0000:01:00.0/driver")


def test_who_may_open_it(m):
    """Only root until an administrator (the udev rule) says otherwise."""
    assert m.guest.check("stat -c '%A %t' /dev/vgpu0").startswith("crw-rw---- a")
    assert m.guest.run("exec 3<>/dev/vgpu0").status == 0
    assert m.guest.run("su nobody -c 'exec 3<>/dev/vgpu0'").status != 0
    assert m.guest.run("su nobody -c 'exec 3<>/dev/null'").status == 0


def test_first_program(m):
    m.works()


def test_nvidia_smi(m):
    out = m.guest.check("nvidia-smi --query-gpu=memory.total --format=csv,noheader")
    assert out.strip() == "300 MiB", out


def test_two_processes(m):
    first = m.guest.start("worker loop", VGPU_TEST_BACKEND="cpu")
    second = m.guest.start("worker loop", VGPU_TEST_BACKEND="cpu")
    first.wait_line("ready")
    second.wait_line("ready")
    assert len(m.mediator.executors()) == 2
    first.kill()
    assert first.wait().status == -9
    m.mediator.wait_executors(1, 5)
    said = len(second.lines())
    m.works()
    assert second.status is None, second.result().told()
    assert len(second.lines()) >= said
    second.kill()
    second.wait()


def test_memory_is_back_after_a_kill(m):
    holder = m.guest.start("worker hold 200", VGPU_TEST_BACKEND="cpu")
    holder.wait_line("ready")
    assert "OUT_OF_MEMORY" in m.program("worker hold 200").out
    holder.kill()
    holder.wait()
    m.mediator.wait_executors(0, 5)
    again = m.guest.start("worker hold 200", VGPU_TEST_BACKEND="cpu")
    again.wait_line("ready")
    again.kill()
    again.wait()


def test_the_module_can_go_and_come(m):
    m.guest.check("rmmod vgpu && test ! -e /dev/vgpu0 && insmod /lib/modules/vgpu.ko && test -c /dev/vgpu0")
    m.works()


def test_the_module_stays_while_it_is_used(m):
    worker = m.guest.start("worker loop", VGPU_TEST_BACKEND="cpu")
    worker.wait_line("ready")
    assert m.guest.run("rmmod vgpu").status != 0
    assert worker.status is None
    worker.kill()
    worker.wait()


def test_reboot_with_work_in_flight(m):
    worker = m.guest.start("worker loop", VGPU_TEST_BACKEND="cpu")
    worker.wait_line("ready")
    m.guest.reboot()
    m.mediator.wait_executors(0, 5)
    m.works()


def test_reset_by_the_monitor(m):
    worker = m.guest.start("worker loop", VGPU_TEST_BACKEND="cpu")
    worker.wait_line("ready")
    count = m.guest.boots
    m.guest.qmp("system_reset")
    m.mediator.wait_executors(0, 5)
    m.guest.wait_boot(count + 1)
    m.works()


def test_executor_killed(m):
    worker = m.guest.start("worker loop", VGPU_TEST_BACKEND="cpu")
    worker.wait_line("ready")
    os.kill(m.mediator.executors()[0], 9)
    result = worker.wait(30)
    assert result.status == 3, result.told()
    m.works()


def test_reload_under_load(m):
    """The module goes as soon as nobody has it open for a moment, while programs come and go; none of them hangs."""
    load = [m.guest.start("while [ ! -e /tmp/enough ]; do worker turns 1; sleep 0.3; done", VGPU_TEST_BACKEND="cpu") for _ in range(2)]
    for _ in range(5):
        m.guest.check("for i in $(seq 500); do rmmod vgpu 2>/dev/null && exec insmod /lib/modules/vgpu.ko; sleep 0.05; done; exit 1",
                      timeout=120)
    m.guest.check("touch /tmp/enough")
    for loop in load:
        assert loop.wait(60).status != "timeout", loop.result().told()
    m.guest.check("rm /tmp/enough")
    m.works()


def test_unplugged_and_plugged_again(m):
    worker = m.guest.start("worker loop", VGPU_TEST_BACKEND="cpu")
    worker.wait_line("ready")
    m.guest.unplug()
    assert worker.wait(30).status == 3, worker.result().told()
    assert m.guest.run("test -e /dev/vgpu0").status == 1
    m.guest.plug(m.stub.socket)
    m.guest.wait_node()
    m.works()


def test_unplugged_while_programs_start(m):
    load = [m.guest.start("for i in $(seq 5); do worker turns 5; done; true", VGPU_TEST_BACKEND="cpu") for _ in range(3)]
    wait_for(m.mediator.executors, 30, m.said)
    m.guest.unplug()
    for loop in load:
        assert loop.wait(120).status == 0, loop.result().told()
    m.guest.plug(m.stub.socket)
    m.guest.wait_node()
    m.works()


def test_the_kernel_has_nothing_to_complain_of(m):
    assert not machine.complaints(m.guest.check("dmesg"))
