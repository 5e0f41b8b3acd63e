# SPDX-License-Identifier: Apache-2.0
"""PyTorch in several tenants of one mediator: shares by weight, memory quotas, processes that are killed, neighbours of a
fault. Needs a GPU and PyTorch in the interpreter that runs this. Shares of time are printed, not judged: see bench/."""
import importlib.util
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import stack  # noqa: E402  (found through the line above)

# argv: seed, seconds, a file that tells when to begin. Says whether every round gave the first one's result.
LOAD = """
import json, os, sys, time, torch
seed, seconds, gate = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
torch.manual_seed(seed)
model = torch.nn.Sequential(torch.nn.Linear(2048, 4096), torch.nn.ReLU(), torch.nn.Linear(4096, 16)).cuda()
x, y = torch.randn(2048, 2048, device="cuda"), torch.randint(0, 16, (2048,), device="cuda")
def round_():
    model.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    return loss.item(), model[0].weight.grad.double().sum().item()
first = round_()
print("ready", flush=True)
while not os.path.exists(gate):
    time.sleep(0.01)
rounds, wrong, end = 0, 0, time.monotonic() + seconds
while time.monotonic() < end:
    for _ in range(8):
        wrong += round_() != first
        rounds += 1
print("result", json.dumps({"loss": first[0], "rounds": rounds, "wrong": wrong}), flush=True)
"""
# argv: the quota in MiB. Takes most of it, is refused more, takes it again.
QUOTA = """
import sys, torch
quota = int(sys.argv[1]) << 20
free, total = torch.cuda.mem_get_info()
assert total <= quota and free <= total, (free, total, quota)
held = torch.full((quota // 2,), 7, dtype=torch.uint8, device="cuda")
for _ in range(2):
    try:
        torch.empty(quota * 3 // 4, dtype=torch.uint8, device="cuda")
        raise SystemExit("more than the quota")
    except torch.cuda.OutOfMemoryError as error:
        pass
    assert held.min().item() == held.max().item() == 7
    del held
    held = torch.full((quota // 2,), 7, dtype=torch.uint8, device="cuda")
print("result right", flush=True)
"""
BUSY = """
import torch
hold = torch.empty(6 << 30, dtype=torch.uint8, device="cuda")
a = torch.randn(8192, 8192, device="cuda")
torch.cuda.synchronize()
print("ready", flush=True)
while True:
    for _ in range(30):
        b = a @ a
    torch.cuda.synchronize()
"""
SUM = "import torch; print('result', torch.arange(1000.0).cuda().sum().item(), flush=True)"
FAULT = """
import torch
try:
    torch.arange(10.0, device="cuda")[torch.tensor([1000], device="cuda")].sum().item()
except RuntimeError as error:
    print("result", str(error).splitlines()[0], flush=True)
"""
RIGHT = "result 499500.0"

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="no PyTorch here"),
    pytest.mark.skipif(stack.missing() is not None, reason=str(stack.missing())),
    pytest.mark.skipif(stack.backend_missing("cuda") is not None, reason=str(stack.backend_missing("cuda"))),
]


@pytest.fixture
def mediator():
    with stack.Mediator("cuda") as running:
        yield running


def python(mediator, environment, code, *words):
    """In a tenant that tenant() made: the client's pid is the interpreter's."""
    client = stack.Client([sys.executable, "-c", code, *words], environment)
    mediator.clients.append(client)
    return client


def tenant(mediator, code, *words, options=()):
    """A tenant of its own for one program."""
    return mediator.client(sys.executable, "-c", code, *map(str, words), options=["--stats", *options])


def device_memory_used():
    """MiB in use on the host's first GPU, by everybody, as the host's NVML sees it; None without nvidia-smi."""
    if not shutil.which("nvidia-smi"):
        return None
    text = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", "0"], check=True,
                          capture_output=True, text=True).stdout
    return int(text.split()[0])


def wait_memory_back(before, slack=64):
    until = time.monotonic() + 20 * stack.SLOWER
    while before is not None and device_memory_used() > before + slack:
        assert time.monotonic() < until, f"{device_memory_used() - before} MiB of device memory are still in use"
        time.sleep(0.1)


