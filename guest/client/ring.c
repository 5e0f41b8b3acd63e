// SPDX-License-Identifier: Apache-2.0
// The producer's side of the command ring, and calls with a reply. One lock per channel orders the threads of
// the process; it is held for the copy of one record only.
#include <sched.h>
#include <string.h>

#include "common/clock.h"
#include "guest/client/client_internal.h"

static uint64_t align_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) & ~(to - 1);
}

void client_ring_doorbell(struct vgpu_client *c)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load_explicit(&c->header->consumer_asleep, memory_order_relaxed))
		return;
	if (atomic_exchange(&c->header->consumer_asleep, 0))
		c->transport->ring(c);
}

// Waits until bytes more fit behind tail. The executor consumes while the GPU has room; a closed gate may
// keep it for a while, so this yields and then naps instead of spinning for ever.
static int wait_for_room(struct vgpu_client *c, uint64_t bytes)
{
	uint64_t start = 0;

	for (;;) {
		uint64_t now;

		if (c->tail + bytes - c->head_seen <= c->geometry.ring_bytes)
			return 0;
		c->head_seen = atomic_load_explicit(&c->header->head, memory_order_acquire);
		if (c->tail + bytes - c->head_seen <= c->geometry.ring_bytes)
			return 0;
		if (vgpu_client_lost(c))
			return vgpu_client_lost(c);
		client_ring_doorbell(c);
		now = clock_now_ns();
		if (!start)
			start = now;
		if (now - start < c->spin_ns) {
			cpu_relax();
		} else {
			struct timespec nap = { .tv_nsec = 20000 };

			nanosleep(&nap, NULL);
			if (now - start > 50 * NSEC_PER_MSEC) {
				c->transport->check(c);
				start = now;
			}
		}
	}
}

bool vgpu_client_caught_up(struct vgpu_client *c, uint64_t at_most_ns)
{
	uint64_t end = atomic_load_explicit(&c->header->tail, memory_order_relaxed), start = clock_now_ns();

	for (;;) {
		struct timespec nap = { .tv_nsec = 20000 };
		uint64_t waited;

		if ((int64_t)(atomic_load_explicit(&c->header->head, memory_order_acquire) - end) >= 0)
			return true;
		waited = clock_now_ns() - start;
		if (waited >= at_most_ns || vgpu_client_lost(c))
			return false;
		if (waited < c->spin_ns)
			cpu_relax();
		else
			nanosleep(&nap, NULL);
	}
}

// Makes room for one record of length bytes and returns where it begins; pads the ring's end when the record
// would wrap. ring_lock is held.
static uint8_t *reserve(struct vgpu_client *c, uint64_t length)
{
	uint64_t size = align_up(length, RECORD_ALIGN);
	uint64_t at = c->tail & (c->geometry.ring_bytes - 1);
	uint64_t left = c->geometry.ring_bytes - at;

	if (left < size) {
		if (wait_for_room(c, left))
			return NULL;
		*(struct record_header *)(c->ring + at) = (struct record_header){ .opcode = OPCODE_PAD,
										  .reply_slot = REPLY_NONE,
										  .length = (uint32_t)left };
		c->tail += left;
		atomic_store_explicit(&c->header->tail, c->tail, memory_order_release);
		at = 0;
	}
	if (wait_for_room(c, size))
		return NULL;
	c->record_next = c->tail + size;
	return c->ring + at;
}

static void publish(struct vgpu_client *c)
{
	c->tail = c->record_next;
	atomic_store_explicit(&c->header->tail, c->tail, memory_order_release);
	client_ring_doorbell(c);
}

// Writes header and fields, returns the tail's place; NULL when the channel is lost. ring_lock is held.
static uint8_t *write_record(struct vgpu_client *c, uint16_t opcode, uint16_t slot, uint64_t cookie,
			     const void *fields, uint32_t bytes, uint32_t tail_bytes)
{
	uint32_t length = (uint32_t)sizeof(struct record_header) + bytes + tail_bytes;
	uint8_t *p = vgpu_client_lost(c) ? NULL : reserve(c, length);

	if (!p)
		return NULL;
	*(struct record_header *)p = (struct record_header){
		.opcode = opcode, .reply_slot = slot, .length = length, .cookie = cookie
	};
	p += sizeof(struct record_header);
	if (bytes)
		memcpy(p, fields, bytes);
	return p + bytes;
}

void *vgpu_client_begin(struct vgpu_client *c, uint16_t opcode, const void *fields, uint32_t bytes,
			uint32_t tail_bytes)
{
	uint8_t *p;

	pthread_mutex_lock(&c->ring_lock);
	p = write_record(c, opcode, REPLY_NONE, 0, fields, bytes, tail_bytes);
	if (!p)
		pthread_mutex_unlock(&c->ring_lock);
	return p;
}

