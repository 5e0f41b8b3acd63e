#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""libvgpu from Python, through ctypes: adds two vectors. usage: vector_add.py [kernels.ptx]"""
import array
import ctypes
import sys

N = 100000
lib = ctypes.CDLL("libvgpu.so.1")
lib.vgpu_error_text.restype = lib.vgpu_open_error.restype = ctypes.c_char_p


class Shape(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("grid", ctypes.c_uint32 * 3), ("block", ctypes.c_uint32 * 3),
                ("dynamic_shared_bytes", ctypes.c_uint32)]


def call(name, *arguments):
    """A call that must succeed."""
    result = getattr(lib, name)(*arguments)
    if result:
        sys.exit(f"{name}: {lib.vgpu_error_text(result).decode()}. {lib.vgpu_open_error().decode()}")


def buffer(numbers):
    return (ctypes.c_float * len(numbers)).from_buffer(numbers)


def main():
    gpu, module, add = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    call("vgpu_open", None, ctypes.byref(gpu))
    with open(sys.argv[1] if len(sys.argv) > 1 else "kernels.ptx", "rb") as f:
        image = f.read() + b"\0"
    log = ctypes.create_string_buffer(4096)
    if lib.vgpu_module_load(gpu, image, ctypes.c_size_t(len(image)), None, log, ctypes.c_size_t(len(log)), ctypes.byref(module)):
        sys.exit(log.value.decode())
    call("vgpu_function_get", gpu, module, b"vector_add", ctypes.byref(add))
    x, y = array.array("f", range(N)), array.array("f", [0.5]) * N
    size = ctypes.c_size_t(4 * N)
    a, b, c, n = ctypes.c_uint64(), ctypes.c_uint64(), ctypes.c_uint64(), ctypes.c_uint32(N)
    for address in (a, b, c):
        call("vgpu_alloc", gpu, size, ctypes.byref(address))
    call("vgpu_copy_in", gpu, None, a, buffer(x), size, 0)
    call("vgpu_copy_in", gpu, None, b, buffer(y), size, 0)
    shape = Shape(ctypes.sizeof(Shape), ((N + 255) // 256, 1, 1), (256, 1, 1), 0)
    parameters = (ctypes.c_void_p * 4)(*(ctypes.addressof(v) for v in (a, b, c, n)))
    call("vgpu_launch", gpu, None, add, ctypes.byref(shape), parameters)
    call("vgpu_copy_out", gpu, None, buffer(y), c, size, 0)
    lib.vgpu_close(gpu)
    wrong = sum(got != i + 0.5 for i, got in enumerate(y))
    print(f"{N} sums, {wrong} wrong")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
