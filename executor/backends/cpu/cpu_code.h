// SPDX-License-Identifier: Apache-2.0
// Machine code of a module, kept as it came until somebody asks what kernels are in it: a library brings
// hundreds of MB of it, and a program asks for few. Loop thread.
#ifndef VGPU_EXECUTOR_BACKENDS_CPU_CODE_H
#define VGPU_EXECUTOR_BACKENDS_CPU_CODE_H

#include "executor/backends/cpu/cpu_cubin.h"
#include "executor/backends/cpu/cpu_image.h"

struct cpu_code;

// Takes a copy of the piece; one that is not compressed is read at once. 0, or a CUresult with the reason in
// error.
int cpu_code_new(const struct fatbin_entry *piece, struct cpu_code **ret, char *error, size_t error_bytes);
void cpu_code_free(struct cpu_code *c); // accepts NULL

size_t cpu_code_memory(const struct cpu_code *c); // bytes that it takes now
// Gives up what is kept; the kernels are CUDA_ERROR_OUT_OF_MEMORY from now on.
void cpu_code_drop(struct cpu_code *c);

// The kernels; unpacks and reads the piece the first time. Owned by c. 0, or a CUresult: of what this build
// cannot unpack CUDA_ERROR_NO_BINARY_FOR_GPU. Once wrong it stays so.
int cpu_code_kernels(struct cpu_code *c, const struct cpu_cubin **ret);

#endif
