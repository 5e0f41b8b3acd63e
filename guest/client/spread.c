// SPDX-License-Identifier: Apache-2.0
// Copies by several processors: one core moves 7-10 GB/s, a GPU's link takes 50. Threads are started with the
// first large copy, half of the processors and at most COPY_THREADS; they take slices until there are none,
// spin a moment for the next copy, then sleep. Owned by the process; runs in the program.
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"
#include "guest/client/client.h"

#define COPY_THREADS 8u	     // the caller's own included
#define SLICE	     131072u // bytes: small enough to share well, large enough that sharing is free
#define WORTH_IT     524288u
#define SPIN_NS	     60000u // about the time between two pieces of one large copy
#define OPEN	     0x80000000u

// One copy at a time; who finds it taken copies alone.
static struct {
	pthread_mutex_t busy;
	pthread_once_t once;
	unsigned helpers; // threads that run

	char *dst;
	const char *src;
	size_t bytes;
	_Atomic size_t taken;	  // bytes handed out
	_Atomic uint32_t round;	  // futex: rises with each copy
	_Atomic uint32_t at_work; // OPEN while helpers may join the copy, plus how many are in it
} pool = { .busy = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT };

static void copy_slices(void)
{
	size_t at;

	while ((at = atomic_fetch_add(&pool.taken, SLICE)) < pool.bytes) {
		size_t left = pool.bytes - at;

		memcpy(pool.dst + at, pool.src + at, left < SLICE ? left : SLICE);
	}
}

static void wait_for_round(uint32_t seen)
{
	uint64_t start = clock_now_ns();

	while (atomic_load_explicit(&pool.round, memory_order_acquire) == seen) {
		if (clock_now_ns() - start < SPIN_NS)
			cpu_relax();
		else
			syscall(SYS_futex, &pool.round, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
	}
}

static bool join(void)
{
	uint32_t now = atomic_load(&pool.at_work);

	while (now & OPEN) {
		if (atomic_compare_exchange_weak(&pool.at_work, &now, now + 1))
			return true;
	}
	return false;
}

static void *help(void *unused)
{
	uint32_t seen = 0;

	(void)unused;
	for (;;) {
		wait_for_round(seen);
		seen = atomic_load(&pool.round);
		if (!join())
			continue; // woke too late: nobody waits for it
		copy_slices();
		atomic_fetch_sub(&pool.at_work, 1);
	}
	return NULL;
}

static void start_helpers(void)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	cpu_set_t cpus;
	unsigned want;

	CPU_ZERO(&cpus);
	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return;
	want = (unsigned)CPU_COUNT(&cpus) / 2;
	want = want > COPY_THREADS ? COPY_THREADS : want;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	sigfillset(&all); // the program's signals are for the program's threads
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (pool.helpers + 1 < want) {
		pthread_t thread;

		if (pthread_create(&thread, &attributes, help, NULL))
			break;
		pool.helpers++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
}

void vgpu_copy_bytes(void *dst, const void *src, size_t bytes)
{
	if (bytes >= WORTH_IT)
		pthread_once(&pool.once, start_helpers);
	if (bytes < WORTH_IT || !pool.helpers || pthread_mutex_trylock(&pool.busy)) {
		memcpy(dst, src, bytes);
		return;
	}
	pool.dst = dst;
	pool.src = src;
	pool.bytes = bytes;
	atomic_store(&pool.taken, 0);
	atomic_store(&pool.at_work, OPEN);
	atomic_fetch_add(&pool.round, 1);
	syscall(SYS_futex, &pool.round, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	copy_slices();
	atomic_fetch_and(&pool.at_work, ~OPEN);
	while (atomic_load_explicit(&pool.at_work, memory_order_acquire))
		cpu_relax();
	pthread_mutex_unlock(&pool.busy);
}
