// SPDX-License-Identifier: Apache-2.0
// Profiles: sections of the settings, which stay as they are, and those that the control socket made. One of
// the settings that a VM or vGPU uses is kept like the others, so that it lives on when it is taken out of
// the settings. Runs in the mediator's loop.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/adopt/deposit.h"
#include "mediator/adopt/keep.h"
#include "mediator/inventory/inventory.h"

static int compare_profiles(const struct profile *a, const struct profile *b)
{
	return strcmp(a->name, b->name);
}

RB_GENERATE_INTERNAL(profile_tree, profile, link, compare_profiles, __attribute__((unused)) static)

struct profile *profile_find(struct mediator *m, const char *name)
{
	struct profile key;

	if (strlen(name) >= sizeof(key.name))
		return NULL;
	memcpy(key.name, name, strlen(name) + 1);
	return RB_FIND(profile_tree, &m->inventory.profiles, &key);
}

struct profile *profile_after(struct mediator *m, struct profile *p)
{
	return p ? RB_NEXT(profile_tree, &m->inventory.profiles, p)
		 : RB_MIN(profile_tree, &m->inventory.profiles);
}

struct profile *profile_new(struct mediator *m, const char *name)
{
	struct inventory *v = &m->inventory;
	struct profile *p = v->n_profiles < VGPU_MAX_PROFILES ? calloc(1, sizeof(*p)) : NULL;

	if (!p)
		return NULL;
	snprintf(p->name, sizeof(p->name), "%s", name);
	policy_init(&p->policy);
	RB_INSERT(profile_tree, &v->profiles, p);
	v->n_profiles++;
	return p;
}

void profile_drop(struct mediator *m, struct profile *p)
{
	RB_REMOVE(profile_tree, &m->inventory.profiles, p);
	m->inventory.n_profiles--;
	free(p);
}

// ---- what is kept of one ----

static bool is_kept(const struct profile *p)
{
	return !p->fixed || p->n_vms || p->n_slots;
}

static void keep(struct mediator *m, struct profile *p)
{
	struct deposit_profile r = { .policy = p->policy };

	if (!p->keep.id)
		p->keep.id = ++m->inventory.next_id;
	snprintf(r.name, sizeof(r.name), "%s", p->name);
	keep_record(m, DEPOSIT_PROFILE, p->keep.id, &r, NULL, 0, &p->keep.kept);
}

void profile_keep(struct mediator *m, struct profile *p)
{
	if (is_kept(p))
		keep(m, p);
	else
		keep_gone(m, DEPOSIT_PROFILE, p->keep.id, &p->keep.kept);
}

static void fill_limits(const struct profile *p, struct store_limits *l)
{
	memset(l, 0, sizeof(*l));
	l->scope = STORE_OF_PROFILE;
	snprintf(l->owner, sizeof(l->owner), "%s", p->name);
	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		struct store_limit *limit = &l->list[l->n];

		if (!policy_is_for(i, POLICY_FOR_PROFILE) || i == POLICY_PRIORITY)
			continue;
		snprintf(limit->name, sizeof(limit->name), "%s", policy_name(i));
		limit->value = p->policy.value[i] < INT64_MAX ? p->policy.value[i] : INT64_MAX;
		limit->unset = !(p->policy.given & 1u << i);
		l->n++;
	}
}

static void store_it(struct mediator *m, struct profile *p)
{
	struct record *r = &m->record;
	struct store_row row = { .kind = STORE_PROFILE };
	uint64_t memory = p->policy.value[POLICY_MEMORY];
	struct store_limits limits;

	if (!r->store)
		return;
	snprintf(row.key, sizeof(row.key), "%s", p->name);
	row.profile.memory_bytes = memory < INT64_MAX ? memory : INT64_MAX;
	fill_limits(p, &limits);
	record_told(r, store_put(r->store, record_who(r), &row, &limits, NULL, NULL));
	p->row = true;
}

static void unstore(struct mediator *m, struct profile *p)
{
	struct record *r = &m->record;

	if (r->store && p->row)
		record_told(r, store_remove(r->store, record_who(r), STORE_PROFILE, p->name, NULL, NULL));
	p->row = false;
}

void profile_tell(struct mediator *m, struct profile *p)
{
	profile_keep(m, p);
	if (is_kept(p))
		store_it(m, p);
	else
		unstore(m, p);
}

void profile_users_changed(struct mediator *m, struct profile *p)
{
	if (p->fixed && p->row != is_kept(p))
		profile_tell(m, p);
	else
		profile_keep(m, p);
}

// ---- changes ----

int profile_add(struct mediator *m, const char *name, const struct policy *given, char *why)
{
	struct profile *p = profile_find(m, name);

	if (p)
		return inventory_refuse(-EBUSY, why, "there is a profile '%s' already%s", name,
					p->fixed ? ", in the settings" : "");
	if (m->inventory.n_profiles >= VGPU_MAX_PROFILES)
		return inventory_refuse(-ENOSPC, why, "there are %d profiles already (VGPU_MAX_PROFILES)",
					VGPU_MAX_PROFILES);
	p = profile_new(m, name);
	if (!p)
		return inventory_refuse(-ENOMEM, why, "no memory");
	policy_merge(&p->policy, given);
	profile_tell(m, p);
	return 0;
}

static int fixed(const struct profile *p, char *why)
{
	return inventory_refuse(
	    -EBUSY, why, "the profile '%s' is a section of the settings: it is changed there", p->name);
}

// Whether the card has room for its vGPUs with as much memory. What is too much already may become less.
static int has_room(struct mediator *m, const struct profile *p, uint64_t bytes, char *why)
{
	uint64_t was = p->policy.value[POLICY_MEMORY];
	struct capacity_use use = { 0 };
	struct capacity_card card;

	inventory_card(m, &card);
	if (!p->n_slots || !card.bytes || capacity_bytes(&card, bytes) <= capacity_bytes(&card, was))
		return 0;
	for (struct profile *other = profile_after(m, NULL); other; other = profile_after(m, other)) {
		if (other != p)
			capacity_add(&card, other->policy.value[POLICY_MEMORY], other->n_slots, &use);
	}
	if (capacity_fit(&card, &use, bytes) >= p->n_slots)
		return 0;
	return inventory_refuse(-EBUSY, why,
				"the card has no room for the %u vGPUs of profile '%s' with so much memory "
				"(capacity.overcommit)",
				p->n_slots, p->name);
}

int profile_set(struct mediator *m, struct profile *p, const struct policy *change, char *why)
{
	struct policy policy = p->policy;
	int r;

	if (p->fixed)
		return fixed(p, why);
	policy_merge(&policy, change);
	r = has_room(m, p, policy.value[POLICY_MEMORY], why);
	if (r < 0)
		return r;
	p->policy = policy;
	profile_tell(m, p);
	vm_tenants_of_profile(m, p);
	return 0;
}

int profile_remove(struct mediator *m, struct profile *p, char *why)
{
	if (p->fixed)
		return fixed(p, why);
	if (p->n_slots || p->n_vms)
		return inventory_refuse(-EBUSY, why, "%u vGPUs and %u VMs are of the profile '%s'",
					p->n_slots, p->n_vms, p->name);
	keep_gone(m, DEPOSIT_PROFILE, p->keep.id, &p->keep.kept);
	unstore(m, p);
	profile_drop(m, p);
	return 0;
}
