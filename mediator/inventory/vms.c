// SPDX-License-Identifier: Apache-2.0
// VMs: who may be assigned a vGPU. Runs in the mediator's loop.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/adopt/deposit.h"
#include "mediator/adopt/keep.h"
#include "mediator/inventory/inventory.h"
#include "mediator/session/session.h"

#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-"

static int compare_vms(const struct vm *a, const struct vm *b)
{
	return strcmp(a->uuid, b->uuid);
}

RB_GENERATE_INTERNAL(vm_tree, vm, link, compare_vms, __attribute__((unused)) static)

struct vm *vm_find(struct mediator *m, const char *uuid)
{
	struct vm key;

	snprintf(key.uuid, sizeof(key.uuid), "%s", uuid);
	return RB_FIND(vm_tree, &m->inventory.vms, &key);
}

struct vm *vm_after(struct mediator *m, struct vm *vm)
{
	return vm ? RB_NEXT(vm_tree, &m->inventory.vms, vm) : RB_MIN(vm_tree, &m->inventory.vms);
}

struct vm *vm_in_pool(struct mediator *m, const char *pool)
{
	struct vm *vm;

	for (vm = vm_after(m, NULL); vm; vm = vm_after(m, vm)) {
		if (strcmp(vm->pool, pool) == 0)
			break;
	}
	return vm;
}

struct vm *vm_new(struct mediator *m, const char *uuid, const char *name)
{
	struct inventory *v = &m->inventory;
	struct vm *vm = v->n_vms < VGPU_MAX_VMS ? calloc(1, sizeof(*vm)) : NULL;

	if (!vm)
		return NULL;
	snprintf(vm->uuid, sizeof(vm->uuid), "%s", uuid);
	snprintf(vm->name, sizeof(vm->name), "%.*s", (int)sizeof(vm->name) - 1, name);
	policy_init(&vm->said);
	RB_INSERT(vm_tree, &v->vms, vm);
	v->n_vms++;
	return vm;
}

void vm_drop(struct mediator *m, struct vm *vm)
{
	vm_name_profile(vm, NULL);
	RB_REMOVE(vm_tree, &m->inventory.vms, vm);
	m->inventory.n_vms--;
	free(vm);
}

void vm_name_profile(struct vm *vm, struct profile *p)
{
	if (vm->profile)
		vm->profile->n_vms--;
	vm->profile = p;
	if (p)
		p->n_vms++;
}

static void what_holds(const struct vm *vm, struct policy *ret)
{
	const struct profile *p = vm->slot ? vm->slot->profile : vm->profile;

	policy_init(ret);
	if (p)
		policy_merge(ret, &p->policy);
	policy_merge(ret, &vm->said);
}

uint64_t vm_item(const struct vm *vm, enum policy_item item)
{
	struct policy p;

	what_holds(vm, &p);
	return p.value[item];
}

const char *vm_word(const struct vm *vm, enum policy_item item)
{
	struct policy p;

	what_holds(vm, &p);
	return policy_word(&p, item);
}

const char *vm_said(const struct vm *vm, enum policy_item item)
{
	return vm->said.given & 1u << item ? policy_word(&vm->said, item) : "";
}

// ---- what is kept of one ----

void vm_keep(struct mediator *m, struct vm *vm)
{
	struct deposit_vm r = { 0 };

	if (!vm->keep.id)
		vm->keep.id = ++m->inventory.next_id;
	snprintf(r.uuid, sizeof(r.uuid), "%s", vm->uuid);
	snprintf(r.name, sizeof(r.name), "%s", vm->name);
	snprintf(r.pool, sizeof(r.pool), "%s", vm->pool);
	snprintf(r.profile, sizeof(r.profile), "%s", vm->profile ? vm->profile->name : "");
	r.said = vm->said;
	keep_record(m, DEPOSIT_VM, vm->keep.id, &r, NULL, 0, &vm->keep.kept);
}

void vm_tell(struct mediator *m, struct vm *vm)
{
	struct record *r = &m->record;
	struct store_row row = { .kind = STORE_VM };

	if (vm->profile)
		profile_users_changed(m, vm->profile);
	vm_keep(m, vm);
	if (!r->store)
		return;
	if (vm->pool[0])
		record_pool_row(r, vm->pool);
	snprintf(row.key, sizeof(row.key), "%s", vm->uuid);
	snprintf(row.vm.name, sizeof(row.vm.name), "%s", vm->name);
	snprintf(row.vm.pool, sizeof(row.vm.pool), "%s", vm->pool);
	snprintf(row.vm.profile, sizeof(row.vm.profile), "%s", vm->profile ? vm->profile->name : "");
	snprintf(row.vm.personality, sizeof(row.vm.personality), "%s", vm_said(vm, POLICY_PERSONALITY));
	snprintf(row.vm.protocol, sizeof(row.vm.protocol), "%s", vm_said(vm, POLICY_PROTOCOL));
	record_told(r, store_put(r->store, record_who(r), &row, NULL, NULL, NULL));
}

