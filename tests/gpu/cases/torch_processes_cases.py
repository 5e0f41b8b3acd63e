# SPDX-License-Identifier: Apache-2.0
"""PyTorch: several processes of one tenant, processes that end in the middle of their work, worker processes, tensors that
go from process to process, NCCL with two GPUs."""
import sys
import time

try:
    import torch
    import torch.multiprocessing as mp
except ImportError as missing:
    print(missing)
    sys.exit(77)
from report import Skip, cases, finish, in_child, start

D = "cuda"
TRAINING = """
import json, sys, torch
torch.manual_seed(int(sys.argv[1]))
model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 1)).cuda()
x = torch.randn(512, 256, device="cuda")
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for _ in range(300):
    optimizer.zero_grad()
    loss = (model(x).squeeze(1) - x[:, 0]).square().mean()
    loss.backward()
    optimizer.step()
print(json.dumps(loss.item()))
"""
BUSY = """
import os, sys, torch
hold = torch.empty(4 << 30, dtype=torch.uint8, device="cuda")
pinned = torch.empty(64 << 20, dtype=torch.uint8).pin_memory()
a = torch.randn(4096, 4096, device="cuda")
b = a @ a
torch.cuda.synchronize()
print("busy", flush=True)
if sys.argv[1] == "exit":
    for _ in range(50):
        b = a @ a
    os._exit(5)
while True:
    for _ in range(50):
        b = a @ a
        hold[:64 << 20].copy_(pinned, non_blocking=True)
    torch.cuda.synchronize()
"""


def two_processes():
    """At the same time, then each alone: the results are the same."""
    pair = [finish(child) for child in [start(TRAINING, seed) for seed in (1, 2)]]
    alone = [in_child(TRAINING, seed) for seed in (1, 2)]
    return [pair, alone, [abs(a[0] - b[0]) < 1e-5 for a, b in zip(pair, alone)]]


def free_memory():
    return torch.cuda.mem_get_info()[0]


def memory_is_back(before):
    """Whether what a process held is free again in time; others' small changes do not matter."""
    until = time.monotonic() + 20
    while free_memory() < before - (1 << 30):
        if time.monotonic() > until:
            return f"{(before - free_memory()) >> 20} MiB less than before"
        time.sleep(0.05)
    return True


def ends_in_the_middle(how):
    torch.ones(1, device=D)
    before = free_memory()
    child = start(BUSY, how)
    said = child.stdout.readline().strip()
    held = before - free_memory() >= 4 << 30
    if how == "kill":
        time.sleep(0.3)
        child.kill()
    status = child.wait(60)
    child.stdout.close()
    child.stderr.close()
    return [said, held, status, memory_is_back(before), in_child(TRAINING, 1), torch.ones(8, device=D).sum().item()]


def killed():
    return ends_in_the_middle("kill")


def exits():
    return ends_in_the_middle("exit")


def spawned(rank, results):
    torch.manual_seed(rank)
    x = torch.randn(128, 128, device=D)
    results.put((rank, (x @ x).double().sum().item()))


def spawned_workers():
    context = mp.get_context("spawn")
    results = context.SimpleQueue()
    mp.spawn(spawned, (results,), nprocs=3)
    return sorted(results.get() for _ in range(3))


def after_fork(results):
    try:
        torch.ones(1, device=D)
        results.put("no error")
    except RuntimeError as error:
        results.put(str(error))


def forked_child():
    """CUDA that its parent has started is of no use to a forked child; PyTorch says so before the driver has to."""
    torch.ones(1, device=D)
    context = mp.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=after_fork, args=(results,))
    child.start()
    text = results.get()
    child.join()
    return [text, torch.ones(8, device=D).sum().item()]


class Squares(torch.utils.data.Dataset):
    def __len__(self):
        return 256

    def __getitem__(self, i):
        return torch.full((1000,), float(i * i))


def loader_workers():
    """Workers that stay, started both ways; batches are pinned by the loader's own thread."""
    out = []
    for way in ("fork", "spawn"):
        loader = torch.utils.data.DataLoader(Squares(), batch_size=32, num_workers=3, pin_memory=True, persistent_workers=True,
                                             multiprocessing_context=way)
        for _ in range(2):
            batches = [b.is_pinned() and b.to(D, non_blocking=True).double().sum() for b in loader]
            out.append(sum(b.item() for b in batches))
    return out


def double_it(there, back):
    tensor = there.get()
    tensor.mul_(2)
    torch.cuda.synchronize()
    back.put(tensor.sum().item())
    del tensor


def shared_tensor():
    """A tensor on the GPU that another process changes (CUDA IPC)."""
    context = mp.get_context("spawn")
    there, back = context.SimpleQueue(), context.SimpleQueue()
    child = context.Process(target=double_it, args=(there, back))
    child.start()
    try:
        tensor = torch.arange(1000.0, device=D)
        there.put(tensor)
        until = time.monotonic() + 40
        while back.empty() and child.is_alive() and time.monotonic() < until:
            time.sleep(0.02)
        return [back.get() if not back.empty() else "no answer", tensor.sum().item()]
    finally:
        if child.is_alive():
            child.join(10)
        if child.is_alive():
            child.kill()


def shared_host_tensor():
    """A tensor in shared memory, filled by another process, copied to the GPU."""
    context = mp.get_context("spawn")
    results = context.SimpleQueue()
    mine = torch.zeros(1000).share_memory_()
    child = context.Process(target=fill_shared, args=(mine, results))
    child.start()
    results.get()
    child.join()
    return mine.to(D).sum().item()


def fill_shared(tensor, results):
    tensor.copy_(torch.arange(1000.0, device=D))
    results.put(True)


RANK = """
import json, os, sys, torch, torch.distributed as d
rank = int(sys.argv[1])
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=sys.argv[2])
torch.cuda.set_device(rank)
d.init_process_group("nccl", rank=rank, world_size=2)
t = torch.full((1000,), float(rank + 1), device="cuda")
d.all_reduce(t)
parts = [torch.empty_like(t) for _ in range(2)]
d.all_gather(parts, t * (rank + 1))
out = [t.sum().item(), parts[0].sum().item(), parts[1].sum().item()]
d.destroy_process_group()
print(json.dumps(out))
"""


def nccl_two_gpus():
    count = torch.cuda.device_count()
    if count < 2:
        raise Skip(f"{count} GPU is visible; NCCL refuses two ranks on one GPU, and vgpu shows one device per program")
    ranks = [start(RANK, rank, 29514) for rank in (0, 1)]
    return [finish(child) for child in ranks]


if __name__ == "__main__":
    cases(two_processes, killed, exits, spawned_workers, forked_child, loader_workers, shared_host_tensor, shared_tensor,
          nccl_two_gpus)
