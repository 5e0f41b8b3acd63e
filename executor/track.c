// SPDX-License-Identifier: Apache-2.0
// Batches, lanes and completion; see the header. Owns the private words that the device stores to.
#include "executor/track.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "executor/executor.h"
#include "protocol/cuda/cuda_abi.h"

static void free_lists_fill(struct track *t)
{
	STAILQ_INIT(&t->free_batches);
	STAILQ_INIT(&t->free_slots);
	for (unsigned i = 0; i < TRACK_MAX_RECORDS; i++) {
		STAILQ_INSERT_TAIL(&t->free_batches, &t->batch_pool[i], next);
		STAILQ_INSERT_TAIL(&t->free_slots, &t->slot_pool[i], next);
	}
}

static void lane_clear(struct lane *l)
{
	l->open = NULL;
	l->active = false;
	l->guard.n = 0;
	l->guard.overflow = false;
	STAILQ_INIT(&l->batches);
	STAILQ_INIT(&l->fences);
	STAILQ_INIT(&l->waits);
}

int track_init(struct track *t)
{
	memset(t, 0, sizeof(*t));
	t->words_bytes = (TRACK_LANES * sizeof(struct lane_words) + 4095) & ~(size_t)4095;
	t->lanes = calloc(TRACK_LANES, sizeof(*t->lanes));
	t->words = mmap(NULL, t->words_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!t->lanes || t->words == MAP_FAILED) {
		free(t->lanes);
		t->lanes = NULL;
		t->words = NULL;
		return -ENOMEM;
	}
	lane_clear(&t->lanes[TRACK_LEGACY]);
	t->lanes[TRACK_LEGACY].used = t->lanes[TRACK_LEGACY].blocking = true;
	t->next_lane = 1;
	free_lists_fill(t);
	return 0;
}

void track_done(struct track *t)
{
	free(t->lanes);
	if (t->words)
		munmap(t->words, t->words_bytes);
	t->lanes = NULL;
	t->words = NULL;
}

static void drop_event(struct executor *x, struct track_slot *s)
{
	if (!s->event)
		return;
	x->ops->event_destroy(x->backend, s->event);
	s->event = NULL;
	x->track.n_event_waits--;
}

void track_reset(struct executor *x)
{
	struct track *t = &x->track;

	passer_clear(&x->passer);
	for (uint32_t i = 0; i < t->n_active; i++) {
		struct lane *l = &t->lanes[t->active[i]];
		struct track_slot *s;

		STAILQ_FOREACH (s, &l->waits, next)
			drop_event(x, s);
		lane_clear(l);
		if (l->closing)
			l->used = false;
	}
	for (uint32_t i = 0; i < TRACK_LANES; i++) // guards that name a forgotten wait are dead
		t->lanes[i].passed_wait = t->last_wait;
	free_lists_fill(t);
	t->n_active = t->records = t->blocked_records = t->n_waits = t->n_word_waits = 0;
	assert(!t->n_event_waits);
	t->predicted_ns = t->busy_since = 0;
	t->pass_waits_for_turn = false;
}

uint32_t track_lane_get(struct track *t, struct backend_stream *stream, bool blocking)
{
	for (uint32_t tries = 1; tries < TRACK_LANES; tries++) {
		uint32_t i = t->next_lane;
		struct lane *l = &t->lanes[i];

		t->next_lane = i + 1 < TRACK_LANES ? i + 1 : 1;
		if (l->used)
			continue;
		lane_clear(l);
		l->stream = stream;
		l->used = true;
		l->closing = false;
		l->blocking = blocking;
		return i;
	}
	return TRACK_LANES;
}

// ---- guards ----

static bool guard_alive(const struct track *t, const struct guard *g)
{
	for (uint32_t i = 0; i < g->n; i++)
		if (t->lanes[g->places[i].lane].passed_wait < g->places[i].wait)
			return true;
	return false;
}

static void guard_prune(const struct track *t, struct guard *g)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < g->n; i++)
		if (t->lanes[g->places[i].lane].passed_wait < g->places[i].wait)
			g->places[n++] = g->places[i];
	g->n = n;
	if (!n)
		g->overflow = false;
}

