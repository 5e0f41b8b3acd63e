#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vgpu-guest-check over the files of machines that are not there (--root): what each check makes of them.
usage: test_trees.py VGPU_GUEST_CHECK FAKE_LIBCUDA OUR_LIBCUDA OUR_LIBNVML. Speaks TAP."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import traceback

PROGRAM, FAKE, OURS, OUR_NVML = sys.argv[1:5]
RELEASE = "6.1.0-32-cloud-amd64"
MODULES = f"lib/modules/{RELEASE}/modules.dep"
VGPU, NVIDIA = "sys/bus/pci/devices/0000:01:00.0", "sys/bus/pci/devices/0000:02:00.0"
LIBRARIES = "usr/lib/x86_64-linux-gnu/vgpu"
SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


class Tree:
    """A machine's files; ready for the custom personality until a test changes something."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.put("proc/sys/kernel/osrelease", RELEASE + "\n")
        self.put("proc/modules", "vgpu 90112 0 - Live 0x0000000000000000 (OE)\n")
        self.put(MODULES, "updates/dkms/vgpu.ko:\nkernel/drivers/gpu/drm/nouveau/nouveau.ko: x\n")
        self.put(f"var/lib/dkms/vgpu/0.1.0/{RELEASE}/x86_64/module/vgpu.ko", "")
        self.put("usr/src/vgpu-0.1.0/dkms.conf", "")
        self.put("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n")
        self.put("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        self.pci(VGPU, "0x1af4", "0x10f0", "0x120000", "vgpu")
        self.copy(OURS, f"{LIBRARIES}/libcuda.so.1")
        self.copy(OUR_NVML, f"{LIBRARIES}/libnvidia-ml.so.1")
        self.copy(OURS, "usr/bin/nvidia-smi")
        self.loader(LIBRARIES)

    def put(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    def copy(self, source, path):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, self.root / path)

    def remove(self, path):
        file = self.root / path
        shutil.rmtree(file) if file.is_dir() else file.unlink()

    def pci(self, device, vendor, number, kind, driver=None):
        if (self.root / device).exists():
            self.remove(device)
        for name, value in (("vendor", vendor), ("device", number), ("class", kind), ("subsystem_vendor", vendor), ("subsystem_device", number)):
            self.put(f"{device}/{name}", value + "\n")
        if driver:
            (self.root / device / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")

    def loader(self, *folders):
        """The cache that ldconfig makes of these, in this order."""
        self.put("etc/ld.so.conf", "".join(f"/{f}\n" for f in folders))
        subprocess.run(["/sbin/ldconfig", "-r", self.root, "-X"], check=True, capture_output=True)

    def h100(self, driver=None):
        self.pci(NVIDIA, "0x10de", "0x2330", "0x030200", driver)

    def look(self, *options, status=None):
        env = dict(os.environ, PATH="/usr/local/bin:/usr/bin", LD_LIBRARY_PATH=os.environ.get("LD_LIBRARY_PATH", ""))
        done = subprocess.run([PROGRAM, "--root", self.root, "--json", *options], capture_output=True, text=True, check=False, timeout=60, env=env)
        assert done.returncode in (0, 1), done
        self.report = json.loads(done.stdout)
        self.checks = {c["check"]: c for c in self.report["checks"]}
        failed = [c for c in self.report["checks"] if c["state"] == "failed"]
        assert self.report["ready"] == (done.returncode == 0) == (not failed), done.stdout
        assert all(c["next"] for c in failed), failed
        if status is not None:
            assert done.returncode == status, failed
        return self

    def says(self, name, state, *words):
        check = self.checks[name]
        text = f"{check['text']} -> {check['next']}"
        assert check["state"] == state, check
        assert all(word in text for word in words), check
        return self


def a_ready_machine(t):
    t.look(status=0).says("module", "ok").says("driver", "ok").says("dkms", "ok", "0.1.0").says("loader-cache", "ok")
    t.says("personality", "ok", "custom").says("node", "not checked", "only the files").says("test-init", "not checked")
    t.says("versions", "ok", "0.1.0").says("nvidia-smi", "ok").says("signatures", "ok").says("huge-pages", "ok")
    assert t.report["personality"] == t.report["for"] == "custom"
    assert t.report["kernel"] == RELEASE and t.report["versions"]["dkms"] == "0.1.0"
    assert len(t.report["machine"]) == 16 and t.report["machine"] not in "0123456789abcdef" and t.report["vm_uuid"] is None


def an_old_kernel(t):
    t.put("proc/sys/kernel/osrelease", "5.10.0-30-amd64\n")
    t.look(status=1).says("kernel", "failed", "5.10", "6.1").says("module", "not checked", "kernel")


def no_files_at_all(t):
    shutil.rmtree(t.root)
    t.root.mkdir()
    t.look(status=1).says("kernel", "failed").says("device", "failed").says("personality", "not checked")


def module_that_is_not_loaded(t):
    t.put("proc/modules", "vgpu2 1 0 - Live 0x0\n")
    t.look(status=1).says("module", "failed", "not loaded", "modprobe vgpu")
    t.put("etc/modprobe.d/mine.conf", "blacklist vgpu\n")
    t.look(status=1).says("module", "failed", "/etc/modprobe.d/mine.conf")


def module_that_is_not_built(t):
    t.put("proc/modules", "")
    t.put(MODULES, "kernel/x.ko:\n")
    t.remove("var/lib/dkms/vgpu/0.1.0/" + RELEASE)
    t.look(status=1).says("module", "failed", f"apt install linux-headers-{RELEASE}", "dkms install vgpu/0.1.0").says("dkms", "warning")
    t.put(f"lib/modules/{RELEASE}/build/Makefile", "")
    t.look().says("module", "failed", f"-> dkms install vgpu/0.1.0 -k {RELEASE}")
    t.remove("usr/src/vgpu-0.1.0")
    t.look().says("module", "failed", "apt install vgpu-guest-dkms")


def signed_modules_only(t):
    t.put("sys/kernel/security/lockdown", "none [integrity] confidentiality\n")
    t.put(SECURE_BOOT, b"\6\0\0\0\1")
    t.look(status=0).says("signatures", "ok", "Secure Boot on", "lockdown (integrity)")
    t.put("proc/modules", "")
    t.look(status=1).says("signatures", "failed", "mokutil")
    t.put("var/lib/dkms/mok.pub", "")
    t.look().says("signatures", "failed", "mokutil --import /var/lib/dkms/mok.pub")
    t.put("sys/kernel/security/lockdown", "[none] integrity\n")
    t.look().says("signatures", "ok", "Secure Boot on", "nobody signed")
    t.put("sys/module/module/parameters/sig_enforce", "Y\n")
    t.look().says("signatures", "failed", "sig_enforce")


def another_kernel_without_it(t):
    t.put("lib/modules/6.12.9-amd64/modules.dep", "kernel/x.ko:\n")
    t.look(status=0).says("other-kernels", "warning", "6.12.9-amd64", "dkms autoinstall -k 6.12.9-amd64")
    t.put("lib/modules/6.12.9-amd64/modules.dep", "updates/dkms/vgpu.ko.xz:\n")
    t.look(status=0).says("other-kernels", "ok")


def device_of_another_driver(t):
    t.pci(VGPU, "0x1af4", "0x10f0", "0x120000", "vfio-pci")
    t.look(status=1).says("driver", "failed", "vfio-pci drives 0000:01:00.0", "drivers/vfio-pci/unbind")
    t.pci(VGPU, "0x1af4", "0x10f0", "0x120000")
    t.look(status=1).says("driver", "failed", "did not take", "dmesg")


def device_with_another_id(t):
    t.pci(VGPU, "0x1234", "0x5678", "0x120000", "vgpu")
    t.look(status=0).says("device", "ok", "1234:5678")


def no_device(t):
    t.pci(VGPU, "0x1af4", "0x1041", "0x020000", "virtio-pci")
    t.look(status=1).says("device", "failed", "1af4:10f0").says("driver", "not checked", "device").says("personality", "not checked")


def the_nvidia_personality(t):
    t.h100()
    t.look(status=0).says("personality", "ok", "10de:2330").says("nouveau", "ok", "does not know")
    assert t.report["personality"] == "nvidia" == t.report["for"]


def ready_for_the_other_one(t):
    t.look("--for", "nvidia", status=0).says("personality", "ok", "custom", "while this machine is off")
    t.h100()
    t.look("--for", "custom").says("personality", "ok", "to custom")


def newer_kernels_know_an_h100(t):
    release = "6.16.3-amd64"
    t.put("proc/sys/kernel/osrelease", release + "\n")
    t.put(f"lib/modules/{release}/modules.dep", "updates/vgpu.ko:\nkernel/nouveau.ko.xz:\nkernel/nova-core.ko:\n")
    t.look(status=0).says("nouveau", "ok", "does not show")
    t.look("--for", "nvidia", status=0).says("nouveau", "warning", "blacklist nouveau").says("nova", "ok", "does not know")
    t.put("usr/lib/modprobe.d/x.conf", "blacklist nouveau\n")
    t.look("--for", "nvidia").says("nouveau", "ok", "/usr/lib/modprobe.d/x.conf")
    t.put("proc/sys/kernel/osrelease", "7.0.1-amd64\n")
    t.put("lib/modules/7.0.1-amd64/modules.dep", "updates/vgpu.ko:\nkernel/nova-core.ko:\n")
    t.look("--for", "nvidia").says("nova", "warning", "nova_core")
    t.put("proc/cmdline", "quiet modprobe.blacklist=nova_core\n")
    t.look("--for", "nvidia").says("nova", "ok", "command line")


def nvidias_kernel_driver(t):
    t.put(MODULES, "updates/dkms/vgpu.ko:\nkernel/nvidia-wmi-ec-backlight.ko:\n")
    t.look("--for", "nvidia", status=0).says("nvidia-driver", "ok")
    t.put(MODULES, "updates/dkms/vgpu.ko:\nupdates/dkms/nvidia-current.ko:\n")
    t.look("--for", "nvidia", status=1).says("nvidia-driver", "failed", "nvidia_current", "blacklist nvidia_current")
    t.look(status=0).says("nvidia-driver", "warning")
    t.put("etc/modprobe.d/n.conf", "install nvidia-current /bin/false\n")
    t.look("--for", "nvidia", status=0).says("nvidia-driver", "warning")
    t.put("proc/modules", "vgpu 1 0 - Live 0x0\nnvidia_uvm 1 0 - Live 0x0\n")
    t.look("--for", "nvidia", status=1).says("nvidia-driver", "failed", "nvidia_uvm")


def another_libcuda_first_in_the_cache(t):
    t.copy(FAKE, "opt/first/libcuda.so.1")
    t.loader("opt/first", LIBRARIES)
    t.look(status=1).says("loader-cache", "failed", "/opt/first/libcuda.so.1", "dpkg -S")
    t.loader(LIBRARIES, "opt/first")
    t.look(status=0).says("loader-cache", "ok")
    t.copy(FAKE, "usr/local/cuda/compat/libcuda.so.1")
    t.loader("usr/local/cuda/compat", LIBRARIES)
    t.look(status=1).says("loader-cache", "failed", "take /usr/local/cuda/compat out")


def no_library_in_the_cache(t):
    t.loader("opt/none")
    t.look(status=1).says("loader-cache", "failed", "no libcuda.so.1", "vgpu-guest")
    t.put("etc/ld.so.cache", b"glibc-ld.so.cache1.1" + b"\xff" * 100)
    t.look(status=0).says("loader-cache", "not checked", "kind")
    t.remove("etc/ld.so.cache")
    t.look().says("loader-cache", "not checked", "no /etc/ld.so.cache")


def another_nvidia_smi(t):
    t.put("usr/bin/nvidia-smi", "#!/bin/sh\n")
    (t.root / "usr/bin/nvidia-smi").chmod(0o755)
    t.look(status=0).says("nvidia-smi", "warning", "is not vgpu's")
    t.remove("usr/bin/nvidia-smi")
    t.look(status=0).says("nvidia-smi", "warning", "no nvidia-smi")


def versions_that_differ(t):
    t.remove("var/lib/dkms/vgpu/0.1.0")
    t.put(f"var/lib/dkms/vgpu/0.0.9/{RELEASE}/x86_64/module/vgpu.ko", "")
    t.look(status=0).says("versions", "warning", "0.0.9", "DKMS")


def no_huge_pages(t):
    t.put("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n")
    t.look(status=0).says("huge-pages", "warning", "256 MiB")


def the_vms_uuid(t):
    t.put("sys/class/dmi/id/product_uuid", "11111111-2222-4333-8444-555555555555\n")
    t.look()
    assert t.report["vm_uuid"] == "11111111-2222-4333-8444-555555555555"


def files_that_are_hostile(t):
    """Nothing is believed of what stands in files, however long or strange, and nothing is waited for."""
    t.put("proc/sys/kernel/osrelease", "6.1\x1b[2J\"\\\xff" + "x" * 5000)
    t.put("proc/modules", b"\0" * 100 + os.urandom(5000) + b"vgpu " * 100000)
    t.put("proc/cmdline", "modprobe.blacklist=" + "," * 5000)
    t.put("etc/modprobe.d/a.conf", os.urandom(5000))
    t.remove(f"{VGPU}/vendor")
    os.mkfifo(t.root / VGPU / "vendor")
    (t.root / "sys/kernel/security").mkdir(parents=True)
    (t.root / "sys/kernel/security/lockdown").symlink_to("/dev/zero")
    t.look()
    text = json.dumps(t.report)
    assert "\\u" not in text and "\x1b" not in text


def wrong_usage(t):
    for words in (["--for", "both"], ["--time-limit", "0"], ["--time-limit", "5x"], ["--bogus"], ["more"]):
        assert subprocess.run([PROGRAM, *words], capture_output=True, check=False, timeout=60).returncode == 2, words
    assert subprocess.run([PROGRAM, "--help"], capture_output=True, check=True, timeout=60).stdout


TESTS = [a_ready_machine, an_old_kernel, no_files_at_all, module_that_is_not_loaded, module_that_is_not_built, signed_modules_only,
         another_kernel_without_it, device_of_another_driver, device_with_another_id, no_device, the_nvidia_personality,
         ready_for_the_other_one, newer_kernels_know_an_h100, nvidias_kernel_driver, another_libcuda_first_in_the_cache,
         no_library_in_the_cache, another_nvidia_smi, versions_that_differ, no_huge_pages, the_vms_uuid, files_that_are_hostile, wrong_usage]


def main():
    print(f"1..{len(TESTS)}")
    for number, test in enumerate(TESTS, 1):
        with tempfile.TemporaryDirectory() as folder:
            try:
                test(Tree(folder))
                print(f"ok {number} {test.__name__}")
            except Exception:
                print("\n".join(f"# {line}" for line in traceback.format_exc().splitlines()))
                print(f"not ok {number} {test.__name__}")


main()
