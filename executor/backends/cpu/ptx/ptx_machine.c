// SPDX-License-Identifier: Apache-2.0
/*
 * The machine: workers and launches. The launching thread works on its own grid; pool threads join when there
 * is enough to do. In the executor; ptx_launch is called by the cpu backend's streams, ptx_machine_stop by
 * its watchdog side.
 */
#include "executor/backends/cpu/ptx/ptx_cta.h"
#include "executor/backends/cpu/ptx/ptx_fiber.h"
#include "executor/backends/cpu/ptx/ptx_module.h"
#include "executor/backends/cpu/ptx/ptx_window.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS   256u
#define WAKE_THREADS  2048u  // a grid of so many threads wakes the pool at once
#define WAKE_NS	      20000u // or when what is left will take that long
#define SPIN_SLEEP_NS 20000

struct ptx_machine {
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	struct ptx_job *jobs;
	struct ptx_worker *free_workers;
	pthread_t *threads;
	unsigned n_threads;
	bool quit;
	uint32_t n_workers;
	_Atomic uint64_t gridid;
	pthread_mutex_t print_lock;
	void (*print)(void *opaque, const char *text, size_t len);
	void *print_opaque;
	bool (*condition)(void *opaque, uint64_t name, uint32_t value);
	void *condition_opaque;
};

void ptx_out_flush(struct ptx_worker *w)
{
	struct ptx_machine *m = w->job->machine;

	pthread_mutex_lock(&m->print_lock);
	if (m->print)
		m->print(m->print_opaque, w->out, w->out_len);
	pthread_mutex_unlock(&m->print_lock);
	w->out_len = 0;
}

static void worker_free(struct ptx_worker *w)
{
	if (!w)
		return;
	for (unsigned i = 0; i < PTX_MAX_CTAS; i++)
		ptx_cta_free(w->ctas[i]);
	ptx_stack_free(w->run_stack, 1, PTX_RUN_STACK);
	ptx_window_slot_put(w->slot);
	free(w->out);
	free(w);
}

static struct ptx_worker *worker_new(uint32_t id)
{
	struct ptx_worker *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->id = id;
	w->run_stack = ptx_stack_new(1, PTX_RUN_STACK);
	w->slot = ptx_window_slot_get();
	w->out = malloc(PTX_OUT_SIZE);
	if (!w->run_stack || !w->slot || !w->out ||
	    ptx_window_commit(w->slot + PTX_SLOT_PARAMS, (PTX_MAX_PARAMS + 4095u) & ~4095u)) {
		worker_free(w);
		return NULL;
	}
	return w;
}

static struct ptx_worker *worker_get(struct ptx_machine *m)
{
	struct ptx_worker *w;
	uint32_t id;

	pthread_mutex_lock(&m->lock);
	w = m->free_workers;
	if (w)
		m->free_workers = w->next_free;
	id = w ? 0 : m->n_workers++;
	pthread_mutex_unlock(&m->lock);
	return w ? w : worker_new(id);
}

static void worker_put(struct ptx_machine *m, struct ptx_worker *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&m->lock);
	w->next_free = m->free_workers;
	m->free_workers = w;
	pthread_mutex_unlock(&m->lock);
}

// ---- blocks of a job ----

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void wake_pool(struct ptx_machine *m, uint64_t blocks)
{
	if (!m->n_threads)
		return;
	pthread_mutex_lock(&m->lock);
	if (blocks == 1)
		pthread_cond_signal(&m->work);
	else
		pthread_cond_broadcast(&m->work);
	pthread_mutex_unlock(&m->lock);
}

static bool start_failed(struct ptx_job *j, int rc)
{
	if (rc)
		ptx_job_fault(j, PTX_FAULT_ADDRESS, 0, "out of memory for a block");
	return rc;
}

