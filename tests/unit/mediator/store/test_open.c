// SPDX-License-Identifier: Apache-2.0
// Opening: what is made, what is refused, what is set aside.
#include "tests/unit/mediator/store/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mediator/store/migrations.h"

static unsigned broken_files(const struct fixture *f)
{
	char pattern[300];
	glob_t found;
	unsigned n;

	snprintf(pattern, sizeof(pattern), "%s.broken-*Z", f->path);
	n = glob(pattern, 0, NULL, &found) == 0 ? (unsigned)found.gl_pathc : 0;
	globfree(&found);
	return n;
}

static void put_bytes(const char *path, off_t at, const void *bytes, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, n, at), (ssize_t)n);
	close(fd);
}

// A store with a pool and a limit, closed.
static void make_store(struct fixture *f)
{
	struct store_row pool = row_pool("gold", "");
	struct store_limits limit = limit_of("uid-7", 300);

	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(store_put(f->store, "uid 0", &pool, NULL, fixture_done, f), 0);
	assert_int_equal(store_set_limits(f->store, "uid 0", &limit, fixture_done, f), 0);
	fixture_wait(f, 2);
	fixture_close(f);
}

static void test_a_new_store_has_the_newest_schema_and_is_ours_alone(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	umask(0077);
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(f->loads, 1);
	assert_true(f->fresh);
	assert_int_equal(fixture_number(f, "PRAGMA user_version"), n_migrations);
	assert_int_equal(fixture_number(f, "PRAGMA application_id"), DATABASE_APPLICATION);
	assert_string_equal(fixture_text(f, "PRAGMA journal_mode"), "wal");
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(
	    fixture_number(f, "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND NOT "
			      "strict AND name NOT LIKE 'sqlite_%'"),
	    0);
}

static void test_what_was_kept_is_loaded(void **state)
{
	struct fixture *f = *state;

	make_store(f);
	assert_int_equal(fixture_open(f), 0);
	assert_false(f->fresh);
	assert_int_equal(f->n_rows, 1);
	assert_int_equal(f->rows[0].kind, STORE_POOL);
	assert_string_equal(f->rows[0].key, "gold");
	assert_int_equal(f->n_limits, 1);
	assert_string_equal(f->limits[0].owner, "uid-7");
	assert_int_equal(f->limits[0].list[0].value, 300);
}

static void test_a_newer_schema_is_refused_and_left_alone(void **state)
{
	struct fixture *f = *state;

	make_store(f);
	fixture_sql(f, "PRAGMA user_version = 4711");
	assert_int_equal(fixture_open(f), -ENOTSUP);
	assert_non_null(strstr(f->error, "schema 4711"));
	assert_non_null(strstr(f->error, f->path));
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM pool"), 1);
	assert_int_equal(broken_files(f), 0);
}

static void test_a_second_mediator_is_refused(void **state)
{
	struct fixture *f = *state, second = *f;

	assert_int_equal(fixture_open(f), 0);
	second.config.path = f->path;
	assert_int_equal(fixture_open(&second), -EBUSY);
	assert_non_null(strstr(second.error, "another mediator has it"));
	fixture_reopen(f);
}

static void test_files_of_others_are_left_alone(void **state)
{
	static const char text[] = "root:x:0:0:root:/root:/bin/bash\n";
	struct fixture *f = *state;
	char bytes[sizeof(text)];
	char lock[300];
	int fd;

	put_bytes(f->path, 0, text, sizeof(text));
	assert_int_equal(fixture_open(f), -EMEDIUMTYPE);
	assert_int_equal(fixture_open(f), -EMEDIUMTYPE); // also when the lock's file is there
	fd = open(f->path, O_RDONLY);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), (ssize_t)sizeof(text));
	close(fd);
	assert_memory_equal(bytes, text, sizeof(text));
	assert_int_equal(broken_files(f), 0);

	assert_int_equal(unlink(f->path), 0);
	snprintf(lock, sizeof(lock), "%s.lock", f->path);
	assert_int_equal(unlink(lock), 0);
	fixture_sql(f, "CREATE TABLE pool (mine)");
	assert_int_equal(fixture_open(f), -EMEDIUMTYPE);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM sqlite_schema"), 1);
}

