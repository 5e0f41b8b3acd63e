// SPDX-License-Identifier: Apache-2.0
// Describes a file with program images; see the header. The bytes are a stranger's: the library image/ reads
// them, here they become text and numbers.
#include "admin/image_contents.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "admin/image_kernels.h"
#include "admin/text.h"
#include "common/cleanup.h"
#include "common/limits.h"
#include "image/cubin.h"
#include "image/device.h"
#include "image/elf64.h"
#include "image/fatbin.h"
#include "image/host.h"
#include "image/image.h"
#include "image/ptx_head.h"
#include "image/unpack.h"

// nvcc puts code without any kernel into every program; it has about 1.5 KiB.
#define EMPTY_CODE 16384

struct contents {
	json_t *document, *images;
	struct image_kernels kernels;
	size_t entries;
	const char *damaged; // a sentence; NULL: nothing is wrong yet
};

static void damage(struct contents *c, const char *what)
{
	if (!c->damaged)
		c->damaged = what;
}

static json_t *add_image(struct contents *c, const struct image_part *part)
{
	json_t *image = json_object();

	json_object_set_new(image, "member",
			    part && part->member ? image_text(part->member, part->member_bytes)
						 : json_null());
	json_object_set_new(image, "relocatable", json_boolean(part && part->relocatable));
	json_object_set_new(image, "entries", json_array());
	json_array_append_new(c->images, image);
	return image;
}

static json_t *version(unsigned major, unsigned minor)
{
	cleanup_free char *text = text_print("%u.%u", major, minor);

	return json_string(text);
}

static void set_target(json_t *entry, const struct image_target *t)
{
	char suffix[2] = { image_target_letter(t), 0 };
	cleanup_free char *arch = text_print("sm_%u%s", t->sm, suffix);

	json_object_set_new(entry, "arch", json_string(arch));
	json_object_set_new(entry, "sm", json_integer(t->sm));
	json_object_set_new(entry, "suffix", json_string(suffix));
}

static json_t *add_entry(json_t *image, const char *kind, const struct image_target *t, uint64_t bytes)
{
	json_t *entry = json_object();

	json_object_set_new(entry, "kind", json_string(kind));
	set_target(entry, t);
	json_object_set_new(entry, "ptx", json_null());
	json_object_set_new(entry, "bytes", json_integer((json_int_t)bytes));
	json_object_set_new(entry, "unpacked", json_null());
	json_object_set_new(entry, "compression", json_null());
	json_object_set_new(entry, "debug", json_false());
	json_object_set_new(entry, "options", json_null());
	json_object_set_new(entry, "empty", json_false());
	json_array_append_new(json_object_get(image, "entries"), entry);
	return entry;
}

// ---- files that are one image

static void add_ptx(struct contents *c, const char *text, size_t bytes)
{
	struct ptx_head h;
	json_t *entry;

	if (ptx_head_read(text, bytes, &h)) {
		damage(c, "The PTX does not begin with .version and .target.");
		return;
	}
	entry = add_entry(add_image(c, NULL), "ptx", &h.target, bytes);
	json_object_set_new(entry, "ptx", version(h.version / 10, h.version % 10));
	json_object_set_new(entry, "debug", json_boolean(h.debug));
	json_object_set_new(entry, "address_bits", json_integer(h.address_bits));
	if (!image_kernels_of_ptx(&c->kernels, entry, text, bytes))
		damage(c, "A declaration in the PTX has no end.");
}

static void add_code(struct contents *c, const void *code, size_t bytes)
{
	json_t *image, *entry;
	struct cubin list;

	if (cubin_read(code, bytes, &list)) {
		damage(c, "The machine code contradicts itself.");
		return;
	}
	image = add_image(c, &(struct image_part){ .relocatable = !list.linked });
	entry = add_entry(image, "code",
			  &(struct image_target){ list.sm, list.arch ? REACH_ARCH : REACH_ALL }, bytes);
	json_object_set_new(entry, "debug", json_boolean(list.debug));
	image_kernels_of_cubin(&c->kernels, entry, &list);
	cubin_done(&list);
}

// ---- fat binaries

// The bytes of an entry: in the file, or in *ret_owned. NULL: it does not unpack.
static const void *plain_bytes(const struct fatbin_entry *e, void **ret_owned, size_t *ret_n)
{
	*ret_owned = NULL;
	*ret_n = e->stored;
	if (!fatbin_is_packed(e))
		return e->payload;
	*ret_n = e->plain;
	return unpack_entry(e, ret_owned) ? NULL : *ret_owned;
}

