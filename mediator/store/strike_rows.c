// SPDX-License-Identifier: Apache-2.0
// Strikes and quarantine of tenants. Runs in the store's thread.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mediator/store/tables.h"

int strike_rows_add(struct database *d, const char *tenant, const char *cause, int64_t at_s)
{
	int64_t id;
	int r = tenants_id(d, tenant, at_s, &id);

	if (r == 0)
		r = db_run(d, "INSERT INTO strike (tenant, at, cause) VALUES (?1, ?2, ?3)", NUM(id),
			   NUM(at_s), STR(cause));
	if (r == 0)
		r = db_run(d,
			   "INSERT INTO strike_count (tenant, cause, count) VALUES (?1, ?2, 1) ON CONFLICT "
			   "(tenant, cause) DO UPDATE SET count = count + 1",
			   NUM(id), STR(cause));
	return r;
}

static int json(struct database *d, char ret[STORE_JSON_BYTES], int64_t id)
{
	return audit_json(
	    d, ret,
	    "SELECT json_object('cause', cause, 'began', began, 'until', until) FROM quarantine "
	    "WHERE tenant = ?1 AND ended IS NULL",
	    NUM(id));
}

int strike_rows_quarantine(struct database *d, const struct change *c, const char *tenant, const char *cause,
			   int64_t began_s, int64_t until_s)
{
	char before[STORE_JSON_BYTES], after[STORE_JSON_BYTES];
	int64_t id;
	int r = tenants_id(d, tenant, began_s, &id);

	if (r == 0)
		r = json(d, before, id);
	if (r == 0)
		r = db_run(
		    d,
		    "INSERT INTO quarantine (tenant, cause, began, until) VALUES (?1, ?2, ?3, nullif(?4, 0)) "
		    "ON CONFLICT (tenant) WHERE ended IS NULL DO UPDATE SET cause = excluded.cause, "
		    "until = excluded.until",
		    NUM(id), STR(cause), NUM(began_s), NUM(until_s));
	if (r == 0)
		r = json(d, after, id);
	return r < 0 ? r : audit_add(d, c, "quarantine.begin", tenant, before, after);
}

int strike_rows_release(struct database *d, const struct change *c, const char *tenant, int64_t ended_s)
{
	char before[STORE_JSON_BYTES];
	int64_t id;
	int r = db_number(d, &id, "SELECT id FROM tenant WHERE name = ?1", STR(tenant));

	if (r <= 0)
		return r;
	r = json(d, before, id);
	if (r == 0)
		r = db_run(d, "UPDATE quarantine SET ended = ?2 WHERE tenant = ?1 AND ended IS NULL", NUM(id),
			   NUM(ended_s));
	return r < 0 ? r : audit_add(d, c, "quarantine.end", tenant, before, "");
}

static int load_counts(struct database *d, int64_t id, struct store_book *b)
{
	sqlite3_stmt *s;
	int r = db_ask(d, &s, "SELECT cause, count FROM strike_count WHERE tenant = ?1 LIMIT ?2", NUM(id),
		       NUM(STORE_BOOK_CAUSES));

	while (r >= 0 && (r = db_next(d, s)) > 0) {
		db_text(s, 0, b->counts[b->n_counts].cause, sizeof(b->counts->cause));
		b->counts[b->n_counts++].count = db_unsigned(s, 1);
	}
	return r;
}

// A quarantine that ended leaves a clean sheet.
static int load_recent(struct database *d, int64_t id, struct store_book *b)
{
	sqlite3_stmt *s;
	int r = db_ask(
	    d, &s,
	    "SELECT cause, at FROM (SELECT id, cause, at FROM strike WHERE tenant = ?1 AND at >= "
	    "(SELECT coalesce(max(ended), 0) FROM quarantine WHERE tenant = ?1) ORDER BY id DESC LIMIT "
	    "?2) ORDER BY id",
	    NUM(id), NUM(STORE_BOOK_RECENT));

	while (r >= 0 && (r = db_next(d, s)) > 0) {
		db_text(s, 0, b->recent[b->n_recent].cause, sizeof(b->recent->cause));
		b->recent[b->n_recent++].at_s = sqlite3_column_int64(s, 1);
	}
	return r;
}

static int load_quarantine(struct database *d, int64_t id, struct store_book *b)
{
	sqlite3_stmt *s;
	int r = db_ask(
	    d, &s,
	    "SELECT cause, began, coalesce(until, 0) FROM quarantine WHERE tenant = ?1 AND ended IS NULL",
	    NUM(id));

	if (r == 0)
		r = db_next(d, s);
	if (r > 0) {
		b->quarantined = true;
		db_text(s, 0, b->cause, sizeof(b->cause));
		b->began_s = sqlite3_column_int64(s, 1);
		b->until_s = sqlite3_column_int64(s, 2);
		db_end(s);
		r = 0;
	}
	return r;
}

int strike_rows_load(struct database *d, void (*found)(void *opaque, const struct store_book *book),
		     void *opaque)
{
	sqlite3_stmt *s;
	int r = db_ask(
	    d, &s,
	    "SELECT id, name FROM tenant t WHERE EXISTS (SELECT 1 FROM strike_count WHERE tenant = t.id) "
	    "OR EXISTS (SELECT 1 FROM quarantine WHERE tenant = t.id AND ended IS NULL)");

	while (r >= 0 && (r = db_next(d, s)) > 0) {
		struct store_book b = { 0 };
		int64_t id = sqlite3_column_int64(s, 0);

		db_text(s, 1, b.tenant, sizeof(b.tenant));
		r = load_counts(d, id, &b);
		r = r < 0 ? r : load_recent(d, id, &b);
		r = r < 0 ? r : load_quarantine(d, id, &b);
		if (r < 0) {
			db_end(s);
			break;
		}
		found(opaque, &b);
	}
	return r;
}
