// SPDX-License-Identifier: Apache-2.0
// The parts of one client, shared by the files of this folder only.
#ifndef VGPU_CLIENT_INTERNAL_H
#define VGPU_CLIENT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/limits.h"
#include "guest/client/client.h"
#include "guest/client/transport.h"
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
	const struct transport *transport;
	struct link_geometry geometry;
	int link; // process mode: seqpacket to the mediator
	int window_fd;
	int doorbell;
	int device;			 // virtual machine: /dev/vgpu0
	_Atomic uint32_t *doorbell_page; // of it
	uint32_t tenant;
	_Atomic int lost;	    // CUresult; 0 while the channel lives
	_Atomic uint64_t looked_ns; // when somebody who polls had the link looked at last
	uint64_t spin_ns;

	uint8_t *channel;
	struct channel_header *header;
	uint8_t *ring;
	_Atomic uint64_t *fences;
	uint8_t *window;
	bool apart;		  // vgpu_client_open_apart
	uint64_t window_reserved; // bytes from window on that are ours in this process
	bool device_reserved;	  // the device window is

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
	struct window_adopted
	    *adopted; // process mode: program memory that was moved into the window, no order
	size_t n_adopted, adopted_room;
};

#define CLIENT_SLICE_NS 50000000ull // how long a thread sleeps without looking whether the channel is lost

// Says why opening failed (vgpu_client_open_error) and returns code.
// The host refused the channel with this enum link_error_code.
void client_refused(uint32_t code);
int client_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
// enum link_library: whose program this is.
static inline uint32_t client_library(const struct vgpu_client *c)
{
	return c->apart ? LINK_LIBRARY_VGPU : LINK_LIBRARY_CUDA;
}

// Whether the parts lie in the channel's memory, and are of the sizes that this library knows.
bool client_geometry_is_sane(const struct link_geometry *g);
// Takes the address windows of the geometry, or a place for the host window alone (apart), without access;
// sets window.
int client_reserve_windows(struct vgpu_client *c);
// Takes the channel's memory (or mmap's failure) and looks who is at its other end.
int client_take_channel(struct vgpu_client *c, void *memory);

// The CUresult that programs see for a lost channel; the reasons are the host link's (enum link_error_code).
int client_result_of_loss(uint32_t code);
// Marks the channel lost (first code wins) and wakes every waiter of this process.
void client_set_lost(struct vgpu_client *c, int code);
// Wakes the executor if it sleeps.
void client_ring_doorbell(struct vgpu_client *c);

// The mediator's socket that the caller or the environment names; NULL: neither does.
static inline const char *client_explicit_socket(const char *path)
{
	if (!path)
		path = secure_getenv(LINK_SOCKET_ENV);
	return path && *path ? path : NULL;
}

static inline const char *client_socket(const char *path)
{
	path = client_explicit_socket(path);
	return path ? path : LINK_SOCKET_DEFAULT;
}

int window_init(struct vgpu_client *c);
void window_done(struct vgpu_client *c);
// Takes size bytes (whole pages) of the window's addresses, *ret_offset from its beginning: -ENOMEM. And
// gives them back, with the memory that the transport put there.
int window_take(struct vgpu_client *c, uint64_t size, uint64_t *ret_offset);
void window_give(struct vgpu_client *c, uint64_t offset, uint64_t size);
void arena_init(struct vgpu_client *c);

#endif
