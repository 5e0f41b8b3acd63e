# SPDX-License-Identifier: Apache-2.0
"""Operator messages come from root or the mediator's user, over the main socket."""
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import pytest
import vgpu

NOBODY = 65534
USER, OTHER = 2, 0x20  # tags of access lists


def as_nobody(code, *args):
    """Runs python code as another user; its stdout."""
    here = pathlib.Path(__file__).parent
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(here)!r}); sys.dont_write_bytecode = True\n"
         "from vgpu import *\n" + code, *map(str, args)],
        check=True, capture_output=True, text=True, user=NOBODY, group=NOBODY, env={**os.environ, "HOME": "/"},
    ).stdout.strip()


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")


@needs_root
@pytest.mark.parametrize("message", ["tenant_create()", "status()"])
def test_other_users_are_refused(mediator, message):
    os.chmod(mediator.directory, 0o755)
    out = as_nobody(f"c = Client(sys.argv[1]); a = c.ask({message}); print(a.kind, a.code); "
                    "print(c.ask(channel_open()).kind)", mediator.socket)
    # The connection stays: it was only a refusal.
    assert out.split() == [str(vgpu.ERROR), str(vgpu.E_PERMISSION), str(vgpu.CHANNEL_OK)]


@needs_root
def test_each_user_is_a_tenant(mediator):
    os.chmod(mediator.directory, 0o755)
    other = int(as_nobody("c = Client(sys.argv[1]); c.open(); print(c.greeting.tenant)", mediator.socket))
    with mediator.connect() as c:
        assert other != c.greeting.tenant
        assert c.status()[other].name == f"uid-{NOBODY}"


@needs_root
def test_socket_mode_is_obeyed():
    with vgpu.mediator("--set", "paths.socket_mode=0600") as m:
        os.chmod(m.directory, 0o755)
        out = as_nobody("try: Client(sys.argv[1])\nexcept PermissionError: print('refused')", m.socket)
        assert out == "refused"


@needs_root
def test_tenant_socket_belongs_to_the_one_who_asked(mediator):
    with mediator.connect() as c:
        st = os.stat(c.tenant().path)
        assert st.st_uid == os.getuid() and st.st_mode & 0o777 == 0o600


@needs_root
def test_a_service_of_another_user_lets_root_in_and_nobody_else():
    """It cannot give the file away."""
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory:
        os.chmod(directory, 0o755)
        os.chown(directory, NOBODY, NOBODY)
        m = vgpu.Mediator(directory, preexec=lambda: (os.setgroups([]), os.setgid(NOBODY), os.setuid(NOBODY)))
        try:
            with m.connect() as c:
                path = c.tenant().path
                assert os.stat(path).st_uid == NOBODY
                rules = os.getxattr(path, "system.posix_acl_access")
                assert [e for e in struct.iter_unpack("<HHI", rules[4:]) if e[0] in (USER, OTHER)] == \
                    [(USER, 6, 0), (OTHER, 0, 0xffffffff)]
        finally:
            assert m.stop() == 0, m.log()


@pytest.mark.parametrize("message", [vgpu.tenant_create(), vgpu.status()])
def test_programs_of_a_tenant_are_no_operators(mediator, message):
    with mediator.connect() as operator:
        with vgpu.Client(operator.tenant().path) as c:
            assert c.ask(message).code == vgpu.E_PERMISSION
            c.open()
