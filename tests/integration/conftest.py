# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import guest
import vgpu


def pytest_collection_modifyitems(items):
    if vgpu.MEDIATOR.exists() and vgpu.FAKE.exists():
        return
    for item in items:
        item.add_marker(pytest.mark.skip(reason=f"{vgpu.MEDIATOR} or {vgpu.FAKE} is not built ($VGPU_BUILD)"))


@pytest.fixture
def mediator():
    with vgpu.mediator() as m:
        yield m


@pytest.fixture(params=["null"])
def host(request):
    """A mediator with real executors, and a stub of its main socket's tenant."""
    with vgpu.mediator("--backend", request.param, executor=guest.EXECUTOR) as m, \
            guest.stub(m.directory, m.socket) as s:
        yield Host(m, s)


class Host:
    def __init__(self, mediator_, stub):
        self.mediator, self.stub = mediator_, stub

    def guest(self, **kw):
        g = guest.Guest(self.stub.socket, **kw)
        g.ready()
        return g


@pytest.fixture
def monitor():
    """A VMM's connection to a stub whose mediator is not there."""
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory, \
            guest.stub(directory, f"{directory}/none.sock") as s, guest.Monitor(s.socket) as m:
        m.stub = s
        yield m