// True: g changed.
static bool guard_put(struct guard *g, uint32_t lane, uint64_t wait)
{
	for (uint32_t i = 0; i < g->n; i++) {
		if (g->places[i].lane != lane)
			continue;
		if (g->places[i].wait >= wait)
			return false;
		g->places[i].wait = wait;
		return true;
	}
	if (g->n == TRACK_GUARDS) {
		bool changed = !g->overflow;

		g->overflow = true;
		return changed;
	}
	g->places[g->n++] = (struct guard_place){ .lane = lane, .wait = wait };
	return true;
}

static bool guard_merge(struct guard *g, const struct guard *from)
{
	bool changed = from->overflow && !g->overflow;

	g->overflow |= from->overflow;
	for (uint32_t i = 0; i < from->n; i++)
		changed |= guard_put(g, from->places[i].lane, from->places[i].wait);
	return changed;
}

static void flush_lane(struct executor *x, uint32_t lane);

void track_guard_of(struct track *t, uint32_t lane, struct guard *ret)
{
	if (!t->n_waits) {
		ret->n = 0;
		ret->overflow = false;
		return;
	}
	guard_prune(t, &t->lanes[lane].guard);
	*ret = t->lanes[lane].guard;
}

void track_guard_add(struct executor *x, uint32_t lane, const struct guard *g)
{
	struct guard copy = *g;

	if (!x->track.n_waits || !g->n)
		return;
	guard_prune(&x->track, &copy);
	guard_prune(&x->track, &x->track.lanes[lane].guard);
	if (guard_merge(&x->track.lanes[lane].guard, &copy))
		flush_lane(x, lane); // what was submitted before does not stand behind it
}

// Work in the legacy stream waits for what the blocking streams have, and theirs for the legacy stream's.
void track_before(struct executor *x, uint32_t lane)
{
	struct track *t = &x->track;

	if (lane == TRACK_NOWHERE || !t->n_waits || !t->lanes[lane].blocking)
		return;
	if (lane != TRACK_LEGACY) {
		track_guard_add(x, lane, &t->lanes[TRACK_LEGACY].guard);
		return;
	}
	for (uint32_t i = 0; i < t->n_active; i++) {
		const struct lane *l = &t->lanes[t->active[i]];

		if (l->blocking && t->active[i] != TRACK_LEGACY)
			track_guard_add(x, TRACK_LEGACY, &l->guard);
	}
}

// ---- submission ----

static struct batch *batch_open(struct executor *x, uint32_t lane)
{
	struct track *t = &x->track;
	struct lane *l = &t->lanes[lane];
	struct batch *b = STAILQ_FIRST(&t->free_batches);

	assert(b);
	STAILQ_REMOVE_HEAD(&t->free_batches, next);
	b->number = l->last_batch = ++t->last_batch;
	b->begun_ns = x->now_ns;
	b->predicted_ns = 0;
	b->records = b->n_keys = 0;
	b->guard.n = 0;
	b->blocked = false;
	if (t->n_waits && l->guard.n) {
		guard_prune(t, &l->guard);
		b->guard = l->guard;
		b->blocked = b->guard.n && !b->guard.overflow;
	}
	l->open = b;
	if (!l->active) {
		assert(t->n_active < TRACK_MAX_RECORDS);
		l->active = true;
		t->active[t->n_active++] = lane;
	}
	return b;
}

static void batch_add_key(struct batch *b, uint64_t key, uint64_t each_ns)
{
	for (uint32_t i = 0; i < b->n_keys; i++) {
		if (b->keys[i].key == key) {
			b->keys[i].count++;
			return;
		}
	}
	if (b->n_keys < TRACK_BATCH_KEYS)
		b->keys[b->n_keys++] = (struct batch_key){ .key = key, .each_ns = each_ns, .count = 1 };
}

