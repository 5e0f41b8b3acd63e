// SPDX-License-Identifier: Apache-2.0
// Between the mediator and its keeper, on one SOCK_SEQPACKET unix socket: what outlives the mediator is put
// with the keeper, and handed to the next mediator that says HELLO (docs/decisions/0022). A record is a key
// (kind, id), up to KEEPER_BLOB_BYTES of the mediator's own and up to KEEPER_MAX_FDS descriptors in fixed
// places; the keeper understands nothing of it. Nobody but a mediator ever speaks this: no tenant, no
// executor.
//
//   mediator                         keeper
//     | HELLO ------------------------>|
//     |<--- BUSY (another one is there), or WELCOME, RECORD {fds} ..., END
//     | PUT {fds}, UPDATE, DROP ------>| (no answers: what was sent is safe)
//     | FINISH ----------------------->| gives all up, and ends
//     | (hangs up, dies) ------------->| waits for the next one, wait_ns long; then as FINISH
//
// The mediator may be newer or older than the keeper that it finds: what is here only grows.
#ifndef VGPU_PROTOCOL_HOST_KEEPER_H
#define VGPU_PROTOCOL_HOST_KEEPER_H

#include <assert.h>
#include <stdint.h>

#define KEEPER_MAGIC	  0x4b504756u // "VGPK"
#define KEEPER_VERSION	  1u
#define KEEPER_BLOB_BYTES 2048u
#define KEEPER_MAX_FDS	  8u
#define KEEPER_MAX_PACKET 4096u

enum keeper_type {
	// mediator -> keeper
	KEEPER_HELLO = 0x0101,
	KEEPER_PUT = 0x0102,	// makes the record, or replaces it with all of its fds
	KEEPER_UPDATE = 0x0103, // replaces the blob; the fds stay
	KEEPER_DROP = 0x0104,
	KEEPER_FINISH = 0x0105, // header only
	KEEPER_FORGET = 0x0106, // header only: drops all records and goes on
	// keeper -> mediator
	KEEPER_WELCOME = 0x0201,
	KEEPER_RECORD = 0x0202, // as it was put, in no order
	KEEPER_END = 0x0203,	// header only: these were all
	KEEPER_BUSY = 0x0204,	// header only: another mediator is served
};

struct keeper_header {
	uint32_t magic; // KEEPER_MAGIC
	uint16_t type;	// enum keeper_type
	uint16_t n_fds;
	uint32_t length;  // whole packet, this header included
	uint32_t version; // of who sends
};
static_assert(sizeof(struct keeper_header) == 16, "wire");

struct keeper_hello {
	struct keeper_header header;
	uint64_t wait_ns; // how long all is kept when this mediator is gone
	uint64_t stop_ns; // and how long processes may take to end then, before they are killed
};
static_assert(sizeof(struct keeper_hello) == 32, "wire");

struct keeper_welcome {
	struct keeper_header header;
	uint32_t records;
	uint32_t reserved;
};
static_assert(sizeof(struct keeper_welcome) == 24, "wire");

#define KEEPER_NO_PIDFD UINT32_MAX

// PUT, UPDATE, DROP and RECORD; of DROP only the key counts. The blob's bytes stand behind it.
struct keeper_record {
	struct keeper_header header;
	uint64_t id;
	uint32_t kind;
	uint32_t places; // bit n: an fd travels that belongs to place n
	uint32_t pidfd;	 // place of a pidfd whose process is killed if nobody comes; KEEPER_NO_PIDFD
	uint32_t bytes;	 // of the blob
};
static_assert(sizeof(struct keeper_record) == 40, "wire");
static_assert(sizeof(struct keeper_record) + KEEPER_BLOB_BYTES <= KEEPER_MAX_PACKET, "wire");

#endif
