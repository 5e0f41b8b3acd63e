// SPDX-License-Identifier: Apache-2.0
// A VM that has a vGPU is a tenant, for as long as it has it. What holds for it: what tenants have without
// more being said, then its profile, then what was set by hand. Runs in the mediator's loop.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "mediator/adopt/keep.h"
#include "mediator/inventory/inventory.h"
#include "mediator/session/session.h"
#include "mediator/tenant.h"
#include "mediator/tenant_policy.h"

static void policy_of(const struct mediator *m, const struct vm *vm, const struct profile *p,
		      struct policy *ret)
{
	policy_init(ret);
	ret->value[POLICY_WEIGHT] = m->settings->tenant_weight;
	policy_merge(ret, &p->policy);
	policy_merge(ret, &vm->said);
}

// The pool may have been taken out of the settings since it was named.
static struct pool *pool_of(struct mediator *m, const struct vm *vm)
{
	struct pool *p = pool_find(m, vm->pool[0] ? vm->pool : m->settings->tenant_pool);

	if (!p)
		log_warning("VM %s: there is no pool '%s': it is in '" POOL_DEFAULT "'", vm->uuid, vm->pool);
	return p ? p : pool_find(m, POOL_DEFAULT);
}

int vm_tenant_make(struct mediator *m, struct vm *vm, const struct profile *p, char *why)
{
	struct policy policy;
	int r;

	policy_of(m, vm, p, &policy);
	r = tenant_make_for_vm(m, vm->uuid, vm->name, &policy, pool_of(m, vm), &vm->tenant);
	switch (r) {
	case 0: return 0;
	case -ENOSPC:
		return inventory_refuse(r, why, "there are %" PRIu64 " tenants already (limits.tenants)",
					m->settings->limits_tenants);
	case -ENAMETOOLONG:
		return inventory_refuse(r, why, "paths.run_directory is too long for the sockets of VMs");
	case -EPERM:
		return inventory_refuse(
		    r, why, "the VM's socket cannot be given to paths.stub_user or paths.stub_group: %s",
		    strerror(-r));
	default: return inventory_refuse(r, why, "the VM's tenant cannot be made: %s", strerror(-r));
	}
}

void vm_tenant_end(struct vm *vm)
{
	struct tenant *t = vm->tenant;

	vm->tenant = NULL;
	if (t)
		tenant_remove(t);
}

void vm_tenant_follow(struct mediator *m, struct vm *vm)
{
	struct tenant *t = vm->tenant;
	struct policy policy;
	bool sees_other;

	if (!t || !vm->slot)
		return;
	policy_of(m, vm, vm->slot->profile, &policy);
	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		if (!(t->by_hand & 1u << i))
			continue;
		policy.value[i] = t->policy.value[i];
		policy.given |= 1u << i;
	}
	sees_other = t->policy.value[POLICY_PERSONALITY] != policy.value[POLICY_PERSONALITY];
	t->policy = policy;
	tenant_apply_policy(t);
	if (sees_other)
		session_vm_changed(t);
	snprintf(t->name, sizeof(t->name), "%s", vm->name);
	if (!(t->by_hand & TENANT_POOL_BY_HAND))
		tenant_set_pool(t, pool_of(m, vm));
	keep_tenant(t);
}

void vm_tenants_of_profile(struct mediator *m, const struct profile *p)
{
	struct slot *s;

	for (s = slot_after(m, NULL); s; s = slot_after(m, s)) {
		if (s->profile == p && s->vm)
			vm_tenant_follow(m, s->vm);
	}
}

void inventory_tenant_gone(struct tenant *t)
{
	struct vm *vm = t->vm[0] ? vm_find(t->mediator, t->vm) : NULL;

	if (vm && vm->tenant == t)
		vm->tenant = NULL;
}

void inventory_tenant_forgotten(struct tenant *t)
{
	struct vm *vm = vm_find(t->mediator, t->vm);

	t->by_hand = 0;
	if (vm && vm->tenant == t)
		vm_tenant_follow(t->mediator, vm);
}

// Tenants of the mediator before this one go on; those whose VM has nothing any more end.
static void find_tenants(struct mediator *m)
{
	struct tenant *t;

	for (t = tenant_from_id(m, 0); t; t = tenant_after(t)) {
		struct vm *vm = t->vm[0] && !t->removed ? vm_find(m, t->vm) : NULL;

		if (!t->vm[0] || t->removed || (vm && vm->tenant == t))
			continue;
		if (vm && vm->slot && !vm->tenant) {
			vm->tenant = t;
			vm_tenant_follow(m, vm);
		} else {
			log_warning("tenant %" PRIu32 " '%s' ends: no vGPU is assigned to its VM", t->id,
				    t->name);
			tenant_remove(t);
		}
	}
}

void vm_tenants_settle(struct mediator *m)
{
	char why[INVENTORY_WHY_BYTES];
	struct vm *vm;

	slots_of_last_boot(m);
	find_tenants(m);
	for (vm = vm_after(m, NULL); vm; vm = vm_after(m, vm)) {
		if (vm->slot && !vm->tenant && vm_tenant_make(m, vm, vm->slot->profile, why) < 0)
			log_error("VM '%s' (%s) cannot use its vGPU: %s", vm->name, vm->uuid, why);
	}
	slots_look(m);
}
