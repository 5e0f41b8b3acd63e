# SPDX-License-Identifier: Apache-2.0
"""A guest that sees this machine's root, read-only: its programs run there, unmodified, with vgpu's libraries and the guest's
own GPU; and a container in that guest, through a specification of vgpu-cdi."""
import os
import shutil
import subprocess

import machine
import pytest
from machine import stack

CDI = stack.BUILD / "guest" / "cdi" / "vgpu-cdi"
# Whatever interpreter runs this may need an environment that a guest does not have.
PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="module")
def m(device):
    found = subprocess.run(["bash", "-c", f". {machine.SCRIPTS}/common.sh; find_virtiofsd"], capture_output=True, text=True, check=False)
    if not found.stdout.strip():
        pytest.skip("no virtiofsd: ./dev setup --vm gets one")
    with stack.Mediator("cpu") as mediator, machine.Machine(mediator, memory="2G", cpus=2, share="/") as running:
        yield running


def test_files_are_seen_and_stay_as_they_are(m, tmp_path_factory):
    """Other than the kernel's own and /tmp and /run, where a guest has a layer of its own."""
    mine = m.guest.check(f"cat /host{os.path.realpath(__file__)}")
    with open(__file__, encoding="utf-8") as f:
        assert mine == f.read()
    assert m.guest.run(f"echo x >/host{os.path.realpath(__file__)}").status != 0
    name = f"vgpu-share-{os.getpid()}"
    assert m.guest.check(f"echo x >/host/tmp/{name}; cat /host/tmp/{name}") == "x\n"
    assert not os.path.exists(f"/tmp/{name}")


def test_programs_of_the_host_find_the_guests_gpu(m):
    assert m.guest.check("as-host nvidia-smi -L").startswith("GPU 0: ")
    if not os.path.exists(PYTHON):
        pytest.skip(f"no {PYTHON}")
    code = "import ctypes; c = ctypes.CDLL('libcuda.so.1'); n = ctypes.c_int(); print(c.cuInit(0), c.cuDeviceGetCount(ctypes.byref(n)), n.value)"
    assert m.guest.check(f'as-host {PYTHON} -c "{code}"', timeout=90) == "0 0 1\n"
    m.mediator.wait_executors(0, 10)


def podman():
    for name, where in (("podman", "/usr/bin"), ("runc", "/usr/sbin:/usr/bin"), ("conmon", "/usr/bin")):
        if not shutil.which(name, path=where):
            pytest.skip(f"no {name} on this machine")
    return ("as-host podman --root /media/c --runroot /media/r --tmpdir /media/t --storage-driver vfs --events-backend none "
            f"--runtime {shutil.which('runc', path='/usr/sbin:/usr/bin')} --cgroup-manager cgroupfs run --rm --network none --log-driver none "
            "--ulimit nofile=1024:1024 --ulimit nproc=1024:1024")


def test_a_container_in_the_guest_has_the_gpu(m):
    """The container has the host's /usr and nothing of vgpu but what the specification brings."""
    run = podman()
    m.guest.check("mount -t cgroup2 none /host/sys/fs/cgroup; mount -t tmpfs tmpfs /host/media; cd /host/media && mkdir -p root/usr root/etc "
                  "root/proc root/sys root/dev root/run root/tmp up work && "
                  "mount -t overlay -o lowerdir=/host/usr,upperdir=up,workdir=work overlay root/usr && "
                  "for l in bin sbin lib lib64; do ln -s usr/$l root/$l; done; cp /etc/passwd /etc/group root/etc/; "
                  "cp /usr/bin/kernel_results /src/tests/e2e/kernels/basic.ptx root/tmp/")
    m.guest.check("mkdir -p /host/run/cdi /host/run/vgpu/bin && cp /usr/bin/nvidia-smi /host/run/vgpu/bin/ && "
                  f"as-host sh {CDI} --libraries /run/vgpu >/host/run/cdi/vgpu.yaml")
    result = m.guest.run(f"{run} --device vgpu/gpu=all --env VGPU_TEST_BACKEND=cpu --env VGPU_KERNELS=/tmp "
                         "--rootfs /media/root sh -c 'ls /dev/vgpu0 && nvidia-smi -L && /tmp/kernel_results'", timeout=300)
    assert result.status == 0, result.told()
    assert result.out.startswith("/dev/vgpu0\nGPU 0: "), result.told()
    without = m.guest.run(f"{run} --rootfs /media/root sh -c 'test ! -e /dev/vgpu0 && ! nvidia-smi -L | grep GPU'", timeout=300)
    assert without.status == 0, without.told()
