// SPDX-License-Identifier: Apache-2.0
// Translation of extents; see the header. Called for OPEN and MAP. Everything that is read here is a guest's.
#include "stub/extents.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"

#define PAGE  4096u
#define CHUNK 128u // extents that are read or written at once

int extents_init(struct extents *e)
{
	*e = (struct extents){ .list = memfd_create("vgpu-extents", MFD_CLOEXEC) };
	return e->list < 0 ? -errno : 0;
}

void extents_done(struct extents *e)
{
	close_fd(&e->list);
}

// What is about to be written to the list, the last of it still growing.
struct out {
	struct extents *e;
	unsigned n;
	struct memory_extent extent[CHUNK];
};

static bool flush(struct out *o)
{
	size_t bytes = o->n * sizeof(o->extent[0]);
	bool good = write(o->e->list, o->extent, bytes) == (ssize_t)bytes;

	o->e->n += o->n;
	o->n = 0;
	return good;
}

static int file_index(struct extents *e, const struct dma_piece *piece)
{
	for (unsigned i = 0; i < e->n_files; i++)
		if (e->files[i] == piece->file)
			return (int)i;
	if (e->n_files == LINK_MAX_GUEST_MEMORY)
		return -1;
	e->files[e->n_files] = piece->file;
	e->fds[e->n_files] = piece->fd;
	return (int)e->n_files++;
}

static enum vgpu_command_result put(struct out *o, const struct dma_piece *piece)
{
	struct memory_extent *last = o->n ? &o->extent[o->n - 1] : NULL;
	int file = file_index(o->e, piece);

	if (file < 0)
		return VGPU_RESULT_LIMIT;
	if (last && last->memory == (uint32_t)file && last->offset + last->bytes == piece->offset) {
		last->bytes += piece->bytes;
		return VGPU_RESULT_OK;
	}
	if (o->e->n + o->n >= VGPU_MAX_VM_PIECES)
		return VGPU_RESULT_LIMIT;
	if (o->n == CHUNK && !flush(o))
		return VGPU_RESULT_INTERNAL;
	o->extent[o->n++] = (struct memory_extent){
		.memory = (uint32_t)file,
		.offset = piece->offset,
		.bytes = piece->bytes,
	};
	return VGPU_RESULT_OK;
}

static enum vgpu_command_result translate(struct out *o, struct dma *d, unsigned channel,
					  const struct vgpu_extent *extent)
{
	uint64_t address = extent->address, left = extent->bytes;
	enum vgpu_command_result r = VGPU_RESULT_OK;

	if (!left || (address | left) % PAGE || address > UINT64_MAX - left)
		return VGPU_RESULT_INVALID;
	while (left && !r) {
		struct dma_piece piece;

		if (!dma_find(d, address, left, &piece))
			return VGPU_RESULT_NOT_SHARED;
		piece.map->channels |= 1ull << channel;
		r = put(o, &piece);
		address += piece.bytes;
		left -= piece.bytes;
	}
	return r;
}

enum vgpu_command_result extents_add(struct extents *e, struct dma *d, unsigned channel, uint64_t list,
				     uint32_t n, uint64_t bytes)
{
	enum vgpu_command_result r = VGPU_RESULT_OK;
	struct vgpu_extent in[CHUNK];
	struct out out = { .e = e };

	while (n && !r) {
		unsigned some = n < CHUNK ? n : CHUNK;

		if (dma_read(d, list, in, some * sizeof(in[0])) < 0)
			return VGPU_RESULT_INVALID;
		for (unsigned i = 0; i < some && !r; i++) {
			if (in[i].bytes > bytes)
				return VGPU_RESULT_INVALID;
			bytes -= in[i].bytes;
			r = translate(&out, d, channel, &in[i]);
		}
		list += some * sizeof(in[0]);
		n -= some;
	}
	if (r || bytes)
		return r ? r : VGPU_RESULT_INVALID;
	return flush(&out) ? VGPU_RESULT_OK : VGPU_RESULT_INTERNAL;
}
