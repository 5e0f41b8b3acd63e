// SPDX-License-Identifier: Apache-2.0
// What the store's thread does inside transactions: the tables, one file for each family. Every function
// returns 0 or -errno as database_error(), with d->error; the caller begins, commits and rolls back.
#ifndef VGPU_MEDIATOR_STORE_TABLES_H
#define VGPU_MEDIATOR_STORE_TABLES_H

#include "mediator/store/database.h"
#include "mediator/store/store.h"

// Who changes something, and when.
struct change {
	const char *who;
	int64_t at_ms;
};

// ---- audit.c ----

// The JSON that a query of one column answers; "" if it has no row.
#define audit_json(d, ret, sql, ...) audit_json_values(d, ret, sql, DB_VALUES(__VA_ARGS__))
int audit_json_values(struct database *d, char ret[STORE_JSON_BYTES], const char *sql,
		      const struct db_value *values);
// Nothing is written when before and after are the same.
int audit_add(struct database *d, const struct change *c, const char *what, const char *subject,
	      const char *before, const char *after);
int audit_ask(struct database *d, const struct store_audit_ask *ask, struct store_audit *ret, size_t *ret_n);
int audit_prune(struct database *d, int64_t before_ms);

// ---- rows.c ----

int rows_put(struct database *d, const struct change *c, const struct store_row *row);
int rows_remove(struct database *d, const struct change *c, enum store_kind kind, const char *key);
int rows_load(struct database *d, void (*found)(void *opaque, const struct store_row *row), void *opaque);

// ---- owner_limits.c ----

int limits_set(struct database *d, const struct change *c, const struct store_limits *limits);
int limits_remove(struct database *d, const struct change *c, enum store_scope scope, const char *owner);
int limits_load(struct database *d, void (*found)(void *opaque, const struct store_limits *limits),
		void *opaque);

// ---- tenants.c ----

// Its number, made if there is none; the number of "others" when there are too many already.
int tenants_id(struct database *d, const char *name, int64_t now_s, int64_t *ret);
// What belongs to a tenant, but for its limits, and the tenant itself.
int tenants_remove(struct database *d, int64_t id);
// What is older than the days to keep, of the first tenant whose number is above *id; *id becomes that, or 0.
int tenants_prune(struct database *d, const struct store_config *keep, int64_t now_s, int64_t *id);

// ---- strike_rows.c ----

int strike_rows_add(struct database *d, const char *tenant, const char *cause, int64_t at_s);
int strike_rows_quarantine(struct database *d, const struct change *c, const char *tenant, const char *cause,
			   int64_t began_s, int64_t until_s);
int strike_rows_release(struct database *d, const struct change *c, const char *tenant, int64_t ended_s);
int strike_rows_load(struct database *d, void (*found)(void *opaque, const struct store_book *book),
		     void *opaque);

// ---- usage.c ----

int usage_add(struct database *d, uint64_t number, const struct store_usage *rows, size_t n);
int usage_booked(struct database *d, uint64_t *ret); // number of the last batch; 0: there was none
int usage_ask(struct database *d, const struct store_usage_ask *ask, struct store_usage *ret, size_t *ret_n);

// ---- use.c ----

#define USE_MOST_ROWS 128u // that are answered of one tenant
int use_add(struct database *d, const struct store_use *rows, size_t n);
int use_ask(struct database *d, const char *tenant, struct store_use ret[static USE_MOST_ROWS],
	    size_t *ret_n);

#endif
