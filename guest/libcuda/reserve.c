// SPDX-License-Identifier: Apache-2.0
// The memory that a pool holds: segments from the executor, cut into blocks. A free block remembers the
// stream it was freed in and how much the stream had been given then; whoever is known to stand behind that
// may use it. Neighbours that are free for the same become one. Runs in the guest program, under the pools'
// lock.
#include <stdlib.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/pool.h"

#define UNIT   512ull // bytes; every block is whole units
#define PROBES 64     // blocks of one bin that are looked at

// Until when the work that used a block may go on.
struct user {
	int busy;		    // 0: nothing uses it
	uint64_t stream;	    // handle
	const struct vc_stream *at; // where the stream's object is, or was
	uint64_t position;
	int blocking; // the stream is ordered with the legacy one
	int gone;     // the stream was destroyed: done when the fence slot holds value
	uint32_t slot;
	uint64_t value;
};

struct vc_block {
	struct vc_pool *pool;
	uint64_t address, bytes;
	struct vc_block *before, *behind; // neighbours in the segment
	int free;
	struct user user;
	LIST_ENTRY(vc_block) in_bin;	  // free
	LIST_ENTRY(vc_block) in_segments; // the first of a segment
};

uint64_t vc_block_address(const struct vc_block *b)
{
	return b->address;
}

struct vc_pool *vc_block_pool(const struct vc_block *b)
{
	return b->pool;
}

void vc_reserve_init(struct vc_pool *p)
{
	LIST_INIT(&p->segments);
	for (unsigned i = 0; i < VC_POOL_BINS; i++)
		LIST_INIT(&p->bins[i]);
}

// ---- who may use a block

static int is_done(struct user *u)
{
	if (!u->busy)
		return 1;
	if (u->gone ? vgpu_slot_read(vc_client, u->slot) < u->value
		    : !vc_stream_passed(u->at, u->stream, u->position))
		return 0;
	u->busy = 0;
	return 1;
}

static int waited_for(const struct vc_stream *s, const struct user *u)
{
	for (unsigned i = 0; i < VC_STREAM_BEHIND; i++)
		if (s->behind[i].stream == u->stream && s->behind[i].position >= u->position)
			return 1;
	return 0;
}

static int may_use(const struct vc_pool *p, struct vc_block *b, const struct vc_stream *s)
{
	const struct user *u = &b->user;
	int blocking = !(s->flags & CU_STREAM_NON_BLOCKING);

	if (!u->busy || (u->stream == s->handle && !u->gone))
		return 1;
	// The legacy stream stands behind all blocking ones, and they behind it.
	if (!u->gone &&
	    ((s->handle == STREAM_LEGACY && u->blocking) || (u->stream == STREAM_LEGACY && blocking)))
		return 1;
	if (p->reuse[VC_REUSE_EVENTS] && !u->gone && waited_for(s, u))
		return 1;
	return p->reuse[VC_REUSE_OPPORTUNISTIC] && is_done(&b->user);
}

// ---- blocks

static unsigned bin_of(uint64_t bytes)
{
	unsigned bin = 63 - (unsigned)__builtin_clzll(bytes / UNIT);

	return bin < VC_POOL_BINS ? bin : VC_POOL_BINS - 1;
}

static void enter_bin(struct vc_block *b)
{
	b->free = 1;
	LIST_INSERT_HEAD(&b->pool->bins[bin_of(b->bytes)], b, in_bin);
}

static void leave_bin(struct vc_block *b)
{
	b->free = 0;
	LIST_REMOVE(b, in_bin);
}

// Whether the two can be one: freed in the same stream, or one of them by nobody. The later point counts.
static int join_users(struct user *a, struct user *b, struct user *ret)
{
	if (is_done(a)) {
		*ret = *b;
		return 1;
	}
	if (!is_done(b) && (a->stream != b->stream || a->gone != b->gone))
		return 0;
	*ret = b->busy && b->position > a->position ? *b : *a;
	return 1;
}

// Takes b's neighbour behind it into b, if both are free for the same.
static void join_behind(struct vc_block *b)
{
	struct vc_block *n = b->behind;
	struct user user;

	if (!n || !n->free || !join_users(&b->user, &n->user, &user))
		return;
	leave_bin(n);
	leave_bin(b);
	b->bytes += n->bytes;
	b->user = user;
	b->behind = n->behind;
	if (b->behind)
		b->behind->before = b;
	free(n);
	enter_bin(b);
}

