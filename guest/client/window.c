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
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 // Linux 5.14
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 // Linux 6.1
#endif

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
	free(c->adopted);
	c->holes = NULL;
	c->adopted = NULL;
}

void window_forget(struct vgpu_client *c)
{
	for (size_t i = 0; i < c->n_adopted; i++)
		mmap(c->adopted[i].address, c->adopted[i].bytes, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_FIXED, c->window_fd, (off_t)c->adopted[i].offset);
}

// Remembers an adopted range; window_lock is held.
static int adopted_add(struct vgpu_client *c, uint8_t *address, uint64_t bytes, uint64_t offset)
{
	if (c->n_adopted == c->adopted_room) {
		size_t room = c->adopted_room ? 2 * c->adopted_room : 16;
		struct window_adopted *more = realloc(c->adopted, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		c->adopted = more;
		c->adopted_room = room;
	}
	c->adopted[c->n_adopted++] = (struct window_adopted){ address, bytes, offset };
	return 0;
}

static void adopted_remove(struct vgpu_client *c, const uint8_t *address)
{
	for (size_t i = 0; i < c->n_adopted; i++) {
		if (c->adopted[i].address == address) {
			c->adopted[i] = c->adopted[--c->n_adopted];
			return;
		}
	}
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

// Takes bytes (whole pages) of the window; *ret_offset from its beginning.
static int take(struct vgpu_client *c, uint64_t size, uint64_t *ret_offset)
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

// Gives a piece back and its pages to the host.
static void give(struct vgpu_client *c, uint64_t offset, uint64_t size)
{
	size_t i = 0;

	// The pages go first: once the hole is in the list another thread may fill it.
	fallocate(c->window_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
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
	uint64_t offset;

	if (!bytes || bytes > c->geometry.host_window_bytes || take(c, whole_pages(bytes), &offset))
		return NULL;
	// Pinned memory is all touched anyway. Here a full host says so, instead of a SIGBUS later; and pages
	// that are there can be joined to huge ones, which makes the GPU's copies faster. A kernel before 6.1
	// cannot.
	if (bytes >= VGPU_MIB(2)) {
		uint64_t whole = bytes & ~(VGPU_MIB(2) - 1);

		if (madvise(c->window + offset, whole, MADV_POPULATE_WRITE) < 0 && errno == ENOMEM) {
			give(c, offset, whole_pages(bytes));
			return NULL;
		}
		madvise(c->window + offset, whole, MADV_COLLAPSE);
	}
	return c->window + offset;
}

void vgpu_window_free(struct vgpu_client *c, void *address, uint64_t bytes)
{
	give(c, (uint64_t)((uint8_t *)address - c->window), whole_pages(bytes));
}

// Whether [begin, end) lies in private readable and writable mappings without a hole.
static int range_is_private(uint64_t begin, uint64_t end)
{
	cleanup_file FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];

	if (!maps)
		return -errno;
	while (begin < end && fgets(line, sizeof(line), maps)) {
		unsigned long long low, high;
		char mode[5];

		if (sscanf(line, "%llx-%llx %4s", &low, &high, mode) != 3 || high <= begin)
			continue;
		if (low > begin)
			break;
		if (mode[0] != 'r' || mode[1] != 'w' || mode[3] != 'p')
			return -EOPNOTSUPP;
		begin = high;
	}
	// NOLINTNEXTLINE(clang-analyzer-unix.Stream): the cleanup attribute closes maps
	return begin < end ? -EFAULT : 0;
}

int vgpu_window_adopt(struct vgpu_client *c, void *address, uint64_t bytes, uint64_t *ret_offset)
{
	uint64_t offset;
	int r;

	if (!bytes || ((uintptr_t)address | bytes) % PAGE || bytes > c->geometry.host_window_bytes)
		return -EINVAL;
	r = range_is_private((uintptr_t)address, (uintptr_t)address + bytes);
	if (r < 0)
		return r;
	r = take(c, bytes, &offset);
	if (r < 0)
		return r;
	pthread_mutex_lock(&c->window_lock);
	r = adopted_add(c, address, bytes, offset);
	pthread_mutex_unlock(&c->window_lock);
	if (r < 0) {
		give(c, offset, bytes);
		return r;
	}
	memcpy(c->window + offset, address, bytes);
	if (mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, c->window_fd,
		 (off_t)offset) == MAP_FAILED) {
		r = -errno;
		pthread_mutex_lock(&c->window_lock);
		adopted_remove(c, address);
		pthread_mutex_unlock(&c->window_lock);
		give(c, offset, bytes);
		return r;
	}
	*ret_offset = offset;
	return 0;
}

int vgpu_window_release(struct vgpu_client *c, void *address, uint64_t bytes, uint64_t offset)
{
	void *copy = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (copy == MAP_FAILED)
		return -errno;
	memcpy(copy, c->window + offset, bytes);
	if (mremap(copy, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, address) == MAP_FAILED) {
		int r = -errno;

		munmap(copy, bytes);
		return r;
	}
	pthread_mutex_lock(&c->window_lock);
	adopted_remove(c, address);
	pthread_mutex_unlock(&c->window_lock);
	give(c, offset, bytes);
	return 0;
}
