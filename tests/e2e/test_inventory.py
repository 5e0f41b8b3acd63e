# SPDX-License-Identifier: Apache-2.0
"""What real programs see of a vGPU that is assigned to their VM, and of a host that is drained."""
import pathlib
import sys

import pytest
import stack

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import control  # noqa: E402  (its folder is on the path only now)

VM = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def ctl(mediator):
    if mediator.backend == "native":
        pytest.skip("native: nobody shares there")
    with control.Control(f"{mediator.folder}/run/control.sock") as c:
        yield c


def assigned(mediator, ctl):
    """The environment of programs of a VM with a vGPU, and the vGPU."""
    ctl.do("profile.add", profile="small", memory="64M")
    ctl.do("vm.add", vm=VM, name="one")
    slot = ctl.do("vgpu.add", profile="small", vm=VM)
    return {**mediator.tenant(), "VGPU_SOCKET": slot["socket"]}, slot


def row(ctl):
    found, = (t for t in ctl.do("tenant.list")["tenants"] if t["vm"] == VM)
    return found


def test_a_program_uses_its_vms_vgpu_until_it_is_released(mediator, ctl):
    env, slot = assigned(mediator, ctl)
    program = mediator.inside(env, "worker", "turns", "5")
    assert program.wait(60) == 0, program.lines
    assert row(ctl)["launches"] > 0
    ctl.do("vgpu.release", vgpu=slot["vgpu"])
    after = mediator.inside(env, "worker", "turns", "5")
    assert after.wait(60) != 0
    assert "CUDA_ERROR_NO_DEVICE" in "\n".join(after.lines), after.lines


def test_a_drained_host_is_not_ready_for_new_programs(mediator, ctl):
    env, _ = assigned(mediator, ctl)
    ctl.do("drain.start")
    refused = mediator.inside({**env, "VGPU_LOG": "debug"}, "worker", "turns", "5")
    assert refused.wait(60) != 0
    said = "\n".join(refused.lines)
    assert "CUDA_ERROR_SYSTEM_NOT_READY" in said and "being drained" in said, said
    ctl.do("drain.stop")
    program = mediator.inside(env, "worker", "turns", "5")
    assert program.wait(60) == 0, program.lines
