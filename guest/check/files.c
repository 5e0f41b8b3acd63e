// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in vgpu-guest-check.
#include "guest/check/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

// The path below the root; false where it is too long.
static bool path_of(const struct machine *m, char ret[CHECK_PATH_BYTES], const char *format, va_list ap)
{
	int head = snprintf(ret, CHECK_PATH_BYTES, "%s", m->root), n;

	if (head < 0 || head >= CHECK_PATH_BYTES)
		return false;
	n = vsnprintf(ret + head, CHECK_PATH_BYTES - (size_t)head, format, ap);
	return n >= 0 && n < CHECK_PATH_BYTES - head;
}

#define PATH_OF(m, path, format)                       \
	({                                             \
		va_list ap_;                           \
		bool fits_;                            \
		va_start(ap_, format);                 \
		fits_ = path_of(m, path, format, ap_); \
		va_end(ap_);                           \
		if (!fits_)                            \
			errno = ENAMETOOLONG;          \
		fits_;                                 \
	})

static char *read_all(const char *path, size_t most, size_t *ret_bytes)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	cleanup_free char *text = NULL;
	size_t room = 0, bytes = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return NULL;
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		return NULL;
	}
	for (;;) {
		ssize_t n;

		if (bytes == room) {
			size_t more = room ? room * 2 : FILE_SMALL;
			char *larger = realloc(text, more + 1);

			if (!larger)
				return NULL;
			text = larger;
			room = more;
		}
		n = bytes < most ? read(fd, text + bytes, (room < most ? room : most) - bytes) : 0;
		if (n < 0)
			return NULL;
		if (!n)
			break;
		bytes += (size_t)n;
	}
	text[bytes] = 0;
	if (ret_bytes)
		*ret_bytes = bytes;
	return take_ptr(text);
}

char *file_read(const struct machine *m, size_t most, size_t *ret_bytes, const char *format, ...)
{
	char path[CHECK_PATH_BYTES];

	return PATH_OF(m, path, format) ? read_all(path, most, ret_bytes) : NULL;
}

bool file_line(const struct machine *m, char *ret, size_t room, const char *format, ...)
{
	char path[CHECK_PATH_BYTES];
	cleanup_free char *text = PATH_OF(m, path, format) ? read_all(path, FILE_SMALL, NULL) : NULL;

	snprintf(ret, room, "%.*s", text ? (int)strcspn(text, "\n") : 0, text ? text : "");
	return text;
}

bool file_exists(const struct machine *m, const char *format, ...)
{
	char path[CHECK_PATH_BYTES];

	return PATH_OF(m, path, format) && !access(path, F_OK);
}

bool file_link_name(const struct machine *m, char *ret, size_t room, const char *format, ...)
{
	char path[CHECK_PATH_BYTES], target[CHECK_PATH_BYTES];
	const char *name;
	ssize_t n;

	ret[0] = 0;
	if (!PATH_OF(m, path, format))
		return false;
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = 0;
	name = strrchr(target, '/');
	snprintf(ret, room, "%s", name ? name + 1 : target);
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct file_names file_names(const struct machine *m, const char *folder)
{
	struct file_names names = { .name = calloc(FILES_MOST, sizeof(*names.name)) };
	char path[CHECK_PATH_BYTES];
	struct dirent *entry;
	DIR *dir;

	if (!names.name || snprintf(path, sizeof(path), "%s%s", m->root, folder) >= (int)sizeof(path))
		return names;
	dir = opendir(path);
	while (dir && names.count < FILES_MOST && (entry = readdir(dir))) {
		char *copy = entry->d_name[0] == '.' ? NULL : strdup(entry->d_name);

		if (copy)
			names.name[names.count++] = copy;
	}
	if (dir)
		closedir(dir);
	qsort(names.name, names.count, sizeof(*names.name), by_name);
	return names;
}

void file_names_free(struct file_names *names)
{
	for (unsigned i = 0; i < names->count; i++)
		free(names->name[i]);
	free(names->name);
	*names = (struct file_names){ 0 };
}
