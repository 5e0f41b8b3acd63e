# SPDX-License-Identifier: Apache-2.0
"""Three guests share the host's GPU by weight."""
import contextlib
import threading
import time

import machine

from machine import stack

import vgpu  # of the integration tests: the messages of the host link

WEIGHTS = {"four": 4, "two": 2, "one": 1}


def rows(mediator):
    """{weight: status} of the machines' tenants."""
    with vgpu.Client(mediator.socket) as link:
        return {row.weight: row for row in link.status().values() if row.weight in WEIGHTS.values()}


def shares(mediator, seconds, limit=180):
    """Each one's part of the GPU time of so many seconds in which all three were in demand. A translated guest is
    now and then not fast enough to be: such moments say nothing about the mediator."""
    common, used, until = 0, dict.fromkeys(WEIGHTS.values(), 0), time.monotonic() + limit
    last, last_time = rows(mediator), time.monotonic()
    while common < seconds:
        assert time.monotonic() < until, f"all three were in demand together for {common:.1f} s only"
        time.sleep(0.1)
        now, now_time = rows(mediator), time.monotonic()
        wall = now_time - last_time
        if all(now[w].contended_ns - last[w].contended_ns >= 0.95e9 * wall for w in used):
            common += wall
            for w in used:
                used[w] += now[w].contended_gpu_ns - last[w].contended_gpu_ns
        last, last_time = now, now_time
    return {w: ns / sum(used.values()) for w, ns in used.items()}


def test_weights(device):
    with contextlib.ExitStack() as cleanup:
        mediator = cleanup.enter_context(stack.Mediator("cpu"))
        machines, lock = {}, threading.Lock()

        def start(name):
            m = machine.Machine(mediator, "--weight", str(WEIGHTS[name]), memory="384M")
            with lock:
                cleanup.callback(m.close)
                machines[name] = m
        threads = [threading.Thread(target=start, args=(name,)) for name in WEIGHTS]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(machines) == 3, mediator.said()
        # Unchecked: what is computed is looked at elsewhere, and checking is the guest's slow processor's work.
        workers = {name: m.guest.start("vgpu-demo-workload --unchecked") for name, m in machines.items()}
        machine.wait_for(lambda: [r.launches > 20 for r in rows(mediator).values()].count(True) == 3, 60, mediator.said)
        got = shares(mediator, 4)
        for weight in WEIGHTS.values():
            assert abs(got[weight] - weight / 7) < 0.05, got
        for name, m in machines.items():
            m.guest.check("kill -TERM $(pidof vgpu-demo-workload)")
            result = workers[name].wait(60)
            assert result.status == 0 and "completed" in result.out, result.told()
        mediator.wait_executors(0, 10)
