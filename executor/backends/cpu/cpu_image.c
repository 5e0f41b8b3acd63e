// SPDX-License-Identifier: Apache-2.0
// Looks through a module image for PTX and machine code (cpu_image.h). Executor process, loop thread. Every
// length in a fat binary is the tenant's word and is checked against the image before it is used. LZ4 blocks
// (nvcc of CUDA 12) are unpacked here, zstd frames (CUDA 13) by libzstd where the build found it.
#include "executor/backends/cpu/cpu_image.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef VGPU_HAVE_ZSTD
#include <zstd.h>
#endif

#include "common/limits.h"
#include "protocol/cuda/cuda_abi.h"

#define FATBIN_MAGIC  0xba55ed50u
#define WRAPPER_MAGIC 0x466243b1u
#define ELF_MAGIC     0x464c457fu
#define HEADER_BYTES  16u
#define ENTRY_BYTES   64u
#define KIND_PTX      1
#define KIND_ELF      2
#define FLAG_LZ4_OLD  0x1000u
#define FLAG_LZ4      0x2000u
#define FLAG_ZSTD     0x8000u

static uint64_t read_le(const unsigned char *p, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

// Where a fat binary's entries begin and end. false: not within the image.
static bool fatbin_bounds(const unsigned char *image, size_t bytes, uint64_t *ret_at, uint64_t *ret_end)
{
	uint64_t at = bytes < HEADER_BYTES ? 0 : read_le(image + 6, 2);

	if (at < HEADER_BYTES || at > bytes || read_le(image + 8, 8) > bytes - at)
		return false;
	*ret_at = at;
	*ret_end = at + read_le(image + 8, 8);
	return true;
}

// Reads the entry at *at of the end bytes long image and moves *at behind it. false: it does not fit.
static bool next_entry(const unsigned char *image, uint64_t end, uint64_t *at, struct cpu_piece *ret)
{
	const unsigned char *p = image + *at;
	uint64_t header;

	if (end - *at < ENTRY_BYTES)
		return false;
	header = read_le(p + 4, 4);
	ret->stored = read_le(p + 8, 8);
	if (header < ENTRY_BYTES || header > end - *at || ret->stored > end - *at - header)
		return false;
	ret->kind = (unsigned)read_le(p, 2);
	ret->compressed = read_le(p + 0x10, 4);
	ret->sm = (unsigned)read_le(p + 0x1c, 4);
	ret->flags = read_le(p + 0x28, 8);
	ret->plain = read_le(p + 0x38, 8);
	ret->payload = p + header;
	*at += header + ret->stored;
	return true;
}

// A length of the block format: 15 in the nibble means that bytes follow, until one is not 255.
static bool lz4_length(const unsigned char **p, const unsigned char *end, size_t *length)
{
	unsigned char byte;

	if (*length != 15)
		return true;
	do {
		if (*p == end)
			return false;
		byte = *(*p)++;
		*length += byte;
	} while (byte == 255);
	return true;
}

// Unpacks one raw LZ4 block of exactly out_bytes.
static bool lz4_unpack(const unsigned char *p, size_t bytes, unsigned char *out, size_t out_bytes)
{
	const unsigned char *end = p + bytes;
	size_t n = 0;

	while (p < end) {
		unsigned char token = *p++;
		size_t length = token >> 4, offset;

		if (!lz4_length(&p, end, &length) || length > (size_t)(end - p) || length > out_bytes - n)
			return false;
		memcpy(out + n, p, length);
		p += length;
		n += length;
		if (p == end)
			break;
		if (end - p < 2)
			return false;
		offset = read_le(p, 2);
		p += 2;
		length = token & 15;
		if (!lz4_length(&p, end, &length))
			return false;
		length += 4;
		if (!offset || offset > n || length > out_bytes - n)
			return false;
		for (; length; length--, n++)
			out[n] = out[n - offset];
	}
	return n == out_bytes;
}

#ifdef VGPU_HAVE_ZSTD
static bool zstd_unpack(const unsigned char *p, size_t bytes, unsigned char *out, size_t out_bytes)
{
	return ZSTD_decompress(out, out_bytes, p, bytes) == out_bytes;
}
#else
static bool zstd_unpack(const unsigned char *p, size_t bytes, unsigned char *out, size_t out_bytes)
{
	(void)p;
	(void)bytes;
	(void)out;
	(void)out_bytes;
	return false;
}
#endif

bool cpu_piece_is_packed(const struct cpu_piece *e)
{
	return e->flags & (FLAG_LZ4 | FLAG_LZ4_OLD | FLAG_ZSTD);
}

bool cpu_piece_can_unpack(const struct cpu_piece *e)
{
#ifdef VGPU_HAVE_ZSTD
	(void)e;
	return true;
#else
	return !(e->flags & FLAG_ZSTD);
#endif
}

int cpu_piece_unpack(const struct cpu_piece *e, struct cpu_image *ret, char *error, size_t error_bytes)
{
	const char *what = e->kind == KIND_PTX ? "PTX" : "machine code";
	uint64_t packed = e->compressed ? e->compressed : e->stored;
	bool done;

	*ret = (struct cpu_image){ .text = (const char *)e->payload, .bytes = e->stored };
	if (!cpu_piece_is_packed(e))
		return 0;
	if (!e->plain || e->plain > VGPU_MAX_IMAGE_BYTES || packed > e->stored) {
		snprintf(error, error_bytes, "fat binary: the compressed %s of sm_%u has wrong lengths", what,
			 e->sm);
		return CUDA_ERROR_INVALID_IMAGE;
	}
	ret->owned = malloc(e->plain);
	if (!ret->owned)
		return CUDA_ERROR_OUT_OF_MEMORY;
	done = e->flags & FLAG_ZSTD ? zstd_unpack(e->payload, packed, (unsigned char *)ret->owned, e->plain)
				    : lz4_unpack(e->payload, packed, (unsigned char *)ret->owned, e->plain);
	if (!done) {
		free(ret->owned);
		ret->owned = NULL;
		snprintf(error, error_bytes, "fat binary: the compressed %s of sm_%u does not unpack", what,
			 e->sm);
		return CUDA_ERROR_INVALID_IMAGE;
	}
	ret->text = ret->owned;
	ret->bytes = e->plain;
	return 0;
}

static int fatbin_ptx(const unsigned char *image, size_t bytes, unsigned max_sm, struct cpu_image *ret,
		      char *error, size_t error_bytes)
{
	struct cpu_piece e, best = { 0 };
	unsigned zstd = 0, above = 0, elf = 0;
	uint64_t at, end;

	if (!fatbin_bounds(image, bytes, &at, &end)) {
		snprintf(error, error_bytes, "fat binary: longer than the image");
		return CUDA_ERROR_INVALID_IMAGE;
	}
	while (at < end) {
		if (!next_entry(image, end, &at, &e)) {
			snprintf(error, error_bytes, "fat binary: an entry is longer than the image");
			return CUDA_ERROR_INVALID_IMAGE;
		}
		if (e.kind == KIND_ELF)
			elf++;
		else if (e.kind == KIND_PTX && e.sm > max_sm)
			above = e.sm;
		else if (e.kind == KIND_PTX && !cpu_piece_can_unpack(&e))
			zstd++;
		else if (e.kind == KIND_PTX && e.sm >= best.sm)
			best = e;
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

// PTX begins with a directive, behind blanks and comments. What does not is no image at all, and is answered
// so.
static bool looks_like_ptx(const char *text, size_t bytes)
{
	size_t i = 0;

	while (i < bytes) {
		if (strchr(" \t\r\n", text[i]) && text[i]) {
			i++;
		} else if (i + 1 < bytes && text[i] == '/' && text[i + 1] == '/') {
			while (i < bytes && text[i] != '\n')
				i++;
		} else if (i + 1 < bytes && text[i] == '/' && text[i + 1] == '*') {
			const char *end = memmem(text + i + 2, bytes - i - 2, "*/", 2);

			if (!end)
				return false;
			i = (size_t)(end - text) + 2;
		} else {
			return text[i] == '.';
		}
	}
	return false;
}

int cpu_image_ptx(const void *image, size_t bytes, unsigned max_sm, struct cpu_image *ret, char *error,
		  size_t error_bytes)
{
	uint32_t magic = bytes >= 4 ? (uint32_t)read_le(image, 4) : 0;

	error[0] = 0;
	switch (magic) {
	case FATBIN_MAGIC: return fatbin_ptx(image, bytes, max_sm, ret, error, error_bytes);
	case ELF_MAGIC:
		snprintf(error, error_bytes, "machine code (cubin): this device runs PTX only");
		return CUDA_ERROR_NO_BINARY_FOR_GPU;
	case WRAPPER_MAGIC:
		snprintf(error, error_bytes,
			 "a fat binary's wrapper holds addresses of the program, not the image");
		return CUDA_ERROR_INVALID_IMAGE;
	default: break;
	}
	if (!looks_like_ptx(image, bytes)) {
		snprintf(error, error_bytes, "neither PTX nor a fat binary");
		return CUDA_ERROR_INVALID_IMAGE;
	}
	*ret = (struct cpu_image){ .text = image, .bytes = bytes };
	return 0;
}

// Of two targets the one whose code is closer to what a device of max_sm would take: the highest that is not
// above, else the lowest.
static bool is_closer(unsigned sm, unsigned than, unsigned max_sm)
{
	if (sm <= max_sm)
		return than > max_sm || sm > than;
	return than > max_sm && sm < than;
}

bool cpu_image_code(const void *image, size_t bytes, unsigned max_sm, struct cpu_piece *ret)
{
	const unsigned char *p = image;
	struct cpu_piece e, best = { 0 };
	uint32_t magic = bytes >= 4 ? (uint32_t)read_le(p, 4) : 0;
	uint64_t at, end;

	if (magic == ELF_MAGIC) {
		*ret = (struct cpu_piece){ .kind = KIND_ELF, .payload = p, .stored = bytes };
		return true;
	}
	if (magic != FATBIN_MAGIC || !fatbin_bounds(p, bytes, &at, &end))
		return false;
	while (at < end) {
		if (!next_entry(p, end, &at, &e))
			return false;
		if (e.kind == KIND_ELF && (!best.payload || is_closer(e.sm, best.sm, max_sm)))
			best = e;
	}
	*ret = best;
	return best.payload;
}