def test_three_tenants(mediator, tmp_path, capsys):
    """Weights 4, 2 and 1, each checking its own results all the time."""
    gate, weights = tmp_path / "go", (400, 200, 100)
    clients = [tenant(mediator, LOAD, i, 12, gate, options=["--name", f"w{w}", "--weight", str(w), "--memory", "8G"])
               for i, w in enumerate(weights)]
    for client in clients:
        client.wait_line("ready", 90)
    gate.touch()
    shares = []
    for client in clients:
        assert client.wait(60) == 0, client.lines
        assert '"wrong": 0' in client.wait_line("result"), client.lines
        found = re.search(r"GPU time ([\d.]+) s, contended ([\d.]+) of ([\d.]+) s in (\d+) turns", "\n".join(client.lines))
        assert found and int(found.group(4)) > 0, client.lines
        shares.append(float(found.group(2)))
    mediator.wait_executors(0, 10)
    with capsys.disabled():
        told = ", ".join(f"weight {w}: {s / sum(shares):.3f} (fair {w / sum(weights):.3f})" for w, s in zip(weights, shares))
        print(f"\nshares of contended GPU time: {told}")
        for client in clients:
            print("  " + client.wait_line("result") + "  " + client.wait_line("vgpu-run: w")[:150])


def test_alone_and_together_give_the_same(mediator, tmp_path):
    gate = tmp_path / "go"
    gate.touch()
    alone = tenant(mediator, LOAD, 5, 1, gate)
    assert alone.wait(90) == 0, alone.lines
    together = [tenant(mediator, LOAD, 5, 4, gate) for _ in range(2)]
    for client in together:
        assert client.wait(90) == 0, client.lines
    losses = {re.search(r'"loss": ([-\d.e]+)', c.wait_line("result")).group(1) for c in (alone, *together)}
    assert len(losses) == 1, losses


def test_quotas_of_two_tenants_at_once(mediator):
    clients = [tenant(mediator, QUOTA, quota, options=["--name", f"q{quota}", "--memory", f"{quota}M"]) for quota in (4096, 2048)]
    for client in clients:
        assert client.wait(90) == 0, client.lines
        client.wait_line("result right")


def test_killed_in_the_middle(mediator):
    before = device_memory_used()
    env = mediator.tenant("--memory", "10G")
    client = python(mediator, env, BUSY)
    client.wait_line("ready", 90)
    used = device_memory_used()
    assert used is None or used >= before + 6 * 1024, f"{used} MiB in use, {before} before"
    time.sleep(0.5)
    client.kill()
    client.wait(20)
    mediator.wait_executors(0, 10)
    wait_memory_back(before)
    again = python(mediator, env, SUM)
    assert again.wait(90) == 0 and again.wait_line(RIGHT), again.lines
    # The quota is whole again: twice the memory would not fit.
    second = python(mediator, env, BUSY)
    second.wait_line("ready", 90)
    assert mediator.alive()


def test_executor_killed(mediator):
    """The program gets an error and ends; no memory stays; its tenant's next program works."""
    before = device_memory_used()
    env = mediator.tenant()
    client = python(mediator, env, BUSY)
    client.wait_line("ready", 90)
    for pid in mediator.executors():
        subprocess.run(["kill", "-9", str(pid)], check=True)
    assert client.wait(60) != 0, client.lines
    assert any("CUDA" in line for line in client.lines), client.lines[-5:]
    wait_memory_back(before)
    again = python(mediator, env, SUM)
    assert again.wait(90) == 0 and again.wait_line(RIGHT), again.lines


def test_neighbour_of_a_fault(mediator, tmp_path):
    gate = tmp_path / "go"
    gate.touch()
    neighbour = tenant(mediator, LOAD, 3, 15, gate, options=["--name", "neighbour"])
    neighbour.wait_line("ready", 90)
    faulty = tenant(mediator, FAULT, options=["--name", "faulty"])
    assert faulty.wait(90) == 0, faulty.lines
    faulty.wait_line("result CUDA error: device-side assert triggered")
    assert neighbour.wait(90) == 0 and '"wrong": 0' in neighbour.wait_line("result"), neighbour.lines


def test_processes_of_one_tenant(mediator):
    env = mediator.tenant()
    for _ in range(2):
        clients = [python(mediator, env, SUM) for _ in range(4)]
        for client in clients:
            assert client.wait(90) == 0 and client.wait_line(RIGHT), client.lines
    mediator.wait_executors(0, 10)
