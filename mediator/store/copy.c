// SPDX-License-Identifier: Apache-2.0
// Backup and restore. A copy is made beside its final place and renamed when it is complete and on the disk.
// Runs in the store's thread, or in a command without a daemon.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "mediator/store/internal.h"

static int sync_path(const char *path, int flags)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | flags);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int sync_directory_of(const char *path)
{
	char directory[STORE_TEXT_BYTES];
	char *slash;

	snprintf(directory, sizeof(directory), "%s", path);
	slash = strrchr(directory, '/');
	if (!slash)
		return sync_path(".", O_DIRECTORY);
	slash[slash == directory] = 0;
	return sync_path(directory, O_DIRECTORY);
}

// Never over a file that is there.
static int put_in_place(const char *from, const char *to)
{
	int r = sync_path(from, 0);

	if (r < 0)
		return r;
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0)
		return -errno;
	return sync_directory_of(to);
}

int copy_database(struct database *d, const char *to, char *error, size_t n)
{
	char part[STORE_TEXT_BYTES];
	int r;

	if (snprintf(part, sizeof(part), "%s.part", to) >= (int)sizeof(part))
		r = -ENAMETOOLONG;
	else if (access(to, F_OK) == 0)
		r = -EEXIST;
	else if (unlink(part) < 0 && errno != ENOENT) // of a copy that was cut short
		r = -errno;
	else
		r = 0;
	if (r < 0) {
		snprintf(error, n, "%s", strerror(-r));
		return r;
	}
	r = db_run(d, "VACUUM INTO ?1", STR(part));
	if (r < 0) {
		snprintf(error, n, "%s", d->error);
	} else {
		r = put_in_place(part, to);
		if (r < 0)
			snprintf(error, n, "%s", strerror(-r));
	}
	if (r < 0)
		unlink(part);
	return r;
}

int store_copy(const char *path, const char *to, char *error, size_t n)
{
	struct database d;
	char why[STORE_TEXT_BYTES];
	int r = database_open_reader(&d, path);

	if (r < 0) {
		snprintf(error, n, "store %s: %s", path, d.error);
	} else {
		r = copy_database(&d, to, why, sizeof(why));
		if (r < 0)
			snprintf(error, n, "%s: %s", to, why);
	}
	database_close(&d);
	return r;
}

int store_read(const char *path, void (*found)(void *opaque, const struct store_row *row), void *opaque,
	       char *error, size_t n)
{
	struct database d;
	int r = database_open_reader(&d, path);

	if (r == 0)
		r = rows_load(&d, found, opaque);
	if (r < 0)
		snprintf(error, n, "store %s: %s", path, d.error);
	database_close(&d);
	return r;
}

// Under the lock of path, so nobody has it open for writing.
static int replace(const char *path, struct database *backup, char *error, size_t n)
{
	char made[STORE_TEXT_BYTES], aside[STORE_TEXT_BYTES];
	char why[STORE_TEXT_BYTES] = "the path is too long";
	int r;

	if (snprintf(made, sizeof(made), "%s.restored", path) >= (int)sizeof(made))
		r = -ENAMETOOLONG;
	else if (unlink(made) < 0 && errno != ENOENT)
		r = -errno;
	else
		r = copy_database(backup, made, why, sizeof(why));
	if (r < 0) {
		snprintf(error, n, "store %s: %s", path, why);
		return r;
	}
	if (access(path, F_OK) == 0)
		r = database_set_aside(path, aside, sizeof(aside));
	if (r == 0)
		r = put_in_place(made, path);
	if (r < 0)
		snprintf(error, n, "store %s: %s", path, strerror(-r));
	return r;
}

int store_restore(const char *path, const char *backup, char *error, size_t n)
{
	struct database d = { 0 };
	cleanup_fd int lock = -1;
	bool was_store;
	int r = database_lock(path, &lock, &was_store, error, n);

	if (r < 0)
		return r;
	r = database_open_reader(&d, backup);
	if (r == 0)
		r = database_verify(&d);
	if (r < 0)
		snprintf(error, n, "backup %s: %s", backup, d.error);
	else
		r = replace(path, &d, error, n);
	if (r == 0)
		database_mark(lock);
	database_close(&d);
	return r;
}
