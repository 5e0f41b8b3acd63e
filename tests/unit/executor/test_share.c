// SPDX-License-Identifier: Apache-2.0
// executor/share.c with a mediator in a thread: what is asked of it and when, what is charged to whom, what
// is refused, and that a stream that waits for another process's event is no work in flight.
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/seqpacket.h"
#include "executor/objects.h"
#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"
#include "tests/unit/executor/test.h"

#define KEPT 16

// What the mediator keeps, by key; and what it was asked. The executor waits for each answer, so the test may
// look whenever the executor is not running.
static struct {
	int link;
	pthread_t thread;
	struct kept {
		struct link_share m;
		bool here;
		int takers;
	} kept[KEPT];
	unsigned shares, takes, drops;
	bool deaf, refuse, others_use;
} mediator;

static struct fixture *f;
static int link_of_executor;

static struct kept *kept_at(const uint64_t key[2])
{
	for (unsigned i = 0; i < KEPT; i++)
		if (mediator.kept[i].here && !memcmp(mediator.kept[i].m.key, key, sizeof(uint64_t[2])))
			return &mediator.kept[i];
	return NULL;
}

static struct kept *keep(const struct link_share *m)
{
	for (unsigned i = 0; i < KEPT; i++)
		if (!mediator.kept[i].here) {
			mediator.kept[i] = (struct kept){ .m = *m, .here = true };
			return &mediator.kept[i];
		}
	return NULL;
}

static void answer(const void *packet, struct link_shared *ret)
{
	const struct link_header *h = packet;
	const struct link_take *take = packet;
	const struct link_drop *drop = packet;
	struct kept *k = h->type == LINK_SHARE ? NULL : kept_at(take->key);

	if (h->type == LINK_SHARE) {
		mediator.shares++;
		ret->code = mediator.refuse || !keep(packet) ? LINK_SHARE_LIMIT : LINK_SHARE_OK;
	} else if (!k) {
		ret->code = LINK_SHARE_UNKNOWN;
	} else if (h->type == LINK_TAKE) {
		mediator.takes++;
		k->takers++;
		ret->bytes = k->m.bytes;
		memcpy(ret->data, k->m.data, sizeof(ret->data));
	} else {
		mediator.drops++;
		ret->in_use = drop->owner && mediator.others_use;
		if (drop->owner)
			k->here = false;
		else
			k->takers--;
	}
}

static void *run_mediator(void *arg)
{
	char packet[LINK_MAX_PACKET];
	int fds[SEQPACKET_MAX_FDS];
	unsigned n_fds;

	(void)arg;
	while (seqpacket_recv(mediator.link, packet, sizeof(packet), fds, &n_fds, 0) > 0) {
		struct link_shared m = { .header = { LINK_MAGIC, LINK_SHARED, 0, sizeof(m),
						     ((struct link_header *)packet)->cookie } };
		struct link_header wake = { LINK_MAGIC, LINK_WAKE, 0, sizeof(wake), 0 };

		for (unsigned i = 0; i < n_fds; i++)
			close(fds[i]);
		if (mediator.deaf)
			break;
		// Something else may come first.
		seqpacket_send(mediator.link, &wake, sizeof(wake), NULL, 0, 0);
		answer(packet, &m);
		seqpacket_send(mediator.link, &m, sizeof(m), NULL, 0, 0);
	}
	close(mediator.link);
	return NULL;
}

static int setup(void **state)
{
	int pair[2];

	(void)state;
	memset(&mediator, 0, sizeof(mediator));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	mediator.link = pair[0];
	link_of_executor = pair[1];
	f = fixture_new(fake_backend());
	f->x.link = link_of_executor;
	return pthread_create(&mediator.thread, NULL, run_mediator, NULL) || fixture_activate(f);
}

static int teardown(void **state)
{
	(void)state;
	fixture_free(f);
	shutdown(link_of_executor, SHUT_RDWR);
	pthread_join(mediator.thread, NULL);
	close(link_of_executor);
	return 0;
}

static int32_t mem_share(uint64_t address, struct reply_mem_share *ret)
{
	struct record_mem_share r = { .address = address };

	return fixture_call(f, OPCODE_MEM_SHARE, &r, sizeof(r), NULL, 0, ret, sizeof(*ret));
}

static void mem_free(uint64_t address)
{
	struct record_mem_free r = { .address = address };

	PUSH(f, OPCODE_MEM_FREE, &r);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fixture_deferred(f), 0);
}

static uint64_t physical(unsigned index)
{
	return handle_make(HANDLE_PHYSICAL, 1, index);
}

