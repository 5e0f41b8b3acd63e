# SPDX-License-Identifier: Apache-2.0
"""PyTorch: the caching allocators, their counts against the device's, running out of memory, pinned memory."""
import gc
import sys

try:
    import torch
except ImportError as missing:
    print(missing)
    sys.exit(77)
from report import Skip, cases, in_child, without_numbers

D, MIB, GIB = "cuda", 1 << 20, 1 << 30


def fresh():
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.reset_accumulated_memory_stats()


def block(size):
    return torch.empty(size, dtype=torch.uint8, device=D)


def counts():
    """What the allocator counts for a fixed series of allocations."""
    fresh()
    held = [block(n) for n in (100, 512, 4096, MIB - 1, MIB, 3 * MIB, 20 * MIB, 300 * MIB)]
    del held[::2]
    gc.collect()
    held.append(block(2 * MIB))
    stats = torch.cuda.memory_stats()
    keys = [f"{kind}.{pool}.{when}" for kind in ("allocation", "segment", "active", "allocated_bytes", "reserved_bytes",
                                                 "inactive_split_bytes", "requested_bytes")
            for pool in ("all", "small_pool", "large_pool") for when in ("current", "peak", "allocated", "freed")]
    return {**{k: stats[k] for k in keys}, "retries": stats["num_alloc_retries"], "ooms": stats["num_ooms"]}


def against_the_device():
    """What the device counts as used grows and falls by what the allocator reserves."""
    fresh()
    before, total = torch.cuda.mem_get_info()
    reserved = torch.cuda.memory_reserved()
    held = block(GIB)
    used = before - torch.cuda.mem_get_info()[0]
    grown = torch.cuda.memory_reserved() - reserved
    del held
    torch.cuda.empty_cache()
    back = before - torch.cuda.mem_get_info()[0]
    properties = torch.cuda.get_device_properties(0)
    return [used == grown, back, 0 < before <= total, total == properties.total_memory]


def summary():
    fresh()
    held = block(64 * MIB)
    text = torch.cuda.memory_summary()
    kinds = [line.split("|")[1].strip() for line in text.splitlines() if line.count("|") > 4]
    snapshot = torch.cuda.memory_snapshot()
    return [kinds, sum(s["total_size"] for s in snapshot) == torch.cuda.memory_reserved(),
            sum(s["allocated_size"] for s in snapshot) == torch.cuda.memory_allocated(), held.numel()]


def out_of_memory_text():
    """The message's form, without the lines on who holds the memory (those come from NVML)."""
    fresh()
    try:
        block(1 << 45)
    except torch.cuda.OutOfMemoryError as error:
        text = without_numbers(str(error))
        parts = [part for part in text.replace("\n", " ").split(". ") if "process" not in part.lower()]
        return [parts, block(10).numel(), torch.cuda.memory_stats()["num_ooms"]]
    return "no error"


def out_of_memory_processes():
    """The part of the message that NVML gives: this process is among those that hold memory."""
    fresh()
    held = block(GIB)
    try:
        block(1 << 45)
    except torch.cuda.OutOfMemoryError as error:
        return ["this process has" in str(error), held.numel()]
    return "no error"


