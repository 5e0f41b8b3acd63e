// SPDX-License-Identifier: Apache-2.0
// What tenants used, told to the store every few seconds as what came since the last time. When the store
// does not take it, it is told with the next: late, not lost. Runs in the mediator's loop.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "mediator/channel.h"
#include "mediator/complain.h"
#include "mediator/record/record.h"
#include "mediator/tenant.h"

#define LAST_TRIES    100
#define LAST_PAUSE_US 10000
#define MOST_GONE     (4 * VGPU_MAX_TENANTS) // that wait for a disk

// An executor that lies about its memory shall not make sums overflow.
#define MOST_KIB (VGPU_TIB(1024) >> 10)

static uint64_t now_ms(void)
{
	return clock_now_ns() / NSEC_PER_MSEC;
}

// Memory is taken to have been since the last look as it is now.
static void look_at_memory(struct tenant *t, uint64_t ms)
{
	struct tenant_record *r = &t->record;
	uint64_t kib = atomic_load(&t->page->memory_used) >> 10;

	if (r->looked_ms)
		r->memory_kib_ms += (kib < MOST_KIB ? kib : MOST_KIB) * (ms - r->looked_ms);
	r->looked_ms = ms;
	r->now.usage.memory_byte_s += r->memory_kib_ms / 1000 * 1024;
	r->memory_kib_ms %= 1000;
}

static void begin_look(struct tenant *t, uint64_t ms)
{
	const struct turn_account *a = &t->account;
	struct store_usage *now = &t->record.now.usage;

	now->gpu_ns = a->group.charged_ns;
	now->turns = a->group.turns;
	now->launches = a->ended.launches;
	now->copy_bytes = a->ended.copy_bytes;
	now->faults = a->ended.faults;
	memcpy(t->record.now.use, t->use->past, sizeof(t->record.now.use));
	look_at_memory(t, ms);
}

static void add_channel(struct channel *c)
{
	struct store_usage *now = &c->tenant->record.now.usage;

	turn_seat_refresh(&c->seat);
	now->launches += c->seat.meters.launches;
	now->copy_bytes += c->seat.meters.copy_bytes;
	now->faults += c->seat.meters.faults;
	use_add_channel(c->tenant->record.now.use, c);
	use_look(c);
}

// Counters only grow, but for those of an executor that lies.
static uint64_t grown(uint64_t now, uint64_t told)
{
	return now > told ? now - told : 0;
}

// False: nothing came since.
static bool delta(const struct tenant *t, int64_t at_s, struct store_usage *ret)
{
	const struct store_usage *now = &t->record.now.usage, *told = &t->record.told.usage;

	record_tenant_name(t, ret->tenant);
	ret->at_s = at_s;
	ret->gpu_ns = grown(now->gpu_ns, told->gpu_ns);
	ret->turns = grown(now->turns, told->turns);
	ret->launches = grown(now->launches, told->launches);
	ret->copy_bytes = grown(now->copy_bytes, told->copy_bytes);
	ret->memory_byte_s = grown(now->memory_byte_s, told->memory_byte_s);
	ret->faults = grown(now->faults, told->faults);
	return ret->gpu_ns | ret->turns | ret->launches | ret->copy_bytes | ret->memory_byte_s | ret->faults;
}

static bool make_room(struct record *r, unsigned rows)
{
	unsigned room = r->room ? r->room : 64;
	struct store_usage *more;

	while (room < rows)
		room *= 2;
	if (room == r->room)
		return true;
	more = reallocarray(r->rows, room, sizeof(*more));
	if (!more)
		return false;
	r->rows = more;
	r->room = room;
	return true;
}

void record_usage_look(struct mediator *m)
{
	uint64_t ms = now_ms();
	struct channel *c;
	struct tenant *t;

	turns_refresh(&m->turns);
	for (t = tenant_from_id(m, 0); t; t = tenant_after(t))
		begin_look(t, ms);
	LIST_FOREACH (c, &m->channels, link)
		add_channel(c);
}

// ---- exactly once, whoever is killed when ----

// Before the store has the batch: of one that it has not booked, the next mediator takes the one before.
static void note(struct tenant *t, uint64_t number)
{
	struct told_usage *told = tenant_told_usage(t);

	told->batch[number % 2].total = t->record.now;
	atomic_store(&told->batch[number % 2].number, number);
}

static void note_none(struct tenant *t, uint64_t number)
{
	atomic_store(&tenant_told_usage(t)->batch[number % 2].number, 0);
}

