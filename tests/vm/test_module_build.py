# SPDX-License-Identifier: Apache-2.0
"""vgpu.ko: builds without a warning for every kernel whose headers are here, and looks as the kernel's sources should. Needs
no virtual machine."""
import os
import pathlib
import re
import shutil
import subprocess

import machine
import pytest

KMOD = machine.SOURCE / "guest" / "kmod"
# That tools are not those that the kernel was built with is not about the sources.
TOOLS_DIFFER = re.compile(r"warning: (the compiler|pahole version) differs from the one used to build the kernel")

# The module is built for many kernels, and compares their versions.
OUT_OF_TREE = "LINUX_VERSION_CODE", "CONSTANT_COMPARISON"


def headers():
    """Every folder of kernel headers: those that scripts/vm/get-kernel and get-headers fetched, the running kernel's."""
    running = pathlib.Path("/lib/modules") / os.uname().release / "build"
    return machine.header_folders() + ([running] if running.exists() else [])


@pytest.mark.parametrize("folder", headers() or [None], ids=lambda f: f.name if f else "none")
def test_it_builds_without_a_warning(folder, tmp_path):
    if not folder:
        pytest.skip("no kernel headers here: ./dev setup --vm gets some")
    made = subprocess.run([machine.SCRIPTS / "build-module.sh", folder, tmp_path], capture_output=True, text=True, check=False)
    said = made.stdout + made.stderr
    assert made.returncode == 0, said
    assert (tmp_path / "vgpu.ko").exists()
    assert "warning: " not in TOOLS_DIFFER.sub("", said), said


def test_what_dkms_is_given_is_complete(tmp_path):
    """Every source of the module, and the headers of the protocol that it includes."""
    subprocess.run(["make", "-s", "-C", KMOD, "dkms-source", f"DESTDIR={tmp_path}"], check=True)
    version = re.search(r'^PACKAGE_VERSION="(.*)"', (KMOD / "dkms.conf").read_text(), re.M)[1]
    folder = tmp_path / "usr/src" / f"vgpu-{version}"
    for source in [*KMOD.glob("*.[ch]"), KMOD / "Kbuild", KMOD / "Makefile", KMOD / "dkms.conf"]:
        assert (folder / source.name).read_bytes() == source.read_bytes()
    for source in KMOD.glob("*.[ch]"):
        for included in re.findall(r'#include "(protocol/.*)"', source.read_text()):
            assert (folder / included).exists(), f"{source.name} includes {included}"


def checkpatch():
    """Debian's headers do not have it; a kernel tree that the running kernel was built in has."""
    places = [machine.VM / "checkpatch", *(h.resolve() / "scripts" for h in headers())]
    return next((p / "checkpatch.pl" for p in places if (p / "checkpatch.pl").exists()), None)


def test_checkpatch_has_nothing_to_say():
    script = checkpatch()
    if not script:
        pytest.skip("no checkpatch.pl here: scripts/vm/get-checkpatch gets it")
    if not shutil.which("perl"):
        pytest.skip("no perl for checkpatch.pl")
    # The headers of protocol/ are shared with user space, whose style is another.
    files = sorted(KMOD.glob("*.[ch]"))
    said = subprocess.run([script, "--no-tree", "--strict", "--terse", "--max-line-length=120", "--show-types", "--ignore",
                           ",".join(OUT_OF_TREE), "-f", *files],
                          capture_output=True, text=True, check=False)
    complaints = [line for line in said.stdout.splitlines() if re.search(r": (ERROR|WARNING|CHECK):", line)]
    assert not complaints and not said.stderr, "\n".join(complaints) + said.stderr
