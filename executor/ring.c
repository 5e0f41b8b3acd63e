// SPDX-License-Identifier: Apache-2.0
// Consumes the command ring; see the header. Called by the executor's loop only.
#include "executor/ring.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "protocol/guest/calls.h"

void ring_init(struct ring *r, struct channel_header *header, const void *base, uint32_t bytes,
	       uint32_t reply_slots)
{
	assert(bytes >= VGPU_RECORD_MAX && !(bytes & (bytes - 1)));
	r->header = header;
	r->base = base;
	r->bytes = bytes;
	r->reply_slots = reply_slots;
	r->head = r->tail = r->next = 0;
	r->current = false;
}

static void publish_head(struct ring *r, uint64_t head)
{
	r->head = head;
	atomic_store_explicit(&r->header->head, head, memory_order_release);
}

static const char *check_header(const struct ring *r, const struct record_header *h, uint64_t published,
				uint32_t to_end)
{
	if (h->length < sizeof(*h) || h->length > published || h->length > to_end)
		return "record: length outside of what is published";
	if (h->opcode == OPCODE_PAD)
		return h->length == to_end && h->reply_slot == REPLY_NONE && !h->cookie ? NULL
											: "pad: malformed";
	if (h->length > VGPU_RECORD_MAX)
		return "record: longer than VGPU_RECORD_MAX";
	if (((h->length + (RECORD_ALIGN - 1)) & ~(RECORD_ALIGN - 1)) > published)
		return "record: padding is not published";
	if (h->opcode >= OPCODE_COUNT)
		return "record: unknown opcode";
	if (!call_infos[h->opcode].has_reply)
		return h->reply_slot == REPLY_NONE && !h->cookie
			   ? NULL
			   : "record: reply asked of a call without one";
	return h->reply_slot < r->reply_slots ? NULL : "record: reply slot out of range";
}

int ring_next(struct ring *r, const char **why)
{
	while (!r->current) {
		uint64_t tail = atomic_load_explicit(&r->header->tail, memory_order_acquire);
		uint64_t published = tail - r->head;
		uint32_t at = (uint32_t)r->head & (r->bytes - 1);
		struct record_header h;

		r->tail = tail;
		if (!published)
			return 0;
		*why = NULL;
		if (published > r->bytes)
			*why = "ring: tail is ahead of the ring";
		else if (published % RECORD_ALIGN)
			*why = "ring: tail is not aligned";
		if (*why)
			return -EPROTO;
		memcpy(&h, r->base + at, sizeof(h));
		*why = check_header(r, &h, published, r->bytes - at);
		if (*why)
			return -EPROTO;
		if (h.opcode == OPCODE_PAD) {
			publish_head(r, r->head + h.length);
			continue;
		}
		memcpy(r->payload, r->base + at + sizeof(h), h.length - sizeof(h));
		r->record = h;
		r->next = r->head + ((h.length + (RECORD_ALIGN - 1)) & ~(RECORD_ALIGN - 1));
		r->current = true;
	}
	return 1;
}

void ring_done(struct ring *r)
{
	assert(r->current);
	r->current = false;
	publish_head(r, r->next);
}

bool ring_has_more(const struct ring *r)
{
	return r->current || atomic_load_explicit(&r->header->tail, memory_order_acquire) != r->head;
}
