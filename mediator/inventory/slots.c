// SPDX-License-Identifier: Apache-2.0
// Slots: the vGPUs that the card is divided into, and which VM has which. Runs in the mediator's loop.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "mediator/adopt/deposit.h"
#include "mediator/adopt/keep.h"
#include "mediator/control/uuid.h"
#include "mediator/inventory/inventory.h"

static int compare_slots(const struct slot *a, const struct slot *b)
{
	return strcmp(a->uuid, b->uuid);
}

RB_GENERATE_INTERNAL(slot_tree, slot, link, compare_slots, __attribute__((unused)) static)

struct slot *slot_find(struct mediator *m, const char *uuid)
{
	struct slot key;

	snprintf(key.uuid, sizeof(key.uuid), "%s", uuid);
	return RB_FIND(slot_tree, &m->inventory.slots, &key);
}

struct slot *slot_after(struct mediator *m, struct slot *s)
{
	return s ? RB_NEXT(slot_tree, &m->inventory.slots, s) : RB_MIN(slot_tree, &m->inventory.slots);
}

struct slot *slot_new(struct mediator *m, const char *uuid, const char *gpu, struct profile *p)
{
	struct inventory *v = &m->inventory;
	struct slot *s = v->n_slots < VGPU_MAX_SLOTS ? calloc(1, sizeof(*s)) : NULL;

	if (!s)
		return NULL;
	snprintf(s->uuid, sizeof(s->uuid), "%s", uuid);
	snprintf(s->gpu, sizeof(s->gpu), "%s", gpu);
	s->profile = p;
	p->n_slots++;
	RB_INSERT(slot_tree, &v->slots, s);
	v->n_slots++;
	return s;
}

void slot_drop(struct mediator *m, struct slot *s)
{
	slot_give(s, NULL);
	s->profile->n_slots--;
	RB_REMOVE(slot_tree, &m->inventory.slots, s);
	m->inventory.n_slots--;
	free(s);
}

void slot_give(struct slot *s, struct vm *vm)
{
	if (s->vm)
		s->vm->slot = NULL;
	if (vm && vm->slot && vm->slot != s)
		slot_give(vm->slot, NULL);
	s->vm = vm;
	s->life = (struct slot_life){ 0 };
	s->with_vm = false;
	if (vm)
		vm->slot = s;
}

static bool is_taken(struct mediator *m, const char *gpu, const struct profile *p, uint32_t number)
{
	struct slot *s;

	for (s = slot_after(m, NULL); s; s = slot_after(m, s)) {
		if (s->profile == p && s->number == number && strcmp(s->gpu, gpu) == 0)
			return true;
	}
	return false;
}

uint32_t slot_free_number(struct mediator *m, const char *gpu, const struct profile *p)
{
	uint32_t number = 0;

	while (is_taken(m, gpu, p, number))
		number++;
	return number;
}

// ---- what is kept of one ----

void slot_keep(struct mediator *m, struct slot *s)
{
	struct deposit_slot r = {
		.number = s->number,
		.state = (uint16_t)s->life.state,
		.flags = (s->life.by_reserve ? DEPOSIT_SLOT_RESERVED : 0) |
			 (s->with_vm ? DEPOSIT_SLOT_WITH_VM : 0),
	};

	if (!s->keep.id)
		s->keep.id = ++m->inventory.next_id;
	snprintf(r.uuid, sizeof(r.uuid), "%s", s->uuid);
	snprintf(r.gpu, sizeof(r.gpu), "%s", s->gpu);
	snprintf(r.profile, sizeof(r.profile), "%s", s->profile->name);
	snprintf(r.vm, sizeof(r.vm), "%s", s->vm ? s->vm->uuid : "");
	keep_record(m, DEPOSIT_SLOT, s->keep.id, &r, NULL, 0, &s->keep.kept);
}

// The card's row, for the slot to refer to. Of another card than ours no more is known than its uuid.
static void tell_gpu(struct mediator *m, const char *gpu)
{
	struct record *r = &m->record;
	struct store_row row = { .kind = STORE_GPU };
	char ours[UUID_TEXT_BYTES];

	record_gpu(r);
	uuid_print(m->sensor.board.identity.uuid, ours);
	if (r->gpu_known && uuid_equal(gpu, ours))
		return;
	snprintf(row.key, sizeof(row.key), "%s", gpu);
	record_told(r, store_put(r->store, record_who(r), &row, NULL, NULL, NULL));
}

void slot_tell(struct mediator *m, struct slot *s)
{
	struct record *r = &m->record;
	struct store_row row = { .kind = STORE_SLOT };

	profile_users_changed(m, s->profile);
	slot_keep(m, s);
	if (!r->store)
		return;
	tell_gpu(m, s->gpu);
	snprintf(row.key, sizeof(row.key), "%s", s->uuid);
	snprintf(row.slot.gpu, sizeof(row.slot.gpu), "%s", s->gpu);
	snprintf(row.slot.profile, sizeof(row.slot.profile), "%s", s->profile->name);
	row.slot.number = s->number;
	snprintf(row.slot.vm, sizeof(row.slot.vm), "%s", s->vm ? s->vm->uuid : "");
	snprintf(row.slot.state, sizeof(row.slot.state), "%s", slot_state_text(s->life.state));
	if (s->life.by_reserve)
		snprintf(row.slot.boot, sizeof(row.slot.boot), "%s", inventory_boot(m));
	row.slot.with_vm = s->with_vm;
	record_told(r, store_put(r->store, record_who(r), &row, NULL, NULL, NULL));
}

