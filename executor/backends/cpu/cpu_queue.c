// SPDX-License-Identifier: Apache-2.0
// The one queue of the cpu backend and its worker thread. Executor process: the loop thread submits, the
// worker runs. Work is done in the order in which the executor gave it, whatever its stream: streams promise
// order inside one stream only, and the legacy stream's rules only add "after what was submitted before".
// What has to wait (for a word, or for an event that stands behind such a wait) stays in the queue and holds
// its stream back, and the streams that the legacy stream's rules tie to it; the others' work passes by.
#include "executor/backends/cpu/cpu_backend.h"

#include <stdlib.h>

#include "common/clock.h"

#define STOP_STEP_NS (10 * NSEC_PER_MSEC)
// A wait is polled: its word lies in memory that others store to without telling anyone.
#define WAIT_SPINS   2000u
#define WAIT_STEP_NS 50000u

void cpu_fault(struct backend *b, int result, const char *text)
{
	int none = 0;

	if (atomic_compare_exchange_strong(&b->sticky, &none, result) && b->env.log)
		b->env.log(b->env.opaque, text);
}

static bool is_blocking(const struct backend_stream *s)
{
	return !s || !(s->flags & CU_STREAM_NON_BLOCKING);
}

// Whether the legacy stream waits for it. An object's end is no work of any stream.
static bool is_legacys(const struct cpu_work *w)
{
	return w->kind != WORK_FORGET && is_blocking(w->stream);
}

// Whether something that w stands behind had to wait in this look through the queue. An object ends behind
// everything that was there before, for any of it may use the object.
static bool is_held(const struct cpu_queue *q, const struct cpu_work *w)
{
	if (w->kind == WORK_FORGET)
		return w != STAILQ_FIRST(&q->pending);
	if (!w->stream)
		return q->legacy_held == q->look || q->blocking_held == q->look;
	return w->stream->held == q->look || (is_blocking(w->stream) && q->legacy_held == q->look);
}

static void hold(struct cpu_queue *q, const struct cpu_work *w)
{
	if (w->kind == WORK_FORGET)
		return;
	if (!w->stream) {
		q->legacy_held = q->look;
		return;
	}
	w->stream->held = q->look;
	if (is_blocking(w->stream))
		q->blocking_held = q->look;
}

// Takes the first work out that may run; NULL: there is none now. Under the lock. Everything may when nothing
// is executed any more.
static struct cpu_work *take_due(struct backend *b)
{
	struct cpu_queue *q = &b->queue;
	bool over = atomic_load(&q->stop) || atomic_load(&b->sticky);
	struct cpu_work *w;

	q->look++;
	STAILQ_FOREACH (w, &q->pending, link) {
		if (over || (!is_held(q, w) && cpu_work_due(b, w))) {
			STAILQ_REMOVE(&q->pending, w, cpu_work, link);
			return w;
		}
		hold(q, w);
	}
	return NULL;
}

// Until work comes, or for a moment if there is some that waits. Under the lock, which it gives up meanwhile.
static void rest(struct cpu_queue *q, unsigned *spins)
{
	uint64_t until;
	struct timespec ts;

	if (STAILQ_EMPTY(&q->pending)) {
		pthread_cond_wait(&q->changed, &q->lock);
		return;
	}
	if ((*spins)++ < WAIT_SPINS) {
		pthread_mutex_unlock(&q->lock);
		cpu_relax();
		pthread_mutex_lock(&q->lock);
		return;
	}
	until = clock_now_ns() + WAIT_STEP_NS;
	ts = (struct timespec){ .tv_sec = (time_t)(until / NSEC_PER_SEC),
				.tv_nsec = (long)(until % NSEC_PER_SEC) };
	pthread_cond_timedwait(&q->changed, &q->lock, &ts);
}

