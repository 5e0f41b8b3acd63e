# SPDX-License-Identifier: Apache-2.0
"""Which backends the end-to-end tests run on: VGPU_TEST_BACKENDS (words of null, cpu, cuda, native), else null and
cpu, which need no GPU. A test that takes `backend` runs once for each; what a host lacks is skipped with the reason."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import stack  # noqa: E402  (found through the line above)


def pytest_generate_tests(metafunc):
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", os.environ.get("VGPU_TEST_BACKENDS", "null cpu").split(), scope="session")


@pytest.fixture(scope="session", autouse=True)
def built():
    why = stack.missing()
    if why:
        pytest.skip(why)


_reasons = {}


@pytest.fixture(autouse=True)
def possible(request):
    if "backend" not in request.fixturenames:
        return
    backend = request.getfixturevalue("backend")
    if backend not in _reasons:
        _reasons[backend] = stack.backend_missing(backend)
    if _reasons[backend]:
        pytest.skip(f"{backend}: {_reasons[backend]}")


@pytest.fixture
def mediator(backend):
    """A running mediator of the backend; not for native."""
    if backend == "native":
        pytest.skip("native: nothing of vgpu runs")
    with stack.Mediator(backend) as running:
        yield running
