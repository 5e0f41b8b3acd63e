// SPDX-License-Identifier: Apache-2.0
// Usage: minutes, hours and days agree, grow old, and cannot overflow.
#include "tests/unit/mediator/store/fixture.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>

#define DAY_S 86400

static struct database d;

static int set_up(void **state)
{
	struct fixture *f;

	if (fixture_set_up(state) < 0)
		return -1;
	f = *state;
	return database_open(&d, f->path, 0);
}

static int tear_down(void **state)
{
	database_close(&d);
	return fixture_tear_down(state);
}

static void add(struct store_usage u)
{
	assert_int_equal(db_begin(&d, false), 0);
	assert_int_equal(usage_add(&d, 1, &u, 1), 0);
	assert_int_equal(db_commit(&d), 0);
}

static int64_t sum(const struct fixture *f, const char *what, const char *table)
{
	char sql[128];

	snprintf(sql, sizeof(sql), "SELECT ifnull(sum(%s), 0) FROM usage_%s", what, table);
	return fixture_number(f, sql);
}

static void test_steps_are_booked_where_they_belong(void **state)
{
	struct fixture *f = *state;
	struct store_usage all = { "uid-7", 3 * DAY_S + 7199, 1, 2, 3, 4, 5, 6 };

	add(all);
	all.at_s++; // another hour
	add(all);
	all.at_s += 59; // the same minute
	add(all);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM usage_minute"), 2);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM usage_hour"), 2);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM usage_day"), 1);
	assert_string_equal(
	    fixture_text(f, "SELECT printf('%d %d %d %d %d %d %d', at, gpu_ns, turns, launches, "
			    "copy_bytes, memory_byte_s, faults) FROM usage_minute WHERE at = 266400"),
	    "266400 2 4 6 8 10 12");
	assert_string_equal(fixture_text(f,
					 "SELECT printf('%d %d %d %d %d %d %d', at, gpu_ns, turns, launches, "
					 "copy_bytes, memory_byte_s, faults) FROM usage_day"),
			    "259200 3 6 9 12 15 18");
}

static void test_sums_agree_whatever_the_clock_does(void **state)
{
	struct fixture *f = *state;
	uint64_t launches = 0;

	srandom(11);
	for (int i = 0; i < 3000; i++) {
		char tenant[16];

		snprintf(tenant, sizeof(tenant), "uid-%ld", random() % 9);
		launches += (uint64_t)i;
		add(usage_of(tenant, 50 * DAY_S + random() % (3 * DAY_S), (uint64_t)i)); // back and forth
	}
	assert_int_equal(sum(f, "launches", "minute"), launches);
	assert_int_equal(
	    fixture_number(f, "SELECT count(*) FROM (SELECT tenant, at / 3600 AS h, sum(launches) AS n "
			      "FROM usage_minute GROUP BY tenant, h) m LEFT JOIN usage_hour u ON "
			      "u.tenant = m.tenant AND u.at = m.h * 3600 WHERE u.launches IS NOT m.n"),
	    0);
	assert_int_equal(
	    fixture_number(f, "SELECT count(*) FROM (SELECT tenant, at / 86400 AS d, sum(gpu_ns) AS n "
			      "FROM usage_hour GROUP BY tenant, d) m LEFT JOIN usage_day u ON "
			      "u.tenant = m.tenant AND u.at = m.d * 86400 WHERE u.gpu_ns IS NOT m.n"),
	    0);
}

static void test_counters_of_an_executor_that_lies_do_not_overflow(void **state)
{
	struct fixture *f = *state;
	struct store_usage u = { "uid-7",    60,	 UINT64_MAX, UINT64_MAX,
				 UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX };

	for (int i = 0; i < 20; i++)
		add(u);
	u.at_s = INT64_MIN;
	add(u);
	assert_true(sum(f, "launches", "day") == (int64_t)1 << 61);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM usage_minute"), 2);
}

