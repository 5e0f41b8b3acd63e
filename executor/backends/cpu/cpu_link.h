// SPDX-License-Identifier: Apache-2.0
// Joins several texts of PTX into one: functions and variables that one declares as extern are those that
// another defines. Pure; the texts are the tenant's. Used by the cpu backend's module_link and by its tests.
#ifndef VGPU_EXECUTOR_BACKENDS_CPU_LINK_H
#define VGPU_EXECUTOR_BACKENDS_CPU_LINK_H

#include "executor/backends/backend.h"
#include "executor/backends/cpu/cpu_image.h"

// ret->text is new memory, ret->owned. 0, or a CUresult with the reason in error; machine code cannot be
// linked here (CUDA_ERROR_NO_BINARY_FOR_GPU).
int cpu_link_ptx(const struct backend_input *inputs, uint32_t n, unsigned max_sm, struct cpu_image *ret,
		 char *error, size_t error_bytes);

#endif
