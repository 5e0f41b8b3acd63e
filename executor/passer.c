// SPDX-License-Identifier: Apache-2.0
// The thread that passes waits on while the loop cannot; see the header.
#include "executor/passer.h"

#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "executor/executor.h"

#define LOOK_NS	 10000000 // between two looks at the loop: a record that spans two of them takes long
#define STUCK_NS 500000	  // between two looks at the waits meanwhile

void passer_init(struct passer *p, struct executor *x)
{
	memset(p, 0, sizeof(*p));
	p->x = x;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->more, NULL);
	TAILQ_INIT(&p->waits);
}

void passer_done(struct passer *p)
{
	pthread_mutex_lock(&p->lock);
	p->ends = true;
	pthread_cond_signal(&p->more);
	pthread_mutex_unlock(&p->lock);
	if (p->runs)
		pthread_join(p->thread, NULL);
	p->runs = false;
	pthread_cond_destroy(&p->more);
	pthread_mutex_destroy(&p->lock);
}

// In a turn only, as the loop does it. Without one it is asked for; the loop finds the demand shown.
static void want_turn(struct executor *x)
{
	static const uint64_t one = 1;

	if (atomic_exchange_explicit(&x->turn->demand, true, memory_order_release))
		return;
	if (write(x->kick, &one, sizeof(one)) < 0)
		log_warning("kick: %m");
}

// Of each lane the waits are passed on in their order. Under the lock.
static bool pass_what_is_over(struct executor *x, const struct passer_waits *waits, bool may_pass)
{
	uint64_t held[(TRACK_LANES + 63) / 64] = { 0 };
	bool wants = false;
	struct track_slot *s;

	TAILQ_FOREACH (s, waits, pending) {
		uint64_t *word = &held[s->lane / 64], bit = UINT64_C(1) << s->lane % 64;

		if (*word & bit)
			continue;
		// Events of other processes are the driver's to ask, and the loop is in the driver.
		if (s->event || !track_wait_is_over(x, s))
			*word |= bit;
		else if (may_pass)
			atomic_store_explicit(&x->track.words[s->lane].pass, s->wait, memory_order_release);
		else
			wants = true;
	}
	return wants;
}

static void look(struct passer *p)
{
	bool open = gate_is_open(p->x->turn, clock_now_ns()), wants;

	pthread_mutex_lock(&p->lock);
	wants = pass_what_is_over(p->x, &p->waits, open);
	pthread_mutex_unlock(&p->lock);
	if (wants)
		want_turn(p->x);
}

// False: the executor ends.
static bool sleep_without_waits(struct passer *p)
{
	bool ends;

	pthread_mutex_lock(&p->lock);
	while (TAILQ_EMPTY(&p->waits) && !p->ends)
		pthread_cond_wait(&p->more, &p->lock);
	ends = p->ends;
	pthread_mutex_unlock(&p->lock);
	return !ends;
}

static void *run(void *opaque)
{
	struct passer *p = opaque;
	uint64_t seen = 0;

	while (sleep_without_waits(p)) {
		uint64_t records = atomic_load_explicit(&p->records, memory_order_relaxed);
		bool stuck = records % 2 && records == seen;
		struct timespec nap = { .tv_nsec = stuck ? STUCK_NS : LOOK_NS };

		if (stuck)
			look(p);
		seen = records;
		nanosleep(&nap, NULL);
	}
	return NULL;
}

// With all signals blocked: they are the loop's.
static void start(struct passer *p)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&p->thread, NULL, run, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		log_warning("no thread for waits: %s", strerror(r));
	p->runs = !r;
}

void passer_add(struct passer *p, struct track_slot *wait)
{
	if (!p->runs && p->x->ops->capabilities & BACKEND_CAP_WAITS)
		start(p);
	pthread_mutex_lock(&p->lock);
	TAILQ_INSERT_TAIL(&p->waits, wait, pending);
	pthread_cond_signal(&p->more);
	pthread_mutex_unlock(&p->lock);
}

void passer_remove(struct passer *p, struct track_slot *wait)
{
	pthread_mutex_lock(&p->lock);
	TAILQ_REMOVE(&p->waits, wait, pending);
	pthread_mutex_unlock(&p->lock);
}

void passer_clear(struct passer *p)
{
	pthread_mutex_lock(&p->lock);
	TAILQ_INIT(&p->waits);
	pthread_mutex_unlock(&p->lock);
}
