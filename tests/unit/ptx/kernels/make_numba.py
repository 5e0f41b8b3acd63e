# SPDX-License-Identifier: Apache-2.0
# Remakes numba_*.ptx without a GPU: python3 make_numba.py, with the packages numba and numba-cuda[cu13] installed.
import math
import os

from numba import cuda, float32, int32, int64

HERE = os.path.dirname(os.path.abspath(__file__))


def vector_add(a, b, c):
    i = cuda.grid(1)
    if i < c.size:
        c[i] = a[i] + b[i]


def block_sum(a, out):
    tile = cuda.shared.array(256, float32)
    t = cuda.threadIdx.x
    i = cuda.grid(1)
    tile[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    s = 128
    while s > 0:
        if t < s:
            tile[t] += tile[t + s]
        cuda.syncthreads()
        s //= 2
    if t == 0:
        cuda.atomic.add(out, 0, tile[0])


def histogram(data, bins):
    i = cuda.grid(1)
    step = cuda.gridsize(1)
    while i < data.size:
        cuda.atomic.add(bins, data[i] % bins.size, 1)
        i += step


def mandelbrot(image, iterations):
    x, y = cuda.grid(2)
    h, w = image.shape
    if x < w and y < h:
        c = complex(-2.0 + 3.0 * x / w, -1.0 + 2.0 * y / h)
        z = complex(0.0, 0.0)
        n = 0
        while n < iterations and z.real * z.real + z.imag * z.imag < 4.0:
            z = z * z + c
            n += 1
        image[y, x] = n


def math_mix(a, out):
    i = cuda.grid(1)
    if i < a.size:
        out[i] = math.sin(a[i]) + math.exp(a[i]) * math.log(1.0 + a[i] * a[i]) + math.pow(a[i], 3.0)


KERNELS = [
    (vector_add, (float32[::1], float32[::1], float32[::1])),
    (block_sum, (float32[::1], float32[::1])),
    (histogram, (int32[::1], int32[::1])),
    (mandelbrot, (int32[:, ::1], int64)),
    (math_mix, (float32[::1], float32[::1])),
]

for fn, sig in KERNELS:
    ptx, _ = cuda.compile_ptx(fn, sig, cc=(7, 5), device=False)
    with open(os.path.join(HERE, "numba_%s.ptx" % fn.__name__), "w") as f:
        f.write("// made by make_numba.py\n" + ptx)
