# SPDX-License-Identifier: Apache-2.0
"""Ordinary Numba programs, which know nothing of vgpu: vector add, reduction through shared memory, histogram with
atomics, Mandelbrot, streams with pinned memory. Each checks itself against NumPy; prints one line each.

usage: numba_programs.py [NAME...]
"""
import math
import sys

import numpy as np
from numba import cuda, float32, int32

BLOCK = 256


@cuda.jit
def add_kernel(a, b, c):
    i = cuda.grid(1)
    if i < c.size:
        c[i] = a[i] + b[i]


def vector_add():
    n = 100_003
    a = np.arange(n, dtype=np.float32)
    b = np.full(n, 0.5, dtype=np.float32)
    c = np.zeros(n, dtype=np.float32)
    add_kernel[(n + BLOCK - 1) // BLOCK, BLOCK](a, b, c)
    np.testing.assert_array_equal(c, a + b)


@cuda.jit
def sum_kernel(values, out):
    part = cuda.shared.array(BLOCK, int32)
    thread = cuda.threadIdx.x
    total = 0
    for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        total += values[i]
    part[thread] = total
    cuda.syncthreads()
    half = BLOCK // 2
    while half:
        if thread < half:
            part[thread] += part[thread + half]
        cuda.syncthreads()
        half //= 2
    if thread == 0:
        cuda.atomic.add(out, 0, part[0])


def reduction():
    values = np.random.default_rng(1).integers(-1000, 1000, 300_001, dtype=np.int32)
    out = cuda.to_device(np.zeros(1, dtype=np.int32))
    sum_kernel[32, BLOCK](cuda.to_device(values), out)
    assert out.copy_to_host()[0] == values.sum()


@cuda.jit
def histogram_kernel(values, bins):
    for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        cuda.atomic.add(bins, values[i], 1)


def histogram():
    values = np.random.default_rng(2).integers(0, 64, 200_000, dtype=np.uint8)
    bins = cuda.to_device(np.zeros(64, dtype=np.int32))
    histogram_kernel[16, 128](cuda.to_device(values), bins)
    np.testing.assert_array_equal(bins.copy_to_host(), np.bincount(values, minlength=64))


@cuda.jit(device=True)
def escape(x, y, limit):
    real = float32(0)
    imaginary = float32(0)
    for i in range(limit):
        square = real * real - imaginary * imaginary + x
        imaginary = float32(2) * real * imaginary + y
        real = square
        if real * real + imaginary * imaginary >= float32(4):
            return i
    return limit


@cuda.jit
def mandelbrot_kernel(image, limit):
    x, y = cuda.grid(2)
    if x < image.shape[1] and y < image.shape[0]:
        image[y, x] = escape(float32(x * 3.0 / image.shape[1] - 2.0), float32(y * 2.0 / image.shape[0] - 1.0), limit)


def mandelbrot():
    image = np.zeros((120, 180), dtype=np.int32)
    mandelbrot_kernel[(math.ceil(180 / 16), math.ceil(120 / 8)), (16, 8)](image, 100)
    x = np.float32(np.arange(180) * 3.0 / 180 - 2.0)
    y = np.float32(np.arange(120) * 2.0 / 120 - 1.0)
    c = (x[None, :] + 1j * y[:, None]).astype(np.complex64)
    z, want = np.zeros_like(c), np.full(c.shape, 100, dtype=np.int32)
    with np.errstate(over="ignore", invalid="ignore"):
        for i in range(100):
            z = z * z + c
            want[(np.abs(z) >= 2) & (want == 100)] = i
    # Where a point lies right at the border, one rounding more or less decides.
    assert (image != want).mean() < 0.02, f"{(image != want).mean():.3f} of the points differ"
    assert image[60, 120] == 100 and image[0, 0] < 3


@cuda.jit
def math_kernel(x, out):
    i = cuda.grid(1)
    if i < x.size:
        out[i] = math.sqrt(x[i]) + math.exp(-x[i]) + math.sin(x[i]) * math.log(x[i] + 1.0) + x[i] ** 1.5


def math_functions():
    x = np.linspace(0.0, 10.0, 1000)
    out = np.zeros_like(x)
    math_kernel[4, 256](x, out)
    np.testing.assert_allclose(out, np.sqrt(x) + np.exp(-x) + np.sin(x) * np.log(x + 1) + x ** 1.5, rtol=1e-12)


def streams():
    n = 50_000
    stream, event = cuda.stream(), cuda.event(timing=False)
    with cuda.pinned(np.zeros(1)):
        pass
    host = cuda.pinned_array(n, dtype=np.float32)
    host[:] = np.arange(n)
    device = cuda.to_device(host, stream=stream)
    out = cuda.device_array_like(device, stream=stream)
    add_kernel[(n + BLOCK - 1) // BLOCK, BLOCK, stream](device, device, out)
    event.record(stream)
    event.synchronize()
    back = out.copy_to_host(stream=stream)
    stream.synchronize()
    np.testing.assert_array_equal(back, 2 * np.arange(n, dtype=np.float32))
    free, total = cuda.current_context().get_memory_info()
    assert 0 < free <= total


PROGRAMS = [vector_add, reduction, histogram, mandelbrot, math_functions, streams]


def main():
    wanted = sys.argv[1:] or [p.__name__ for p in PROGRAMS]
    for program in PROGRAMS:
        if program.__name__ in wanted:
            program()
            print(f"ok {program.__name__}", flush=True)


main()
