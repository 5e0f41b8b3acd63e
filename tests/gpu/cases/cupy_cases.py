# SPDX-License-Identifier: Apache-2.0
"""CuPy: BLAS, FFT, kernels compiled at run time, sorting, memory pools, managed memory."""
import sys

try:
    import cupy
except ImportError as missing:
    print(missing)
    sys.exit(77)
from report import cases

KERNEL = 'extern "C" __global__ void square(int *x) { x[threadIdx.x] *= x[threadIdx.x]; }'


def blas():
    return float((cupy.ones((64, 512), dtype=cupy.float32) @ cupy.ones((512, 64), dtype=cupy.float32)).sum())


def fft():
    return float(cupy.abs(cupy.fft.fft(cupy.arange(1000.0))).sum())


def raw_kernel():
    x = cupy.arange(32, dtype=cupy.int32)
    cupy.RawKernel(KERNEL, "square")((1,), (32,), (x,))
    return x.tolist()


def sorting():
    return float(cupy.sort(cupy.arange(1000)[::-1])[3])


def random():
    cupy.random.seed(1)
    return float(cupy.random.rand(1000).sum())


def with_allocator(allocator):
    cupy.cuda.set_allocator(allocator)
    try:
        return float(cupy.arange(100).sum())
    finally:
        cupy.cuda.set_allocator(cupy.cuda.MemoryPool().malloc)


def managed():
    return with_allocator(cupy.cuda.MemoryPool(cupy.cuda.malloc_managed).malloc)


def stream_ordered():
    return with_allocator(cupy.cuda.MemoryAsyncPool().malloc)


cases(blas, fft, raw_kernel, sorting, random, managed, stream_ordered)
