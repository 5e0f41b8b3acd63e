// SPDX-License-Identifier: Apache-2.0
// See the header.
#include "tests/unit/mediator/store/fixture.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"

#define HANG_MS 60000 // longer than this is a store that does not answer

static void on_said(void *opaque, enum store_level level, const char *text)
{
	struct fixture *f = opaque;
	size_t used = strlen(f->said);

	snprintf(f->said + used, sizeof(f->said) - used, "%d %s\n", level, text);
}

static void on_loading(void *opaque)
{
	struct fixture *f = opaque;

	f->n_rows = f->n_limits = f->n_books = 0;
}

static void on_row(void *opaque, const struct store_row *row)
{
	struct fixture *f = opaque;

	if (f->n_rows++ < MOST_TOLD)
		f->rows[f->n_rows - 1] = *row;
}

static void on_limits(void *opaque, const struct store_limits *limits)
{
	struct fixture *f = opaque;

	if (f->n_limits++ < MOST_TOLD)
		f->limits[f->n_limits - 1] = *limits;
}

static void on_book(void *opaque, const struct store_book *book)
{
	struct fixture *f = opaque;

	if (f->n_books++ < MOST_TOLD)
		f->books[f->n_books - 1] = *book;
}

static void on_loaded(void *opaque, bool fresh, uint64_t usage_number)
{
	struct fixture *f = opaque;

	f->loads++;
	f->fresh = fresh;
	f->usage_number = usage_number;
}

static const struct store_ops ops = {
	.said = on_said,
	.loading = on_loading,
	.row = on_row,
	.limits = on_limits,
	.book = on_book,
	.loaded = on_loaded,
};

int fixture_set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	// Of hundreds of stores: their disk's speed is not what is tested.
	snprintf(f->directory, sizeof(f->directory), "%s/vgpu-test-store-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(f->directory)) {
		free(f);
		return -1;
	}
	snprintf(f->path, sizeof(f->path), "%s/store.db", f->directory);
	f->config = (struct store_config){ .path = f->path, .retry_ns = 20 * NSEC_PER_MSEC };
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

int fixture_tear_down(void **state)
{
	struct fixture *f = *state;

	fixture_close(f);
	nftw(f->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

int fixture_open(struct fixture *f)
{
	f->n_rows = f->n_limits = f->n_books = f->loads = f->n_done = 0;
	f->fresh = false;
	f->said[0] = f->error[0] = 0;
	return store_open(&f->config, &ops, f, &f->store, f->error, sizeof(f->error));
}

void fixture_close(struct fixture *f)
{
	store_close(f->store);
	f->store = NULL;
}

void fixture_reopen(struct fixture *f)
{
	fixture_close(f);
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(f->loads, 1);
}

static void dispatch(struct fixture *f)
{
	struct pollfd p = { .fd = store_fd(f->store), .events = POLLIN };

	assert_int_equal(poll(&p, 1, HANG_MS), 1);
	store_dispatch(f->store);
}

void fixture_wait(struct fixture *f, unsigned n)
{
	while (f->n_done < n)
		dispatch(f);
}

void fixture_wait_said(struct fixture *f, const char *text)
{
	while (!strstr(f->said, text))
		dispatch(f);
}

void fixture_done(void *opaque, int result)
{
	struct fixture *f = opaque;

	f->results[f->n_done++ % 4096] = result;
}

static sqlite3 *open_past_store(const struct fixture *f)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, HANG_MS);
	return db;
}

char *fixture_text(const struct fixture *f, const char *sql)
{
	static char text[4096];
	sqlite3 *db = open_past_store(f);
	sqlite3_stmt *s;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(s), SQLITE_ROW);
	db_text(s, 0, text, sizeof(text));
	sqlite3_finalize(s);
	sqlite3_close(db);
	return text;
}

int64_t fixture_number(const struct fixture *f, const char *sql)
{
	return strtoll(fixture_text(f, sql), NULL, 10);
}

void fixture_sql(const struct fixture *f, const char *sql)
{
	sqlite3 *db = open_past_store(f);

	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

struct store_row row_pool(const char *name, const char *gpu)
{
	struct store_row row = { .kind = STORE_POOL };

	snprintf(row.key, sizeof(row.key), "%s", name);
	snprintf(row.pool.gpu, sizeof(row.pool.gpu), "%s", gpu);
	return row;
}

struct store_limits limit_of(const char *tenant, uint64_t weight)
{
	struct store_limits l = { .scope = STORE_OF_TENANT, .n = 1, .list = { { "weight", weight, false } } };

	snprintf(l.owner, sizeof(l.owner), "%s", tenant);
	return l;
}

struct store_usage usage_of(const char *tenant, int64_t at_s, uint64_t launches)
{
	struct store_usage u = { .at_s = at_s, .launches = launches, .gpu_ns = 10 * launches };

	snprintf(u.tenant, sizeof(u.tenant), "%s", tenant);
	return u;
}
