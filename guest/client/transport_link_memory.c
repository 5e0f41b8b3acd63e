// SPDX-License-Identifier: Apache-2.0
// Memory in process mode. The host window is one memfd, which the executor maps too: pinned memory is pages
// of it, and program memory that is registered is moved into it in place. Runs in the program's process.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/cleanup.h"
#include "guest/client/client_internal.h"
#include "guest/client/transport_link.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 // Linux 5.14
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 // Linux 6.1
#endif

int link_memory_back(struct vgpu_client *c, uint64_t offset, uint64_t bytes)
{
	uint64_t whole = bytes & ~(VGPU_MIB(2) - 1);

	// Pinned memory is all touched anyway. Here a full host says so, instead of a SIGBUS later; and pages
	// that are there can be joined to huge ones, which makes the GPU's copies faster. A kernel before 6.1
	// cannot.
	if (!whole)
		return 0;
	if (madvise(c->window + offset, whole, MADV_POPULATE_WRITE) < 0 && errno == ENOMEM)
		return -ENOMEM;
	madvise(c->window + offset, whole, MADV_COLLAPSE);
	return 0;
}

void link_memory_unback(struct vgpu_client *c, uint64_t offset, uint64_t bytes)
{
	fallocate(c->window_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
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

void link_memory_forget(struct vgpu_client *c)
{
	for (size_t i = 0; i < c->n_adopted; i++)
		mmap(c->adopted[i].address, c->adopted[i].bytes, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_FIXED, c->window_fd, (off_t)c->adopted[i].offset);
}

void link_memory_done(struct vgpu_client *c)
{
	free(c->adopted);
	c->adopted = NULL;
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

int link_memory_adopt(struct vgpu_client *c, void *address, uint64_t bytes, uint64_t *ret_offset)
{
	uint64_t offset;
	int r;

	r = range_is_private((uintptr_t)address, (uintptr_t)address + bytes);
	if (r < 0)
		return r;
	r = window_take(c, bytes, &offset);
	if (r < 0)
		return r;
	pthread_mutex_lock(&c->window_lock);
	r = adopted_add(c, address, bytes, offset);
	pthread_mutex_unlock(&c->window_lock);
	if (r < 0) {
		window_give(c, offset, bytes);
		return r;
	}
	memcpy(c->window + offset, address, bytes);
	if (mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, c->window_fd,
		 (off_t)offset) == MAP_FAILED) {
		r = -errno;
		pthread_mutex_lock(&c->window_lock);
		adopted_remove(c, address);
		pthread_mutex_unlock(&c->window_lock);
		window_give(c, offset, bytes);
		return r;
	}
	*ret_offset = offset;
	return 0;
}

int link_memory_release(struct vgpu_client *c, void *address, uint64_t bytes, uint64_t offset)
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
	window_give(c, offset, bytes);
	return 0;
}
