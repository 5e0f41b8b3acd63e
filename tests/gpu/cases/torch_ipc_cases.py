# SPDX-License-Identifier: Apache-2.0
"""PyTorch's tensors and events in several processes of one tenant: torch.multiprocessing by cuIpc handles."""
import sys
import time

try:
    import torch
    import torch.multiprocessing as mp
except ImportError as missing:
    print(missing)
    sys.exit(77)
from report import cases

D = "cuda"


def change_in_place(tensors, results):
    """The child: reads, changes what the parent allocated, and says what it saw."""
    large, small = tensors.get()
    results.put([large.sum().item(), small.tolist(), large.is_cuda])
    large.mul_(3).add_(1)
    small[0] = -5.0
    torch.cuda.synchronize()
    del large, small
    results.put("changed")
    tensors.get()  # the parent has looked


def child_of(target, *arguments):
    context = mp.get_context("spawn")
    queues = [context.Queue() for _ in range(2)]
    process = context.Process(target=target, args=(*queues, *arguments))
    process.start()
    return process, queues


def tensor_in_place():
    large = torch.arange(1 << 20, device=D, dtype=torch.float32)
    small = torch.tensor([1.0, 2.0, 3.0], device=D)
    process, (tensors, results) = child_of(change_in_place)
    tensors.put((large, small))
    seen = results.get(timeout=120)
    changed = results.get(timeout=120)
    out = [seen, changed, large.sum().item(), small.tolist()]
    tensors.put(None)
    process.join(120)
    return [*out, process.exitcode]


def produce(tensors, results, n):
    """A loader-like producer: many tensors of the child's own, each alive until the parent has seen it."""
    for i in range(n):
        tensors.put(torch.full((1000 + 257 * i,), float(i), device=D))
    results.get()


def producer(n=64):
    process, (tensors, results) = child_of(produce, n)
    sums = []
    for _ in range(n):
        t = tensors.get(timeout=120)
        sums.append(t.sum().item())
        del t
    results.put(None)
    process.join(120)
    return [sums, process.exitcode]


def record_event(handles, results):
    event = torch.cuda.Event.from_ipc_handle(torch.device("cuda:0"), handles.get())
    memory = handles.get()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        stream.wait_event(event)
        results.put((memory + 1).sum().item())
    handles.get()


def event_in_another_process():
    event = torch.cuda.Event(interprocess=True, enable_timing=False)
    memory = torch.zeros(1 << 16, device=D)
    process, (handles, results) = child_of(record_event)
    for _ in range(200):
        memory.add_(1)
    event.record()
    handles.put(event.ipc_handle())
    handles.put(memory)
    out = results.get(timeout=120)
    handles.put(None)
    process.join(120)
    return [out, event.query(), process.exitcode]


def spawned_training(results, rank, model):
    torch.manual_seed(rank)
    x = torch.randn(64, 16, device=D)
    model(x).square().mean().backward()
    results.put([rank, sum(p.grad.abs().sum().item() for p in model.parameters())])


def shared_model():
    """One model's weights on the device, read by three processes."""
    context = mp.get_context("spawn")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1)).to(D)
    model.share_memory()
    results = context.Queue()
    processes = [context.Process(target=spawned_training, args=(results, rank, model)) for rank in range(3)]
    for p in processes:
        p.start()
    out = sorted(results.get(timeout=120) for _ in processes)
    for p in processes:
        p.join(120)
    return [out, [p.exitcode for p in processes]]


def sends(tensors, results, n):
    for _ in range(n):
        t = tensors.get()
        results.put(t[0].item())
        del t


def send_us(n=200):
    """One tensor sent, opened, read and answered."""
    process, (tensors, results) = child_of(sends, n)
    t = torch.ones(1 << 20, device=D)
    tensors.put(t)
    results.get(timeout=120)
    start = time.perf_counter()
    for _ in range(n - 1):
        tensors.put(t)
        results.get(timeout=120)
    took = time.perf_counter() - start
    process.join(120)
    return {"us": took / (n - 1) * 1e6}


FUNCTIONS = tensor_in_place, producer, event_in_another_process, shared_model, send_us

if __name__ == "__main__":
    cases(*FUNCTIONS)
