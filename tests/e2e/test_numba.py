# SPDX-License-Identifier: Apache-2.0
"""Numba, unmodified, over every backend: the client that nobody here wrote. It needs the Python environment that
`./dev setup` makes from requirements.txt (or VGPU_NUMBA_PYTHON names another interpreter that has Numba)."""
import os
import subprocess

import pytest
import stack

pytestmark = pytest.mark.skipif("VGPU_SANITIZE" in os.environ, reason="the interpreter is not built with the sanitizers")

PYTHON = os.environ.get("VGPU_NUMBA_PYTHON", str(stack.SOURCE / ".venv" / "bin" / "python3"))
SCRIPT = stack.SOURCE / "tests" / "e2e" / "numba_programs.py"
PROGRAMS = ["vector_add", "reduction", "histogram", "mandelbrot", "math_functions", "streams"]


@pytest.fixture(scope="module")
def numba():
    if not os.path.exists(PYTHON):
        pytest.skip(f"no {PYTHON}: ./dev setup makes it")
    found = subprocess.run([PYTHON, "-c", "from numba import cuda; import numba.cuda.cudaimpl"], check=False, capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"{PYTHON} has no Numba with CUDA: {found.stderr.strip().splitlines()[-1]}")


def numba_environment(backend):
    env = {"PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS": "0"}
    if backend == "cpu":
        old = os.environ.get("LD_LIBRARY_PATH")
        env["LD_LIBRARY_PATH"] = str(stack.PROGRAMS / "no_jitlink") + (":" + old if old else "")
    return stack.clean_environment(backend, env)


@pytest.mark.parametrize("program", PROGRAMS)
def test_numba(backend, numba, program):
    if backend == "null":
        pytest.skip("null: computes nothing")
    command = [PYTHON, SCRIPT, program]
    if backend != "native":
        command = [stack.VGPU_RUN, "--private", "--backend", backend, "--", *command]
    result = stack.run_command(command, 120, numba_environment(backend))
    assert result.status == 0 and f"ok {program}" in result.out, result.told()
