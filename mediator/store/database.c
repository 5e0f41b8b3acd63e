// SPDX-License-Identifier: Apache-2.0
// The store's file: its place is locked, it is recognised, checked, upgraded, or set aside. See the header.
// Runs in whichever thread owns the database.
#include "mediator/store/database.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "mediator/store/migrations.h"

#define BUSY_WAIT_MS 2000 // for one who reads beside us, at the end of a checkpoint
#define PATH_BYTES   512

// Of SQLite's file format.
#define HEADER_BYTES	   100
#define HEADER_MAGIC	   "SQLite format 3"
#define HEADER_APPLICATION 68

int database_lock(const char *path, int *ret, bool *was_store, char *error, size_t n)
{
	char name[PATH_BYTES];
	cleanup_fd int fd = -1;
	struct stat st;

	if (snprintf(name, sizeof(name), "%s.lock", path) >= (int)sizeof(name)) {
		snprintf(error, n, "store %.100s...: the path is too long", path);
		return -ENAMETOOLONG;
	}
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		int saved = errno;

		snprintf(error, n, "store %s: %s", name, strerror(saved));
		return -saved;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int saved = errno;

		snprintf(error, n, "store %s: %s", path,
			 saved == EWOULDBLOCK ? "another mediator has it" : strerror(saved));
		return saved == EWOULDBLOCK ? -EBUSY : -saved;
	}
	*was_store = fstat(fd, &st) == 0 && st.st_size > 0;
	*ret = take_fd(&fd);
	return 0;
}

void database_mark(int lock_fd)
{
	static const char text[] = "the store beside this file is vgpu-mediator's\n";

	// If it fails, only a store whose first page is lost is not known as one any more.
	(void)!pwrite(lock_fd, text, sizeof(text) - 1, 0);
}

bool database_is_store(const char *path)
{
	unsigned char header[HEADER_BYTES];
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = pread(fd, header, sizeof(header), 0);
	if (n == 0)
		return true; // made, and nothing written yet
	if (n != (ssize_t)sizeof(header) || memcmp(header, HEADER_MAGIC, sizeof(HEADER_MAGIC)) != 0)
		return false;
	for (unsigned i = 0; i < 4; i++) {
		if (header[HEADER_APPLICATION + i] != (DATABASE_APPLICATION >> (24 - 8 * i) & 0xff))
			return false;
	}
	return true;
}

