// SPDX-License-Identifier: Apache-2.0
// Host functions in streams. The stream stops at a wait for the value of its host slot; a thread of ours sees
// the fence in front of it pass, runs the function and stores the value. Functions of one stream run in
// order; those of different streams do not wait for each other's GPU work. CUDA calls inside are refused.
// Runs in the guest program.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/graph.h"
#include "guest/libcuda/libcuda.h"

#define WAIT_NS 1000000ull // how long one pending function is watched before the others are looked at

struct job {
	struct job *next;
	uint32_t before_slot, after_slot;
	uint64_t before, after; // the fence value that makes it due; the value that lets the stream go on
	CUhostFn fn;
	CUstreamCallback callback;
	CUstream stream;
	void *user;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static struct job *first, **last = &first; // in order of submission
static int thread_runs;

static void run(struct job *job, CUresult status)
{
	vc_thread.in_callback++;
	if (job->callback)
		job->callback(job->stream, status, job->user);
	else if (!status)
		job->fn(job->user); // not run when the context is in error
	vc_thread.in_callback--;
	vgpu_slot_store(vc_client, job->after_slot, job->after);
	free(job);
}

// Whether an earlier job of the same stream is still in the list.
static int is_behind(const struct job *job)
{
	for (const struct job *j = first; j != job; j = j->next)
		if (j->before_slot == job->before_slot)
			return 1;
	return 0;
}

// Takes out the first job that is due; all of them are when the channel is lost or in error. Under the lock.
static struct job *take_due(CUresult error)
{
	for (struct job **link = &first; *link; link = &(*link)->next) {
		struct job *job = *link;

		if (is_behind(job) || (!error && vgpu_slot_read(vc_client, job->before_slot) < job->before))
			continue;
		*link = job->next;
		if (!*link)
			last = link;
		return job;
	}
	return NULL;
}

static void *worker(void *unused)
{
	CUresult error = CUDA_SUCCESS;

	(void)unused;
	for (;;) {
		struct job *job;
		uint32_t slot;
		uint64_t value;
		int r;

		pthread_mutex_lock(&lock);
		while (!first)
			pthread_cond_wait(&arrived, &lock);
		job = take_due(error);
		slot = first ? first->before_slot : 0;
		value = first ? first->before : 0;
		pthread_mutex_unlock(&lock);
		if (job) {
			// A refused fence is stored as well, after the error: the value alone does not say
			// that the work in front was done.
			if (!error)
				error = (CUresult)vgpu_client_sticky(vc_client);
			run(job, error);
			continue;
		}
		r = vgpu_slot_wait(vc_client, slot, value, WAIT_NS);
		if (r && r != -ETIMEDOUT)
			error = (CUresult)r;
	}
	return NULL;
}

// Starts the thread on first use, with all signals blocked. Under the lock.
static int start_thread(void)
{
	sigset_t all, old;
	pthread_t thread;
	int r;

	if (thread_runs)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&thread, NULL, worker, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return r;
	pthread_detach(thread);
	thread_runs = 1;
	return 0;
}

// Fence in front, wait behind; both under the stream's lock, so that jobs and values of a stream agree in
// order.
static CUresult enqueue(struct vc_stream *s, struct job *job)
{
	struct record_stream_wait_value record = { .stream = s->handle };
	CUresult result;

	result = vc_fence_init(&s->host);
	if (result)
		return result;
	vc_stream_submitted(s); // the fence in front shall be one of its own
	result = vc_stream_fence(s, &job->before);
	if (result)
		return result;
	job->before_slot = s->fence.slot;
	job->after_slot = record.slot = s->host.slot;
	job->after = record.value = atomic_load(&s->host.value) + 1;
	result = (CUresult)vgpu_push_stream_wait_value(vc_client, &record);
	if (result)
		return result;
	atomic_store(&s->host.value, job->after);
	vc_stream_submitted(s);
	job->next = NULL;
	*last = job;
	last = &job->next;
	pthread_cond_signal(&arrived);
	return CUDA_SUCCESS;
}

CUresult vc_host_start(void)
{
	int r;

	pthread_mutex_lock(&lock);
	r = start_thread();
	pthread_mutex_unlock(&lock);
	return r ? CUDA_ERROR_OPERATING_SYSTEM : CUDA_SUCCESS;
}

CUresult vc_host_prepare(struct vc_host_jobs *jobs, CUhostFn fn, void *user, uint32_t before, uint32_t after,
			 uint64_t value)
{
	struct job *job = malloc(sizeof(*job));

	if (!job)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*job = (struct job){ .next = jobs->last,
			     .before_slot = before,
			     .after_slot = after,
			     .before = value,
			     .after = value,
			     .fn = fn,
			     .user = user };
	jobs->last = job;
	return CUDA_SUCCESS;
}

void vc_host_queue(struct vc_host_jobs *jobs)
{
	struct job *in_order = NULL;

	while (jobs->last) { // they were put one before the other
		struct job *job = jobs->last;

		jobs->last = job->next;
		job->next = in_order;
		in_order = job;
	}
	if (!in_order)
		return;
	pthread_mutex_lock(&lock);
	*last = in_order;
	while (*last)
		last = &(*last)->next;
	pthread_cond_signal(&arrived);
	pthread_mutex_unlock(&lock);
}

void vc_host_drop(struct vc_host_jobs *jobs)
{
	while (jobs->last) {
		struct job *job = jobs->last;

		jobs->last = job->next;
		free(job);
	}
}

static CUresult capture(struct vc_stream *s, const struct job *what)
{
	struct vc_what node = { .type = CU_GRAPH_NODE_TYPE_HOST, .host = { what->fn, what->user } };

	return what->callback ? vc_capture_forbids_wait(s) : vc_capture_add(s, &node);
}

static CUresult launch(CUstream stream, const struct job *what)
{
	struct vc_context *ctx;
	struct vc_stream *s;
	struct job *job;
	CUresult result = vc_enter_report(&ctx);

	if (!result)
		result = vc_stream_resolve(stream, &s);
	if (result)
		return result;
	if (vc_stream_captures(s))
		return capture(s, what);
	job = malloc(sizeof(*job));
	if (!job)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*job = *what;
	pthread_mutex_lock(&lock);
	result = start_thread() ? CUDA_ERROR_OPERATING_SYSTEM : enqueue(s, job);
	pthread_mutex_unlock(&lock);
	if (result)
		free(job);
	return result;
}

CUresult cuLaunchHostFunc(CUstream stream, CUhostFn fn, void *user)
{
	struct job job = { .fn = fn, .user = user, .stream = stream };

	if (!fn)
		return vc_ready() ? vc_ready() : CUDA_ERROR_INVALID_VALUE;
	return launch(stream, &job);
}

CUresult cuStreamAddCallback(CUstream stream, CUstreamCallback fn, void *user, unsigned int flags)
{
	struct job job = { .callback = fn, .user = user, .stream = stream };

	if (!fn || flags)
		return vc_ready() ? vc_ready() : CUDA_ERROR_INVALID_VALUE;
	return launch(stream, &job);
}
