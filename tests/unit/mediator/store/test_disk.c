// SPDX-License-Identifier: Apache-2.0
// Disks that are full, fail, or lose the file: the store says so once, keeps what it was told, and goes on
// when the disk works again. The caller never waits.
#include "tests/unit/mediator/store/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void fill(struct fixture *f, unsigned n, const char *prefix)
{
	for (unsigned i = 0; i < n; i++) {
		char name[32];
		struct store_row row;

		snprintf(name, sizeof(name), "%s-%u", prefix, i);
		row = row_pool(name, "");
		assert_int_equal(store_put(f->store, "uid 0", &row, NULL, fixture_done, f), 0);
	}
}

static unsigned times(const char *text, const char *what)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

static void expect_degraded(struct fixture *f, bool degraded)
{
	struct store_status status;

	store_status(f->store, &status);
	assert_int_equal(status.degraded, degraded);
	assert_int_equal(status.text[0] != 0, degraded);
}

static void on_settled(void *opaque, int result)
{
	*(int *)opaque = result ? result : 1;
}

static void test_a_full_database_waits_and_goes_on(void **state)
{
	struct fixture *f = *state;
	struct store_row row = row_pool("last", "");
	struct store_status status;
	unsigned done;
	int settled = 0;

	f->config.most_bytes = 40 * 4096; // the tables alone take most of it
	f->config.retry_ns = 20000000;
	assert_int_equal(fixture_open(f), 0);
	fill(f, 2000, "p");
	// Who waits for the disk is told that it does not work.
	assert_int_equal(store_settled(f->store, on_settled, &settled), 0);
	fixture_wait_said(f, "no room");
	while (!settled)
		store_dispatch(f->store);
	assert_int_equal(settled, -EIO);
	assert_int_equal(store_settled(f->store, on_settled, &settled), -EIO);
	expect_degraded(f, true);
	assert_true(f->n_done < 2000);
	store_status(f->store, &status);
	assert_true(status.waiting > 0);
	// Questions do not wait for that.
	assert_int_equal(store_ask_usage(f->store, &(struct store_usage_ask){ 0 }, NULL, NULL), -EIO);
	assert_int_equal(store_put(f->store, "uid 0", &row, NULL, fixture_done, f), 0);
	done = f->n_done;
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM pool"), done);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM audit"), done);
	// Somebody makes room.
	fixture_sql(f, "DELETE FROM audit");
	f->n_done = done;
	fixture_wait(f, done + 1);
	assert_int_equal(f->results[done], 0);
	fixture_close(f); // what still waits fits, or is told
	assert_int_equal(times(f->said, "changes were not written"), 1);
}

static void test_too_much_that_waits_is_refused(void **state)
{
	struct fixture *f = *state;
	struct store_row row = row_pool("x", "");
	struct store_usage usage = usage_of("uid-7", 60, 1);
	struct store_status status;
	int r = 0;

	f->config.most_bytes = 4096; // less than it has
	f->config.retry_ns = 3600ull * 1000000000;
	assert_int_equal(fixture_open(f), 0);
	fill(f, 500, "p");
	fixture_wait_said(f, "no room");
	assert_int_equal(store_usage(f->store, 1, &usage, 1, NULL, 0), 0);
	assert_int_equal(store_usage(f->store, 1, &usage, 1, NULL, 0), -EAGAIN);
	for (int i = 0; i < 10000 && r == 0; i++)
		r = store_put(f->store, "uid 0", &row, NULL, NULL, NULL);
	assert_int_equal(r, -ENOBUFS);
	store_status(f->store, &status);
	assert_int_equal(status.waiting, 4096);
	assert_int_equal(status.refused, 1);
}

static void limit_files(rlim_t bytes)
{
	struct rlimit rl;

	getrlimit(RLIMIT_FSIZE, &rl);
	rl.rlim_cur = bytes;
	setrlimit(RLIMIT_FSIZE, &rl);
}

static void test_failing_writes_are_tried_again(void **state)
{
	struct fixture *f = *state;
	struct store_row row = row_pool("after", "");
	char wal[300];
	struct stat st;

	assert_int_equal(fixture_open(f), 0);
	fill(f, 10, "p");
	fixture_wait(f, 10);
	snprintf(wal, sizeof(wal), "%s-wal", f->path);
	assert_int_equal(stat(wal, &st), 0);
	limit_files((rlim_t)st.st_size); // of this process: not one byte more
	assert_int_equal(store_put(f->store, "uid 0", &row, NULL, fixture_done, f), 0);
	fixture_wait_said(f, "Programs are served as before");
	expect_degraded(f, true);
	limit_files(RLIM_INFINITY);
	fixture_wait(f, 11);
	assert_int_equal(f->results[10], 0);
	fixture_wait_said(f, "works again");
	expect_degraded(f, false);
	assert_int_equal(times(f->said, "Programs are served"), 1); // not once a retry
	fixture_reopen(f);
	assert_int_equal(f->n_rows, 11);
}

