// SPDX-License-Identifier: Apache-2.0
// The parts of one client, shared by the files of this folder only.
#ifndef VGPU_CLIENT_INTERNAL_H
#define VGPU_CLIENT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/limits.h"
#include "guest/client/client.h"
#include "protocol/guest/channel.h"
#include "protocol/host/link.h"

struct arena_piece {
	uint64_t end; // counter of arena bytes behind this piece, padding included
	uint64_t value;
	uint32_t slot;
	bool put; // given back; may be reused when fence slot >= value
};

// More than this many chunks at once wait for the oldest; 4 KiB each would still cover half the arena.
#define ARENA_PIECES 4096

struct window_hole {
	uint64_t offset, bytes;
};

struct window_adopted {
	uint8_t *address;
	uint64_t bytes, offset;
};

struct vgpu_client {
	struct link_geometry geometry;
	int link; // seqpacket to the mediator
	int window_fd;
	int doorbell;
	uint32_t tenant;
	_Atomic int lost; // CUresult; 0 while the channel lives
	uint64_t spin_ns;

	uint8_t *channel;
	struct channel_header *header;
	uint8_t *ring;
	_Atomic uint64_t *fences;
	uint8_t *window;
	bool host_reserved, device_reserved; // the address windows are ours in this process

	// ring producer; ring_lock guards the next four
	pthread_mutex_t ring_lock;
	uint64_t tail;	      // published count
	uint64_t head_seen;   // last head read, so that the shared line is read seldom
	uint64_t record_next; // tail after the record being written
	uint64_t next_cookie;

	_Atomic uint64_t reply_free[VGPU_REPLY_SLOTS / 64]; // bit set: slot free

	pthread_mutex_t fence_lock;
	uint32_t *fence_free; // stack of free slots
	uint32_t fence_free_count;

	pthread_mutex_t arena_lock;
	pthread_cond_t arena_put;	  // a chunk was given back
	uint64_t arena_head, arena_tail;  // counters of bytes: oldest piece's begin, newest's end
	uint64_t piece_first, piece_next; // counters into pieces
	struct arena_piece pieces[ARENA_PIECES];

	pthread_mutex_t window_lock;
	struct window_hole *holes; // sorted by offset, never touching
	size_t n_holes, holes_room;
	struct window_adopted *adopted; // program memory that was moved into the window, no order
	size_t n_adopted, adopted_room;
};

// Marks the channel lost (first code wins) and wakes every waiter of this process.
void client_set_lost(struct vgpu_client *c, int code);
// Looks at the link without waiting: CHANNEL_LOST or a hang-up marks the channel lost.
void client_check_link(struct vgpu_client *c);
// Sleeps until wake_word may have changed, at most 50 ms; seen is the word's value before the condition was
// checked. The caller has counted itself in guest_waiters.
void client_sleep(struct vgpu_client *c, uint32_t seen);
void client_ring_doorbell(struct vgpu_client *c);

int window_init(struct vgpu_client *c);
void window_done(struct vgpu_client *c);
// In a fork's child: adopted memory becomes private again, as the program believes it is.
void window_forget(struct vgpu_client *c);
void arena_init(struct vgpu_client *c);

#endif
