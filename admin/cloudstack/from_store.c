// SPDX-License-Identifier: Apache-2.0
// What the mediator's database says while there is no mediator; see sources.h. Runs in vgpu-admin.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/cloudstack/listing.h"
#include "admin/cloudstack/sources.h"
#include "admin/text.h"
#include "mediator/store/store.h"

#define BOOT_FILE "/proc/sys/kernel/random/boot_id"

struct rows {
	struct store_row *list;
	size_t n, room;
};

static void found(void *opaque, const struct store_row *row)
{
	struct rows *r = opaque;

	if (r->n == r->room) {
		r->room = r->room ? 2 * r->room : 64;
		r->list = text_memory(reallocarray(r->list, r->room, sizeof(*r->list)));
	}
	r->list[r->n++] = *row;
}

static const struct store_row *find(const struct rows *r, enum store_kind kind, const char *key)
{
	for (size_t i = 0; i < r->n; i++) {
		if (r->list[i].kind == kind && strcmp(r->list[i].key, key) == 0)
			return &r->list[i];
	}
	return NULL;
}

// As the mediator writes it, without dashes.
static void read_boot(char *ret, size_t n)
{
	FILE *f = fopen(BOOT_FILE, "re");
	size_t at = 0;
	int c;

	ret[0] = 0;
	if (!f)
		return;
	while (at + 1 < n && (c = fgetc(f)) != EOF && c != '\n') {
		if (c != '-')
			ret[at++] = (char)c;
	}
	ret[at] = 0;
	fclose(f);
}

// What was reserved before the host's last start is nobody's.
static bool is_in_use(const struct store_row *row, const char *boot)
{
	return row->slot.vm[0] && (!row->slot.boot[0] || strcmp(row->slot.boot, boot) == 0);
}

static uint64_t count(const struct rows *r, const struct store_row *like)
{
	uint64_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		const struct store_row *row = &r->list[i];

		n += row->kind == STORE_SLOT && strcmp(row->slot.gpu, like->slot.gpu) == 0 &&
		     strcmp(row->slot.profile, like->slot.profile) == 0;
	}
	return n;
}

static void add_slots(json_t *card, const struct rows *r, const struct store_row *gpu, const char *boot)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct store_row *row = &r->list[i], *vm, *profile;
		struct listing_slot s = { .uuid = row->key };

		if (row->kind != STORE_SLOT || strcmp(row->slot.gpu, gpu->key) != 0 || !is_in_use(row, boot))
			continue;
		vm = find(r, STORE_VM, row->slot.vm);
		profile = find(r, STORE_PROFILE, row->slot.profile);
		s.profile = row->slot.profile;
		s.most = count(r, row);
		s.memory = profile && profile->profile.memory_bytes ? profile->profile.memory_bytes
								    : gpu->gpu.memory_bytes;
		s.vm = vm ? vm->vm.name : row->slot.vm;
		listing_slot(card, &s);
	}
}

static bool add_card(json_t *gpus, const struct rows *r, const struct store_row *gpu, const char *boot)
{
	struct listing_card c = { .pci = gpu->gpu.pci, .name = gpu->gpu.name };
	char root[32];
	json_t *card;

	c.vendor = gpu->gpu.pci_id & 0xffff;
	c.device = (uint32_t)(gpu->gpu.pci_id >> 16);
	c.root = source_kernel(c.pci, &c.numa, root, sizeof(root));
	card = listing_card(&c);
	if (!card)
		return false;
	add_slots(card, r, gpu, boot);
	json_array_append_new(gpus, card);
	return true;
}

int source_store(const char *path, json_t *gpus, char why[static SOURCE_WHY_BYTES])
{
	struct rows rows = { 0 };
	char boot[48];
	int r = store_read(path, found, &rows, why, SOURCE_WHY_BYTES);
	unsigned n = 0;

	read_boot(boot, sizeof(boot));
	for (size_t i = 0; r == 0 && i < rows.n; i++)
		n += rows.list[i].kind == STORE_GPU && add_card(gpus, &rows, &rows.list[i], boot);
	free(rows.list);
	if (r == 0 && !n) {
		snprintf(why, SOURCE_WHY_BYTES, "store %s: it knows no GPU and where it is", path);
		r = -ENODEV;
	}
	return r;
}

bool source_store_place(const char *path, const char *gpu, char *ret, size_t n, uint32_t *ret_id)
{
	struct rows rows = { 0 };
	char why[SOURCE_WHY_BYTES];
	const struct store_row *row = NULL;
	bool known;

	if (store_read(path, found, &rows, why, sizeof(why)) == 0)
		row = find(&rows, STORE_GPU, gpu);
	known = row && row->gpu.pci[0];
	if (known) {
		snprintf(ret, n, "%s", row->gpu.pci);
		*ret_id = (uint32_t)row->gpu.pci_id;
	}
	free(rows.list);
	return known;
}
