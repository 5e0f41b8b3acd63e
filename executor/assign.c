// SPDX-License-Identifier: Apache-2.0
// Checks of the ASSIGN messages; see the header. The mediator is trusted, its arithmetic is checked all the
// same: every later bound in this process rests on these numbers. Called by main.c and by
// tests/fuzz/fuzz_link.c.
#include "executor/assign.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/limits.h"
#include "executor/backends/backend.h"
#include "executor/executor.h"
#include "protocol/guest/channel.h"

#define PAGE	      4096u
#define CHANNEL_LIMIT VGPU_GIB(1)
#define USER_END      0x7ffffffff000ull

struct part {
	uint64_t begin, bytes;
};

static bool meet(struct part a, struct part b)
{
	return a.begin < b.begin + b.bytes && b.begin < a.begin + a.bytes;
}

static bool inside(struct part p, uint64_t end)
{
	return p.bytes && p.begin <= end && p.bytes <= end - p.begin;
}

static const char *check_channel(const struct link_geometry *g)
{
	const struct part parts[] = {
		{ 0, CHANNEL_HEADER_BYTES },
		{ g->ring_offset, g->ring_bytes },
		{ g->reply_offset, (uint64_t)g->reply_slots * VGPU_REPLY_SLOT_BYTES },
		{ g->fence_offset, (uint64_t)g->fence_slots * sizeof(uint64_t) },
	};
	const unsigned n = sizeof(parts) / sizeof(parts[0]);

	if (g->channel_bytes > CHANNEL_LIMIT || g->channel_bytes % PAGE)
		return "channel size";
	if (g->ring_bytes < VGPU_RECORD_MAX || (g->ring_bytes & (g->ring_bytes - 1)))
		return "ring size";
	if (g->reply_slots > VGPU_REPLY_SLOTS || g->fence_slots > VGPU_FENCE_SLOTS)
		return "more slots than VGPU_REPLY_SLOTS or VGPU_FENCE_SLOTS";
	if (g->fence_slots * sizeof(uint64_t) % PAGE)
		return "fence page size";
	for (unsigned i = 0; i < n; i++) {
		if (!inside(parts[i], g->channel_bytes) || parts[i].begin % PAGE)
			return "a part lies outside of the channel or off a page";
		for (unsigned k = 0; k < i; k++)
			if (meet(parts[i], parts[k]))
				return "parts of the channel overlap";
	}
	return NULL;
}

static const char *check_windows(const struct link_geometry *g)
{
	// The host window's whole terabyte is reserved, whatever its memfd covers of it.
	const struct part host = { g->host_window_base, VGPU_WINDOW_BYTES };
	const struct part device = { g->device_window_base, g->device_window_bytes };

	if (!g->host_window_bytes || g->host_window_bytes > VGPU_HOST_WINDOW_LIMIT ||
	    g->host_window_bytes % PAGE || g->host_window_base % PAGE || !g->host_window_base)
		return "host window";
	if (!g->arena_bytes || g->arena_bytes > g->host_window_bytes || g->arena_bytes % PAGE)
		return "arena size";
	if (g->device_window_bytes <= BACKEND_PRIVATE_WINDOW_BYTES ||
	    g->device_window_bytes > VGPU_WINDOW_BYTES ||
	    (g->device_window_base | g->device_window_bytes) % MEMORY_CHUNK_BYTES || !g->device_window_base)
		return "device window";
	if (!inside(host, USER_END) || !inside(device, USER_END) || meet(host, device))
		return "windows overlap or lie outside of user space";
	return NULL;
}

static const char *check_geometry(const struct link_geometry *g)
{
	const char *why = check_channel(g);

	return why ? why : check_windows(g);
}

int assign_parse(const void *packet, size_t bytes, unsigned n_fds, struct link_assign *ret, const char **why)
{
	struct link_assign a;

	*why = "not an ASSIGN message";
	if (bytes != sizeof(a))
		return -EPROTO;
	memcpy(&a, packet, sizeof(a));
	if (a.header.magic != LINK_MAGIC || a.header.type != LINK_ASSIGN || a.header.length != sizeof(a))
		return -EPROTO;
	*why = "wrong number of fds";
	if (a.header.n_fds != ASSIGN_FDS || n_fds != ASSIGN_FDS)
		return -EPROTO;
	*why = check_geometry(&a.geometry);
	if (*why)
		return -EPROTO;
	*ret = a;
	return 0;
}

int assign_parse_vm(const void *packet, size_t bytes, unsigned n_fds, struct link_assign_vm *ret,
		    const char **why)
{
	struct link_assign_vm a;
	const struct link_header *h = &a.assign.header;

	*why = "not an ASSIGN_VM message";
	if (bytes != sizeof(a))
		return -EPROTO;
	memcpy(&a, packet, sizeof(a));
	if (h->magic != LINK_MAGIC || h->type != LINK_ASSIGN_VM || h->length != sizeof(a) || a.reserved)
		return -EPROTO;
	*why = "wrong number of fds";
	if (h->n_fds != n_fds || n_fds <= ASSIGN_VM_FDS || n_fds > ASSIGN_VM_FDS + LINK_MAX_GUEST_MEMORY)
		return -EPROTO;
	*why = "number of extents";
	if (a.extents < 2 || a.extents > VGPU_MAX_VM_PIECES)
		return -EPROTO;
	*why = check_geometry(&a.assign.geometry);
	if (*why)
		return -EPROTO;
	*ret = a;
	return 0;
}
