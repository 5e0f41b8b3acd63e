# SPDX-License-Identifier: Apache-2.0
"""Makes and destroys the handle of one of NVIDIA's libraries: library_handles.py KIND PATH. Prints one TAP line each."""
import ctypes
import os
import sys

CUBLAS_EXECUTION_FAILED = 13
CUFFT_C2C = 0x29
CURAND_DEFAULT = 100

# kind: constructor, its further arguments, destructor
HANDLES = {
    "cublas": ("cublasCreate_v2", (), "cublasDestroy_v2"),
    "cublasLt": ("cublasLtCreate", (), "cublasLtDestroy"),
    "cudnn": ("cudnnCreate", (), "cudnnDestroy"),
    "cusolver": ("cusolverDnCreate", (), "cusolverDnDestroy"),
    "cusparse": ("cusparseCreate", (), "cusparseDestroy"),
    "curand": ("curandCreateGenerator", (CURAND_DEFAULT,), "curandDestroyGenerator"),
}
failed = False


def gives_success(what, status):
    global failed
    failed = failed or status != 0
    print(f"{'ok' if status == 0 else 'not ok'} - {what} gives {status}", flush=True)


# A kernel of the library: on the cpu backend the launch is refused, and the library says so.
def scale(library, handle):
    memory, factor = ctypes.c_void_p(), ctypes.c_float(2)
    driver = ctypes.CDLL("libcuda.so.1")
    gives_success("cuMemAlloc", driver.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(4096)))
    status = library.cublasSscal_v2(handle, 1024, ctypes.byref(factor), memory, 1)
    if os.environ.get("VGPU_TEST_BACKEND") == "cpu":
        gives_success("refused cublasSscal", status - CUBLAS_EXECUTION_FAILED)
    else:
        gives_success("cublasSscal", status)
    gives_success("cuMemFree", driver.cuMemFree_v2(memory))


def opaque(library, create, more, destroy):
    handle = ctypes.c_void_p()
    gives_success(create, getattr(library, create)(ctypes.byref(handle), *more))
    if handle and create == "cublasCreate_v2":
        scale(library, handle)
    if handle:
        gives_success(destroy, getattr(library, destroy)(handle))


def cufft(library):
    plan = ctypes.c_int()
    gives_success("cufftCreate", library.cufftCreate(ctypes.byref(plan)))
    gives_success("cufftDestroy", library.cufftDestroy(plan))
    gives_success("cufftPlan1d", library.cufftPlan1d(ctypes.byref(plan), 1024, CUFFT_C2C, 1))
    gives_success("cufftDestroy", library.cufftDestroy(plan))


def main(kind, path):
    library = ctypes.CDLL(path)
    for _ in range(2):  # once more: everything was given back
        if kind == "cufft":
            cufft(library)
        else:
            create, more, destroy = HANDLES[kind]
            opaque(library, create, more, destroy)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
