// SPDX-License-Identifier: Apache-2.0
// One SQLite connection of the store: opening, checking and upgrading the file, prepared statements, and
// errors as -errno with a text. Owned by one thread at a time.
#ifndef VGPU_MEDIATOR_STORE_DATABASE_H
#define VGPU_MEDIATOR_STORE_DATABASE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mediator/store/store.h"

#define DATABASE_APPLICATION 0x76677075 // "vgpu", in the file's header
#define DATABASE_STATEMENTS  128

struct database {
	sqlite3 *db;
	const char *path; // the caller's
	bool made;	  // by database_open(): it was not there, or empty
	struct {
		const char *sql; // a literal: its address is the key
		sqlite3_stmt *statement;
	} statements[DATABASE_STATEMENTS];
	unsigned n_statements;
	char error[STORE_TEXT_BYTES]; // of the last call that failed
};

// Locks the place of a database for this process, for as long as *ret is open. Nobody else writes to it then.
// was_store: there was a store once. -EBUSY, or -errno.
int database_lock(const char *path, int *ret, bool *was_store, char *error, size_t error_bytes);
// From now on there is.
void database_mark(int lock_fd);

// Under the lock: opens and checks the file, makes it if it is not there, and brings it to the newest schema.
// 0 or -errno as database_error(); also -ENOTSUP (newer schema) and -EMEDIUMTYPE (not a store).
int database_open(struct database *d, const char *path, uint64_t most_bytes);

// For reading, beside whoever has the lock. Checks nothing but that it is a store with a known schema.
int database_open_reader(struct database *d, const char *path);
void database_close(struct database *d); // accepts one that is all zero

// Whether the file at path is a store or an unfinished one by its header alone.
bool database_is_store(const char *path);
// Renames the file and what belongs to it to PATH.broken-TIME; name gets that.
int database_set_aside(const char *path, char *name, size_t name_bytes);
// Whether path is not the opened file any more.
bool database_moved(struct database *d);
// All of the file, thoroughly: 0, -EUCLEAN, or -errno.
int database_verify(struct database *d);

// What an SQLite result means for us:
//   -ENOSPC -EIO -EROFS -EACCES -EAGAIN -ENOMEM  the surroundings; may go away
//   -EUCLEAN                                     the file is broken
//   -EEXIST -ENOENT -EINVAL                      a rule of the schema (ENOENT: a reference)
//   -EPROTO                                      our mistake
int database_error(int sqlite_code);
bool database_may_recover(int error);

// ---- statements ----

struct db_value {
	enum { DB_END, DB_NUMBER, DB_TEXT, DB_REFERENCE } kind; // DB_REFERENCE: a text, NULL for ""
	int64_t number;
	const char *text; // read while the statement runs
};

#define DB_VALUES(...) ((const struct db_value[]){ __VA_ARGS__ __VA_OPT__(, ){ DB_END, 0, NULL } })
#define NUM(n)	       { DB_NUMBER, (int64_t)(n), NULL }
#define STR(s)	       { DB_TEXT, 0, (s) }
#define REF(s)	       { DB_REFERENCE, 0, (s) }

// Runs a statement that answers nothing. sql is a literal. 0 or -errno.
#define db_run(d, sql, ...) db_run_values(d, sql, DB_VALUES(__VA_ARGS__))
int db_run_values(struct database *d, const char *sql, const struct db_value *values);

// Starts a statement; db_next() gives its rows: 1, 0 at the end, or -errno. db_end() after a row that is not
// the last one (it does no harm otherwise). One at a time for each text.
#define db_ask(d, ret, sql, ...) db_ask_values(d, ret, sql, DB_VALUES(__VA_ARGS__))
int db_ask_values(struct database *d, sqlite3_stmt **ret, const char *sql, const struct db_value *values);
int db_next(struct database *d, sqlite3_stmt *statement);
void db_end(sqlite3_stmt *statement);

// One number of one row: 1, 0 if there is no row, or -errno.
#define db_number(d, ret, sql, ...) db_number_values(d, ret, sql, DB_VALUES(__VA_ARGS__))
int db_number_values(struct database *d, int64_t *ret, const char *sql, const struct db_value *values);

void db_text(sqlite3_stmt *statement, int column, char *ret, size_t bytes); // NULL becomes ""
uint64_t db_unsigned(sqlite3_stmt *statement, int column);

// Transactions. durable: on the disk when db_commit() returns, else only safe from this process's death.
int db_begin(struct database *d, bool durable);
int db_commit(struct database *d);
void db_rollback(struct database *d); // what failed may have done it already

#endif
