# SPDX-License-Identifier: Apache-2.0
"""Triton's own kernels: a map, a reduction with atomics, a softmax, a product on tensor cores, an autotuned one."""
import sys

try:
    import torch
    import triton
    import triton.language as tl
except ImportError as missing:
    print(missing)
    sys.exit(77)
from report import cases
from timing import sync_time

D = "cuda"


@triton.jit
def add_kernel(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at, at < n) + tl.load(y + at, at < n), at < n)


@triton.jit
def sum_kernel(x, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(out, tl.sum(tl.load(x + at, at < n, other=0)))


@triton.jit
def softmax_kernel(x, out, columns, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    row = tl.load(x + tl.program_id(0) * columns + at, at < columns, other=-float("inf"))
    e = tl.exp(row - tl.max(row))
    tl.store(out + tl.program_id(0) * columns + at, e / tl.sum(e), at < columns)


@triton.jit
def product_kernel(a, b, c, K, N, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m, n, k = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1) * BN + tl.arange(0, BN), tl.arange(0, BK)
    sum_ = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, K, BK):
        left = tl.load(a + m[:, None] * K + (start + k)[None, :])
        right = tl.load(b + (start + k)[:, None] * N + n[None, :])
        sum_ = tl.dot(left, right, sum_)
    tl.store(c + m[:, None] * N + n[None, :], sum_.to(tl.float16))


@triton.autotune(configs=[triton.Config({"BLOCK": b}, num_warps=w) for b, w in ((128, 4), (1024, 4), (1024, 8))], key=["n"])
@triton.jit
def scale_kernel(x, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + at, 1.0 + 0 * tl.load(x + at, at < n), at < n)


def add():
    x, y, out = torch.arange(100000, device=D), torch.arange(100000, device=D) * 2, torch.empty(100000, dtype=torch.int64, device=D)
    add_kernel[(triton.cdiv(100000, 1024),)](x, y, out, 100000, BLOCK=1024)
    return [out.sum().item(), torch.equal(out, x * 3)]


def reduction():
    x, out = torch.arange(1 << 20, dtype=torch.int32, device=D), torch.zeros(1, dtype=torch.int32, device=D)
    sum_kernel[(1 << 10,)](x % 7, out, 1 << 20, BLOCK=1024)
    return out.item()


def softmax():
    torch.manual_seed(0)
    x = torch.randn(256, 781, device=D)
    out = torch.empty_like(x)
    softmax_kernel[(256,)](x, out, 781, BLOCK=1024)
    return [torch.allclose(out, x.softmax(1), atol=1e-6), out.double().square().sum().item()]


def product():
    torch.manual_seed(0)
    a, b = (torch.randn(512, 512, device=D, dtype=torch.float16) for _ in range(2))
    c = torch.empty_like(a)
    product_kernel[(8, 4)](a, b, c, 512, 512, BM=64, BN=128, BK=32)
    return [torch.allclose(c, a @ b, atol=0.1, rtol=0.01), c.double().abs().sum().item()]


def autotuned():
    x = torch.zeros(1 << 20, device=D)
    scale_kernel[lambda meta: (triton.cdiv(1 << 20, meta["BLOCK"]),)](x, 1 << 20)
    return x.sum().item()


def launch_us():
    x = torch.ones(1024, device=D)
    return {"us": sync_time(lambda: add_kernel[(1,)](x, x, x, 1024, BLOCK=1024), 3000)}


cases(add, reduction, softmax, product, autotuned, launch_us)
