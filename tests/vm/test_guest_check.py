# SPDX-License-Identifier: Apache-2.0
"""vgpu-guest-check in a guest: what it says of a machine that is ready, and of what was made wrong on purpose."""
import contextlib
import json
import os
import signal

import machine
import pytest
from machine import stack

FAKE_LIBCUDA = stack.BUILD / "tests/unit/check/libcuda.so.1"
DEVICE = "/sys/bus/pci/devices/0000:01:00.0"
STEPS = ["test-init", "test-device", "test-memory", "test-copy-in", "test-kernel", "test-copy-out", "test-nvml"]


@pytest.fixture(scope="module")
def m(device, tmp_path_factory):
    image = tmp_path_factory.mktemp("image") / "initrd.cpio"
    machine.make_image(image, f"{FAKE_LIBCUDA}:/opt/other/libcuda.so.1", f"{FAKE_LIBCUDA}:/opt/cuda/lib64/stubs/libcuda.so.1")
    with stack.Mediator("cpu") as mediator, machine.Machine(mediator, initrd=image) as running:
        yield running


class Report:
    """One run with --json; status None: whatever it says."""

    def __init__(self, m, *options, status, command="vgpu-guest-check", **environment):
        result = m.guest.run(f"{command} --json {' '.join(options)}", 120, **environment)
        assert result.status == status or (status is None and result.status in (0, 1)), f"{result.told()}{m.said()}"
        self.report = json.loads(result.out)
        self.checks = {c["check"]: c for c in self.report["checks"]}
        assert self.report["ready"] == (result.status == 0)

    def says(self, name, state, *words):
        check = self.checks[name]
        text = f"{check['text']} -> {check['next']}"
        assert check["state"] == state and all(word in text for word in words), check
        return self

    def state(self, state):
        return {name for name, check in self.checks.items() if check["state"] == state}


def test_a_ready_machine(m):
    r = Report(m, status=0)
    assert not r.state("failed") and {"module", "driver", "protocol", "shared-memory", "host", "libcuda", *STEPS} <= r.state("ok")
    # Of what such a guest has not.
    r.says("node", "warning", "udev rule").says("loader-cache", "not checked").says("socket", "not checked", "no socket")
    r.says("test-copy-out", "ok", "65536 sums are right").says("test-nvml", "ok", "vgpu CPU device")
    assert r.report["personality"] == r.report["for"] == "custom"
    assert r.report["versions"]["libcuda"] == r.report["versions"]["program"] and r.report["versions"]["device"] == 1
    m.mediator.wait_executors(0, 5)


def test_the_table_says_the_same(m):
    table = m.guest.check("vgpu-guest-check", timeout=120)
    r = Report(m, status=0)
    for name, check in r.checks.items():
        lines = [line for line in table.splitlines() if line.startswith(name + " ")]
        assert len(lines) == 1 and lines[0].split(None, 1)[1].startswith(check["state"]), (check, lines)
        assert check["text"] in lines[0], lines
        assert not check["next"] or check["next"] in table
    assert table.splitlines()[-1].startswith("Ready for custom:")


def test_without_the_self_test(m):
    r = Report(m, "--no-self-test", status=0)
    assert set(STEPS) <= r.state("not checked")


def test_for_a_personality(m):
    Report(m, "--no-self-test", "--for", "nvidia", status=0).says("personality", "ok", "nvidia while this machine is off")
    # Programs of the project's own interface need its library.
    Report(m, "--no-self-test", "--for", "custom", status=0).says("libvgpu", "ok")
    m.guest.check("mv /lib/vgpu/libvgpu.so.1 /tmp/")
    try:
        Report(m, "--no-self-test", "--for", "custom", status=1).says("libvgpu", "failed", "not installed", "vgpu-libs")
    finally:
        m.guest.check("mv /tmp/libvgpu.so.1 /lib/vgpu/")
    assert m.guest.run("vgpu-guest-check --for both").status == 2


