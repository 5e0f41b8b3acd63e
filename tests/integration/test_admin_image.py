# SPDX-License-Identifier: Apache-2.0
"""vgpu-admin image: files packed by hand, files of nvcc where there is one, and files that are none; with and without a
mediator. Whether what it says of the cpu backend holds is tested in tests/e2e/test_image.py."""
import json
import pathlib
import shutil
import subprocess

import admin
import images
import pytest
import vgpu

KERNELS = pathlib.Path(__file__).resolve().parents[1] / "e2e/kernels"


@pytest.fixture
def look(tmp_path):
    """What --json prints of some bytes, without a mediator."""
    def look(data, *args, name="file", status=admin.OK):
        path = tmp_path / name
        path.write_bytes(data)
        said = admin.run("image", path, "--json", *args, socket=tmp_path / "none.sock")
        assert said.returncode == status, (said.stdout, said.stderr)
        return json.loads(said.stdout)
    return look


def forms(document):
    return [(e["kind"], e["arch"], e["ptx"], e["compression"]) for i in document["images"] for e in i["entries"]]


def test_ptx(look):
    text = images.ptx("90a", "8.4", body=".shared .b8 tile[308]; ret;") + \
        b".entry two(.param .u64 a, .param .align 8 .b8 b[20]) .reqntid 32, 2 { ret; }\n"
    d = look(text, "--kernels")
    assert d["kind"] == "PTX" and forms(d) == [("ptx", "sm_90a", "8.4", None)] and d["host"] is None and d["runs"] is None
    one, two = d["images"][0]["entries"][0]["kernels"]
    assert (one["name"], one["params"], one["shared_bytes"], one["max_threads"]) == ("noargs", [], 308, None)
    assert (two["param_bytes"], two["block"], two["max_threads"]) == (28, [32, 2, 1], 64)
    assert two["params"] == [{"name": "a", "type": "u64", "bytes": 8, "align": None},
                             {"name": "b", "type": "b8", "bytes": 20, "align": 8}]
    assert [v["name"] for v in d["images"][0]["entries"][0]["variables"]] == ["table"]
    assert "kernels" not in look(text)["images"][0]["entries"][0]


def test_fat_binary(look):
    d = look(images.fatbin(
        images.entry(images.CODE, 90, b"\x7fELF", images.ARCH),
        images.entry(images.PTX, 100, images.ptx("100f"), images.FAMILY, (8, 8), b"-g --fast ", packed=True),
        images.entry(images.LTO, 80, b"NVVM"), images.entry(77, 80, b"")), "--kernels", status=admin.REFUSED)
    assert forms(d) == [("code", "sm_90a", None, None), ("ptx", "sm_100f", "8.8", "lz4"), ("lto", "sm_80", None, None),
                        ("kind 77", "sm_80", None, None)]
    assert "cannot be read" in d["damaged"]  # the machine code is none
    ptx = d["images"][0]["entries"][1]
    assert ptx["options"] == "-g --fast" and ptx["unpacked"] == len(images.ptx("100f"))
    assert [k["name"] for k in ptx["kernels"]] == ["noargs"]


def test_machine_code(look):
    d = look((KERNELS / "packed.cubin").read_bytes(), "--kernels")
    entry, = d["images"][0]["entries"]
    assert d["kind"] == "machine code" and (entry["kind"], entry["ptx"]) == ("code", None)
    step, = entry["kernels"]
    assert (step["name"], step["param_bytes"], step["max_threads"]) == ("step", 24, 128) and step["registers"] > 0
    assert step["params"] == [{"offset": 0, "bytes": 8}, {"offset": 8, "bytes": 1}, {"offset": 16, "bytes": 8}]


def test_host_files(look):
    fat = images.fatbin(images.entry(images.PTX, 75, images.ptx()))
    program = images.elf({".nv_fatbin": fat + b"\0" * 16 + fat, ".other": b"x"})
    d = look(program)
    assert d["kind"] == "program or library" and len(d["images"]) == 2 and not d["images"][0]["relocatable"]
    objects = images.archive(a_o=images.elf({"__nv_relfatbin": fat}, 1), text=b"odd", b_o=program)
    d = look(objects)
    assert [(i["member"], i["relocatable"]) for i in d["images"]] == [("a.o", True), ("b.o", False), ("b.o", False)]
    d = look(images.elf({".nv_fatbin": fat + b"what is this?..."}), status=admin.REFUSED)
    assert d["damaged"] and len(d["images"]) == 1


@pytest.mark.parametrize("data", [b"", b"?", b"garbage\n", b"\0" * 4096, b"\xb1\x43\x62\x46" + bytes(20), b"// .version"])
def test_what_is_no_image(tmp_path, look, data):
    assert look(data, status=admin.REFUSED)["kind"] is None
    said = admin.run("image", tmp_path / "file", socket=tmp_path / "none.sock")
    assert "neither PTX" in said.stderr and "mediator" not in said.stderr


def test_every_beginning_of_a_file(tmp_path):
    """It ends by itself and says something, however the file was cut."""
    fat = images.fatbin(images.entry(images.PTX, 75, images.ptx(), packed=True))
    for whole in (fat, images.elf({".nv_fatbin": fat})):
        for n in range(0, len(whole), 7):
            (tmp_path / "cut").write_bytes(whole[:n])
            said = admin.run("image", tmp_path / "cut", "--kernels", socket=tmp_path / "none.sock")
            assert said.returncode == admin.REFUSED and said.stderr, n


