# SPDX-License-Identifier: Apache-2.0
"""What vgpu-admin image says of a file, and what really happens when a program loads it."""
import json
import os
import shutil
import subprocess
import sys

import pytest
import stack

sys.path.insert(0, str(stack.SOURCE / "tests/integration"))
import images  # noqa: E402

NO_BINARY = 209
ADMIN = stack.BUILD / "admin" / "vgpu-admin"


def packed_files(folder):
    """Files by what is in them, all with a kernel of one name."""
    ptx = {sm: images.entry(images.PTX, sm, images.ptx(str(sm))) for sm in (52, 80, 86, 90)}
    cubin = (stack.SOURCE / "tests/e2e/kernels/packed.cubin").read_bytes()
    files = {
        "old.ptx": images.ptx("52", "6.0"), "same.ptx": images.ptx("80"), "new.ptx": images.ptx("90", "9.9"),
        "old.fatbin": images.fatbin(ptx[52]), "lz4.fatbin": images.fatbin(images.entry(images.PTX, 80, images.ptx("80"), packed=True)),
        "both.fatbin": images.fatbin(ptx[90], ptx[80], ptx[52]), "new.fatbin": images.fatbin(ptx[86], ptx[90]),
        "mixed.fatbin": images.fatbin(images.entry(images.CODE, 90, cubin), ptx[80]),
        "code.fatbin": images.fatbin(images.entry(images.CODE, 80, cubin)), "lto.fatbin": images.fatbin(images.entry(images.LTO, 80, b"x")),
        "empty.fatbin": images.fatbin(),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in files}


def nvcc_files(folder):
    nvcc = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if not nvcc:
        return {}
    (folder / "k.cu").write_text('extern "C" __global__ void noargs() { }\n')
    files = {}
    for name, args in {"nvcc-75": ["-arch=compute_75", "-code=sm_75,compute_75"], "nvcc-90": ["-arch=sm_90"],
                       "nvcc-code": ["-gencode=arch=compute_80,code=sm_80"], "nvcc-all": ["-arch=all", "-Xfatbin", "-compress-all"]}.items():
        made = subprocess.run([nvcc, "-fatbin", *args, "-o", folder / name, folder / "k.cu"], capture_output=True, check=False)
        if made.returncode == 0:
            files[name] = folder / name
    return files


def said(mediator, path):
    """Of a file's one image."""
    command = [ADMIN, "image", path, "--json", "--socket", os.path.join(mediator.folder, "run/api.sock")]
    image, = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["images"]
    return image["runs"]


@pytest.mark.skipif("VGPU_SANITIZE" in os.environ, reason="the interpreter is not built with the sanitizers")
def test_what_is_said_is_what_happens(tmp_path):
    if stack.module_missing("cpu"):
        pytest.skip(stack.module_missing("cpu"))
    files = {**packed_files(tmp_path), **nvcc_files(tmp_path)}
    with stack.Mediator("cpu") as m:
        client = m.client(sys.executable, stack.SOURCE / "tests/e2e/load_image.py", "noargs", *files.values())
        assert client.wait(60) == 0, client.lines
        happened = {os.path.basename(line.split()[0]): line.split()[1:] for line in client.lines}
        told = {name: said(m, path) for name, path in files.items()}
    assert set(happened) == set(told)
    runs = {name: "ptx" if answers == ["0", "0"] else "no" for name, answers in happened.items()}
    assert told == runs, happened
    assert {"ptx", "no"} == set(told.values())
    # Machine code alone is loaded, for programs that load all they have, and not launched.
    assert happened["new.ptx"][0] != "0" and happened["empty.fatbin"] == [str(NO_BINARY), "-"]
    assert happened["code.fatbin"][0] == "0"
