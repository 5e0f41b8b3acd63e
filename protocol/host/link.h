// SPDX-License-Identifier: Apache-2.0
// The host link: messages on SOCK_SEQPACKET unix sockets between a client (libvgpu, vgpu-run, tests) and the
// mediator, and between the mediator and its executors. One packet is one message: a link_header, then the
// body of that type, nothing behind it. Little endian, reserved fields zero. Fds travel with the message that
// names them, in the order given there.
//
//   client                          mediator                        executor
//     | HELLO ------------------------>|                                |
//     |<-------------------- HELLO_OK  |                                |
//     | CHANNEL_OPEN ----------------->| spawn, ASSIGN {5 fds} -------->|
//     |                                |<------------------- READY/FAILED|
//     |<---- CHANNEL_OK {3 fds} or ERROR                                |
//     |           ... calls travel in the channel, not here ...         |
//     |<---- CHANNEL_LOST (executor died, was stopped)                  |
//     | TENANT_CREATE (operator only) >|                                |
//     |<---- TENANT_OK {path}          |                                |
//     | STATUS (operator only) ------->|                                |
//     |<---- STATUS_ROW ..., STATUS_END|                                |
#ifndef VGPU_PROTOCOL_HOST_LINK_H
#define VGPU_PROTOCOL_HOST_LINK_H

#include <assert.h>
#include <stdint.h>

#define LINK_MAGIC	    0x55504756u // "VGPU"
#define LINK_VERSION	    1u
#define LINK_MAX_PACKET	    4096u
#define LINK_NAME_BYTES	    64u
#define LINK_TEXT_BYTES	    256u
#define LINK_SOCKET_ENV	    "VGPU_SOCKET"
#define LINK_SOCKET_DEFAULT "/run/vgpu/mediator.sock"

enum link_type {
	// client -> mediator
	LINK_HELLO = 0x0101,
	LINK_CHANNEL_OPEN = 0x0102,
	LINK_TENANT_CREATE = 0x0103, // operator: peer uid is 0 or the mediator's
	LINK_STATUS = 0x0104,	     // operator
	// mediator -> client
	LINK_HELLO_OK = 0x0201,
	LINK_CHANNEL_OK = 0x0202, // fds: channel memfd, host window memfd, doorbell eventfd
	LINK_TENANT_OK = 0x0203,
	LINK_STATUS_ROW = 0x0204,
	LINK_STATUS_END = 0x0205,
	LINK_CHANNEL_LOST = 0x0206,
	LINK_ERROR =
	    0x02ff, // answer to a request that was refused; the link stays open unless the text says so
	// mediator -> executor
	LINK_ASSIGN = 0x0301, // fds: channel memfd, host window memfd, doorbell, turn page memfd, kick
			      // eventfd, tenant page memfd
	LINK_WAKE = 0x0302, // header only: look at the turn page; sent instead of a ring when somebody
			    // stuffed the doorbell
	// executor -> mediator
	LINK_READY = 0x0401,  // backend is open, channel is being served
	LINK_FAILED = 0x0402, // could not start; exits
	LINK_ENDED = 0x0403,  // channel ended by a bad record or a fatal error of the tenant; exits
};

enum link_error_code {
	LINK_E_VERSION = 1, // no common version
	LINK_E_PROTOCOL, // malformed, unknown type, wrong phase, reserved bits; the link is closed behind it
	LINK_E_PERMISSION, // operator message from somebody else
	LINK_E_LIMIT,	   // a limit of common/limits.h or of the tenant; text names it
	LINK_E_BACKEND,	   // no executor could be started; text has its last words
	LINK_E_INTERNAL,
	LINK_E_EXECUTOR_DIED, // CHANNEL_LOST: executor ended by a signal or exit
	LINK_E_BAD_RECORD,    // CHANNEL_LOST: the channel carried something malformed
	LINK_E_SHUTDOWN,      // CHANNEL_LOST: mediator is going away
	LINK_E_WATCHDOG,      // CHANNEL_LOST: work took longer than the tenant may
};

struct link_header {
	uint32_t magic;	 // LINK_MAGIC
	uint16_t type;	 // enum link_type
	uint16_t n_fds;	 // fds that travel with this packet
	uint32_t length; // whole packet, this header included
	uint32_t cookie; // chosen by who asks, repeated in the answer; 0 in messages nobody asked for
};
static_assert(sizeof(struct link_header) == 16, "wire");

struct link_hello {
	struct link_header header;
	uint32_t version_min, version_max; // inclusive
	uint64_t features;		   // none defined yet: 0
};
static_assert(sizeof(struct link_hello) == 32, "wire");

