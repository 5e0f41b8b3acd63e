// SPDX-License-Identifier: Apache-2.0
// Backup, from the running store and beside it, and restore.
#include "tests/unit/mediator/store/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

static char error[1024];

static void put_pools(struct fixture *f, unsigned from, unsigned n)
{
	for (unsigned i = from; i < from + n; i++) {
		char name[32];
		struct store_row row;

		snprintf(name, sizeof(name), "p%05u", i);
		row = row_pool(name, "");
		assert_int_equal(store_put(f->store, "uid 0", &row, NULL, fixture_done, f), 0);
	}
}

static void backup_path(const struct fixture *f, char *ret, size_t n)
{
	snprintf(ret, n, "%s/backup.db", f->directory);
}

static void test_a_backup_under_load_is_whole(void **state)
{
	struct fixture *f = *state, copy;
	char path[128];
	int64_t rows;

	backup_path(f, path, sizeof(path));
	assert_int_equal(fixture_open(f), 0);
	put_pools(f, 0, 300);
	assert_int_equal(store_backup(f->store, path, fixture_done, f), 0);
	put_pools(f, 300, 300);
	fixture_wait(f, 601);
	assert_int_equal(f->results[300], 0);
	copy = *f;
	snprintf(copy.path, sizeof(copy.path), "%s", path);
	rows = fixture_number(&copy, "SELECT count(*) FROM pool");
	assert_int_equal(rows, 300); // exactly what was before it
	assert_int_equal(fixture_number(&copy, "SELECT count(*) FROM audit"), rows);
	assert_string_equal(fixture_text(&copy, "PRAGMA integrity_check"), "ok");
}

static void test_nothing_is_overwritten(void **state)
{
	struct fixture *f = *state;
	char path[128], none[128];

	backup_path(f, path, sizeof(path));
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	snprintf(none, sizeof(none), "%s/none/backup.db", f->directory);
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(store_backup(f->store, path, fixture_done, f), 0);
	assert_int_equal(store_backup(f->store, none, fixture_done, f), 0);
	fixture_wait(f, 2);
	assert_int_equal(f->results[0], -EEXIST);
	assert_true(f->results[1] < 0);
	fixture_wait_said(f, none);
	assert_int_equal(store_copy(f->path, path, error, sizeof(error)), -EEXIST);
	assert_non_null(strstr(error, path));
}

static void test_a_copy_is_made_beside_a_running_mediator(void **state)
{
	struct fixture *f = *state, copy;
	char path[128];

	backup_path(f, path, sizeof(path));
	assert_int_equal(fixture_open(f), 0);
	put_pools(f, 0, 50);
	fixture_wait(f, 50);
	assert_int_equal(store_copy(f->path, path, error, sizeof(error)), 0);
	copy = *f;
	snprintf(copy.path, sizeof(copy.path), "%s", path);
	assert_int_equal(fixture_number(&copy, "SELECT count(*) FROM pool"), 50);
	put_pools(f, 50, 1);
	fixture_wait(f, 51);
}

static void test_restore_brings_back_and_keeps_what_was_there(void **state)
{
	struct fixture *f = *state;
	char path[128], pattern[300];
	glob_t found;

	backup_path(f, path, sizeof(path));
	assert_int_equal(fixture_open(f), 0);
	put_pools(f, 0, 5);
	assert_int_equal(store_backup(f->store, path, fixture_done, f), 0);
	put_pools(f, 5, 5);
	fixture_wait(f, 11);
	assert_int_equal(store_restore(f->path, path, error, sizeof(error)), -EBUSY);
	fixture_close(f);
	assert_int_equal(store_restore(f->path, path, error, sizeof(error)), 0);
	assert_int_equal(fixture_open(f), 0);
	assert_false(f->fresh);
	assert_int_equal(f->n_rows, 5);
	snprintf(pattern, sizeof(pattern), "%s.broken-*Z", f->path);
	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	snprintf(f->path, sizeof(f->path), "%s", found.gl_pathv[0]);
	globfree(&found);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM pool"), 10);
}

static void test_a_broken_backup_changes_nothing(void **state)
{
	struct fixture *f = *state;
	char path[128], junk[4096];
	struct stat st;
	int fd;

	backup_path(f, path, sizeof(path));
	assert_int_equal(fixture_open(f), 0);
	put_pools(f, 0, 200);
	assert_int_equal(store_backup(f->store, path, fixture_done, f), 0);
	fixture_wait(f, 201);
	fixture_close(f);
	memset(junk, 0x5a, sizeof(junk));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(pwrite(fd, junk, sizeof(junk), st.st_size / 8192 * 4096), sizeof(junk));
	close(fd);
	assert_true(store_restore(f->path, path, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, path));
	assert_int_equal(store_restore(f->path, "/dev/null", error, sizeof(error)), -EMEDIUMTYPE);
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM pool"), 200);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fixture_set_up, fixture_tear_down)
	const struct CMUnitTest tests[] = {
		T(test_a_backup_under_load_is_whole),
		T(test_nothing_is_overwritten),
		T(test_a_copy_is_made_beside_a_running_mediator),
		T(test_restore_brings_back_and_keeps_what_was_there),
		T(test_a_broken_backup_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
