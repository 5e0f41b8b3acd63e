# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's own CUDA runtimes, unmodified, shared and static, over every backend. They are looked for in the folders that
VGPU_CUDART_PATH names (colon between), in .venv-cuda (`./dev setup`) and in a CUDA toolkit; each copy is tested. 11.8 loads
modules by an undocumented table, 12 and 13 as libraries."""
import os
import shutil
import subprocess

import pytest
import stack

pytestmark = pytest.mark.skipif("VGPU_SANITIZE" in os.environ, reason="the runtime is not built with the sanitizers")

WANTED = ["runtime-11.8", "runtime-12.1", "runtime-12.4", "runtime-12.6", "runtime-12.8", "runtime-12.9", "runtime-13.0",
          "runtime-13.1", "runtime-13.2"]
STATIC = "libcudart_static.a"
PROGRAMS = ["cudart_program", "cudart_arrays"]


def elsewhere():
    """Folders beside .venv-cuda."""
    folders = [f for f in os.environ.get("VGPU_CUDART_PATH", "").split(":") if f]
    return folders + [os.path.join(os.environ.get("CUDA_HOME", "/usr/local/cuda"), "lib64")]


def shared_in(folder):
    return [os.path.join(folder, name) for name in ("libcudart.so.11.0", "libcudart.so.12", "libcudart.so.13")
            if os.path.exists(os.path.join(folder, name))]


def run(backend, *command):
    result = stack.run_program(backend, *command, timeout=120)
    if result.status == 77:
        pytest.skip(result.out.partition("SKIP ")[2].strip())
    assert result.status == 0, result.told()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("folder", WANTED)
def test_shared(backend, folder, program):
    paths = shared_in(stack.SOURCE / ".venv-cuda" / folder)
    if not paths:
        pytest.skip(f"no {folder}: ./dev setup brings it")
    run(backend, program, paths[0])


@pytest.mark.parametrize("program", PROGRAMS)
def test_shared_elsewhere(backend, program):
    paths = [path for folder in elsewhere() for path in shared_in(folder)]
    if not paths:
        pytest.skip("neither VGPU_CUDART_PATH nor a CUDA toolkit")
    for path in paths:
        run(backend, program, path)


def link_static(archive, program):
    """The program with the runtime inside, as nvcc makes programs by default."""
    sources = [stack.SOURCE / "tests" / "e2e" / name for name in ("cudart_program.c", "check.c")]
    sources.append(stack.SOURCE / "demo" / "driver.c")
    command = ["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-DCUDART_STATIC", f"-I{stack.SOURCE}", f"-I{stack.BUILD}", "-o", program,
               *sources, archive, "-lm", "-ldl", "-lrt", "-lpthread"]
    made = subprocess.run([str(c) for c in command], check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr[-2000:]


@pytest.mark.parametrize("folder", [f for f in WANTED if f >= "runtime-13"] + ["elsewhere"])
def test_static(backend, folder, tmp_path):
    folders = elsewhere() if folder == "elsewhere" else [stack.SOURCE / ".venv-cuda" / folder]
    archives = [os.path.join(f, STATIC) for f in folders if os.path.exists(os.path.join(f, STATIC))]
    if not archives:
        pytest.skip(f"no {STATIC} of {folder}")
    if not shutil.which("gcc"):
        pytest.skip("no gcc")
    for archive in archives:
        link_static(archive, tmp_path / "cudart_static_program")
        run(backend, tmp_path / "cudart_static_program", "static")
