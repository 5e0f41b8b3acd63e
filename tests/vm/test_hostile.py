# SPDX-License-Identifier: Apache-2.0
"""A guest whose root means harm: it may harm itself. Its neighbour computes on, the mediator stays, nothing is left."""
import machine
import pytest
from machine import stack


@pytest.fixture(scope="module")
def two(device):
    # Nobody is kept out for what they did: then there would be no more of it to test.
    with stack.Mediator("cpu", ["strikes.most=0"]) as mediator, machine.Machine(mediator) as bad, machine.Machine(mediator) as good:
        yield bad, good


def checked_by_neighbour(bad, good, harm):
    """While `harm` is done in one guest the other one computes right results."""
    worker = good.guest.start("worker loop", VGPU_TEST_BACKEND="cpu")
    worker.wait_line("ready")
    before = machine.fds_of(bad.mediator.pid)
    harm()
    assert worker.status is None, worker.result().told()
    good.works()
    worker.kill()
    worker.wait()
    good.mediator.wait_executors(0, 10)
    assert bad.mediator.alive()
    assert machine.fds_of(bad.mediator.pid) <= before


@pytest.mark.parametrize("seed", range(3))
def test_garbage_in_registers_and_commands(two, seed):
    bad, good = two

    def harm():
        bad.guest.check("rmmod vgpu")
        bad.guest.check("echo 1 >/sys/bus/pci/devices/0000:01:00.0/enable")
        # Memory decoding and bus mastering, without which a well-made device acts upon nothing.
        bad.guest.check("printf '\\006\\000' | dd of=/sys/bus/pci/devices/0000:01:00.0/config bs=1 seek=4 conv=notrunc")
        out = bad.guest.check(f"vm-hostile {seed} 5")
        assert int(out.split()[0]) > 100, out
    checked_by_neighbour(bad, good, harm)
    assert bad.stub.alive(), bad.said()
    # And the device is as good as new for a driver that behaves.
    bad.guest.check("insmod /lib/modules/vgpu.ko && test -c /dev/vgpu0")
    bad.works()


def test_garbage_in_channels(two):
    """A process fills the memory of its channel, ring and all, with random words: its executor ends it, again and again."""
    bad, good = two

    def harm():
        out = bad.guest.check("vm-hostile 1 5 channel")
        assert int(out.split()[0]) > 0, out
    checked_by_neighbour(bad, good, harm)
    bad.works()


def test_a_guest_that_goes_on_is_kept_out(device):
    """As settings are without an operator's word. Its neighbour, and what was told of before, are not."""
    quarantined = 9
    with stack.Mediator("cpu") as mediator, machine.Machine(mediator) as bad, machine.Machine(mediator, memory="384M") as good:
        def harm():
            result = bad.guest.run("vm-hostile 2 60 channel", timeout=120)
            assert result.status == 1 and f"refused: {quarantined}" in result.err, result.told()
        checked_by_neighbour(bad, good, harm)
        refused = bad.program("worker turns 1")
        assert "CUDA_ERROR_DEVICE_UNAVAILABLE (46)" in refused.out, refused.told()
        assert bad.guest.alive() and bad.stub.alive()
