// SPDX-License-Identifier: Apache-2.0
// The mediator's end of its keeper (protocol/host/keeper.h): finding or starting one, and sending records. No
// record's meaning is known here. In the mediator's loop, and in its start.
#ifndef VGPU_MEDIATOR_ADOPT_CUSTODY_H
#define VGPU_MEDIATOR_ADOPT_CUSTODY_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/host/keeper.h"

struct custody {
	int link; // -1: there is no keeper, and all of this does nothing
};

// A record as it came back; the fds are the caller's.
struct custody_item {
	uint32_t kind, places, bytes;
	uint64_t id;
	int fds[KEEPER_MAX_FDS]; // by place; -1: none
	_Alignas(8) char blob[KEEPER_BLOB_BYTES];
};

// Finds the keeper of a mediator that was here before. Then custody_next gives what it kept. -ENOENT: there
// is none; -EBUSY: its mediator lives; or another -errno.
int custody_find(struct custody *s, const char *directory, uint64_t wait_ns, uint64_t stop_ns);
// 1: *ret is the next record; 0: that was all; -errno: the keeper is of no use, the link is closed.
int custody_next(struct custody *s, struct custody_item *ret);

// Starts a keeper (program: absolute path). 0 or -errno.
int custody_start(struct custody *s, const char *program, const char *directory, uint64_t wait_ns,
		  uint64_t stop_ns);

// Finds the keeper again that did not answer in time, and has it forget all. As custody_find.
int custody_find_again(struct custody *s, const char *directory, uint64_t wait_ns, uint64_t stop_ns);

// fds: by place, -1 for none, n_fds of them; borrowed. pidfd: place of the pidfd, or KEEPER_NO_PIDFD. False:
// the keeper is gone (and the link closed).
bool custody_put(struct custody *s, uint32_t kind, uint64_t id, const void *blob, uint32_t bytes,
		 const int *fds, unsigned n_fds, uint32_t pidfd);
bool custody_update(struct custody *s, uint32_t kind, uint64_t id, const void *blob, uint32_t bytes);
bool custody_drop(struct custody *s, uint32_t kind, uint64_t id);

// All is over: the keeper ends, and what it still has with it.
void custody_finish(struct custody *s, const char *directory);
// The same for one whose records cannot be used; comes back when they are gone, or after two seconds.
void custody_refuse(struct custody *s, const char *directory);

#endif
