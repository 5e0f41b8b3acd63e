# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

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
