# SPDX-License-Identifier: Apache-2.0
"""The names of NVIDIA's driver that programs look for in a guest: only when asked for, and nothing behind them."""
import machine
import pytest
from machine import stack

NAMES = "/proc/driver/nvidia/version /dev/nvidiactl /dev/nvidia-uvm /dev/nvidia0"


@pytest.fixture(scope="module")
def m(device):
    with stack.Mediator("null") as mediator, machine.Machine(mediator) as running:
        yield running


def load(m, *words):
    m.guest.check("rmmod vgpu")
    return m.guest.run(f"insmod /lib/modules/vgpu.ko {' '.join(words)}").status


def test_none_when_not_asked_for(m):
    assert m.guest.run(f"ls -d {NAMES} /proc/driver/nvidia").out == ""


def test_as_programs_look_for_them(m):
    """What TensorFlow and others take from the file: what stands between 'Kernel Module  ' and the next space."""
    assert load(m, "nvidia_version=580.159.04") == 0
    assert m.guest.check(f"ls -d {NAMES}").split() == sorted(NAMES.split())
    first = m.guest.check("head -n 1 /proc/driver/nvidia/version")
    assert first.partition("Kernel Module  ")[2].split()[0] == "580.159.04"
    assert "No such device or address" in m.guest.run("cat /dev/nvidia0 /dev/nvidiactl").err
    m.works()


def test_framework_startup_finds_the_version(m):
    result = m.program("framework_startup")
    assert result.status == 0 and "580.159.04" in result.out, result.told()


def test_they_go_with_the_module(m):
    m.guest.check("rmmod vgpu")
    assert m.guest.run(f"ls -d {NAMES} /proc/driver/nvidia").out == ""
    m.guest.check("insmod /lib/modules/vgpu.ko")


@pytest.mark.parametrize("version", ["580;rm", "1" * 32, "580-1"])
def test_a_version_is_digits_and_dots(m, version):
    assert load(m, f"'nvidia_version={version}'") != 0
    m.guest.check("insmod /lib/modules/vgpu.ko")
