// SPDX-License-Identifier: Apache-2.0
// Partition: the card gets as many slots of a profile as an operator says, with uuids that are always the
// same (slot_id.h), so that a cloud knows them again after whatever was lost. All or nothing. Runs in the
// mediator's loop.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-id128.h>

#include "mediator/control/uuid.h"
#include "mediator/inventory/slot_id.h"
#include "mediator/mediator.h"

struct partition {
	struct mediator *m;
	struct profile *profile;
	char gpu[UUID_TEXT_BYTES];
	uint32_t count;
	char (*ids)[VM_UUID_BYTES]; // by number
	uint32_t n_removed, n_kept;
};

static int make_ids(struct partition *p, char *why)
{
	char machine[SD_ID128_STRING_MAX];
	sd_id128_t id;
	int r = sd_id128_get_machine(&id);

	if (r < 0)
		return inventory_refuse(r, why, "the host has no machine id (/etc/machine-id): %s",
					strerror(-r));
	sd_id128_to_string(id, machine);
	p->ids = calloc(p->count ? p->count : 1, sizeof(*p->ids));
	if (!p->ids)
		return inventory_refuse(-ENOMEM, why, "no memory");
	for (uint32_t i = 0; r >= 0 && i < p->count; i++)
		r = slot_id(machine, p->gpu, p->profile->name, i, p->ids[i]);
	return r < 0 ? inventory_refuse(r, why, "no uuids: %s", strerror(-r)) : 0;
}

static bool is_meant(const struct partition *p, const struct slot *s)
{
	return s->profile == p->profile && uuid_equal(s->gpu, p->gpu);
}

static bool stays(const struct partition *p, const struct slot *s)
{
	return p->ids && s->number < p->count && strcmp(p->ids[s->number], s->uuid) == 0;
}

// Counts, and refuses where one that would go is in use.
static int look(struct partition *p, char *why)
{
	struct slot *s;

	for (s = slot_after(p->m, NULL); s; s = slot_after(p->m, s)) {
		if (!is_meant(p, s))
			continue;
		if (stays(p, s)) {
			p->n_kept++;
			continue;
		}
		if (s->vm)
			return inventory_refuse(-EBUSY, why,
						"the VM '%s' (%s) has the vGPU %s, which would go: nothing "
						"was changed",
						s->vm->name, s->vm->uuid, s->uuid);
		p->n_removed++;
	}
	return 0;
}

static int has_room(const struct partition *p, char *why)
{
	uint64_t memory = p->profile->policy.value[POLICY_MEMORY];
	uint32_t here = p->n_kept + p->n_removed, more = p->count - p->n_kept, fit;
	struct capacity_use use = { 0 };
	struct capacity_card card;
	struct profile *other;

	if (p->count <= p->n_kept)
		return 0;
	if (p->m->inventory.n_slots - p->n_removed + more > VGPU_MAX_SLOTS)
		return inventory_refuse(-ENOSPC, why, "there would be more than %d vGPUs (VGPU_MAX_SLOTS)",
					VGPU_MAX_SLOTS);
	inventory_card(p->m, &card);
	for (other = profile_after(p->m, NULL); other; other = profile_after(p->m, other))
		capacity_add(&card, other->policy.value[POLICY_MEMORY],
			     other->n_slots - (other == p->profile ? here : 0), &use);
	fit = capacity_fit(&card, &use, memory);
	if (fit >= p->count)
		return 0;
	return inventory_refuse(-EBUSY, why,
				"the card has room for %u vGPUs of profile '%s' beside the others "
				"(capacity.overcommit, capacity.vgpus)",
				fit, p->profile->name);
}

// Those that go first: numbers are theirs until then.
static int carry_out(struct partition *p, char *why)
{
	struct slot *s, *next;

	for (s = slot_after(p->m, NULL); s; s = next) {
		next = slot_after(p->m, s);
		if (is_meant(p, s) && !stays(p, s))
			slot_remove(p->m, s, why); // it is free
	}
	for (uint32_t i = 0; i < p->count; i++) {
		if (slot_find(p->m, p->ids[i]))
			continue;
		s = slot_new(p->m, p->ids[i], p->gpu, p->profile);
		if (!s)
			return inventory_refuse(-ENOMEM, why, "no memory; %u vGPUs are there", i);
		s->number = i;
		slot_tell(p->m, s);
	}
	return 0;
}

int slots_partition(struct mediator *m, struct profile *profile, uint32_t count,
		    struct slots_partitioned *ret, char *why)
{
	struct partition p = { .m = m, .profile = profile, .count = count };
	int r;

	if (!m->sensor.board.known)
		return inventory_refuse(-ENODEV, why, "which GPU this mediator has is not known yet");
	if (count > VGPU_MAX_SLOTS)
		return inventory_refuse(-EINVAL, why, "count: not 0 to %d", VGPU_MAX_SLOTS);
	uuid_print(m->sensor.board.identity.uuid, p.gpu);
	r = make_ids(&p, why);
	if (r == 0)
		r = look(&p, why);
	if (r == 0)
		r = has_room(&p, why);
	if (r == 0)
		r = carry_out(&p, why);
	free(p.ids);
	if (r == 0)
		*ret = (struct slots_partitioned){ count - p.n_kept, p.n_removed };
	return r;
}
