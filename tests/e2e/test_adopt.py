# SPDX-License-Identifier: Apache-2.0
"""Programs at work while their mediator is restarted and killed, again and again at random moments: no call fails, all
results are right, new programs start meanwhile, shares go on, and nothing is left over."""
import os
import random
import re
import signal
import sys
import time

import pytest
import stack
from mortal import Mortal

sys.path.insert(0, str(stack.SOURCE / "tests" / "integration"))
import vgpu  # noqa: E402  (the messages by hand are the integration tests' own module)

ROUNDS = int(os.environ.get("VGPU_TEST_DEATHS", "20"))


@pytest.fixture
def mortal(backend):
    if backend == "native":
        pytest.skip("native: nothing of vgpu runs")
    with Mortal(backend) as m:
        m.ready(1)
        yield m
        for client in m.clients:
            client.close()
        m.wait_executors(0, 5)
        assert m.alive(), m.said()
        m.child.terminate()
        assert m.child.wait(10) == 0, m.said()
        until = time.monotonic() + 3 * stack.SLOWER
        while m.keepers():
            assert time.monotonic() < until, "the keeper is still there"
            time.sleep(0.01)


def fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_work_goes_on(mortal, how):
    steady = [mortal.client("worker", "loop", options=["--name", f"steady{i}", "--weight", str(100 * (i + 1))])
              for i in range(2)]
    computes = mortal.backend != "null"
    checking = mortal.client(stack.WORKLOAD, "--seconds", "600") if computes else None
    for client in steady:
        client.wait_line("ready")
    moments = random.Random(os.environ.get("VGPU_TEST_SEED", "7"))
    short, executors = [], set(mortal.executors())
    for _ in range(ROUNDS):
        # Programs that begin around the moment; now and then one that shares memory with another.
        short.append(mortal.client("worker", "turns", "20"))
        time.sleep(moments.random() * 0.2)
        mortal.replace(how)
    short += [mortal.client(name) for name in ("ipc_memory", "ipc_events")]
    mortal.replace(how)
    for client in short:
        assert client.wait(120) in (0, 77), "\n".join([*client.lines[-20:], mortal.said()])
    for client in steady:
        assert client.child.poll() is None, (client.lines, mortal.said())
    # The same executors as at the beginning, whoever started them.
    assert executors <= set(mortal.executors())
    if checking:
        checking.kill(signal.SIGTERM)
        assert checking.wait(30) == 0, checking.lines
        assert re.search(r"checked [1-9].* 0 wrong", checking.lines[-1]), checking.lines


def test_nothing_is_left(mortal):
    """After many deaths the mediator and its keeper have no more files than after the first."""
    def count():
        again = mortal.client("worker", "turns", "3")
        assert again.wait(30) == 0, again.lines
        mortal.wait_executors(0, 5)
        time.sleep(0.2)
        keeper, = mortal.keepers()
        return fds(mortal.child.pid), fds(keeper)

    mortal.replace("kill")
    before = count()
    for _ in range(6):
        client = mortal.client("worker", "turns", "10")
        time.sleep(0.05)
        mortal.replace("kill")
        assert client.wait(60) == 0, (client.lines, mortal.said())
    after = count()
    # Fewer while the sensor, which is started when somebody asks, is not there.
    assert after[0] <= before[0] and after[1] <= before[1], (after, before)


def test_shares_before_and_after(backend):
    if backend in ("native", "null"):
        pytest.skip(f"{backend}: no GPU time to share")
    weights = (400, 200, 100)
    with Mortal(backend) as mortal:
        mortal.ready(1)
        clients = [mortal.client(stack.WORKLOAD, "--seconds", "600", options=["--name", f"w{w}", "--weight", str(w)])
                   for w in weights]
        status = Status(mortal.socket)
        status.wait(lambda rows: len(rows) == 3 and all(r["contended"] > 10**8 for r in rows.values()))
        for how in ("restart", "kill"):
            begin = status.rows()
            for _ in range(6):
                time.sleep(0.5)
                mortal.replace(how)
            time.sleep(0.5)
            now = status.rows()
            used = [now[f"w{w}"]["gpu"] - begin[f"w{w}"]["gpu"] for w in weights]
            # Translated kernels on few processors do not want the GPU all the time; the exact figures are the
            # integration test's (test_adopt.py there).
            for u, w in zip(used, weights):
                assert abs(u / sum(used) - w / sum(weights)) < 0.15, (how, used)
            assert used[0] > used[1] > used[2], (how, used)
        for client in clients:
            client.kill(signal.SIGTERM)
            assert client.wait(60) == 0, client.lines


class Status:
    """An operator's connection of before, used all the time."""

    def __init__(self, path):
        self.client = vgpu.Client(path)

    def rows(self):
        return {r.name: {"gpu": r.gpu_ns, "contended": r.contended_gpu_ns}
                for r in self.client.status().values() if r.name.startswith("w")}

    def wait(self, condition):
        until = time.monotonic() + 60 * stack.SLOWER
        while not condition(self.rows()):
            assert time.monotonic() < until, self.rows()
            time.sleep(0.1)
