// SPDX-License-Identifier: Apache-2.0
// Shared events (executor/backends/event_word.h): records complete in any order and each by itself, in all
// processes that have the page; those of a dead process are complete.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "executor/backends/event_word.h"
#include "protocol/cuda/cuda_abi.h"

static void a_new_one_is_done(void **state)
{
	struct event_word *w;

	(void)state;
	assert_int_equal(event_word_new(-1, &w), 0);
	assert_int_equal(event_word_last(w), 0);
	assert_true(event_word_done(w, 0));
	event_word_unref(w);
}

static void records_complete_in_any_order(void **state)
{
	struct event_word *w;
	uint64_t first, second, third;

	(void)state;
	assert_int_equal(event_word_new(-1, &w), 0);
	first = event_word_record(w);
	second = event_word_record(w);
	third = event_word_record(w);
	assert_int_equal(event_word_last(w), third);
	event_word_complete(w, third);
	assert_true(event_word_done(w, third));
	assert_false(event_word_done(w, second));
	assert_false(event_word_done(w, first));
	event_word_complete(w, first);
	assert_true(event_word_done(w, first));
	assert_false(event_word_done(w, second));
	event_word_unref(w);
}

static void many_records_take_turns(void **state)
{
	struct event_word *w;

	(void)state;
	assert_int_equal(event_word_new(-1, &w), 0);
	for (uint64_t i = 1; i <= 1000; i++) {
		assert_int_equal(event_word_record(w), i);
		assert_false(event_word_done(w, i));
		event_word_complete(w, i);
		assert_true(event_word_done(w, i));
		assert_true(event_word_done(w, i / 2));
	}
	event_word_unref(w);
}

static void both_openers_see_a_record(void **state)
{
	struct backend_share share;
	struct event_word *w, *other;
	uint64_t number;

	(void)state;
	assert_int_equal(event_word_new(-1, &w), 0);
	assert_int_equal(event_word_export(w, &share), 0);
	assert_int_equal(event_word_import(-1, &share, &other), 0);
	close(share.fd);
	number = event_word_record(w);
	assert_int_equal(event_word_last(other), number);
	assert_false(event_word_done(other, number));
	event_word_complete(w, number);
	assert_true(event_word_done(other, number));
	event_word_unref(w);
	assert_true(event_word_done(other, number));
	event_word_unref(other);
}

// A process locks the byte at its pid while it lives, as executors do.
static void a_dead_recorder_keeps_nobody_waiting(void **state)
{
	int peers = memfd_create("peers", MFD_CLOEXEC), gate[2], status;
	struct backend_share share;
	struct event_word *w, *ours;
	uint64_t mine;
	char byte;
	pid_t pid;

	(void)state;
	assert_true(peers >= 0);
	assert_int_equal(pipe(gate), 0);
	assert_int_equal(event_word_new(peers, &w), 0);
	pid = fork();
	if (!pid) {
		struct flock lock = { .l_type = F_WRLCK, .l_start = getpid(), .l_len = 1 };

		if (fcntl(peers, F_SETLK, &lock) || event_word_export(w, &share) ||
		    event_word_import(peers, &share, &ours))
			_exit(1);
		event_word_record(ours);
		if (write(gate[1], "r", 1) != 1)
			_exit(1);
		pause();
		_exit(1);
	}
	assert_int_equal(read(gate[0], &byte, 1), 1);
	assert_int_equal(event_word_last(w), 1);
	assert_false(event_word_done(w, 1));
	mine = event_word_record(w);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(event_word_done(w, 1));
	assert_false(event_word_done(w, mine)); // ours lives
	event_word_unref(w);
	close(peers);
	close(gate[0]);
	close(gate[1]);
}

static void other_files_are_refused(void **state)
{
	struct backend_share share = { .fd = -1 };
	struct event_word *w;

	(void)state;
	assert_int_equal(event_word_import(-1, &share, &w), CUDA_ERROR_INVALID_VALUE);
	share.fd = memfd_create("none", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(share.fd >= 0);
	assert_int_equal(ftruncate(share.fd, 4096), 0);
	assert_int_equal(event_word_import(-1, &share, &w), CUDA_ERROR_INVALID_VALUE); // may still shrink
	assert_int_equal(fcntl(share.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	assert_int_equal(event_word_import(-1, &share, &w), 0);
	event_word_unref(w);
	close(share.fd);
	assert_int_equal(event_word_export(NULL, &share), CUDA_ERROR_INVALID_HANDLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_one_is_done),
		cmocka_unit_test(records_complete_in_any_order),
		cmocka_unit_test(many_records_take_turns),
		cmocka_unit_test(both_openers_see_a_record),
		cmocka_unit_test(a_dead_recorder_keeps_nobody_waiting),
		cmocka_unit_test(other_files_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
