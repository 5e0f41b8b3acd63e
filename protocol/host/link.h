// SPDX-License-Identifier: Apache-2.0
// The host link: messages on SOCK_SEQPACKET unix sockets between a client (guest/client, vgpu-run, tests) and
// the mediator, and between the mediator and its executors and its sensor. One packet is one message: a
// link_header, then the body of that type, nothing behind it. Little endian, reserved fields zero. Fds travel
// with the message that names them, in the order given there. A mediator that is replaced by another keeps
// all links open (protocol/host/keeper.h); an answer that was on its way then may come twice.
//
//   client                          mediator                        executor
//     |                                | spawn ahead ------------------>| (executor.warm of them)
//     |                                |<------------------------- WARM |
//     | HELLO ------------------------>|                                |
//     |<-------------------- HELLO_OK  |                                |
//     | CHANNEL_OPEN ----------------->| (spawn,) ASSIGN {6 fds} ------>|
//     |                                |<------------------- READY/FAILED|
//     |<---- CHANNEL_OK {3 fds} or ERROR                                |
//     |           ... calls travel in the channel, not here ...         |
//     |<---- CHANNEL_LOST (executor died, was stopped)                  |
//     | CHANNEL_OPEN_VM {2 + n fds} -->| (spawn,) ASSIGN_VM {7 + n} --->|   (the stub, for a VM's process)
//     |                                |<------------------- READY/FAILED|
//     |<---- CHANNEL_OK {2 fds} or ERROR                                |
//     | CHANNEL_CLOSE ---------------->| (link closed, or SIGKILL) ---->|
//     |<---- CHANNEL_GONE (it was reaped)                               |
//     |                                |<-------- SHARE {fd}, TAKE, DROP|
//     |                                | SHARED {fd} ----------------->|
//     | TENANT_CREATE[_AS] (operator) >|                                |
//     |<---- TENANT_OK {path}          |                                |
//     | STATUS (operator only) ------->|                                |
//     |<---- STATUS_ROW ..., STATUS_END|                                |
//     | DEVICE ----------------------->|                              sensor
//     |                                | SENSE ------------------------>| (when the last reading is old)
//     |                                |<- SENSOR_READY (once), SENSED  |
//     |<- DEVICE_STATE, DEVICE_ROWS ...|                                |
//     |<- VM, at once and when it changes                               |   (the stub of a VM of the
//     inventory)
//     |<---------------- REGISTERS_ASK |                                |   (the same)
//     | REGISTERS ... ---------------->|                                |
#ifndef VGPU_PROTOCOL_HOST_LINK_H
#define VGPU_PROTOCOL_HOST_LINK_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/host/device.h"

#define LINK_MAGIC	    0x55504756u // "VGPU"
#define LINK_VERSION	    1u
#define LINK_MAX_PACKET	    4096u
#define LINK_NAME_BYTES	    64u
#define LINK_TEXT_BYTES	    256u
#define LINK_GREETINGS	    3u // connections that a client tries while they end before HELLO is answered
#define LINK_SOCKET_ENV	    "VGPU_SOCKET"
#define LINK_SOCKET_DEFAULT "/run/vgpu/mediator.sock"