void vgpu_client_commit(struct vgpu_client *c)
{
	publish(c);
	pthread_mutex_unlock(&c->ring_lock);
}

int vgpu_client_push(struct vgpu_client *c, uint16_t opcode, const void *fields, uint32_t bytes,
		     const void *tail, uint32_t tail_bytes)
{
	uint8_t *p = vgpu_client_begin(c, opcode, fields, bytes, tail_bytes);

	if (!p)
		return vgpu_client_lost(c);
	if (tail_bytes)
		memcpy(p, tail, tail_bytes);
	vgpu_client_commit(c);
	return 0;
}

// ---- replies ----

static struct reply_slot *slot_at(struct vgpu_client *c, uint32_t i)
{
	return (struct reply_slot *)(c->channel + c->geometry.reply_offset +
				     (size_t)i * VGPU_REPLY_SLOT_BYTES);
}

// A free reply slot; waits when all are in use by other threads.
static uint32_t slot_get(struct vgpu_client *c)
{
	for (;;) {
		for (uint32_t w = 0; w < VGPU_REPLY_SLOTS / 64; w++) {
			uint64_t bits = atomic_load(&c->reply_free[w]);

			while (bits) {
				uint32_t i = (uint32_t)__builtin_ctzll(bits);

				if (atomic_compare_exchange_weak(&c->reply_free[w], &bits,
								 bits & ~(1ull << i)))
					return w * 64 + i;
			}
		}
		sched_yield();
	}
}

static void slot_put(struct vgpu_client *c, uint32_t i)
{
	atomic_fetch_or(&c->reply_free[i / 64], 1ull << (i % 64));
}

static int wait_reply(struct vgpu_client *c, struct reply_slot *slot, uint64_t cookie)
{
	uint64_t start = 0;

	while (atomic_load_explicit(&slot->cookie, memory_order_acquire) != cookie) {
		uint64_t now = clock_now_ns();
		uint32_t seen;

		if (!start)
			start = now;
		if (now - start < c->spin_ns) {
			for (int i = 0; i < 16; i++)
				cpu_relax();
			continue;
		}
		atomic_fetch_add(&c->header->guest_waiters, 1);
		seen = atomic_load(&c->header->wake_word);
		if (atomic_load(&slot->cookie) != cookie && !vgpu_client_lost(c))
			c->transport->sleep(c, seen);
		atomic_fetch_sub(&c->header->guest_waiters, 1);
		if (vgpu_client_lost(c) && atomic_load(&slot->cookie) != cookie)
			return vgpu_client_lost(c);
	}
	return 0;
}

// The reply is the host's word, still its length is bounded by what the caller has room for.
static int take_reply(const struct reply_slot *slot, void *ret, uint32_t ret_bytes, void *ret_tail,
		      uint32_t ret_tail_room, uint32_t *ret_tail_bytes)
{
	uint32_t length = slot->length, tail = length > ret_bytes ? length - ret_bytes : 0;
	int32_t result = slot->result;

	if (ret_tail_bytes)
		*ret_tail_bytes = tail < ret_tail_room ? tail : ret_tail_room;
	if (tail && ret_tail)
		memcpy(ret_tail, slot->payload + ret_bytes, tail < ret_tail_room ? tail : ret_tail_room);
	if (ret_bytes && length >= ret_bytes)
		memcpy(ret, slot->payload, ret_bytes);
	return result;
}

int vgpu_client_call(struct vgpu_client *c, uint16_t opcode, const void *fields, uint32_t bytes,
		     const void *tail, uint32_t tail_bytes, void *ret, uint32_t ret_bytes, void *ret_tail,
		     uint32_t ret_tail_room, uint32_t *ret_tail_bytes)
{
	uint32_t i = slot_get(c);
	struct reply_slot *slot = slot_at(c, i);
	uint64_t cookie;
	uint8_t *p;
	int r;

	if (ret_tail_bytes)
		*ret_tail_bytes = 0;
	pthread_mutex_lock(&c->ring_lock);
	cookie = ++c->next_cookie;
	p = write_record(c, opcode, (uint16_t)i, cookie, fields, bytes, tail_bytes);
	if (p) {
		if (tail_bytes)
			memcpy(p, tail, tail_bytes);
		publish(c);
	}
	pthread_mutex_unlock(&c->ring_lock);
	r = p ? wait_reply(c, slot, cookie) : vgpu_client_lost(c);
	if (!r)
		r = take_reply(slot, ret, ret_bytes, ret_tail, ret_tail_room, ret_tail_bytes);
	slot_put(c, i);
	return r;
}