// The place of the batch that is booked is kept until another one is: numbers go on from it, so what was told
// and not booked is told again under the same number.
static void restore(struct record *r, struct tenant *t)
{
	struct told_usage *told = tenant_told_usage(t);
	uint64_t numbers[2] = { atomic_load(&told->batch[0].number), atomic_load(&told->batch[1].number) };
	unsigned last = numbers[1] > numbers[0], at = r->usage_booked % 2;
	bool is_booked = numbers[last] <= r->usage_booked;
	unsigned from = is_booked ? last : 1 - last;

	// Memory is summed up here and nowhere else: it goes on from what it was.
	if (numbers[last])
		t->record.now.usage.memory_byte_s = told->batch[last].total.usage.memory_byte_s;
	if (numbers[from])
		t->record.told = told->batch[from].total;
	if (!is_booked)
		record_use_again(t);
	if (from != at) // none of its was in the last batch, or the file is another one
		told->batch[at].total = t->record.told;
	atomic_store(&told->batch[at].number, r->usage_booked);
	atomic_store(&told->batch[1 - at].number, 0);
}

// When there are tenants of before, and the store has said what it has, whichever comes first.
static void restore_all(struct record *r)
{
	struct tenant *t;

	if (!r->usage_known || !r->usage_adopted)
		return;
	r->usage_adopted = false;
	for (t = tenant_from_id(r->mediator, 0); t; t = tenant_after(t))
		restore(r, t);
}

void record_adopted(struct record *r)
{
	r->usage_adopted = true;
	restore_all(r);
}

void record_usage_loaded(struct record *r, uint64_t booked)
{
	if (r->usage_known) // it opened another file: what is told goes on
		return;
	r->usage_known = true;
	r->usage_booked = r->usage_number = booked;
	restore_all(r);
}

// 0, or -errno with all to be told again.
static int tell(struct record *r)
{
	struct mediator *m = r->mediator;
	unsigned n = r->n_gone;
	int64_t at_s = time(NULL);
	uint64_t number = r->usage_number + 1;
	struct tenant *t;
	int e;

	if (!r->usage_known || store_usage_waits(r->store))
		return -EAGAIN;
	if (!make_room(r, n + m->n_tenants))
		return -ENOMEM;
	record_usage_look(m);
	r->uses.n = r->uses.n_gone;
	for (t = tenant_from_id(m, 0); t; t = tenant_after(t)) {
		n += delta(t, at_s, &r->rows[n]);
		if (!record_use_add(r, t))
			return -ENOMEM;
	}
	if (!n && !r->uses.n)
		return 0;
	for (t = tenant_from_id(m, 0); t; t = tenant_after(t))
		note(t, number);
	e = store_usage(r->store, number, r->rows, n, r->uses.rows, r->uses.n);
	for (t = tenant_from_id(m, 0); t; t = tenant_after(t)) {
		if (e < 0) {
			note_none(t, number);
		} else {
			t->record.told = t->record.now;
			t->use->news = 0;
		}
	}
	if (e < 0)
		return e;
	r->usage_number = number;
	r->n_gone = r->uses.n_gone = 0;
	return 0;
}

void record_usage_tell(struct record *r)
{
	(void)tell(r); // what it was does not matter: it comes with the next
}

void record_usage_last(struct record *r)
{
	struct store_status status;

	// The one before may be under way, unless the disk does not work.
	for (int i = 0; i < LAST_TRIES && tell(r) == -EAGAIN; i++) {
		store_status(r->store, &status);
		if (status.degraded)
			break;
		usleep(LAST_PAUSE_US);
	}
}

void record_usage_gone(struct record *r, struct tenant *t)
{
	if (r->usage_adopted) // the store has not come yet: what it was told it will have
		restore(r, t);
	begin_look(t, now_ms()); // it has no channels any more
	r->uses.n = r->uses.n_gone;
	if (r->n_gone >= MOST_GONE || !make_room(r, r->n_gone + 1) || !record_use_add(r, t)) {
		complain("the last usage of tenant '%s' is not recorded: too much waits for the store",
			 t->name);
		return;
	}
	r->uses.n_gone = r->uses.n;
	r->n_gone += delta(t, time(NULL), &r->rows[r->n_gone]);
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct record *r = userdata;

	(void)usec;
	record_gpu(r);
	record_usage_tell(r);
	sd_event_source_set_time(source,
				 (clock_now_ns() + r->mediator->settings->store_flush) / NSEC_PER_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int record_usage_init(struct record *r)
{
	struct mediator *m = r->mediator;
	int e;

	if (!r->usage_known)
		r->usage_booked = UINT64_MAX;
	e = sd_event_add_time(m->event, &r->tick, CLOCK_MONOTONIC,
			      (clock_now_ns() + m->settings->store_flush) / NSEC_PER_USEC, 100000, on_tick,
			      r);

	return e < 0 ? e : sd_event_source_set_priority(r->tick, SD_EVENT_PRIORITY_NORMAL + 2);
}
