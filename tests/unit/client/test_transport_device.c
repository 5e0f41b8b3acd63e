// SPDX-License-Identifier: Apache-2.0
// The client over the virtual GPU's driver, here a fake one: when it is chosen, calls and waits, memory that
// is mapped in place, the end of the channel, a forked child, questions about the device.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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
#include "guest/client/device_state.h"
#include "protocol/cuda/cuda_abi.h"
#include "protocol/guest/vgpu_ioctl.h"
#include "protocol/guest/vgpu_pci.h"
#include "tests/unit/client/fake_device.h"

struct fixture {
	struct fake_device device;
	struct vgpu_client *client;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	unsetenv(LINK_SOCKET_ENV);
	fake_device_start(&f->device);
	*state = f;
	return vgpu_client_open(NULL, &f->client);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vgpu_client_close(f->client);
	fake_device_stop(&f->device);
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

static void calls_are_answered_and_the_doorbell_is_a_store(void **state)
{
	struct fixture *f = *state;
	uint64_t got;

	assert_int_equal(vgpu_client_tenant(f->client), 9);
	for (uint64_t i = 1; i < 300; i++) {
		if (i % 100 == 0)
			usleep(20000); // the host falls asleep
		assert_int_equal(ping(f->client, i * 7, &got), 0);
		assert_int_equal(got, i * 7);
	}
	assert_int_equal(atomic_load(f->device.doorbell), 1);
	assert_int_equal(atomic_load(&f->device.host.doorbells), 0);
}

static void a_wait_sleeps_in_the_driver(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = vgpu_slot_get(f->client);
	struct record_fence r = { .value = 5, .slot = slot };

	assert_int_equal(vgpu_slot_wait(f->client, slot, 5, 20 * NSEC_PER_MSEC), -ETIMEDOUT);
	assert_int_equal(vgpu_push_fence(f->client, &r), 0);
	assert_int_equal(vgpu_slot_wait(f->client, slot, 5, UINT64_MAX), 0);
}

static void arena_bytes_are_the_drivers(void **state)
{
	struct fixture *f = *state;
	struct vgpu_chunk chunk;
	char seen[6] = { 0 };

	assert_int_equal(vgpu_arena_get(f->client, 4096, &chunk), 0);
	memcpy(chunk.address, "hello", 6);
	assert_int_equal(
	    pread(f->device.window_fd, seen, 6, (off_t)((uintptr_t)chunk.address - VGPU_HOST_WINDOW_BASE)),
	    6);
	assert_string_equal(seen, "hello");
	vgpu_arena_put(f->client, &chunk, UINT32_MAX, 0);
}

static void pinned_memory_is_mapped_at_its_window_address(void **state)
{
	struct fixture *f = *state;
	uint8_t *p = vgpu_window_alloc(f->client, 3 * VGPU_MIB(1) + 5);
	uint64_t whole = 3 * VGPU_MIB(1) + 4096;

	assert_non_null(p);
	assert_true((uintptr_t)p >= VGPU_HOST_WINDOW_BASE + VGPU_MIB(8));
	assert_int_equal(f->device.n_maps, 1);
	assert_int_equal(f->device.map[0].address, (uintptr_t)p);
	assert_int_equal(f->device.map[0].bytes, whole);
	memset(p, 1, whole);
	vgpu_window_free(f->client, p, 3 * VGPU_MIB(1) + 5);
	assert_int_equal(f->device.n_maps, 0);
	// The address is nobody's again, and still reserved.
	assert_int_equal(read(f->device.window_fd, p, 1), -1);
	assert_int_equal(errno, EFAULT);
	assert_ptr_equal(mmap(p, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
			 MAP_FAILED);
}

static void pinned_memory_that_cannot_be_mapped_is_refused(void **state)
{
	struct fixture *f = *state;
	void *p;

	f->device.map_error = ENOMEM;
	assert_null(vgpu_window_alloc(f->client, 65536));
	f->device.map_error = 0;
	p = vgpu_window_alloc(f->client, VGPU_MIB(240)); // nothing of the window was lost
	assert_non_null(p);
	vgpu_window_free(f->client, p, VGPU_MIB(240));
}

static void program_memory_stays_where_and_what_it_is(void **state)
{
	struct fixture *f = *state;
	uint8_t *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t offset = 77;

	memset(p, 5, 8192);
	assert_int_equal(vgpu_window_adopt(f->client, p, 8192, &offset), 0);
	assert_int_equal(offset, 0);
	assert_int_equal(f->device.map[0].address, (uintptr_t)p);
	assert_int_equal(p[8191], 5);
	assert_int_equal(vgpu_window_release(f->client, p, 8192, offset), 0);
	assert_int_equal(f->device.n_maps, 0);
	assert_int_equal(p[8191], 5);
	f->device.map_error = EFAULT;
	assert_int_equal(vgpu_window_adopt(f->client, p, 8192, &offset), -EFAULT);
	f->device.map_error = E2BIG;
	assert_int_equal(vgpu_window_adopt(f->client, p, 8192, &offset), -ENOMEM);
	assert_int_equal(vgpu_window_adopt(f->client, p + 1, 8192, &offset), -EINVAL);
	munmap(p, 8192);
}

static void the_end_of_the_channel_ends_waits_and_calls(void **state)
{
	struct fixture *f = *state;
	uint64_t got;

	atomic_store(&f->device.host.mute, true);
	atomic_store(&f->device.ended, 1 + LINK_E_WATCHDOG);
	assert_int_equal(ping(f->client, 2, &got), CUDA_ERROR_LAUNCH_TIMEOUT);
	assert_int_equal(vgpu_slot_wait(f->client, 0, 1, UINT64_MAX), CUDA_ERROR_LAUNCH_TIMEOUT);
}

static void a_driver_that_refuses_to_wait_ends_the_channel(void **state)
{
	struct fixture *f = *state;
	uint64_t got;
	int fd = f->device.fd;

	atomic_store(&f->device.host.mute, true);
	f->device.fd = -1; // the file is one of another kind now: ENOTTY
	assert_int_equal(ping(f->client, 2, &got), CUDA_ERROR_DEVICE_UNAVAILABLE);
	f->device.fd = fd;
}

static void a_child_forgets_the_channel_and_the_parent_goes_on(void **state)
{
	struct fixture *f = *state;
	uint64_t got;
	int status;
	pid_t child = fork();

	if (!child) {
		int fd = f->device.fd;

		vgpu_client_forget(f->client);
		_exit(fcntl(fd, F_GETFD) < 0 ? 0 : 1);
	}
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(ping(f->client, 3, &got), 0);
}

// ---- which way is taken

static void a_socket_that_is_named_is_taken(void **state)
{
	struct fake_device d = { 0 };
	struct vgpu_client *c;

	(void)state;
	fake_device_start(&d);
	assert_int_equal(vgpu_client_open(d.host.path, &c), 0);
	assert_int_equal(vgpu_client_tenant(c), 7);
	assert_int_equal(d.fd, -1);
	vgpu_client_close(c);
	fake_device_stop(&d);

	d = (struct fake_device){ 0 };
	fake_device_start(&d);
	setenv(LINK_SOCKET_ENV, d.host.path, 1);
	assert_int_equal(vgpu_client_open(NULL, &c), 0);
	assert_int_equal(vgpu_client_tenant(c), 7);
	unsetenv(LINK_SOCKET_ENV);
	vgpu_client_close(c);
	fake_device_stop(&d);
}

static void without_a_device_the_default_socket_is_tried(void **state)
{
	struct fake_device d = { .open_error = ENOENT };
	struct vgpu_client *c;

	(void)state;
	if (access(LINK_SOCKET_DEFAULT, F_OK) == 0)
		skip(); // a mediator runs on this machine
	fake_device_start(&d);
	assert_true(vgpu_client_open(NULL, &c) < 0);
	assert_non_null(strstr(vgpu_client_open_error(), LINK_SOCKET_DEFAULT));
	// A device that is there but not for this user is what is wrong.
	d.open_error = EACCES;
	assert_true(vgpu_client_open(NULL, &c) < 0);
	assert_non_null(strstr(vgpu_client_open_error(), "/dev/vgpu0"));
	fake_device_stop(&d);
}

static void open_and_close(struct fake_device *d, int (*open)(const char *, struct vgpu_client **))
{
	struct vgpu_client *c;

	fake_device_start(d);
	assert_int_equal(open(NULL, &c), 0);
	vgpu_client_close(c);
	fake_device_stop(d);
}

static void the_library_is_told_where_the_driver_takes_it(void **state)
{
	struct fake_device cuda = { 0 }, ours = { 0 }, old = { .knows_no_library = true, .library = 7 };

	(void)state;
	open_and_close(&cuda, vgpu_client_open);
	assert_int_equal(cuda.library, VGPU_LIBRARY_CUDA);
	open_and_close(&ours, vgpu_client_open_apart);
	assert_int_equal(ours.library, VGPU_LIBRARY_VGPU);
	open_and_close(&old, vgpu_client_open);
	assert_int_equal(old.library, 0);
}

static void what_the_device_refuses_is_refused(void **state)
{
	struct fake_device d = { .channel_error = EIO, .refusal = VGPU_RESULT_NOT_SHARED };
	struct vgpu_client *c;

	(void)state;
	fake_device_start(&d);
	assert_int_equal(vgpu_client_open(NULL, &c), -ECONNREFUSED);
	assert_non_null(strstr(vgpu_client_open_error(), "not shared"));
	assert_int_equal(vgpu_client_open_result(), CUDA_ERROR_NO_DEVICE);
	d.fd = -1;
	d.refusal = VGPU_RESULT_QUARANTINED;
	assert_int_equal(vgpu_client_open(NULL, &c), -ECONNREFUSED);
	assert_non_null(strstr(vgpu_client_open_error(), "quarantine"));
	assert_int_equal(vgpu_client_open_result(), CUDA_ERROR_DEVICE_UNAVAILABLE);
	d.fd = -1;
	d.refusal = VGPU_RESULT_DEVICE_LOST;
	assert_int_equal(vgpu_client_open(NULL, &c), -ECONNREFUSED);
	assert_int_equal(vgpu_client_open_result(), CUDA_ERROR_DEVICE_UNAVAILABLE);
	d.fd = -1;
	d.refusal = VGPU_RESULT_DRAINING;
	assert_int_equal(vgpu_client_open(NULL, &c), -ECONNREFUSED);
	assert_non_null(strstr(vgpu_client_open_error(), "drained"));
	assert_int_equal(vgpu_client_open_result(), CUDA_ERROR_SYSTEM_NOT_READY);
	d.fd = -1;
	d.refusal = VGPU_RESULT_PROTOCOL;
	assert_int_equal(vgpu_client_open(NULL, &c), -ECONNREFUSED);
	assert_non_null(strstr(vgpu_client_open_error(), "protocol"));
	assert_int_equal(vgpu_client_open_result(), CUDA_ERROR_NO_DEVICE);
	d.channel_error = EMFILE;
	d.fd = -1;
	assert_int_equal(vgpu_client_open(NULL, &c), -EMFILE);
	assert_int_equal(vgpu_client_open_result(), CUDA_ERROR_NO_DEVICE);
	d.channel_error = 0;
	d.fd = -1;
	d.host.geometry.ring_bytes = 12345;
	assert_int_equal(vgpu_client_open(NULL, &c), -EPROTO);
	fake_device_stop(&d);
}

// ---- questions

static void the_drivers_answer_is_taken_apart(void **state)
{
	struct fake_device d = { 0 };
	struct {
		struct link_device_state state;
		struct link_device_rows rows;
	} answer = { .state = { .header = { LINK_MAGIC, LINK_DEVICE_STATE, 0, sizeof(answer.state), 1 },
				.state = { .backend = "fake" } },
		     .rows = { .header = { LINK_MAGIC, LINK_DEVICE_ROWS, 0,
					   offsetof(struct link_device_rows, process[2]), 1 },
			       .n = 2 } };
	struct device_process got[4];
	struct device_state s;
	struct vgpu_device *device;
	uint32_t n = 0;

	(void)state;
	fake_device_start(&d);
	d.answer = &answer;
	d.answer_bytes = (uint32_t)sizeof(answer.state) + answer.rows.header.length;
	assert_int_equal(vgpu_device_open(NULL, &device), 0);
	assert_int_equal(vgpu_device_state(device, 0, &s), 0);
	assert_string_equal(s.backend, "fake");
	assert_int_equal(d.question_bytes, sizeof(struct link_device));
	assert_int_equal(vgpu_device_processes(device, UINT64_MAX, got, 4, &n), 0);
	assert_int_equal(n, 2);
	vgpu_device_close(device);
	d.fd = -1;
	d.answer_bytes--; // cut off
	assert_int_equal(vgpu_device_open(NULL, &device), 0);
	assert_int_equal(vgpu_device_state(device, 0, &s), -EPROTO);
	vgpu_device_close(device);
	fake_device_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(calls_are_answered_and_the_doorbell_is_a_store, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_wait_sleeps_in_the_driver, setup, teardown),
		cmocka_unit_test_setup_teardown(arena_bytes_are_the_drivers, setup, teardown),
		cmocka_unit_test_setup_teardown(pinned_memory_is_mapped_at_its_window_address, setup,
						teardown),
		cmocka_unit_test_setup_teardown(pinned_memory_that_cannot_be_mapped_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(program_memory_stays_where_and_what_it_is, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_of_the_channel_ends_waits_and_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(a_driver_that_refuses_to_wait_ends_the_channel, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_child_forgets_the_channel_and_the_parent_goes_on, setup,
						teardown),
		cmocka_unit_test(a_socket_that_is_named_is_taken),
		cmocka_unit_test(without_a_device_the_default_socket_is_tried),
		cmocka_unit_test(the_library_is_told_where_the_driver_takes_it),
		cmocka_unit_test(what_the_device_refuses_is_refused),
		cmocka_unit_test(the_drivers_answer_is_taken_apart),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
