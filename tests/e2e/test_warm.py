# SPDX-License-Identifier: Apache-2.0
"""Programs on executors that were started ahead: the same results, and none of the waiting."""
import os
import re
import signal
import time

import pytest
import stack


def waiting(mediator, count):
    """Waits until so many executors in all were ready ahead."""
    until = time.monotonic() + 30 * stack.SLOWER
    while said(mediator).count("waits for a tenant") < count:
        assert time.monotonic() < until, mediator.said()
        time.sleep(0.01)


def said(mediator):
    with open(mediator.log.name, encoding="utf-8", errors="replace") as f:
        return f.read()


@pytest.fixture
def ahead(backend):
    if backend == "native":
        pytest.skip("native: nothing of vgpu runs")
    with stack.Mediator(backend, ("executor.warm=2", "executor.warm_pause=10ms", "log.level=debug")) as running:
        waiting(running, 2)
        yield running


@pytest.mark.parametrize("program", ["init_and_devices", "copies", "kernel_results", "graphs", "host_register", "contexts"])
def test_programs(ahead, program):
    if program == "host_register" and "VGPU_SANITIZE" in os.environ:
        pytest.skip("registering heap memory moves whole pages to addresses that AddressSanitizer takes in the executor too")
    first = ahead.executors()
    client = ahead.client(program)
    if client.wait(60) == 77:
        pytest.skip(client.lines[-1])
    assert client.wait() == 0, client.lines
    pid = int(re.search(r"channel 1 of tenant \d+: executor (\d+)", said(ahead))[1])
    assert pid in first
    assert "does not serve" not in said(ahead)


def test_one_after_the_other(ahead):
    used = set()
    for i in range(4):
        waiting(ahead, 2 + i)
        client = ahead.client("worker", "turns", "5")
        assert client.wait() == 0 and client.lines[-1] == "right", client.lines
        used.add(re.findall(r"channel \d+ of tenant \d+: executor (\d+)", said(ahead))[-1])
    assert len(used) == 4


def test_killed_while_they_wait(ahead):
    for pid in ahead.executors():
        os.kill(pid, signal.SIGKILL)
    client = ahead.client("worker", "turns", "5")
    assert client.wait() == 0 and client.lines[-1] == "right", client.lines


def test_stopped_one_is_passed_over(backend):
    """It takes what it is given and does nothing: the program waits executor.warm_answer longer."""
    if backend == "native":
        pytest.skip("native: nothing of vgpu runs")
    with stack.Mediator(backend, ("executor.warm=1", "executor.warm_answer=100ms", "log.level=debug")) as mediator:
        waiting(mediator, 1)
        pid, = mediator.executors()
        os.kill(pid, signal.SIGSTOP)
        client = mediator.client("worker", "turns", "5")
        assert client.wait() == 0 and client.lines[-1] == "right", client.lines
        assert "executor.warm_answer" in said(mediator) and pid not in mediator.executors()
