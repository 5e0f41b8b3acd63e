// SPDX-License-Identifier: Apache-2.0
// What comes back into the inventory: rows of the store, and records of the keeper. What is here already is
// newer than a row, and older than a record. Runs in the mediator's loop and start.
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/log.h"
#include "mediator/adopt/deposit.h"
#include "mediator/mediator.h"

// ---- the store ----

void inventory_loading(struct mediator *m)
{
	struct profile *p;

	for (p = profile_after(m, NULL); p; p = profile_after(m, p))
		p->row = false;
}

static void profile_row(struct mediator *m, const struct store_row *row)
{
	struct profile *p = profile_find(m, row->key);

	if (!p) {
		p = profile_new(m, row->key);
		if (p)
			p->loading = true;
	}
	if (p)
		p->row = true;
	else
		log_warning("store: the profile '%s' is left out: too many (VGPU_MAX_PROFILES)", row->key);
}

void inventory_limits(struct mediator *m, const struct store_limits *limits)
{
	struct profile *p = profile_find(m, limits->owner);

	if (!p || !p->loading)
		return;
	for (uint32_t i = 0; i < limits->n; i++) {
		const struct store_limit *l = &limits->list[i];
		int item = policy_find(l->name, POLICY_FOR_PROFILE);

		if (item < 0 || policy_set_value(&p->policy, (enum policy_item)item, l->value) < 0)
			log_warning("store: '%s' = %" PRIu64 " of profile %s is not known here, and left out",
				    l->name, l->value, limits->owner);
	}
}

static void say(struct vm *vm, enum policy_item item, const char *word)
{
	char why[INVENTORY_WHY_BYTES];

	if (word[0] && policy_set_text(&vm->said, item, word, why, sizeof(why)) < 0)
		log_warning("store: of the VM %s: %s", vm->uuid, why);
}

static void vm_row(struct mediator *m, const struct store_row *row)
{
	struct vm *vm = vm_find(m, row->key);

	if (vm)
		return;
	vm = vm_new(m, row->key, row->vm.name);
	if (!vm) {
		log_warning("store: the VM %s is left out: too many (VGPU_MAX_VMS)", row->key);
		return;
	}
	vm->loading = true;
	snprintf(vm->pool, sizeof(vm->pool), "%.*s", (int)sizeof(vm->pool) - 1, row->vm.pool);
	say(vm, POLICY_PERSONALITY, row->vm.personality);
	say(vm, POLICY_PROTOCOL, row->vm.protocol);
	if (row->vm.profile[0])
		vm_name_profile(vm, profile_find(m, row->vm.profile));
}

// One that was made here meanwhile moves on: what the file has is older.
static void free_number(struct mediator *m, const struct slot *owner)
{
	struct slot *s;

	for (s = slot_after(m, NULL); s; s = slot_after(m, s)) {
		if (s != owner && s->profile == owner->profile && s->number == owner->number &&
		    strcmp(s->gpu, owner->gpu) == 0)
			s->number = slot_free_number(m, s->gpu, s->profile);
	}
}

static void take_vm(struct mediator *m, struct slot *s, struct vm *vm, const struct store_row *row)
{
	enum slot_state state = slot_state_find(row->slot.state);

	slot_give(s, vm);
	slot_resume(m, s, row->slot.boot[0], state == SLOT_STATES ? SLOT_FREE : state);
	s->with_vm = row->slot.with_vm;
	s->stale = row->slot.boot[0] && strcmp(row->slot.boot, inventory_boot(m)) != 0;
}

static void slot_row(struct mediator *m, const struct store_row *row)
{
	struct profile *p = profile_find(m, row->slot.profile);
	struct vm *vm = row->slot.vm[0] ? vm_find(m, row->slot.vm) : NULL;
	struct slot *s;

	if (slot_find(m, row->key))
		return;
	s = p ? slot_new(m, row->key, row->slot.gpu, p) : NULL;
	if (!s) {
		log_warning("store: the vGPU %s is left out: %s", row->key,
			    p ? "too many (VGPU_MAX_SLOTS)" : "without its profile");
		return;
	}
	s->loading = true;
	s->number = (uint32_t)row->slot.number;
	free_number(m, s);
	if (vm && !vm->slot)
		take_vm(m, s, vm, row);
	else if (row->slot.vm[0])
		log_warning("store: the vGPU %s is free: its VM has another one", row->key);
}

