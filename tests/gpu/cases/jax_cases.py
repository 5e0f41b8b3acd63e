# SPDX-License-Identifier: Apache-2.0
"""JAX (XLA), which also stands for TensorFlow's way to the GPU."""
import sys

try:
    import jax
    import jax.numpy as jnp
except ImportError as missing:
    print(missing)
    sys.exit(77)
from report import cases

# In full precision: below it results differed in the fourth digit between runs, presumably as XLA takes the fastest of several ways.
jax.config.update("jax_default_matmul_precision", "highest")
KEY = jax.random.PRNGKey(0)


def devices():
    return [d.platform for d in jax.devices()]


def product():
    return float(jax.jit(lambda a: (a @ a).sum())(jax.random.normal(KEY, (256, 256))))


def training():
    x = jax.random.normal(KEY, (128, 16))
    y = x.sum(axis=1)
    step = jax.jit(lambda w: w - 0.01 * jax.grad(lambda v: ((x @ v - y) ** 2).mean())(w))
    w = jnp.zeros(16)
    for _ in range(50):
        w = step(w)
    return [float(v) for v in w]


def fft():
    return float(jnp.abs(jnp.fft.fft(jnp.arange(64.0))).sum())


def sorting():
    return [float(v) for v in jnp.sort(jax.random.normal(KEY, (1000,)))[:5]]


def scan():
    return float(jax.lax.scan(lambda c, v: (c + v, c), 0.0, jnp.arange(100.0))[0])


def cholesky():
    return float(jnp.linalg.cholesky(jnp.eye(16) * 2).sum())


def convolution():
    x = jax.random.normal(KEY, (4, 16, 16, 8))
    w = jax.random.normal(KEY, (3, 3, 8, 8))
    return float(jax.jit(lambda a, b: jax.lax.conv_general_dilated(
        a, b, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")).sum())(x, w))


cases(devices, product, training, fft, sorting, scan, cholesky, convolution)
