// SPDX-License-Identifier: Apache-2.0
// Work between pieces of host memory, done in stream order by the driver's host function thread: what the GPU
// has no asynchronous call for, and the substitute for stream memory operations. Executor process. A job is
// private memory and freed by whoever ran it; after a sticky error the driver runs none and the executor
// ends.
#include "executor/backends/cuda/cuda_backend.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "executor/backends/event_word.h"
#include "executor/backends/rows.h"

#define WAIT_STEP_NS 20000

struct host_job {
	void (*run)(struct host_job *job);
	const atomic_bool *closing;
	atomic_bool *busy; // cleared at the end, if not NULL
	_Atomic uint64_t *where;
	uint64_t value, dst;
	struct event_word *word; // referenced; NULL: none
	struct backend_copy copy;
	struct backend_set set;
	size_t size;
	unsigned char data[];
};

static void free_job(struct host_job *job)
{
	event_word_unref(job->word);
	free(job);
}

static void run_job(void *user)
{
	struct host_job *job = user;

	if (job->run)
		job->run(job);
	if (job->busy)
		atomic_store_explicit(job->busy, false, memory_order_release);
	free_job(job);
}

static struct host_job *new_job(struct backend *b, void (*run)(struct host_job *), size_t data_bytes)
{
	struct host_job *job = calloc(1, sizeof(*job) + data_bytes);

	if (job) {
		job->run = run;
		job->closing = &b->closing;
		job->size = data_bytes;
	}
	return job;
}

static int submit(struct backend *b, CUstream s, struct host_job *job)
{
	// A job runs once and is gone, so it cannot be a node of a graph.
	CUresult result =
	    b->capture.active ? CUDA_ERROR_NOT_SUPPORTED : b->cu.launch_host_func(s, run_job, job);

	if (result)
		free_job(job);
	return cuda_result(b, result);
}

static void run_store(struct host_job *job)
{
	atomic_store_explicit(job->where, job->value, memory_order_release);
}

static void run_wait(struct host_job *job)
{
	const struct timespec step = { .tv_nsec = WAIT_STEP_NS };

	while (atomic_load_explicit(job->where, memory_order_acquire) < job->value &&
	       !atomic_load(job->closing))
		nanosleep(&step, NULL);
}

static void run_record(struct host_job *job)
{
	event_word_complete(job->word, job->value);
}

static void run_write(struct host_job *job)
{
	memcpy((void *)(uintptr_t)job->dst, job->data, job->size);
}

static void run_copy(struct host_job *job)
{
	rows_copy(&job->copy);
}

static void run_set(struct host_job *job)
{
	rows_set(&job->set);
}

int cuda_host_store(struct backend *b, CUstream s, _Atomic uint64_t *where, uint64_t value)
{
	struct host_job *job = new_job(b, run_store, 0);

	if (!job)
		return CUDA_ERROR_OUT_OF_MEMORY;
	job->where = where;
	job->value = value;
	return submit(b, s, job);
}

int cuda_host_wait(struct backend *b, CUstream s, _Atomic uint64_t *where, uint64_t value)
{
	struct host_job *job = new_job(b, run_wait, 0);

	if (!job)
		return CUDA_ERROR_OUT_OF_MEMORY;
	job->where = where;
	job->value = value;
	return submit(b, s, job);
}

int cuda_host_record(struct backend *b, CUstream s, struct event_word *word)
{
	struct host_job *job;

	if (b->capture.active)
		return CUDA_ERROR_NOT_SUPPORTED;
	job = new_job(b, run_record, 0);
	if (!job)
		return CUDA_ERROR_OUT_OF_MEMORY;
	job->word = event_word_ref(word);
	job->value = event_word_record(word);
	return submit(b, s, job);
}

int cuda_host_write(struct backend *b, CUstream s, uint64_t dst, const void *data, uint32_t size)
{
	struct host_job *job = new_job(b, run_write, size);

	if (!job)
		return CUDA_ERROR_OUT_OF_MEMORY;
	job->dst = dst;
	memcpy(job->data, data, size);
	return submit(b, s, job);
}

int cuda_host_copy(struct backend *b, CUstream s, const struct backend_copy *c, atomic_bool *busy)
{
	struct host_job *job = new_job(b, run_copy, 0);

	if (!job)
		return CUDA_ERROR_OUT_OF_MEMORY;
	job->copy = *c;
	job->busy = busy;
	return submit(b, s, job);
}

int cuda_host_release(struct backend *b, CUstream s, atomic_bool *busy)
{
	struct host_job *job = new_job(b, NULL, 0);

	if (!job)
		return CUDA_ERROR_OUT_OF_MEMORY;
	job->busy = busy;
	return submit(b, s, job);
}

int cuda_host_set(struct backend *b, CUstream s, const struct backend_set *set)
{
	struct host_job *job = new_job(b, run_set, 0);

	if (!job)
		return CUDA_ERROR_OUT_OF_MEMORY;
	job->set = *set;
	return submit(b, s, job);
}
