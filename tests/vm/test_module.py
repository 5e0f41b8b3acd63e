# SPDX-License-Identifier: Apache-2.0
"""vgpu.ko in a guest whose virtual GPU is tests/vm/fake_stub.py. The guest's side is tests/vm/guest, one program with many
cases."""
import pathlib
import shutil
import subprocess

import fake_stub
import machine
import pytest

GUEST_CASES = pathlib.Path(__file__).resolve().parent / "guest"
PATIENCE_S = 180  # for the guest's next line


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    out = tmp_path_factory.mktemp("guest") / "module_test"
    compiler = shutil.which("cc")
    assert compiler, "no C compiler"
    subprocess.run([compiler, "-std=gnu17", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-static",
                    f"-I{machine.SOURCE}", "-o", out, *sorted(GUEST_CASES.glob("*.c"))], check=True)
    return out


@pytest.fixture(scope="session")
def image_with_program(device, program, tmp_path_factory):
    out = tmp_path_factory.mktemp("image") / "initrd.cpio"
    machine.make_image(out, f"{program}:/usr/bin/module_test")
    return out


class Run:
    """One run of the program: its lines, what the guest's kernel said, and what the server complains of."""

    def __init__(self, image, folder, argument, *options):
        self.lines, self.kernel = [], ""
        self.server = fake_stub.Server(str(folder / "gpu.sock"))
        try:
            # Room for the memory of all 64 channels.
            with machine.Guest(str(folder / "gpu.sock"), initrd=image, memory="1G", options=options) as guest:
                self.follow(guest, guest.start(f"module_test {argument}"))
                self.kernel = guest.run("dmesg").out
        finally:
            self.server.die()
        self.faults = self.server.gpu.faults

    def follow(self, guest, command):
        while True:
            known = len(self.lines)

            def more(known=known):
                lines = command.out.decode(errors="replace").split("\n")[:-1]
                return lines[known:] or command.status is not None
            new = guest.until(more, PATIENCE_S, lambda: f"the next line of module_test: {self.lines[-10:]}")
            if new is True:
                break
            for line in new:
                self.lines.append(line)
                self.answer(guest, line)
        assert command.status == 0, command.result().told()

    def answer(self, guest, line):
        """What a case asks of this side."""
        if line == "HOST unplug":
            guest.qmp("device_del", id="vgpu0")
        elif line == "HOST plug":
            guest.plug(self.server.path)
        elif line == "HOST wake":
            guest.check("touch /run/host-has-heard")
            guest.wake_when_asleep()
        elif line == "HOST die":
            self.server.die()

    def cases(self):
        return [line for line in self.lines if line.startswith(("ok ", "not ok "))]


@pytest.fixture(scope="module", params=["", "suspend"], ids=["most", "suspend"])
def told(image_with_program, request, tmp_path_factory):
    # A kernel that was started without its decompressor is started anew when the machine wakes.
    options = ["--kernel", machine.VM / "kernel" / "vmlinuz"] if request.param else []
    return Run(image_with_program, tmp_path_factory.mktemp("vm"), request.param, *options)


def test_the_program_came_to_its_end(told):
    assert f"1..{len(told.cases())}" in told.lines, "\n".join(told.lines)


def test_all_cases_in_the_guest(told):
    assert told.cases(), "\n".join(told.lines)
    failed = [c for c in told.cases() if c.startswith("not ok")]
    assert not failed, "\n".join(line for line in told.lines if line.startswith(("#", "not ok")))


def test_the_guest_gave_the_host_what_it_should(told):
    assert told.faults == []


def test_the_kernel_has_nothing_to_complain_of(told):
    assert "vgpu" in told.kernel
    assert not machine.complaints(told.kernel)
