# SPDX-License-Identifier: Apache-2.0
"""A guest's programs say through driver and virtual GPU which library they have: counted by it on the host, and kept out by the
VM's protocol."""
import contextlib

import machine
from machine import stack

import control  # of the integration tests: the control socket

VM = "11111111-2222-4333-8444-555555555555"


@contextlib.contextmanager
def vm_with_guest():
    with stack.Mediator("cpu") as mediator, control.Control(f"{mediator.folder}/run/control.sock") as ctl:
        ctl.do("profile.add", profile="small", memory="256M")
        ctl.do("vm.add", vm=VM, name="one")
        slot = ctl.do("vgpu.add", profile="small", vm=VM)
        with machine.Machine(mediator, socket=slot["socket"]) as m:
            yield ctl, m


def libraries(ctl):
    return {row["library"]: row for row in ctl.do("vm.use", vm=VM)["libraries"]}


def fails(m, command, *said):
    result = m.guest.run(f"VGPU_LOG=debug {command}", 60, VGPU_TEST_BACKEND="cpu")
    assert result.status not in (0, "timeout"), result.told()
    for text in said:
        assert text in result.out + result.err, result.told()


def test_both_libraries_are_counted_and_kept_apart(device):
    with vm_with_guest() as (ctl, m):
        m.works()
        result = m.program("capi_threads")
        assert result.status == 0, result.told()
        assert {name: row["channels"] for name, row in libraries(ctl).items()} == {"libcuda": 1, "libvgpu": 4}
        assert all(row["launches"] > 0 for row in libraries(ctl).values())
        assert {f["feature"] for f in ctl.do("vm.use", vm=VM)["features"]} == {"ptx", "streams"}

        worker = m.guest.start("worker loop", VGPU_TEST_BACKEND="cpu")
        worker.wait_line("ready")
        rows = ctl.do("session.list")["sessions"]
        assert [row["library"] for row in rows if row["channels"]] == ["libcuda"]
        worker.kill()
        worker.wait()

        ctl.do("vm.set", vm=VM, protocol="custom")
        fails(m, "worker turns 5", "CUDA_ERROR_NO_DEVICE", "no programs of this library")
        assert m.program("capi_threads").status == 0
        ctl.do("vm.set", vm=VM, protocol="cuda")
        m.works()
        fails(m, "capi_threads", "no programs of this library")
        rows = libraries(ctl)
        assert rows["libcuda"]["refused"] == 1 and rows["libvgpu"]["refused"] >= 1 and "untold" not in rows
