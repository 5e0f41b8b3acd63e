// SPDX-License-Identifier: Apache-2.0
//
// The CUDA driver as an ordinary program meets it: every function of protocol/cuda/cuda_calls.def as a
// function pointer with the function's own name, found with dlopen and dlsym. So the same binary runs on
// NVIDIA's libcuda.so.1 and on ours, and nothing of CUDA is linked. Used by demo/, tests/e2e/ and bench/.
#ifndef VGPU_DEMO_DRIVER_H
#define VGPU_DEMO_DRIVER_H

#include "protocol/cuda/cuda_abi.h"

// Hidden, so that a libcuda in the same process can never bind to these instead of its own functions.
#define CUDA_CALL(symbol, parameters) \
	extern __attribute__((visibility("hidden"))) CUresult(*symbol) parameters;
#include "protocol/cuda/cuda_calls.def"
#undef CUDA_CALL

// Opens the library that VGPU_TEST_LIBCUDA names, else libcuda.so.1 of the usual search path, and fills the
// pointers above. A function that the library lacks answers CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND when
// called. Returns NULL, or why it could not be opened (valid until the next dl call of this thread).
const char *driver_open(void);

// A function by exported name (for the per-thread-stream forms, which have no declaration here), or NULL.
void *driver_symbol(const char *name);

// How many functions of the table the opened library lacks; the names of the first go into names, comma
// between.
int driver_missing(char *names, size_t size);

// "CUDA_ERROR_..." of a code, or "unknown code"; never NULL, works without a library.
const char *driver_error_name(CUresult code);

// Ends the program with status 2 if the call of that name did not succeed.
void driver_must(CUresult result, const char *what);

#endif