void track_after(struct executor *x, uint32_t lane, uint64_t key, uint64_t predicted_ns)
{
	struct track *t = &x->track;
	struct batch *b;

	if (x->sticky || lane == TRACK_NOWHERE)
		return;
	b = t->lanes[lane].open;
	if (!b)
		b = batch_open(x, lane);
	b->records++;
	t->records++;
	b->predicted_ns += predicted_ns;
	if (key)
		batch_add_key(b, key, predicted_ns);
	if (b->blocked) {
		t->blocked_records++;
	} else {
		t->predicted_ns += predicted_ns;
		if (!t->busy_since)
			t->busy_since = b->begun_ns;
	}
	if (b->records >= TRACK_BATCH_RECORDS || b->predicted_ns >= TRACK_BATCH_NS)
		flush_lane(x, lane);
}

static void flush_lane(struct executor *x, uint32_t lane)
{
	struct track *t = &x->track;
	struct lane *l = &t->lanes[lane];
	struct batch *b = l->open;
	int r;

	if (!b)
		return;
	l->open = NULL;
	STAILQ_INSERT_TAIL(&l->batches, b, next);
	r = x->ops->stream_write(x->backend, l->stream, &t->words[lane].done, b->number);
	if (r)
		executor_fail(x, r); // work that cannot be followed cannot be charged
}

void track_flush(struct executor *x)
{
	for (uint32_t i = 0; i < x->track.n_active && !x->sticky; i++)
		flush_lane(x, x->track.active[i]);
}

static struct track_slot *slot_take(struct track *t, uint32_t slot, uint64_t value)
{
	struct track_slot *s = STAILQ_FIRST(&t->free_slots);

	assert(s);
	STAILQ_REMOVE_HEAD(&t->free_slots, next);
	s->slot = slot;
	s->value = value;
	s->event = NULL;
	return s;
}

void track_fence(struct executor *x, uint32_t lane, uint32_t slot, uint64_t value)
{
	struct track *t = &x->track;
	struct track_slot *s;

	if (x->sticky)
		return;
	s = slot_take(t, slot, value);
	s->batch = t->lanes[lane].last_batch;
	s->since_ns = delay_since(&x->delay, x->ring.head, x->now_ns);
	STAILQ_INSERT_TAIL(&t->lanes[lane].fences, s, next);
}

// The device waits for the lane's pass word; what comes behind is blocked. The event, if there is one, is
// taken over by a wait that was made.
static int32_t wait_for_pass(struct executor *x, uint32_t lane, uint32_t slot, uint64_t value,
			     struct backend_event *event)
{
	struct track *t = &x->track;
	struct lane *l = &t->lanes[lane];
	int32_t result = x->ops->stream_wait(x->backend, l->stream, &t->words[lane].pass, t->last_wait + 1);
	struct track_slot *s;

	if (result)
		return result;
	s = slot_take(t, slot, value);
	s->wait = ++t->last_wait;
	s->lane = lane;
	s->event = event;
	t->n_waits++;
	guard_prune(t, &l->guard);
	guard_put(&l->guard, lane, s->wait);
	STAILQ_INSERT_TAIL(&l->waits, s, next);
	track_after(x, lane, 0, TRACK_SMALL_NS);
	s->batch = l->last_batch;
	passer_add(&x->passer, s);
	return CUDA_SUCCESS;
}

int32_t track_host_wait(struct executor *x, uint32_t lane, uint32_t slot, uint64_t value)
{
	int32_t result;

	flush_lane(x, lane);
	result = x->sticky;
	return result ? result : wait_for_pass(x, lane, slot, value, NULL);
}

int32_t track_event_wait(struct executor *x, uint32_t lane, struct backend_event *event)
{
	int32_t result;

	flush_lane(x, lane);
	result = x->sticky;
	if (!result)
		result = wait_for_pass(x, lane, 0, 0, event);
	if (result)
		x->ops->event_destroy(x->backend, event);
	else
		x->track.n_event_waits++;
	return result;
}

int32_t track_word_waits(struct executor *x, uint32_t lane)
{
	flush_lane(x, lane); // what is complete before them shall be seen
	return x->sticky;
}

