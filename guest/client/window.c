// SPDX-License-Identifier: Apache-2.0
// The host window behind the arena: pinned allocations, and program memory that was moved into it in place.
// First fit over a sorted list of holes: programs pin seldom and in large pieces. Runs in the program's
// threads.
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest/client/client_internal.h"

#define PAGE 4096ull

int window_init(struct vgpu_client *c)
{
	pthread_mutex_init(&c->window_lock, NULL);
	c->holes_room = 64;
	c->holes = calloc(c->holes_room, sizeof(*c->holes));
	if (!c->holes)
		return -ENOMEM;
	c->holes[0] = (struct window_hole){ c->geometry.arena_bytes,
					    c->geometry.host_window_bytes - c->geometry.arena_bytes };
	c->n_holes = 1;
	return 0;
}

void window_done(struct vgpu_client *c)
{
	free(c->holes);
	c->holes = NULL;
}

static uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + PAGE - 1) & ~(PAGE - 1);
}

// Large pieces start at a 2 MiB boundary, so that huge pages can back them and the GPU's tables stay short.
static uint64_t alignment_for(uint64_t bytes)
{
	return bytes >= VGPU_MIB(2) ? VGPU_MIB(2) : PAGE;
}

// Makes room for one more hole; window_lock is held.
static int room_for_hole(struct vgpu_client *c)
{
	struct window_hole *more;

	assert(c->holes_room);
	if (c->n_holes < c->holes_room)
		return 0;
	more = realloc(c->holes, 2 * c->holes_room * sizeof(*more));
	if (!more)
		return -ENOMEM;
	c->holes = more;
	c->holes_room *= 2;
	return 0;
}

static void hole_insert(struct vgpu_client *c, size_t i, uint64_t offset, uint64_t bytes)
{
	memmove(&c->holes[i + 1], &c->holes[i], (c->n_holes - i) * sizeof(*c->holes));
	c->holes[i] = (struct window_hole){ offset, bytes };
	c->n_holes++;
}

static void hole_remove(struct vgpu_client *c, size_t i)
{
	c->n_holes--;
	memmove(&c->holes[i], &c->holes[i + 1], (c->n_holes - i) * sizeof(*c->holes));
}

// Takes size bytes out of hole i from offset on, leaving what is before and behind. window_lock is held.
static void carve(struct vgpu_client *c, size_t i, uint64_t offset, uint64_t size)
{
	struct window_hole h = c->holes[i];
	uint64_t behind = h.offset + h.bytes - (offset + size);

	c->holes[i].bytes = offset - h.offset;
	if (behind)
		hole_insert(c, i + 1, offset + size, behind);
	if (!c->holes[i].bytes)
		hole_remove(c, i);
}

int window_take(struct vgpu_client *c, uint64_t size, uint64_t *ret_offset)
{
	uint64_t align = alignment_for(size);
	int r = -ENOMEM;

	pthread_mutex_lock(&c->window_lock);
	if (room_for_hole(c) == 0) {
		for (size_t i = 0; i < c->n_holes; i++) {
			struct window_hole h = c->holes[i];
			uint64_t offset = (h.offset + align - 1) & ~(align - 1);

			if (offset - h.offset > h.bytes || size > h.bytes - (offset - h.offset))
				continue;
			carve(c, i, offset, size);
			*ret_offset = offset;
			r = 0;
			break;
		}
	}
	pthread_mutex_unlock(&c->window_lock);
	return r;
}

void window_give(struct vgpu_client *c, uint64_t offset, uint64_t size)
{
	size_t i = 0;

	// The pages go first: once the hole is in the list another thread may fill it.
	c->transport->unback(c, offset, size);
	pthread_mutex_lock(&c->window_lock);
	while (i < c->n_holes && c->holes[i].offset < offset)
		i++;
	if (i && c->holes[i - 1].offset + c->holes[i - 1].bytes == offset) {
		c->holes[--i].bytes += size;
	} else if (room_for_hole(c) == 0) {
		hole_insert(c, i, offset, size);
	} else {
		// Out of memory for the list: this piece of address space stays unused, nothing else is lost.
		pthread_mutex_unlock(&c->window_lock);
		return;
	}
	if (i + 1 < c->n_holes && c->holes[i].offset + c->holes[i].bytes == c->holes[i + 1].offset) {
		c->holes[i].bytes += c->holes[i + 1].bytes;
		hole_remove(c, i + 1);
	}
	pthread_mutex_unlock(&c->window_lock);
}

void *vgpu_window_alloc(struct vgpu_client *c, uint64_t bytes)
{
	uint64_t size = whole_pages(bytes), offset;

	if (!bytes || bytes > c->geometry.host_window_bytes || window_take(c, size, &offset))
		return NULL;
	if (c->transport->back(c, offset, size)) {
		window_give(c, offset, size);
		return NULL;
	}
	return c->window + offset;
}

void vgpu_window_free(struct vgpu_client *c, void *address, uint64_t bytes)
{
	window_give(c, (uint64_t)((uint8_t *)address - c->window), whole_pages(bytes));
}

int vgpu_window_adopt(struct vgpu_client *c, void *address, uint64_t bytes, uint64_t *ret_offset)
{
	if (!bytes || ((uintptr_t)address | bytes) % PAGE || bytes > c->geometry.host_window_bytes)
		return -EINVAL;
	return c->transport->adopt(c, address, bytes, ret_offset);
}

int vgpu_window_release(struct vgpu_client *c, void *address, uint64_t bytes, uint64_t offset)
{
	return c->transport->release(c, address, bytes, offset);
}