static void run_plain(struct ptx_worker *w, bool caller)
{
	struct ptx_job *j = w->job;
	uint64_t began = caller && j->blocks > 1 ? now_ns() : 0, at, end;

	while (!__atomic_load_n(&j->stop, __ATOMIC_RELAXED)) {
		at = atomic_fetch_add(&j->next, j->chunk);
		end = at + j->chunk < j->blocks ? at + j->chunk : j->blocks;
		if (at >= j->blocks)
			return;
		for (; at < end; at++)
			if (start_failed(j, ptx_cta_start(w, 0, at)) ||
			    ptx_cta_run_plain(w->ctas[0]) == CTA_ENDED)
				return;
		if (began && end < j->blocks && (now_ns() - began) * (j->blocks - end) / end > WAKE_NS) {
			wake_pool(j->machine, j->blocks - end);
			began = 0;
		}
	}
}

// How many blocks may wait for each other on one worker: their local memory has to fit into its slot.
static unsigned max_resident(const struct ptx_job *j)
{
	uint64_t local = j->local_bytes * j->threads + 1024, n = (PTX_SLOT_SIZE - PTX_SLOT_LOCAL) / local;

	if (n > 8192 / j->threads)
		n = 8192 / j->threads;
	return n < 1 ? 1 : n < PTX_MAX_CTAS ? n : PTX_MAX_CTAS;
}

struct residents {
	struct ptx_worker *w;
	unsigned active[PTX_MAX_CTAS], n, max;
	uint64_t used; // bit i: ctas[i] holds a block
	bool no_more;
};

static bool admit(struct residents *r)
{
	struct ptx_job *j = r->w->job;
	uint64_t at;
	unsigned i = 0;

	if (r->n == r->max || r->no_more)
		return false;
	at = atomic_fetch_add(&j->next, 1);
	if (at >= j->blocks) {
		r->no_more = true;
		return false;
	}
	while (r->used >> i & 1)
		i++;
	if (start_failed(j, ptx_cta_start(r->w, i, at)))
		return false;
	r->used |= 1ull << i;
	r->active[r->n++] = i;
	return true;
}

// A round over the blocks in hand; false when all of them only poll. Sets *ended when the launch is over.
static bool round_of(struct residents *r, bool *ended)
{
	bool progress = false;

	for (unsigned k = 0; k < r->n;) {
		unsigned i = r->active[k];
		enum ptx_cta_state s = ptx_cta_run(r->w->ctas[i]);

		if (s == CTA_ENDED) {
			*ended = true;
			return false;
		}
		if (s == CTA_FINISHED) {
			r->used &= ~(1ull << i);
			r->active[k] = r->active[--r->n];
			progress = true;
		} else {
			k++;
		}
	}
	return progress;
}

static void run_fibers(struct ptx_worker *w, bool caller)
{
	struct ptx_job *j = w->job;
	struct residents r = { .w = w, .max = max_resident(j) };
	struct timespec nap = { 0, SPIN_SLEEP_NS };
	uint64_t began = caller && j->blocks > 1 ? now_ns() : 0, idle = 0;
	bool ended = false;

	while (!ended && !__atomic_load_n(&j->stop, __ATOMIC_RELAXED)) {
		bool progress;

		if (!r.n && !admit(&r))
			return;
		progress = round_of(&r, &ended);
		if (began && (now_ns() - began) * j->blocks > WAKE_NS) {
			wake_pool(j->machine, j->blocks);
			began = 0;
		}
		if (progress || ended || admit(&r)) { // blocks may wait for ones that did not start yet
			idle = 0;
			continue;
		}
		if (++idle > 64)
			nanosleep(&nap, NULL);
		else
			sched_yield();
	}
}

static void run_job(struct ptx_worker *w, struct ptx_job *j, bool caller)
{
	w->job = j;
	w->out_len = 0;
	if (j->params_len)
		memcpy((void *)(uintptr_t)(w->slot + PTX_SLOT_PARAMS), j->params, j->params_len);
	ptx_fault_enter(w);
	if (j->kernel->fibers)
		run_fibers(w, caller);
	else
		run_plain(w, caller);
	ptx_fault_leave();
}

// ---- the pool ----

static struct ptx_job *next_job(struct ptx_machine *m)
{
	for (struct ptx_job *j = m->jobs; j; j = j->link)
		if (atomic_load(&j->next) < j->blocks && !j->stop)
			return j;
	return NULL;
}

