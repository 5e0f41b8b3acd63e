# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's own libraries, unmodified, make and destroy their handles. They are looked for in the folders that
VGPU_CUDA_LIBRARIES names (colon between), in .venv-cuda (`./dev setup --cuda-libraries`) and in a CUDA toolkit; each copy
that is found is tested. Their kernels are machine code: the cpu backend loads them and runs none."""
import os
import sys

import pytest
import stack

pytestmark = pytest.mark.skipif("VGPU_SANITIZE" in os.environ, reason="the libraries are not built with the sanitizers")

SCRIPT = stack.SOURCE / "tests" / "e2e" / "library_handles.py"
LIBRARIES = {
    "libcublas.so.12": "cublas", "libcublas.so.13": "cublas", "libcublasLt.so.12": "cublasLt", "libcublasLt.so.13": "cublasLt",
    "libcufft.so.11": "cufft", "libcufft.so.12": "cufft", "libcudnn.so.9": "cudnn",
    "libcusolver.so.12": "cusolver", "libcusparse.so.12": "cusparse", "libcurand.so.10": "curand",
}


def copies(name):
    """Every copy on this host, one a folder."""
    folders = [f for f in os.environ.get("VGPU_CUDA_LIBRARIES", "").split(":") if f]
    folders += sorted(str(f) for f in (stack.SOURCE / ".venv-cuda").glob("cuda-*"))
    folders += [os.path.join(os.environ.get("CUDA_HOME", "/usr/local/cuda"), "lib64")]
    return [os.path.join(f, name) for f in folders if os.path.exists(os.path.join(f, name))]


@pytest.mark.parametrize("name", LIBRARIES)
def test_handle(backend, name):
    if backend == "null":
        pytest.skip("null: does not read modules")
    paths = copies(name)
    if not paths:
        pytest.skip(f"no {name}: ./dev setup --cuda-libraries or a CUDA toolkit brings it")
    for path in paths:
        command = [sys.executable, SCRIPT, LIBRARIES[name], path]
        if backend != "native":
            command = [stack.VGPU_RUN, "--private", "--backend", backend, "--", *command]
        env = {"LD_LIBRARY_PATH": os.path.dirname(path), "PYTHONDONTWRITEBYTECODE": "1"}
        result = stack.run_command(command, 120, stack.clean_environment(backend, env))
        assert result.status == 0 and result.out.count("ok - ") >= 4, f"{path}: {result.told()}"
