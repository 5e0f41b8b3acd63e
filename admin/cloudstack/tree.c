// SPDX-License-Identifier: Apache-2.0
// Files below a root folder; see the header. Used by install, uninstall and doctor, in vgpu-admin,
// mostly as root.
#include "admin/cloudstack/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "admin/text.h"
#include "common/cleanup.h"

#define STAGED ".vgpu-new"

static bool fail(char **ret_why, const char *path, int error)
{
	const char *step = error == EACCES || error == EPERM ? ".\nBecome root"
			   : error == EROFS		     ? ".\nThe file system is mounted read-only"
							     : "";

	*ret_why = text_print("%s: %s%s", path, strerror(error), step);
	return false;
}

// ---- folders ----

bool tree_open(struct tree *t, const char *root, char **ret_why)
{
	*t = (struct tree){ .fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	return t->fd >= 0 || fail(ret_why, root, errno);
}

void tree_close(struct tree *t)
{
	close_fd(&t->fd);
	for (size_t i = 0; i < t->n_made; i++)
		free(take_ptr(t->made[i]));
	t->n_made = 0;
}

// Whether nobody can put something else into the folder that was opened.
static bool is_safe(int fd, const char *path, char **ret_why)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail(ret_why, path, errno);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		*ret_why = text_print("%s belongs to another user, who could put other files there: chown "
				      "root %s",
				      path, path);
	else if ((st.st_mode & 022) && !(st.st_mode & S_ISVTX))
		*ret_why = text_print("%s: others can put files there: chmod go-w %s", path, path);
	return !*ret_why;
}

// The folder name of parent, which path names down to its end. An fd; -1: it is not there, or with
// why.
static int open_folder(struct tree *t, int parent, const char *name, const char *path, bool make,
		       char **ret_why)
{
	cleanup_fd int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && make && t->n_made < sizeof(t->made) / sizeof(t->made[0])) {
		if (mkdirat(parent, name, 0755) == 0) {
			t->made[t->n_made++] = text_print("%s", path);
			fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (fd >= 0)
				fchmod(fd, 0755); // whatever the umask
		}
	}
	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
		*ret_why = text_print("%s is a link or no folder: it is not followed", path);
	else if (fd < 0 && (errno != ENOENT || make))
		fail(ret_why, path, errno);
	if (fd < 0 || !is_safe(fd, path, ret_why))
		return -1;
	return take_fd(&fd);
}

// The folder that path is in. An fd; -1: it is not there, or with why. *ret_name points into path.
static int open_parent(struct tree *t, const char *path, bool make, const char **ret_name, char **ret_why)
{
	cleanup_fd int fd = fcntl(t->fd, F_DUPFD_CLOEXEC, 3);
	const char *part = path + 1, *slash;

	*ret_why = NULL;
	for (; fd >= 0 && (slash = strchr(part, '/')); part = slash + 1) {
		cleanup_free char *name = text_print("%.*s", (int)(slash - part), part);
		cleanup_free char *folder = text_print("%.*s", (int)(slash - path), path);
		int next;

		if (strcmp(name, "..") == 0) {
			*ret_why = text_print("%s: '..' in a path", path);
			return -1;
		}
		next = open_folder(t, fd, name[0] ? name : ".", folder, make, ret_why);
		close_fd(&fd);
		fd = next;
	}
	*ret_name = part;
	return take_fd(&fd);
}

void tree_unmake(struct tree *t)
{
	while (t->n_made) {
		cleanup_free char *path = t->made[--t->n_made];
		cleanup_free char *why = NULL;
		const char *name;
		cleanup_fd int fd = open_parent(t, path, false, &name, &why);

		if (fd >= 0)
			unlinkat(fd, name, AT_REMOVEDIR);
	}
}

// ---- reading ----

