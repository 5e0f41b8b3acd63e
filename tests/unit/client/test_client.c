// SPDX-License-Identifier: Apache-2.0
// The client against a fake host: opening, ring order and wrapping, replies of many threads, fences, the
// arena's reuse, pinned memory and adoption in place, and what happens when the host goes away.
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/limits.h"
#include "guest/client/calls_gen.h"
#include "guest/client/client.h"
#include "protocol/cuda/cuda_abi.h"
#include "tests/unit/client/fake_host.h"

struct fixture {
	struct fake_host host;
	struct vgpu_client *client;
};

static int setup_with_ring(void **state, uint32_t ring_bytes)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_host_start(&f->host, ring_bytes);
	if (vgpu_client_open(f->host.path, &f->client) < 0) {
		fprintf(stderr, "%s\n", vgpu_client_open_error());
		return -1;
	}
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_with_ring(state, 0);
}

static int setup_small_ring(void **state)
{
	return setup_with_ring(state, 1 << 17);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vgpu_client_close(f->client);
	fake_host_stop(&f->host);
	free(f);
	return 0;
}

static int ping(struct vgpu_client *c, uint64_t value, uint64_t *ret)
{
	struct record_ping in = { value };
	struct reply_ping out = { 0 };
	int r = vgpu_call_ping(c, &in, &out);

	*ret = out.value;
	return r;
}

static void a_call_gets_its_own_answer(void **state)
{
	struct fixture *f = *state;
	uint64_t got;

	for (uint64_t i = 1; i < 1000; i++) {
		assert_int_equal(ping(f->client, i * 7, &got), 0);
		assert_int_equal(got, i * 7);
	}
}

static void an_unknown_call_gives_the_hosts_code(void **state)
{
	struct fixture *f = *state;
	struct reply_mem_info info;

	assert_int_equal(vgpu_call_mem_info(f->client, &info), 801);
}

struct pinger {
	struct vgpu_client *client;
	uint64_t seed, wrong;
};

static void *ping_a_lot(void *opaque)
{
	struct pinger *p = opaque;

	for (uint64_t i = 0; i < 500; i++) {
		uint64_t got;

		if (ping(p->client, p->seed + i, &got) || got != p->seed + i)
			p->wrong++;
	}
	return NULL;
}

static void threads_do_not_mix_answers(void **state)
{
	struct fixture *f = *state;
	struct pinger p[8];
	pthread_t threads[8];

	for (unsigned i = 0; i < 8; i++) {
		p[i] = (struct pinger){ f->client, (uint64_t)i << 32, 0 };
		pthread_create(&threads[i], NULL, ping_a_lot, &p[i]);
	}
	for (unsigned i = 0; i < 8; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(p[i].wrong, 0);
	}
}

static void records_wrap_with_pads_and_none_is_lost(void **state)
{
	struct fixture *f = *state;
	uint8_t tail[16384];
	uint64_t got, sent = 0;

	memset(tail, 0x5a, sizeof(tail));
	for (uint32_t i = 0; i < 400; i++) {
		struct record_write w = { .size = 1 + (i * 4099) % 16384 };

		assert_int_equal(vgpu_push_write(f->client, &w, tail, w.size), 0);
		sent++;
	}
	assert_int_equal(ping(f->client, 1, &got), 0);
	assert_int_equal(atomic_load(&f->host.records), sent + 1);
	assert_true(atomic_load(&f->host.pads) > 2);
}

static void a_full_ring_waits_for_the_host(void **state)
{
	struct fixture *f = *state;
	uint8_t tail[16384] = { 0 };
	uint64_t got;

	atomic_store(&f->host.hold, true);
	for (int i = 0; i < 7; i++) { // 112 KiB of 128
		struct record_write w = { .size = sizeof(tail) - 64 };

		assert_int_equal(vgpu_push_write(f->client, &w, tail, w.size), 0);
	}
	assert_int_equal(atomic_load(&f->host.records), 0);
	atomic_store(&f->host.hold, false);
	for (int i = 0; i < 20; i++) {
		struct record_write w = { .size = sizeof(tail) };

		assert_int_equal(vgpu_push_write(f->client, &w, tail, w.size), 0);
	}
	assert_int_equal(ping(f->client, 3, &got), 0);
	assert_int_equal(atomic_load(&f->host.records), 28);
}

static void a_fence_is_waited_for_and_times_out(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = vgpu_slot_get(f->client);
	struct record_fence r = { .stream = 0, .value = 5, .slot = slot };

	assert_int_not_equal(slot, UINT32_MAX);
	assert_int_equal(vgpu_slot_wait(f->client, slot, 5, 20 * NSEC_PER_MSEC), -ETIMEDOUT);
	assert_int_equal(vgpu_push_fence(f->client, &r), 0);
	assert_int_equal(vgpu_slot_wait(f->client, slot, 5, UINT64_MAX), 0);
	assert_int_equal(vgpu_slot_read(f->client, slot), 5);
	vgpu_slot_put(f->client, slot);
	assert_int_equal(vgpu_slot_get(f->client), slot);
	assert_int_equal(vgpu_slot_read(f->client, slot), 0);
}

