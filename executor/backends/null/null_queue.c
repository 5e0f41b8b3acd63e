// SPDX-License-Identifier: Apache-2.0
// Queues of the null backend; see the header. Called by null.c in the executor's loop thread.
#include "executor/backends/null/null_queue.h"

#include <stdlib.h>

#include "common/clock.h"
#include "executor/backends/event_word.h"
#include "protocol/cuda/cuda_abi.h"

enum step_kind { STEP_WRITE, STEP_WAIT, STEP_RECORD, STEP_WAIT_EVENT };

struct null_step {
	STAILQ_ENTRY(null_step) next;
	enum step_kind kind;
	_Atomic uint64_t *where;
	uint64_t value; // of an event: its count of records
	struct null_event *event;
};

void null_stream_init(struct null_stream *s)
{
	STAILQ_INIT(&s->steps);
	s->destroyed = false;
}

void null_stream_put(struct null_stream *s)
{
	if (STAILQ_EMPTY(&s->steps))
		free(s);
	else
		s->destroyed = true;
}

void null_event_put(struct null_event *e)
{
	if (--e->references)
		return;
	event_word_unref(e->word);
	free(e);
}

bool null_event_done(const struct null_event *e)
{
	if (e->word)
		return event_word_done(e->word, e->follows ? e->follows : event_word_last(e->word));
	return e->complete == e->records;
}

// False: it has to wait.
static bool run(const struct null_step *step)
{
	switch (step->kind) {
	case STEP_WRITE: atomic_store_explicit(step->where, step->value, memory_order_release); return true;
	case STEP_WAIT: return atomic_load_explicit(step->where, memory_order_acquire) >= step->value;
	case STEP_RECORD:
		step->event->recorded_ns = clock_now_ns();
		if (step->event->word)
			event_word_complete(step->event->word, step->value);
		if (step->event->complete < step->value)
			step->event->complete = step->value;
		return true;
	case STEP_WAIT_EVENT: return step->event->complete >= step->value;
	}
	return true;
}

static int submit(struct null_streams *busy, struct null_stream *s, struct null_step step)
{
	struct null_step *kept;

	if (STAILQ_EMPTY(&s->steps) && run(&step))
		return CUDA_SUCCESS;
	kept = malloc(sizeof(*kept));
	if (!kept)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*kept = step;
	if (step.event)
		step.event->references++;
	if (STAILQ_EMPTY(&s->steps))
		LIST_INSERT_HEAD(busy, s, link);
	STAILQ_INSERT_TAIL(&s->steps, kept, next);
	return CUDA_SUCCESS;
}

int null_queue_write(struct null_streams *busy, struct null_stream *s, _Atomic uint64_t *where,
		     uint64_t value)
{
	return submit(busy, s, (struct null_step){ .kind = STEP_WRITE, .where = where, .value = value });
}

int null_queue_wait(struct null_streams *busy, struct null_stream *s, _Atomic uint64_t *where, uint64_t value)
{
	return submit(busy, s, (struct null_step){ .kind = STEP_WAIT, .where = where, .value = value });
}

int null_queue_record(struct null_streams *busy, struct null_stream *s, struct null_event *e)
{
	return submit(busy, s,
		      (struct null_step){ .kind = STEP_RECORD,
					  .event = e,
					  .value = e->word ? event_word_record(e->word) : ++e->records });
}

int null_queue_wait_event(struct null_streams *busy, struct null_stream *s, struct null_event *e)
{
	return submit(busy, s,
		      (struct null_step){ .kind = STEP_WAIT_EVENT, .event = e, .value = e->records });
}

static void step_free(struct null_stream *s, struct null_step *step)
{
	STAILQ_REMOVE_HEAD(&s->steps, next);
	if (step->event)
		null_event_put(step->event);
	free(step);
}

// True: something ran.
static bool stream_step(struct null_stream *s)
{
	struct null_step *step;
	bool ran = false;

	while ((step = STAILQ_FIRST(&s->steps)) && run(step)) {
		step_free(s, step);
		ran = true;
	}
	return ran;
}

void null_queue_drop(struct null_streams *busy)
{
	struct null_stream *s;

	while ((s = LIST_FIRST(busy))) {
		while (!STAILQ_EMPTY(&s->steps))
			step_free(s, STAILQ_FIRST(&s->steps));
		LIST_REMOVE(s, link);
		if (s->destroyed)
			free(s);
	}
}

void null_queue_step(struct null_streams *busy)
{
	struct null_stream *s, *next;
	bool again = true;

	while (again) { // an event of one stream may let another go on
		again = false;
		for (s = LIST_FIRST(busy); s; s = next) {
			next = LIST_NEXT(s, link);
			again |= stream_step(s);
			if (!STAILQ_EMPTY(&s->steps))
				continue;
			LIST_REMOVE(s, link);
			if (s->destroyed)
				free(s);
		}
	}
}
