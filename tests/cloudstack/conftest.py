# SPDX-License-Identifier: Apache-2.0
"""CloudStack's side of a host: its agent (agent.groovy) and its management server (model.py), both by the facts of its
sources. Programs of the tests in tests/integration are shared."""
import contextlib
import pathlib
import sys
import tempfile

import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

import agent as agents  # noqa: E402
import host  # noqa: E402
import mariadb  # noqa: E402
import vgpu  # noqa: E402


def pytest_collection_modifyitems(items):
    if vgpu.MEDIATOR.exists():
        return
    for item in items:
        item.add_marker(pytest.mark.skip(reason=f"{vgpu.MEDIATOR} is not built ($VGPU_BUILD)"))


@pytest.fixture(scope="session")
def agent():
    """One for all tests."""
    why = agents.missing()
    if why:
        pytest.skip(why)
    with agents.running() as a:
        yield a


@pytest.fixture
def machine(agent, request):
    """A host; a test's parameters are arguments of its mediator."""
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory, \
            contextlib.closing(host.Host(directory, agent, *getattr(request, "param", ()))) as h:
        yield h
        assert h.mediator.process.poll() in (None, 0), h.mediator.log()


@pytest.fixture(scope="session")
def database():
    """The socket of a MariaDB for all tests."""
    why = mariadb.missing()
    if why:
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory, mariadb.running(directory) as socket:
        yield socket