def retry():
    """Cached memory is given back when the device has no more, and the allocation is tried again."""
    fresh()
    free = torch.cuda.mem_get_info()[0] // GIB * GIB
    big = block(free * 6 // 10)
    del big
    again = block(free * 7 // 10)
    stats = torch.cuda.memory_stats()
    again[-1] = 5
    return [stats["num_alloc_retries"], stats["num_ooms"], again[-1].item()]


def nearly_everything():
    """All but 2 GiB in blocks of 1 GiB; both ends of each hold what was written."""
    fresh()
    held = []
    while torch.cuda.mem_get_info()[0] > 2 * GIB:
        held.append(block(GIB))
        held[-1][0], held[-1][-1] = len(held) % 251, len(held) % 241
    bad = sum(b[0].item() != (i + 1) % 251 or b[-1].item() != (i + 1) % 241 for i, b in enumerate(held))
    count = len(held)
    held.clear()
    fresh()
    return {"bad": bad, "many": count > 4, "_blocks": count}


def fraction():
    """A limit that PyTorch sets itself."""
    fresh()
    torch.cuda.set_per_process_memory_fraction(0.01)
    try:
        held = block(torch.cuda.get_device_properties(0).total_memory // 50)
        return f"no error: {held.numel()}"
    except torch.cuda.OutOfMemoryError as error:
        return "allowed" in str(error)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def fragments():
    """Thousands of blocks of odd sizes freed in a mixed order; the rest keeps its contents."""
    fresh()
    torch.manual_seed(0)
    sizes = torch.randint(1, 300000, (3000,)).tolist()
    held = {i: torch.full((n,), i % 255, dtype=torch.uint8, device=D) for i, n in enumerate(sizes)}
    for i in torch.randperm(3000)[:2000].tolist():
        del held[i]
    for i in range(3000, 3500):
        held[i] = torch.full((sizes[i - 3000] * 2,), i % 255, dtype=torch.uint8, device=D)
    wrong = sum((t != i % 255).sum() for i, t in held.items()).item()
    return [wrong, torch.cuda.memory_allocated()]


def pinned():
    """Pinned memory: reused, known as pinned, and what the GPU copies into it arrives."""
    host = torch.empty(8 * MIB, dtype=torch.uint8, pin_memory=True)
    device = torch.full((8 * MIB,), 9, dtype=torch.uint8, device=D)
    host.copy_(device, non_blocking=True)
    torch.cuda.synchronize()
    value = [host.is_pinned(), host[10:].is_pinned(), torch.empty(4).is_pinned(), int(host.min()), int(host.max())]
    del host
    many = [torch.empty(n, dtype=torch.uint8, pin_memory=True) for n in (1, 1000, 4097, MIB, 64 * MIB)]
    return value + [sum(t.numel() for t in many)]


def registered():
    """Memory of the program, pinned in place and let go again."""
    host = torch.zeros(4 * MIB, dtype=torch.uint8)
    runtime = torch.cuda.cudart()
    codes = [int(runtime.cudaHostRegister(host.data_ptr(), host.numel(), 0))]
    host.copy_(torch.full((4 * MIB,), 3, dtype=torch.uint8, device=D), non_blocking=True)
    torch.cuda.synchronize()
    codes += [host.is_pinned(), int(host.sum()), int(runtime.cudaHostUnregister(host.data_ptr())), int(host.sum())]
    return codes


ALLOCATOR = """
import json, torch
held = {}
for round in range(3):
    for i in range(200):
        held[i] = torch.full((1000 * (i + 1),), float(i), device="cuda")
    for i in range(0, 200, 3):
        del held[i]
    torch.cuda.empty_cache()
x = torch.randn(1 << 20, device="cuda", generator=torch.Generator("cuda").manual_seed(1))
try:
    torch.empty(1 << 45, dtype=torch.uint8, device="cuda")
    oom = "no error"
except torch.cuda.OutOfMemoryError as error:
    oom = str(error)[:40]
print(json.dumps([torch.cuda.get_allocator_backend(), sum(t[0].item() for t in held.values()), x.sum().item(), oom]))
"""


def with_allocator(options):
    return in_child(ALLOCATOR, env={"PYTORCH_CUDA_ALLOC_CONF": options, "PYTORCH_ALLOC_CONF": options})


def expandable_segments():
    return with_allocator("expandable_segments:True")


def stream_ordered():
    return with_allocator("backend:cudaMallocAsync")


def small_splits():
    return with_allocator("max_split_size_mb:64,garbage_collection_threshold:0.6")


def memory_pool():
    """Allocations of a region of the program kept apart."""
    if not hasattr(torch.cuda, "MemPool"):
        raise Skip("this PyTorch has no memory pools")
    pool = torch.cuda.MemPool()
    with torch.cuda.use_mem_pool(pool):
        inside = torch.ones(MIB, device=D)
    return [inside.sum().item(), sum(s["total_size"] for s in pool.snapshot())]


cases(counts, against_the_device, summary, out_of_memory_text, out_of_memory_processes, retry, nearly_everything, fraction,
      fragments, pinned, registered, expandable_segments, stream_ordered, small_splits, memory_pool)
