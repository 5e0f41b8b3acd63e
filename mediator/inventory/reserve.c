// SPDX-License-Identifier: Apache-2.0
// Slots that a cloud's host agent reserves for a VM that is about to start, and what becomes of them by
// themselves: the states of slot_life.h carried to what is seen of stubs, to the store and to the keeper.
// Runs in the mediator's loop.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-id128.h>

#include "common/clock.h"
#include "common/log.h"
#include "mediator/event/event.h"
#include "mediator/inventory/inventory.h"
#include "mediator/session/session.h"
#include "mediator/tenant.h"

static struct slot_rules rules_of(const struct mediator *m)
{
	return (struct slot_rules){ .reserve_for_ns = m->settings->slot_reserve_for,
				    .grace_ns = m->settings->slot_grace };
}

const char *inventory_boot(struct mediator *m)
{
	sd_id128_t id;

	if (!m->inventory.boot[0] && sd_id128_get_boot(&id) >= 0)
		sd_id128_to_string(id, m->inventory.boot);
	return m->inventory.boot[0] ? m->inventory.boot : "unknown";
}

// ---- time ----

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	slots_look(userdata);
	return 0;
}

// For the next state that ends by itself.
static void set_timer(struct mediator *m)
{
	struct inventory *v = &m->inventory;
	uint64_t next = UINT64_MAX;
	struct slot *s;
	int r = 0;

	for (s = slot_after(m, NULL); s; s = slot_after(m, s)) {
		if (s->life.until_ns && s->life.until_ns < next)
			next = s->life.until_ns;
	}
	if (next == UINT64_MAX) {
		v->timer = sd_event_source_disable_unref(v->timer);
		return;
	}
	next = next / NSEC_PER_USEC + 1; // never before it
	if (!v->timer)
		r = sd_event_add_time(m->event, &v->timer, CLOCK_MONOTONIC, next, 1000, on_time, m);
	else
		r = sd_event_source_set_time(v->timer, next);
	if (r >= 0)
		r = sd_event_source_set_enabled(v->timer, SD_EVENT_ONESHOT);
	if (r < 0)
		log_error("no timer for reservations, which do not end by themselves: %s", strerror(-r));
}

// ---- the states ----

void slot_begin(struct mediator *m, struct slot *s, bool by_reserve)
{
	struct slot_rules rules = rules_of(m);

	slot_life_begin(&s->life, by_reserve, &rules, clock_now_ns());
	set_timer(m);
}

void slot_resume(struct mediator *m, struct slot *s, bool by_reserve, enum slot_state state)
{
	struct slot_rules rules = rules_of(m);

	slot_life_resume(&s->life, by_reserve, state, &rules, clock_now_ns());
}

static enum slot_change look(struct mediator *m, struct slot *s)
{
	const struct tenant *t = s->vm ? s->vm->tenant : NULL;
	struct slot_rules rules = rules_of(m);

	return slot_life_look(&s->life, t && session_vm_is_there(t), t && t->n_channels, &rules,
			      clock_now_ns());
}

// Nobody has it any more; the VM's programs end. What was made for its VM goes with it.
void slot_end(struct mediator *m, struct slot *s)
{
	struct vm *vm = s->vm;
	bool with_vm = s->with_vm;
	char why[INVENTORY_WHY_BYTES];

	slot_give(s, NULL);
	slot_tell(m, s);
	vm_tenant_end(vm);
	if (with_vm && vm_remove(m, vm, why) < 0)
		log_warning("VM '%s' (%s) stays: %s", vm->name, vm->uuid, why);
	set_timer(m);
}

static void end_by_itself(struct mediator *m, struct slot *s, const char *why)
{
	log_info("vGPU %s of the VM '%s' (%s) is free: %s", s->uuid, s->vm->name, s->vm->uuid, why);
	event_publish(m, EVENT_SLOT_FREED, NULL, json_pack("{s:s, s:s}", "vgpu", s->uuid, "vm", s->vm->uuid),
		      "the vGPU of the VM '%s' is free: %s", s->vm->name, why);
	slot_end(m, s);
}

