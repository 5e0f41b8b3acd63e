// SPDX-License-Identifier: Apache-2.0
/*
 * Runs one block: a scheduler of resumable threads (fibers), barriers, and the exits. On a worker thread of
 * the executor, called by ptx_machine.c and, through the helpers of ptx_rt.h, by generated code.
 */
#include "executor/backends/cpu/ptx/ptx_cta.h"
#include "executor/backends/cpu/ptx/ptx_fiber.h"
#include "executor/backends/cpu/ptx/ptx_module.h"
#include "executor/backends/cpu/ptx/ptx_window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void ptx_leave(struct ptx_worker *w)
{
	void *gone;

	ptx_switch(&gone, w->sched_sp);
	__builtin_unreachable();
}

static bool stopped(const struct ptx_cta *c)
{
	return *(const volatile uint32_t *)c->blk.stop;
}

// ---- ready queue ----

void ptx_cta_ready(struct ptx_cta *c, struct ptx_fiber *f)
{
	f->state = FIBER_READY;
	f->next = NULL;
	if (c->tail)
		c->tail->next = f;
	else
		c->head = f;
	c->tail = f;
	if (!f->yielded)
		c->fresh++;
}

static struct ptx_fiber *pop(struct ptx_cta *c)
{
	struct ptx_fiber *f = c->head;

	c->head = f->next;
	if (!c->head)
		c->tail = NULL;
	if (!f->yielded)
		c->fresh--;
	f->yielded = 0;
	return f;
}

void ptx_cta_block(struct ptx_cta *c, struct ptx_fiber *self)
{
	struct ptx_worker *w = c->worker;

	if (c->fresh && !stopped(c)) {
		struct ptx_fiber *f = pop(c);

		w->current = f;
		if (f != self)
			ptx_switch(&self->sp, f->sp);
	} else {
		ptx_switch(&self->sp, w->sched_sp);
	}
}

void ptx_rt_yield(const struct ptx_block *blk, struct ptx_fiber *self)
{
	self->budget = PTX_POLL_BUDGET;
	if (stopped(blk->cta))
		ptx_rt_stopped(blk);
	self->yielded = 1;
	ptx_cta_ready(blk->cta, self);
	ptx_cta_block(blk->cta, self);
}

// ---- barriers ----

static void release(struct ptx_cta *c, struct ptx_barrier *b, struct ptx_fiber *self)
{
	struct ptx_fiber *next;

	for (struct ptx_fiber *f = b->waiting; f; f = next) {
		next = f->next;
		f->result = f->kind == BAR_POPC ? b->popc : f->kind == BAR_AND ? b->all : b->any;
		if (f != self)
			ptx_cta_ready(c, f);
		else
			f->state = FIBER_READY;
	}
	c->bars_in_use &= ~(1u << (b - c->bars));
	memset(b, 0, sizeof(*b));
}

static bool complete(const struct ptx_cta *c, const struct ptx_barrier *b)
{
	return b->arrived >= (b->count ? b->count : c->live);
}

uint32_t ptx_rt_barrier(const struct ptx_block *blk, struct ptx_fiber *self, uint32_t kind, uint32_t id,
			uint32_t count, uint32_t pred)
{
	struct ptx_cta *c = blk->cta;
	struct ptx_barrier *b;

	if (id >= PTX_BARRIERS || count % 32 || count > PTX_MAX_BLOCK_THREADS)
		ptx_rt_trap(blk, PTX_TRAP_BARRIER);
	b = &c->bars[id];
	if (!b->arrived) {
		c->bars_in_use |= 1u << id;
		b->count = count;
		b->all = true;
	}
	b->arrived++;
	b->popc += pred;
	b->all &= pred;
	b->any |= pred;
	if (kind != BAR_ARRIVE) {
		self->kind = kind;
		self->state = FIBER_BARRIER;
		self->next = b->waiting;
		b->waiting = self;
	}
	if (complete(c, b))
		release(c, b, self);
	else if (kind != BAR_ARRIVE)
		ptx_cta_block(c, self);
	return kind == BAR_ARRIVE ? 0 : self->result;
}

// ---- ends of threads ----