static void arena_pieces_come_back_only_after_their_fence(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = vgpu_slot_get(f->client);
	struct vgpu_chunk chunks[3];
	uint64_t value = 0;

	for (int i = 0; i < 2; i++) { // 8 MiB: the whole arena
		assert_int_equal(vgpu_arena_get(f->client, VGPU_CHUNK_MAX, &chunks[i]), 0);
		memset(chunks[i].address, i + 1, chunks[i].bytes);
	}
	for (int i = 0; i < 2; i++) {
		struct record_fence r = { .value = ++value, .slot = slot };

		vgpu_arena_put(f->client, &chunks[i], slot, value);
		assert_int_equal(vgpu_push_fence(f->client, &r), 0);
	}
	assert_int_equal(vgpu_arena_get(f->client, VGPU_CHUNK_MAX, &chunks[2]), 0);
	assert_true(vgpu_slot_read(f->client, slot) >= 1);
	vgpu_arena_put(f->client, &chunks[2], UINT32_MAX, 0);
	assert_int_equal(vgpu_arena_get(f->client, VGPU_CHUNK_MAX + 1, &chunks[0]), -EINVAL);
}

static void many_small_arena_pieces_never_overlap(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = vgpu_slot_get(f->client);
	uint64_t value = 0;

	for (int i = 0; i < 20000; i++) {
		struct vgpu_chunk a, b;
		struct record_fence r = { .value = ++value, .slot = slot };

		assert_int_equal(vgpu_arena_get(f->client, 1 + (unsigned)(i * 37) % 9000, &a), 0);
		assert_int_equal(vgpu_arena_get(f->client, 1 + (unsigned)(i * 91) % 5000, &b), 0);
		assert_true((uint8_t *)a.address + a.bytes <= (uint8_t *)b.address ||
			    (uint8_t *)b.address + b.bytes <= (uint8_t *)a.address);
		vgpu_arena_put(f->client, &b, UINT32_MAX, 0);
		vgpu_arena_put(f->client, &a, slot, value);
		assert_int_equal(vgpu_push_fence(f->client, &r), 0);
	}
}

static void window_pieces_are_distinct_and_reused(void **state)
{
	struct fixture *f = *state;
	uint8_t *p[64];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 64; i++) {
			p[i] = vgpu_window_alloc(f->client, 4096u * (unsigned)(1 + i % 5));
			assert_non_null(p[i]);
			assert_true((uintptr_t)p[i] >= VGPU_HOST_WINDOW_BASE + VGPU_MIB(8));
			for (int k = 0; k < i; k++)
				assert_ptr_not_equal(p[k], p[i]);
			memset(p[i], i, 4096u * (unsigned)(1 + i % 5));
		}
		for (int i = 0; i < 64; i++)
			vgpu_window_free(f->client, p[(i * 29) % 64],
					 4096u * (unsigned)(1 + ((i * 29) % 64) % 5));
	}
	// All holes joined again: one piece of nearly the whole window fits.
	p[0] = vgpu_window_alloc(f->client, VGPU_MIB(240));
	assert_non_null(p[0]);
	assert_null(vgpu_window_alloc(f->client, VGPU_MIB(240)));
	vgpu_window_free(f->client, p[0], VGPU_MIB(240));
}

static void adopted_memory_keeps_address_and_contents(void **state)
{
	struct fixture *f = *state;
	size_t bytes = 16 * 4096;
	uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *seen;
	uint64_t offset;

	for (size_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)(i * 31);
	assert_int_equal(vgpu_window_adopt(f->client, p, bytes, &offset), 0);
	seen = (uint8_t *)(uintptr_t)vgpu_client_window_base(f->client) + offset;
	for (size_t i = 0; i < bytes; i++) {
		assert_int_equal(p[i], (uint8_t)(i * 31));
		assert_int_equal(seen[i], (uint8_t)(i * 31));
	}
	seen[5] = 99; // as the GPU would
	assert_int_equal(p[5], 99);
	assert_int_equal(vgpu_window_adopt(f->client, p, bytes, &offset), -EOPNOTSUPP);
	offset = (uint64_t)(seen - (uint8_t *)(uintptr_t)vgpu_client_window_base(f->client));
	assert_int_equal(vgpu_window_release(f->client, p, bytes, offset), 0);
	assert_int_equal(p[5], 99);
	assert_int_equal(p[6], (uint8_t)(6 * 31));
	munmap(p, bytes);
	assert_int_equal(vgpu_window_adopt(f->client, p, bytes, &offset), -EFAULT);
}

