// SPDX-License-Identifier: Apache-2.0
// What outlives the mediator, carried between it and its store: pools and policies that were set by hand,
// strikes and quarantines, usage. Without store.path nothing is kept and all of this does nothing. In the
// mediator's loop; docs/store.md says what an operator sees of it.
#ifndef VGPU_MEDIATOR_RECORD_RECORD_H
#define VGPU_MEDIATOR_RECORD_RECORD_H

#include <bsd/sys/tree.h>
#include <systemd/sd-event.h>

#include "mediator/limit/policy.h"
#include "mediator/store/store.h"
#include "mediator/use/use.h"
#include "mediator/watch/strikes.h"

struct mediator;
struct pool;
struct tenant;

// One owner of what was set by hand: a pool, or a tenant whether it is there or not.
struct kept {
	RB_ENTRY(kept) link;
	enum store_scope scope;
	char key[STORE_NAME_BYTES];
	struct policy policy;	     // what was given
	char pool[STORE_NAME_BYTES]; // of a tenant; "": nobody said
	char gpu[STORE_NAME_BYTES];  // of a pool
	bool row;		     // the store has a row of it
	struct strike_book *book;    // of a tenant with strikes; NULL: none
};
RB_HEAD(kept_tree, kept);

// What the store is told next of libraries and features: of tenants that are gone first.
struct record_uses {
	struct store_use *rows;
	unsigned n, n_gone, room;
};

struct record {
	struct mediator *mediator; // NULL: not initialised
	struct store *store;	   // NULL: nothing is kept
	sd_event_source *ready, *tick;
	struct kept_tree kept;
	unsigned n_kept;
	bool loaded, degraded;	   // degraded: as it was told last
	char who[STORE_WHO_BYTES]; // changes something now; "": the mediator by itself
	uint64_t changes;	   // told to the store; only grows
	struct store_usage *rows;  // what is told next: tenants that are gone first
	unsigned n_gone, room;
	struct record_uses uses;
	bool gpu_known, gpu_placed; // the store has its row; with where it is
	// Batches of usage: the last one that was told, the last one that the store had at its first loading.
	uint64_t usage_number, usage_booked;
	bool usage_known;   // the store said so
	bool usage_adopted; // what stands in tenants' books is of a mediator before this one, and not looked
			    // at
};

// Totals.
struct tenant_total {
	struct store_usage usage;
	struct use_library use[LINK_LIBRARIES];
};

// What a tenant was booked for so far, and its memory since then. All zero at first.
struct tenant_record {
	struct tenant_total told, now;
	uint64_t memory_kib_ms, looked_ms;
};

// What the store was told of a tenant's usage, for the next mediator (in its books): the last batch, which
// may not have been booked, and the one before. Each is whole once it has its number.
struct told_usage {
	struct {
		_Atomic uint64_t number; // 0: nothing
		struct tenant_total total;
	} batch[2]; // by the lowest bit of the number
};

// Opens the store of the settings, if they name one. 0 or -errno, which was logged.
int record_init(struct record *r, struct mediator *m);
// Tells the last usage and closes; accepts one that was never initialised.
void record_done(struct record *r);

// Who makes the changes that follow; NULL: the mediator itself.
void record_by(struct mediator *m, const char *who);
// That what was changed is on the disk; as store_settled(). -ENOENT: nothing is kept.
int record_settled(struct mediator *m, store_done *done, void *opaque);

// The tenant is new: what is kept of it holds from now on.
void record_tenant_made(struct tenant *t);
void record_tenant_gone(struct tenant *t);
// There are tenants and channels of a mediator before this one; what it told of their use stands in their
// books.
void record_adopted(struct record *r);
// It was set by hand: what was given, and to which pool (NULL: not said).
void record_tenant_set(struct tenant *t, const struct policy *given, const struct pool *pool);

void record_pool_set(struct pool *p, const struct policy *given);
void record_pool_removed(struct mediator *m, const char *name);

// All that is kept of a tenant is forgotten, its usage too. As its name in the store. 0, or -ENOENT.
int record_forget(struct mediator *m, const char *name);

// ---- between the files of this folder

#define RECORD_NAME_OF_UID  "uid-" // tenant_for_uid() names them so
#define RECORD_NAME_OF_VM   "vm-"
#define RECORD_NAME_OF_REST "name-"

// As the store knows it: ret has STORE_NAME_BYTES.
void record_tenant_name(const struct tenant *t, char *ret);
struct kept *kept_find(struct record *r, enum store_scope scope, const char *key);
struct kept *kept_after(struct record *r, struct kept *k); // NULL: the first; stays good while others come
// Made if there is none; NULL: no memory, or too many.
struct kept *kept_get(struct record *r, enum store_scope scope, const char *key);
void kept_drop(struct record *r, struct kept *k);
void kept_clear(struct record *r);
// Tells the store all of k.
void kept_tell(struct record *r, const struct kept *k);
const char *record_who(const struct record *r);
// Counts and complains about what the store did not take.
void record_told(struct record *r, int result);
// The pool is a row, for others to refer to.
void record_pool_row(struct record *r, const char *name);

// strikes.c
void record_book_loaded(struct record *r, const struct store_book *book);
void record_book_changed(void *record, struct tenant *t); // for watch_listen()
void record_book_again(struct record *r, const struct kept *k);

// usage.c
int record_usage_init(struct record *r);
void record_usage_tell(struct record *r);
void record_usage_loaded(struct record *r, uint64_t booked); // the number of the last batch
void record_usage_last(struct record *r);		     // at the end; may wait a moment
void record_usage_gone(struct record *r, struct tenant *t);

// Brings what all tenants used up to now.
void record_usage_look(struct mediator *m);

// use.c
// What it used since the store was told last, as of the last look.
void record_use_untold(const struct tenant *t, struct use_library ret[LINK_LIBRARIES]);
// Adds the tenant's rows to those that are told next. False: no memory.
bool record_use_add(struct record *r, const struct tenant *t);
// The store may not have what it was told of the tenant's features.
void record_use_again(struct tenant *t);

// The card is a row of its own, for pools and slots to refer to.
void record_gpu(struct record *r);

#endif
