# SPDX-License-Identifier: Apache-2.0
"""What real programs leave in the use of their VM: their library and exactly the features that they used; and programs
that the VM's protocol keeps out."""
import os
import pathlib
import sys
import time

import pytest
import stack

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import control  # noqa: E402  (its folder is on the path only now)

VM = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def ctl(mediator):
    with control.Control(f"{mediator.folder}/run/control.sock") as c:
        yield c


@pytest.fixture
def env(mediator, ctl):
    """Of programs of a VM with a vGPU."""
    ctl.do("profile.add", profile="small", memory="256M")
    ctl.do("vm.add", vm=VM, name="one")
    slot = ctl.do("vgpu.add", profile="small", vm=VM)
    return {**mediator.tenant(), "VGPU_SOCKET": slot["socket"]}


def use(ctl):
    """When no program of it is there any more: the host sees one's end a little later than who waits for it."""
    until = time.monotonic() + 20
    while ctl.do("vm.get", vm=VM)["channels"]:
        assert time.monotonic() < until, "channels stay"
        time.sleep(0.01)
    answer = ctl.do("vm.use", vm=VM)
    return ({row["library"]: row for row in answer["libraries"]}, {row["feature"] for row in answer["features"]})


def ran(mediator, env, *command):
    program = mediator.inside(env, *command)
    assert program.wait(120) == 0, program.lines


# What libcuda does by itself shows nothing: capture is a graph, a pool and managed memory are plain memory.
PROGRAMS = {
    "worker turns 5": {"ptx"},
    "memory": set(),
    "pools_and_managed": {"ptx", "streams", "pinned_memory"},
    "ipc_memory": {"ptx", "ipc"},
    "surfaces": {"ptx", "arrays", "surfaces"},
    "host_register": {"ptx", "pinned_memory", "registered_memory"},
}
NOT_NULL = {  # these need a device that computes
    "events_and_streams": {"ptx", "streams", "events", "pinned_memory"},
    "graphs": {"ptx", "streams", "events", "graphs"},
    "virtual_memory": {"virtual_memory", "pinned_memory"},
    "linking": {"ptx", "linking"},
    "stream_memory_words": {"streams", "events", "graphs", "stream_memory_words", "pinned_memory"},
    "prints": {"ptx", "streams", "events", "printf"},
    "textures": {"ptx", "arrays", "textures", "surfaces"},
    "conditional_graphs": {"ptx", "streams", "graphs", "conditional_graphs"},
    "machine_code": {"cubin", "fat_binary"},
}


@pytest.mark.parametrize("command", PROGRAMS)
def test_exactly_what_a_program_used(mediator, ctl, env, command):
    if command == "host_register" and "VGPU_SANITIZE" in os.environ:
        pytest.skip("the sanitizer's own memory cannot be moved")
    ran(mediator, env, *command.split())
    libraries, used = use(ctl)
    assert used == PROGRAMS[command]
    assert set(libraries) == {"libcuda"} and libraries["libcuda"]["refused"] == libraries["libcuda"]["open"] == 0


@pytest.mark.parametrize("command", NOT_NULL)
def test_exactly_what_a_program_that_computes_used(mediator, ctl, env, command):
    if mediator.backend == "null":
        pytest.skip("null: nothing is computed there")
    ran(mediator, env, command)
    # The test's cubin is read by the cpu backend; a card is given none.
    cards = {"cubin"} if mediator.backend == "cuda" else set()
    assert use(ctl)[1] == NOT_NULL[command] - cards


def test_libvgpu_and_libcuda_are_counted_apart(mediator, ctl, env):
    ran(mediator, env, "capi_threads")
    ran(mediator, env, "worker", "turns", "5")
    libraries, used = use(ctl)
    ours, cuda = libraries["libvgpu"], libraries["libcuda"]
    assert (ours["channels"], cuda["channels"]) == (4, 1) and used == {"ptx", "streams"}
    assert ours["launches"] > 0 and cuda["launches"] > 0
    row, = (t for t in ctl.do("tenant.list")["tenants"] if t["vm"] == VM)
    assert ours["launches"] + cuda["launches"] == row["launches"]
    assert ours["gpu_ns"] + cuda["gpu_ns"] == row["gpu_ns"]


def test_programs_that_the_protocol_keeps_out(mediator, ctl, env):
    log = {**env, "VGPU_LOG": "debug"}
    ctl.do("vm.set", vm=VM, protocol="custom")
    program = mediator.inside(log, "worker", "turns", "5")
    assert program.wait(60) != 0
    said = "\n".join(program.lines)
    assert "CUDA_ERROR_NO_DEVICE" in said and "protocol custom" in said, said
    ran(mediator, env, "capi_threads")
    ctl.do("vm.set", vm=VM, protocol="cuda")
    ran(mediator, env, "worker", "turns", "5")
    program = mediator.inside(log, "capi_threads")
    assert program.wait(60) != 0
    assert "protocol cuda" in "\n".join(program.lines), program.lines
    libraries, _ = use(ctl)
    assert libraries["libcuda"]["refused"] == 1 and libraries["libvgpu"]["refused"] >= 1
    assert libraries["libcuda"]["channels"] == 1 and libraries["libvgpu"]["channels"] == 4
