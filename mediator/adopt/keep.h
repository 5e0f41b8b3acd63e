// SPDX-License-Identifier: Apache-2.0
// Keeping: whatever a mediator would lose by its death lies with its keeper as well, so that the next one
// adopts it (docs/decisions/0022). Each keep_*() is called when the thing was made or changed, before the
// packet that caused it is consumed; keep_*_gone() when it ends. They do nothing when adopt.wait is 0.
#ifndef VGPU_MEDIATOR_ADOPT_KEEP_H
#define VGPU_MEDIATOR_ADOPT_KEEP_H

#include "mediator/mediator.h"

// Takes over what a mediator before this one left, in the start, before any socket is opened. True: there was
// one; m->listener listens then. -EBUSY: that one lives; else -errno.
int keep_adopt(struct mediator *m, bool *ret_adopted);
// Starts a keeper if none was found; all is put with it. Not having one is complained of, and no reason to
// end.
void keep_start(struct mediator *m);
// All has ended: the keeper does as well.
void keep_finish(struct mediator *m);

// Whether executors live on when this process dies.
bool keep_is_on(const struct mediator *m);

void keep_daemon(struct mediator *m); // its ids and its main socket

// Pools that the control socket made or changed; those of the settings come from there.
void keep_pool(struct pool *p);
void keep_pool_gone(struct pool *p);

void keep_tenant(struct tenant *t);
void keep_tenant_gone(struct tenant *t);

void keep_channel(struct channel *c);
void keep_channel_again(struct channel *c); // with its fds: it has others now
void keep_channel_gone(struct channel *c);

// For the files that know these: session/keep.c and share_keep.c.
void keep_record(struct mediator *m, uint32_t kind, uint64_t id, const void *record, const int *fds,
		 unsigned n_fds, bool *kept);
void keep_gone(struct mediator *m, uint32_t kind, uint64_t id, bool *kept);

#endif
