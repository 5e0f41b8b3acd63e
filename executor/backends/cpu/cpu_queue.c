// SPDX-License-Identifier: Apache-2.0
// The one queue of the cpu backend and its worker thread. Executor process: the loop thread submits, the
// worker runs. Work is done in exactly the order in which the executor gave it, whatever its stream. Every
// such order is one that CUDA allows: streams promise order inside one stream only, events and the legacy
// stream's rules only add "after what was submitted before", which holds for everything here.
#include "executor/backends/cpu/cpu_backend.h"

#include <stdlib.h>

#include "common/clock.h"

#define STOP_STEP_NS (10 * NSEC_PER_MSEC)

void cpu_fault(struct backend *b, int result, const char *text)
{
	int none = 0;

	if (atomic_compare_exchange_strong(&b->sticky, &none, result) && b->env.log)
		b->env.log(b->env.opaque, text);
}

static void *worker(void *opaque)
{
	struct backend *b = opaque;
	struct cpu_queue *q = &b->queue;

	pthread_mutex_lock(&q->lock);
	for (;;) {
		struct cpu_work *w;

		while (STAILQ_EMPTY(&q->pending) && !atomic_load(&q->stop))
			pthread_cond_wait(&q->changed, &q->lock);
		w = STAILQ_FIRST(&q->pending);
		if (!w)
			break;
		STAILQ_REMOVE_HEAD(&q->pending, link);
		pthread_mutex_unlock(&q->lock);
		if (!atomic_load(&q->stop) && !atomic_load(&b->sticky))
			cpu_work_run(b, w);
		cpu_work_drop(w);
		pthread_mutex_lock(&q->lock);
		q->n--;
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

int cpu_work_submit(struct backend *b, struct cpu_work *w)
{
	struct cpu_queue *q = &b->queue;
	int sticky = atomic_load(&b->sticky);

	if (sticky) {
		cpu_work_drop(w);
		return sticky;
	}
	pthread_mutex_lock(&q->lock);
	// The executor bounds work in flight far below this; a wait here means that it did not.
	while (q->n >= CPU_QUEUE_LIMIT && !atomic_load(&q->stop))
		pthread_cond_wait(&q->changed, &q->lock);
	STAILQ_INSERT_TAIL(&q->pending, w, link);
	q->n++;
	pthread_cond_broadcast(&q->changed);
	pthread_mutex_unlock(&q->lock);
	return 0;
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
