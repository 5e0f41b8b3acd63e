# SPDX-License-Identifier: Apache-2.0
"""libvgpu: each program checks itself, natively nothing of it exists."""
import os
import pathlib
import signal
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
