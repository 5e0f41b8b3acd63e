// SPDX-License-Identifier: Apache-2.0
// Machine code that waits to be asked about; see the header. Executor process, loop thread; used by
// cpu_module.c.
#include "executor/backends/cpu/cpu_code.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/pages.h"
#include "protocol/cuda/cuda_abi.h"

struct cpu_code {
	struct fatbin_entry piece; // its payload is ours; NULL once the kernels are known
	struct cpu_cubin *kernels;
	int wrong; // CUresult
};

static int read_kernels(const void *elf, size_t bytes, struct cpu_cubin **ret)
{
	switch (cpu_cubin_read(elf, bytes, ret)) {
	case 0: return 0;
	case -ENOMEM: return CUDA_ERROR_OUT_OF_MEMORY;
	default: return CUDA_ERROR_INVALID_IMAGE;
	}
}

int cpu_code_new(const struct fatbin_entry *piece, struct cpu_code **ret, char *error, size_t error_bytes)
{
	struct cpu_code *c = calloc(1, sizeof(*c));
	unsigned char *copy;
	int result = 0;

	if (!c)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (!fatbin_is_packed(piece)) {
		result = read_kernels(piece->payload, piece->stored, &c->kernels);
		if (result == CUDA_ERROR_INVALID_IMAGE)
			snprintf(error, error_bytes, "machine code that cannot be read");
	} else {
		copy = pages_alloc(piece->stored + 1);
		if (copy) {
			memcpy(copy, piece->payload, piece->stored);
			c->piece = *piece;
			c->piece.payload = copy;
		} else {
			result = CUDA_ERROR_OUT_OF_MEMORY;
		}
	}
	if (result)
		free(c);
	else
		*ret = c;
	return result;
}

void cpu_code_free(struct cpu_code *c)
{
	if (!c)
		return;
	cpu_cubin_free(c->kernels);
	pages_free((void *)c->piece.payload, c->piece.stored + 1);
	free(c);
}

int cpu_code_kernels(struct cpu_code *c, const struct cpu_cubin **ret)
{
	struct cpu_image image;
	char error[200];

	if (!c->kernels && !c->wrong) {
		c->wrong = cpu_piece_unpack(&c->piece, &image, error, sizeof(error));
		if (!c->wrong) {
			c->wrong = read_kernels(image.text, image.bytes, &c->kernels);
			free(image.owned);
		}
		pages_free((void *)c->piece.payload, c->piece.stored + 1);
		c->piece.payload = NULL;
	}
	*ret = c->kernels;
	return c->wrong;
}

size_t cpu_code_memory(const struct cpu_code *c)
{
	return (c->piece.payload ? c->piece.stored : 0) + (c->kernels ? cpu_cubin_memory(c->kernels) : 0);
}

void cpu_code_drop(struct cpu_code *c)
{
	pages_free((void *)c->piece.payload, c->piece.stored + 1);
	c->piece.payload = NULL;
	cpu_cubin_free(c->kernels);
	c->kernels = NULL;
	c->wrong = CUDA_ERROR_OUT_OF_MEMORY;
}
