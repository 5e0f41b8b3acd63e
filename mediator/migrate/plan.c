// SPDX-License-Identifier: Apache-2.0
// Which VMs are moved, and in which group. Runs in the mediator's loop.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/mediator.h"
#include "mediator/migrate/migrate.h"
#include "mediator/tenant.h"

#define NAME_BYTES 64

// Takes the first name off the list: as text, and as a uuid, "" if it is none. False: the list is empty.
static bool take_name(const char **list, char text[static NAME_BYTES], char uuid[static VM_UUID_BYTES])
{
	size_t n = strcspn(*list, ",");

	if (!**list)
		return false;
	snprintf(text, NAME_BYTES, "%.*s", (int)(n < NAME_BYTES ? n : NAME_BYTES - 1), *list);
	if (!vm_uuid_parse(text, uuid))
		uuid[0] = 0;
	*list += n + ((*list)[n] == ',');
	return true;
}

bool migrate_names(const char *list, const char *uuid)
{
	char text[NAME_BYTES], name[VM_UUID_BYTES];

	if (!list)
		return true;
	while (take_name(&list, text, name)) {
		if (strcmp(name, uuid) == 0)
			return true;
	}
	return false;
}

int migrate_check_names(struct mediator *m, const char *list, bool in_run, char *why)
{
	char text[NAME_BYTES], name[VM_UUID_BYTES];

	while (list && take_name(&list, text, name)) {
		if (in_run ? migrate_vm_find(m, name) != NULL : vm_find(m, name) != NULL)
			continue;
		snprintf(why, MIGRATE_WHY_BYTES,
			 in_run ? "the VM '%s' is not in the run" : "there is no VM '%s'", text);
		return -ENOENT;
	}
	return 0;
}

static const char *pool_of(const struct vm *vm, const struct settings *s)
{
	if (vm->tenant)
		return vm->tenant->pool->name;
	return vm->pool[0] ? vm->pool : s->tenant_pool;
}

static bool is_wished(const struct mediator *m, const struct vm *vm, const struct migrate_wish *wish)
{
	const struct profile *p = vm->slot ? vm->slot->profile : vm->profile;

	return migrate_names(wish->vms, vm->uuid) &&
	       (!wish->pool || strcmp(pool_of(vm, m->settings), wish->pool) == 0) &&
	       (!wish->profile || (p && strcmp(p->name, wish->profile) == 0));
}

// 0: it is not such a text. Of any VMs at least one.
static unsigned canaries(const char *text, unsigned n)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (end == text || text[0] < '0' || text[0] > '9' || !number || number > VGPU_MAX_VMS)
		return 0;
	if (strcmp(end, "%") == 0)
		return number <= 100 ? (unsigned)((n * number + 99) / 100) : 0;
	return *end ? 0 : (unsigned)number;
}

static int choose(struct mediator *m, const struct migrate_wish *wish, struct migrate_plan *p)
{
	struct vm *vm;

	for (vm = vm_after(m, NULL); vm; vm = vm_after(m, vm)) {
		struct migrate_vm *v;

		if (!is_wished(m, vm, wish))
			continue;
		if (!!vm_item(vm, POLICY_PERSONALITY) == wish->to_nvidia) {
			p->there_already++;
			continue;
		}
		v = migrate_vm_new(vm->uuid);
		if (!v)
			return -ENOMEM;
		snprintf(v->was, sizeof(v->was), "%s", vm_said(vm, POLICY_PERSONALITY));
		v->since_s = migrate_now_s();
		TAILQ_INSERT_TAIL(&p->vms, v, link);
		p->n_vms++;
	}
	return 0;
}

static void divide(struct migrate_plan *p, unsigned canary, uint32_t wave)
{
	struct migrate_vm *v;
	unsigned i = 0;

	TAILQ_FOREACH (v, &p->vms, link) {
		v->group = i < canary ? 0 : 1 + (i - canary) / wave;
		p->groups = v->group + 1;
		i++;
	}
}

void migrate_plan_done(struct migrate_plan *p)
{
	migrate_vms_clear(&p->vms);
	*p = (struct migrate_plan){ .vms = TAILQ_HEAD_INITIALIZER(p->vms) };
}

// It is the run from now on.
static void begin_run(struct mediator *m, const struct migrate_wish *wish, struct migrate_plan *p)
{
	struct migrate *g = &m->migrate;
	struct migrate_vm *v;

	migrate_forget_vms(m);
	TAILQ_CONCAT(&g->vms, &p->vms, link);
	g->n_vms = p->n_vms;
	g->there = g->is_new = true;
	g->to_nvidia = wish->to_nvidia;
	g->began_s = migrate_now_s();
	g->ended_s = 0;
	g->groups = p->groups;
	g->begun = 0;
	migrate_set_run(m, MIGRATE_RUN_PLANNED, "%s", "");
	TAILQ_FOREACH (v, &g->vms, link)
		migrate_tell_vm(m, v);
}

static int check_run(struct mediator *m, const struct migrate_wish *wish, char *why)
{
	const char *text = NULL;

	if (!wish->dry && !m->record.store)
		text = "a run is kept in the store, with what its VMs did before: set store.path";
	else if (!wish->dry && !m->record.loaded)
		text = "the store has not come yet (store.status)";
	else if (!wish->dry && !wish->end && migrate_goes_on(&m->migrate))
		text = "a run is going on (migrate.status): roll it back, or plan with end, which leaves "
		       "what was "
		       "moved";
	snprintf(why, MIGRATE_WHY_BYTES, "%s", text ? text : "");
	return text ? -EBUSY : 0;
}

int migrate_plan(struct mediator *m, const struct migrate_wish *wish, struct migrate_plan *ret, char *why)
{
	unsigned canary;
	int r = check_run(m, wish, why);

	*ret = (struct migrate_plan){ .vms = TAILQ_HEAD_INITIALIZER(ret->vms) };
	if (r == 0)
		r = migrate_check_names(m, wish->vms, false, why);
	if (r == 0 && (r = choose(m, wish, ret)) < 0)
		snprintf(why, MIGRATE_WHY_BYTES, "no memory");
	if (r < 0)
		return r;
	canary = canaries(wish->canary, ret->n_vms ? ret->n_vms : 1);
	if (!canary || !wish->wave) {
		snprintf(why, MIGRATE_WHY_BYTES,
			 canary ? "wave: at least 1" : "canary: a number of VMs, or 1%% to 100%%");
		return -EINVAL;
	}
	if (!ret->n_vms) {
		snprintf(why, MIGRATE_WHY_BYTES,
			 "none of these VMs would move: %u have that personality already",
			 ret->there_already);
		return -ENOENT;
	}
	divide(ret, canary, wish->wave);
	if (!wish->dry)
		begin_run(m, wish, ret);
	return 0;
}
