// SPDX-License-Identifier: Apache-2.0
// Strikes and quarantines between the watch, which counts in CLOCK_MONOTONIC, and the store, which keeps the
// time of day. Runs in the mediator's loop.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "mediator/complain.h"
#include "mediator/record/record.h"
#include "mediator/tenant.h"

// As the store has them, for good; strike_cause_text() is for people.
static const char *const causes[STRIKE_CAUSES] = {
	[STRIKE_HANG] = "hang",	  [STRIKE_STREAM] = "stream", [STRIKE_SANDBOX] = "sandbox",
	[STRIKE_CRASH] = "crash", [STRIKE_MEMORY] = "memory", [STRIKE_OPERATOR] = "operator",
};

static int find_cause(const char *word)
{
	for (int i = 0; i < STRIKE_CAUSES; i++) {
		if (strcmp(causes[i], word) == 0)
			return i;
	}
	return -1;
}

// ---- out of the store ----

static void load_counts(struct strike_book *b, const struct store_book *stored)
{
	for (uint32_t i = 0; i < stored->n_counts; i++) {
		int cause = find_cause(stored->counts[i].cause);

		if (cause >= 0)
			b->counts[cause] = stored->counts[i].count;
	}
}

// One from before this boot has no time here: it is over.
static void load_recent(struct strike_book *b, const struct store_book *stored, int64_t now_s,
			uint64_t now_ns)
{
	for (uint32_t i = 0; i < stored->n_recent; i++) {
		int cause = find_cause(stored->recent[i].cause);
		int64_t age_s = now_s - stored->recent[i].at_s;

		if (age_s < 0)
			age_s = 0;
		if (cause < 0 || (uint64_t)age_s > now_ns / NSEC_PER_SEC)
			continue;
		b->newest = (b->newest + 1) % STRIKES_KEPT;
		b->recent[b->newest] = (struct strike){ .at_ns = now_ns - (uint64_t)age_s * NSEC_PER_SEC,
							.cause = (uint32_t)cause };
		if (b->n < STRIKES_KEPT)
			b->n++;
	}
}

static void load_quarantine(struct strike_book *b, const struct store_book *stored, int64_t now_s,
			    uint64_t now_ns)
{
	int cause = find_cause(stored->cause);
	int64_t left_s = stored->until_s - now_s;

	b->quarantined = stored->quarantined;
	b->quarantine_cause = cause < 0 ? STRIKE_OPERATOR : (uint32_t)cause;
	b->quarantined_ns = now_ns;
	if (!stored->until_s)
		b->until_ns = STRIKES_FOREVER;
	else
		b->until_ns = now_ns + (left_s > 0 ? (uint64_t)left_s * NSEC_PER_SEC : 0);
}

void record_book_loaded(struct record *r, const struct store_book *stored)
{
	struct kept *k = kept_get(r, STORE_OF_TENANT, stored->tenant);
	uint64_t now_ns = clock_now_ns();
	int64_t now_s = time(NULL);

	if (!k)
		return;
	if (k->book) { // the store came late, or was replaced: what counts here counts on
		if (stored->quarantined && !k->book->quarantined)
			load_quarantine(k->book, stored, now_s, now_ns);
		return;
	}
	k->book = calloc(1, sizeof(*k->book));
	if (!k->book) {
		complain("out of memory: strikes of '%s' are forgotten", k->key);
		return;
	}
	load_counts(k->book, stored);
	load_recent(k->book, stored, now_s, now_ns);
	if (stored->quarantined)
		load_quarantine(k->book, stored, now_s, now_ns);
}

// ---- into the store ----

static int64_t time_of_day(uint64_t at_ns)
{
	int64_t ahead_s = ((int64_t)at_ns - (int64_t)clock_now_ns()) / (int64_t)NSEC_PER_SEC;

	return time(NULL) + ahead_s;
}

static void tell_quarantine(struct record *r, const char *tenant, const struct strike_book *b)
{
	bool by_hand = b->quarantine_cause == STRIKE_OPERATOR;
	int64_t until_s = b->until_ns == STRIKES_FOREVER ? 0 : time_of_day(b->until_ns);

	record_told(r,
		    store_quarantine(r->store, by_hand ? record_who(r) : "vgpu-mediator", tenant,
				     causes[b->quarantine_cause], time_of_day(b->quarantined_ns), until_s));
}

static void tell_strikes(struct record *r, const char *tenant, const struct strike_book *was,
			 const struct strike_book *now)
{
	for (int cause = 0; cause < STRIKE_CAUSES; cause++) {
		for (uint64_t n = was->counts[cause]; n < now->counts[cause] && cause != STRIKE_OPERATOR; n++)
			record_told(r, store_strike(r->store, tenant, causes[cause], time(NULL)));
	}
}

void record_book_changed(void *record, struct tenant *t)
{
	struct strike_book was = { 0 };
	struct record *r = record;
	const struct strike_book *now = &t->watch.book;
	char name[STORE_NAME_BYTES];
	struct kept *k;

	record_tenant_name(t, name);
	k = kept_get(r, STORE_OF_TENANT, name);
	if (!k)
		return;
	if (k->book)
		was = *k->book;
	else
		k->book = malloc(sizeof(*k->book));
	if (!k->book) {
		complain("out of memory: strikes of '%s' are forgotten", k->key);
		return;
	}
	*k->book = *now;
	tell_strikes(r, name, &was, now);
	if (now->quarantined && (!was.quarantined || was.until_ns != now->until_ns ||
				 was.quarantine_cause != now->quarantine_cause))
		tell_quarantine(r, name, now);
	else if (!now->quarantined && was.quarantined)
		record_told(r, store_release(r->store, record_who(r), name, time(NULL)));
}

void record_book_again(struct record *r, const struct kept *k)
{
	static const struct strike_book nothing;

	if (!k->book)
		return;
	tell_strikes(r, k->key, &nothing, k->book);
	if (k->book->quarantined)
		tell_quarantine(r, k->key, k->book);
}
