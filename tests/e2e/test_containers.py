# SPDX-License-Identifier: Apache-2.0
"""vgpu-cdi's specification: what it says, what it refuses, and, where podman and a runtime are, a container that has
nothing of vgpu in its image: it runs CUDA programs and nvidia-smi through what the specification brings."""
import os
import pathlib
import shutil
import socket
import subprocess

import pytest
import stack
import yaml

VGPU_CDI = stack.BUILD / "guest" / "cdi" / "vgpu-cdi"
SPECS = pathlib.Path("/etc/cdi")


@pytest.fixture
def libraries(tmp_path):
    """A folder as an installation has it."""
    folder = tmp_path / "vgpu"
    (folder / "bin").mkdir(parents=True)
    shutil.copy(stack.LIBCUDA, folder / "libcuda.so.1")
    shutil.copy(stack.LIBNVML, folder / "libnvidia-ml.so.1")
    shutil.copy(stack.NVIDIA_SMI, folder / "bin" / "nvidia-smi")
    return folder


@pytest.fixture
def listening(tmp_path):
    path = tmp_path / "m.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.bind(str(path))
        yield path


def cdi(*args, env=None):
    return subprocess.run(["sh", VGPU_CDI, *args], capture_output=True, text=True, timeout=30, check=False,
                          env=stack.clean_environment(extra=env))


def test_socket_and_libraries_are_named(libraries, listening):
    done = cdi("--libraries", str(libraries), "--socket", str(listening))
    assert done.returncode == 0, done.stderr
    spec = yaml.safe_load(done.stdout)
    assert spec["kind"] == "vgpu/gpu" and [d["name"] for d in spec["devices"]] == ["0", "all"]
    for device in spec["devices"]:
        edits = device["containerEdits"]
        assert edits["env"] == ["VGPU_SOCKET=/run/vgpu/mediator.sock"]
        assert edits["mounts"][0]["hostPath"] == str(listening)
    mounts = {m["containerPath"]: m for m in spec["containerEdits"]["mounts"]}
    for name in ("libcuda.so.1", "libcuda.so", "libnvidia-ml.so.1"):
        for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64"):
            mount = mounts[f"{folder}/{name}"]
            assert os.path.exists(mount["hostPath"]) and "ro" in mount["options"]
    assert mounts["/usr/bin/nvidia-smi"]["hostPath"] == str(libraries / "bin" / "nvidia-smi")


def test_device_node_is_named(libraries):
    done = cdi("--libraries", str(libraries), "--device", "/dev/null", "--kind=nvidia.com/gpu")
    assert done.returncode == 0, done.stderr
    spec = yaml.safe_load(done.stdout)
    assert spec["kind"] == "nvidia.com/gpu"
    assert spec["devices"][1]["containerEdits"] == {
        "deviceNodes": [{"path": "/dev/vgpu0", "hostPath": "/dev/null"}]}


@pytest.mark.parametrize("args, text", [
    (["--socket", "/nowhere/m.sock"], "no socket"),
    (["--device", "/nowhere"], "no device node"),
    (["--kind", "gpu"], "VENDOR/CLASS"),
    (["--kind", 'a/b"'], "only letters"),
    (["--libraries", "/nowhere"], "no folder"),
])
def test_wrong_arguments_are_refused(libraries, listening, args, text):
    base = ["--libraries", str(libraries)] + ([] if args[0] in ("--socket", "--device") else ["--socket", str(listening)])
    done = cdi(*base, *args)
    assert done.returncode == 1 and text in done.stderr and not done.stdout


def podman():
    """The command that runs containers here; skips with the reason where none can."""
    if os.geteuid() != 0:
        pytest.skip("containers: not root")
    if not shutil.which("podman"):
        pytest.skip("containers: no podman")
    why = "no runtime (runc, crun)"
    for runtime in ("runc", "crun"):
        path = shutil.which(runtime, path="/usr/sbin:/usr/bin")
        if not path:
            continue
        command = ["podman", "--runtime", path, "--cgroup-manager", "cgroupfs", "run", "--rm", "--network", "none",
                   "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
        tried = stack.run_command([*command, "--rootfs", "/:O", "true"], 60)
        if tried.status == 0:
            return command
        why = f"{runtime}: {tried.err.strip()[-150:]}"
    pytest.skip(f"containers: {why}")


def test_a_container_runs_programs(libraries):
    run = podman()
    kind = f"vgpu-test-{os.getpid()}/gpu"
    spec = SPECS / f"vgpu-test-{os.getpid()}.yaml"
    with stack.Mediator("cpu") as mediator:
        done = cdi("--libraries", str(libraries), "--socket", str(mediator.socket), "--kind", kind)
        assert done.returncode == 0, done.stderr
        SPECS.mkdir(exist_ok=True)
        spec.write_text(done.stdout, encoding="utf-8")
        try:
            program = stack.PROGRAMS / "kernel_results"
            inside = stack.run_command(
                [*run, "--device", f"{kind}=all", "--volume", f"{stack.SOURCE}:{stack.SOURCE}:ro", "--env",
                 f"VGPU_SOURCE={stack.SOURCE}", "--env", "VGPU_TEST_BACKEND=cpu", "--rootfs", "/:O",
                 "sh", "-c", f"nvidia-smi -L && {program}"], 120)
        finally:
            spec.unlink()
    assert inside.status == 0, inside.told()
    assert inside.out.startswith("GPU 0: "), inside.told()
