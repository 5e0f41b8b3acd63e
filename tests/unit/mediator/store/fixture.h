// SPDX-License-Identifier: Apache-2.0
// A store in a directory of its own, and what it told: for the tests of mediator/store.
#ifndef VGPU_TESTS_STORE_FIXTURE_H
#define VGPU_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "mediator/store/database.h"
#include "mediator/store/store.h"
#include "mediator/store/tables.h"

#define MOST_TOLD 64 // that are kept; all are counted

struct fixture {
	char directory[64], path[256];
	struct store_config config;
	struct store *store;
	char error[1024]; // of store_open()

	unsigned n_rows, n_limits, n_books, loads;
	struct store_row rows[MOST_TOLD];
	struct store_limits limits[MOST_TOLD];
	struct store_book books[MOST_TOLD];
	bool fresh;
	uint64_t usage_number;
	char said[8192]; // all lines
	unsigned n_done;
	int results[4096];
};

int fixture_set_up(void **state);
int fixture_tear_down(void **state);

int fixture_open(struct fixture *f); // as store_open(); forgets what was told before
void fixture_close(struct fixture *f);
void fixture_reopen(struct fixture *f);

// Calls back until there are n results since the opening; each is one call of fixture_done().
void fixture_wait(struct fixture *f, unsigned n);
// Until the store has said text.
void fixture_wait_said(struct fixture *f, const char *text);
void fixture_done(void *opaque, int result);

// One number out of the file, past the store.
int64_t fixture_number(const struct fixture *f, const char *sql);
char *fixture_text(const struct fixture *f, const char *sql); // until the next call
// Statements into the file, past the store.
void fixture_sql(const struct fixture *f, const char *sql);

struct store_row row_pool(const char *name, const char *gpu);
struct store_limits limit_of(const char *tenant, uint64_t weight);
struct store_usage usage_of(const char *tenant, int64_t at_s, uint64_t launches);

#endif
