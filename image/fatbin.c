// SPDX-License-Identifier: Apache-2.0
// Reads fat binaries; see the header. Called by libcuda in the tenant's program (its length only), by the cpu
// backend in the executor, and by vgpu-admin.
#include "image/fatbin.h"

#include <errno.h>

#include "image/bytes.h"

#define HEADER_BYTES 16u
#define ENTRY_BYTES  64u

// Offsets in an entry's header.
#define AT_HEADER     0x04 // bytes of it
#define AT_STORED     0x08
#define AT_COMPRESSED 0x10
#define AT_OPTIONS    0x14 // where in the header {offset of text, its bytes} stands; 0: there are none
#define AT_MINOR      0x18
#define AT_MAJOR      0x1a
#define AT_SM	      0x1c
#define AT_FLAGS      0x28
#define AT_PLAIN      0x38

int fatbin_open(const void *image, size_t bytes, struct fatbin *ret)
{
	const unsigned char *p = image;
	uint64_t at, n;

	if (bytes < HEADER_BYTES)
		return -EINVAL;
	at = read_le(p + 6, 2);
	n = read_le(p + 8, 8);
	if (at < HEADER_BYTES || !inside(bytes, at, n))
		return -EINVAL;
	*ret = (struct fatbin){ .image = p, .at = at, .end = at + n };
	return 0;
}

size_t fatbin_extent(const void *image)
{
	const unsigned char *p = image;

	return read_le(p + 6, 2) + read_le(p + 8, 8);
}

// Options that do not lie in the header are none. Machine code has other things in their place: bytes that
// are no text.
static void take_options(struct fatbin_entry *e, const unsigned char *p, uint64_t header)
{
	uint64_t place = read_le(p + AT_OPTIONS, 4), at, n;

	if (e->kind == FATBIN_CODE || place < ENTRY_BYTES || !inside(header, place, 8))
		return;
	at = read_le(p + place, 4);
	n = read_le(p + place + 4, 4);
	if (!inside(header, at, n))
		return;
	while (n && (!p[at + n - 1] || p[at + n - 1] == ' '))
		n--;
	e->options = (const char *)p + at;
	e->options_bytes = n;
}

int fatbin_next(struct fatbin *f, struct fatbin_entry *ret)
{
	const unsigned char *p = f->image + f->at;
	uint64_t header, stored, left = f->end - f->at;

	if (!left)
		return 0;
	if (left < ENTRY_BYTES)
		return -EINVAL;
	header = read_le(p + AT_HEADER, 4);
	stored = read_le(p + AT_STORED, 8);
	if (header < ENTRY_BYTES || !inside(left, header, stored))
		return -EINVAL;
	*ret = (struct fatbin_entry){
		.kind = (unsigned)read_le(p, 2),
		.sm = (unsigned)read_le(p + AT_SM, 4),
		.major = (unsigned)read_le(p + AT_MAJOR, 2),
		.minor = (unsigned)read_le(p + AT_MINOR, 2),
		.flags = read_le(p + AT_FLAGS, 8),
		.payload = p + header,
		.stored = stored,
		.compressed = read_le(p + AT_COMPRESSED, 4),
		.plain = read_le(p + AT_PLAIN, 8),
	};
	take_options(ret, p, header);
	f->at += header + stored;
	return 1;
}

bool fatbin_is_packed(const struct fatbin_entry *e)
{
	return e->flags & (FATBIN_LZ4 | FATBIN_LZ4_OLD | FATBIN_ZSTD);
}
