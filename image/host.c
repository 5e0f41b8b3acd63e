// SPDX-License-Identifier: Apache-2.0
// Finds fat binaries in a host's files; see the header. Called by vgpu-admin.
#include "image/host.h"

#include <errno.h>
#include <string.h>

#include "image/bytes.h"
#include "image/elf64.h"
#include "image/fatbin.h"
#include "image/image.h"

#define ARCHIVE_MAGIC "!<arch>\n"
#define MEMBER_BYTES  60u
#define AT_SIZE	      48u // ten characters, decimal
#define AT_END	      58u

struct walk {
	bool (*found)(void *opaque, const struct image_part *part);
	void *opaque;
	bool done;
};

// The fat binaries of one section lie one behind the other, at multiples of eight.
static int walk_section(struct walk *w, struct image_part part, const unsigned char *p, uint64_t bytes)
{
	uint64_t at = 0;
	struct fatbin f;

	while (!w->done && bytes - at >= 8) {
		if (!read_le(p + at, 8)) {
			at += 8;
			continue;
		}
		if (image_kind(p + at, bytes - at) != IMAGE_FATBIN || fatbin_open(p + at, bytes - at, &f))
			return -EINVAL;
		part.image = p + at;
		part.bytes = f.end;
		w->done = !w->found(w->opaque, &part);
		at += f.end;
		at += -at & 7;
		if (at > bytes)
			break;
	}
	return 0;
}

static int walk_elf(struct walk *w, struct image_part part, const unsigned char *p, size_t bytes)
{
	struct elf64 e;
	int result = elf64_open(p, bytes, &e);

	for (size_t i = 0; !result && !w->done && i < e.n_sections; i++) {
		Elf64_Shdr s = elf64_section(&e, i);
		const char *name;

		if (s.sh_type == SHT_NULL || elf64_name(&e, &s, &name))
			continue;
		part.relocatable = strcmp(name, "__nv_relfatbin") == 0;
		if (strcmp(name, ".nv_fatbin") != 0 && !part.relocatable)
			continue;
		result = elf64_holds(&e, &s) ? walk_section(w, part, p + s.sh_offset, s.sh_size) : -EINVAL;
	}
	return result;
}

// The decimal number in a field that blanks fill. False: it is none.
static bool read_field(const unsigned char *p, unsigned n, uint64_t *ret)
{
	uint64_t v = 0;
	unsigned i = 0;

	for (; i < n && p[i] >= '0' && p[i] <= '9'; i++)
		v = 10 * v + (p[i] - '0');
	*ret = v;
	while (i < n && p[i] == ' ')
		i++;
	return i == n;
}

// Names longer than 15 bytes stand in the member "//"; the field has '/' and their offset.
static void name_member(struct image_part *part, const unsigned char *field, const char *names, size_t bytes)
{
	const char *end;
	uint64_t at;

	part->member = (const char *)field;
	part->member_bytes = 16;
	if (field[0] == '/' && read_field(field + 1, 15, &at) && at < bytes) {
		part->member = names + at;
		part->member_bytes = bytes - at;
	}
	end = memchr(part->member, '/', part->member_bytes);
	if (end)
		part->member_bytes = (size_t)(end - part->member);
}

static int walk_archive(struct walk *w, const unsigned char *p, size_t bytes)
{
	const unsigned char *names = NULL;
	uint64_t at = strlen(ARCHIVE_MAGIC), size, names_bytes = 0;
	int result = 0;

	while (!result && !w->done && at < bytes) {
		const unsigned char *head = p + at, *data = head + MEMBER_BYTES;
		struct image_part part = { 0 };

		if (!inside(bytes, at, MEMBER_BYTES) || !read_field(head + AT_SIZE, 10, &size) ||
		    memcmp(head + AT_END, "`\n", 2) != 0 || !inside(bytes, at + MEMBER_BYTES, size))
			return -EINVAL;
		if (memcmp(head, "// ", 3) == 0) {
			names = data;
			names_bytes = size;
		} else if (image_kind(data, size) == IMAGE_ELF) {
			name_member(&part, head, (const char *)names, names_bytes);
			result = walk_elf(w, part, data, size);
		}
		at += MEMBER_BYTES + size + size % 2;
	}
	return result;
}

int host_parts(const void *file, size_t bytes, bool (*found)(void *opaque, const struct image_part *part),
	       void *opaque)
{
	struct walk w = { .found = found, .opaque = opaque };

	if (bytes > strlen(ARCHIVE_MAGIC) && memcmp(file, ARCHIVE_MAGIC, strlen(ARCHIVE_MAGIC)) == 0)
		return walk_archive(&w, file, bytes);
	return walk_elf(&w, (struct image_part){ 0 }, file, bytes);
}
