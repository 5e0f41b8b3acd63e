# SPDX-License-Identifier: Apache-2.0
"""rehearsal.py, and that it is not content with less than it should be."""
import argparse

import libvirtd
import machine
import pytest
import rehearsal


@pytest.fixture(autouse=True, scope="module")
def possible():
    why = libvirtd.missing() or machine.missing_device() or machine.stack.backend_missing("cpu")
    if why:
        pytest.skip(why)


def options(**more):
    return argparse.Namespace(**{"backend": "cpu", "vms": 2, "accel": "tcg", **more})


def test_from_an_offering_to_a_program_and_back():
    said = []
    rehearsal.rehearse(options(), said.append)
    steps = [line for line in said if line.startswith("ok: ")]
    assert len(steps) == 12, said


def test_without_the_agents_hook_it_goes_wrong(monkeypatch):
    """The agent goes on without it, and libvirt's hook refuses."""
    start = rehearsal.Agent.start

    def without_hook(agent, row, slots):
        agent.host.ok("rm", "-f", libvirtd.TRANSFORMER)
        start(agent, row, slots)

    monkeypatch.setattr(rehearsal.Agent, "start", without_hook)
    with pytest.raises(OSError, match="was not prepared"):
        rehearsal.rehearse(options(vms=1), lambda _text: None)
