// SPDX-License-Identifier: Apache-2.0
// executor/park.c and memory_park.c: device memory goes when the mediator asks and nothing runs, comes back
// before the next record, and an allocation without room asks for it. The test is mediator and guest.
#include <string.h>

#include "common/limits.h"
#include "executor/objects.h"
#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/executor/fixture.h"
#include "tests/unit/executor/test.h"

#define GRAIN VGPU_MIB(2)

static struct fixture *f;
static struct vgpu_turn_page *page;
static struct vgpu_tenant_page *tenant;

static int setup(void **state)
{
	(void)state;
	f = fixture_new(fake_backend());
	page = f->x.turn;
	tenant = f->x.tenant;
	return fixture_activate(f);
}

static int teardown(void **state)
{
	(void)state;
	fixture_free(f);
	return fake.mapped != 0 || fake.physical != 0 || fake.shown != 0;
}

static void ask(bool urgent)
{
	atomic_store(&page->park_urgent, urgent);
	atomic_fetch_add(&page->park_ask, 1);
	assert_int_equal(fixture_run(f), 0);
}

static bool answered(void)
{
	return atomic_load(&page->park_answer) == atomic_load(&page->park_ask);
}

static uint64_t parked(void)
{
	return atomic_load(&page->parked_bytes);
}

// As the mediator: there is room.
static void room(void)
{
	atomic_store(&page->room_answer, atomic_load(&page->room_ask));
	assert_int_equal(fixture_run(f), 0);
}

static const struct reply_slot *slot(void)
{
	return (const void *)(f->x.channel + f->assign.geometry.reply_offset);
}

// The result of the record pushed last; -1: none yet.
static int32_t result(void)
{
	return atomic_load(&slot()->cookie) == f->cookie ? slot()->result : -1;
}

static void push_ping(void)
{
	struct record_ping r = { .value = 1 };

	fixture_push(f, OPCODE_PING, 0, &r, sizeof(r), NULL, 0);
	assert_int_equal(fixture_run(f), 0);
}

// A record that it comes back for.
static int32_t ping(void)
{
	push_ping();
	if (atomic_load(&page->room_back) && atomic_load(&page->room_bytes))
		room();
	return result();
}

static void fence(uint64_t value)
{
	struct record_fence r = { .slot = 5, .value = value };

	PUSH(f, OPCODE_FENCE, &r);
}

static uint64_t fence_seen(void)
{
	return atomic_load(&f->x.fences[5]);
}

static uint64_t physical(uint32_t index, uint64_t size)
{
	struct record_vm_create r = { .physical = handle_make(HANDLE_PHYSICAL, 1, index), .size = size };

	assert_int_equal(fixture_call(f, OPCODE_VM_CREATE, &r, sizeof(r), NULL, 0, NULL, 0), CUDA_SUCCESS);
	return r.physical;
}

static uint64_t reserve(uint64_t size)
{
	struct record_vm_reserve r = { .size = size };
	struct reply_vm_reserve reply;

	assert_int_equal(fixture_call(f, OPCODE_VM_RESERVE, &r, sizeof(r), NULL, 0, &reply, sizeof(reply)),
			 CUDA_SUCCESS);
	return reply.address;
}

static void show(uint64_t p, uint64_t address, uint64_t size, uint64_t offset, uint32_t access)
{
	struct record_vm_map m = { .physical = p, .address = address, .size = size, .offset = offset };
	struct record_vm_access a = { .address = address, .size = size, .access = access };

	assert_int_equal(fixture_call(f, OPCODE_VM_MAP, &m, sizeof(m), NULL, 0, NULL, 0), CUDA_SUCCESS);
	if (access != VM_ACCESS_NONE)
		assert_int_equal(fixture_call(f, OPCODE_VM_ACCESS, &a, sizeof(a), NULL, 0, NULL, 0),
				 CUDA_SUCCESS);
}

