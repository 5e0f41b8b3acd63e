// SPDX-License-Identifier: Apache-2.0
// What vgpu-admin top shows, computed from two readings of the API. Pure: no clock, no terminal.
#ifndef VGPU_ADMIN_TOP_MODEL_H
#define VGPU_ADMIN_TOP_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "admin/metrics_text.h"

// By what work of a tenant was held back.
enum top_held { TOP_HELD_TURN, TOP_HELD_LAUNCHES, TOP_HELD_COPIES, TOP_HELD_QUEUE, TOP_HELD_CAP, TOP_HELDS };

struct top_tenant {
	uint32_t id;
	char *name, *pool; // clean
	const char *state; // of its programs, the busiest: a word of this file
	bool in_demand, quarantine;
	double target, achieved; // percent
	uint64_t gpu_ns, launches, copy_bytes, memory_used, memory_quota, faults, programs;
	uint64_t held_ns[TOP_HELDS];
	double queue; // pieces of work that are submitted and unfinished; negative: not told
	struct metrics_buckets start, wait; // s: launch to start, synchronise
};

struct top_sample {
	uint64_t now_ns;		 // the mediator's clock
	char *device, *backend, *health; // clean
	char *card;			 // a line about the card; NULL: nothing is told
	struct top_tenant *tenants;	 // by id
	size_t n_tenants;
};

enum top_order {
	TOP_BY_ACHIEVED,
	TOP_BY_TARGET,
	TOP_BY_GPU_TIME,
	TOP_BY_LAUNCHES,
	TOP_BY_MEMORY,
	TOP_BY_LATENCY,
	TOP_BY_NAME,
	TOP_BY_ID,
	TOP_ORDERS,
};

// What the API answered: /v1/status; /v1/gpus and /metrics (changed on the way) if they were had, else NULL.
struct top_sample *top_read(const json_t *status, const json_t *gpus, char *metrics);
void top_sample_free(struct top_sample *s);

struct top_look {
	enum top_order order;
	bool reverse;
	unsigned width; // 0: as wide as it is
};

// The lines of a frame. before: the reading that rates are counted from; NULL: none yet.
void top_print(const struct top_sample *now, const struct top_sample *before, const struct top_look *look,
	       FILE *out);

const char *top_order_name(enum top_order o);
char top_order_key(enum top_order o);

#endif
