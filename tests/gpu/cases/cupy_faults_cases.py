# SPDX-License-Identifier: Apache-2.0
"""CuPy: kernels that do what a GPU forbids, each in a process of its own; the error, what later calls say, how the process
ends, and that others go on."""
import sys

try:
    import cupy
except ImportError as missing:
    print(missing)
    sys.exit(77)
from report import cases, in_child

FAULT = '''
import json, sys, cupy
def told(f):
    try:
        return ["no error", str(f())]
    except Exception as error:
        return [type(error).__name__, str(error).splitlines()[0]]
x = cupy.arange(64, dtype=cupy.int32)
kernel = cupy.RawKernel('extern "C" __global__ void f(int *x, long long n) { ' + sys.argv[1] + ' }', "f")
def fault():
    kernel((1,), (1,), (x, cupy.int64(sys.argv[2])))
    cupy.cuda.runtime.deviceSynchronize()
out = {"fault": told(fault), "next": told(lambda: int(x.sum())), "alloc": told(lambda: cupy.cuda.runtime.malloc(1 << 20) > 0),
       "stream": told(lambda: cupy.cuda.Stream().synchronize())}
print(json.dumps(out), flush=True)
'''


def after(body, n=0):
    said, status = in_child(FAULT, body, n)
    return [said, status, int(cupy.arange(10).sum())]


def right():
    return after("x[n] = 7;", 3)


def null_pointer():
    return after("*(volatile int *)n = 1;")


def far_pointer():
    return after("((volatile int *)x)[n] = 1;", 1 << 45)


def misaligned():
    return after("*(volatile int *)((char *)x + n) = 1;", 2)


def trap():
    return after("if (x[0] == 0) asm volatile(\"trap;\");")


def shared_out_of_range():
    return after("__shared__ int s[4]; ((volatile int *)s)[n] = 1;", 1 << 24)


def too_many_threads():
    """Refused before it starts, and nothing is lost."""
    x = cupy.arange(4, dtype=cupy.int32)
    kernel = cupy.RawKernel('extern "C" __global__ void f(int *x) { x[0] = 1; }', "f")
    try:
        kernel((1,), (2048,), (x,))
        said = "no error"
    except cupy.cuda.driver.CUDADriverError as error:
        said = str(error)
    return [said, int(x.sum())]


def does_not_compile():
    try:
        cupy.RawKernel('extern "C" __global__ void f(int *x) { x[0] = undeclared; }', "f").compile()
    except cupy.cuda.compiler.CompileException as error:
        return ["undeclared" in str(error), int(cupy.arange(5).sum())]
    return "no error"


def out_of_memory():
    try:
        cupy.empty(1 << 44, dtype=cupy.uint8)
    except cupy.cuda.memory.OutOfMemoryError as error:
        return [str(error), int(cupy.arange(5).sum())]
    return "no error"


cases(right, too_many_threads, does_not_compile, out_of_memory, null_pointer, far_pointer, misaligned, trap,
      shared_out_of_range)
