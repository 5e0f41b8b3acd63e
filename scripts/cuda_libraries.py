#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Brings NVIDIA's runtimes and libraries for the end-to-end tests into .venv-cuda, one folder a version, from the wheels
on the Python package index. Of a wheel only the files that the tests load are kept. What is there already stays.

    cuda_libraries.py runtimes     about 10 MB: libcudart of several versions
    cuda_libraries.py libraries    2.3 GiB to fetch, 2.1 GiB kept: cuBLAS, cuFFT and cuDNN for CUDA 12 and 13
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-cuda"
PYTHON = ROOT / ".venv" / "bin" / "python"  # has pip, the system's need not
FREE_BYTES = 6 << 30  # while a wheel is unpacked

# folder: {wheel: files in it that are kept}
RUNTIMES = {
    "runtime-11.8": {"nvidia-cuda-runtime-cu11==11.8.89": ["libcudart.so.11.0"]},
    "runtime-12.1": {"nvidia-cuda-runtime-cu12==12.1.105": ["libcudart.so.12"]},
    "runtime-12.4": {"nvidia-cuda-runtime-cu12==12.4.127": ["libcudart.so.12"]},
    "runtime-12.6": {"nvidia-cuda-runtime-cu12==12.6.77": ["libcudart.so.12"]},
    "runtime-12.8": {"nvidia-cuda-runtime-cu12==12.8.90": ["libcudart.so.12"]},
    "runtime-12.9": {"nvidia-cuda-runtime-cu12==12.9.79": ["libcudart.so.12"]},
    "runtime-13.0": {"nvidia-cuda-runtime==13.0.96": ["libcudart.so.13", "libcudart_static.a"]},
    "runtime-13.1": {"nvidia-cuda-runtime==13.1.80": ["libcudart.so.13", "libcudart_static.a"]},
    "runtime-13.2": {"nvidia-cuda-runtime==13.2.86": ["libcudart.so.13", "libcudart_static.a"]},
}
LIBRARIES = {
    "cuda-12": {
        "nvidia-cublas-cu12==12.8.4.1": ["libcublas.so.12", "libcublasLt.so.12"],
        "nvidia-cufft-cu12==11.3.3.83": ["libcufft.so.11"],
        "nvidia-cudnn-cu12==9.10.2.21": ["libcudnn.so.9", "libcudnn_graph.so.9"],
    },
    "cuda-13": {
        "nvidia-cublas==13.0.2.14": ["libcublas.so.13", "libcublasLt.so.13"],
        "nvidia-cufft==12.0.0.61": ["libcufft.so.12"],
        "nvidia-cudnn-cu13==9.13.1.26": ["libcudnn.so.9", "libcudnn_graph.so.9"],
    },
}
SETS = {"runtimes": RUNTIMES, "libraries": LIBRARIES}


def fetch(wheel, files, folder):
    with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
        subprocess.run([PYTHON, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
                        "--no-cache-dir", "--only-binary=:all:", "-d", scratch, wheel], check=True)
        (archive,) = pathlib.Path(scratch).glob("*.whl")
        with zipfile.ZipFile(archive) as z:
            members = {os.path.basename(name): name for name in z.namelist()}
            for file in files:
                with z.open(members[file]) as source, open(folder / f"{file}.part", "wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        for file in files:
            os.replace(folder / f"{file}.part", folder / file)


def main():
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:]:
        for place, wheels in SETS[name].items():
            for wheel, files in wheels.items():
                folder = FOLDER / place
                if all((folder / file).exists() for file in files):
                    continue
                if wheels in LIBRARIES.values() and shutil.disk_usage(FOLDER).free < FREE_BYTES:
                    return f"less than {FREE_BYTES >> 30} GiB free: {wheel} is left out"
                print(f"fetching {wheel} into {folder.relative_to(ROOT)}", flush=True)
                folder.mkdir(exist_ok=True)
                try:
                    fetch(wheel, files, folder)
                except (subprocess.CalledProcessError, OSError, KeyError, zipfile.BadZipFile) as why:
                    return f"{wheel} cannot be had: {why}"
    return None


if __name__ == "__main__":
    sys.exit(main())
