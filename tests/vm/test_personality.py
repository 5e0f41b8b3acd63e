# SPDX-License-Identifier: Apache-2.0
"""A guest of the nvidia personality: it finds an H100 on its bus as tools and drivers look for one, and beside it the vgpu that
does the work, whatever happens to the first."""
import json
import re
import shutil
import subprocess

import machine
import pytest
from machine import stack

VGPU, NVIDIA = "0000:01:00.0", "0000:02:00.0"
SYS = f"/sys/bus/pci/devices/{NVIDIA}"
KERNELS = {"bookworm": "6.1", "trixie-backports": "the newest packaged"}


@pytest.fixture(scope="module")
def m(device):
    # QEMU's firmware puts large BARs where QEMU says (for AMD's processors with 40 bits of address) that nothing may be;
    # without the word Linux finds no room for them when the device is found again.
    with stack.Mediator("cpu") as mediator, machine.Machine(mediator, nvidia=True, append="pci=no_e820") as running:
        yield running


def registers(m, *offsets):
    out = m.guest.check(f"vm-bar {NVIDIA} read {' '.join(f'{o:x}' for o in offsets)}")
    return [int(line.split()[1], 16) for line in out.splitlines()]


def enable_memory(m):
    m.guest.check(f"echo 1 >{SYS}/enable")


def lspci(m, tmp_path, *options):
    """What lspci says of the device, by the configuration space as the guest has it."""
    if not shutil.which("lspci"):
        pytest.skip("no lspci here (package pciutils)")
    words = m.guest.check(f"hexdump -v -e '16/1 \"%02x \" \"\\n\"' {SYS}/config").splitlines()
    dump = tmp_path / "dump"
    dump.write_text("02:00.0 device\n" + "".join(f"{16 * i:02x}: {line.strip()}\n" for i, line in enumerate(words)))
    return subprocess.run(["lspci", "-F", dump, *options], capture_output=True, text=True, check=True).stdout


def test_the_guests_check_sees_both_devices(m):
    out = m.guest.check("vgpu-guest-check --json --for nvidia", VGPU_TEST_BACKEND="cpu")
    checks = {c["check"]: c for c in json.loads(out)["checks"]}
    assert checks["personality"]["state"] == "ok" and "10de:2330" in checks["personality"]["text"], checks["personality"]
    assert checks["test-copy-out"]["state"] == "ok", checks["test-copy-out"]


def test_lspci_says_what_it_says_of_the_real_one(m, tmp_path):
    text = lspci(m, tmp_path, "-nn")
    # Debian 12's list of names has no space behind GH100.
    assert re.fullmatch(r"02:00\.0 3D controller \[0302\]: NVIDIA Corporation GH100 ?\[H100 SXM5 80GB\] \[10de:2330\] \(rev a1\)", text.strip()), text
    more = lspci(m, tmp_path, "-vv")
    assert "Subsystem: NVIDIA Corporation" in more and "16c1" in more
    for line in ("Power Management version 3", "MSI: Enable- Count=1/1 Maskable+ 64bit+", "Express (v2) Endpoint", "Speed 32GT/s, Width x16"):
        assert line in more, more
    assert "MSI-X" not in more and "SR-IOV" not in more


def test_sizes(m):
    """Three BARs of 64 bits, all of them placed."""
    rows = [[int(x, 16) for x in line.split()] for line in m.guest.check(f"cat {SYS}/resource").splitlines()]
    assert [(end - begin + 1 if end else 0) >> 20 for begin, end, _ in rows[:6]] == [16, 0, 512, 0, 32, 0]
    assert all(row[2] & 0x10220c == 0x10220c & ~0x8 | row[2] & 0x8 for row in (rows[0], rows[2], rows[4]))
    assert all(row[0] for row in (rows[0], rows[2], rows[4]))


def test_tools_that_look_for_a_gpu_find_it(m):
    """As Kubernetes' feature discovery and container tools do: by class and vendor in sysfs."""
    out = m.guest.check("for d in /sys/bus/pci/devices/*; do echo $(basename $d) $(cat $d/class $d/vendor $d/device); done")
    found = [line.split()[0] for line in out.splitlines() if re.search(r" 0x0302\d\d 0x10de ", line)]
    assert found == [NVIDIA], out
    assert "1af4" not in m.guest.check(f"cat {SYS}/vendor")


def test_vgpu_binds_to_its_own_device_only(m):
    assert "vgpu" in m.guest.check(f"readlink /sys/bus/pci/devices/{VGPU}/driver")
    assert m.guest.run(f"test -e {SYS}/driver").status != 0
    m.works()


def test_registers_that_the_vendors_module_reads_when_it_binds(m):
    """In its order: BOOT_1, BOOT_0, BOOT_42; then what it polls, and clocks that go on."""
    enable_memory(m)
    assert registers(m, 0x4, 0x0, 0xa00) == [0, 0x180000a1, 0x180a1000]
    assert registers(m, 0x200bc, 0x1183a4, 0x1fa828, 0x1182cc) == [0xff, 81559, 0, 0]
    assert registers(m, 0x92000, 0x88000) == [0x233010de] * 2
    first, second = registers(m, 0x9400, 0x9410), registers(m, 0x9400, 0x9410)
    assert first[::-1] < second[::-1]