int32_t track_word_waited(struct executor *x, uint32_t lane, uint32_t records)
{
	struct track *t = &x->track;
	int32_t r =
	    x->ops->stream_write(x->backend, t->lanes[lane].stream, &t->words[lane].over, t->last_wait + 1);

	if (!r)
		r = wait_for_pass(x, lane, TRACK_WORD, t->last_wait + 1, NULL);
	if (r) {
		executor_fail(x, r); // work that cannot be followed cannot be charged
		return r;
	}
	t->n_word_waits++;
	for (uint32_t i = 1; i < records; i++)
		track_after(x, lane, 0, 0);
	return 0;
}

// ---- completion ----

uint64_t track_batch_of(const struct track *t, uint32_t lane)
{
	const struct lane *l = &t->lanes[lane];

	return l->open || !STAILQ_EMPTY(&l->batches) ? l->last_batch : 0;
}

bool track_batch_done(const struct track *t, uint32_t lane, uint64_t batch)
{
	const struct lane *l = &t->lanes[lane];
	const struct batch *oldest = STAILQ_EMPTY(&l->batches) ? l->open : STAILQ_FIRST(&l->batches);

	return !oldest || oldest->number > batch;
}

static void pass_on(struct executor *x, uint32_t lane, struct lane *l)
{
	struct track *t = &x->track;
	struct track_slot *s = STAILQ_FIRST(&l->waits);

	passer_remove(&x->passer, s);
	drop_event(x, s);
	l->passed_wait = s->wait;
	atomic_store_explicit(&t->words[lane].pass, s->wait, memory_order_release);
	STAILQ_REMOVE_HEAD(&l->waits, next);
	STAILQ_INSERT_HEAD(&t->free_slots, s, next);
	t->n_waits--;
	t->n_word_waits -= s->slot == TRACK_WORD;
}

// The lane's work up to and including batch is done: its fences are there, its waits were passed.
static void drop_slots(struct executor *x, uint32_t lane, uint64_t batch)
{
	struct track *t = &x->track;
	struct lane *l = &t->lanes[lane];
	struct track_slot *s;

	while ((s = STAILQ_FIRST(&l->fences)) && s->batch <= batch) {
		delay_waited(&x->delay, s->since_ns, x->now_ns);
		STAILQ_REMOVE_HEAD(&l->fences, next);
		STAILQ_INSERT_HEAD(&t->free_slots, s, next);
		x->stored = true;
	}
	while ((s = STAILQ_FIRST(&l->waits)) && s->batch <= batch)
		pass_on(x, lane, l);
}

struct finished {
	STAILQ_HEAD(, batch) batches;
	uint64_t begun_ns, predicted_ns;
	uint32_t records;
};

static void lane_poll(struct executor *x, uint32_t lane, struct finished *f)
{
	struct track *t = &x->track;
	struct lane *l = &t->lanes[lane];
	uint64_t done = atomic_load_explicit(&t->words[lane].done, memory_order_acquire);
	struct batch *b;

	while ((b = STAILQ_FIRST(&l->batches)) && b->number <= done) {
		STAILQ_REMOVE_HEAD(&l->batches, next);
		drop_slots(x, lane, b->number);
		t->records -= b->records;
		if (b->blocked)
			t->blocked_records -= b->records;
		else
			t->predicted_ns -= b->predicted_ns;
		f->records += b->records;
		f->predicted_ns += b->predicted_ns;
		if (!f->begun_ns || b->begun_ns < f->begun_ns)
			f->begun_ns = b->begun_ns;
		STAILQ_INSERT_TAIL(&f->batches, b, next);
	}
}

// All that was seen finished at once shares the time since the last such moment in the measure of its
// prediction.
static void learn(struct executor *x, struct finished *f, uint64_t now_ns)
{
	struct track *t = &x->track;
	uint64_t from = f->begun_ns > t->last_seen_ns ? f->begun_ns : t->last_seen_ns;
	double ratio = now_ns > from ? (double)(now_ns - from) / (double)(f->predicted_ns + 1) : 0;
	struct batch *b;

	while ((b = STAILQ_FIRST(&f->batches))) {
		for (uint32_t i = 0; i < b->n_keys; i++)
			predict_learn(&x->predict, b->keys[i].key,
				      (uint64_t)((double)b->keys[i].each_ns * ratio));
		STAILQ_REMOVE_HEAD(&f->batches, next);
		STAILQ_INSERT_HEAD(&t->free_batches, b, next);
	}
}

