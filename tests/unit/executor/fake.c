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
	uint64_t recorded, done;	// counts
	struct backend_event *followed; // this one stands for its record number `recorded`
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

static int fake_stream_query(struct backend *b, struct backend_stream *s)
{
	(void)b;
	for (unsigned i = first; i < n_items; i++)
		if (!items[i].done && items[i].stream == s)
			return CUDA_ERROR_NOT_READY;
	return CUDA_SUCCESS;
}

static int fake_event_query(struct backend *b, struct backend_event *e)
{
	unsigned i = event_index(e);
	uint64_t done = events[i].followed ? events[event_index(events[i].followed)].done : events[i].done;

	(void)b;
	return done >= events[i].recorded ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

static int fake_event_follow(struct backend *b, struct backend_event *e, struct backend_event **ret)
{
	int r = null_ops->event_follow(b, e, ret);

	if (!r) {
		unsigned own = event_index(*ret);

		events[own].recorded = events[event_index(e)].recorded;
		events[own].followed = e;
		fake.follows++;
	}
	return r;
}

static void fake_event_destroy(struct backend *b, struct backend_event *e)
{
	if (events[event_index(e)].followed)
		fake.follows--;
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

// A wait ends when fake.word has its value or more.
static int fake_words(struct backend *b, const struct word_op *ops, uint32_t n, struct backend_stream *s)
{
	(void)b;
	fake.words += n;
	for (uint32_t i = 0; i < n; i++) {
		struct item item = { .kind = ITEM_WORK, .stream = s };

		if (word_is_wait(&ops[i])) {
			item.kind = ITEM_WAIT;
			item.where = &fake.word;
			item.value = ops[i].value;
		}
		enqueue(item);
	}
	return CUDA_SUCCESS;
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

static bool has_room(uint64_t size)
{
	return !fake.capacity || fake.mapped + fake.physical + size <= fake.capacity;
}

static int fake_map(struct backend *b, uint64_t address, uint64_t size)
{
	(void)b;
	(void)address;
	fake.map_calls++;
	if (fake.refuse_map)
		return fake.refuse_map;
	if (!has_room(size))
		return CUDA_ERROR_OUT_OF_MEMORY;
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

static int fake_physical_create(struct backend *b, uint64_t size, uint32_t handle_types,
				struct backend_physical **ret)
{
	int r =
	    has_room(size) ? null_ops->physical_create(b, size, handle_types, ret) : CUDA_ERROR_OUT_OF_MEMORY;

	if (!r)
		fake.physical += size;
	return r;
}

static int fake_physical_free(struct backend *b, struct backend_physical *p)
{
	uint64_t before, after, total;

	null_ops->mem_available(b, &before, &total);
	null_ops->physical_free(b, p);
	null_ops->mem_available(b, &after, &total);
	fake.physical -= after - before;
	return CUDA_SUCCESS;
}

static int fake_physical_map(struct backend *b, uint64_t address, uint64_t size, struct backend_physical *p,
			     uint64_t offset)
{
	int r = fake.refuse_map ? fake.refuse_map : null_ops->physical_map(b, address, size, p, offset);

	if (!r)
		fake.shown += size;
	return r;
}

static int fake_physical_unmap(struct backend *b, uint64_t address, uint64_t size)
{
	fake.shown -= size;
	return null_ops->physical_unmap(b, address, size);
}

static int fake_physical_access(struct backend *b, uint64_t address, uint64_t size, enum vm_access access)
{
	return fake.refuse_map ? fake.refuse_map : null_ops->physical_access(b, address, size, access);
}

// What memory holds is its own name: a mapping's address, or where the piece of memory is kept here.
static int park(void *store, uint64_t name, uint64_t *from, uint64_t size)
{
	if (fake.refuse_park && !--fake.refuse_park)
		return CUDA_ERROR_OPERATING_SYSTEM;
	if (store)
		memcpy(store, &name, sizeof(name));
	*from -= size;
	fake.parked += size;
	return CUDA_SUCCESS;
}

static int unpark(const void *store, uint64_t name, uint64_t *to, uint64_t size)
{
	if (!has_room(size))
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (memcmp(store, &name, sizeof(name)) != 0)
		abort(); // somebody else's contents
	*to += size;
	fake.parked -= size;
	return CUDA_SUCCESS;
}

static int fake_mem_park(struct backend *b, uint64_t address, uint64_t size, void *store)
{
	(void)b;
	return park(store, address, &fake.mapped, size);
}

static int fake_mem_unpark(struct backend *b, uint64_t address, uint64_t size, void *store)
{
	(void)b;
	return unpark(store, address, &fake.mapped, size);
}

static int fake_physical_park(struct backend *b, struct backend_physical *p, uint64_t size, void *store)
{
	int r = park(store, (uintptr_t)p, &fake.physical, size);

	return r ? r : null_ops->physical_park(b, p, size, store);
}

static int fake_physical_unpark(struct backend *b, struct backend_physical *p, uint64_t size, void *store)
{
	int r = unpark(store, (uintptr_t)p, &fake.physical, size);

	return r ? r : null_ops->physical_unpark(b, p, size, store);
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
	ops.stream_query = fake_stream_query;
	ops.event_query = fake_event_query;
	ops.event_destroy = fake_event_destroy;
	ops.event_follow = fake_event_follow;
	ops.launch = fake_launch;
	ops.copy = fake_copy;
	ops.words = fake_words;
	ops.occupancy_clusters = fake_occupancy_clusters;
	ops.tensor_map = fake_tensor_map;
	ops.mem_granularity = fake_granularity;
	ops.mem_map = fake_map;
	ops.mem_unmap = fake_unmap;
	ops.physical_create = fake_physical_create;
	ops.physical_free = fake_physical_free;
	ops.physical_map = fake_physical_map;
	ops.physical_unmap = fake_physical_unmap;
	ops.physical_access = fake_physical_access;
	ops.mem_park = fake_mem_park;
	ops.mem_unpark = fake_mem_unpark;
	ops.physical_park = fake_physical_park;
	ops.physical_unpark = fake_physical_unpark;
	ops.error = fake_error;
	return &ops;
}
