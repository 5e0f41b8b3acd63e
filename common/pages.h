// SPDX-License-Identifier: Apache-2.0
// Zeroed memory for things of many MiB, straight from the kernel and given back to it. Asks for large pages:
// faulting 200 MiB in by 4 KiB pages takes longer than filling it.
#ifndef VGPU_COMMON_PAGES_H
#define VGPU_COMMON_PAGES_H

#include <stddef.h>
#include <sys/mman.h>

// NULL: no memory. Freed with pages_free and the same size, which is not 0.
static inline void *pages_alloc(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, bytes, MADV_HUGEPAGE); // a wish: without it the memory is the same
	return p;
}

// Accepts NULL.
static inline void pages_free(void *p, size_t bytes)
{
	if (p)
		munmap(p, bytes);
}

#endif
