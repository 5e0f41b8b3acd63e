// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in vgpu-guest-check; the loading in a child.
#include "guest/check/loader.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest/check/child.h"
#include "guest/check/rules.h"

#define SEGMENTS_MOST 64
#define NOTES_MOST    65536

// '+' and the path, or '-' and what the loader says.
static void load(int out, void *arg)
{
	char answer[CHECK_PATH_BYTES + 1];
	void *library = dlopen(arg, RTLD_NOW | RTLD_LOCAL);
	struct link_map *map = NULL;

	if (library && !dlinfo(library, RTLD_DI_LINKMAP, &map))
		snprintf(answer, sizeof(answer), "+%s", map->l_name);
	else
		snprintf(answer, sizeof(answer), "-%s", dlerror());
	if (write(out, answer, strlen(answer)) < 0)
		_exit(1);
}

enum loader_result loader_find(const char *name, unsigned limit_s, char ret[CHECK_PATH_BYTES])
{
	cleanup_free char *copy = strdup(name);
	struct child c = { .work = load, .arg = copy, .limit_s = limit_s };
	size_t bytes;

	ret[0] = 0;
	child_run(&c);
	if (c.end == CHILD_TIMED_OUT)
		return LOADER_HANGS;
	if (!c.bytes)
		return LOADER_DIES;
	bytes = c.bytes - 1 < CHECK_PATH_BYTES - 1 ? c.bytes - 1 : CHECK_PATH_BYTES - 1;
	memcpy(ret, c.answer + 1, bytes);
	ret[bytes] = 0;
	return c.answer[0] == '+' ? LOADER_FOUND : LOADER_NOT_FOUND;
}

static bool read_at(int fd, void *to, size_t bytes, uint64_t offset)
{
	return offset <= INT64_MAX && pread(fd, to, bytes, (off_t)offset) == (ssize_t)bytes;
}

static bool note_of(int fd, const Elf64_Phdr *segment, char ret[CHECK_VERSION_BYTES])
{
	cleanup_free char *notes = NULL;

	if (segment->p_type != PT_NOTE || segment->p_filesz > NOTES_MOST)
		return false;
	notes = malloc(segment->p_filesz + 1);
	return notes && read_at(fd, notes, segment->p_filesz, segment->p_offset) &&
	       rule_version_note(notes, segment->p_filesz, segment->p_align, ret, CHECK_VERSION_BYTES);
}

bool loader_version(const char *path, char ret[CHECK_VERSION_BYTES])
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	Elf64_Ehdr elf;

	ret[0] = 0;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !read_at(fd, &elf, sizeof(elf), 0) ||
	    memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0 || elf.e_ident[EI_CLASS] != ELFCLASS64 ||
	    elf.e_phentsize != sizeof(Elf64_Phdr) || elf.e_phnum > SEGMENTS_MOST)
		return false;
	for (unsigned i = 0; i < elf.e_phnum; i++) {
		Elf64_Phdr segment;

		if (read_at(fd, &segment, sizeof(segment), elf.e_phoff + i * sizeof(segment)) &&
		    note_of(fd, &segment, ret))
			return true;
	}
	return false;
}
