// SPDX-License-Identifier: Apache-2.0
// Streams, events and stream-ordered words of the cpu backend. Executor process, loop thread. All streams
// share one queue (cpu_queue.c), so a stream is only what was asked of it, and waiting for an event is
// already true.
#include "executor/backends/cpu/cpu_backend.h"

#include <stdlib.h>

#include "common/clock.h"

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
	s->flags = flags;
	s->priority = priority;
	*ret = s;
	return 0;
}

void cpu_stream_destroy(struct backend *b, struct backend_stream *s)
{
	(void)b;
	free(s);
}

// Whatever the event's last record waits for was submitted before this, and so will be done before what
// follows.
int cpu_stream_wait_event(struct backend *b, struct backend_stream *s, struct backend_event *e,
			  uint32_t flags)
{
	(void)s;
	(void)e;
	(void)flags;
	return atomic_load(&b->sticky);
}

int cpu_event_create(struct backend *b, uint32_t flags, struct backend_event **ret)
{
	int sticky = atomic_load(&b->sticky);
	struct backend_event *e;

	if (sticky)
		return sticky;
	if (flags & ~(CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING))
		return CUDA_ERROR_INVALID_VALUE;
	e = calloc(1, sizeof(*e));
	if (!e)
		return CUDA_ERROR_OUT_OF_MEMORY;
	atomic_init(&e->refs, 1);
	e->flags = flags;
	*ret = e;
	return 0;
}

void cpu_event_unref(struct backend_event *e)
{
	if (atomic_fetch_sub(&e->refs, 1) == 1)
		free(e);
}

void cpu_event_destroy(struct backend *b, struct backend_event *e)
{
	(void)b;
	if (e)
		cpu_event_unref(e);
}

int cpu_event_record(struct backend *b, struct backend_event *e, struct backend_stream *s, uint32_t flags)
{
	struct cpu_work *w;

	(void)s;
	if (flags & ~CU_EVENT_RECORD_EXTERNAL)
		return CUDA_ERROR_INVALID_VALUE;
	w = cpu_work_new(WORK_EVENT, 0);
	if (!w)
		return CUDA_ERROR_OUT_OF_MEMORY;
	atomic_fetch_add(&e->refs, 1);
	w->record.event = e;
	w->record.sequence = ++e->recorded;
	return cpu_work_submit(b, w);
}

int cpu_event_query(struct backend *b, struct backend_event *e)
{
	int sticky = atomic_load(&b->sticky);

	if (sticky)
		return sticky;
	return atomic_load_explicit(&e->reached, memory_order_acquire) == e->recorded ? 0
										      : CUDA_ERROR_NOT_READY;
}

int cpu_event_elapsed(struct backend *b, struct backend_event *start, struct backend_event *end,
		      float *ret_ms)
{
	int result;

	if (!start->recorded || !end->recorded || (start->flags | end->flags) & CU_EVENT_DISABLE_TIMING)
		return CUDA_ERROR_INVALID_HANDLE;
	result = cpu_event_query(b, start);
	if (!result)
		result = cpu_event_query(b, end);
	if (result)
		return result;
	*ret_ms = (float)((double)(int64_t)(atomic_load(&end->when_ns) - atomic_load(&start->when_ns)) /
			  (double)NSEC_PER_MSEC);
	return 0;
}

static int submit_word(struct backend *b, enum cpu_work_kind kind, _Atomic uint64_t *where, uint64_t value)
{
	struct cpu_work *w = cpu_work_new(kind, 0);

	if (!w)
		return CUDA_ERROR_OUT_OF_MEMORY;
	w->word.where = where;
	w->word.value = value;
	return cpu_work_submit(b, w);
}

int cpu_stream_write(struct backend *b, struct backend_stream *s, _Atomic uint64_t *where, uint64_t value)
{
	(void)s;
	return submit_word(b, WORK_STORE, where, value);
}

// Work of other streams waits too. That ends: the word comes from a host function of the guest, and CUDA
// forbids those to wait for GPU work, so it depends only on work that was submitted before.
int cpu_stream_wait(struct backend *b, struct backend_stream *s, _Atomic uint64_t *where, uint64_t value)
{
	(void)s;
	return submit_word(b, WORK_WAIT, where, value);
}