static bool read_file(int fd, const char *path, struct tree_file *ret, char **ret_why)
{
	size_t room = (size_t)ret->st.st_size + 1;
	ssize_t got = 0;

	if (ret->st.st_size > TREE_MOST_BYTES) {
		*ret_why = text_print("%s is longer than %u KiB: not looked at", path, TREE_MOST_BYTES >> 10);
		return false;
	}
	ret->text = text_memory(malloc(room));
	while (ret->n < room - 1 && (got = read(fd, ret->text + ret->n, room - 1 - ret->n)) > 0)
		ret->n += (size_t)got;
	if (got < 0)
		return fail(ret_why, path, errno);
	ret->text[ret->n] = 0;
	return true;
}

bool tree_read(struct tree *t, const char *path, struct tree_file *ret, char **ret_why)
{
	const char *name;
	cleanup_fd int in = open_parent(t, path, false, &name, ret_why);
	cleanup_fd int fd = -1;

	*ret = (struct tree_file){ 0 };
	if (in < 0)
		return !*ret_why;
	if (fstatat(in, name, &ret->st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT || fail(ret_why, path, errno);
	ret->there = true;
	if (!S_ISREG(ret->st.st_mode))
		return true;
	fd = openat(in, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &ret->st) < 0)
		return fail(ret_why, path, errno);
	return !S_ISREG(ret->st.st_mode) || read_file(fd, path, ret, ret_why);
}

void tree_file_done(struct tree_file *f)
{
	free(take_ptr(f->text));
}

// ---- writing ----

static bool write_all(int fd, const char *text, size_t n)
{
	while (n) {
		ssize_t put = write(fd, text, n);

		if (put < 0)
			return false;
		text += put;
		n -= (size_t)put;
	}
	return true;
}

bool tree_stage(struct tree *t, const char *path, const char *text, size_t n, mode_t mode, char **ret_why)
{
	const char *name;
	cleanup_fd int in = open_parent(t, path, true, &name, ret_why);
	cleanup_free char *staged = text_print(".%s" STAGED, name);
	cleanup_fd int fd = -1;

	if (in < 0)
		return false;
	unlinkat(in, staged, 0); // of one that was interrupted
	fd = openat(in, staged, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	// The group may be the folder's.
	if (fd >= 0 && fchown(fd, geteuid(), getegid()) == 0 && write_all(fd, text, n) &&
	    fchmod(fd, mode) == 0 && fsync(fd) == 0)
		return true;
	fail(ret_why, path, errno);
	if (fd >= 0)
		unlinkat(in, staged, 0);
	return false;
}

bool tree_commit(struct tree *t, const char *path, char **ret_why)
{
	const char *name;
	cleanup_fd int in = open_parent(t, path, false, &name, ret_why);
	cleanup_free char *staged = text_print(".%s" STAGED, name);

	if (in < 0)
		return *ret_why ? false : fail(ret_why, path, ENOENT);
	if (renameat(in, staged, in, name) < 0)
		return fail(ret_why, path, errno);
	fsync(in);
	return true;
}

void tree_discard(struct tree *t, const char *path)
{
	cleanup_free char *why = NULL;
	const char *name;
	cleanup_fd int in = open_parent(t, path, false, &name, &why);
	cleanup_free char *staged = text_print(".%s" STAGED, name);

	if (in >= 0)
		unlinkat(in, staged, 0);
}

bool tree_move(struct tree *t, const char *from, const char *to, char **ret_why)
{
	const char *from_name, *to_name;
	cleanup_fd int from_in = open_parent(t, from, false, &from_name, ret_why), to_in = -1;

	if (from_in >= 0)
		to_in = open_parent(t, to, false, &to_name, ret_why);
	if (to_in < 0)
		return *ret_why ? false : fail(ret_why, from, ENOENT);
	if (renameat2(from_in, from_name, to_in, to_name, RENAME_NOREPLACE) < 0)
		return fail(ret_why, errno == EEXIST ? to : from, errno);
	fsync(to_in);
	if (from_in != to_in)
		fsync(from_in);
	return true;
}

bool tree_remove(struct tree *t, const char *path, char **ret_why)
{
	const char *name;
	cleanup_fd int in = open_parent(t, path, false, &name, ret_why);

	if (in < 0)
		return *ret_why ? false : fail(ret_why, path, ENOENT);
	if (unlinkat(in, name, 0) < 0)
		return fail(ret_why, path, errno);
	fsync(in);
	return true;
}
