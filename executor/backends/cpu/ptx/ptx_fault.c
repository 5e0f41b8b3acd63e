// SPDX-License-Identifier: Apache-2.0
/*
 * Faults of kernels: the signal handler for holes in the windows and stack overflow, and the reports of
 * generated code. On worker threads of the executor. The handler takes only faults that a kernel made; all
 * others go to the handler before it.
 */
#include "executor/backends/cpu/ptx/ptx_ast.h"
#include "executor/backends/cpu/ptx/ptx_cta.h"
#include "executor/backends/cpu/ptx/ptx_fiber.h"
#include "executor/backends/cpu/ptx/ptx_window.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define ALTSTACK (64u << 10)

static __thread struct ptx_worker *running;
static __thread bool thread_ready;
static struct sigaction before[2];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t altstack_key;
static int install_rc;

void ptx_job_fault(struct ptx_job *j, enum ptx_fault_kind kind, uint64_t addr, const char *text)
{
	int taken = 0;

	if (atomic_compare_exchange_strong(&j->fault_taken, &taken, 1)) {
		size_t n = text ? strlen(text) : 0;

		j->fault.kind = kind;
		j->fault.addr = addr;
		n = n < sizeof(j->fault.text) ? n : sizeof(j->fault.text) - 1;
		if (n)
			memcpy(j->fault.text, text, n);
		j->fault.text[n] = 0;
	}
	__atomic_store_n(&j->stop, 1, __ATOMIC_RELEASE);
}

static bool on_guard(const struct ptx_worker *w, uint64_t addr)
{
	uint64_t base = (uintptr_t)(w->current ? w->current->stack : w->run_stack);

	return addr >= base && addr < base + PTX_GUARD;
}

static void leave_by_context(ucontext_t *uc, struct ptx_worker *w)
{
#if defined(__x86_64__)
	uc->uc_mcontext.gregs[REG_RSP] = (greg_t)(uintptr_t)w->sched_sp;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)ptx_switch_tail;
	uc->uc_mcontext.gregs[REG_EFL] &= ~0x400; // direction flag
#else
	uc->uc_mcontext.sp = (uintptr_t)w->sched_sp;
	uc->uc_mcontext.pc = (uintptr_t)ptx_switch_tail;
#endif
}

static void pass_on(int sig, siginfo_t *si, void *context)
{
	const struct sigaction *old = &before[sig == SIGBUS];

	if (old->sa_flags & SA_SIGINFO) {
		old->sa_sigaction(sig, si, context);
	} else if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
		old->sa_handler(sig);
	} else {
		signal(sig, SIG_DFL); // happens again on return, and ends the process
	}
}

static void on_signal(int sig, siginfo_t *si, void *context)
{
	struct ptx_worker *w = running;
	uint64_t addr = (uintptr_t)si->si_addr;

	if (w && w->in_kernel && si->si_code > 0 && si->si_code != SI_KERNEL &&
	    (ptx_window_holds(addr) || on_guard(w, addr))) {
		ptx_job_fault(w->job, PTX_FAULT_ADDRESS, addr,
			      on_guard(w, addr) ? "stack overflow"
						: "access to memory that is not allocated");
		leave_by_context(context, w);
		return;
	}
	pass_on(sig, si, context);
}

static void free_altstack(void *stack)
{
	stack_t off = { .ss_flags = SS_DISABLE };

	sigaltstack(&off, NULL);
	munmap(stack, ALTSTACK);
}

static void install(void)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigemptyset(&sa.sa_mask);
	install_rc = -pthread_key_create(&altstack_key, free_altstack);
	if (!install_rc && (sigaction(SIGSEGV, &sa, &before[0]) || sigaction(SIGBUS, &sa, &before[1])))
		install_rc = -errno;
}

int ptx_fault_init(void)
{
	pthread_once(&once, install);
	return install_rc;
}

int ptx_fault_thread(void)
{
	stack_t old, mine = { .ss_size = ALTSTACK };

	if (thread_ready)
		return 0;
	if (sigaltstack(NULL, &old))
		return -errno;
	if ((old.ss_flags & SS_DISABLE) || old.ss_size < 32768) {
		mine.ss_sp = mmap(NULL, ALTSTACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (mine.ss_sp == MAP_FAILED)
			return -ENOMEM;
		if (sigaltstack(&mine, NULL)) {
			munmap(mine.ss_sp, ALTSTACK);
			return -EINVAL;
		}
		pthread_setspecific(altstack_key, mine.ss_sp);
	}
	thread_ready = true;
	return 0;
}

void ptx_fault_enter(struct ptx_worker *w)
{
	running = w;
}

void ptx_fault_leave(void)
{
	running = NULL;
}

// ---- reports of generated code ----

void ptx_rt_bad_access(const struct ptx_block *blk, uint64_t addr, uint32_t size, uint32_t space)
{
	struct ptx_worker *w = blk->cta->worker;
	bool misaligned = size && addr % size, shared = space == SP_SHARED;
	bool inside =
	    shared ? addr + size <= blk->shared_bytes : ptx_window_holds(addr) || ptx_extra_holds(addr, size);
	char text[160];

	if (!size)
		ptx_job_fault(w->job, PTX_FAULT_ADDRESS, addr, "stack overflow: local memory is used up");
	if (misaligned && inside) {
		snprintf(text, sizeof(text), "access of %u bytes at misaligned address 0x%llx", size,
			 (unsigned long long)addr);
		ptx_job_fault(w->job, PTX_FAULT_MISALIGNED, addr, text);
	} else {
		snprintf(text, sizeof(text), "access of %u bytes at invalid %saddress 0x%llx", size,
			 shared ? "shared " : "", (unsigned long long)addr);
		ptx_job_fault(w->job, PTX_FAULT_ADDRESS, addr, text);
	}
	ptx_leave(w);
}

void ptx_rt_trap(const struct ptx_block *blk, uint32_t why)
{
	static const char *const texts[] = { [PTX_TRAP_PLAIN] = "trap",
					     [PTX_TRAP_CALL] =
						 "indirect call of something that is no such function",
					     [PTX_TRAP_BRANCH] = "index outside of a branch table",
					     [PTX_TRAP_BARRIER] = "bad barrier number or count" };
	struct ptx_worker *w = blk->cta->worker;

	ptx_job_fault(w->job, PTX_FAULT_TRAP, 0, texts[why]);
	ptx_leave(w);
}

void ptx_rt_stopped(const struct ptx_block *blk)
{
	ptx_leave(blk->cta->worker);
}
