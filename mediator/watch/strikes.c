// SPDX-License-Identifier: Apache-2.0
// See the header. Called by mediator/watch/watch.c and the unit tests.
#include "mediator/watch/strikes.h"

#include <string.h>

static uint64_t later(uint64_t now_ns, uint64_t for_ns)
{
	return for_ns && now_ns < STRIKES_FOREVER - for_ns ? now_ns + for_ns : STRIKES_FOREVER;
}

const char *strike_cause_text(enum strike_cause cause)
{
	switch (cause) {
	case STRIKE_HANG: return "hang";
	case STRIKE_STREAM: return "malformed stream";
	case STRIKE_SANDBOX: return "sandbox violation";
	case STRIKE_CRASH: return "crash";
	case STRIKE_MEMORY: return "memory storm";
	case STRIKE_OPERATOR: return "operator";
	case STRIKE_CAUSES: break;
	}
	return "?";
}

const struct strike *strikes_recent(const struct strike_book *b, uint32_t n)
{
	return &b->recent[(b->newest + STRIKES_KEPT - n) % STRIKES_KEPT];
}

uint32_t strikes_counting(const struct strike_book *b, const struct strike_rules *rules, uint64_t now_ns)
{
	uint32_t n = 0;

	while (n < b->n) {
		const struct strike *s = strikes_recent(b, n);

		if (now_ns > s->at_ns && now_ns - s->at_ns > rules->within_ns)
			break;
		n++;
	}
	return n;
}

static void keep_out(struct strike_book *b, enum strike_cause cause, uint64_t for_ns, uint64_t now_ns)
{
	if (!b->quarantined)
		b->quarantined_ns = now_ns;
	b->quarantined = true;
	b->quarantine_cause = cause;
	b->until_ns = later(now_ns, for_ns);
}

bool strikes_release(struct strike_book *b)
{
	bool was = b->quarantined;

	b->quarantined = false;
	b->n = 0;
	return was;
}

bool strikes_expire(struct strike_book *b, uint64_t now_ns)
{
	if (!b->quarantined || now_ns < b->until_ns)
		return false;
	return strikes_release(b);
}

bool strikes_add(struct strike_book *b, const struct strike_rules *rules, enum strike_cause cause,
		 uint64_t now_ns)
{
	strikes_expire(b, now_ns); // what it did before that is forgotten, this is not
	b->counts[cause]++;
	b->newest = (b->newest + 1) % STRIKES_KEPT;
	b->recent[b->newest] = (struct strike){ .at_ns = now_ns, .cause = cause };
	if (b->n < STRIKES_KEPT)
		b->n++;
	if (b->quarantined || !rules->most || strikes_counting(b, rules, now_ns) < rules->most)
		return false;
	keep_out(b, cause, rules->quarantine_ns, now_ns);
	return true;
}

bool strikes_keep_out(const struct strike_book *b, uint64_t now_ns, uint64_t *ret_left_ns)
{
	if (!b->quarantined || now_ns >= b->until_ns)
		return false;
	*ret_left_ns = b->until_ns == STRIKES_FOREVER ? STRIKES_FOREVER : b->until_ns - now_ns;
	return true;
}

void strikes_quarantine(struct strike_book *b, uint64_t for_ns, uint64_t now_ns)
{
	strikes_expire(b, now_ns);
	b->counts[STRIKE_OPERATOR]++;
	keep_out(b, STRIKE_OPERATOR, for_ns, now_ns);
}
