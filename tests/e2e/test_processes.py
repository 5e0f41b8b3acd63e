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
    os.kill(executors[0], signal.SIGKILL)
    assert client.wait(10) == 3, client.lines
    client.wait_line("error CUDA_ERROR_")
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


def end_of(mediator, *pids, only=()):
    """The program that waits in every way there is, after these processes were killed under it."""
    client = mediator.client("lost", *only)
    client.wait_line("ready", 60)
    for pid in (*pids, *mediator.executors()):
        os.kill(pid, signal.SIGKILL)
    status = client.wait(60)
    assert status == 0, [line for line in client.lines if not line.startswith("ok")]


def test_all_waits_end_with_the_executor(mediator):
    end_of(mediator)
    mediator.wait_executors(0)
    assert mediator.alive()


@pytest.mark.parametrize("call", ["cuStreamQuery", "cuEventQuery"])
def test_who_only_asks_is_told(mediator, call):
    """No thread of the program waits, none has to."""
    if mediator.backend == "null":
        pytest.skip("null: nothing takes time, so the answer is always that it is done")
    end_of(mediator, only=[call])


def test_all_waits_end_with_mediator_and_executor(mediator):
    end_of(mediator, mediator.pid)


@pytest.mark.parametrize("patience", ["0s", "300ms"])
def test_mediator_killed_programs_end_cleanly(backend, patience):
    """A client whose mediator dies, and nobody comes after it, gets an error; it never hangs."""
    if backend == "native":
        pytest.skip("native: nothing of vgpu runs")
    with stack.Mediator(backend, [f"adopt.wait={patience}"]) as mediator:
        client = mediator.client("worker", "loop")
        client.wait_line("ready")
        executors = mediator.executors()
        mediator.child.kill()
        mediator.child.wait()
        fresh = mediator.client("worker", "turns", "5")
        assert fresh.wait(10) != 0, "a new client found a mediator that is dead"
        assert client.wait(10) == 3, client.lines
        client.wait_line("error CUDA_ERROR_")
        until = time.monotonic() + 5 * stack.SLOWER
        while any(os.path.exists(f"/proc/{pid}") for pid in executors):
            assert time.monotonic() < until, "executors without a mediator"
            time.sleep(0.01)


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


def test_a_wait_for_a_word_keeps_no_turn(backend):
    """It lasts longer than the watchdog lets work last, and the neighbour gets its turns meanwhile."""
    if backend in ("native", "null"):
        pytest.skip(f"{backend}: no turns, or nothing to wait for")
    with stack.Mediator(backend, ["turn.watchdog=1s", "turn.overrun=100ms"]) as mediator:
        neighbour = mediator.client(stack.WORKLOAD, "--seconds", "3")
        waits = mediator.client("stream_memory_words", "long")
        assert waits.wait(40) in (0, 77), waits.lines
        assert neighbour.wait(40) == 0, neighbour.lines


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