static void test_old_steps_go_and_sums_stay(void **state)
{
	struct fixture *f = *state;
	struct store_config keep = {
		.minutes_days = 2, .hours_days = 10, .days_days = 100, .audit_days = 50
	};
	int64_t now = 20000 * DAY_S, id = 0;

	for (int day = 0; day < 200; day++)
		add(usage_of("uid-7", now - day * DAY_S, 1));
	add(usage_of("uid-8", now - 150 * DAY_S, 1)); // has nothing left
	assert_int_equal(strike_rows_add(&d, "uid-7", "hang", now - 51 * DAY_S), 0);
	assert_int_equal(strike_rows_add(&d, "uid-7", "hang", now - 49 * DAY_S), 0);
	add(usage_of("uid-9", now - 150 * DAY_S, 1)); // but something was set for it
	fixture_sql(f, "INSERT INTO limits VALUES ('tenant', 'uid-9', 'weight', 7)");
	do {
		assert_int_equal(tenants_prune(&d, &keep, now, &id), 0);
	} while (id);
	assert_int_equal(sum(f, "launches", "minute"), 3);
	assert_int_equal(sum(f, "launches", "hour"), 11);
	assert_int_equal(sum(f, "launches", "day"), 101);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM strike"), 1);
	assert_int_equal(fixture_number(f, "SELECT count FROM strike_count"), 2);
	assert_string_equal(
	    fixture_text(f, "SELECT group_concat(name) FROM (SELECT name FROM tenant ORDER BY name)"),
	    "uid-7,uid-9");
}

static void test_zero_days_keep_for_ever(void **state)
{
	struct fixture *f = *state;
	struct store_config keep = { 0 };
	int64_t id = 0;

	add(usage_of("uid-7", 1, 1));
	do {
		assert_int_equal(tenants_prune(&d, &keep, 20000 * DAY_S, &id), 0);
	} while (id);
	assert_int_equal(sum(f, "launches", "minute"), 1);
}

static void test_tenants_beyond_the_limit_are_booked_together(void **state)
{
	struct fixture *f = *state;

	fixture_sql(
	    f, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 65536) INSERT INTO "
	       "tenant (name, seen) SELECT 'name-' || i, 0 FROM n");
	add(usage_of("name-65537", 60, 1));
	add(usage_of("name-65538", 60, 2));
	add(usage_of("name-5", 60, 4));
	assert_int_equal(
	    fixture_number(f, "SELECT launches FROM usage_day JOIN tenant ON id = tenant WHERE name = "
			      "'others'"),
	    3);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM tenant"), 65537);
}

struct answer {
	int result;
	size_t n;
	struct store_usage rows[16];
	bool came;
};

static void take_rows(void *opaque, int result, const struct store_usage *rows, size_t n)
{
	struct answer *a = opaque;

	a->result = result;
	a->n = n;
	memcpy(a->rows, rows, (n < 16 ? n : 16) * sizeof(*rows));
	a->came = true;
}

static void wait_for(struct fixture *f, const bool *came)
{
	while (!*came) {
		struct pollfd p = { .fd = store_fd(f->store), .events = POLLIN };

		poll(&p, 1, -1);
		store_dispatch(f->store);
	}
}

static void test_usage_is_asked_for_through_the_store(void **state)
{
	struct fixture *f = *state;
	struct store_usage both[] = { usage_of("uid-7", 3601, 5), usage_of("uid-8", 3601, 6) };
	struct store_usage_ask ask = { .step = STORE_BY_HOUR, .to_s = 10000, .most = 100 };
	struct answer a = { 0 };

	database_close(&d);
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(f->usage_number, 0);
	assert_int_equal(store_usage(f->store, 5, both, 2, NULL, 0), 0);
	assert_int_equal(store_ask_usage(f->store, &ask, take_rows, &a), 0);
	wait_for(f, &a.came);
	assert_int_equal(a.result, 0);
	assert_int_equal(a.n, 2);
	assert_string_equal(a.rows[1].tenant, "uid-8");
	assert_int_equal(a.rows[1].at_s, 3600);
	assert_int_equal(a.rows[1].launches, 6);
	assert_int_equal(a.rows[1].gpu_ns, 60);
	a.came = false;
	snprintf(ask.tenant, sizeof(ask.tenant), "uid-7");
	assert_int_equal(store_ask_usage(f->store, &ask, take_rows, &a), 0);
	wait_for(f, &a.came);
	assert_int_equal(a.n, 1);
	a.came = false;
	ask.from_s = 3601;
	assert_int_equal(store_ask_usage(f->store, &ask, take_rows, &a), 0);
	wait_for(f, &a.came);
	assert_int_equal(a.n, 0);
	fixture_close(f);
	assert_int_equal(fixture_open(f), 0);
	assert_int_equal(f->usage_number, 5);
}

