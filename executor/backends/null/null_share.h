// SPDX-License-Identifier: Apache-2.0
// What the null backend shares with executors of the same tenant: memory is a number, so its name holds its
// size; events are words in shared memory as anywhere without a driver.
#ifndef VGPU_EXECUTOR_BACKENDS_NULL_NULL_SHARE_H
#define VGPU_EXECUTOR_BACKENDS_NULL_NULL_SHARE_H

#include "executor/backends/backend.h"
#include "executor/backends/null/null_queue.h"

struct backend_event {
	struct null_event event; // first
};

// Memory without an address is a size.
struct backend_physical {
	uint64_t size;
	bool imported, parked;
};

int null_peers(const struct backend *b); // null.c: of the tenant

int null_mem_export(struct backend *b, uint64_t address, uint64_t size, struct backend_share *ret);
int null_physical_export(struct backend *b, struct backend_physical *p, struct backend_share *ret);
int null_physical_import(struct backend *b, const struct backend_share *share, uint64_t size,
			 struct backend_physical **ret);

int null_event_export(struct backend *b, struct backend_event *e, struct backend_share *ret);
int null_event_import(struct backend *b, const struct backend_share *share, struct backend_event **ret);
int null_event_follow(struct backend *b, struct backend_event *e, struct backend_event **ret);

#endif
