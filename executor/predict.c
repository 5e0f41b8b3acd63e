// SPDX-License-Identifier: Apache-2.0
// The table of durations; see the header. Used by executor/track.c, which feeds it with finished batches.
#include "executor/predict.h"

#include <string.h>

void predict_init(struct predict *p)
{
	memset(p, 0, sizeof(*p));
}

// 0 for 0 and 1, then two classes for each doubling.
static uint64_t size_class(uint64_t n)
{
	unsigned log;

	if (n < 2)
		return 0;
	log = 63 - (unsigned)__builtin_clzll(n);
	return 2 * log + ((n >> (log - 1)) & 1);
}

uint64_t predict_kernel_key(uint64_t id, uint64_t blocks)
{
	return (id << 8 | size_class(blocks)) << 1 | 1;
}

uint64_t predict_copy_key(unsigned kind, uint64_t bytes)
{
	return ((uint64_t)(kind & 15) << 8 | size_class(bytes)) << 1 | 1ull << 63;
}

static uint32_t place(uint64_t key, uint32_t way)
{
	return ((uint32_t)((key * 0x9e3779b97f4a7c15ull) >> 40) + way) & (PREDICT_ENTRIES - 1);
}

static struct predict_entry *find(const struct predict *p, uint64_t key)
{
	for (uint32_t way = 0; way < PREDICT_WAYS; way++) {
		const struct predict_entry *e = &p->entries[place(key, way)];

		if (e->key == key)
			return (struct predict_entry *)e;
	}
	return NULL;
}

uint64_t predict_ns(const struct predict *p, uint64_t key, uint64_t fallback)
{
	const struct predict_entry *e = find(p, key);

	return e ? e->ns : fallback;
}

// The place that a new key gets: a free one, else the least used; the others' uses are halved so that a key
// of long ago does not stay for ever.
static struct predict_entry *make_room(struct predict *p, uint64_t key)
{
	struct predict_entry *least = NULL;

	for (uint32_t way = 0; way < PREDICT_WAYS; way++) {
		struct predict_entry *e = &p->entries[place(key, way)];

		if (!e->key)
			return e;
		if (!least || e->uses < least->uses)
			least = e;
	}
	for (uint32_t way = 0; way < PREDICT_WAYS; way++)
		p->entries[place(key, way)].uses /= 2;
	return least;
}

void predict_learn(struct predict *p, uint64_t key, uint64_t ns)
{
	struct predict_entry *e = find(p, key);

	if (ns > PREDICT_MAX_NS)
		ns = PREDICT_MAX_NS;
	if (ns < PREDICT_MIN_NS)
		ns = PREDICT_MIN_NS;
	if (!e) {
		e = make_room(p, key);
		*e = (struct predict_entry){ .key = key, .ns = ns };
	} else {
		e->ns = (3 * e->ns + ns) / 4;
	}
	if (e->uses < UINT32_MAX)
		e->uses++;
}
