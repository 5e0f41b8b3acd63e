// SPDX-License-Identifier: Apache-2.0
// Unpacks entries of fat binaries; see the header. Called by the cpu backend in the executor on a tenant's
// bytes, and by vgpu-admin.
#include "image/unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#ifdef VGPU_HAVE_ZSTD
#include <zstd.h>
#endif

#include "common/limits.h"
#include "image/bytes.h"

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

bool unpack_is_known(const struct fatbin_entry *e)
{
#ifdef VGPU_HAVE_ZSTD
	(void)e;
	return true;
#else
	return !(e->flags & FATBIN_ZSTD);
#endif
}

int unpack_entry(const struct fatbin_entry *e, void **ret)
{
	uint64_t packed = e->compressed ? e->compressed : e->stored;
	unsigned char *out;
	bool done;

	if (!unpack_is_known(e))
		return -ENOTSUP;
	if (!e->plain || e->plain > VGPU_MAX_IMAGE_BYTES || packed > e->stored)
		return -E2BIG;
	out = malloc(e->plain);
	if (!out)
		return -ENOMEM;
	done = e->flags & FATBIN_ZSTD ? zstd_unpack(e->payload, packed, out, e->plain)
				      : lz4_unpack(e->payload, packed, out, e->plain);
	if (!done) {
		free(out);
		return -EINVAL;
	}
	*ret = out;
	return 0;
}
