// SPDX-License-Identifier: Apache-2.0
// Who changed what, from what to what. Rows are made in the transaction of the change itself, and before and
// after are read from the tables there, so they cannot disagree. Runs in the store's thread.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mediator/store/tables.h"

int audit_json_values(struct database *d, char ret[STORE_JSON_BYTES], const char *sql,
		      const struct db_value *values)
{
	sqlite3_stmt *s;
	int r = db_ask_values(d, &s, sql, values);

	ret[0] = 0;
	if (r < 0)
		return r;
	r = db_next(d, s);
	if (r > 0) {
		r = sqlite3_column_bytes(s, 0) < STORE_JSON_BYTES ? 0 : -EINVAL;
		if (r < 0)
			snprintf(d->error, sizeof(d->error), "longer than the audit can hold");
		else
			db_text(s, 0, ret, STORE_JSON_BYTES);
		db_end(s);
	}
	return r;
}

int audit_add(struct database *d, const struct change *c, const char *what, const char *subject,
	      const char *before, const char *after)
{
	if (strcmp(before, after) == 0)
		return 0;
	return db_run(d,
		      "INSERT INTO audit (at_ms, who, what, subject, before, after) VALUES (?1, ?2, ?3, ?4, "
		      "?5, ?6)",
		      NUM(c->at_ms), STR(c->who), STR(what), STR(subject), REF(before), REF(after));
}

int audit_ask(struct database *d, const struct store_audit_ask *ask, struct store_audit *ret, size_t *ret_n)
{
	sqlite3_stmt *s;
	int64_t below = ask->below_id ? ask->below_id : INT64_MAX;
	uint32_t most = ask->most < STORE_MOST_AUDIT ? ask->most : STORE_MOST_AUDIT;
	int r;

	*ret_n = 0;
	if (ask->subject[0])
		r = db_ask(d, &s,
			   "SELECT id, at_ms, who, what, subject, before, after FROM audit WHERE id < ?1 AND "
			   "subject = ?3 ORDER BY id DESC LIMIT ?2",
			   NUM(below), NUM(most), STR(ask->subject));
	else
		r = db_ask(d, &s,
			   "SELECT id, at_ms, who, what, subject, before, after FROM audit WHERE id < ?1 "
			   "ORDER BY id DESC LIMIT ?2",
			   NUM(below), NUM(most));
	while (r >= 0 && (r = db_next(d, s)) > 0) {
		struct store_audit *a = &ret[(*ret_n)++];

		a->id = sqlite3_column_int64(s, 0);
		a->at_ms = sqlite3_column_int64(s, 1);
		db_text(s, 2, a->who, sizeof(a->who));
		db_text(s, 3, a->what, sizeof(a->what));
		db_text(s, 4, a->subject, sizeof(a->subject));
		db_text(s, 5, a->before, sizeof(a->before));
		db_text(s, 6, a->after, sizeof(a->after));
	}
	return r;
}

int audit_prune(struct database *d, int64_t before_ms)
{
	return db_run(d, "DELETE FROM audit WHERE at_ms < ?1", NUM(before_ms));
}
