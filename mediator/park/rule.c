// SPDX-License-Identifier: Apache-2.0
// See the header. Nobody holds memory and waits for more for ever: an executor comes back as a whole or not
// at all, and one whose allocation waits can be asked to park like any other, while an older request waits.
#include "mediator/park/rule.h"

#include <stddef.h>
#include <string.h>

// How often those that wait are looked at without any news.
#define LOOK_AGAIN_NS 50000000ull
// Memory that can be parked comes in granules of the device's; less than one cannot.
#define LEAST_BYTES (2ull << 20)
// More than devices have, and no sum of two overflows.
#define MOST_BYTES (1ull << 62)

static uint64_t lesser(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t here(const struct park_seat *s)
{
	return s->held > s->parked ? s->held - s->parked : 0;
}

// Whether it has anything to park. What stays of one that is parked (variables of modules, what others share)
// stays when it is asked again; but one that a record interrupted has parked a part, and waits to come back.
static bool may_go(const struct park_seat *s)
{
	return here(s) >= LEAST_BYTES && (!s->parked || s->wants);
}

void park_rule_init(struct park_rule *r, const struct park_config *config)
{
	r->config = *config;
	LIST_INIT(&r->seats);
}

void park_seat_add(struct park_rule *r, struct park_seat *s, uint64_t now_ns)
{
	memset(s, 0, sizeof(*s));
	s->active_ns = s->here_ns = now_ns;
	LIST_INSERT_HEAD(&r->seats, s, link);
}

void park_seat_show(struct park_seat *s, uint64_t held, uint64_t parked, uint64_t active_ns, bool demand,
		    uint64_t now_ns)
{
	if (parked > held)
		parked = held;
	if (s->parked && !parked)
		s->here_ns = now_ns;
	s->held = held;
	s->parked = parked;
	s->active_ns = active_ns < now_ns ? active_ns : now_ns;
	s->demand = demand;
}

void park_seat_want(struct park_seat *s, uint64_t bytes, uint64_t free, bool back, uint64_t now_ns)
{
	// One that comes back and did not get all of it waits on, with the time it has waited.
	if (!(s->wants || s->granted) || !bytes || back != s->back)
		s->wants_ns = now_ns;
	s->freed = s->granted = 0;
	s->wants = bytes != 0;
	s->wants_bytes = bytes;
	s->free = lesser(free, MOST_BYTES);
	s->back = back;
}

void park_seat_note(const struct park_seat *s, struct park_notes *ret)
{
	*ret = (struct park_notes){
		.here_ns = s->here_ns,
		.asked_of = s->asked ? s->asked_of : 0,
		.wants_ns = s->wants_ns,
		.freed = s->freed,
	};
}

void park_seat_remember(struct park_seat *s, const struct park_notes *n, bool same_request, uint64_t now_ns)
{
	s->here_ns = lesser(n->here_ns, now_ns);
	s->asked = n->asked_of != 0;
	s->asked_of = n->asked_of;
	s->asked_ns = now_ns;
	if (!same_request)
		return;
	s->wants_ns = lesser(n->wants_ns, now_ns);
	s->freed = lesser(n->freed, MOST_BYTES);
}

void park_seat_promise(struct park_seat *s, uint64_t bytes)
{
	s->wants = false;
	s->granted = bytes;
}

// What is on the device, or will be without another word.
static uint64_t total_here(const struct park_rule *r)
{
	const struct park_seat *s;
	uint64_t sum = 0;

	LIST_FOREACH (s, &r->seats, link)
		sum += here(s) + s->granted;
	return sum;
}

uint64_t park_total(const struct park_rule *r)
{
	const struct park_seat *s;
	uint64_t sum = 0;

	LIST_FOREACH (s, &r->seats, link)
		sum += s->parked;
	return sum;
}

bool park_is_wanted(const struct park_rule *r)
{
	const struct park_seat *s;

	LIST_FOREACH (s, &r->seats, link)
		if (s->wants)
			return true;
	return false;
}

// What others were told to take and have not yet.
static uint64_t promised(const struct park_rule *r, const struct park_seat *except)
{
	const struct park_seat *s;
	uint64_t sum = 0;

	LIST_FOREACH (s, &r->seats, link)
		sum += s == except ? 0 : s->granted;
	return sum;
}

// What is still in the way of the request; UINT64_MAX: it never fits.
static uint64_t missing(const struct park_rule *r, const struct park_seat *s)
{
	uint64_t need = s->wants_bytes, have;

	if (r->config.device && need > r->config.device)
		return UINT64_MAX;
	need += r->config.device ? total_here(r) : promised(r, s);
	have = r->config.device ? r->config.device : s->free + s->freed;
	return need > have ? need - have : 0;
}

// Allocations first: they wait for a bounded time, and what they get is theirs to free.
static struct park_seat *first_request(const struct park_rule *r)
{
	struct park_seat *s, *best = NULL;

	LIST_FOREACH (s, &r->seats, link) {
		if (!s->wants)
			continue;
		if (!best || (best->back && !s->back) ||
		    (best->back == s->back && s->wants_ns < best->wants_ns))
			best = s;
	}
	return best;
}

// Whose executors are believed here: at worst a request is answered too early, and made again.
static void credit(struct park_seat *request, uint64_t bytes)
{
	request->freed = bytes < MOST_BYTES - request->freed ? request->freed + bytes : MOST_BYTES;
}

void park_seat_remove(struct park_rule *r, struct park_seat *s)
{
	struct park_seat *w;

	LIST_REMOVE(s, link);
	w = first_request(r);
	if (w)
		credit(w, here(s));
}

void park_seat_answered(struct park_rule *r, struct park_seat *s, uint64_t now_ns)
{
	struct park_seat *w = first_request(r);
	uint64_t gone = s->asked && s->asked_of > here(s) ? s->asked_of - here(s) : 0;

	if (!s->asked)
		return;
	s->asked = false;
	if (w && w != s)
		credit(w, gone);
	if (!gone) // it had a record, or cannot: not at once again
		s->deaf_until_ns = now_ns + r->config.residence_ns;
}

// Since when it could be asked for this request; PARK_NEVER: not as things are.
static uint64_t ready_at(const struct park_rule *r, const struct park_seat *s,
			 const struct park_seat *request, uint64_t now_ns, bool *ret_urgent)
{
	const struct park_config *c = &r->config;
	// It does nothing but wait, with what it has: else several that allocate bit by bit would wait for
	// one another. Parked it waits to come back, and the allocation is tried again then.
	bool waits = s->wants;
	uint64_t rested = s->here_ns + c->residence_ns, idle, urgent;

	*ret_urgent = false;
	if (s->asked)
		return PARK_NEVER;
	if (rested < s->deaf_until_ns)
		rested = s->deaf_until_ns;
	idle = s->demand || waits ? PARK_NEVER : s->active_ns + c->idle_ns;
	if (idle < rested)
		idle = rested;
	urgent = request->back || waits ? request->wants_ns + c->patience_ns : PARK_NEVER;
	if (urgent < rested)
		urgent = rested;
	*ret_urgent = idle > now_ns && urgent < idle;
	return urgent < idle ? urgent : idle;
}

struct choice {
	struct park_seat *seat;
	bool urgent;
	uint64_t wake_ns; // when somebody can be asked who cannot now
	bool hope;	  // somebody has what could go
};

// The one that has been idle for longest; else, of those at work, the one that has been there for longest.
static struct choice choose(struct park_rule *r, const struct park_seat *request, uint64_t host_room,
			    uint64_t now_ns)
{
	struct choice best = { .wake_ns = PARK_NEVER };
	struct park_seat *s;

	LIST_FOREACH (s, &r->seats, link) {
		bool urgent;
		uint64_t at = ready_at(r, s, request, now_ns, &urgent);

		// One is about to have something that could go, the other to go itself.
		best.hope = best.hope || (s != request && (s->granted || (s->ends && here(s))));
		if (s == request || !may_go(s) || here(s) > host_room || s->deaf_until_ns == PARK_NEVER)
			continue;
		best.hope = true;
		if (at == PARK_NEVER)
			continue;
		if (at > now_ns) {
			if (at < best.wake_ns)
				best.wake_ns = at;
			continue;
		}
		if (!best.seat || (best.urgent && !urgent) ||
		    (best.urgent == urgent &&
		     (urgent ? s->here_ns < best.seat->here_ns : s->active_ns < best.seat->active_ns))) {
			best.seat = s;
			best.urgent = urgent;
		}
	}
	return best;
}

uint64_t park_lease(const struct park_rule *r, const struct park_seat *s)
{
	uint64_t lease = here(s) + s->granted;

	// A lease of nothing would mean that there is no end.
	return !r->config.device ? 0 : lease ? lease : 1;
}

static struct park_action answer(const struct park_rule *r, struct park_seat *s, bool granted)
{
	struct park_action a = { PARK_ANSWER, s, 0 };

	s->wants = false;
	s->granted = granted ? s->wants_bytes : 0;
	a.lease = park_lease(r, s);
	return a;
}

// What was asked of others and has not come yet; late answers are given up.
static uint64_t under_way(struct park_rule *r, uint64_t now_ns, uint64_t *wake_ns)
{
	struct park_seat *s;
	uint64_t sum = 0;

	LIST_FOREACH (s, &r->seats, link) {
		if (!s->asked)
			continue;
		if (now_ns - s->asked_ns >= r->config.answer_ns) {
			s->asked = false;
			s->deaf_until_ns = now_ns + r->config.answer_ns;
			continue;
		}
		sum += s->asked_of;
		if (s->asked_ns + r->config.answer_ns < *wake_ns)
			*wake_ns = s->asked_ns + r->config.answer_ns;
	}
	return sum;
}

static uint64_t room_left(const struct park_rule *r, uint64_t host_room, uint64_t coming)
{
	uint64_t used = park_total(r) + coming, left = r->config.host > used ? r->config.host - used : 0;

	host_room = host_room > coming ? host_room - coming : 0;
	return left < host_room ? left : host_room;
}

struct park_action park_next(struct park_rule *r, uint64_t host_room, uint64_t now_ns, uint64_t *ret_wake_ns)
{
	struct park_seat *request = first_request(r);
	uint64_t lacks, coming;
	struct choice c;

	*ret_wake_ns = PARK_NEVER;
	if (!request)
		return (struct park_action){ PARK_NOTHING, NULL, 0 };
	coming = under_way(r, now_ns, ret_wake_ns);
	lacks = missing(r, request);
	if (!lacks)
		return answer(r, request, true);
	if (lacks == UINT64_MAX && !request->back)
		return answer(r, request, false);
	if (coming >= lacks)
		return (struct park_action){ PARK_NOTHING, NULL, 0 };
	c = choose(r, request, room_left(r, host_room, coming), now_ns);
	if (c.seat) {
		c.seat->asked = true;
		c.seat->asked_ns = now_ns;
		c.seat->asked_of = here(c.seat);
		return (struct park_action){ c.urgent ? PARK_ASK_URGENT : PARK_ASK, c.seat, 0 };
	}
	if (!request->back && !coming) {
		uint64_t end = request->wants_ns + r->config.wait_ns;

		if (!c.hope || now_ns >= end)
			return answer(r, request, false);
		if (end < *ret_wake_ns)
			*ret_wake_ns = end;
	}
	if (c.wake_ns < *ret_wake_ns)
		*ret_wake_ns = c.wake_ns;
	if (now_ns + LOOK_AGAIN_NS < *ret_wake_ns) // activity is seen by looking
		*ret_wake_ns = now_ns + LOOK_AGAIN_NS;
	return (struct park_action){ PARK_NOTHING, NULL, 0 };
}