static void thread_gone(struct ptx_cta *c, struct ptx_fiber *self)
{
	self->state = FIBER_DONE;
	c->live--;
	c->alive[self->lin / 32] &= ~(1u << self->lin % 32);
	for (uint32_t left = c->bars_in_use; left; left &= left - 1) { // one that is gone counts as arrived
		struct ptx_barrier *b = &c->bars[__builtin_ctz(left)];

		if (!b->count && complete(c, b))
			release(c, b, NULL);
	}
	if (c->waiting[self->lin / 32])
		ptx_warp_complete(c, self->lin);
}

static _Noreturn void finish(struct ptx_cta *c, struct ptx_fiber *self)
{
	thread_gone(c, self);
	ptx_cta_block(c, self);
	__builtin_unreachable();
}

void ptx_rt_exit(const struct ptx_block *blk, struct ptx_fiber *self)
{
	finish(blk->cta, self);
}

// Compiled kernels carry no type in front of their code for the sanitizer to look at.
#ifdef __clang__
#define CALLS_KERNEL __attribute__((no_sanitize("function")))
#else
#define CALLS_KERNEL
#endif

CALLS_KERNEL static void fiber_main(void *arg)
{
	struct ptx_fiber *f = arg;
	struct ptx_cta *c = f->cta;

	c->entry(&c->blk, f);
	finish(c, f);
}

CALLS_KERNEL static void plain_main(void *arg)
{
	struct ptx_cta *c = arg;

	c->entry(&c->blk, NULL);
	c->worker->plain_done = true;
	ptx_leave(c->worker);
}

// ---- a block ----

static int grow(struct ptx_cta *c, uint32_t n)
{
	struct ptx_fiber *fibers;
	char *stacks;

	if (n <= c->cap)
		return 0;
	n = (n + 63) & ~63u;
	fibers = calloc(n, sizeof(*fibers));
	stacks = fibers ? ptx_stack_new(n, PTX_FIBER_STACK) : NULL;
	if (!stacks) {
		free(fibers);
		return -ENOMEM;
	}
	free(c->fibers);
	ptx_stack_free(c->stacks, c->cap, PTX_FIBER_STACK);
	c->fibers = fibers;
	c->stacks = stacks;
	c->cap = n;
	for (uint32_t i = 0; i < n; i++) {
		fibers[i].stack = stacks + (size_t)i * PTX_FIBER_STACK;
		fibers[i].cta = c;
	}
	return 0;
}

void ptx_cta_free(struct ptx_cta *c)
{
	if (!c)
		return;
	free(c->fibers);
	ptx_stack_free(c->stacks, c->cap, PTX_FIBER_STACK);
	free(c);
}

static void make_fibers(struct ptx_cta *c)
{
	const uint32_t *ntid = c->blk.ntid;
	uint32_t tid[3] = { 0, 0, 0 };

	c->head = c->tail = NULL;
	c->fresh = c->converging = 0;
	memset(c->bars, 0, sizeof(c->bars));
	memset(c->alive, 0, sizeof(c->alive));
	memset(c->waiting, 0, sizeof(c->waiting));
	c->bars_in_use = 0;
	c->live = c->blk.threads;
	for (uint32_t i = 0; i < c->blk.threads; i++) {
		struct ptx_fiber *f = &c->fibers[i];
		// Tops differ, or all threads would fight for the same lines of the cache.
		char *top = (char *)f->stack + PTX_FIBER_STACK - (i % 32) * 128;

		memcpy(f->tid, tid, sizeof(tid));
		f->lin = i;
		c->alive[i / 32] |= 1u << i % 32;
		f->budget = PTX_POLL_BUDGET;
		f->yielded = 0;
		f->local_base = c->blk.local_base + i * c->blk.local_bytes;
		f->sp = ptx_fiber_prepare(top, fiber_main, f);
		ptx_cta_ready(c, f);
		if (++tid[0] == ntid[0]) {
			tid[0] = 0;
			if (++tid[1] == ntid[1]) {
				tid[1] = 0;
				tid[2]++;
			}
		}
	}
}

