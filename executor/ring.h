// SPDX-License-Identifier: Apache-2.0
// The consumer's side of the command ring (protocol/guest/channel.h). Everything in the ring and its header
// may change while it is read: each word is loaded once, bounded, and a record is copied once into private
// memory.
#ifndef VGPU_EXECUTOR_RING_H
#define VGPU_EXECUTOR_RING_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/limits.h"
#include "protocol/guest/channel.h"

struct ring {
	struct channel_header *header;
	const uint8_t *base;
	uint32_t bytes;	      // power of two
	uint32_t reply_slots; // a record's reply slot is below this

	uint64_t head; // what the shared head was last set to
	uint64_t tail; // what the shared tail was when it was loaded last
	uint64_t next; // where head goes when the current record is done
	bool current;  // record and payload hold a record that is not done
	struct record_header record;
	alignas(16) uint8_t payload[VGPU_RECORD_MAX];
};

// base and bytes: the mapped ring. Starts at the shared head of 0.
void ring_init(struct ring *r, struct channel_header *header, const void *base, uint32_t bytes,
	       uint32_t reply_slots);

// Makes the next record current unless one is. 1: r->record and r->payload (record.length minus the header's
// bytes) are valid, its opcode is known, its reply slot fits the opcode. 0: the ring is empty. -EPROTO: the
// guest broke the ring; *why (static text) says how.
int ring_next(struct ring *r, const char **why);

// The current record is done: its bytes are the producer's again.
void ring_done(struct ring *r);

// Whether something was published behind what is done. A current record counts.
bool ring_has_more(const struct ring *r);

static inline uint32_t ring_payload_bytes(const struct ring *r)
{
	return r->record.length - (uint32_t)sizeof(struct record_header);
}

#endif