// ---- changes ----

static bool is_name(const char *name)
{
	size_t n = strlen(name);

	return n && n < LINK_NAME_BYTES && strspn(name, NAME_LETTERS) == n;
}

// "": nothing is said of it any more.
static int say(struct policy *said, enum policy_item item, const char *word, char *why)
{
	if (!word)
		return 0;
	if (word[0])
		return policy_set_text(said, item, word, why, INVENTORY_WHY_BYTES);
	said->given &= ~(1u << item);
	return 0;
}

static int say_all(struct policy *said, const struct vm_wish *wish, char *why)
{
	int r = say(said, POLICY_PERSONALITY, wish->personality, why);

	return r < 0 ? r : say(said, POLICY_PROTOCOL, wish->protocol, why);
}

static int check(struct mediator *m, const struct vm *vm, const struct vm_wish *wish, char *why)
{
	const struct profile *p = NULL;
	struct policy said = { 0 };

	if (wish->name && !is_name(wish->name))
		return inventory_refuse(-EINVAL, why, "name: not 1 to %d of A-Z a-z 0-9 . _ : -",
					VGPU_MAX_NAME);
	if (wish->pool && wish->pool[0] && !pool_find(m, wish->pool))
		return inventory_refuse(-ENOENT, why, "there is no pool '%.64s'", wish->pool);
	if (say_all(&said, wish, why) < 0)
		return -EINVAL;
	if (!wish->profile || !wish->profile[0])
		return 0;
	p = profile_find(m, wish->profile);
	if (!p)
		return inventory_refuse(-ENOENT, why, "there is no profile '%.64s'", wish->profile);
	if (vm && vm->slot && vm->slot->profile != p)
		return inventory_refuse(
		    -EBUSY, why, "the VM has the vGPU %s of profile '%s': release it first (vgpu.release)",
		    vm->slot->uuid, vm->slot->profile->name);
	return 0;
}

static void take(struct mediator *m, struct vm *vm, const struct vm_wish *wish)
{
	struct profile *was = vm->profile;

	if (wish->name)
		snprintf(vm->name, sizeof(vm->name), "%s", wish->name);
	if (wish->pool)
		snprintf(vm->pool, sizeof(vm->pool), "%s", wish->pool);
	if (wish->profile)
		vm_name_profile(vm, wish->profile[0] ? profile_find(m, wish->profile) : NULL);
	(void)say_all(&vm->said, wish, (char[INVENTORY_WHY_BYTES]){ 0 }); // was checked
	vm_tell(m, vm);
	if (was && was != vm->profile)
		profile_users_changed(m, was);
}

int vm_add(struct mediator *m, const char *uuid, const struct vm_wish *wish, struct vm **ret, char *why)
{
	char made[VM_UUID_BYTES];
	struct vm *vm;
	int r = check(m, NULL, wish, why);

	if (r < 0)
		return r;
	if (uuid && vm_find(m, uuid))
		return inventory_refuse(-EBUSY, why, "there is a VM %s already", uuid);
	if (m->inventory.n_vms >= VGPU_MAX_VMS)
		return inventory_refuse(-ENOSPC, why, "there are %d VMs already (VGPU_MAX_VMS)",
					VGPU_MAX_VMS);
	r = uuid ? 0 : vm_uuid_make(made);
	if (r < 0)
		return inventory_refuse(r, why, "no random numbers: %s", strerror(-r));
	vm = vm_new(m, uuid ? uuid : made, wish->name);
	if (!vm)
		return inventory_refuse(-ENOMEM, why, "no memory");
	take(m, vm, wish);
	*ret = vm;
	return 0;
}

int vm_set(struct mediator *m, struct vm *vm, const struct vm_wish *wish, char *why)
{
	int r = vm_rename(m, vm, wish, why);

	if (r < 0 || !vm->slot || !vm->slot->with_vm)
		return r;
	vm->slot->with_vm = false; // it has become somebody's
	slot_tell(m, vm->slot);
	return 0;
}

int vm_rename(struct mediator *m, struct vm *vm, const struct vm_wish *wish, char *why)
{
	int r = check(m, vm, wish, why);

	if (r < 0)
		return r;
	take(m, vm, wish);
	vm_tenant_follow(m, vm);
	return 0;
}

int vm_remove(struct mediator *m, struct vm *vm, char *why)
{
	struct profile *p = vm->profile;
	struct record *r = &m->record;

	if (vm->slot)
		return inventory_refuse(
		    -EBUSY, why, "the VM has the vGPU %s: release it first (vgpu.release)", vm->slot->uuid);
	keep_gone(m, DEPOSIT_VM, vm->keep.id, &vm->keep.kept);
	if (r->store)
		record_told(r, store_remove(r->store, record_who(r), STORE_VM, vm->uuid, NULL, NULL));
	vm_drop(m, vm);
	if (p)
		profile_users_changed(m, p);
	return 0;
}