static void *pool_main(void *arg)
{
	struct ptx_machine *m = arg;
	struct ptx_worker *w = worker_get(m);
	bool usable = w && !ptx_fault_thread();

	pthread_mutex_lock(&m->lock);
	while (!m->quit) {
		struct ptx_job *j = usable ? next_job(m) : NULL;

		if (!j) {
			pthread_cond_wait(&m->work, &m->lock);
			continue;
		}
		j->users++;
		pthread_mutex_unlock(&m->lock);
		run_job(w, j, false);
		pthread_mutex_lock(&m->lock);
		if (!--j->users)
			pthread_cond_broadcast(&m->done);
	}
	pthread_mutex_unlock(&m->lock);
	worker_put(m, w);
	return NULL;
}

static int start_threads(struct ptx_machine *m, unsigned n)
{
	sigset_t all, old;

	m->threads = calloc(n + 1, sizeof(*m->threads));
	if (!m->threads)
		return -ENOMEM;
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old); // the process's signals are not for workers
	for (; m->n_threads < n; m->n_threads++)
		if (pthread_create(&m->threads[m->n_threads], NULL, pool_main, m))
			break;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return 0; // fewer workers are slower, not wrong
}

struct ptx_machine *ptx_machine_new(unsigned threads)
{
	struct ptx_machine *m;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	int rc = ptx_window_init();

	if (!rc)
		rc = ptx_fault_init();
	m = rc ? NULL : calloc(1, sizeof(*m));
	if (!m) {
		errno = rc ? -rc : ENOMEM;
		return NULL;
	}
	if (!threads)
		threads = cores > 0 ? cores : 1;
	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_init(&m->print_lock, NULL);
	pthread_cond_init(&m->work, NULL);
	pthread_cond_init(&m->done, NULL);
	if (start_threads(m, (threads < MAX_THREADS ? threads : MAX_THREADS) - 1)) {
		ptx_machine_free(m);
		errno = ENOMEM;
		return NULL;
	}
	return m;
}

void ptx_machine_free(struct ptx_machine *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	m->quit = true;
	pthread_cond_broadcast(&m->work);
	pthread_mutex_unlock(&m->lock);
	for (unsigned i = 0; i < m->n_threads; i++)
		pthread_join(m->threads[i], NULL);
	while (m->free_workers) {
		struct ptx_worker *w = m->free_workers;

		m->free_workers = w->next_free;
		worker_free(w);
	}
	pthread_cond_destroy(&m->work);
	pthread_cond_destroy(&m->done);
	pthread_mutex_destroy(&m->lock);
	pthread_mutex_destroy(&m->print_lock);
	free(m->threads);
	free(m);
}

void ptx_machine_output(struct ptx_machine *m, void (*print)(void *opaque, const char *text, size_t len),
			void *opaque)
{
	m->print = print;
	m->print_opaque = opaque;
}

void ptx_machine_conditions(struct ptx_machine *m, bool (*set)(void *opaque, uint64_t name, uint32_t value),
			    void *opaque)
{
	m->condition = set;
	m->condition_opaque = opaque;
}

void ptx_rt_set_condition(const struct ptx_block *blk, uint64_t name, uint32_t value)
{
	struct ptx_worker *w = blk->cta->worker;
	const struct ptx_machine *m = w->job->machine;

	if (m->condition && m->condition(m->condition_opaque, name, value))
		return;
	ptx_job_fault(w->job, PTX_FAULT_ADDRESS, name, "a condition is set that is none");
	ptx_leave(w);
}

void ptx_machine_stop(struct ptx_machine *m)
{
	pthread_mutex_lock(&m->lock);
	for (struct ptx_job *j = m->jobs; j; j = j->link)
		ptx_job_fault(j, PTX_FAULT_STOPPED, 0, "stopped");
	pthread_mutex_unlock(&m->lock);
}

// ---- launches ----

static int refuse(struct ptx_fault *ret, const char *why)
{
	snprintf(ret->text, sizeof(ret->text), "%s", why);
	return -EINVAL;
}

static int check_shape(const struct ptx_kernel *k, const uint32_t grid[3], const uint32_t block[3],
		       struct ptx_fault *ret)
{
	uint64_t threads = (uint64_t)block[0] * block[1] * block[2];

