// SPDX-License-Identifier: Apache-2.0
// Streams and events of the cpu backend. Executor process, loop thread. All streams share one queue
// (cpu_queue.c), so a stream is only what was asked of it.
#include "executor/backends/cpu/cpu_backend.h"

#include <stdlib.h>

#include "common/clock.h"
#include "executor/backends/event_word.h"

int cpu_stream_create(struct backend *b, uint32_t flags, int32_t priority, struct backend_stream **ret)
{
	int sticky = atomic_load(&b->sticky);
	struct backend_stream *s;

	if (sticky)
		return sticky;
	if (flags & ~CU_STREAM_NON_BLOCKING)
		return CUDA_ERROR_INVALID_VALUE;
	s = calloc(1, sizeof(*s));
	if (!s)
		return CUDA_ERROR_OUT_OF_MEMORY;
	atomic_init(&s->refs, 1);
	s->flags = flags;
	s->priority = priority;
	*ret = s;
	return 0;
}

void cpu_stream_unref(struct backend_stream *s)
{
	if (s && atomic_fetch_sub(&s->refs, 1) == 1)
		free(s);
}

void cpu_stream_destroy(struct backend *b, struct backend_stream *s)
{
	(void)b;
	cpu_stream_unref(s);
}

// All of them are hints to a GPU's caches and schedulers.
int cpu_stream_set(struct backend *b, struct backend_stream *s, uint32_t attribute, const uint64_t value[8])
{
	(void)s;
	(void)attribute;
	(void)value;
	return atomic_load(&b->sticky);
}

void cpu_mark_unref(struct cpu_mark *m)
{
	if (!m || atomic_fetch_sub(&m->refs, 1) != 1)
		return;
	event_word_unref(m->word);
	free(m);
}

// Work that uses the mark.
static struct cpu_work *mark_work(enum cpu_work_kind kind, struct cpu_mark *m)
{
	struct cpu_work *w = cpu_work_new(kind, 0);

	if (w) {
		atomic_fetch_add(&m->refs, 1);
		w->mark = m;
	}
	return w;
}

int cpu_stream_wait_event(struct backend *b, struct backend_stream *s, struct backend_event *e,
			  uint32_t flags)
{
	struct cpu_work *w;

	(void)flags;
	if (e->word || cpu_collecting(b)) // what another process records is no matter of this queue
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!e->mark || atomic_load_explicit(&e->mark->done, memory_order_acquire))
		return atomic_load(&b->sticky);
	w = mark_work(WORK_WAIT_EVENT, e->mark);
	return w ? cpu_work_submit(b, s, w) : CUDA_ERROR_OUT_OF_MEMORY;
}

int cpu_event_create(struct backend *b, uint32_t flags, struct backend_event **ret)
{
	int sticky = atomic_load(&b->sticky);
	struct backend_event *e;

	if (sticky)
		return sticky;
	if (flags & ~(CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS))
		return CUDA_ERROR_INVALID_VALUE;
	e = calloc(1, sizeof(*e));
	if (!e)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if ((flags & CU_EVENT_INTERPROCESS) && event_word_new(b->tenant.peers, &e->word)) {
		free(e);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	e->flags = flags;
	*ret = e;
	return 0;
}

void cpu_event_destroy(struct backend *b, struct backend_event *e)
{
	(void)b;
	if (!e)
		return;
	cpu_mark_unref(e->mark);
	event_word_unref(e->word);
	free(e);
}

int cpu_event_record(struct backend *b, struct backend_event *e, struct backend_stream *s, uint32_t flags)
{
	struct cpu_mark *m;
	struct cpu_work *w;

	if (flags & ~CU_EVENT_RECORD_EXTERNAL)
		return CUDA_ERROR_INVALID_VALUE;
	if (cpu_collecting(b))
		return CUDA_ERROR_NOT_SUPPORTED;
	m = calloc(1, sizeof(*m));
	if (!m)
		return CUDA_ERROR_OUT_OF_MEMORY;
	atomic_init(&m->refs, 1);
	w = mark_work(WORK_EVENT, m);
	if (!w) {
		free(m);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (e->word) {
		m->word = event_word_ref(e->word);
		m->number = event_word_record(e->word);
	}
	cpu_mark_unref(e->mark);
	e->mark = m;
	return cpu_work_submit(b, s, w);
}

int cpu_event_query(struct backend *b, struct backend_event *e)
{
	int sticky = atomic_load(&b->sticky);

	if (sticky)
		return sticky;
	if (e->word)
		return event_word_done(e->word, e->follows ? e->follows : event_word_last(e->word))
			   ? 0
			   : CUDA_ERROR_NOT_READY;
	return !e->mark || atomic_load_explicit(&e->mark->done, memory_order_acquire) ? 0
										      : CUDA_ERROR_NOT_READY;
}

int cpu_event_elapsed(struct backend *b, struct backend_event *start, struct backend_event *end,
		      float *ret_ms)
{
	int result;

	if (!start->mark || !end->mark || (start->flags | end->flags) & CU_EVENT_DISABLE_TIMING)
		return CUDA_ERROR_INVALID_HANDLE;
	result = cpu_event_query(b, start);
	if (!result)
		result = cpu_event_query(b, end);
	if (result)
		return result;
	*ret_ms =
	    (float)((double)(int64_t)(atomic_load(&end->mark->when_ns) - atomic_load(&start->mark->when_ns)) /
		    (double)NSEC_PER_MSEC);
	return 0;
}
