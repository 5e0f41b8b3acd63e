# SPDX-License-Identifier: Apache-2.0
"""CuPy: a raw kernel compiled at run time, reductions, streams, pinned memory; checked against NumPy."""
import sys

try:
    import cupy as cp
    import numpy as np
except ImportError as missing:
    print(missing)
    sys.exit(77)

KERNEL = r"""
extern "C" __global__ void saxpy(float a, const float *x, float *y, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i] + y[i];
}
"""


def raw_kernel():
    n = 100_001
    x, y = np.arange(n, dtype=np.float32), np.ones(n, dtype=np.float32)
    device_y = cp.asarray(y)
    cp.RawKernel(KERNEL, "saxpy")(((n + 255) // 256,), (256,), (np.float32(2), cp.asarray(x), device_y, np.int32(n)))
    np.testing.assert_array_equal(device_y.get(), 2 * x + 1)


def elementwise_and_reductions():
    a = np.random.default_rng(3).random((300, 400))
    d = cp.asarray(a)
    np.testing.assert_allclose((cp.sqrt(d) + d ** 2).get(), np.sqrt(a) + a ** 2, rtol=1e-12)
    np.testing.assert_allclose(d.sum(axis=0).get(), a.sum(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(cp.sort(d, axis=None).get(), np.sort(a, axis=None))


def streams_and_pinned():
    stream = cp.cuda.Stream(non_blocking=True)
    memory = cp.cuda.alloc_pinned_memory(4 * 10_000)
    host = np.frombuffer(memory, dtype=np.float32, count=10_000)
    host[:] = 7
    with stream:
        device = cp.empty(10_000, dtype=cp.float32)
        device.set(host, stream=stream)
        device *= 3
        back = device.get(stream=stream)
    stream.synchronize()
    assert (back == 21).all()


def matrix_product():
    a = np.random.default_rng(4).random((128, 256), dtype=np.float32)
    b = np.random.default_rng(5).random((256, 64), dtype=np.float32)
    np.testing.assert_allclose((cp.asarray(a) @ cp.asarray(b)).get(), a @ b, rtol=1e-4)


done = []
for program in (raw_kernel, elementwise_and_reductions, streams_and_pinned, matrix_product):
    program()
    done.append(program.__name__)
print("right:", ", ".join(done))
