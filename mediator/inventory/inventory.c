// SPDX-License-Identifier: Apache-2.0
// The inventory's life and what its tables have in common; see the header. Runs in the mediator's loop.
#include "mediator/inventory/inventory.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "mediator/mediator.h"

int inventory_refuse(int error, char *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, INVENTORY_WHY_BYTES, format, args);
	va_end(args);
	return error;
}

// Looked up once: later a directory of users could let the loop wait.
static int find_stub(struct inventory *v, const struct settings *s)
{
	const struct passwd *user = NULL;
	const struct group *group = NULL;

	v->stub_user = (uid_t)-1;
	v->stub_group = (gid_t)-1;
	if (s->paths_stub_user[0])
		user = getpwnam(s->paths_stub_user);
	if (s->paths_stub_group[0])
		group = getgrnam(s->paths_stub_group);
	if ((s->paths_stub_user[0] && !user) || (s->paths_stub_group[0] && !group)) {
		log_error("paths.stub_%s: there is no '%s'",
			  user || !s->paths_stub_user[0] ? "group" : "user",
			  user || !s->paths_stub_user[0] ? s->paths_stub_group : s->paths_stub_user);
		return -ENOENT;
	}
	if (user)
		v->stub_user = user->pw_uid;
	if (group)
		v->stub_group = group->gr_gid;
	return 0;
}

int inventory_init(struct mediator *m)
{
	struct inventory *v = &m->inventory;

	*v = (struct inventory){ .mediator = m };
	RB_INIT(&v->profiles);
	RB_INIT(&v->vms);
	RB_INIT(&v->slots);
	for (unsigned i = 0; i < m->settings->n_profiles; i++) {
		const struct named_policy *n = &m->settings->profiles[i];
		struct profile *p = profile_new(m, n->name);

		if (!p)
			return -ENOMEM;
		policy_merge(&p->policy, &n->policy);
		p->fixed = true;
	}
	return find_stub(v, m->settings);
}

void inventory_start(struct mediator *m)
{
	m->inventory.started = true;
	vm_tenants_settle(m);
}

void inventory_done(struct mediator *m)
{
	struct profile *p;
	struct slot *s;
	struct vm *vm;

	if (!m->inventory.mediator)
		return;
	m->inventory.timer = sd_event_source_disable_unref(m->inventory.timer);
	while ((s = slot_after(m, NULL)))
		slot_drop(m, s);
	while ((vm = vm_after(m, NULL)))
		vm_drop(m, vm);
	while ((p = profile_after(m, NULL)))
		profile_drop(m, p);
	m->inventory.mediator = NULL;
}

// ---- the card ----

void inventory_card(struct mediator *m, struct capacity_card *ret)
{
	const struct settings *s = m->settings;
	const struct board *b = &m->sensor.board;
	uint64_t bytes = b->known ? b->identity.total_memory : 0;

	if (s->gpu_memory && s->gpu_memory < bytes)
		bytes = s->gpu_memory;
	*ret = (struct capacity_card){
		.bytes = bytes,
		.overcommit = (uint32_t)s->capacity_overcommit,
		.most = (uint32_t)s->capacity_vgpus,
	};
}

void inventory_use(struct mediator *m, const struct capacity_card *card, struct capacity_use *ret)
{
	struct profile *p;

	*ret = (struct capacity_use){ 0 };
	for (p = profile_after(m, NULL); p; p = profile_after(m, p))
		capacity_add(card, p->policy.value[POLICY_MEMORY], p->n_slots, ret);
}

// ---- the keeper ----

void inventory_keep_all(struct mediator *m, bool anew)
{
	struct profile *p;
	struct slot *s;
	struct vm *vm;

	for (p = profile_after(m, NULL); p; p = profile_after(m, p)) {
		p->keep.kept &= !anew;
		profile_keep(m, p);
	}
	for (vm = vm_after(m, NULL); vm; vm = vm_after(m, vm)) {
		vm->keep.kept &= !anew;
		vm_keep(m, vm);
	}
	for (s = slot_after(m, NULL); s; s = slot_after(m, s)) {
		s->keep.kept &= !anew;
		slot_keep(m, s);
	}
}
