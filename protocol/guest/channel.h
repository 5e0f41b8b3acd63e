/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
// The channel: shared memory between one guest process and its executor. Three parts, at the offsets the host
// link's geometry tells (never read from shared memory):
//
//   channel memfd                                      host window memfd (same address on both sides)
//   +0             struct channel_header (1 page)      +0            arena: bulk bytes of copies
//   +ring_offset   command ring                        +arena_bytes  pinned host allocations
//   +reply_offset  reply slots
//   +fence_offset  fence page: u64 values, slot i belongs to what the guest says
//
// The command ring. Single producer (the guest: its threads take a lock), single consumer. `tail` and `head`
// count bytes and only grow; position = count & (ring_bytes - 1). A record never wraps: when it does not fit
// before the end, the producer writes a PAD record to the end and begins at 0. The consumer copies a record
// once into private memory, checks it completely, then acts; it never reads it again.
//
// Sleeping. The consumer that found the ring empty for a while stores consumer_asleep = 1, fences, looks at
// tail once more and sleeps on the doorbell; the producer publishes tail, fences, and rings the doorbell only
// if consumer_asleep is set (and clears it). A guest thread that waits (for a reply or a fence value) spins a
// while, then adds 1 to guest_waiters, reads wake_word, looks once more, and sleeps on wake_word (futex in
// process mode, poll on the device in a VM); the executor adds 1 to wake_word and wakes when it stored
// something and guest_waiters is not zero.
#ifndef VGPU_PROTOCOL_GUEST_CHANNEL_H
#define VGPU_PROTOCOL_GUEST_CHANNEL_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/limits.h"

#define CHANNEL_MAGIC	     0x4c4e4843u /* "CHNL" */
#define CHANNEL_VERSION	     1u
#define CHANNEL_HEADER_BYTES 4096u

struct channel_header {
	uint32_t magic; // written once by the mediator
	uint32_t version;
	uint8_t reserved0[56];

	// producer's line
	_Atomic uint64_t tail;
	uint8_t reserved1[56];

	// consumer's line
	_Atomic uint64_t head;
	uint8_t reserved2[56];

	_Atomic uint32_t consumer_asleep; // set by the executor, cleared by whoever wakes it
	uint8_t reserved3[60];

	_Atomic uint32_t guest_waiters; // guest threads that sleep or are about to
	_Atomic uint32_t wake_word;	// futex word
	uint8_t reserved4[56];

	// Errors that no reply carries; CUresult values, 0 is none. sticky_error never goes back; the guest
	// sets it when the channel is lost.
	// deferred_error: an asynchronous call was refused when the executor submitted it; the guest takes it
	// (exchanges it with 0) at the next call that may report it.
	_Atomic uint32_t sticky_error;
	_Atomic uint32_t deferred_error;
	// Text of kernels: enum channel_print bits, set by the executor. While one is set, the guest asks
	// with print_take after each wait.
	_Atomic uint32_t print;
	uint8_t reserved5[52];

	// How many objects of each kind the executor will take, stored by it at the beginning; 0: as many as
	// common/limits.h says. Asynchronous calls make objects: the guest looks before it does.
	_Atomic uint32_t objects[VGPU_OBJECT_LIMITS];
	uint8_t reserved6[24];
};
static_assert(sizeof(struct channel_header) == 448, "shared layout");
static_assert(offsetof(struct channel_header, tail) == 64, "shared layout");
static_assert(offsetof(struct channel_header, head) == 128, "shared layout");
static_assert(offsetof(struct channel_header, consumer_asleep) == 192, "shared layout");
static_assert(offsetof(struct channel_header, guest_waiters) == 256, "shared layout");
static_assert(offsetof(struct channel_header, sticky_error) == 320, "shared layout");

enum channel_print {
	CHANNEL_PRINT_WAITING = 1,    // text is there
	CHANNEL_PRINT_COMPLAINTS = 4, // text for stderr is there
	CHANNEL_PRINT_ASK = 2,	      // the backend learns of text only when it is asked; stays
};

#define CHANNEL_PRINT_BYTES 8000u // of one answer to print_take, at most

#define RECORD_ALIGN 16u
#define REPLY_NONE   0xffffu
#define OPCODE_PAD   0u // header only; length reaches to the end of the ring

struct record_header {
	uint16_t opcode;     // generated: enum opcode
	uint16_t reply_slot; // REPLY_NONE: no reply
	uint32_t length;     // exact bytes, header included; the next record begins at the next multiple of
			     // RECORD_ALIGN, what lies between is ignored
	uint64_t cookie;     // with a reply: the value that the slot's cookie gets when it is there; else 0
};
static_assert(sizeof(struct record_header) == 16, "wire");

// A reply slot belongs to one guest thread's call. The executor stores result, length and payload, then
// cookie (release).
struct reply_slot {
	_Atomic uint64_t cookie;
	int32_t result;	 // CUresult of the call
	uint32_t length; // bytes of payload
	uint8_t payload[];
};
static_assert(sizeof(struct reply_slot) == 16, "wire");

// Handles: the guest names its objects. index below the kind's limit; generation differs from the one the
// index had before, never 0.
//   63..56 kind   55..24 generation   23..0 index
static inline uint64_t handle_make(uint8_t kind, uint32_t generation, uint32_t index)
{
	return (uint64_t)kind << 56 | (uint64_t)generation << 24 | (index & 0xffffffu);
}

static inline uint8_t handle_kind(uint64_t handle)
{
	return (uint8_t)(handle >> 56);
}

static inline uint32_t handle_generation(uint64_t handle)
{
	return (uint32_t)(handle >> 24);
}

static inline uint32_t handle_index(uint64_t handle)
{
	return (uint32_t)handle & 0xffffffu;
}

// A stream field may carry this instead of a handle: the legacy default stream. The per-thread default stream
// is an ordinary stream that the guest makes.
#define STREAM_LEGACY 0ull

#endif
