# SPDX-License-Identifier: Apache-2.0
"""Processes that end, crash and are killed: each takes down what is its own and nothing else."""
import os
import signal
import time

import pytest
import stack


def test_exit_with_work_in_flight(mediator):
    client = mediator.client("worker", "exit")
    assert client.wait() == 7, client.lines
    mediator.wait_executors(0)
    assert mediator.alive()


def test_exec_with_work_in_flight(mediator):
    """The process goes on as another program: a channel of its own, the old one's executor ends."""
    client = mediator.client("worker", "exec")
    assert client.wait() == 0, client.lines
    assert client.lines[-1] == "right", client.lines
    mediator.wait_executors(0)


def test_client_killed(mediator):
    env = mediator.tenant()
    client = mediator.inside(env, "worker", "loop")
    client.wait_line("ready")
    assert len(mediator.executors()) == 1
    client.kill()
    mediator.wait_executors(0)
    assert mediator.alive()
    # The tenant goes on with the next program.
    again = mediator.inside(env, "worker", "turns", "20")
    assert again.wait() == 0, again.lines


def test_memory_is_back_after_a_kill(mediator):
    env = mediator.tenant("--memory", "256M")
    client = mediator.inside(env, "worker", "hold", "200")
    client.wait_line("ready")
    refused = mediator.inside(env, "worker", "hold", "200")
    assert refused.wait() == 3 and "OUT_OF_MEMORY" in refused.lines[0], refused.lines
    client.kill()
    mediator.wait_executors(0)
    again = mediator.inside(env, "worker", "hold", "200")
    again.wait_line("ready")


def test_executor_killed(mediator):
    client = mediator.client("worker", "loop")
    client.wait_line("ready")
    executors = mediator.executors()
    assert len(executors) == 1
    started = time.monotonic()
    os.kill(executors[0], signal.SIGKILL)
    status = client.wait(10)
    took = time.monotonic() - started
    assert status == 3, client.lines
    line = client.wait_line("error CUDA_ERROR_")
    assert took < 1.5 * stack.SLOWER, f"{line}; it took {took:.2f} s"
    assert mediator.alive()
    again = mediator.client("worker", "turns", "20")
    assert again.wait() == 0, again.lines


def test_executor_killed_while_the_client_waits(mediator):
    if mediator.backend == "null":
        pytest.skip("null: nothing takes time")
    client = mediator.client("worker", "forever")
    client.wait_line("ready")
    time.sleep(0.2)
    for pid in mediator.executors():
        os.kill(pid, signal.SIGKILL)
    assert client.wait(5) == 3, client.lines
    client.wait_line("error CUDA_ERROR_")


def test_mediator_killed_programs_end_cleanly(mediator):
    """A client whose mediator dies goes on or gets an error; it never hangs."""
    client = mediator.client("worker", "loop")
    client.wait_line("ready")
    mediator.child.kill()
    mediator.child.wait()
    fresh = mediator.client("worker", "turns", "5")
    assert fresh.wait(10) != 0, "a new client found a mediator that is dead"
    time.sleep(0.3)
    if client.child.poll() is not None:
        assert client.lines and client.lines[-1].startswith(("error CUDA_ERROR_", "vgpu-run:")), client.lines
    else:
        client.kill(signal.SIGTERM)
        client.wait(5)


def test_three_tenants_at_once(mediator):
    """The same work three times, with different weights; all results right."""
    clients = [mediator.client("worker", "turns", "200", options=["--name", f"t{i}", "--weight", str(100 * (i + 1))])
               for i in range(3)]
    for client in clients:
        assert client.wait(60) == 0, client.lines
        assert client.lines[-1] == "right", client.lines
    mediator.wait_executors(0)


def test_neighbour_of_a_fault(mediator):
    if mediator.backend == "null":
        pytest.skip("null: kernels do nothing wrong")
    neighbour = mediator.client("worker", "loop")
    neighbour.wait_line("ready")
    for kind in ("illegal", "trap"):
        faulty = mediator.client("fault", kind)
        assert faulty.wait(30) == 0, faulty.lines
    assert neighbour.child.poll() is None, neighbour.lines
    after = mediator.client("worker", "turns", "20")
    assert after.wait() == 0, after.lines


def test_many_short_programs(mediator):
    for _ in range(3):
        clients = [mediator.client("worker", "turns", "5", options=["--name", f"s{i}"]) for i in range(4)]
        for client in clients:
            assert client.wait(60) == 0, client.lines
    mediator.wait_executors(0)
    assert mediator.alive()


def test_watchdog_ends_an_endless_kernel(backend):
    if backend in ("native", "null"):
        pytest.skip(f"{backend}: no endless kernel there")
    with stack.Mediator(backend, ["turn.watchdog=1s", "turn.overrun=100ms"]) as mediator:
        stuck = mediator.client("worker", "forever")
        stuck.wait_line("ready")
        # The watchdog looks at turns, and turns need somebody who waits.
        other = mediator.client("worker", "turns", "50")
        assert other.wait(30) == 0, other.lines
        assert stuck.wait(15) == 3, stuck.lines
        assert "CUDA_ERROR_LAUNCH_TIMEOUT" in stuck.wait_line("error"), stuck.lines


def test_workload_ends_at_sigterm_after_checking(mediator):
    if mediator.backend == "null":
        pytest.skip("null: nothing to check")
    env = mediator.tenant()
    client = stack.Client([stack.WORKLOAD], env)
    mediator.clients.append(client)
    time.sleep(3)
    client.kill(signal.SIGTERM)
    assert client.wait(10) == 0, client.lines
    assert client.lines[-1].startswith("checked ") and client.lines[-1].endswith(" 0 wrong"), client.lines
