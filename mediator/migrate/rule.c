// SPDX-License-Identifier: Apache-2.0
// See the header. Pure.
#include "mediator/migrate/rule.h"

#include <stdlib.h>

#define MINUTE_NS    60000000000ull
#define WHOLE	     10000 // hundredths of a percent
#define MOST_ERRORS  ((uint64_t)1 << 40)
#define MOST_MINUTES ((uint64_t)1 << 20)

static uint64_t per_launch(const struct migrate_minute *m)
{
	return m->launches ? m->gpu_ns / m->launches : UINT64_MAX;
}

static int order(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int by_per_launch(const void *a, const void *b)
{
	return order(per_launch(a), per_launch(b));
}

static int by_gpu_time(const void *a, const void *b)
{
	return order(((const struct migrate_minute *)a)->gpu_ns, ((const struct migrate_minute *)b)->gpu_ns);
}

static uint64_t add(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t held(const struct migrate_minute *m)
{
	// What is charged when a hold ends may be of more than a minute.
	return m->gpu_ns >= MINUTE_NS ? WHOLE : m->gpu_ns * WHOLE / MINUTE_NS;
}

void migrate_summarize(struct migrate_minute *minutes, size_t n, struct migrate_summary *ret)
{
	size_t used = 0;

	*ret = (struct migrate_summary){ 0 };
	for (size_t i = 0; i < n; i++) {
		ret->faults = add(ret->faults, minutes[i].faults);
		if (!minutes[i].gpu_ns)
			continue;
		ret->gpu_ns = add(ret->gpu_ns, minutes[i].gpu_ns);
		ret->launches = add(ret->launches, minutes[i].launches);
		ret->launching += minutes[i].launches != 0;
		minutes[used++] = minutes[i];
	}
	ret->minutes = used;
	if (!used)
		return;
	qsort(minutes, used, sizeof(*minutes), by_gpu_time);
	ret->held = held(&minutes[used / 2]);
	ret->held_low = held(&minutes[used / 10]);
	qsort(minutes, used, sizeof(*minutes), by_per_launch); // those without a launch come last
	if (ret->launching) {
		ret->per_launch = per_launch(&minutes[ret->launching / 2]);
		ret->per_launch_high = per_launch(&minutes[(ret->launching - 1) * 9 / 10]);
	}
}

static uint64_t root(uint64_t n)
{
	uint64_t r = 0;

	for (uint64_t bit = (uint64_t)1 << 31; bit; bit >>= 1)
		if ((r | bit) * (r | bit) <= n)
			r |= bit;
	return r;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t errors_of(const struct migrate_summary *s, uint64_t strikes)
{
	return least(add(s->faults, strikes), MOST_ERRORS);
}

// Four standard deviations of a count that comes by chance (it is looked at often), and what the settings
// add.
static uint64_t allowed(const struct migrate_config *c, const struct migrate_evidence *e)
{
	uint64_t before = errors_of(&e->before, e->strikes_before), expected = 0;

	if (e->before.minutes)
		expected =
		    before * least(e->after.minutes ? e->after.minutes : 1, MOST_MINUTES) / e->before.minutes;
	return add(expected + 4 * root(expected), c->errors);
}

static bool is_slower(const struct migrate_config *c, const struct migrate_evidence *e)
{
	const struct migrate_summary *b = &e->before, *a = &e->after;

	if (!c->slower || b->launching < c->minutes || a->launching < c->minutes)
		return false;
	return a->per_launch > b->per_launch_high &&
	       (a->per_launch - b->per_launch) >
		   b->per_launch / 100 * c->slower + b->per_launch % 100 * c->slower / 100;
}

static bool held_falls(const struct migrate_config *c, const struct migrate_evidence *e)
{
	const struct migrate_summary *b = &e->before, *a = &e->after;

	if (!c->fall)
		return false;
	return a->held < b->held_low && (b->held - a->held) * 100 > b->held * c->fall;
}

struct migrate_judgement migrate_judge(const struct migrate_config *c, const struct migrate_evidence *e,
				       int64_t now_s)
{
	struct migrate_judgement j = { .errors = errors_of(&e->after, e->strikes_after),
				       .allowed = allowed(c, e) };

	if (j.errors > j.allowed) {
		j.verdict = MIGRATE_BAD;
		j.cause = MIGRATE_ERRORS;
		return j;
	}
	if (e->after.minutes < c->minutes) {
		if (now_s - e->started_s >= (int64_t)c->deadline_s)
			j.verdict = MIGRATE_UNJUDGED;
		return j;
	}
	j.verdict = MIGRATE_GOOD;
	j.compared = e->before.minutes >= c->minutes;
	if (!j.compared)
		return j;
	j.cause = is_slower(c, e) ? MIGRATE_SLOWER : held_falls(c, e) ? MIGRATE_HELD_FALLS : MIGRATE_NO_CAUSE;
	if (j.cause)
		j.verdict = MIGRATE_BAD;
	return j;
}

uint64_t migrate_errors_per_hour(const struct migrate_summary *s, uint64_t strikes)
{
	return s->minutes ? errors_of(s, strikes) * 6000 / s->minutes : 0;
}