void slots_look(struct mediator *m)
{
	struct slot *s;

	for (s = slot_after(m, NULL); s; s = slot_after(m, s)) {
		switch (look(m, s)) {
		case SLOT_CHANGED: slot_tell(m, s); break;
		case SLOT_OVER:
			end_by_itself(m, s,
				      s->life.state == SLOT_RESERVED
					  ? "no stub came for it (slot.reserve_for)"
					  : "its stub has gone (slot.grace)");
			break;
		case SLOT_SAME: break;
		}
	}
	set_timer(m);
}

void slots_of_last_boot(struct mediator *m)
{
	struct slot *s;

	for (s = slot_after(m, NULL); s; s = slot_after(m, s)) {
		if (s->stale && s->vm)
			end_by_itself(m, s, "the host was started anew since it was reserved");
		s->stale = false;
	}
}

void inventory_tenant_changed(const struct tenant *t)
{
	struct mediator *m = t->mediator;
	struct vm *vm = t->vm[0] && m->inventory.started ? vm_find(m, t->vm) : NULL;

	if (vm)
		migrate_vm_changed(m, vm);
	if (!vm || vm->tenant != t || !vm->slot || look(m, vm->slot) != SLOT_CHANGED)
		return; // what is over is the timer's: its tenant may be in use here
	slot_tell(m, vm->slot);
	set_timer(m);
}

// ---- operations ----

void slot_stub_path(const struct mediator *m, const char *vm, char ret[static SLOT_PATH_BYTES])
{
	const char *pattern = m->settings->slot_stub_socket, *place = strstr(pattern, SLOT_PATH_VM);

	if (!place)
		snprintf(ret, SLOT_PATH_BYTES, "%s", pattern);
	else
		snprintf(ret, SLOT_PATH_BYTES, "%.*s%s%s", (int)(place - pattern), pattern, vm,
			 place + strlen(SLOT_PATH_VM));
}

// It is being started anew with another slot: the one of before waits for a stub that does not come.
static void drop_last_reservation(struct mediator *m, const struct vm *vm, const struct slot *now)
{
	struct slot *last = vm->slot;

	if (!last || last == now || !last->life.by_reserve ||
	    (last->life.state != SLOT_RESERVED && last->life.state != SLOT_RELEASING))
		return;
	last->with_vm = false; // the VM goes on
	end_by_itself(m, last, "the VM reserves another one");
}

static int renew(struct mediator *m, struct slot *s, const struct vm_wish *wish, char *why)
{
	struct slot_rules rules = rules_of(m);
	enum slot_state before = s->life.state;
	struct vm *vm = s->vm;
	int r = 0;

	if (strcmp(vm->name, wish->name) != 0)
		r = vm_rename(m, vm, wish, why);
	if (r == 0 && !vm->tenant)
		r = vm_tenant_make(m, vm, s->profile, why);
	if (r < 0)
		return r;
	slot_life_renew(&s->life, &rules, clock_now_ns());
	if (s->life.state != before)
		slot_tell(m, s);
	set_timer(m);
	return 0;
}

int slot_reserve(struct mediator *m, struct slot *s, const char *uuid, const char *name, char *why)
{
	struct vm_wish wish = { .name = name };
	struct vm *vm = vm_find(m, uuid);
	bool made = !vm;
	int r = 0;

	if (s->vm && s->vm != vm)
		return inventory_refuse(-EBUSY, why, "the VM '%s' (%s) has the vGPU %s", s->vm->name,
					s->vm->uuid, s->uuid);
	if (s->vm)
		return renew(m, s, &wish, why);
	if (made)
		r = vm_add(m, uuid, &wish, &vm, why);
	else if (strcmp(vm->name, name) != 0)
		r = vm_rename(m, vm, &wish, why);
	if (r < 0)
		return r;
	if (vm->slot && vm->slot->with_vm)
		made = true; // as it was for the last one
	drop_last_reservation(m, vm, s);
	r = slot_take(m, s, vm, true, made, why);
	if (r < 0 && made && !vm->slot)
		vm_remove(m, vm, (char[INVENTORY_WHY_BYTES]){ 0 });
	return r;
}

bool slot_unreserve(struct mediator *m, struct slot *s, const char *uuid)
{
	if (!s->vm || strcmp(s->vm->uuid, uuid) != 0 || !s->life.by_reserve)
		return false;
	slot_end(m, s);
	return true;
}