enum link_type {
	// client -> mediator
	LINK_HELLO = 0x0101,
	LINK_CHANNEL_OPEN = 0x0102,
	LINK_TENANT_CREATE = 0x0103, // operator: peer uid is 0 or the mediator's
	LINK_STATUS = 0x0104,	     // operator
	LINK_DEVICE = 0x0105,
	LINK_CHANNEL_OPEN_VM = 0x0106, // fds: guest bell eventfd, memory link, extent list, then guest memory
	LINK_CHANNEL_CLOSE = 0x0107,
	LINK_TENANT_CREATE_AS = 0x0108, // operator: TENANT_CREATE with a profile or a pool
	LINK_REGISTERS = 0x0109,	// answer to REGISTERS_ASK
	LINK_MONITOR = 0x010a,		// from who took LINK_FEATURE_PERSONALITY
	// mediator -> client
	LINK_HELLO_OK = 0x0201,
	LINK_CHANNEL_OK = 0x0202, // fds: channel memfd, host window memfd, doorbell eventfd; of a channel in
				  // a VM: doorbell eventfd, pidfd of the executor
	LINK_TENANT_OK = 0x0203,
	LINK_STATUS_ROW = 0x0204,
	LINK_STATUS_END = 0x0205,
	LINK_CHANNEL_LOST = 0x0206,
	LINK_DEVICE_STATE = 0x0207,
	LINK_DEVICE_ROWS = 0x0208,
	LINK_CHANNEL_GONE = 0x0209,  // of a channel in a VM that had CHANNEL_OK: its executor is no more
	LINK_VM = 0x020a,	     // to who took LINK_FEATURE_PERSONALITY
	LINK_REGISTERS_ASK = 0x020b, // header only; to the same
	LINK_ERROR =
	    0x02ff, // answer to a request that was refused; the link stays open unless the text says so
	// mediator -> executor
	LINK_ASSIGN = 0x0301, // fds: channel memfd, host window memfd, doorbell, turn page memfd, kick
			      // eventfd, tenant page memfd
	// Header only: look at the turn page; sent instead of a ring when somebody stuffed the doorbell.
	LINK_WAKE = 0x0302,
	LINK_SHARED = 0x0303,	 // answer to SHARE, TAKE and DROP; fds: to TAKE what SHARE brought
	LINK_ASSIGN_VM = 0x0304, // fds: doorbell, turn page memfd, kick eventfd, tenant page memfd, guest
				 // bell, memory link, extent list, then guest memory
	// executor -> mediator
	LINK_READY = 0x0401,  // backend is open, channel is being served
	LINK_FAILED = 0x0402, // could not start; exits
	LINK_ENDED = 0x0403,  // channel ended by a bad record or a fatal error of the tenant; exits
	LINK_SHARE = 0x0404,  // keep this under a key for the tenant's other executors; fds: none or one
	LINK_TAKE = 0x0405,   // give me what is kept under the key
	LINK_DROP = 0x0406,   // the owner ends the sharing, or a taker has done with it
	LINK_WARM = 0x0407,   // first, of an executor that was started ahead: ASSIGN may come
	// mediator -> sensor
	LINK_SENSE = 0x0501, // header only: read the card now
	// sensor -> mediator
	LINK_SENSOR_READY = 0x0601, // once, first; without readings it exits behind it
	LINK_SENSED = 0x0602,	    // answer to SENSE
};

enum link_error_code {
	LINK_E_VERSION = 1, // no common version
	LINK_E_PROTOCOL, // malformed, unknown type, wrong phase, reserved bits; the link is closed behind it
	LINK_E_PERMISSION, // operator message from somebody else; CHANNEL_OPEN[_VM] by another library than
			   // the VM's protocol lets in
	LINK_E_LIMIT,	   // a limit of common/limits.h or of the tenant; text names it
	LINK_E_BACKEND,	   // no executor could be started; text has its last words
	LINK_E_INTERNAL,
	LINK_E_EXECUTOR_DIED, // CHANNEL_LOST: executor ended by a signal or exit
	LINK_E_BAD_RECORD,    // CHANNEL_LOST: the channel carried something malformed
	LINK_E_SHUTDOWN,      // CHANNEL_LOST: mediator is going away
	LINK_E_WATCHDOG,      // CHANNEL_LOST: work took longer than the tenant may
	LINK_E_QUARANTINED,   // ERROR, CHANNEL_LOST: the tenant is kept out for what it did
	LINK_E_DEVICE_LOST,   // ERROR, CHANNEL_LOST: the card does not answer
	LINK_E_UNKNOWN,	      // ERROR: no profile or pool of that name
	LINK_E_DRAINING,      // ERROR, CHANNEL_LOST: the host is being emptied
};

struct link_header {
	uint32_t magic;	 // LINK_MAGIC
	uint16_t type;	 // enum link_type
	uint16_t n_fds;	 // fds that travel with this packet
	uint32_t length; // whole packet, this header included
	uint32_t cookie; // chosen by who asks, repeated in the answer; 0 in messages nobody asked for
};
static_assert(sizeof(struct link_header) == 16, "wire");

#define LINK_FEATURE_VM 1ull // CHANNEL_OPEN_VM, CHANNEL_CLOSE, CHANNEL_GONE
// VM, REGISTERS_ASK, REGISTERS, MONITOR; taken only where the tenant is a VM of the inventory.
#define LINK_FEATURE_PERSONALITY 2ull

// The top byte of HELLO's features: which library asks, or, of a stub that will open a channel, the guest's
// process. For those who look, and for the protocol of a VM, which keeps honest programs apart: who asks can
// say what it likes. Values that a mediator does not know count as UNTOLD.
#define LINK_LIBRARY_SHIFT 56u
enum link_library {
	LINK_LIBRARY_UNTOLD,
	LINK_LIBRARY_CUDA,
	LINK_LIBRARY_VGPU,
	LINK_LIBRARY_NVML,
	LINK_LIBRARIES
};

// library: enum link_library, or what a guest says it is, up to 255
static inline uint64_t link_library_features(uint32_t library)
{
	return (uint64_t)library << LINK_LIBRARY_SHIFT;
}

static inline uint32_t link_library_of(uint64_t features)
{
	uint64_t library = features >> LINK_LIBRARY_SHIFT;

	return library < LINK_LIBRARIES ? (uint32_t)library : LINK_LIBRARY_UNTOLD;
}