static void list_kernels(struct contents *c, json_t *entry, const struct fatbin_entry *e)
{
	cleanup_free void *owned = NULL;
	struct cubin list;
	size_t n;
	const void *at = plain_bytes(e, &owned, &n);
	bool good = false;

	if (at && e->kind == FATBIN_PTX) {
		good = image_kernels_of_ptx(&c->kernels, entry, at, n);
	} else if (at && cubin_read(at, n, &list) == 0) {
		good = true;
		json_object_set_new(entry, "empty", json_boolean(!list.n_kernels && !list.n_variables));
		image_kernels_of_cubin(&c->kernels, entry, &list);
		cubin_done(&list);
	}
	if (good || !c->kernels.on)
		return;
	damage(c, unpack_is_known(e)
		      ? "The kernels of an entry cannot be read."
		      : "An entry is compressed with zstd, which this vgpu-admin cannot unpack.");
}

// All code that may be none is looked at, the rest only when kernels are asked for: unpacking takes time.
static bool is_looked_at(struct contents *c, const struct fatbin_entry *e)
{
	if (e->kind == FATBIN_CODE && (e->plain ? e->plain : e->stored) <= EMPTY_CODE)
		return true;
	return (e->kind == FATBIN_CODE || e->kind == FATBIN_PTX) && image_kernels_wanted(&c->kernels);
}

static void add_fatbin_entry(struct contents *c, json_t *image, const struct fatbin_entry *e)
{
	struct image_target t = image_target_of(e->sm, e->flags);
	cleanup_free char *other = text_print("kind %u", e->kind);
	const char *kind = e->kind == FATBIN_PTX     ? "ptx"
			   : e->kind == FATBIN_CODE  ? "code"
			   : e->kind == FATBIN_LTOIR ? "lto"
						     : other;
	json_t *entry = add_entry(image, kind, &t, e->stored);

	if (e->kind == FATBIN_PTX)
		json_object_set_new(entry, "ptx", version(e->major, e->minor));
	if (fatbin_is_packed(e)) {
		json_object_set_new(entry, "compression",
				    json_string(e->flags & FATBIN_ZSTD ? "zstd" : "lz4"));
		json_object_set_new(entry, "unpacked", json_integer((json_int_t)e->plain));
	}
	json_object_set_new(entry, "debug", json_boolean(e->flags & FATBIN_DEBUG));
	if (e->options_bytes)
		json_object_set_new(entry, "options", image_text(e->options, e->options_bytes));
	if (is_looked_at(c, e))
		list_kernels(c, entry, e);
}

static bool add_fatbin(void *opaque, const struct image_part *part)
{
	struct contents *c = opaque;
	json_t *image = add_image(c, part);
	struct fatbin_entry e;
	struct fatbin f;
	int more = fatbin_open(part->image, part->bytes, &f);

	while (!more && (more = fatbin_next(&f, &e)) > 0) {
		if (c->entries++ == VGPU_MAX_IMAGE_ENTRIES) {
			damage(c, "It has more entries than are looked at (VGPU_MAX_IMAGE_ENTRIES).");
			return false;
		}
		add_fatbin_entry(c, image, &e);
		more = 0;
	}
	if (more < 0)
		damage(c, "A fat binary says that it is longer than it is.");
	return true;
}

// ---- files

static const char *describe_elf(struct contents *c, const struct image_map *file)
{
	struct elf64 e;

	if (elf64_open(file->bytes, file->n, &e)) {
		damage(c, "It begins as an ELF file, but is no whole one of 64 bits.");
		return "machine code";
	}
	if (elf64_is_cubin(&e)) {
		add_code(c, file->bytes, file->n);
		return "machine code";
	}
	if (host_parts(file->bytes, file->n, add_fatbin, c))
		damage(c, "A section for fat binaries holds something else.");
	return e.type == ET_REL ? "object file" : "program or library";
}

// NULL: nothing known.
static const char *describe(struct contents *c, const struct image_map *file)
{
	switch (image_kind(file->bytes, file->n)) {
	case IMAGE_PTX: add_ptx(c, file->bytes, file->n); return "PTX";
	case IMAGE_FATBIN:
		add_fatbin(c, &(struct image_part){ .image = file->bytes, .bytes = file->n });
		return "fat binary";
	case IMAGE_ELF: return describe_elf(c, file);
	case IMAGE_ARCHIVE:
		if (host_parts(file->bytes, file->n, add_fatbin, c))
			damage(c, "A member of the archive is not what it says.");
		return "archive";
	default: return NULL;
	}
}

json_t *image_contents(const char *path, const struct image_map *file, bool kernels)
{
	struct contents c = { .document = json_object(), .images = json_array() };
	const char *kind;

	c.kernels.on = kernels;
	kind = describe(&c, file);
	json_object_set_new(c.document, "file", image_text(path, strlen(path)));
	json_object_set_new(c.document, "bytes", json_integer((json_int_t)file->n));
	json_object_set_new(c.document, "kind", kind ? json_string(kind) : json_null());
	json_object_set_new(c.document, "damaged", c.damaged ? json_string(c.damaged) : json_null());
	json_object_set_new(c.document, "images", c.images);
	json_object_set_new(c.document, "kernels_left_out", json_boolean(c.kernels.left_out));
	return c.document;
}