static int32_t import(uint64_t handle, const uint64_t key[2], uint32_t others, uint64_t *ret_size)
{
	struct record_vm_import r = { .physical = handle, .key = { key[0], key[1] }, .others = others };
	struct reply_vm_import reply = { 0 };
	int32_t result = fixture_call(f, OPCODE_VM_IMPORT, &r, sizeof(r), NULL, 0, &reply, sizeof(reply));

	*ret_size = reply.size;
	return result;
}

static void release(uint64_t handle)
{
	struct record_vm_release r = { .physical = handle };

	PUSH(f, OPCODE_VM_RELEASE, &r);
	assert_int_equal(fixture_run(f), 0);
}

static uint64_t charged(void)
{
	return atomic_load(&f->x.tenant->memory_used);
}

// Something that another executor shared. bytes 0: an event of the null backend's kind.
static void shared_elsewhere(uint64_t key[2], uint64_t bytes)
{
	struct link_share m = { .key = { key[0], key[1] }, .bytes = bytes };

	memcpy(m.data, &bytes, sizeof(bytes)); // what the null backend puts there
	assert_non_null(keep(&m));
}

// ---- memory of ours

static void small_allocations_share_what_they_lie_in(void **state)
{
	struct reply_mem_share a, b, c;
	uint64_t first = fixture_alloc(f, 1000), second = fixture_alloc(f, 1000),
		 large = fixture_alloc(f, 5000000);

	(void)state;
	assert_int_equal(mem_share(first, &a), 0);
	assert_int_equal(mem_share(second, &b), 0);
	assert_int_equal(mem_share(large, &c), 0);
	assert_int_equal(mediator.shares, 2);
	assert_memory_equal(a.key, b.key, sizeof(a.key));
	assert_memory_not_equal(a.key, c.key, sizeof(a.key));
	assert_int_equal(b.offset - a.offset, second - first);
	assert_int_equal(a.size, MEMORY_CHUNK_BYTES);
	assert_int_equal(c.offset, 0);
	assert_int_equal(c.size, 3 * VGPU_MIB(2));
	assert_int_equal(kept_at(c.key)->m.bytes, c.size);
	assert_int_equal(mem_share(large + 512, &c), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(mem_share(0, &c), CUDA_ERROR_INVALID_VALUE);
	mem_free(first);
	assert_int_equal(mediator.drops, 0); // the second one keeps it
	mem_free(second);
	assert_int_equal(mediator.drops, 1);
	mem_free(large);
	assert_int_equal(mediator.drops, 2);
}

static void freed_while_others_have_it_stays_charged(void **state)
{
	struct reply_mem_share r;
	uint64_t p = fixture_alloc(f, VGPU_MIB(4)), q = fixture_alloc(f, VGPU_MIB(4));

	(void)state;
	assert_int_equal(mem_share(p, &r), 0);
	assert_int_equal(mem_share(q, &r), 0);
	mem_free(q);
	assert_int_equal(charged(), VGPU_MIB(4));
	mediator.others_use = true;
	mem_free(p);
	assert_int_equal(charged(), VGPU_MIB(4)); // the tenant's, no longer this executor's
	assert_int_equal(atomic_load(&f->x.turn->memory_bytes), 0);
	assert_int_equal(fake.mapped, 0);
	atomic_store(&f->x.tenant->memory_used, 0);
}

static void refused_by_the_mediator(void **state)
{
	struct reply_mem_share r;
	uint64_t p = fixture_alloc(f, VGPU_MIB(4));

	(void)state;
	mediator.refuse = true;
	assert_int_equal(mem_share(p, &r), CUDA_ERROR_OUT_OF_MEMORY);
	mediator.refuse = false;
	assert_int_equal(mem_share(p, &r), 0);
	f->x.link = -1;
	assert_int_equal(mem_share(fixture_alloc(f, VGPU_MIB(4)), &r), CUDA_ERROR_NOT_SUPPORTED);
	f->x.link = link_of_executor;
	mediator.deaf = true;
	assert_int_equal(mem_share(fixture_alloc(f, VGPU_MIB(4)), &r), CUDA_ERROR_OPERATING_SYSTEM);
}

static void memory_without_an_address(void **state)
{
	struct record_vm_create c = { .physical = physical(1), .size = VGPU_MIB(2), .handle_types = 1 };
	struct record_vm_share s = { .physical = physical(1) };
	struct reply_vm_share first, again;

	(void)state;
	assert_int_equal(fixture_call(f, OPCODE_VM_SHARE, &s, sizeof(s), NULL, 0, NULL, 0),
			 CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(fixture_call(f, OPCODE_VM_CREATE, &c, sizeof(c), NULL, 0, NULL, 0), 0);
	assert_int_equal(fixture_call(f, OPCODE_VM_SHARE, &s, sizeof(s), NULL, 0, &first, sizeof(first)), 0);
	assert_int_equal(fixture_call(f, OPCODE_VM_SHARE, &s, sizeof(s), NULL, 0, &again, sizeof(again)), 0);
	assert_memory_equal(&first, &again, sizeof(first));
	assert_int_equal(mediator.shares, 1);
	mediator.others_use = true;
	release(physical(1));
	assert_int_equal(mediator.drops, 1);
	assert_int_equal(charged(), VGPU_MIB(2));
	assert_int_equal(fake.physical, 0);
	atomic_store(&f->x.tenant->memory_used, 0);
}

// ---- memory of others

static void imported_memory_is_not_charged(void **state)
{
	uint64_t key[2] = { 1, 2 }, size;
	struct record_vm_reserve reserve = { .size = VGPU_MIB(8) };
	struct record_vm_map map = { .physical = physical(3), .size = VGPU_MIB(4) };
	struct record_vm_unmap unmap = { .size = VGPU_MIB(4) };
	struct reply_vm_reserve place;

	(void)state;
	shared_elsewhere(key, VGPU_MIB(4));
	assert_int_equal(import(physical(3), key, 1, &size), 0);
	assert_int_equal(size, VGPU_MIB(4));
	assert_int_equal(charged(), 0);
	assert_int_equal(
	    fixture_call(f, OPCODE_VM_RESERVE, &reserve, sizeof(reserve), NULL, 0, &place, sizeof(place)), 0);
	map.address = unmap.address = place.address;
	assert_int_equal(fixture_call(f, OPCODE_VM_MAP, &map, sizeof(map), NULL, 0, NULL, 0), 0);
	release(physical(3));
	assert_int_equal(mediator.drops, 0); // mapped: it is still used
	assert_int_equal(fixture_call(f, OPCODE_VM_UNMAP, &unmap, sizeof(unmap), NULL, 0, NULL, 0), 0);
	assert_int_equal(mediator.drops, 1);
	assert_int_equal(kept_at(key)->takers, 0);
	assert_int_equal(charged(), 0);
}

static void imports_that_are_refused(void **state)
{
	uint64_t key[2] = { 5, 6 }, event[2] = { 7, 8 }, odd[2] = { 9, 10 }, lie[2] = { 11, 12 }, size;
	uint64_t p = fixture_alloc(f, VGPU_MIB(4)), more = VGPU_MIB(6);
	struct reply_mem_share own;

	(void)state;
	assert_int_equal(import(physical(4), key, 0, &size), CUDA_ERROR_INVALID_VALUE);
	shared_elsewhere(event, 0);
	assert_int_equal(import(physical(4), event, 0, &size), CUDA_ERROR_INVALID_VALUE);
	shared_elsewhere(odd, 12345);
	assert_int_equal(import(physical(4), odd, 0, &size), CUDA_ERROR_INVALID_VALUE);
	shared_elsewhere(lie, VGPU_MIB(4));
	memcpy(kept_at(lie)->m.data, &more, sizeof(more));
	assert_int_equal(import(physical(4), lie, 0, &size), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(kept_at(event)->takers + kept_at(odd)->takers + kept_at(lie)->takers, 0);
	assert_int_equal(mem_share(p, &own), 0);
	assert_int_equal(import(physical(4), own.key, 1, &size), CUDA_ERROR_INVALID_CONTEXT);
	assert_int_equal(import(physical(4), own.key, 0, &size), 0); // by descriptor one may
	release(physical(4));
	assert_int_equal(charged(), VGPU_MIB(4));
}

// ---- events

static uint64_t event(unsigned index)
{
	return handle_make(HANDLE_EVENT, 1, index);
}

static void make_event(uint64_t handle, uint32_t flags)
{
	struct record_event_create r = { .event = handle, .flags = flags };

	PUSH(f, OPCODE_EVENT_CREATE, &r);
	assert_int_equal(fixture_run(f), 0);
}

static void destroy_event(uint64_t handle)
{
	struct record_event_destroy r = { .event = handle };

	PUSH(f, OPCODE_EVENT_DESTROY, &r);
	assert_int_equal(fixture_run(f), 0);
}

static int32_t share_event(uint64_t handle, struct reply_event_share *ret)
{
	struct record_event_share r = { .event = handle };

	return fixture_call(f, OPCODE_EVENT_SHARE, &r, sizeof(r), NULL, 0, ret, sizeof(*ret));
}

static void events_by_key(void **state)
{
	struct reply_event_share key, again;
	struct record_event_open open = { .event = event(9) };
	uint64_t memory[2] = { 3, 3 };

	(void)state;
	make_event(event(1), CU_EVENT_INTERPROCESS);
	assert_int_equal(fixture_deferred(f), CUDA_ERROR_INVALID_VALUE); // wants no timing
	make_event(event(1), CU_EVENT_DISABLE_TIMING);
	assert_int_equal(share_event(event(1), &key), CUDA_ERROR_INVALID_HANDLE);
	make_event(event(2), CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING);
	assert_int_equal(fixture_deferred(f), 0);
	assert_int_equal(share_event(event(2), &key), 0);
	assert_int_equal(share_event(event(2), &again), 0);
	assert_memory_equal(&key, &again, sizeof(key));
	assert_int_equal(mediator.shares, 1);
	assert_int_equal(kept_at(key.key)->m.bytes, 0);
	memcpy(open.key, key.key, sizeof(open.key));
	assert_int_equal(fixture_call(f, OPCODE_EVENT_OPEN, &open, sizeof(open), NULL, 0, NULL, 0),
			 CUDA_ERROR_INVALID_CONTEXT);
	shared_elsewhere(memory, VGPU_MIB(2));
	memcpy(open.key, memory, sizeof(open.key));
	assert_int_equal(fixture_call(f, OPCODE_EVENT_OPEN, &open, sizeof(open), NULL, 0, NULL, 0),
			 CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(kept_at(memory)->takers, 0);
	destroy_event(event(2));
	assert_null(kept_at(key.key));
}

static void record_elsewhere(uint64_t handle)
{
	struct event *e = handle_get(&f->x, HANDLE_EVENT, handle);

	f->x.ops->event_record(f->x.backend, e->backend, NULL, 0);
}

static void a_wait_for_others_is_no_work_in_flight(void **state)
{
	struct record_stream_create s = { .stream = handle_make(HANDLE_STREAM, 1, 1), .flags = 1 };
	struct record_stream_wait_event wait = { .stream = s.stream, .event = event(1) };
	struct record_fence fence = { .stream = s.stream, .slot = 3, .value = 7 };

	(void)state;
	make_event(event(1), CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING);
	PUSH(f, OPCODE_STREAM_CREATE, &s);
	PUSH(f, OPCODE_STREAM_WAIT_EVENT, &wait); // never recorded
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fake.follows, 0);
	fake.async = true;
	record_elsewhere(event(1));
	PUSH(f, OPCODE_STREAM_WAIT_EVENT, &wait);
	PUSH(f, OPCODE_FENCE, &fence);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fake.follows, 1);
	assert_int_equal(track_in_flight(&f->x.track), 0);
	assert_int_not_equal(f->x.track.records, 0);
	// The first record is what is waited for, whatever is recorded since.
	record_elsewhere(event(1));
	assert_int_equal(fake_step(1), 1);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fake.follows, 0);
	fake.async = false;
	fake_step(100);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(atomic_load(&f->x.fences[3]), 7);
	assert_int_equal(f->x.track.records, 0);
}

static void a_watch_is_for_the_record_of_its_time(void **state)
{
	struct record_event_watch watch = { .event = event(1), .slot = 4, .value = 1 };
	struct record_event_query query = { .event = event(1) };

	(void)state;
	make_event(event(1), CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING);
	fake.async = true;
	record_elsewhere(event(1));
	PUSH(f, OPCODE_EVENT_WATCH, &watch);
	assert_int_equal(fixture_run(f), 0);
	record_elsewhere(event(1));
	assert_int_equal(atomic_load(&f->x.fences[4]), 0);
	fake_step(1);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(atomic_load(&f->x.fences[4]), 1);
	assert_int_equal(fixture_call(f, OPCODE_EVENT_QUERY, &query, sizeof(query), NULL, 0, NULL, 0),
			 CUDA_ERROR_NOT_READY);
	fake_step(1);
	assert_int_equal(fixture_call(f, OPCODE_EVENT_QUERY, &query, sizeof(query), NULL, 0, NULL, 0), 0);
	assert_int_equal(fake.follows, 0);
}

// What stands behind a wait that will never be met is forgotten with the context, and the event with it.
static void a_failed_context_forgets_waits(void **state)
{
	struct record_stream_wait_event wait = { .stream = STREAM_LEGACY, .event = event(1) };

	(void)state;
	make_event(event(1), CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING);
	fake.async = true;
	record_elsewhere(event(1));
	PUSH(f, OPCODE_STREAM_WAIT_EVENT, &wait);
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fake.follows, 1);
	fake.error = CUDA_ERROR_ILLEGAL_ADDRESS;
	assert_int_equal(fixture_run(f), 0);
	assert_int_equal(fake.follows, 0);
	fake.error = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(small_allocations_share_what_they_lie_in),
		TEST(freed_while_others_have_it_stays_charged),
		TEST(refused_by_the_mediator),
		TEST(memory_without_an_address),
		TEST(imported_memory_is_not_charged),
		TEST(imports_that_are_refused),
		TEST(events_by_key),
		TEST(a_wait_for_others_is_no_work_in_flight),
		TEST(a_watch_is_for_the_record_of_its_time),
		TEST(a_failed_context_forgets_waits),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