static int commit(struct ptx_worker *w, struct ptx_cta *c, unsigned i, bool fibers)
{
	struct ptx_job *j = w->job;
	uint64_t per_block = j->local_bytes * (fibers ? j->threads : 1);
	uint64_t local, shared = j->shared_bytes;
	int rc = 0;

	per_block = (per_block + 1023) & ~1023ull;
	local = per_block * (i + 1);
	if (local > PTX_SLOT_SIZE - PTX_SLOT_LOCAL)
		return -ENOMEM;
	c->blk.shared_base = w->slot + i * PTX_SLOT_CTA;
	c->blk.local_base = w->slot + PTX_SLOT_LOCAL + i * per_block;
	c->blk.local_bytes = j->local_bytes;
	if (shared > c->shared_committed) {
		rc = ptx_window_commit(c->blk.shared_base, shared);
		c->shared_committed = rc ? c->shared_committed : shared;
	}
	if (!rc && local > w->local_committed) {
		rc = ptx_window_commit(w->slot + PTX_SLOT_LOCAL, local);
		w->local_committed = rc ? w->local_committed : local;
	}
	return rc;
}

int ptx_cta_start(struct ptx_worker *w, unsigned i, uint64_t block)
{
	struct ptx_job *j = w->job;
	bool fibers = j->kernel->fibers;
	struct ptx_cta *c = w->ctas[i];
	struct ptx_block *b;
	int rc;

	if (!c) {
		c = w->ctas[i] = calloc(1, sizeof(*c));
		if (!c)
			return -ENOMEM;
		c->worker = w;
	}
	b = &c->blk;
	rc = commit(w, c, i, fibers);
	if (!rc && fibers)
		rc = grow(c, j->threads);
	if (rc)
		return rc;
	memcpy(b->ntid, j->block, sizeof(b->ntid));
	memcpy(b->nctaid, j->grid, sizeof(b->nctaid));
	b->ctaid[0] = block % j->grid[0];
	b->ctaid[1] = block / j->grid[0] % j->grid[1];
	b->ctaid[2] = block / j->grid[0] / j->grid[1];
	b->threads = j->threads;
	b->shared_bytes = j->shared_bytes;
	b->dynamic_off = j->dynamic_off;
	b->dynamic_bytes = j->dynamic;
	b->smid = w->id;
	b->nsmid = 1024;
	b->gridid = j->gridid;
	b->param_base = w->slot + PTX_SLOT_PARAMS;
	b->stop = &j->stop;
	b->cta = c;
	c->entry = j->kernel->entry;
	if (fibers)
		make_fibers(c);
	return 0;
}

// Until the block is finished, or all that could run polls memory, or the launch ends.
enum ptx_cta_state ptx_cta_run(struct ptx_cta *c)
{
	struct ptx_worker *w = c->worker;

	for (struct ptx_fiber *f = c->head; f; f = f->next) {
		c->fresh += f->yielded;
		f->yielded = 0;
	}
	while (c->live) {
		if (stopped(c))
			return CTA_ENDED;
		if (!c->fresh && c->converging && ptx_warp_converge(c))
			continue;
		if (!c->fresh && c->head)
			return CTA_SPINS;
		if (!c->head) {
			ptx_job_fault(w->job, PTX_FAULT_TRAP, 0,
				      "the block can never go on: its threads wait at different barriers");
			return CTA_ENDED;
		}
		w->current = pop(c);
		w->in_kernel = 1;
		ptx_switch(&w->sched_sp, w->current->sp);
		w->in_kernel = 0;
		if (w->out_len)
			ptx_out_flush(w);
	}
	return CTA_FINISHED;
}

enum ptx_cta_state ptx_cta_run_plain(struct ptx_cta *c)
{
	struct ptx_worker *w = c->worker;

	w->current = NULL;
	w->plain_done = false;
	w->run_sp = ptx_fiber_prepare(w->run_stack + PTX_RUN_STACK, plain_main, c);
	do {
		w->in_kernel = 1;
		ptx_switch(&w->sched_sp, w->run_sp);
		w->in_kernel = 0;
		if (w->out_len)
			ptx_out_flush(w);
	} while (!w->plain_done && !stopped(c));
	return w->plain_done ? CTA_FINISHED : CTA_ENDED;
}
