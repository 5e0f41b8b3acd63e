// SPDX-License-Identifier: Apache-2.0
// libFuzzer entry: arbitrary bytes as the mediator's ASSIGN and ASSIGN_VM. Whatever is accepted must be
// mappable: every part inside the channel, windows apart. The input is {u8 number of fds, packet}.
#include <stdlib.h>

#include "executor/assign.h"
#include "common/limits.h"
#include "executor/executor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void must(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	const char *why = NULL;
	struct link_assign_vm vm;
	struct link_assign a;
	const struct link_geometry *g = &a.geometry;

	if (!bytes)
		return 0;
	if (!assign_parse_vm(data + 1, bytes - 1, data[0], &vm, &why)) {
		must(data[0] > ASSIGN_VM_FDS && data[0] <= ASSIGN_VM_FDS + LINK_MAX_GUEST_MEMORY);
		must(vm.extents >= 2 && vm.extents <= VGPU_MAX_VM_PIECES);
		must(vm.assign.geometry.arena_bytes <= vm.assign.geometry.host_window_bytes);
	}
	if (assign_parse(data + 1, bytes - 1, data[0], &a, &why) < 0) {
		must(why != NULL);
		return 0;
	}
	must((uint64_t)g->ring_offset + g->ring_bytes <= g->channel_bytes);
	must(g->reply_offset + g->reply_slots * VGPU_REPLY_SLOT_BYTES <= g->channel_bytes);
	must(g->fence_offset + g->fence_slots * sizeof(uint64_t) <= g->channel_bytes);
	must(g->arena_bytes <= g->host_window_bytes && g->host_window_bytes <= VGPU_WINDOW_BYTES);
	must(g->host_window_base + VGPU_WINDOW_BYTES > g->host_window_base);
	must(g->device_window_base + g->device_window_bytes > g->device_window_base);
	return 0;
}