// Another file system, of which nothing is left: the real thing. Needs root.
static void test_a_full_file_system(void **state)
{
	struct fixture *f = *state;
	struct store_row row = row_pool("after", "");
	char filler[128];
	char bytes[4096] = { 0 };
	int fd;

	if (mount("none", f->directory, "tmpfs", 0, "size=1m") < 0) {
		print_message("cannot mount a file system (%s)\n", strerror(errno));
		skip();
	}
	snprintf(filler, sizeof(filler), "%s/filler", f->directory);
	assert_int_equal(fixture_open(f), 0);
	fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, bytes, sizeof(bytes)) > 0)
		;
	close(fd);
	fill(f, 200, "p");
	fixture_wait_said(f, "no room");
	// And a start on a full disk, with a store that is there.
	fixture_close(f);
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(store_put(f->store, "uid 0", &row, NULL, fixture_done, f), 0);
	fixture_wait_said(f, "no room");
	unlink(filler);
	fixture_wait(f, 1);
	assert_int_equal(f->results[0], 0);
	assert_int_equal(f->loads, 1);
	expect_degraded(f, false);
	fixture_close(f);
	assert_int_equal(umount(f->directory), 0);
}

static void test_a_removed_file_is_begun_anew(void **state)
{
	struct fixture *f = *state;
	struct store_row row = row_pool("b", "");
	char wal[300];

	assert_int_equal(fixture_open(f), 0);
	fill(f, 1, "a");
	fixture_wait(f, 1);
	unlink(f->path);
	snprintf(wal, sizeof(wal), "%s-wal", f->path);
	unlink(wal);
	assert_int_equal(store_put(f->store, "uid 0", &row, NULL, fixture_done, f), 0);
	fixture_wait(f, 2);
	assert_int_equal(f->loads, 2);
	assert_true(f->fresh); // so its owner says again what it holds
	assert_non_null(strstr(f->said, "moved, removed or replaced"));
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM pool WHERE name = 'b'"), 1);
}

static void test_a_file_that_breaks_under_way_is_replaced(void **state)
{
	struct fixture *f = *state;
	struct store_row row = row_pool("b", "");
	struct stat st;
	char junk[4096];
	int fd;

	assert_int_equal(fixture_open(f), 0);
	fill(f, 300, "a");
	fixture_wait(f, 300);
	fixture_reopen(f);
	f->n_done = 0;
	fixture_sql(f,
		    "INSERT INTO gpu (uuid, name, memory_bytes) VALUES ('G-1', '', 0)"); // so that its cache
											 // is no longer good
	memset(junk, 0x5a, sizeof(junk));
	fd = open(f->path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	for (off_t at = 4096; at < st.st_size; at += 4096) // but for the header
		assert_int_equal(pwrite(fd, junk, sizeof(junk), at), sizeof(junk));
	close(fd);
	assert_int_equal(store_put(f->store, "uid 0", &row, NULL, fixture_done, f), 0);
	fixture_wait(f, 1);
	assert_int_equal(f->results[0], 0);
	assert_true(f->fresh);
	assert_non_null(strstr(f->said, "the database is broken"));
	fixture_reopen(f);
	assert_int_equal(f->n_rows, 1);
	assert_string_equal(f->rows[0].key, "b");
}

static void test_closing_on_a_dead_disk_ends(void **state)
{
	struct fixture *f = *state;

	f->config.most_bytes = 4096;
	f->config.retry_ns = 3600ull * 1000000000;
	assert_int_equal(fixture_open(f), 0);
	fill(f, 500, "p");
	fixture_wait_said(f, "no room");
	fixture_close(f);
	assert_non_null(strstr(f->said, "changes were not written"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fixture_set_up, fixture_tear_down)
	const struct CMUnitTest tests[] = {
		T(test_a_full_database_waits_and_goes_on), T(test_too_much_that_waits_is_refused),
		T(test_failing_writes_are_tried_again),	   T(test_a_full_file_system),
		T(test_a_removed_file_is_begun_anew),	   T(test_a_file_that_breaks_under_way_is_replaced),
		T(test_closing_on_a_dead_disk_ends),
	};

	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