bool track_poll(struct executor *x, uint64_t now_ns)
{
	struct track *t = &x->track;
	struct finished f = { 0 };

	STAILQ_INIT(&f.batches);
	for (uint32_t i = 0; i < t->n_active;) {
		uint32_t lane = t->active[i];
		struct lane *l = &t->lanes[lane];

		lane_poll(x, lane, &f);
		if (l->open || !STAILQ_EMPTY(&l->batches)) {
			i++;
			continue;
		}
		l->active = false;
		if (l->closing)
			l->used = false;
		t->active[i] = t->active[--t->n_active];
	}
	if (t->busy_since) {
		counter_add(&x->turn->busy_ns, now_ns > t->busy_since ? now_ns - t->busy_since : 0);
		t->busy_since = track_in_flight(t) ? now_ns : 0;
	}
	if (!f.records)
		return false;
	learn(x, &f, now_ns);
	t->last_seen_ns = now_ns;
	counter_add(&x->turn->progress, f.records);
	return true;
}

bool track_fences_came(struct executor *x)
{
	struct track *t = &x->track;
	bool came = false;

	for (uint32_t i = 0; i < t->n_active; i++) {
		struct lane *l = &t->lanes[t->active[i]];
		struct track_slot *s;

		while ((s = STAILQ_FIRST(&l->fences)) &&
		       atomic_load_explicit(&x->fences[s->slot], memory_order_relaxed) >= s->value) {
			delay_waited(&x->delay, s->since_ns, x->now_ns);
			STAILQ_REMOVE_HEAD(&l->fences, next);
			STAILQ_INSERT_HEAD(&t->free_slots, s, next);
			came = true;
		}
	}
	return came;
}

// ---- host waits ----

static void unblock(struct track *t, struct batch *b, uint64_t now_ns)
{
	if (!b->blocked || guard_alive(t, &b->guard))
		return;
	b->blocked = false;
	b->begun_ns = now_ns;
	t->blocked_records -= b->records;
	t->predicted_ns += b->predicted_ns;
	if (!t->busy_since)
		t->busy_since = now_ns;
}

bool track_wait_is_over(const struct executor *x, const struct track_slot *s)
{
	const _Atomic uint64_t *word =
	    s->slot == TRACK_WORD ? &x->track.words[s->lane].over : &x->fences[s->slot];

	if (s->event)
		return x->ops->event_query(x->backend, s->event) != CUDA_ERROR_NOT_READY;
	return atomic_load_explicit(word, memory_order_acquire) >= s->value;
}

void track_pass(struct executor *x, uint64_t now_ns, bool may_pass)
{
	struct track *t = &x->track;
	bool passed = false;
	struct batch *b;

	t->pass_waits_for_turn = false;
	if (!t->n_waits)
		return;
	for (uint32_t i = 0; i < t->n_active; i++) {
		struct lane *l = &t->lanes[t->active[i]];
		struct track_slot *s;

		while ((s = STAILQ_FIRST(&l->waits)) && track_wait_is_over(x, s)) {
			if (!may_pass) {
				t->pass_waits_for_turn = true;
				break;
			}
			pass_on(x, t->active[i], l);
			passed = true;
		}
	}
	for (uint32_t i = 0; passed && i < t->n_active; i++) {
		struct lane *l = &t->lanes[t->active[i]];

		STAILQ_FOREACH (b, &l->batches, next)
			unblock(t, b, now_ns);
		if (l->open)
			unblock(t, l->open, now_ns);
	}
}

void track_lane_put(struct executor *x, uint32_t lane)
{
	struct lane *l = &x->track.lanes[lane];

	flush_lane(x, lane);
	l->stream = NULL;
	if (l->active)
		l->closing = true;
	else
		l->used = false;
}
