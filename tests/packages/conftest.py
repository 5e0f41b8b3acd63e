# SPDX-License-Identifier: Apache-2.0
"""One clean system for each release of Debian; ./dev test --only packages. Not part of a plain run: it needs root and
the network, and takes minutes."""
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import chroot  # noqa: E402  (found through the line above)

RELEASES = os.environ.get("VGPU_TEST_RELEASES", "bookworm trixie").split()


@pytest.fixture(scope="session", params=RELEASES)
def clean(request):
    """A Debian system without anything of ours."""
    why = chroot.missing()
    if why:
        pytest.skip(why)
    folder = tempfile.mkdtemp(prefix="pkg-test-")
    try:
        os.chmod(folder, 0o755)
        system = chroot.Chroot(folder)
        why = system.bootstrap(request.param)
        if why:
            pytest.skip(why)
        system.release = request.param
        yield system
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def system(clean):
    """What the packages need is there, and they themselves not yet."""
    needs = [chroot.field(d, f) for d in chroot.ours() for f in ("Depends", "Recommends") if "dkms" not in d.name]
    needs = [n.strip() for text in needs for n in text.split(",") if n.strip() and "vgpu" not in n]
    clean.done("apt-get", "satisfy", "-q", "-y", "--no-install-recommends", *needs)
    clean.before = clean.files()
    return clean