int database_set_aside(const char *path, char *name, size_t n)
{
	static const char *const suffixes[] = { "", "-wal", "-journal" };
	char from[PATH_BYTES], to[PATH_BYTES], when[32];
	time_t now = time(NULL);
	struct tm tm;

	strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
	snprintf(name, n, "%s.broken-%s", path, when);
	for (int i = 2; access(name, F_OK) == 0 && i < 1000; i++)
		snprintf(name, n, "%s.broken-%s-%d", path, when, i);
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		if (snprintf(from, sizeof(from), "%s%s", path, suffixes[i]) >= (int)sizeof(from) ||
		    snprintf(to, sizeof(to), "%s%s", name, suffixes[i]) >= (int)sizeof(to))
			return -ENAMETOOLONG;
		if (rename(from, to) < 0 && (i == 0 || errno != ENOENT))
			return -errno;
	}
	snprintf(from, sizeof(from), "%s-shm", path); // made anew from the WAL
	if (unlink(from) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

bool database_moved(struct database *d)
{
	int moved = 0;

	return sqlite3_file_control(d->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved;
}

static int check(struct database *d, const char *sql)
{
	sqlite3_stmt *s;
	int r = db_ask_values(d, &s, sql, DB_VALUES());

	if (r < 0)
		return r;
	r = db_next(d, s);
	if (r > 0) {
		char said[sizeof(d->error)];

		db_text(s, 0, said, sizeof(said));
		db_end(s);
		if (strcmp(said, "ok") == 0)
			return 0;
		memcpy(d->error, said, sizeof(said));
		return -EUCLEAN;
	}
	return r < 0 ? r : -EUCLEAN;
}

int database_verify(struct database *d)
{
	int64_t violations;
	int r = check(d, "PRAGMA integrity_check(1)");

	if (r < 0)
		return r;
	r = db_number(d, &violations, "SELECT count(*) FROM pragma_foreign_key_check");
	if (r < 0)
		return r;
	if (violations) {
		snprintf(d->error, sizeof(d->error), "%" PRId64 " rows refer to nothing", violations);
		return -EUCLEAN;
	}
	return 0;
}

static int configure(struct database *d)
{
	static const struct {
		int option, value;
	} options[] = {
		{ SQLITE_DBCONFIG_DEFENSIVE, 1 },   { SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0 },
		{ SQLITE_DBCONFIG_DQS_DML, 0 },	    { SQLITE_DBCONFIG_DQS_DDL, 0 },
		{ SQLITE_DBCONFIG_ENABLE_FKEY, 1 }, { SQLITE_DBCONFIG_ENABLE_TRIGGER, 0 },
		{ SQLITE_DBCONFIG_ENABLE_VIEW, 0 },
	};

	sqlite3_extended_result_codes(d->db, 1);
	sqlite3_busy_timeout(d->db, BUSY_WAIT_MS);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		int code = sqlite3_db_config(d->db, options[i].option, options[i].value, NULL);

		if (code != SQLITE_OK) {
			snprintf(d->error, sizeof(d->error), "%s", sqlite3_errstr(code));
			return -EPROTO;
		}
	}
	return 0;
}

// Whether it is a store, and of which schema (0: it is empty).
static int recognise(struct database *d, int64_t *version)
{
	int64_t application, objects;
	int r = db_number(d, &application, "PRAGMA application_id");

	if (r >= 0)
		r = db_number(d, version, "PRAGMA user_version");
	if (r >= 0)
		r = db_number(d, &objects, "SELECT count(*) FROM sqlite_schema");
	if (r < 0)
		return r;
	if (application == DATABASE_APPLICATION ? *version == 0 && objects > 0
						: application || *version || objects) {
		snprintf(d->error, sizeof(d->error), "it is a database of something else");
		return -EMEDIUMTYPE;
	}
	if (*version > n_migrations) {
		snprintf(d->error, sizeof(d->error),
			 "it has schema %" PRId64 ", and this program knows none above %u: it was used by a "
			 "newer vgpu-mediator",
			 *version, n_migrations);
		return -ENOTSUP;
	}
	return 0;
}

static int open_file(struct database *d, const char *path, int flags)
{
	int code, r;

	memset(d, 0, sizeof(*d));
	d->path = path;
	code = sqlite3_open_v2(path, &d->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
	if (code != SQLITE_OK) {
		int system = d->db ? sqlite3_system_errno(d->db) : 0;

		snprintf(d->error, sizeof(d->error), "%s", system ? strerror(system) : sqlite3_errstr(code));
		// No room to make it is a disk that is full; all else is the operator's to mend.
		return system == ENOSPC || system == EDQUOT ? -ENOSPC : database_error(code);
	}
	r = configure(d);
	if (r < 0)
		return r;
	if ((flags & SQLITE_OPEN_READWRITE) && sqlite3_db_readonly(d->db, "main")) {
		snprintf(d->error, sizeof(d->error), "it may not be written");
		return -EACCES;
	}
	return 0;
}

static int apply(struct database *d, unsigned number)
{
	const struct migration *m = &migrations[number - 1];
	char *text = sqlite3_mprintf("%s;PRAGMA user_version=%u", m->sql, number);
	int code, r;

	if (!text)
		return -ENOMEM;
	r = db_begin(d, true);
	if (r == 0) {
		code = sqlite3_exec(d->db, text, NULL, NULL, NULL);
		r = database_error(code);
		if (r < 0)
			snprintf(d->error, sizeof(d->error), "%s: %s", m->name, sqlite3_errmsg(d->db));
		r = r < 0 ? r : db_commit(d);
	}
	db_rollback(d);
	sqlite3_free(text);
	return r;
}

static int upgrade(struct database *d, int64_t version)
{
	char mode[16];
	sqlite3_stmt *s;
	int r = 0;

	// In this order: once the file says anything, it says whose it is.
	if (version == 0)
		r = db_run(d, "PRAGMA application_id=1986490485");
	if (r < 0)
		return r;
	r = db_ask(d, &s, "PRAGMA journal_mode=WAL");
	if (r == 0)
		r = db_next(d, s);
	if (r < 0)
		return r;
	db_text(s, 0, mode, sizeof(mode));
	db_end(s);
	if (strcmp(mode, "wal") != 0) {
		snprintf(d->error, sizeof(d->error), "its file system cannot hold a database in WAL mode");
		return -EACCES;
	}
	for (unsigned i = (unsigned)version + 1; i <= n_migrations; i++) {
		r = apply(d, i);
		if (r < 0)
			return r;
	}
	return 0;
}
static_assert(DATABASE_APPLICATION == 1986490485, "as in upgrade()");

static int limit_size(struct database *d, uint64_t most_bytes)
{
	char text[64];
	int64_t page_bytes;
	int r = db_number(d, &page_bytes, "PRAGMA page_size");

	if (r < 0 || !most_bytes)
		return r < 0 ? r : 0;
	snprintf(text, sizeof(text), "PRAGMA max_page_count=%" PRIu64, most_bytes / (uint64_t)page_bytes);
	return database_error(sqlite3_exec(d->db, text, NULL, NULL, NULL));
}

int database_open(struct database *d, const char *path, uint64_t most_bytes)
{
	int64_t version = 0;
	int r = open_file(d, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);

	if (r == 0)
		r = recognise(d, &version);
	d->made = version == 0;
	if (r == 0 && version)
		r = check(d, "PRAGMA quick_check(1)");
	if (r == 0)
		r = upgrade(d, version);
	return r == 0 ? limit_size(d, most_bytes) : r;
}

int database_open_reader(struct database *d, const char *path)
{
	int64_t version = 0;
	int r = open_file(d, path, SQLITE_OPEN_READONLY);

	if (r == 0)
		r = recognise(d, &version);
	if (r == 0 && !version) {
		snprintf(d->error, sizeof(d->error), "it is empty");
		return -EMEDIUMTYPE;
	}
	return r;
}

void database_close(struct database *d)
{
	for (unsigned i = 0; i < d->n_statements; i++)
		sqlite3_finalize(d->statements[i].statement);
	d->n_statements = 0;
	sqlite3_close(d->db);
	d->db = NULL;
}
