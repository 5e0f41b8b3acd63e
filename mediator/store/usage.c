// SPDX-License-Identifier: Apache-2.0
// What tenants used. One transaction adds to the minute, the hour and the day at once, so an hour is the sum
// of its minutes at any time and old minutes can go without further work; a clock that was set back adds to
// rows that are there. Runs in the store's thread.
#include <errno.h>

#include "mediator/store/tables.h"

// Counters come from executors, which a tenant may have taken over. Far from where sums of two overflow.
#define MOST ((int64_t)1 << 61)

#define ADD(table)                                                                                        \
	"INSERT INTO " table " (tenant, at, gpu_ns, turns, launches, copy_bytes, memory_byte_s, faults) " \
	"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (tenant, at) DO UPDATE SET "                 \
	"gpu_ns = min(gpu_ns + excluded.gpu_ns, ?9), turns = min(turns + excluded.turns, ?9), "           \
	"launches = min(launches + excluded.launches, ?9), "                                              \
	"copy_bytes = min(copy_bytes + excluded.copy_bytes, ?9), "                                        \
	"memory_byte_s = min(memory_byte_s + excluded.memory_byte_s, ?9), "                               \
	"faults = min(faults + excluded.faults, ?9)"

#define ASK(table)                                                                                         \
	"SELECT t.name, u.at, u.gpu_ns, u.turns, u.launches, u.copy_bytes, u.memory_byte_s, u.faults "     \
	"FROM " table                                                                                      \
	" u JOIN tenant t ON t.id = u.tenant WHERE (?1 = '' OR t.name = ?1) AND u.at >= ?2 AND u.at < ?3 " \
	"ORDER BY u.at, t.name LIMIT ?4"

static const struct {
	int64_t seconds;
	const char *add, *ask;
} steps[] = {
	[STORE_BY_MINUTE] = { 60, ADD("usage_minute"), ASK("usage_minute") },
	[STORE_BY_HOUR] = { 3600, ADD("usage_hour"), ASK("usage_hour") },
	[STORE_BY_DAY] = { 86400, ADD("usage_day"), ASK("usage_day") },
};
#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

static int64_t bounded(uint64_t n)
{
	return n < (uint64_t)MOST ? (int64_t)n : MOST;
}

static int add_row(struct database *d, const struct store_usage *u)
{
	int64_t id, at = u->at_s > 0 ? u->at_s : 0;
	int r = tenants_id(d, u->tenant, at, &id);

	for (unsigned i = 0; r == 0 && i < N_STEPS; i++) {
		r = db_run_values(d, steps[i].add,
				  DB_VALUES(NUM(id), NUM(at - at % steps[i].seconds), NUM(bounded(u->gpu_ns)),
					    NUM(bounded(u->turns)), NUM(bounded(u->launches)),
					    NUM(bounded(u->copy_bytes)), NUM(bounded(u->memory_byte_s)),
					    NUM(bounded(u->faults)), NUM(MOST)));
	}
	return r;
}

int usage_add(struct database *d, uint64_t number, const struct store_usage *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int r = add_row(d, &rows[i]);

		if (r < 0)
			return r;
	}
	return db_run(d,
		      "INSERT INTO usage_booked (id, number) VALUES (0, ?1) "
		      "ON CONFLICT (id) DO UPDATE SET number = excluded.number",
		      NUM((int64_t)number));
}

int usage_booked(struct database *d, uint64_t *ret)
{
	int64_t number = 0;
	int r = db_number(d, &number, "SELECT number FROM usage_booked");

	*ret = number > 0 ? (uint64_t)number : 0;
	return r < 0 ? r : 0;
}

int usage_ask(struct database *d, const struct store_usage_ask *ask, struct store_usage *ret, size_t *ret_n)
{
	uint32_t most = ask->most < STORE_MOST_USAGE ? ask->most : STORE_MOST_USAGE;
	sqlite3_stmt *s;
	int r;

	*ret_n = 0;
	r = db_ask_values(d, &s, steps[ask->step].ask,
			  DB_VALUES(STR(ask->tenant), NUM(ask->from_s), NUM(ask->to_s), NUM(most)));
	while (r >= 0 && (r = db_next(d, s)) > 0) {
		struct store_usage *u = &ret[(*ret_n)++];

		db_text(s, 0, u->tenant, sizeof(u->tenant));
		u->at_s = sqlite3_column_int64(s, 1);
		u->gpu_ns = db_unsigned(s, 2);
		u->turns = db_unsigned(s, 3);
		u->launches = db_unsigned(s, 4);
		u->copy_bytes = db_unsigned(s, 5);
		u->memory_byte_s = db_unsigned(s, 6);
		u->faults = db_unsigned(s, 7);
	}
	return r;
}