def test_files_that_are_none(tmp_path):
    with open(tmp_path / "sparse", "wb") as f:
        f.truncate(1 << 36)
    said = admin.run("image", tmp_path / "sparse")
    assert said.returncode == admin.REFUSED and "neither PTX" in said.stderr and "64 GiB" in said.stdout
    subprocess.run(["mkfifo", tmp_path / "pipe"], check=True)
    for name, why in (("nothing", "No such file"), (".", "directory"), ("pipe", "not a file")):
        said = admin.run("image", tmp_path / name)
        assert said.returncode == admin.REFUSED and why in said.stderr and not said.stdout


def test_names_are_no_commands_to_the_terminal(tmp_path, look):
    evil = "\x1b]0;owned\x07\x1b[2J"
    name = f"file{evil}"
    data = images.fatbin(images.entry(images.PTX, 75, images.ptx(), options=evil.encode() + b"\xff\xfe"))
    d = look(data, name=name)
    assert d["file"].endswith(name)
    data = images.archive(**{evil[:12]: images.elf({".nv_fatbin": data}, 1)})
    (tmp_path / name).write_bytes(data)
    for args in ((), ("--json",), ("--kernels",)):
        said = admin.run("image", tmp_path / name, *args, socket=tmp_path / "none.sock")
        assert said.returncode == admin.OK
        assert not set(said.stdout + said.stderr) & {"\x1b", "\x07"}, said.stdout


def test_what_a_host_runs(tmp_path):
    """The cpu backend is like a card of compute capability 8.0 that runs PTX only; null runs nothing."""
    older, newer = images.entry(images.PTX, 75, images.ptx()), images.entry(images.PTX, 90, images.ptx("90"))
    code = images.entry(images.CODE, 80, b"\x7fELF")
    files = {"older": (older, code), "newer": (newer,), "code": (code,)}
    for name, entries in files.items():
        (tmp_path / name).write_bytes(images.fatbin(*entries))
    with vgpu.mediator("--backend", "cpu") as m:
        tool = admin.Tool(m)
        if not tool.routes():
            pytest.skip("this mediator has no API")
        card = tool.json("gpu")["gpus"][0]
        if card["backend"] != "cpu":
            pytest.skip("no cpu backend")
        assert card["compute_capability"] == "8.0" and card["cuda"]
        docs = {name: tool.json("image", tmp_path / name) for name in files}
        assert {name: d["runs"] for name, d in docs.items()} == {"older": True, "newer": False, "code": False}
        assert docs["older"]["host"]["compute_capability"] == "8.0" and docs["older"]["images"][0]["runs"] == "ptx"
        assert [e["here"] for e in docs["older"]["images"][0]["entries"]] == ["runs", "only PTX runs"]
        assert docs["newer"]["images"][0]["build"] == "-gencode arch=compute_80,code=compute_80"
        said = tool.ok("image", tmp_path / "code")
        assert "1 of 1 cannot run here. It has no PTX" in said and "Build with: nvcc -gencode arch=compute_80" in said
        assert "1 of 1 runs with PTX for sm_75" in tool.ok("image", tmp_path / "older")
    with vgpu.mediator() as m:  # null
        tool = admin.Tool(m)
        assert tool.json("image", tmp_path / "older")["runs"] is None
        assert "null backend" in tool.ok("image", tmp_path / "older")


def test_nvcc(tmp_path, look):
    """What NVIDIA's own tools make today."""
    nvcc = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if not nvcc:
        pytest.skip("no nvcc")
    (tmp_path / "k.cu").write_text(
        '__device__ int table[3];\nextern "C" __global__ void __launch_bounds__(128) step(int *to, char c, double d)\n'
        "{ __shared__ int s[77]; s[threadIdx.x % 77] = c; __syncthreads(); to[threadIdx.x] = table[c % 3] + d + s[0]; }\n")

    def make(out, *args):
        made = subprocess.run([nvcc, *args, "-o", tmp_path / out, tmp_path / "k.cu"], capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"nvcc {' '.join(args)}: {made.stderr[:200]}")
        return (tmp_path / out).read_bytes()

    targets = ["-gencode=arch=compute_90a,code=[sm_90a,compute_90a]", "-gencode=arch=compute_80,code=sm_80"]
    for args, packed in (((), {None, "zstd", "lz4"}), (("-Xfatbin", "-compress-all"), {"zstd", "lz4"})):
        d = look(make("k.fatbin", "-fatbin", *targets, *args), "--kernels")
        assert {(k, a) for k, a, _, _ in forms(d)} == {("code", "sm_80"), ("code", "sm_90a"), ("ptx", "sm_90a")}
        assert {c for _, _, _, c in forms(d)} <= packed
        for e in d["images"][0]["entries"]:
            step, = e["kernels"]
            assert (step["name"], len(step["params"]), step["param_bytes"], step["max_threads"]) == ("step", 3, 24, 128)
            assert step["shared_bytes"] in (308, 308 + 1024) and [v["bytes"] for v in e["variables"]] == [12]
            assert e["kind"] == "ptx" or step["registers"] > 0
    d = look(make("k.o", "-c", "-rdc=true", *targets))
    assert d["kind"] == "object file" and d["images"][0]["relocatable"]
    d = look(make("libk.so", "-shared", "-Xcompiler=-fPIC", *targets))
    assert d["kind"] == "program or library" and ("code", "sm_80", None) in [f[:3] for f in forms(d)]
    # What the linker adds has no kernels, so it need not run anywhere.
    assert sorted({all(e["empty"] for e in i["entries"]) for i in d["images"]}) == [False, True]