def test_driver_override(m):
    """vgpu.ko is asked to take the device that is not its own, and refuses; then everything is as before."""
    m.guest.check(f"echo vgpu >{SYS}/driver_override; echo {NVIDIA} >/sys/bus/pci/drivers_probe; true")
    assert m.guest.run(f"test -e {SYS}/driver").status != 0
    m.guest.check(f"echo >{SYS}/driver_override")
    m.guest.check(f"echo {VGPU} >/sys/bus/pci/drivers/vgpu/unbind && echo {VGPU} >/sys/bus/pci/drivers/vgpu/bind")
    m.works()


def test_reset_of_the_device(m):
    assert m.guest.check(f"cat {SYS}/reset_method").strip()
    enable_memory(m)
    m.guest.check(f"vm-bar {NVIDIA} write 100a34=1234")
    assert registers(m, 0x100a34) == [0x1234]
    m.guest.check(f"echo 1 >{SYS}/reset")
    assert registers(m, 0x100a34, 0) == [0, 0x180000a1]
    m.works()


def test_removed_and_found_again(m):
    m.guest.check(f"echo 1 >{SYS}/remove && test ! -e {SYS} && echo 1 >/sys/bus/pci/rescan && test -e {SYS}")
    enable_memory(m)
    assert registers(m, 0) == [0x180000a1]
    m.works()


@pytest.mark.parametrize("seed", range(2))
def test_garbage_in_all_of_it(m, seed):
    enable_memory(m)
    worker = m.guest.start("worker loop", VGPU_TEST_BACKEND="cpu")
    worker.wait_line("ready")
    out = m.guest.check(f"vm-bar {NVIDIA} scribble {seed} 4")
    assert int(out.split()[0]) > 1000, out
    assert worker.status is None, worker.result().told()
    worker.kill()
    worker.wait()
    # Some of the words switched it off or reset it, which the guest's kernel did not see.
    for offset, bytes_ in ((68, "\\010\\000"), (4, "\\006\\000")):
        m.guest.check(f"printf '{bytes_}' | dd of={SYS}/config bs=1 seek={offset} conv=notrunc")
    m.guest.check(f"echo 1 >{SYS}/reset")
    assert registers(m, 0) == [0x180000a1]
    assert not machine.complaints(m.guest.check("dmesg"))
    assert m.stub.alive()
    m.works()


def test_unplugged_and_plugged_in_again(m):
    m.guest.unplug(1)
    m.works()
    m.guest.plug(f"{m.stub.socket}.nvidia", 1)
    m.guest.check(f"timeout 20 sh -c 'until [ -e {SYS}/enable ]; do sleep 0.1; done'")
    assert m.guest.check(f"cat {SYS}/device") == "0x2330\n"
    m.works()


def test_reboot(m):
    m.guest.reboot()
    enable_memory(m)
    assert registers(m, 0) == [0x180000a1]
    m.works()


# ---- Linux's own driver ----

@pytest.fixture(scope="module", params=list(KERNELS))
def with_nouveau(request, device):
    """A guest of a kernel that has nouveau, not loaded yet."""
    folder = machine.VM / f"nouveau-{request.param}"
    if not (folder / "version").exists():
        pytest.skip(f"no kernel with nouveau: scripts/vm/get-nouveau {request.param}")
    module = machine.VM / f"kmod-nouveau-{request.param}"
    built = subprocess.run([machine.SCRIPTS / "build-module.sh", folder / "headers", module], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    initrd = machine.VM / f"initramfs-nouveau-{request.param}.cpio"
    machine.make_image(initrd, f"{module / 'vgpu.ko'}:/lib/modules/vgpu.ko", f"{folder / 'modules'}:/lib/nouveau")
    with stack.Mediator("cpu") as mediator, \
            machine.Machine(mediator, nvidia=True, initrd=initrd, options=("--kernel", folder / "vmlinuz")) as running:
        running.suite = request.param
        yield running
    initrd.unlink()


def test_nouveau_looks_and_lets_go(with_nouveau):
    m = with_nouveau
    m.works()
    m.guest.check("for x in $(grep -v '^nouveau$' /lib/nouveau/order); do insmod /lib/nouveau/$x.ko || exit 1; done")
    # Debian 12's does not know the chip; newer ones try to start its firmware, give up, and the kernel goes on.
    m.guest.check("dmesg -c >/dev/null; insmod /lib/nouveau/nouveau.ko", 120)
    said = m.guest.check("dmesg")
    print(said)
    assert m.guest.run(f"test -e {SYS}/driver").status != 0, said
    lines = [line for line in said.splitlines() if f"nouveau {NVIDIA}" in line]
    if m.suite == "bookworm":
        assert any("unknown chipset (180000a1)" in line for line in lines), said
    assert lines and not machine.complaints(said), said
    m.works()
    m.guest.check("rmmod nouveau && insmod /lib/nouveau/nouveau.ko", 120)  # as often as one likes
    assert m.stub.alive()
    m.works()
