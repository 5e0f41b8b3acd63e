// SPDX-License-Identifier: Apache-2.0
// What machine code for a real GPU (a cubin, an ELF file) tells of its kernels: names, parameter layouts,
// registers, shared memory; and of its variables. A processor cannot run them; programs still load such
// images, count their kernels and keep them for later. Pure; the image is the tenant's and hostile. Used by
// the cpu backend's modules and by its tests.
#ifndef VGPU_EXECUTOR_BACKENDS_CPU_CUBIN_H
#define VGPU_EXECUTOR_BACKENDS_CPU_CUBIN_H

#include <stddef.h>

#include "executor/backends/cpu/ptx/ptx.h"

struct cpu_cubin;

// A variable of the module. Addresses of other things in its initial bytes are not filled in: no code of the
// image runs that would follow them.
struct cpu_variable {
	const char *name;
	uint64_t size;
	const void *bytes; // size initial bytes, or NULL: zeros
};

// Lists the kernels and variables of an image, which is not kept. 0, -EINVAL (not such a file, or one that
// contradicts itself) or -ENOMEM.
int cpu_cubin_read(const void *image, size_t bytes, struct cpu_cubin **ret);
void cpu_cubin_free(struct cpu_cubin *c); // accepts NULL

size_t cpu_cubin_count(const struct cpu_cubin *c);
// In rising order of their names; i below the count. Owned by the list.
const struct ptx_kernel_info *cpu_cubin_kernel_at(const struct cpu_cubin *c, size_t i);
const struct ptx_kernel_info *cpu_cubin_kernel(const struct cpu_cubin *c, const char *name); // or NULL
const struct cpu_variable *cpu_cubin_variable(const struct cpu_cubin *c, const char *name);  // or NULL
size_t cpu_cubin_memory(const struct cpu_cubin *c); // bytes that the list takes

#endif
