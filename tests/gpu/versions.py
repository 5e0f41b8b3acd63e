#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what a run on a machine with a GPU used: the GPU, its driver, the source, the frameworks; one line each."""
import ctypes
import importlib.metadata
import os
import pathlib
import platform
import subprocess

PACKAGES = ["torch", "torchvision", "triton", "transformers", "jax", "cupy-cuda13x", "cupy-cuda12x", "numba", "numba-cuda",
            "numpy", "nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-nccl-cu13", "nvidia-cuda-runtime"]
SOURCE = pathlib.Path(__file__).resolve().parents[2]


def said(*command):
    """A program's first lines, or nothing where it is not installed or fails."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30, cwd=SOURCE).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def driver():
    """As cuDriverGetVersion tells it: 13000 is CUDA 13.0."""
    version = ctypes.c_int()
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "none"
    return f"CUDA {version.value // 1000}.{version.value % 1000 // 10}" if cuda.cuDriverGetVersion(ctypes.byref(version)) == 0 \
        else "does not answer"


def installed():
    for name in PACKAGES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            pass


def main():
    gpus = said("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    for gpu in gpus.splitlines() or ["unknown (no nvidia-smi)"]:
        print(f"GPU: {gpu}")
    print(f"driver: {driver()}; kernel {platform.release()}; {os.cpu_count()} processors; Python {platform.python_version()}")
    print(f"vgpu: {said('git', 'describe', '--always', '--dirty') or 'unknown revision'}")
    nvcc = said("nvcc", "--version")
    print(f"nvcc: {nvcc.splitlines()[-1] if nvcc else 'none'}")
    print("packages: " + (", ".join(installed()) or "none of those that are tested"))


if __name__ == "__main__":
    main()
