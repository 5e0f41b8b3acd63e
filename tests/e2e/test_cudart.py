# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's own CUDA runtimes, unmodified, over every backend. They come from the Python wheels that `./dev setup`
installs (requirements.txt); VGPU_CUDART_PATH names more folders to look in, colon between."""
import os

import pytest
import stack

pytestmark = pytest.mark.skipif("VGPU_SANITIZE" in os.environ, reason="the runtime is not built with the sanitizers")

# Each file is of another time: 11.8 loads modules by an undocumented table, 12 and 13 as libraries.
RUNTIMES = ["libcudart.so.11.0", "libcudart.so.12", "libcudart.so.13"]


def find_runtime(name):
    folders = [f for f in os.environ.get("VGPU_CUDART_PATH", "").split(":") if f]
    for folder in folders:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return path
    found = sorted((stack.SOURCE / ".venv").glob(f"lib/python3*/site-packages/nvidia/*/lib/{name}"))
    return str(found[0]) if found else None


@pytest.mark.parametrize("name", RUNTIMES)
def test_runtime(backend, name):
    path = find_runtime(name)
    if not path:
        pytest.skip(f"no {name}: ./dev setup installs the wheels")
    result = stack.run_program(backend, "cudart_program", path, timeout=120)
    if result.status == 77:
        pytest.skip(result.out.partition("SKIP ")[2].strip())
    assert result.status == 0, result.told()
