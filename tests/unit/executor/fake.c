// SPDX-License-Identifier: Apache-2.0
// The backend stepped by hand: the null backend with a queue in front of everything that is ordered by
// streams. Work runs when the test says so, in the order of its stream and behind what it waits for.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"

enum { QUEUE = 8192, EVENTS = 64 };

struct item {
	enum { ITEM_WRITE, ITEM_WAIT, ITEM_WORK, ITEM_RECORD, ITEM_WAIT_EVENT } kind;
	struct backend_stream *stream;
	_Atomic uint64_t *where;
	uint64_t value;
	struct backend_event *event;
	bool done;
};

const struct backend_ops *vgpu_backend(void); // of the null backend, linked in

struct fake fake;
static const struct backend_ops *null_ops;
static struct item items[QUEUE];
static unsigned first, n_items;
static struct {
	struct backend_event *event;
	uint64_t recorded, done; // counts
} events[EVENTS];

static unsigned event_index(struct backend_event *e)
{
	for (unsigned i = 0; i < EVENTS; i++) {
		if (!events[i].event)
			events[i].event = e;
		if (events[i].event == e)
			return i;
	}
	abort();
}

static int enqueue(struct item item)
{
	assert(n_items < QUEUE);
	items[n_items++] = item;
	fake.n_queued++;
	if (!fake.async)
		fake_step(QUEUE);
	return CUDA_SUCCESS;
}

static bool may_run(unsigned at)
{
	const struct item *it = &items[at];

	for (unsigned i = first; i < at; i++)
		if (!items[i].done && items[i].stream == it->stream)
			return false;
	if (it->kind == ITEM_WAIT)
		return atomic_load(it->where) >= it->value;
	if (it->kind == ITEM_WAIT_EVENT)
		return events[event_index(it->event)].done >= it->value;
	return true;
}

unsigned fake_step(unsigned n)
{
	unsigned ran = 0;

	for (bool again = true; again && ran < n;) {
		again = false;
		for (unsigned i = first; i < n_items && ran < n; i++) {
			struct item *it = &items[i];

			if (it->done || !may_run(i))
				continue;
			it->done = again = true;
			ran++;
			fake.n_queued--;
			if (it->kind == ITEM_WRITE)
				atomic_store(it->where, it->value);
			if (it->kind == ITEM_RECORD)
				events[event_index(it->event)].done = it->value;
		}
		while (first < n_items && items[first].done)
			first++;
	}
	if (first == n_items)
		first = n_items = 0;
	return ran;
}

static int fake_stream_write(struct backend *b, struct backend_stream *s, _Atomic uint64_t *where,
			     uint64_t value)
{
	(void)b;
	return enqueue((struct item){ .kind = ITEM_WRITE, .stream = s, .where = where, .value = value });
}

static int fake_stream_wait(struct backend *b, struct backend_stream *s, _Atomic uint64_t *where,
			    uint64_t value)
{
	(void)b;
	return enqueue((struct item){ .kind = ITEM_WAIT, .stream = s, .where = where, .value = value });
}

static int fake_event_record(struct backend *b, struct backend_event *e, struct backend_stream *s,
			     uint32_t flags)
{
	null_ops->event_record(b, e, s, flags);
	return enqueue((struct item){
	    .kind = ITEM_RECORD, .stream = s, .event = e, .value = ++events[event_index(e)].recorded });
}

static int fake_stream_wait_event(struct backend *b, struct backend_stream *s, struct backend_event *e,
				  uint32_t flags)
{
	(void)b;
	(void)flags;
	return enqueue((struct item){
	    .kind = ITEM_WAIT_EVENT, .stream = s, .event = e, .value = events[event_index(e)].recorded });
}

static int fake_event_query(struct backend *b, struct backend_event *e)
{
	unsigned i = event_index(e);

	(void)b;
	return events[i].done == events[i].recorded ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

static void fake_event_destroy(struct backend *b, struct backend_event *e)
{
	memset(&events[event_index(e)], 0, sizeof(events[0]));
	null_ops->event_destroy(b, e);
}

static int fake_launch(struct backend *b, struct backend_function *f, const struct backend_launch *l,
		       struct backend_stream *s)
{
	int r = null_ops->launch(b, f, l, s);

	if (r)
		return r;
	fake.launches++;
	return enqueue((struct item){ .kind = ITEM_WORK, .stream = s });
}

static int fake_copy(struct backend *b, const struct backend_copy *c, struct backend_stream *s)
{
	(void)b;
	(void)c;
	fake.copies++;
	return enqueue((struct item){ .kind = ITEM_WORK, .stream = s });
}

static int fake_occupancy_clusters(struct backend *b, struct backend_function *f,
				   const struct backend_launch *l, enum cluster_question what, int32_t *ret)
{
	(void)b;
	assert(f);
	fake.clusters = *l;
	if (l->n_attributes)
		memcpy(fake.clusters_attribute, l->attributes, sizeof(fake.clusters_attribute));
	fake.clusters_what = what;
	fake.clusters_asked++;
	*ret = what == CLUSTER_QUESTION_ACTIVE ? 66 : 8;
	return CUDA_SUCCESS;
}

static int fake_tensor_map(struct backend *b, const struct record_tensor_map *r, struct reply_tensor_map *ret)
{
	(void)b;
	fake.tensor_map = *r;
	fake.tensor_maps++;
	for (unsigned i = 0; i < 16; i++)
		ret->map[i] = r->map[i] + r->address + i;
	return CUDA_SUCCESS;
}

static uint64_t fake_granularity(struct backend *b)
{
	(void)b;
	return fake.granularity;
}

static int fake_map(struct backend *b, uint64_t address, uint64_t size)
{
	(void)b;
	(void)address;
	fake.map_calls++;
	if (fake.refuse_map)
		return fake.refuse_map;
	fake.mapped += size;
	return CUDA_SUCCESS;
}

static int fake_unmap(struct backend *b, uint64_t address, uint64_t size)
{
	(void)b;
	(void)address;
	fake.mapped -= size;
	return CUDA_SUCCESS;
}

static int fake_error(struct backend *b)
{
	(void)b;
	return fake.error;
}

const struct backend_ops *fake_backend(void)
{
	static struct backend_ops ops;

	null_ops = vgpu_backend();
	memset(&fake, 0, sizeof(fake));
	memset(events, 0, sizeof(events));
	fake.granularity = VGPU_MIB(2);
	first = n_items = 0;
	ops = *null_ops;
	ops.stream_write = fake_stream_write;
	ops.stream_wait = fake_stream_wait;
	ops.event_record = fake_event_record;
	ops.stream_wait_event = fake_stream_wait_event;
	ops.event_query = fake_event_query;
	ops.event_destroy = fake_event_destroy;
	ops.launch = fake_launch;
	ops.copy = fake_copy;
	ops.occupancy_clusters = fake_occupancy_clusters;
	ops.tensor_map = fake_tensor_map;
	ops.mem_granularity = fake_granularity;
	ops.mem_map = fake_map;
	ops.mem_unmap = fake_unmap;
	ops.error = fake_error;
	return &ops;
}