struct link_hello {
	struct link_header header;
	uint32_t version_min, version_max; // inclusive
	uint64_t features;		   // LINK_FEATURE_* that the client would use, and enum link_library
};
static_assert(sizeof(struct link_hello) == 32, "wire");

struct link_hello_ok {
	struct link_header header;
	uint32_t version;
	uint32_t tenant_id;
	uint64_t features; // of those offered, the ones that are there
	uint32_t weight;
	uint32_t reserved;
	uint64_t memory_quota; // bytes of device memory; 0: only the device's own size limits
};
static_assert(sizeof(struct link_hello_ok) == 48, "wire");

enum link_personality {
	LINK_PERSONALITY_CUSTOM = 0, // the transport alone
	LINK_PERSONALITY_NVIDIA = 1, // and beside it a device with an NVIDIA GPU's identity
};

// The socket of the second device: that of the first with this behind it.
#define LINK_IDENTITY_SUFFIX ".nvidia"

// What the inventory says of the VM. Holds for monitors that come from now on.
struct link_vm {
	struct link_header header;
	uint32_t personality; // enum link_personality
	uint32_t reserved;
	char vm[40]; // its uuid, NUL-terminated
};
static_assert(sizeof(struct link_vm) == 64, "wire");

// Whether a monitor is connected to the stub; said behind HELLO, and when it changes. Until it is said: none.
struct link_monitor {
	struct link_header header;
	uint32_t there; // 0 or 1
	uint32_t reserved;
};
static_assert(sizeof(struct link_monitor) == 24, "wire");

#define LINK_REGISTER_NAME_BYTES 24u

// A register of the second device that the guest touched.
struct link_register {
	uint32_t offset;	  // in BAR0, of 4 bytes
	uint32_t answer, written; // the last ones
	uint32_t reserved;
	uint64_t reads, writes;
	char name[LINK_REGISTER_NAME_BYTES]; // NUL-terminated; empty: not known
};
static_assert(sizeof(struct link_register) == 56, "wire");

#define LINK_REGISTERS_MAX  64u	 // in one packet
#define LINK_REGISTERS_MOST 512u // of one answer

enum link_registers_state {
	LINK_REGISTERS_NO_DEVICE = 0, // the personality is custom
	LINK_REGISTERS_UNUSED = 1,    // no monitor has the device; the rows are of the last one
	LINK_REGISTERS_IN_USE = 2,
};

// In the order in which they were first touched since the monitor came. Only n elements travel; the header's
// length says so. The sums stand in each packet.
struct link_registers {
	struct link_header header;
	uint32_t n;
	uint32_t left;	// come in packets behind this one
	uint32_t state; // enum link_registers_state
	uint32_t reserved;
	uint64_t more_reads, more_writes;	  // of registers that there was no row for
	uint64_t aperture_reads, aperture_writes; // of the BARs without registers
	uint64_t odd;				  // accesses that are none of a processor
	struct link_register row[LINK_REGISTERS_MAX];
};
static_assert(sizeof(struct link_registers) == 3656, "wire");

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

#define LINK_MAX_GUEST_MEMORY 8u // fds of guest memory in one packet

// A channel for a process in a VM. Its memory is guest memory: pieces of the files that travel along, told by
// the extent list (protocol/host/memory_link.h), which the mediator passes on unread; first the channel
// memory, then the arena, which begins a piece of its own. Refused with ERROR: nothing of the memory is used.
struct link_channel_open_vm {
	struct link_header header;
	uint64_t channel_bytes; // link_geometry.channel_bytes, or it is refused
	uint64_t arena_bytes;	// whole pages, up to VGPU_ARENA_BYTES
	uint32_t extents;	// of the list
	uint32_t pid;		// in the guest
	char name[16];		// of the process, NUL-terminated
};
static_assert(sizeof(struct link_channel_open_vm) == 56, "wire");

#define LINK_CLOSE_AT_ONCE 1ull // without waiting until the executor has ended by itself

// Ends the connection's channels (in a VM: one); the connection stays, CHANNEL_GONE comes when it is over.
struct link_channel_close {
	struct link_header header;
	uint64_t flags;
};
static_assert(sizeof(struct link_channel_close) == 24, "wire");

struct link_channel_gone {
	struct link_header header;
	uint64_t channel_id;
};
static_assert(sizeof(struct link_channel_gone) == 24, "wire");

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

#define LINK_POLICY_NAME_BYTES 48u
#define LINK_AS_PROFILE	       UINT64_MAX

