# SPDX-License-Identifier: Apache-2.0
"""Loads files as modules and launches a kernel of each: load_image.py KERNEL FILE ... Prints a line each: FILE, what
cuModuleLoadData answered, and what cuLaunchKernel did (or -)."""
import ctypes
import sys

cu = ctypes.CDLL("libcuda.so.1")
cu.cuInit(0)
context, memory = ctypes.c_void_p(), ctypes.c_void_p()
cu.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
cu.cuCtxSetCurrent(context)
cu.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(1 << 16))
params = (ctypes.c_void_p * 8)(*[ctypes.addressof(memory)] * 8)  # whatever a parameter is, it is read from there
for path in sys.argv[2:]:
    with open(path, "rb") as f:
        image = f.read() + b"\0"
    module, function, launched = ctypes.c_void_p(), ctypes.c_void_p(), "-"
    loaded = cu.cuModuleLoadData(ctypes.byref(module), image)
    if loaded == 0 and cu.cuModuleGetFunction(ctypes.byref(function), module, sys.argv[1].encode()) == 0:
        launched = cu.cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, None, params, None)
        assert cu.cuCtxSynchronize() == 0
    print(path, loaded, launched)
