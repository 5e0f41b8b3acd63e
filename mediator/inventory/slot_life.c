// SPDX-License-Identifier: Apache-2.0
// See the header. Called by reserve.c and slots.c in the mediator's loop, and by the unit tests.
#include "mediator/inventory/slot_life.h"

#include <string.h>

static const char *const texts[SLOT_STATES] = {
	[SLOT_FREE] = "free",	    [SLOT_RESERVED] = "reserved",   [SLOT_STARTING] = "starting",
	[SLOT_RUNNING] = "running", [SLOT_RELEASING] = "releasing",
};

const char *slot_state_text(enum slot_state state)
{
	return texts[state];
}

enum slot_state slot_state_find(const char *text)
{
	enum slot_state i;

	for (i = 0; i < SLOT_STATES; i++) {
		if (strcmp(texts[i], text) == 0)
			break;
	}
	return i;
}

static uint64_t after(uint64_t now_ns, uint64_t span_ns)
{
	return now_ns <= UINT64_MAX - span_ns ? now_ns + span_ns : UINT64_MAX;
}

void slot_life_begin(struct slot_life *l, bool by_reserve, const struct slot_rules *rules, uint64_t now_ns)
{
	*l = (struct slot_life){ .state = SLOT_RESERVED, .by_reserve = by_reserve };
	if (by_reserve)
		l->until_ns = after(now_ns, rules->reserve_for_ns);
}

void slot_life_renew(struct slot_life *l, const struct slot_rules *rules, uint64_t now_ns)
{
	if (!l->by_reserve)
		return;
	if (l->state == SLOT_STARTING || l->state == SLOT_RUNNING)
		l->again_ns = after(now_ns, rules->reserve_for_ns); // the last stub may be about to go
	else
		slot_life_begin(l, true, rules, now_ns);
}

void slot_life_resume(struct slot_life *l, bool by_reserve, enum slot_state state,
		      const struct slot_rules *rules, uint64_t now_ns)
{
	slot_life_begin(l, by_reserve, rules, now_ns);
	if (state == SLOT_FREE || state == SLOT_RESERVED)
		return;
	l->state = state;
	l->until_ns = state == SLOT_RELEASING ? after(now_ns, rules->grace_ns) : 0;
}

void slot_life_keep(struct slot_life *l)
{
	l->by_reserve = false;
	l->again_ns = 0;
	if (l->state == SLOT_RESERVED)
		l->until_ns = 0;
}

static enum slot_change enter(struct slot_life *l, enum slot_state state, uint64_t until_ns)
{
	l->state = state;
	l->until_ns = until_ns;
	return SLOT_CHANGED;
}

static enum slot_change stub_is_gone(struct slot_life *l, const struct slot_rules *rules, uint64_t now_ns)
{
	uint64_t until = after(now_ns, rules->grace_ns);

	return enter(l, SLOT_RELEASING, until > l->again_ns ? until : l->again_ns);
}

static enum slot_change stub_is_there(struct slot_life *l, bool used)
{
	l->again_ns = 0;
	return enter(l, used ? SLOT_RUNNING : SLOT_STARTING, 0);
}

enum slot_change slot_life_look(struct slot_life *l, bool connected, bool used,
				const struct slot_rules *rules, uint64_t now_ns)
{
	switch (l->state) {
	case SLOT_RESERVED:
	case SLOT_RELEASING:
		if (connected)
			return stub_is_there(l, used);
		if (!l->until_ns || now_ns < l->until_ns)
			return SLOT_SAME;
		return l->by_reserve ? SLOT_OVER : enter(l, SLOT_RESERVED, 0);
	case SLOT_STARTING:
		if (!connected)
			return stub_is_gone(l, rules, now_ns);
		return used ? enter(l, SLOT_RUNNING, 0) : SLOT_SAME;
	case SLOT_RUNNING: return connected ? SLOT_SAME : stub_is_gone(l, rules, now_ns);
	default: return SLOT_SAME;
	}
}
