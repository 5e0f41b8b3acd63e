// SPDX-License-Identifier: Apache-2.0
// Tenants: whose channels share a weight, a memory quota and a row in STATUS. Either made by an operator
// (with a socket of its own, living as long as the link that made it) or one for each user id that connects
// to the main socket.
#ifndef VGPU_MEDIATOR_TENANT_H
#define VGPU_MEDIATOR_TENANT_H

#include "mediator/mediator.h"
#include "protocol/host/turn_page.h"

struct tenant {
	struct mediator *mediator;
	RB_ENTRY(tenant) link;
	uint32_t id;
	char name[LINK_NAME_BYTES];
	uint32_t weight;
	uint64_t memory_quota;

	bool for_uid; // made on demand, for uid
	uid_t uid;
	struct session *maker; // of an operator's tenant; NULL once it is gone
	LIST_ENTRY(tenant) made_link;
	struct listener listener;
	bool removed; // its maker is gone; freed when its sessions and channels are

	struct turn_account account;
	struct vgpu_tenant_page *page;
	int page_fd;

	unsigned n_sessions, n_channels;
	bool used; // had a channel: its counters are worth keeping
};

// The tenant for programs of uid on the main socket, made if there is none. 0 or -errno: -ENOSPC when there
// are limits.tenants already.
int tenant_for_uid(struct mediator *m, uid_t uid, struct tenant **ret);

// An operator's tenant with its socket; owner: uid that may connect. 0 or -errno (-ENOSPC as above).
int tenant_make(struct mediator *m, struct session *maker, const char *name, uint32_t weight,
		uint64_t memory_quota, uid_t owner, struct tenant **ret);

// Its maker is gone: no more connections, its sessions and channels end, then the reaper frees it.
void tenant_remove(struct tenant *t);

// Frees those that nothing refers to any more; for the reaper.
void tenants_reap(struct mediator *m);

// Takes a dead executor's memory off the tenant's account.
void tenant_uncharge(struct tenant *t, uint64_t bytes);

// The first tenant with an id of at least id; NULL: none.
struct tenant *tenant_from_id(struct mediator *m, uint32_t id);

#endif
