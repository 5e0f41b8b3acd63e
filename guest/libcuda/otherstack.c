// SPDX-License-Identifier: Apache-2.0
// A program may register a buffer that lies on the stack of the thread that registers it. Moving those pages
// copies them and then replaces them; whatever the thread wrote in between would be lost, its own return
// addresses among it. Hence this second stack. Runs in the guest program.
#include "guest/libcuda/otherstack.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <ucontext.h>

#define STACK_BYTES (256u << 10)

// Not on any stack: written while the caller's is being moved.
static struct {
	ucontext_t caller, other;
	void (*fn)(void *arg);
	void *arg;
	void *stack;
} job;

static void run_job(void)
{
	job.fn(job.arg);
}

int vc_on_other_stack(void (*fn)(void *arg), void *arg)
{
	if (!job.stack) {
		void *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

		if (stack == MAP_FAILED)
			return -ENOMEM;
		job.stack = stack;
	}
	job.fn = fn;
	job.arg = arg;
	if (getcontext(&job.other))
		return -ENOMEM;
	job.other.uc_stack.ss_sp = job.stack;
	job.other.uc_stack.ss_size = STACK_BYTES;
	job.other.uc_link = &job.caller;
	makecontext(&job.other, run_job, 0);
	return swapcontext(&job.caller, &job.other) ? -ENOMEM : 0;
}