struct uses {
	bool came;
	int result;
	size_t n;
	struct store_use rows[8];
};

static void take_uses(void *opaque, int result, const struct store_use *rows, size_t n)
{
	struct uses *u = opaque;

	u->came = true;
	u->result = result;
	u->n = n;
	memcpy(u->rows, rows, (n < 8 ? n : 8) * sizeof(*rows));
}

static void ask_uses(struct fixture *f, const char *tenant, struct uses *ret)
{
	*ret = (struct uses){ 0 };
	assert_int_equal(store_ask_use(f->store, tenant, take_uses, ret), 0);
	wait_for(f, &ret->came);
	assert_int_equal(ret->result, 0);
}

static void test_uses_add_up_and_hours_widen(void **state)
{
	struct store_use more[] = {
		{ "vm-1", "libcuda", false, 0, 0, 1, 2, 3, 4, 5 },
		{ "vm-1", "graphs", true, 7200, 10800, 0, 0, 0, 0, 0 },
		{ "vm-2", "libcuda", false, 0, 0, 1, 1, 1, 1, 1 },
	};
	struct fixture *f = *state;
	struct uses u;

	database_close(&d);
	assert_int_equal(fixture_open(f), 0);
	ask_uses(f, "vm-1", &u);
	assert_int_equal(u.n, 0);
	assert_int_equal(store_usage(f->store, 1, NULL, 0, more, 3), 0);
	ask_uses(f, "vm-1", &u);       // behind it
	more[0].launches = UINT64_MAX; // of an executor that lies
	more[1].first_s = 10800;
	more[1].last_s = 3600; // a clock that was set back
	assert_int_equal(store_usage(f->store, 2, NULL, 0, more, 2), 0);
	ask_uses(f, "vm-1", &u);
	assert_int_equal(u.n, 2);
	assert_string_equal(u.rows[0].name, "libcuda");
	assert_false(u.rows[0].is_feature);
	assert_int_equal(u.rows[0].channels, 2);
	assert_int_equal(u.rows[0].refused, 4);
	assert_int_equal(u.rows[0].launches, INT64_C(1) << 61);
	assert_int_equal(u.rows[0].gpu_ns, 8);
	assert_int_equal(u.rows[0].faults, 10);
	assert_string_equal(u.rows[1].name, "graphs");
	assert_true(u.rows[1].is_feature);
	assert_int_equal(u.rows[1].first_s, 7200);
	assert_int_equal(u.rows[1].last_s, 10800);
	assert_int_equal(store_remove(f->store, "root", STORE_TENANT, "vm-1", NULL, NULL), 0);
	ask_uses(f, "vm-1", &u);
	assert_int_equal(u.n, 0);
	ask_uses(f, "vm-2", &u);
	assert_int_equal(u.n, 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_steps_are_booked_where_they_belong),
		T(test_sums_agree_whatever_the_clock_does),
		T(test_counters_of_an_executor_that_lies_do_not_overflow),
		T(test_old_steps_go_and_sums_stay),
		T(test_zero_days_keep_for_ever),
		T(test_tenants_beyond_the_limit_are_booked_together),
		T(test_usage_is_asked_for_through_the_store),
		T(test_uses_add_up_and_hours_widen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
