# SPDX-License-Identifier: Apache-2.0
"""The systemd units: systemd understands them, they start what was built, and the stub needs little."""
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import admin
import guest
import pytest
import vgpu

UNITS = sorted((pathlib.Path(__file__).resolve().parents[2] / "packaging" / "systemd").glob("*.service"))
BUILT = {"vgpu-admin": admin.ADMIN, "vgpu-mediator": vgpu.MEDIATOR, "vgpu-stub": guest.STUB}


def exec_start(text):
    return re.search(r"^ExecStart=(.*)$", text, re.M)[1]


@pytest.fixture
def analyze():
    found = shutil.which("systemd-analyze")
    if not found:
        pytest.skip("no systemd-analyze here")
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda u: u.name)
def test_verify(analyze, unit, tmp_path):
    text = unit.read_text()
    program = shlex.split(exec_start(text))[0]
    copy = tmp_path / unit.name
    # Where it is installed there is nothing here.
    copy.write_text(text.replace(program, str(BUILT[pathlib.Path(program).name])))
    other = tmp_path / "vgpu-mediator.service"
    if not other.exists():
        other.write_text(f"[Service]\nExecStart={vgpu.MEDIATOR}\n")
    said = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, check=False)
    about = [line for line in said.stderr.splitlines() if unit.name.split("@", maxsplit=1)[0] in line]
    assert said.returncode == 0 and not about, said.stderr


@pytest.mark.skipif("VGPU_SANITIZE" in os.environ, reason="the sanitizer's runtime makes calls that the unit's sandbox forbids")
def test_the_stub_takes_its_units_options(tmp_path):
    text = next(u for u in UNITS if u.name == "vgpu-stub@.service").read_text()
    words = [w.replace("/run/vgpu-stub", str(tmp_path)).replace("%i", "vm1") for w in shlex.split(exec_start(text))[1:]]
    # As systemd does it with a word that is a variable: its words, of which there are none.
    assert words[-1] == "$VGPU_STUB_OPTIONS" and "\nEnvironment=VGPU_STUB_OPTIONS=\n" in text
    process = subprocess.Popen([guest.STUB, *words[:-1]], stderr=subprocess.PIPE)
    try:
        vgpu.wait_for(lambda: (tmp_path / "vm1.sock").exists() or process.poll() is not None)
        assert process.poll() is None, process.stderr.read()
    finally:
        process.terminate()
        assert process.wait(10) == 0
        process.stderr.close()


def test_the_stub_is_exposed_little(analyze):
    """systemd's own figure, of 10: what the unit leaves open is written down there."""
    unit = next(u for u in UNITS if u.name == "vgpu-stub@.service")
    said = subprocess.run([analyze, "security", "--offline=true", "--threshold=25", unit], capture_output=True, text=True, check=False)
    if "offline" in said.stderr and said.returncode:
        pytest.skip("this systemd-analyze judges installed units only")
    assert said.returncode == 0, said.stdout + said.stderr
