# SPDX-License-Identifier: Apache-2.0
"""The harness itself, and a guest that has no vgpu."""
import machine
import pytest


@pytest.fixture(scope="module")
def guest(image):
    with machine.Guest() as running:
        yield running


def test_commands_run_side_by_side(guest):
    first = guest.start("echo begun; sleep 2; echo done; exit 3")
    first.wait_line("begun")
    assert guest.check("echo $A; echo problem >&2", A="x y") == "x y\n"
    assert first.status is None
    result = first.wait()
    assert (result.status, result.out) == (3, "begun\ndone\n")
    assert guest.run("kill -9 $$").status == -9
    assert guest.run("sleep 100", timeout=0.5).status == "timeout"


def test_large_output(guest):
    assert guest.check("seq 20000") == "".join(f"{i}\n" for i in range(1, 20001))


def test_no_gpu_without_a_vgpu(guest):
    """As on a machine without an NVIDIA driver: no device, said by name, and nothing hangs."""
    result = guest.run("init_and_devices", VGPU_TEST_BACKEND="cpu")
    assert result.status not in (0, "timeout"), result.told()
    assert not guest.check("ls /dev").count("vgpu")


def test_reboot_of_the_machine(guest):
    guest.check("touch /tmp/of-the-first-life")
    guest.reboot()
    assert guest.run("test -e /tmp/of-the-first-life").status == 1
