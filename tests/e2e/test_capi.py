# SPDX-License-Identifier: Apache-2.0
"""libvgpu: each program checks itself, natively nothing of it exists."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest
import stack

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import control  # noqa: E402  (its folder is on the path only now)


@pytest.fixture(autouse=True)
def not_native(request):
    if "backend" in request.fixturenames and request.getfixturevalue("backend") == "native":
        pytest.skip("native: there is no libvgpu")


def check(result):
    assert result.status == 0, result.told()


def test_basics(backend):
    check(stack.run_program(backend, "capi_basics"))


def test_errors_and_quota(backend):
    check(stack.run_program(backend, "capi_errors", "256", options=["--memory", "256M"]))


@pytest.mark.parametrize("how", ["", "cuda"])
def test_threads(backend, how):
    check(stack.run_program(backend, "capi_threads", how, timeout=120))


def test_beside_a_cuda_program(mediator):
    """Two programs of one tenant; both libraries are known for what they are."""
    env = mediator.tenant()
    ours, cuda = mediator.inside(env, "capi_threads", "loop"), mediator.inside(env, "worker", "loop")
    ours.wait_line("ready")
    cuda.wait_line("ready")
    with control.Control(f"{mediator.folder}/run/control.sock") as ctl:
        rows = {row["pid"]: row for row in ctl.do("session.list")["sessions"]}
    assert (rows[ours.pid]["library"], rows[cuda.pid]["library"]) == ("libvgpu", "libcuda")
    assert rows[ours.pid]["tenant"] == rows[cuda.pid]["tenant"]
    third = mediator.inside(env, "capi_threads")
    assert third.wait(120) == 0, third.lines
    ours.kill()
    cuda.kill()
    mediator.wait_executors(0)


def loses(mediator, *also):
    client = mediator.client("capi_threads", "loop")
    client.wait_line("ready")
    for pid in (*also, *mediator.executors()):
        os.kill(pid, signal.SIGKILL)
    return client


def test_executor_killed(mediator):
    client = loses(mediator)
    assert client.wait(30) == 3, client.lines
    assert client.lines[1:] == ["error -19 the device is lost; open it anew", "again"], client.lines
    mediator.wait_executors(0)


def test_mediator_and_executor_killed(mediator):
    client = loses(mediator, mediator.pid)
    assert client.wait(30) == 1, client.lines  # the second device cannot be opened
    assert client.wait_line("error -19")


EXAMPLES = stack.SOURCE / "examples"
KERNELS = EXAMPLES / "kernels.ptx"
plain = pytest.mark.skipif("VGPU_SANITIZE" in os.environ, reason="what loads the library is not built with the sanitizers")


def run_example(*command, env=None):
    if why := stack.backend_missing("cpu"):
        pytest.skip(why)
    result = stack.run_command([stack.VGPU_RUN, "--private", "--backend", "cpu", "--", *command], 60, stack.clean_environment("cpu", env))
    assert result.status == 0, result.told()
    return result.out


@pytest.mark.parametrize("name, says", [("vector_add", "1000000 sums, 0 wrong"), ("matrix_product", "in 8 bands: 0 wrong"),
                                        ("batch_server", "1600 requests of 8 clients")])
def test_examples(name, says):
    out = run_example(stack.BUILD / "examples" / f"example-{name}", KERNELS)
    assert says in out and " 0 " in out, out


def test_the_server_makes_batches():
    out = run_example(stack.BUILD / "examples" / "example-batch_server", KERNELS, "32", "50").split()
    assert out[0] == "1600" and int(out[6]) < 1600 and out[8] == "0", out


@plain
def test_example_in_python():
    out = run_example(sys.executable, EXAMPLES / "vector_add.py", KERNELS,
                      env={"LD_LIBRARY_PATH": str(stack.BUILD / "guest" / "libvgpu")})
    assert "100000 sums, 0 wrong" in out


@plain
def test_examples_build_with_pkg_config(tmp_path):
    """As a user does it; the library is the build's."""
    if not shutil.which("make") or not shutil.which("pkg-config"):
        pytest.skip("make or pkg-config is missing")
    if not EXAMPLES.exists():
        pytest.skip("only the tests' sources are here")
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    env = {**os.environ, "PKG_CONFIG_PATH": str(stack.BUILD / "meson-uninstalled")}
    made = subprocess.run(["make", "-C", tmp_path / "examples"], capture_output=True, text=True, check=False, env=env)
    assert made.returncode == 0, made.stderr
    out = run_example(tmp_path / "examples" / "matrix_product", KERNELS,
                      env={"LD_LIBRARY_PATH": str(stack.BUILD / "guest" / "libvgpu")})
    assert "0 wrong" in out


def prototypes_of_the_manual():
    for page in (stack.SOURCE / "docs/man").glob("*.3.scd"):
        for line in page.read_text(encoding="utf-8").splitlines():
            if m := re.fullmatch(r"\*(.+\));\*(\+\+)?", line):
                text = m[1].replace("\\*", "@")
                yield re.sub(r"\*_|_\*|\*", "", text).replace("@", "*")


def test_the_manual_says_what_the_header_says():
    if not (stack.SOURCE / "docs/man").exists():
        pytest.skip("only the tests' sources are here")
    abi = (stack.SOURCE / "guest/libvgpu/abi.txt").read_text(encoding="utf-8")
    assert sorted(prototypes_of_the_manual()) == sorted(re.findall(r"^function (.*)$", abi, re.M))
    errors = set(re.findall(r"^constant (VGPU_E_\w+)", abi, re.M))
    page = (stack.SOURCE / "docs/man/vgpu_error_text.3.scd").read_text(encoding="utf-8")
    assert errors == set(re.findall(r"VGPU_E_\w+", page))