static void *worker(void *opaque)
{
	struct backend *b = opaque;
	struct cpu_queue *q = &b->queue;
	unsigned spins = 0;
	bool blocking;

	pthread_mutex_lock(&q->lock);
	for (;;) {
		struct cpu_work *w = take_due(b);

		if (!w) {
			if (STAILQ_EMPTY(&q->pending) && atomic_load(&q->stop))
				break;
			rest(q, &spins);
			continue;
		}
		spins = 0;
		q->running = true;
		blocking = is_legacys(w);
		pthread_mutex_unlock(&q->lock);
		if (!atomic_load(&q->stop) && !atomic_load(&b->sticky))
			cpu_work_run(b, w);
		cpu_work_drop(b, w);
		pthread_mutex_lock(&q->lock);
		q->running = false;
		q->n--;
		q->n_blocking -= blocking;
		pthread_cond_broadcast(&q->changed);
	}
	q->done = true;
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

int cpu_queue_start(struct backend *b)
{
	struct cpu_queue *q = &b->queue;
	pthread_condattr_t attr;
	int result;

	STAILQ_INIT(&q->pending);
	pthread_mutex_init(&q->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&q->changed, &attr);
	pthread_condattr_destroy(&attr);
	result = pthread_create(&q->worker, NULL, worker, b);
	if (result) {
		pthread_cond_destroy(&q->changed);
		pthread_mutex_destroy(&q->lock);
	}
	return -result;
}

// The engine stops what runs now, so a launch that was just about to begin is stopped by a later round.
void cpu_queue_stop(struct backend *b)
{
	struct cpu_queue *q = &b->queue;

	pthread_mutex_lock(&q->lock);
	atomic_store(&q->stop, true);
	pthread_cond_broadcast(&q->changed);
	while (!q->done) {
		uint64_t until = clock_now_ns() + STOP_STEP_NS;
		struct timespec ts = { .tv_sec = (time_t)(until / NSEC_PER_SEC),
				       .tv_nsec = (long)(until % NSEC_PER_SEC) };

		ptx_machine_stop(b->machine);
		pthread_cond_timedwait(&q->changed, &q->lock, &ts);
	}
	pthread_mutex_unlock(&q->lock);
	pthread_join(q->worker, NULL);
	pthread_cond_destroy(&q->changed);
	pthread_mutex_destroy(&q->lock);
}

struct cpu_work *cpu_work_new(enum cpu_work_kind kind, size_t data_bytes)
{
	struct cpu_work *w = calloc(1, sizeof(*w) + data_bytes);

	if (w) {
		w->kind = kind;
		w->size = data_bytes;
	}
	return w;
}

int cpu_work_submit(struct backend *b, struct backend_stream *s, struct cpu_work *w)
{
	struct cpu_queue *q = &b->queue;
	int sticky = atomic_load(&b->sticky);

	if (cpu_collecting(b))
		return cpu_collect(b, w);
	if (s)
		atomic_fetch_add(&s->refs, 1);
	w->stream = s;
	if (sticky) {
		cpu_work_drop(b, w);
		return sticky;
	}
	pthread_mutex_lock(&q->lock);
	// The executor bounds work in flight far below this; a wait here means that it did not. Objects that
	// end are no work, and bounded by their table.
	while (q->n >= CPU_QUEUE_LIMIT && w->kind != WORK_FORGET && !atomic_load(&q->stop))
		pthread_cond_wait(&q->changed, &q->lock);
	STAILQ_INSERT_TAIL(&q->pending, w, link);
	q->n++;
	q->n_blocking += is_legacys(w);
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->lock);
	return 0;
}

int cpu_stream_query(struct backend *b, struct backend_stream *s)
{
	struct cpu_queue *q = &b->queue;
	int sticky = atomic_load(&b->sticky);
	bool busy;

	if (sticky)
		return sticky;
	if (s)
		return atomic_load(&s->refs) > 1 ? CUDA_ERROR_NOT_READY : 0;
	pthread_mutex_lock(&q->lock);
	busy = q->n_blocking;
	pthread_mutex_unlock(&q->lock);
	return busy ? CUDA_ERROR_NOT_READY : 0;
}

int cpu_queue_drain(struct backend *b)
{
	struct cpu_queue *q = &b->queue;

	pthread_mutex_lock(&q->lock);
	while (q->n && !atomic_load(&q->stop))
		pthread_cond_wait(&q->changed, &q->lock);
	pthread_mutex_unlock(&q->lock);
	return atomic_load(&b->sticky);
}