	if (!grid[0] || !grid[1] || !grid[2] || grid[0] > INT32_MAX || grid[1] > 65535 || grid[2] > 65535)
		return refuse(ret, "bad grid dimensions");
	if (block[0] > 1024 || block[1] > 1024 || block[2] > 64 || !threads ||
	    threads > PTX_MAX_BLOCK_THREADS)
		return refuse(ret, "bad block dimensions");
	if (threads > k->info.max_threads)
		return refuse(ret, "more threads in a block than the kernel was compiled for");
	if (k->info.req_ntid[0] && memcmp(k->info.req_ntid, block, sizeof(k->info.req_ntid)))
		return refuse(ret, "the kernel requires other block dimensions");
	return 0;
}

static int fill_job(struct ptx_machine *m, struct ptx_job *j, const struct ptx_kernel *k,
		    const uint32_t grid[3], const uint32_t block[3], uint32_t dynamic, struct ptx_fault *ret)
{
	uint64_t shared;
	int rc = check_shape(k, grid, block, ret);

	if (rc)
		return rc;
	j->dynamic_off = (k->info.shared_static + 127u) & ~127u;
	shared = (uint64_t)j->dynamic_off + dynamic;
	if (k->info.shared_static + (uint64_t)dynamic > PTX_MAX_SHARED)
		return refuse(ret, "too much shared memory");
	j->kernel = k;
	j->machine = m;
	memcpy(j->grid, grid, sizeof(j->grid));
	memcpy(j->block, block, sizeof(j->block));
	j->threads = block[0] * block[1] * block[2];
	j->dynamic = dynamic;
	j->shared_bytes = shared < PTX_SHARED_FLOOR ? PTX_SHARED_FLOOR : (shared + 15) & ~15ull;
	j->local_bytes = k->local_bytes;
	j->blocks = (uint64_t)grid[0] * grid[1] * grid[2];
	j->chunk = j->blocks / (8 * (m->n_threads + 1));
	j->chunk = j->chunk < 1 ? 1 : j->chunk > 64 ? 64 : j->chunk;
	j->gridid = atomic_fetch_add(&m->gridid, 1) + 1;
	return 0;
}

static void unlink_and_wait(struct ptx_machine *m, struct ptx_job *j)
{
	struct ptx_job **at = &m->jobs;

	pthread_mutex_lock(&m->lock);
	while (*at != j)
		at = &(*at)->link;
	*at = j->link;
	while (j->users)
		pthread_cond_wait(&m->done, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

int ptx_launch(struct ptx_machine *m, const struct ptx_kernel *k, const uint32_t grid[3],
	       const uint32_t block[3], uint32_t dynamic_shared, const void *params, size_t params_len,
	       struct ptx_fault *ret)
{
	struct ptx_job job = { 0 };
	struct ptx_worker *w;
	int rc;

	ret->kind = PTX_FAULT_NONE;
	ret->addr = 0;
	ret->text[0] = 0;
	if (params_len < k->info.param_bytes || params_len > PTX_MAX_PARAMS)
		return refuse(ret, "the parameters do not suit the kernel");
	rc = fill_job(m, &job, k, grid, block, dynamic_shared, ret);
	if (!rc)
		rc = ptx_fault_thread();
	if (rc)
		return rc;
	job.params = params;
	job.params_len = params_len;
	w = worker_get(m);
	if (!w)
		return -ENOMEM;
	pthread_mutex_lock(&m->lock);
	job.link = m->jobs;
	m->jobs = &job;
	if (m->n_threads && job.blocks > 1 && job.blocks * job.threads >= WAKE_THREADS)
		pthread_cond_broadcast(&m->work);
	pthread_mutex_unlock(&m->lock);
	run_job(w, &job, true);
	unlink_and_wait(m, &job);
	worker_put(m, w);
	*ret = job.fault;
	if (job.fault.kind == PTX_FAULT_STOPPED)
		return -ECANCELED;
	return job.fault.kind == PTX_FAULT_NONE ? 0 : -EFAULT;
}