static void test_a_store_is_known_by_its_lock_when_its_first_page_is_lost(void **state)
{
	struct fixture *f = *state;
	char nothing[4096] = { 0 };

	make_store(f);
	fixture_sql(f, "PRAGMA wal_checkpoint(TRUNCATE)");
	put_bytes(f->path, 0, nothing, sizeof(nothing));
	assert_int_equal(fixture_open(f), 0);
	assert_non_null(strstr(f->said, "the database is broken"));
	assert_int_equal(broken_files(f), 1);
}

static void test_places_that_cannot_be_used_are_refused(void **state)
{
	struct fixture *f = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/none/store.db", f->directory);
	f->config.path = path;
	assert_int_equal(fixture_open(f), -ENOENT);
	assert_non_null(strstr(f->error, "No such file"));
	snprintf(path, sizeof(path), "%s/directory", f->directory);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(fixture_open(f), -EACCES);
	f->config.path = f->path;
	assert_int_equal(fixture_open(f), 0);
}

static void test_an_empty_file_becomes_a_store(void **state)
{
	struct fixture *f = *state;

	put_bytes(f->path, 0, "", 0);
	assert_int_equal(fixture_open(f), 0);
	assert_true(f->fresh);
	assert_int_equal(broken_files(f), 0);
}

// Every page in turn, and the header: either it is found broken and a fresh store works, or it was read as it
// was. Never is a broken one used.
static void test_a_broken_file_is_set_aside_and_a_fresh_one_begun(void **state)
{
	struct fixture *f = *state;
	char garbage[512];
	unsigned replaced = 0;
	off_t bytes;
	struct stat st;

	memset(garbage, 0xa5, sizeof(garbage));
	make_store(f);
	fixture_sql(f, "PRAGMA wal_checkpoint(TRUNCATE)");
	assert_int_equal(stat(f->path, &st), 0);
	bytes = st.st_size;
	for (off_t at = 0; at < bytes; at += 4096) {
		put_bytes(f->path, at, garbage, sizeof(garbage));
		assert_int_equal(fixture_open(f), 0);
		if (strstr(f->said, "the database is broken")) {
			replaced++;
			assert_non_null(strstr(f->said, "2 store "));
			assert_true(f->fresh);
			assert_int_equal(f->n_rows, 0);
		} else {
			assert_int_equal(f->n_rows, 1);
		}
		fixture_close(f);
		assert_int_equal(unlink(f->path), 0);
		make_store(f);
		fixture_sql(f, "PRAGMA wal_checkpoint(TRUNCATE)");
	}
	assert_true(replaced * 4096 >= bytes / 2);
	// More than one in a second have further suffixes.
	assert_true(broken_files(f) >= 1);
}

static void test_flipped_bits_never_stop_it(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	srand(7);
	for (int round = 0; round < 60; round++) {
		make_store(f);
		fixture_sql(f, "PRAGMA wal_checkpoint(TRUNCATE)");
		assert_int_equal(stat(f->path, &st), 0);
		for (int i = 0; i < 40; i++) {
			unsigned char byte = (unsigned char)rand();

			put_bytes(f->path, rand() % st.st_size, &byte, 1);
		}
		switch (fixture_open(f)) {
		case 0: fixture_close(f); break;
		case -ENOTSUP: break; // the schema's number was hit
		default: fail_msg("%s", f->error);
		}
		unlink(f->path);
	}
}

static void test_an_unfinished_migration_leaves_nothing(void **state)
{
	struct fixture *f = *state;

	// As after a death between marking the file and its first migration.
	fixture_sql(f, "PRAGMA application_id = 1986490485; PRAGMA journal_mode = WAL");
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(fixture_number(f, "PRAGMA user_version"), n_migrations);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fixture_set_up, fixture_tear_down)
	const struct CMUnitTest tests[] = {
		T(test_a_new_store_has_the_newest_schema_and_is_ours_alone),
		T(test_what_was_kept_is_loaded),
		T(test_a_newer_schema_is_refused_and_left_alone),
		T(test_a_second_mediator_is_refused),
		T(test_files_of_others_are_left_alone),
		T(test_a_store_is_known_by_its_lock_when_its_first_page_is_lost),
		T(test_places_that_cannot_be_used_are_refused),
		T(test_an_empty_file_becomes_a_store),
		T(test_a_broken_file_is_set_aside_and_a_fresh_one_begun),
		T(test_flipped_bits_never_stop_it),
		T(test_an_unfinished_migration_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
