// SPDX-License-Identifier: Apache-2.0
// Tenants: whose channels share a weight, a memory quota and a row in STATUS. Either made by an operator
// (with a socket of its own, living as long as the link that made it) or one for each user id that connects
// to the main socket. Tenants of VMs (mediator/inventory) have a socket too, and live as long as their vGPU
// is assigned.
#ifndef VGPU_MEDIATOR_TENANT_H
#define VGPU_MEDIATOR_TENANT_H

#include "mediator/device/usage.h"
#include "mediator/history/history.h"
#include "mediator/inventory/uuid.h"
#include "mediator/limit/bucket.h"
#include "mediator/mediator.h"
#include "mediator/record/record.h"
#include "mediator/share.h"
#include "mediator/use/use.h"
#include "mediator/watch/watch.h"
#include "protocol/host/turn_page.h"

struct deposit_tenant;

#define TENANT_POOL_BY_HAND (1u << POLICY_ITEMS)

struct tenant {
	struct mediator *mediator;
	RB_ENTRY(tenant) link;
	uint32_t id;
	char name[LINK_NAME_BYTES];
	struct pool *pool;
	struct policy policy; // what holds for it
	uint32_t by_hand;     // items of it that an operator set, and TENANT_POOL_BY_HAND
	uint32_t weight;      // of the policy; as are
	uint64_t memory_quota;

	char vm[VM_UUID_BYTES]; // of the inventory's VM that it belongs to; "": none
	bool for_uid;		// made on demand, for uid
	uid_t uid;
	struct session *maker; // of an operator's tenant; NULL once it is gone
	LIST_ENTRY(tenant) made_link;
	struct listener listener;
	bool removed; // its maker is gone; freed when its sessions and channels are

	struct turn_account account;
	struct window window; // of the GPU time that is charged to it, for the control socket
	struct history history;
	struct tenant_books *books; // what the next mediator reads
	int books_fd;
	struct vgpu_tenant_page *page;
	int page_fd;

	struct tenant_record record;
	struct usage usage;
	uint64_t device_asked_ns; // when a program of it asked about the device last; 0: never
	struct bucket device_rate;

	struct shares shares;
	struct tenant_watch watch;
	struct tenant_metrics *metrics; // in its books, as
	struct tenant_use *use;

	unsigned n_sessions, n_channels;
	bool used;	 // had a channel: its counters are worth keeping
	bool kept;	 // with the keeper
	uint32_t cookie; // of the TENANT_CREATE that made it
	bool fresh;	 // that packet is not taken off its socket yet
};

// The tenant for programs of uid on the main socket, made if there is none. 0 or -errno: -ENOSPC when there
// are limits.tenants already.
int tenant_for_uid(struct mediator *m, uid_t uid, struct tenant **ret);

// An operator's tenant with its socket; owner: uid that may connect. 0 or -errno (-ENOSPC as above).
int tenant_make(struct mediator *m, struct session *maker, const char *name, uint32_t weight,
		uint64_t memory_quota, uid_t owner, struct tenant **ret);

// A VM's tenant, with a socket for its stub (inventory.stub_user, stub_group) that lives until
// tenant_remove(). 0 or -errno (-ENOSPC as above; -ENAMETOOLONG: its socket's path would be too long).
int tenant_make_for_vm(struct mediator *m, const char *uuid, const char *name, const struct policy *policy,
		       struct pool *pool, struct tenant **ret);

// What is given in change holds from now on, also for programs that run.
void tenant_set_policy(struct tenant *t, const struct policy *change);
void tenant_set_pool(struct tenant *t, struct pool *pool);
// The same, by an operator: it stays when what the tenant's profile says changes. pool NULL: as it is.
void tenant_set_by_hand(struct tenant *t, const struct policy *change, struct pool *pool);

// Ends its connections and channels; it stays. at_once: without giving programs time.
void tenant_disconnect(struct tenant *t, bool at_once);

// One that a mediator before this one had, with its page and books (taken over on success); without its maker
// and its socket yet. 0 or -errno.
int tenant_adopt(struct mediator *m, const struct deposit_tenant *r, int page_fd, int books_fd,
		 struct tenant **ret);

// Its strikes or rules changed: into the books.
void tenant_note_strikes(struct tenant *t);
// What stands in its books of what the store was told of its usage; record/usage.c reads and writes it.
struct told_usage *tenant_told_usage(struct tenant *t);

// Its maker is gone: no more connections, its sessions and channels end, then the reaper frees it.
void tenant_remove(struct tenant *t);

// Frees those that nothing refers to any more; for the reaper.
void tenants_reap(struct mediator *m);

// How many channels it may have.
uint64_t tenant_most_channels(const struct tenant *t);

// Takes a dead executor's device memory and pinned host memory off the tenant's account.
void tenant_uncharge(struct tenant *t, uint64_t memory, uint64_t pinned);

// The first tenant with an id of at least id; NULL: none.
struct tenant *tenant_from_id(struct mediator *m, uint32_t id);
struct tenant *tenant_after(const struct tenant *t); // in the order of ids

#endif