struct link_hello_ok {
	struct link_header header;
	uint32_t version;
	uint32_t tenant_id;
	uint64_t features;
	uint32_t weight;
	uint32_t reserved;
	uint64_t memory_quota; // bytes of device memory; 0: only the device's own size limits
};
static_assert(sizeof(struct link_hello_ok) == 48, "wire");

struct link_channel_open {
	struct link_header header;
	uint64_t flags; // none defined yet: 0
};
static_assert(sizeof(struct link_channel_open) == 24, "wire");

// Geometry of the channel memfd; every field is fixed by the mediator, both sides use these numbers and never
// what stands in shared memory.
struct link_geometry {
	uint32_t ring_offset, ring_bytes;   // bytes: power of two
	uint32_t reply_offset, reply_slots; // slots of VGPU_REPLY_SLOT_BYTES
	uint32_t fence_offset, fence_slots; // u64 each
	uint64_t channel_bytes;		    // size of the channel memfd
	uint64_t host_window_base;	    // address at which both sides map the host window memfd
	uint64_t host_window_bytes;	    // its size; the arena is its first arena_bytes
	uint64_t arena_bytes;
	uint64_t device_window_base, device_window_bytes;
};
static_assert(sizeof(struct link_geometry) == 72, "wire");

struct link_channel_ok {
	struct link_header header;
	uint64_t channel_id;
	struct link_geometry geometry;
};
static_assert(sizeof(struct link_channel_ok) == 96, "wire");

struct link_channel_lost {
	struct link_header header;
	uint32_t code; // enum link_error_code
	uint32_t reserved;
	uint64_t channel_id;
	char text[LINK_TEXT_BYTES]; // NUL-terminated
};
static_assert(sizeof(struct link_channel_lost) == 288, "wire");

struct link_error {
	struct link_header header;
	uint32_t code;
	uint32_t reserved;
	char text[LINK_TEXT_BYTES];
};
static_assert(sizeof(struct link_error) == 280, "wire");

// The tenant lives as long as the link that made it; its socket path is for programs of that tenant.
struct link_tenant_create {
	struct link_header header;
	char name[LINK_NAME_BYTES]; // NUL-terminated [A-Za-z0-9._:-]+
	uint32_t weight;	    // VGPU_MIN_WEIGHT..VGPU_MAX_WEIGHT
	uint32_t reserved;
	uint64_t memory_quota; // bytes; 0: none
};
static_assert(sizeof(struct link_tenant_create) == 96, "wire");

struct link_tenant_ok {
	struct link_header header;
	uint32_t tenant_id;
	uint32_t reserved;
	char path[108]; // NUL-terminated
	uint32_t reserved2;
};
static_assert(sizeof(struct link_tenant_ok) == 136, "wire");

struct link_status {
	struct link_header header;
};
static_assert(sizeof(struct link_status) == 16, "wire");

// One row a tenant; counters run from the tenant's creation and only grow, those of ended executors included.
struct link_status_row {
	struct link_header header;
	uint32_t tenant_id;
	uint32_t weight;
	char name[LINK_NAME_BYTES];
	uint32_t channels;  // live
	uint32_t in_demand; // 1: has GPU work waiting or running
	uint64_t gpu_ns;    // time in which work of this tenant held the device
	uint64_t turns;	    // turns handed to it under contention
	uint64_t launches, copy_bytes, faults;
	uint64_t memory_used, memory_quota; // device bytes
	uint64_t contended_gpu_ns;	    // gpu_ns charged while at least one other tenant was in demand
	uint64_t contended_ns;		    // wall time in which it was in demand together with another
};
static_assert(sizeof(struct link_status_row) == 168, "wire");

struct link_status_end {
	struct link_header header;
	uint32_t rows;
	uint32_t reserved;
	uint64_t now_ns; // CLOCK_MONOTONIC at the snapshot
	char backend[32];
	char device[64];
};
static_assert(sizeof(struct link_status_end) == 128, "wire");

struct link_assign {
	struct link_header header;
	uint64_t channel_id;
	uint32_t tenant_id;
	uint32_t device; // ordinal on the host
	struct link_geometry geometry;
	uint64_t spin_ns; // how long an idle executor polls its ring before it sleeps
};
static_assert(sizeof(struct link_assign) == 112, "wire");

struct link_ready {
	struct link_header header;
	char backend[32];
	char device[64];	// name of the device as the backend tells it
	uint64_t device_memory; // bytes
};
static_assert(sizeof(struct link_ready) == 120, "wire");

// FAILED and ENDED
struct link_ended {
	struct link_header header;
	uint32_t code; // enum link_error_code
	uint32_t reserved;
	char text[LINK_TEXT_BYTES];
};
static_assert(sizeof(struct link_ended) == 280, "wire");

#endif
