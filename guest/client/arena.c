// SPDX-License-Identifier: Apache-2.0
// The arena: a ring of shared bytes that copies travel through. Pieces are taken in order and become free in
// order, each when it was given back and its fence value has come. Runs in the program's threads.
#include <errno.h>

#include "guest/client/client_internal.h"

#define ARENA_ALIGN 256u

void arena_init(struct vgpu_client *c)
{
	pthread_mutex_init(&c->arena_lock, NULL);
	pthread_cond_init(&c->arena_put, NULL);
	c->arena_head = c->arena_tail = 0;
	c->piece_first = c->piece_next = 0;
}

static struct arena_piece *piece_at(struct vgpu_client *c, uint64_t n)
{
	return &c->pieces[n % ARENA_PIECES];
}

// Frees the oldest pieces whose fence has come. arena_lock is held.
static void reclaim(struct vgpu_client *c)
{
	while (c->piece_first != c->piece_next) {
		struct arena_piece *p = piece_at(c, c->piece_first);

		if (!p->put)
			return;
		if (p->slot != UINT32_MAX && vgpu_slot_read(c, p->slot) < p->value)
			return;
		c->arena_head = p->end;
		c->piece_first++;
	}
	// Nothing in use: begin at 0 again, so that a lone small copy keeps to the same warm pages.
	c->arena_tail =
	    (c->arena_tail + c->geometry.arena_bytes - 1) / c->geometry.arena_bytes * c->geometry.arena_bytes;
	c->arena_head = c->arena_tail;
}

// Where size bytes would begin now (a counter), with what is left before the end skipped if it must be.
static uint64_t place(const struct vgpu_client *c, uint64_t size)
{
	uint64_t room = c->geometry.arena_bytes, at = c->arena_tail % room;

	return at + size > room ? c->arena_tail + (room - at) : c->arena_tail;
}

// Waits until the oldest piece may be free. arena_lock is held, and let go of meanwhile.
static int wait_for_oldest(struct vgpu_client *c)
{
	struct arena_piece oldest = *piece_at(c, c->piece_first);
	int r;

	if (!oldest.put) {
		pthread_cond_wait(&c->arena_put, &c->arena_lock);
		return vgpu_client_lost(c);
	}
	pthread_mutex_unlock(&c->arena_lock);
	r = vgpu_slot_wait(c, oldest.slot, oldest.value, UINT64_MAX);
	pthread_mutex_lock(&c->arena_lock);
	return r;
}

int vgpu_arena_get(struct vgpu_client *c, uint64_t bytes, struct vgpu_chunk *ret)
{
	uint64_t size = (bytes + ARENA_ALIGN - 1) & ~(uint64_t)(ARENA_ALIGN - 1), begin;
	int r = 0;

	if (!bytes || bytes > VGPU_CHUNK_MAX)
		return -EINVAL;
	pthread_mutex_lock(&c->arena_lock);
	for (;;) {
		reclaim(c);
		begin = place(c, size);
		if (begin + size - c->arena_head <= c->geometry.arena_bytes &&
		    c->piece_next - c->piece_first < ARENA_PIECES)
			break;
		r = wait_for_oldest(c);
		if (r)
			break;
	}
	if (!r) {
		ret->address = c->window + begin % c->geometry.arena_bytes;
		ret->bytes = bytes;
		ret->ticket = c->piece_next++;
		c->arena_tail = begin + size;
		*piece_at(c, ret->ticket) = (struct arena_piece){ .end = c->arena_tail };
	}
	pthread_mutex_unlock(&c->arena_lock);
	return r;
}

void vgpu_arena_put(struct vgpu_client *c, const struct vgpu_chunk *chunk, uint32_t slot, uint64_t value)
{
	struct arena_piece *p;

	pthread_mutex_lock(&c->arena_lock);
	p = piece_at(c, chunk->ticket);
	p->slot = slot;
	p->value = value;
	p->put = true;
	pthread_cond_broadcast(&c->arena_put);
	pthread_mutex_unlock(&c->arena_lock);
}
