# SPDX-License-Identifier: Apache-2.0
"""Machines for the tests. --long: all programs on all backends and hundreds of random deaths instead of a few minutes'
worth; --deaths N sets their number alone."""
import os
import sys
import time

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import machine  # noqa: E402  (found through the line above)


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="the long set")
    parser.addoption("--deaths", type=int, help="how often something is killed at a random moment (6, long: 200)")
    parser.addoption("--seed", default=str(time.time_ns()), help="of the random moments")


def pytest_report_header(config):
    return f"random moments: --seed {config.getoption('--seed')}"


def pytest_terminal_summary(terminalreporter, config):
    tally = config.stash.get(machine.TALLY, None)
    if tally:
        terminalreporter.section(f"deaths (--seed {config.getoption('--seed')})")
        for who, results in tally.items():
            terminalreporter.line(f"{who}: " + ", ".join(f"{n} {what}" for what, n in sorted(results.items())))


@pytest.fixture(scope="session")
def image():
    """The guest's module and file system, made of what was built just now; why there is no module."""
    why = machine.missing()
    if why:
        pytest.skip(why)
    no_module = machine.make_module()
    machine.make_image()
    return no_module


@pytest.fixture(scope="session")
def device(image):
    why = image or machine.missing_device()
    if why:
        pytest.skip(why)
