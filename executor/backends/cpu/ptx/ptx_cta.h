// SPDX-License-Identifier: Apache-2.0
/*
 * A block in execution and the worker that runs it. Each worker belongs to one host thread at a time; nothing
 * in here is touched by two threads, apart from the job.
 */
#ifndef VGPU_EXECUTOR_CPU_PTX_CTA_H
#define VGPU_EXECUTOR_CPU_PTX_CTA_H

#include "executor/backends/cpu/ptx/ptx_rt.h"

#define PTX_BARRIERS 16u
// With its guard. Not a power of two, or the stacks of a block would fight for the same sets of the cache.
#define PTX_FIBER_STACK (132u << 10)
#define PTX_RUN_STACK	(1u << 20)
#define PTX_MAX_CTAS	16u // blocks that wait for each other on one worker

struct ptx_barrier {
	uint32_t arrived, count, popc;
	bool all, any;
	struct ptx_fiber *waiting;
};

struct ptx_cta {
	struct ptx_block blk;
	struct ptx_worker *worker;
	ptx_entry_fn entry;
	struct ptx_fiber *fibers;
	char *stacks;
	uint32_t cap; // of fibers and stacks
	uint32_t live, fresh, converging;
	struct ptx_fiber *head, *tail; // ready
	struct ptx_barrier bars[PTX_BARRIERS];
	uint32_t bars_in_use; // bit i: somebody arrived at bars[i]
	uint32_t alive[PTX_MAX_BLOCK_THREADS / 32], waiting[PTX_MAX_BLOCK_THREADS / 32]; // lanes of each warp
	uint64_t shared_committed;
};

// What all workers of a launch share.
struct ptx_job {
	const struct ptx_kernel *kernel;
	uint32_t grid[3], block[3], threads, dynamic;
	uint32_t shared_bytes, dynamic_off;
	uint64_t local_bytes, gridid;
	uint64_t blocks, chunk;
	_Atomic uint64_t next;
	uint32_t stop; // read by generated code
	_Atomic int fault_taken;
	struct ptx_fault fault;
	const void *params;
	uint32_t params_len;
	uint32_t users; // under the machine's lock
	struct ptx_job *link;
	struct ptx_machine *machine;
};

#define PTX_OUT_SIZE (64u << 10)

struct ptx_worker {
	void *sched_sp;		   // of the scheduler while kernel code runs
	struct ptx_fiber *current; // NULL: on run_stack
	volatile int in_kernel;
	struct ptx_job *job;
	struct ptx_cta *ctas[PTX_MAX_CTAS];
	char *run_stack;
	void *run_sp;
	bool plain_done;
	uint64_t slot, local_committed;
	uint32_t id;
	bool params_committed;
	struct ptx_worker *next_free;
	char *out; // text of printf not yet given to the machine's sink
	size_t out_len;
};

enum ptx_cta_state { CTA_FINISHED, CTA_SPINS, CTA_ENDED };

// ptx_cta.c
int ptx_cta_start(struct ptx_worker *w, unsigned i, uint64_t block);
enum ptx_cta_state ptx_cta_run(struct ptx_cta *c);
void ptx_cta_free(struct ptx_cta *c);
void ptx_cta_ready(struct ptx_cta *c, struct ptx_fiber *f);
// Suspends the running fiber, whose state says what it waits for.
void ptx_cta_block(struct ptx_cta *c, struct ptx_fiber *self);
// Runs a block whose threads need no fibers.
enum ptx_cta_state ptx_cta_run_plain(struct ptx_cta *c);
// Leaves kernel code for good: the launch is over for this worker.
_Noreturn void ptx_leave(struct ptx_worker *w);
// First fault of a launch wins; sets the stop flag.
void ptx_job_fault(struct ptx_job *j, enum ptx_fault_kind kind, uint64_t addr, const char *text);

// ptx_warp.c
// After a thread of the block is gone or newly waits: completes the operation of its warp where all lanes are
// there.
bool ptx_warp_complete(struct ptx_cta *c, uint32_t lin);
// When nothing else can run: gives the converged lanes of each warp their activemask. False when there is
// none.
bool ptx_warp_converge(struct ptx_cta *c);

// ptx_fault.c
int ptx_fault_init(void);
int ptx_fault_thread(void); // of every thread before it runs kernel code
void ptx_fault_enter(struct ptx_worker *w);
void ptx_fault_leave(void);

// ptx_printf.c: gives the text to the sink; not on a kernel's stack
void ptx_out_flush(struct ptx_worker *w);

#endif