static void all_kinds_go_and_come_back(void **state)
{
	uint64_t small[3], large, at, p, q, held, shown;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		small[i] = fixture_alloc(f, 1000);
	large = fixture_alloc(f, 3 * GRAIN + 5);
	at = reserve(8 * GRAIN);
	p = physical(1, 2 * GRAIN);
	q = physical(2, GRAIN); // mapped nowhere
	show(p, at, 2 * GRAIN, 0, VM_ACCESS_READ_WRITE);
	show(p, at + 2 * GRAIN, GRAIN, GRAIN, VM_ACCESS_READ);
	show(p, at + 4 * GRAIN, GRAIN, 0, VM_ACCESS_NONE);
	held = atomic_load(&page->memory_bytes);
	shown = fake.shown;
	assert_int_equal(held, GRAIN + 4 * GRAIN + 2 * GRAIN + GRAIN);

	ask(false);
	assert_true(answered());
	assert_int_equal(parked(), held);
	assert_int_equal(fake.mapped, 0);
	assert_int_equal(fake.physical, 0);
	assert_int_equal(fake.shown, 0);
	// The tenant's books do not change, and it still has its addresses.
	assert_int_equal(atomic_load(&page->memory_bytes), held);
	assert_int_equal(atomic_load(&tenant->memory_used), held);

	assert_int_equal(ping(), CUDA_SUCCESS); // the fake checks whose contents come back
	assert_int_equal(parked(), 0);
	assert_int_equal(fake.mapped + fake.physical, held);
	assert_int_equal(fake.shown, shown);
	for (unsigned i = 0; i < 3; i++)
		assert_true(memory_contains(&f->x.memory, small[i], 1000, VM_ACCESS_READ_WRITE));
	assert_true(memory_contains(&f->x.memory, large, 3 * GRAIN + 5, VM_ACCESS_READ_WRITE));
	assert_false(memory_contains(&f->x.memory, at + 2 * GRAIN, 1, VM_ACCESS_READ_WRITE));
	(void)q;
}

static void graphs_look_again_when_it_is_back(void **state)
{
	uint64_t before = f->x.gone;

	(void)state;
	fixture_alloc(f, GRAIN);
	ask(false);
	assert_int_equal(ping(), CUDA_SUCCESS);
	assert_true(f->x.gone > before);
}

static uint64_t shared_address;
static bool is_the_shared_one(void *opaque, uint64_t address)
{
	(void)opaque;
	return address == shared_address;
}

static void memory_that_others_have_stays(void **state)
{
	uint64_t mine = fixture_alloc(f, GRAIN);
	struct physical *p;

	(void)state;
	shared_address = fixture_alloc(f, 2 * GRAIN);
	f->x.memory.is_shared = is_the_shared_one;
	p = handle_get(&f->x, HANDLE_PHYSICAL, physical(1, GRAIN));
	p->share.kind = SHARE_OWNED;
	ask(false);
	assert_true(answered() && mine);
	assert_int_equal(parked(), GRAIN);
	assert_int_equal(fake.mapped, 2 * GRAIN);
	assert_int_equal(fake.physical, GRAIN);
	p->share.kind = SHARE_NONE;
}

static void nothing_goes_while_work_is_in_flight(void **state)
{
	(void)state;
	fixture_alloc(f, GRAIN);
	fake.async = true;
	fence(1);
	fixture_run(f);
	ask(false);
	assert_true(answered());
	assert_int_equal(parked(), 0);
	fake_step(100);
	fixture_run(f);
	assert_int_equal(fence_seen(), 1);
	ask(false);
	assert_int_equal(parked(), GRAIN);
}

// Urgently; what it has in flight is waited for.
static void ask_one_at_work(void)
{
	fixture_alloc(f, GRAIN);
	fake.async = true;
	fence(1);
	fixture_run(f);
	ask(true);
	assert_false(answered());
}

static void urgent_it_comes_to_rest_first(void **state)
{
	(void)state;
	ask_one_at_work();
	fence(2); // is not taken
	fixture_run(f);
	assert_int_equal(track_in_flight(&f->x.track), 1);
	fake.capacity = GRAIN / 2; // and cannot come back at once
	fake_step(100);
	fixture_run(f);
	assert_true(answered());
	assert_int_equal(fence_seen(), 1);
	assert_int_equal(parked(), GRAIN);
	assert_int_equal(atomic_load(&page->demand), 0); // it wants no turn that it could not use
	fake.capacity = 0;
	atomic_store(&page->room_answer, atomic_load(&page->room_ask));
	fixture_run(f);
	fake_step(100);
	fixture_run(f);
	assert_int_equal(fence_seen(), 2);
	assert_int_equal(parked(), 0);
}

