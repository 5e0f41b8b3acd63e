// SPDX-License-Identifier: Apache-2.0
// Shared memory that the mediator makes; see the header. Called by channels, seats and tenants of the
// mediator.
#include "mediator/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "common/limits.h"
#include "protocol/guest/channel.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

static int make_memfd(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL) // before Linux 6.3
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd < 0 ? -errno : fd;
}

int memory_make(const char *name, uint64_t bytes, int *ret_fd, void **ret_map)
{
	cleanup_fd int fd = make_memfd(name);
	void *map = NULL;

	if (fd < 0)
		return fd;
	if (ftruncate(fd, (off_t)bytes) < 0)
		return -errno;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	if (ret_map) {
		map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			return -errno;
		*ret_map = map;
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

void memory_geometry(uint64_t window_offset, struct link_geometry *ret)
{
	*ret = (struct link_geometry){
		.ring_offset = CHANNEL_HEADER_BYTES,
		.ring_bytes = VGPU_RING_BYTES,
		.reply_offset = CHANNEL_HEADER_BYTES + VGPU_RING_BYTES,
		.reply_slots = VGPU_REPLY_SLOTS,
		.fence_offset =
		    CHANNEL_HEADER_BYTES + VGPU_RING_BYTES + VGPU_REPLY_SLOTS * VGPU_REPLY_SLOT_BYTES,
		.fence_slots = VGPU_FENCE_SLOTS,
		.host_window_base = VGPU_HOST_WINDOW_BASE + window_offset,
		.host_window_bytes = VGPU_HOST_WINDOW_LIMIT,
		.arena_bytes = VGPU_ARENA_BYTES,
		.device_window_base = VGPU_DEVICE_WINDOW_BASE + window_offset,
		.device_window_bytes = VGPU_WINDOW_BYTES,
	};
	ret->channel_bytes = ret->fence_offset + (uint64_t)ret->fence_slots * sizeof(uint64_t);
}

int memory_make_channel(const struct link_geometry *g, int *ret_channel_fd, int *ret_window_fd)
{
	static const uint32_t head[] = { CHANNEL_MAGIC, CHANNEL_VERSION };
	cleanup_fd int channel = -1, window = -1;
	ssize_t n;
	int r;

	static_assert(offsetof(struct channel_header, magic) == 0 &&
			  offsetof(struct channel_header, version) == 4,
		      "head");
	r = memory_make("vgpu-channel", g->channel_bytes, &channel, NULL);
	if (r < 0)
		return r;
	n = pwrite(channel, head, sizeof(head), 0);
	if (n != sizeof(head))
		return n < 0 ? -errno : -ENOSPC;
	r = memory_make("vgpu-window", g->host_window_bytes, &window, NULL);
	if (r < 0)
		return r;
	*ret_channel_fd = take_fd(&channel);
	*ret_window_fd = take_fd(&window);
	return 0;
}

uint64_t memory_available(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	uint64_t kib = UINT64_MAX / 1024;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib * 1024;
}