def test_module_that_is_not_loaded(m):
    m.guest.check("rmmod vgpu")
    try:
        release = m.guest.check("uname -r").strip()
        r = Report(m, status=1).says("module", "failed", f"vgpu-guest-dkms linux-headers-{release}").says("driver", "failed", "'module'")
        r.says("test-init", "failed", "CUDA_ERROR_NO_DEVICE").says("test-kernel", "not checked")
        m.guest.check(f"mkdir -p /lib/modules/{release} && echo updates/dkms/vgpu.ko: >/lib/modules/{release}/modules.dep")
        Report(m, status=1).says("module", "failed", "modprobe vgpu")
    finally:
        m.guest.check("insmod /lib/modules/vgpu.ko")
    Report(m, status=0)


def test_device_without_its_driver(m):
    m.guest.check(f"echo 0000:01:00.0 >{DEVICE}/driver/unbind")
    try:
        Report(m, status=1).says("module", "ok").says("driver", "failed", "did not take 0000:01:00.0").says("node", "not checked", "driver")
    finally:
        m.guest.check("echo 0000:01:00.0 >/sys/bus/pci/drivers_probe")
    Report(m, status=0)


@pytest.mark.parametrize("folder, advice", [("/opt/other", "put "), ("/opt/cuda/lib64/stubs", "only for linking")])
def test_another_libcuda_first_in_the_path(m, folder, advice):
    r = Report(m, status=1, LD_LIBRARY_PATH=f"{folder}:/lib/vgpu")
    r.says("libcuda", "failed", f"{folder}/libcuda.so.1", f"take {folder} out of LD_LIBRARY_PATH", advice)
    r.says("libnvidia-ml", "ok").says("test-init", "failed", "CUDA_ERROR_NO_DEVICE")


def test_no_library_at_all(m):
    r = Report(m, status=1, LD_LIBRARY_PATH="/nowhere")
    r.says("libcuda", "failed", "find no libcuda.so.1", "vgpu-guest").says("versions", "ok").says("test-nvml", "failed")


def test_user_who_may_not(m):
    m.guest.check("printf '#!/bin/sh\\nLD_LIBRARY_PATH=/lib/vgpu exec vgpu-guest-check --json\\n' >/tmp/as-nobody; chmod 755 /tmp/as-nobody")
    r = Report(m, status=1, command="su nobody -c /tmp/as-nobody #")
    r.says("node", "failed", "nobody may not open /dev/vgpu0", "udev rule").says("test-init", "failed", "Permission denied")
    r.says("locked-memory", "warning", "KiB of pinned memory")


def test_addresses_that_are_limited(m):
    r = Report(m, status=1, command="ulimit -v 4000000; vgpu-guest-check")
    r.says("addresses", "failed", "ulimit -v unlimited (it is 3906 MiB)").says("test-init", "failed")


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_host_that_does_not_answer(m):
    """The check ends by itself, within bounds, and names what it waited for."""
    with stopped(m.mediator.pid):
        r = Report(m, "--time-limit", "5", status=1)
    r.says("driver", "ok").says("test-init", "failed", "not done after 5 s", "vgpu-mediator").says("test-device", "not checked", "test-init")
    assert "test-nvml" in r.state("failed")
    m.guest.check("for i in $(seq 100); do pidof vgpu-guest-check || exit 0; sleep 0.2; done; exit 1", timeout=60)
    Report(m, status=0)


def test_host_that_is_gone(m):
    """The last of this machine: it stays without a host."""
    os.kill(m.mediator.pid, signal.SIGKILL)
    machine.wait_for(lambda: Report(m, "--no-self-test", status=None).checks["host"]["state"] == "failed", 20, m.said)
    Report(m, status=1).says("protocol", "ok").says("host", "failed", "mediator").says("test-init", "failed")


def test_memory_that_is_not_shared(device):
    """A machine whose operator forgot share=on."""
    with stack.Mediator("null") as mediator, machine.Machine(mediator, options=("--", "-object", "memory-backend-ram,id=private,size=512M",
                                                                                "-machine", "memory-backend=private")) as running:
        Report(running, status=1).says("module", "ok").says("driver", "failed", "does not start", "share=on").says("node", "not checked")
