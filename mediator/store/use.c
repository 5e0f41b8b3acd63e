// SPDX-License-Identifier: Apache-2.0
// What tenants used by library and by feature: sums, and hours. In the transaction of their usage, so they
// are exact whoever is killed when. Runs in the store's thread.
#include <time.h>

#include "mediator/store/tables.h"

// As in usage.c: far from where sums of two overflow.
#define MOST ((int64_t)1 << 61)

static int64_t bounded(uint64_t n)
{
	return n < (uint64_t)MOST ? (int64_t)n : MOST;
}

static int add_library(struct database *d, int64_t id, const struct store_use *u)
{
	return db_run_values(d,
			     "INSERT INTO use_library (tenant, library, channels, refused, launches, gpu_ns, "
			     "faults) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (tenant, library) DO "
			     "UPDATE SET channels = min(channels + excluded.channels, ?8), "
			     "refused = min(refused + excluded.refused, ?8), "
			     "launches = min(launches + excluded.launches, ?8), "
			     "gpu_ns = min(gpu_ns + excluded.gpu_ns, ?8), "
			     "faults = min(faults + excluded.faults, ?8)",
			     DB_VALUES(NUM(id), STR(u->name), NUM(bounded(u->channels)),
				       NUM(bounded(u->refused)), NUM(bounded(u->launches)),
				       NUM(bounded(u->gpu_ns)), NUM(bounded(u->faults)), NUM(MOST)));
}

static int add_feature(struct database *d, int64_t id, const struct store_use *u)
{
	return db_run(d,
		      "INSERT INTO use_feature (tenant, feature, first, last) VALUES (?1, ?2, ?3, ?4) "
		      "ON CONFLICT (tenant, feature) DO UPDATE SET first = min(first, excluded.first), "
		      "last = max(last, excluded.last)",
		      NUM(id), STR(u->name), NUM(u->first_s), NUM(u->last_s));
}

int use_add(struct database *d, const struct store_use *rows, size_t n)
{
	int64_t now = time(NULL);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		int64_t id;

		r = tenants_id(d, rows[i].tenant, now, &id);
		if (r == 0)
			r = (rows[i].is_feature ? add_feature : add_library)(d, id, &rows[i]);
	}
	return r;
}

static int ask_libraries(struct database *d, const char *tenant, struct store_use *ret, size_t *ret_n)
{
	sqlite3_stmt *s;
	int r = db_ask(d, &s,
		       "SELECT u.library, u.channels, u.refused, u.launches, u.gpu_ns, u.faults FROM "
		       "use_library u JOIN tenant t ON t.id = u.tenant WHERE t.name = ?1 ORDER BY u.library "
		       "LIMIT ?2",
		       STR(tenant), NUM(USE_MOST_ROWS / 2));

	while (r >= 0 && (r = db_next(d, s)) > 0) {
		struct store_use *u = &ret[(*ret_n)++];

		db_text(s, 0, u->name, sizeof(u->name));
		u->channels = db_unsigned(s, 1);
		u->refused = db_unsigned(s, 2);
		u->launches = db_unsigned(s, 3);
		u->gpu_ns = db_unsigned(s, 4);
		u->faults = db_unsigned(s, 5);
	}
	return r;
}

static int ask_features(struct database *d, const char *tenant, struct store_use *ret, size_t *ret_n)
{
	sqlite3_stmt *s;
	int r =
	    db_ask(d, &s,
		   "SELECT u.feature, u.first, u.last FROM use_feature u JOIN tenant t ON t.id = u.tenant "
		   "WHERE t.name = ?1 ORDER BY u.feature LIMIT ?2",
		   STR(tenant), NUM(USE_MOST_ROWS / 2));

	while (r >= 0 && (r = db_next(d, s)) > 0) {
		struct store_use *u = &ret[(*ret_n)++];

		u->is_feature = true;
		db_text(s, 0, u->name, sizeof(u->name));
		u->first_s = sqlite3_column_int64(s, 1);
		u->last_s = sqlite3_column_int64(s, 2);
	}
	return r;
}

int use_ask(struct database *d, const char *tenant, struct store_use ret[static USE_MOST_ROWS], size_t *ret_n)
{
	int r;

	*ret_n = 0;
	r = ask_libraries(d, tenant, ret, ret_n);
	return r < 0 ? r : ask_features(d, tenant, ret, ret_n);
}
