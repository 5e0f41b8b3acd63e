# SPDX-License-Identifier: Apache-2.0
"""Faults of every kind, one after the other, in one tenant, and what they must not change: the results of its
neighbours, and what the mediator holds. Used by test_fault_storm.py and bench/soak.py."""
import contextlib
import mmap
import os
import pathlib
import random
import re
import signal
import struct
import sys
import time

import stack

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
import control  # noqa: E402  (the control socket)
import vgpu  # noqa: E402  (the host link by hand)

# What the mediator of a storm needs: one tenant may strike as often as it likes.
SETTINGS = ("strikes.most=0", "limits.connections=512")


def bad_tenant(mediator, name):
    """The environment of a tenant for faults, whose hangs end soon. Only its: on a busy machine others' kernels, which run
    on the same processors, may stand still for as long without being hung."""
    env = mediator.tenant("--name", name, "--memory", "64M")
    with operator(mediator) as ctl:
        ctl.do("tenant.set", tenant=tenant_of(env), work="300ms")
    return env


def operator(mediator):
    return control.Control(os.path.join(mediator.folder, "run", "control.sock"))


def tenant_of(env):
    return int(re.search(r"tenant-(\d+)\.sock", env["VGPU_SOCKET"])[1])


def hang(mediator, env, _):
    client = mediator.inside(env, "worker", "forever")
    assert client.wait(60) == 3, client.lines
    assert "CUDA_ERROR_LAUNCH_TIMEOUT" in client.wait_line("error"), client.lines
    return client


def illegal_address(mediator, env, rng):
    client = mediator.inside(env, "fault", rng.choice(["illegal", "misaligned", "trap"]))
    assert client.wait(60) == 0, client.lines
    return client


def memory_storm(mediator, env, _):
    client = mediator.inside(env, "worker", "storm", "3000")
    assert client.wait(60) == 0, client.lines
    return client


def killed(mediator, env, rng):
    client = mediator.inside(env, "worker", "hold", str(rng.randint(1, 16)))
    if rng.random() < 0.7:
        client.wait_line("ready")
    client.kill()
    assert client.wait(60) == -signal.SIGKILL
    return client


def executor_killed(mediator, env, _):
    client = mediator.inside(env, "worker", "forever" if mediator.backend == "cpu" else "hold", "1")
    client.wait_line("ready")
    for pid in executors_of(mediator, env):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if mediator.backend != "cpu":
        client.kill()  # it only holds, and would not notice
    client.wait(60)
    return client


def executors_of(mediator, env):
    """Pids of the executors that serve the tenant, as the mediator tells operators."""
    with operator(mediator) as ctl:
        return [c["pid"] for c in ctl.status()[1][tenant_of(env)]["channels"]]


def malformed_stream(mediator, env, rng):
    """A channel whose ring holds garbage, written by hand."""
    with vgpu.Client(env["VGPU_SOCKET"]) as client:
        answer = client.ask(vgpu.channel_open(), timeout=60)
        assert answer.kind == vgpu.CHANNEL_OK, getattr(answer, "text", "")
        memory = mmap.mmap(answer.fds[0], answer.channel_bytes)
        n = rng.choice([16, 64, 4096])
        memory[answer.ring_offset:answer.ring_offset + n] = rng.randbytes(n)
        struct.pack_into("<Q", memory, 64, n)
        os.write(answer.fds[2], struct.pack("<Q", 1))
        lost = client.receive(timeout=60)
        memory.close()
        for fd in answer.fds:
            os.close(fd)
    # Random bytes may be a record of an unknown kind, of a wrong length, or hardly ever a good one.
    assert lost.kind == vgpu.CHANNEL_LOST and lost.code in (vgpu.E_BAD_RECORD, vgpu.E_EXECUTOR_DIED), lost.text
    return None


def kinds_for(backend):
    every = [memory_storm, killed, malformed_stream]
    return every + [hang, illegal_address, executor_killed] if backend == "cpu" else every


class Neighbours:
    """Tenants that work, each in its own, and must not notice anything."""

    def __init__(self, mediator, count, pause_ms=20):
        self.clients = [mediator.client("worker", "paced", str(pause_ms), options=["--name", f"good{i}"])
                        for i in range(count)]
        for client in self.clients:
            client.wait_line("ready", 120)

    def check(self):
        for client in self.clients:
            assert client.child.poll() is None, f"a neighbour ended: {client.lines}"

    def finish(self):
        """All results were right; how many rounds each made."""
        self.check()
        for client in self.clients:
            for pid in children(client.pid):
                os.kill(pid, signal.SIGTERM)
        rounds = []
        for client in self.clients:
            assert client.wait(60) == 0, client.lines
            rounds.append(int(client.wait_line("right").split()[1]))
        return rounds


def children(pid):
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in text.split()]


def resident_kib(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1])


def open_fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def settled_fds(pid, most=None, seconds=20):
    """Its open fds once they stay the same (at `most` or fewer, if that is given)."""
    end, last, since = time.monotonic() + seconds * stack.SLOWER, None, 0
    while time.monotonic() < end:
        now = open_fds(pid)
        since = since + 1 if now == last else 0
        last = now
        if since >= 10 and (most is None or now <= most):
            break
        time.sleep(0.05)
    return last


def forget(mediator, client):
    """Gives back what the test itself holds of a client that has ended."""
    if client:
        client.close()
        mediator.clients.remove(client)


def inject(mediator, env, count, seed, each=lambda i: None):
    """So many faults in the tenant, of all kinds in turn; how many of each."""
    rng, done = random.Random(seed), {}
    kinds = kinds_for(mediator.backend)
    for i in range(count):
        kind = kinds[i % len(kinds)]
        forget(mediator, kind(mediator, env, rng))
        done[kind.__name__] = done.get(kind.__name__, 0) + 1
        each(i)
    return done
