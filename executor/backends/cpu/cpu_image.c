// SPDX-License-Identifier: Apache-2.0
// Chooses PTX and machine code of a module image (cpu_image.h). Executor process, loop thread.
#include "executor/backends/cpu/cpu_image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "image/image.h"
#include "image/unpack.h"
#include "protocol/cuda/cuda_abi.h"

int cpu_piece_unpack(const struct fatbin_entry *e, struct cpu_image *ret, char *error, size_t error_bytes)
{
	const char *what = e->kind == FATBIN_PTX ? "PTX" : "machine code";
	void *plain;

	*ret = (struct cpu_image){ .text = (const char *)e->payload, .bytes = e->stored };
	if (!fatbin_is_packed(e))
		return 0;
	switch (unpack_entry(e, &plain)) {
	case 0: *ret = (struct cpu_image){ .text = plain, .bytes = e->plain, .owned = plain }; return 0;
	case -ENOMEM: return CUDA_ERROR_OUT_OF_MEMORY;
	case -ENOTSUP: return CUDA_ERROR_NO_BINARY_FOR_GPU;
	case -E2BIG:
		snprintf(error, error_bytes, "fat binary: the compressed %s of sm_%u has wrong lengths", what,
			 e->sm);
		return CUDA_ERROR_INVALID_IMAGE;
	default:
		snprintf(error, error_bytes, "fat binary: the compressed %s of sm_%u does not unpack", what,
			 e->sm);
		return CUDA_ERROR_INVALID_IMAGE;
	}
}

static int fatbin_ptx(const unsigned char *image, size_t bytes, unsigned max_sm, struct cpu_image *ret,
		      char *error, size_t error_bytes)
{
	struct fatbin_entry e, best = { 0 };
	unsigned zstd = 0, above = 0, elf = 0;
	struct fatbin f;
	int more;

	if (fatbin_open(image, bytes, &f)) {
		snprintf(error, error_bytes, "fat binary: longer than the image");
		return CUDA_ERROR_INVALID_IMAGE;
	}
	while ((more = fatbin_next(&f, &e)) > 0) {
		if (e.kind == FATBIN_CODE)
			elf++;
		else if (e.kind == FATBIN_PTX && e.sm > max_sm)
			above = e.sm;
		else if (e.kind == FATBIN_PTX && !unpack_is_known(&e))
			zstd++;
		else if (e.kind == FATBIN_PTX && e.sm >= best.sm)
			best = e;
	}
	if (more < 0) {
		snprintf(error, error_bytes, "fat binary: an entry is longer than the image");
		return CUDA_ERROR_INVALID_IMAGE;
	}
	if (best.payload)
		return cpu_piece_unpack(&best, ret, error, error_bytes);
	if (zstd)
		snprintf(error, error_bytes,
			 "fat binary: its PTX is compressed with zstd, which this build cannot unpack; "
			 "compile with nvcc --no-compress");
	else if (above)
		snprintf(error, error_bytes,
			 "fat binary: its PTX is for sm_%u, this device takes up to sm_%u", above, max_sm);
	else
		snprintf(error, error_bytes,
			 "fat binary: no PTX (%u pieces of machine code); this device runs PTX only", elf);
	return CUDA_ERROR_NO_BINARY_FOR_GPU;
}

int cpu_image_ptx(const void *image, size_t bytes, unsigned max_sm, struct cpu_image *ret, char *error,
		  size_t error_bytes)
{
	error[0] = 0;
	switch (image_kind(image, bytes)) {
	case IMAGE_PTX: *ret = (struct cpu_image){ .text = image, .bytes = bytes }; return 0;
	case IMAGE_FATBIN: return fatbin_ptx(image, bytes, max_sm, ret, error, error_bytes);
	case IMAGE_ELF:
		snprintf(error, error_bytes, "machine code (cubin): this device runs PTX only");
		return CUDA_ERROR_NO_BINARY_FOR_GPU;
	case IMAGE_WRAPPER:
		snprintf(error, error_bytes,
			 "a fat binary's wrapper holds addresses of the program, not the image");
		return CUDA_ERROR_INVALID_IMAGE;
	default:
		snprintf(error, error_bytes, "neither PTX nor a fat binary");
		return CUDA_ERROR_INVALID_IMAGE;
	}
}

// Of two targets the one whose code is closer to what a device of max_sm would take: the highest that is not
// above, else the lowest.
static bool is_closer(unsigned sm, unsigned than, unsigned max_sm)
{
	if (sm <= max_sm)
		return than > max_sm || sm > than;
	return than > max_sm && sm < than;
}

bool cpu_image_code(const void *image, size_t bytes, unsigned max_sm, struct fatbin_entry *ret)
{
	struct fatbin_entry e, best = { 0 };
	struct fatbin f;
	int more;

	if (image_kind(image, bytes) == IMAGE_ELF) {
		*ret = (struct fatbin_entry){ .kind = FATBIN_CODE, .payload = image, .stored = bytes };
		return true;
	}
	if (image_kind(image, bytes) != IMAGE_FATBIN || fatbin_open(image, bytes, &f))
		return false;
	while ((more = fatbin_next(&f, &e)) > 0) {
		if (e.kind == FATBIN_CODE && (!best.payload || is_closer(e.sm, best.sm, max_sm)))
			best = e;
	}
	*ret = best;
	return !more && best.payload;
}