static void a_child_does_not_share_adopted_memory(void **state)
{
	struct fixture *f = *state;
	uint8_t *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t offset;
	int status;
	pid_t child;

	p[0] = 1;
	assert_int_equal(vgpu_window_adopt(f->client, p, 4096, &offset), 0);
	child = fork();
	if (child == 0) {
		vgpu_client_forget(f->client);
		p[0] = 2;
		_exit(p[0] == 2 ? 0 : 1);
	}
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(p[0], 1);
	assert_int_equal(vgpu_window_release(f->client, p, 4096, offset), 0);
	munmap(p, 4096);
}

static void a_hang_up_ends_waits_and_calls(void **state)
{
	struct fixture *f = *state;
	uint64_t start, got;

	assert_int_equal(ping(f->client, 1, &got), 0);
	atomic_store(&f->host.mute, true);
	fake_host_hang_up(&f->host);
	start = clock_now_ns();
	assert_int_equal(ping(f->client, 2, &got), CUDA_ERROR_DEVICE_UNAVAILABLE);
	assert_true(clock_now_ns() - start < NSEC_PER_SEC);
	assert_int_equal(vgpu_slot_wait(f->client, 0, 1, UINT64_MAX), CUDA_ERROR_DEVICE_UNAVAILABLE);
	assert_int_equal(vgpu_client_push(f->client, OPCODE_PING, &got, 8, NULL, 0),
			 CUDA_ERROR_DEVICE_UNAVAILABLE);
}

static void a_watchdog_loss_is_a_launch_timeout(void **state)
{
	struct fixture *f = *state;
	uint64_t got;

	atomic_store(&f->host.mute, true);
	fake_host_send_lost(&f->host, LINK_E_WATCHDOG);
	assert_int_equal(ping(f->client, 2, &got), CUDA_ERROR_LAUNCH_TIMEOUT);
	assert_int_equal(vgpu_client_lost(f->client), CUDA_ERROR_LAUNCH_TIMEOUT);
	assert_int_equal(vgpu_client_sticky(f->client), CUDA_ERROR_LAUNCH_TIMEOUT);
}

static void a_program_that_only_polls_learns_of_a_loss(void **state)
{
	struct fixture *f = *state;
	uint64_t value = 1;

	atomic_store(&f->host.hold, true);
	assert_int_equal(vgpu_client_push(f->client, OPCODE_PING, &value, 8, NULL, 0), 0);
	fake_host_send_lost(&f->host, LINK_E_QUARANTINED);
	assert_false(vgpu_client_caught_up(f->client, 0));
	assert_int_equal(vgpu_client_look(f->client), CUDA_ERROR_DEVICE_UNAVAILABLE);
	assert_int_equal(vgpu_client_lost(f->client), CUDA_ERROR_DEVICE_UNAVAILABLE);
}

static void a_refused_channel_says_why(void **state)
{
	struct fake_host host = { .refuse_code = LINK_E_LIMIT };
	struct vgpu_client *c = NULL;

	(void)state;
	fake_host_start(&host, 0);
	assert_int_equal(vgpu_client_open(host.path, &c), -ECONNREFUSED);
	assert_string_equal(vgpu_client_open_error(), "no channel for you");
	assert_null(c);
	fake_host_stop(&host);
	assert_true(vgpu_client_open("/nowhere/at/all", &c) < 0);
	assert_non_null(strstr(vgpu_client_open_error(), "/nowhere/at/all"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_call_gets_its_own_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(an_unknown_call_gives_the_hosts_code, setup, teardown),
		cmocka_unit_test_setup_teardown(threads_do_not_mix_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(records_wrap_with_pads_and_none_is_lost, setup_small_ring,
						teardown),
		cmocka_unit_test_setup_teardown(a_full_ring_waits_for_the_host, setup_small_ring, teardown),
		cmocka_unit_test_setup_teardown(a_fence_is_waited_for_and_times_out, setup, teardown),
		cmocka_unit_test_setup_teardown(arena_pieces_come_back_only_after_their_fence, setup,
						teardown),
		cmocka_unit_test_setup_teardown(many_small_arena_pieces_never_overlap, setup, teardown),
		cmocka_unit_test_setup_teardown(window_pieces_are_distinct_and_reused, setup, teardown),
		cmocka_unit_test_setup_teardown(adopted_memory_keeps_address_and_contents, setup, teardown),
		cmocka_unit_test_setup_teardown(a_child_does_not_share_adopted_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(a_hang_up_ends_waits_and_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(a_watchdog_loss_is_a_launch_timeout, setup, teardown),
		cmocka_unit_test_setup_teardown(a_program_that_only_polls_learns_of_a_loss, setup, teardown),
		cmocka_unit_test(a_refused_channel_says_why),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