static void untell(struct mediator *m, struct slot *s)
{
	struct record *r = &m->record;

	keep_gone(m, DEPOSIT_SLOT, s->keep.id, &s->keep.kept);
	if (r->store)
		record_told(r, store_remove(r->store, record_who(r), STORE_SLOT, s->uuid, NULL, NULL));
}

// ---- changes ----

static int may_have(const struct mediator *m, const struct vm *vm, const struct profile *p,
		    const struct slot *s, char *why)
{
	if (m->drain.on && (!s || vm->slot != s))
		return inventory_refuse(-EBUSY, why,
					"the host is being drained: no vGPU is assigned (drain.stop)");
	if (vm->slot && vm->slot != s)
		return inventory_refuse(
		    -EBUSY, why, "the VM '%s' has the vGPU %s already: release it first (vgpu.release)",
		    vm->name, vm->slot->uuid);
	if (vm->profile && vm->profile != p)
		return inventory_refuse(
		    -EBUSY, why, "the VM '%s' is to have a vGPU of profile '%s', and this one is of '%s'",
		    vm->name, vm->profile->name, p->name);
	return 0;
}

static int has_room(struct mediator *m, const struct profile *p, char *why)
{
	uint64_t memory = p->policy.value[POLICY_MEMORY];
	struct capacity_card card;
	struct capacity_use use;

	if (!m->sensor.board.known)
		return inventory_refuse(-ENODEV, why, "which GPU this mediator has is not known yet");
	if (m->inventory.n_slots >= VGPU_MAX_SLOTS)
		return inventory_refuse(-ENOSPC, why, "there are %d vGPUs already (VGPU_MAX_SLOTS)",
					VGPU_MAX_SLOTS);
	inventory_card(m, &card);
	inventory_use(m, &card, &use);
	if (capacity_fit(&card, &use, memory))
		return 0;
	if (use.vgpus >= card.most)
		return inventory_refuse(-EBUSY, why, "the card has %u vGPUs already (capacity.vgpus)",
					use.vgpus);
	return inventory_refuse(
	    -EBUSY, why,
	    "the card has no room for another vGPU of profile '%s' (%s): its vGPUs have %llu of %llu "
	    "bytes (capacity.overcommit)",
	    p->name, memory ? "its memory" : "without a limit of memory it takes all",
	    (unsigned long long)use.bytes, (unsigned long long)capacity_limit(&card));
}

int slot_add(struct mediator *m, struct profile *p, struct vm *vm, struct slot **ret, char *why)
{
	char uuid[VM_UUID_BYTES], gpu[UUID_TEXT_BYTES];
	uint32_t number;
	struct slot *s;
	int r = vm ? may_have(m, vm, p, NULL, why) : 0;

	if (r == 0)
		r = has_room(m, p, why);
	if (r < 0)
		return r;
	r = vm_uuid_make(uuid);
	if (r < 0)
		return inventory_refuse(r, why, "no random numbers: %s", strerror(-r));
	r = vm ? vm_tenant_make(m, vm, p, why) : 0;
	if (r < 0)
		return r;
	uuid_print(m->sensor.board.identity.uuid, gpu);
	number = slot_free_number(m, gpu, p);
	s = slot_new(m, uuid, gpu, p);
	if (!s) {
		if (vm)
			vm_tenant_end(vm);
		return inventory_refuse(-ENOMEM, why, "no memory");
	}
	s->number = number;
	if (vm) {
		slot_give(s, vm);
		slot_begin(m, s, false);
	}
	slot_tell(m, s);
	*ret = s;
	return 0;
}

int slot_remove(struct mediator *m, struct slot *s, char *why)
{
	struct profile *p = s->profile;

	if (s->vm)
		return inventory_refuse(-EBUSY, why,
					"the VM '%s' (%s) has it: release it first (vgpu.release)",
					s->vm->name, s->vm->uuid);
	untell(m, s);
	slot_drop(m, s);
	profile_users_changed(m, p);
	return 0;
}

int slot_take(struct mediator *m, struct slot *s, struct vm *vm, bool by_reserve, bool with_vm, char *why)
{
	int r = may_have(m, vm, s->profile, s, why);

	if (r == 0 && !vm->tenant)
		r = vm_tenant_make(m, vm, s->profile, why);
	if (r < 0)
		return r;
	slot_give(s, vm);
	slot_begin(m, s, by_reserve);
	s->with_vm = with_vm;
	slot_tell(m, s);
	return 0;
}

// Assigned again by hand what was only reserved stays.
static int assign_again(struct mediator *m, struct slot *s, char *why)
{
	int r = s->vm->tenant ? 0 : vm_tenant_make(m, s->vm, s->profile, why);

	if (r < 0 || !s->life.by_reserve)
		return r;
	slot_life_keep(&s->life);
	s->with_vm = false;
	slot_tell(m, s);
	return 0;
}

int slot_assign(struct mediator *m, struct slot *s, struct vm *vm, char *why)
{
	if (s->vm && s->vm != vm)
		return inventory_refuse(-EBUSY, why,
					"the VM '%s' (%s) has it: release it first (vgpu.release)",
					s->vm->name, s->vm->uuid);
	return s->vm ? assign_again(m, s, why) : slot_take(m, s, vm, false, false, why);
}

int slot_release(struct mediator *m, struct slot *s, char *why)
{
	if (!s->vm)
		return inventory_refuse(-EBUSY, why, "no VM has it");
	slot_end(m, s);
	return 0;
}
