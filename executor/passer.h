// SPDX-License-Identifier: Apache-2.0
// Lets streams go on while the loop stands in a driver's call. A driver may load code, or begin a kernel for
// the first time, only when what was submitted before has run (CUDA's documentation of lazy loading says so
// of the latter); and what was submitted may stand at a wait that only this executor ends (track.h). With one
// thread neither would ever come to its end. So a second one looks at those waits when one record takes long,
// and stores the words of the ones that are over. The books stay the loop's: it passes the same waits on when
// it is back.
//
// Backends whose calls never wait have no such thread (BACKEND_CAP_WAITS). It is made with the first wait,
// sleeps while there is none, and looks every 10 ms while there are some and the loop goes on.
#ifndef VGPU_EXECUTOR_PASSER_H
#define VGPU_EXECUTOR_PASSER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct executor;
struct track_slot;

struct passer {
	struct executor *x;
	pthread_mutex_t lock; // of the waits
	pthread_cond_t more;
	TAILQ_HEAD(passer_waits, track_slot) waits; // not passed on, oldest first
	_Atomic uint64_t records;		    // begun and ended: odd while one runs
	pthread_t thread;
	bool runs, ends;
};

void passer_init(struct passer *p, struct executor *x);
void passer_done(struct passer *p); // waits for the thread

// A wait whose fields are set; it stays the caller's, until passer_remove.
void passer_add(struct passer *p, struct track_slot *wait);
void passer_remove(struct passer *p, struct track_slot *wait);
void passer_clear(struct passer *p); // all of them

// The loop begins a record, or has ended it.
static inline void passer_step(struct passer *p)
{
	uint64_t records = atomic_load_explicit(&p->records, memory_order_relaxed);

	atomic_store_explicit(&p->records, records + 1, memory_order_relaxed);
}

#endif