static void urgent_it_does_not_wait_for_ever(void **state)
{
	(void)state;
	ask_one_at_work();
	f->now_ns += PARK_DRAIN_NS;
	fixture_run(f);
	assert_true(answered());
	assert_int_equal(parked(), 0);
}

static void without_room_it_asks_and_serves_nothing(void **state)
{
	uint64_t before;

	(void)state;
	fixture_alloc(f, GRAIN);
	fixture_alloc(f, 2 * GRAIN);
	ask(false);
	fake.capacity = 2 * GRAIN; // for a part of it only
	push_ping();
	room(); // somebody was faster
	assert_int_equal(result(), -1);
	assert_int_equal(atomic_load(&page->room_ask), 2);
	assert_int_equal(atomic_load(&page->room_back), 1);
	assert_int_equal(atomic_load(&page->room_bytes), 3 * GRAIN);
	assert_int_equal(fake.mapped, 0); // what it got it gave back: nobody holds a part and waits
	assert_int_equal(parked(), 3 * GRAIN);
	// An answer without room: it asks again.
	before = atomic_load(&page->room_ask);
	atomic_store(&page->room_answer, before);
	fixture_run(f);
	assert_int_equal(atomic_load(&page->room_ask), before + 1);
	fake.capacity = 3 * GRAIN;
	atomic_store(&page->room_answer, before + 1);
	fixture_run(f);
	assert_int_equal(result(), CUDA_SUCCESS);
	assert_int_equal(atomic_load(&page->room_bytes), 0);
	assert_int_equal(parked(), 0);
	assert_int_equal(fake.mapped, 3 * GRAIN);
}

static void what_cannot_go_stays_and_nothing_is_lost(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		fixture_alloc(f, 2 * GRAIN);
	fake.refuse_park = 3;
	ask(false);
	assert_true(answered());
	assert_int_equal(parked(), 4 * GRAIN);
	assert_int_equal(fake.mapped, 4 * GRAIN);
	ask(false); // the rest
	assert_int_equal(parked(), 8 * GRAIN);
	assert_int_equal(ping(), CUDA_SUCCESS);
	assert_int_equal(fake.mapped, 8 * GRAIN);
}

static void mappings_of_memory_that_stays_are_shown_again(void **state)
{
	uint64_t at, p, q;

	(void)state;
	at = reserve(4 * GRAIN);
	p = physical(1, GRAIN);
	q = physical(2, GRAIN);
	show(p, at, GRAIN, 0, VM_ACCESS_READ_WRITE);
	show(q, at + GRAIN, GRAIN, 0, VM_ACCESS_READ_WRITE);
	fake.refuse_park = 2;
	ask(false);
	assert_int_equal(parked(), GRAIN);
	assert_int_equal(fake.shown, GRAIN);
	assert_int_equal(ping(), CUDA_SUCCESS);
	assert_int_equal(fake.shown, 2 * GRAIN);
}

static void push_alloc(uint64_t size)
{
	struct record_mem_alloc r = { .size = size };

	fixture_push(f, OPCODE_MEM_ALLOC, 0, &r, sizeof(r), NULL, 0);
	fixture_run(f);
}

static void an_allocation_without_room_asks_once(void **state)
{
	(void)state;
	fake.capacity = 2 * GRAIN;
	fixture_alloc(f, 2 * GRAIN);
	push_alloc(4 * GRAIN);
	assert_int_equal(result(), -1);
	assert_int_equal(atomic_load(&page->room_bytes), 4 * GRAIN);
	assert_int_equal(atomic_load(&page->room_back), 0);
	assert_int_equal(atomic_load(&tenant->memory_used), 2 * GRAIN);
	fake.capacity = 6 * GRAIN;
	atomic_store(&page->room_answer, 1);
	fixture_run(f);
	assert_int_equal(result(), CUDA_SUCCESS);
	assert_int_equal(atomic_load(&page->room_bytes), 0);
	// And when there is none after all, that is the answer.
	push_alloc(4 * GRAIN);
	assert_int_equal(result(), -1);
	atomic_store(&page->room_answer, 2);
	fixture_run(f);
	assert_int_equal(result(), CUDA_ERROR_OUT_OF_MEMORY);
	assert_int_equal(atomic_load(&page->room_ask), 2);
	assert_int_equal(atomic_load(&tenant->memory_used), 6 * GRAIN);
}

