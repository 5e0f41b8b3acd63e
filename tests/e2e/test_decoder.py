# SPDX-License-Identifier: Apache-2.0
"""The decoding program with a product of its own, and with NVIDIA's cuBLAS where that can run. cuBLAS is looked for among
this interpreter's packages and where CUDA is installed; VGPU_CUBLAS_PATH names a file."""
import glob
import os
import sys

import pytest
import stack
from test_programs import check


def find_cublas():
    if "VGPU_CUBLAS_PATH" in os.environ:
        return os.environ["VGPU_CUBLAS_PATH"]
    for folder in [*sys.path, "/usr/local/cuda/lib64", "/usr/lib/x86_64-linux-gnu"]:
        for pattern in ("nvidia/cu1[3-9]/lib/libcublas.so.1?", "nvidia/cublas/lib/libcublas.so.1?", "libcublas.so.1?"):
            found = glob.glob(os.path.join(folder, pattern))
            if found:
                return found[0]
    return None


def test_own_product(backend):
    check(stack.run_program(backend, "decoder"))


def test_cublas(backend):
    if backend in ("null", "cpu"):
        pytest.skip(f"{backend}: cuBLAS has machine code only")
    path = find_cublas()
    if not path:
        pytest.skip("no libcublas here")
    # It finds its sister library there.
    old = os.environ.get("LD_LIBRARY_PATH")
    env = {"LD_LIBRARY_PATH": os.path.dirname(path) + (":" + old if old else "")}
    check(stack.run_program(backend, "decoder", path, timeout=120, env=env))