static struct vc_block *block_new(struct vc_pool *p, uint64_t address, uint64_t bytes)
{
	struct vc_block *b = calloc(1, sizeof(*b));

	if (b) {
		b->pool = p;
		b->address = address;
		b->bytes = bytes;
	}
	return b;
}

// What b has above bytes becomes a free block of its own. Without memory for it b stays whole.
static void cut(struct vc_block *b, uint64_t bytes)
{
	struct vc_block *rest =
	    b->bytes > bytes ? block_new(b->pool, b->address + bytes, b->bytes - bytes) : NULL;

	if (!rest)
		return;
	b->bytes = bytes;
	rest->user = b->user;
	rest->before = b;
	rest->behind = b->behind;
	if (rest->behind)
		rest->behind->before = rest;
	b->behind = rest;
	enter_bin(rest);
}

struct vc_block *vc_reserve_take(struct vc_pool *p, uint64_t bytes, const struct vc_stream *s)
{
	struct vc_block *b;

	bytes = (bytes + UNIT - 1) & ~(UNIT - 1);
	for (unsigned bin = bin_of(bytes); bin < VC_POOL_BINS; bin++) {
		unsigned probes = 0;

		LIST_FOREACH (b, &p->bins[bin], in_bin) {
			if (b->bytes >= bytes && may_use(p, b, s)) {
				leave_bin(b);
				cut(b, bytes);
				return b;
			}
			if (++probes == PROBES)
				break;
		}
	}
	return NULL;
}

int vc_reserve_add(struct vc_pool *p, uint64_t address, uint64_t bytes)
{
	struct vc_block *b = block_new(p, address, bytes);

	if (!b)
		return -1;
	LIST_INSERT_HEAD(&p->segments, b, in_segments);
	p->reserved += bytes;
	if (p->reserved > p->reserved_high)
		p->reserved_high = p->reserved;
	enter_bin(b);
	return 0;
}

void vc_reserve_give(struct vc_block *b, const struct vc_stream *s)
{
	b->user = (struct user){ 0 };
	if (s)
		b->user = (struct user){ .busy = 1,
					 .stream = s->handle,
					 .at = s,
					 .position = vc_stream_position(s),
					 .blocking = !(s->flags & CU_STREAM_NON_BLOCKING) };
	enter_bin(b);
	join_behind(b);
	if (b->before && b->before->free)
		join_behind(b->before);
}

// ---- giving back

// Joins what can be joined by now; whether the segment is one free block then that nothing uses.
static int is_idle(struct vc_block *first)
{
	for (struct vc_block *b = first; b; b = b->behind)
		if (b->free)
			while (b->behind && b->behind->free) {
				const struct vc_block *n = b->behind;

				join_behind(b);
				if (b->behind == n)
					break;
			}
	return first->free && !first->behind && is_done(&first->user);
}

uint64_t vc_reserve_trim(struct vc_pool *p, uint64_t keep)
{
	struct vc_block *b = LIST_FIRST(&p->segments), *next;
	uint64_t before = p->reserved;

	for (; b && p->reserved > keep; b = next) {
		struct record_mem_free record = { .address = b->address };

		next = LIST_NEXT(b, in_segments);
		if (p->reserved - keep < b->bytes || !is_idle(b))
			continue;
		leave_bin(b);
		LIST_REMOVE(b, in_segments);
		p->reserved -= b->bytes;
		vgpu_push_mem_free(vc_client, &record);
		free(b);
	}
	return before - p->reserved;
}

void vc_reserve_stream_gone(struct vc_pool *p, struct vc_stream *s)
{
	uint64_t value;
	struct vc_block *b;

	for (unsigned bin = 0; bin < VC_POOL_BINS; bin++)
		LIST_FOREACH (b, &p->bins[bin], in_bin) {
			struct user *u = &b->user;

			if (!u->busy || u->stream != s->handle || u->gone || is_done(u) ||
			    vc_stream_fence(s, &value))
				continue;
			u->gone = 1;
			u->slot = s->fence.slot;
			u->position = u->value = value;
		}
}