void inventory_row(struct mediator *m, const struct store_row *row)
{
	if (row->kind == STORE_PROFILE)
		profile_row(m, row);
	else if (row->kind == STORE_VM)
		vm_row(m, row);
	else
		slot_row(m, row);
}

static void tell_what_was_here(struct mediator *m)
{
	struct profile *p;
	struct slot *s;
	struct vm *vm;

	for (p = profile_after(m, NULL); p; p = profile_after(m, p)) {
		// Of the settings: as they say now, or no longer in use.
		if (p->fixed ? p->row || p->n_vms || p->n_slots : !p->loading)
			profile_tell(m, p);
		p->loading = false;
	}
	for (vm = vm_after(m, NULL); vm; vm = vm_after(m, vm)) {
		if (!vm->loading)
			vm_tell(m, vm);
		vm->loading = false;
	}
	for (s = slot_after(m, NULL); s; s = slot_after(m, s)) {
		if (!s->loading)
			slot_tell(m, s);
		s->loading = false;
	}
}

void inventory_loaded(struct mediator *m)
{
	tell_what_was_here(m);
	if (m->inventory.started)
		vm_tenants_settle(m);
}

// ---- the keeper ----

static bool policy_equal(const struct policy *a, const struct policy *b)
{
	return a->given == b->given && memcmp(a->value, b->value, sizeof(a->value)) == 0;
}

int inventory_adopt_profile(struct mediator *m, uint64_t id, const struct deposit_profile *r)
{
	struct profile *p = profile_find(m, r->name);
	bool same = p && (p->fixed || policy_equal(&p->policy, &r->policy));

	if (!p)
		p = profile_new(m, r->name);
	if (!p)
		return -ENOSPC;
	p->keep = (struct keep_mark){ id, true };
	if (same)
		return 0;
	p->policy = r->policy;
	profile_tell(m, p);
	return 0;
}

int inventory_adopt_vm(struct mediator *m, uint64_t id, const struct deposit_vm *r)
{
	struct vm *vm = vm_find(m, r->uuid);
	struct profile *p = r->profile[0] ? profile_find(m, r->profile) : NULL;
	bool same = vm && vm->profile == p && strcmp(vm->name, r->name) == 0 &&
		    strcmp(vm->pool, r->pool) == 0 && policy_equal(&vm->said, &r->said);

	if (!vm)
		vm = vm_new(m, r->uuid, r->name);
	if (!vm)
		return -ENOSPC;
	vm->keep = (struct keep_mark){ id, true };
	if (same)
		return 0;
	snprintf(vm->name, sizeof(vm->name), "%s", r->name);
	snprintf(vm->pool, sizeof(vm->pool), "%.*s", (int)sizeof(vm->pool) - 1, r->pool);
	vm->said = r->said;
	vm_name_profile(vm, p);
	vm_tell(m, vm);
	return 0;
}

int inventory_adopt_slot(struct mediator *m, uint64_t id, const struct deposit_slot *r)
{
	struct slot *s = slot_find(m, r->uuid);
	struct profile *p = profile_find(m, r->profile);
	struct vm *vm = r->vm[0] ? vm_find(m, r->vm) : NULL;
	bool by_reserve = r->flags & DEPOSIT_SLOT_RESERVED, with_vm = r->flags & DEPOSIT_SLOT_WITH_VM;
	bool same = s && s->profile == p && s->vm == vm && s->number == r->number &&
		    s->life.by_reserve == by_reserve && s->life.state == r->state && s->with_vm == with_vm;

	if (!p)
		return -ENOENT;
	if (!s)
		s = slot_new(m, r->uuid, r->gpu, p);
	if (!s)
		return -ENOSPC;
	s->keep = (struct keep_mark){ id, true };
	s->stale = false;
	if (same)
		return 0;
	s->number = r->number;
	slot_give(s, vm);
	if (vm) {
		slot_resume(m, s, by_reserve, r->state);
		s->with_vm = with_vm;
	}
	slot_tell(m, s);
	return 0;
}