struct link_tenant_create_as {
	struct link_header header;
	char name[LINK_NAME_BYTES]; // as in TENANT_CREATE
	uint32_t weight;	    // 0: as the profile says
	uint32_t reserved;
	uint64_t memory_quota;		      // LINK_AS_PROFILE: as the profile says
	char profile[LINK_POLICY_NAME_BYTES]; // NUL-terminated [A-Za-z0-9_-]*; empty: none
	char pool[LINK_POLICY_NAME_BYTES];    // the same; empty: tenant.pool
};
static_assert(sizeof(struct link_tenant_create_as) == 192, "wire");

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
	uint32_t health; // enum device_health
	uint64_t now_ns; // CLOCK_MONOTONIC at the snapshot
	char backend[32];
	char device[64];
};
static_assert(sizeof(struct link_status_end) == 128, "wire");

#define LINK_DEVICE_CARD 1ull // operators: with the values of class CARD

struct link_device {
	struct link_header header;
	uint64_t flags; // LINK_DEVICE_*
};
static_assert(sizeof(struct link_device) == 24, "wire");

struct link_device_state {
	struct link_header header;
	struct device_state state;
};
static_assert(sizeof(struct link_device_state) == 2320, "wire");

#define LINK_DEVICE_ROWS_MAX 48u // in one packet

// Behind DEVICE_STATE, one at least: all of one moment. Only n elements travel; the header's length says so.
struct link_device_rows {
	struct link_header header;
	uint32_t n;
	uint32_t left; // come in packets behind this one
	struct device_process process[LINK_DEVICE_ROWS_MAX];
};
static_assert(sizeof(struct link_device_rows) == 3480, "wire");
static_assert(offsetof(struct link_device_rows, process) == 24, "wire");

struct link_assign {
	struct link_header header;
	uint64_t channel_id;
	uint32_t tenant_id;
	uint32_t device; // ordinal on the host
	struct link_geometry geometry;
	uint64_t spin_ns; // how long an idle executor polls its ring before it sleeps
};
static_assert(sizeof(struct link_assign) == 112, "wire");

struct link_assign_vm {
	struct link_assign assign; // header.type: LINK_ASSIGN_VM
	uint32_t extents;	   // of the list
	uint32_t reserved;
};
static_assert(sizeof(struct link_assign_vm) == 120, "wire");

// The context is there, no tenant has been seen. Figures of the device at that moment, in bytes.
struct link_warm {
	struct link_header header;
	uint64_t device_free, device_memory;
};
static_assert(sizeof(struct link_warm) == 32, "wire");

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

struct link_sensor_ready {
	struct link_header header;
	uint32_t readings; // 1: SENSE is answered; 0: there is nothing to read, the sensor is done
	uint32_t reserved;
	char backend[16];
	struct device_identity identity;
};
static_assert(sizeof(struct link_sensor_ready) == 968, "wire");

#define LINK_SENSED_XIDS 16u

// Values of the classes FIXED, READING and CARD.
struct link_sensed {
	struct link_header header;
	uint32_t lost;			// 1: the card fell off the bus; no value is valid
	uint32_t n_xids;		// critical errors of the driver since the last reading, oldest first;
	uint32_t xid[LINK_SENSED_XIDS]; // of more than fit the last ones
	struct device_texts texts;
	struct device_values values;
};
static_assert(sizeof(struct link_sensed) == 1432, "wire");

// What executors of one tenant share (docs/decisions/0012). The mediator keeps what an owner shared and hands
// it to executors of the same tenant that name its key; it reads neither data nor fd. Each message is
// answered by one SHARED with its cookie.
#define LINK_SHARE_DATA 64u

struct link_share {
	struct link_header header;
	uint64_t key[2]; // random, chosen by the owner; unique in the tenant
	uint64_t bytes;	 // device memory behind it, as the owner was charged; 0: none
	uint8_t data[LINK_SHARE_DATA];
};
static_assert(sizeof(struct link_share) == 104, "wire");

// A taker stays one until it sends DROP, once for each TAKE.
struct link_take {
	struct link_header header;
	uint64_t key[2];
};
static_assert(sizeof(struct link_take) == 32, "wire");

struct link_drop {
	struct link_header header;
	uint64_t key[2];
	uint32_t owner; // 1: the owner ends the sharing; 0: a taker has done with it
	uint32_t reserved;
};
static_assert(sizeof(struct link_drop) == 40, "wire");

enum link_share_code {
	LINK_SHARE_OK = 0,
	LINK_SHARE_UNKNOWN, // no such key of this tenant, or not this executor's to drop
	LINK_SHARE_LIMIT,   // a limit of common/limits.h, or the key is in use
};

struct link_shared {
	struct link_header header;
	uint32_t code; // enum link_share_code
	// To an owner's DROP, 1: others still use it. Its bytes stay charged to the tenant until the last
	// taker has gone, and the mediator takes them off then.
	uint32_t in_use;
	uint64_t bytes;
	uint8_t data[LINK_SHARE_DATA];
};
static_assert(sizeof(struct link_shared) == 96, "wire");

#endif
