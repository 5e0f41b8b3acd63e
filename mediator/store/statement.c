// SPDX-License-Identifier: Apache-2.0
// Prepared statements, kept by the address of their text, and transactions; see database.h. Runs in whichever
// thread owns the database.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mediator/store/database.h"

int database_error(int code)
{
	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW: return 0;
	case SQLITE_FULL: return -ENOSPC;
	case SQLITE_IOERR: return code == SQLITE_IOERR_NOMEM ? -ENOMEM : -EIO;
	case SQLITE_READONLY: return -EROFS;
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
	case SQLITE_AUTH: return -EACCES;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL: return -EAGAIN;
	case SQLITE_NOMEM: return -ENOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB: return -EUCLEAN;
	case SQLITE_CONSTRAINT: break;
	case SQLITE_TOOBIG: return -EINVAL;
	default: return -EPROTO;
	}
	switch (code) {
	case SQLITE_CONSTRAINT_FOREIGNKEY: return -ENOENT;
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY: return -EEXIST;
	default: return -EINVAL;
	}
}

bool database_may_recover(int error)
{
	return error == -ENOSPC || error == -EIO || error == -EROFS || error == -EACCES || error == -EAGAIN ||
	       error == -ENOMEM;
}

static int fail(struct database *d, int code)
{
	int r = database_error(code);

	if (r < 0)
		snprintf(d->error, sizeof(d->error), "%s",
			 sqlite3_errcode(d->db) ? sqlite3_errmsg(d->db) : sqlite3_errstr(code));
	return r;
}

static int prepare(struct database *d, sqlite3_stmt **ret, const char *sql)
{
	int code;

	for (unsigned i = 0; i < d->n_statements; i++) {
		if (d->statements[i].sql == sql) {
			*ret = d->statements[i].statement;
			return 0;
		}
	}
	if (d->n_statements == DATABASE_STATEMENTS) {
		snprintf(d->error, sizeof(d->error), "more than %d statements", DATABASE_STATEMENTS);
		return -EPROTO;
	}
	code = sqlite3_prepare_v3(d->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
	if (code != SQLITE_OK)
		return fail(d, code);
	d->statements[d->n_statements].sql = sql;
	d->statements[d->n_statements++].statement = *ret;
	return 0;
}

static int bind(sqlite3_stmt *s, const struct db_value *values)
{
	int code = SQLITE_OK;

	for (int i = 1; code == SQLITE_OK && values->kind != DB_END; i++, values++) {
		if (values->kind == DB_NUMBER)
			code = sqlite3_bind_int64(s, i, values->number);
		else if (values->kind == DB_REFERENCE && !values->text[0])
			code = sqlite3_bind_null(s, i);
		else
			code = sqlite3_bind_text(s, i, values->text, -1, SQLITE_STATIC);
	}
	return code;
}

int db_ask_values(struct database *d, sqlite3_stmt **ret, const char *sql, const struct db_value *values)
{
	int r = prepare(d, ret, sql), code;

	if (r < 0)
		return r;
	sqlite3_reset(*ret);
	code = bind(*ret, values);
	if (code != SQLITE_OK) {
		r = fail(d, code);
		db_end(*ret);
	}
	return r;
}

int db_next(struct database *d, sqlite3_stmt *s)
{
	int code = sqlite3_step(s), r;

	if (code == SQLITE_ROW)
		return 1;
	r = fail(d, code);
	db_end(s);
	return r;
}

void db_end(sqlite3_stmt *s)
{
	sqlite3_reset(s);
	sqlite3_clear_bindings(s); // the texts are not ours
}

int db_number_values(struct database *d, int64_t *ret, const char *sql, const struct db_value *values)
{
	sqlite3_stmt *s;
	int r = db_ask_values(d, &s, sql, values);

	if (r < 0)
		return r;
	r = db_next(d, s);
	if (r > 0) {
		*ret = sqlite3_column_int64(s, 0);
		db_end(s);
	}
	return r;
}

int db_run_values(struct database *d, const char *sql, const struct db_value *values)
{
	int64_t unread;
	int r = db_number_values(d, &unread, sql, values);

	return r > 0 ? 0 : r;
}

void db_text(sqlite3_stmt *s, int column, char *ret, size_t bytes)
{
	const unsigned char *text = sqlite3_column_text(s, column);

	snprintf(ret, bytes, "%s", text ? (const char *)text : "");
}

uint64_t db_unsigned(sqlite3_stmt *s, int column)
{
	int64_t n = sqlite3_column_int64(s, column);

	return n > 0 ? (uint64_t)n : 0;
}

int db_begin(struct database *d, bool durable)
{
	int r = durable ? db_run(d, "PRAGMA synchronous=FULL") : db_run(d, "PRAGMA synchronous=NORMAL");

	return r < 0 ? r : db_run(d, "BEGIN IMMEDIATE");
}

int db_commit(struct database *d)
{
	int r = db_run(d, "COMMIT");

	if (r < 0)
		db_rollback(d);
	return r;
}

void db_rollback(struct database *d)
{
	char error[sizeof(d->error)];

	if (!d->db || sqlite3_get_autocommit(d->db))
		return;
	memcpy(error, d->error, sizeof(error)); // why it is rolled back says more
	(void)db_run(d, "ROLLBACK");
	memcpy(d->error, error, sizeof(error));
}