static void an_allocation_that_nobody_answers_fails(void **state)
{
	(void)state;
	fake.capacity = GRAIN;
	push_alloc(4 * GRAIN);
	assert_int_equal(result(), -1);
	f->now_ns += PARK_ROOM_NS;
	fixture_run(f);
	assert_int_equal(result(), CUDA_ERROR_OUT_OF_MEMORY);
}

static void a_quota_is_no_reason_to_ask(void **state)
{
	(void)state;
	atomic_store(&tenant->memory_quota, GRAIN);
	push_alloc(4 * GRAIN);
	assert_int_equal(result(), CUDA_ERROR_OUT_OF_MEMORY);
	assert_int_equal(atomic_load(&page->room_ask), 0);
}

static void a_lease_is_kept(void **state)
{
	(void)state;
	atomic_store(&page->lease, 3 * GRAIN);
	assert_true(fixture_alloc(f, 2 * GRAIN) != 0);
	push_alloc(2 * GRAIN);
	assert_int_equal(result(), -1);
	assert_int_equal(fake.mapped, 2 * GRAIN);
	atomic_store(&page->lease, 4 * GRAIN);
	atomic_store(&page->room_answer, 1);
	fixture_run(f);
	assert_int_equal(result(), CUDA_SUCCESS);
	// Memory without an address is under it as well, and so is coming back.
	ask(false);
	assert_int_equal(parked(), 4 * GRAIN);
	atomic_store(&page->lease, 1);
	push_alloc(GRAIN);
	assert_int_equal(result(), -1);
	assert_int_equal(atomic_load(&page->room_bytes), 4 * GRAIN);
	assert_int_equal(fake.mapped, 0);
	atomic_store(&page->lease, 5 * GRAIN);
	atomic_store(&page->room_answer, 2);
	fixture_run(f);
	assert_int_equal(result(), CUDA_SUCCESS);
	assert_int_equal(fake.mapped, 5 * GRAIN);
}

static void parked_it_can_be_reset_and_ended(void **state)
{
	struct record_context_reset r = {};

	(void)state;
	fixture_alloc(f, 3 * GRAIN);
	show(physical(1, GRAIN), reserve(GRAIN), GRAIN, 0, VM_ACCESS_READ);
	ask(false);
	fixture_push(f, OPCODE_CONTEXT_RESET, 0, &r, sizeof(r), NULL, 0);
	fixture_run(f);
	room();
	assert_int_equal(result(), CUDA_SUCCESS);
	assert_int_equal(parked(), 0);
	assert_int_equal(fake.mapped + fake.physical + fake.shown, 0);
	assert_int_equal(fixture_activate(f), CUDA_SUCCESS);
	fixture_alloc(f, 3 * GRAIN);
	ask(false);
	assert_int_equal(parked(), 3 * GRAIN); // and so it ends, in teardown
}

static void a_context_that_fails_while_parked_says_so(void **state)
{
	(void)state;
	fixture_alloc(f, GRAIN);
	ask(false);
	fake.error = CUDA_ERROR_ECC_UNCORRECTABLE;
	fixture_run(f);
	fake.error = 0;
	push_alloc(GRAIN);
	assert_int_equal(result(), CUDA_ERROR_ECC_UNCORRECTABLE);
	ask(true);
	assert_true(answered());
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(all_kinds_go_and_come_back),
		TEST(graphs_look_again_when_it_is_back),
		TEST(memory_that_others_have_stays),
		TEST(nothing_goes_while_work_is_in_flight),
		TEST(urgent_it_comes_to_rest_first),
		TEST(urgent_it_does_not_wait_for_ever),
		TEST(without_room_it_asks_and_serves_nothing),
		TEST(what_cannot_go_stays_and_nothing_is_lost),
		TEST(mappings_of_memory_that_stays_are_shown_again),
		TEST(an_allocation_without_room_asks_once),
		TEST(an_allocation_that_nobody_answers_fails),
		TEST(a_quota_is_no_reason_to_ask),
		TEST(a_lease_is_kept),
		TEST(parked_it_can_be_reset_and_ended),
		TEST(a_context_that_fails_while_parked_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
