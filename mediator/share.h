// SPDX-License-Identifier: Apache-2.0
// What the executors of a tenant share: memory and events that one of them owns and others take, by key. The
// mediator is the only one that all executors of a tenant know; it keeps the owner's fd and opaque bytes and
// never looks into either. A key is looked for among its own tenant's only.
//
// Device memory is charged to the tenant once, by its owner. When the owner has gone (or freed it) while
// takers are left, the memory is still there: its charge stays with the tenant and is taken off with the last
// taker.
#ifndef VGPU_MEDIATOR_SHARE_H
#define VGPU_MEDIATOR_SHARE_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/host/link.h"

struct channel;
struct deposit_share;
struct share;
struct share_use;
struct tenant;

RB_HEAD(share_tree, share);
LIST_HEAD(share_list, share);
LIST_HEAD(share_use_list, share_use);

// In each tenant.
struct shares {
	struct share_tree by_key; // those that can be taken
	unsigned n, n_uses, n_fds;
	struct share *changed; // by the packet that is being handled, and not kept so yet; NULL: none
};

// Acts on a SHARE, TAKE or DROP that check_packet passed and fills the answer. fd: what came with the packet,
// taken over (-1: none). *ret_fd: what goes with the answer, borrowed (-1: none).
void share_handle(struct channel *c, const void *packet, int fd, struct link_shared *ret, int *ret_fd);

// Brings what the next mediator will know up to date with what share_handle did: when it was answered. And
// all of a tenant's (anew: the keeper has none of it).
void share_keep(struct channel *c);
void share_keep_all(struct tenant *t, bool anew);
// One of a mediator before this one, whose tenant and channels are there. Takes fd (-1: none) over. False: it
// belongs to nobody.
bool share_adopt(struct tenant *t, const struct deposit_share *r, int fd);

// The channel's executor is gone: ends what it owned and took. Returns the bytes that it was charged and that
// stay charged for others.
uint64_t share_channel_gone(struct channel *c);

#endif
