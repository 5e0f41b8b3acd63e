// SPDX-License-Identifier: Apache-2.0
// What a mediator leaves with its keeper for the next one: one record for each thing that outlives it, by
// kind, with the descriptors that belong to it in fixed places. Written by keep.c whenever membership or
// state changes; read by another mediator, perhaps of another version, which checks all of it first.
#ifndef VGPU_MEDIATOR_ADOPT_DEPOSIT_H
#define VGPU_MEDIATOR_ADOPT_DEPOSIT_H

#include <assert.h>
#include <stdint.h>

#include "common/limits.h"
#include "mediator/inventory/slot_life.h"
#include "mediator/inventory/uuid.h"
#include "mediator/limit/policy.h"
#include "mediator/store/store.h"
#include "protocol/host/keeper.h"
#include "protocol/host/link.h"

// Grows with each change of a record or of what mediator and executors say to one another. Another one's
// state is refused, and what it kept ends.
#define DEPOSIT_VERSION 4u
static_assert(POLICY_ITEMS == 18, "a changed policy is a new DEPOSIT_VERSION; the sizes below follow");

enum record_kind {
	DEPOSIT_DAEMON = 1, // one, id 0
	DEPOSIT_TENANT,
	DEPOSIT_SESSION,
	DEPOSIT_CHANNEL,
	DEPOSIT_SHARE,
	DEPOSIT_POOL,	 // made or changed over the control socket; id: of its name
	DEPOSIT_WARM,	 // an executor without a tenant: never adopted, only ended; id: its pid
	DEPOSIT_PROFILE, // of the inventory, as the next two; id: of its name
	DEPOSIT_VM,
	DEPOSIT_SLOT,
	DEPOSIT_KINDS,
};

enum daemon_fd { DAEMON_LISTENER, DAEMON_FDS };

struct deposit_daemon {
	uint32_t version; // DEPOSIT_VERSION
	uint32_t link_version;
	uint64_t next_channel_id, next_session_id, next_share_id;
	uint64_t drain_since_s, drain_until_ns; // as in struct drain
	uint32_t next_tenant_id;
	uint32_t draining; // 0 or 1
	char path[108];	   // of the main socket, to be removed at the end; empty: not ours
	uint32_t reserved2;
	char backend_name[32], device_name[64];
};
static_assert(sizeof(struct deposit_daemon) == 264, "kept");

enum tenant_fd { TENANT_PAGE, TENANT_BOOKS, TENANT_LISTENER, TENANT_FDS };

#define DEPOSIT_TENANT_FOR_UID 1u
#define DEPOSIT_TENANT_REMOVED 2u
#define DEPOSIT_TENANT_USED    4u
#define DEPOSIT_TENANT_FRESH   8u // its TENANT_CREATE may still be in the socket

struct deposit_tenant {
	uint32_t id;
	uint32_t uid;
	uint64_t maker;	 // session that made it; 0: none
	uint32_t flags;	 // DEPOSIT_TENANT_*
	uint32_t cookie; // of its TENANT_CREATE
	struct policy policy;
	char name[LINK_NAME_BYTES];
	char pool[48];
	char path[108];	  // of its socket; empty: it has none
	uint32_t by_hand; // as in struct tenant
	char vm[40];	  // uuid of the VM that it belongs to; empty: none
};
static_assert(sizeof(struct deposit_tenant) == 440, "kept");

struct deposit_pool {
	struct policy policy;
	char name[48], gpu[48];
};
static_assert(sizeof(struct deposit_pool) == 248, "kept");
static_assert(VGPU_MAX_POLICY_NAME < 48, "kept");

enum session_fd { SESSION_SOCKET, SESSION_PIDFD, SESSION_FDS };

#define DEPOSIT_SESSION_OPERATOR    1u
#define DEPOSIT_SESSION_READY	    2u // HELLO was answered
#define DEPOSIT_SESSION_VM	    4u
#define DEPOSIT_SESSION_STATUS	    8u	// STATUS is being answered
#define DEPOSIT_SESSION_DEVICE	    16u // DEVICE waits
#define DEPOSIT_SESSION_CARD	    32u
#define DEPOSIT_SESSION_PERSONALITY 64u	 // LINK_FEATURE_PERSONALITY
#define DEPOSIT_SESSION_MONITOR	    128u // and its monitor is there

struct deposit_session {
	uint64_t id;
	uint64_t came_us; // since 1970
	uint32_t tenant, uid;
	int32_t pid;
	uint32_t flags;	  // DEPOSIT_SESSION_*
	uint32_t cookie;  // of what is being answered
	uint32_t library; // enum link_library
};
static_assert(sizeof(struct deposit_session) == 40, "kept");

enum channel_fd {
	CHANNEL_LINK,
	CHANNEL_PIDFD,
	CHANNEL_OUTPUT,
	CHANNEL_DOORBELL,
	CHANNEL_KICK,
	CHANNEL_TURN_PAGE,
	CHANNEL_MEMORY, // this and the next until the client has them
	CHANNEL_WINDOW,
	CHANNEL_FDS
};

#define DEPOSIT_CHANNEL_ANSWERED  1u
#define DEPOSIT_CHANNEL_LOST_SAID 2u
#define DEPOSIT_CHANNEL_VM	  4u
#define DEPOSIT_CHANNEL_FRESH	  8u // its CHANNEL_OPEN may still be in the socket

struct deposit_channel {
	uint64_t id, session; // 0: its client is gone
	uint64_t opened_us;
	uint32_t tenant;
	uint32_t cookie; // of its CHANNEL_OPEN
	int32_t pid;
	uint32_t state; // enum channel_state
	uint32_t flags; // DEPOSIT_CHANNEL_*
	uint32_t place; // in its tenant's books
	uint32_t vm_pid;
	uint32_t reason; // enum link_error_code; 0: none
	char vm_name[16];
	uint32_t library; // enum link_library
	uint32_t reserved;
	struct link_geometry geometry;
	char text[LINK_TEXT_BYTES];
};
static_assert(sizeof(struct deposit_channel) == 408, "kept");

struct deposit_share_use {
	uint64_t channel;
	uint32_t count;
	uint32_t cookie; // of the TAKE that was answered last
};

struct deposit_share {
	uint64_t id;
	uint64_t owner; // channel; 0: it has gone
	uint64_t key[2];
	uint64_t bytes;
	uint32_t tenant;
	uint32_t cookie; // of its SHARE
	uint32_t n_uses;
	uint32_t reserved;
	uint8_t data[LINK_SHARE_DATA];
	struct deposit_share_use uses[VGPU_MAX_CHANNELS_PER_TENANT]; // n_uses of them are there
};
static_assert(sizeof(struct deposit_share) == 1144, "kept");
static_assert(sizeof(struct deposit_share) <= KEEPER_BLOB_BYTES, "kept");

enum warm_fd { WARM_PIDFD, WARM_FDS };

struct deposit_warm {
	uint64_t pid;
};

struct deposit_profile {
	struct policy policy;
	char name[48];
};
static_assert(sizeof(struct deposit_profile) == 200, "kept");

struct deposit_vm {
	struct policy said; // of POLICY_OF_VM alone
	char uuid[40];
	char name[LINK_NAME_BYTES], pool[48], profile[48]; // of the last two empty: none
};
static_assert(sizeof(struct deposit_vm) == 352, "kept");

#define DEPOSIT_SLOT_RESERVED 1u // by slot.reserve
#define DEPOSIT_SLOT_WITH_VM  2u

struct deposit_slot {
	char uuid[40], gpu[STORE_NAME_BYTES], profile[48];
	char vm[40]; // empty: it is free
	uint32_t number;
	// These were a reserved field, zero: a mediator that knew no states left what was assigned by hand.
	uint16_t state; // enum slot_state
	uint16_t flags; // DEPOSIT_SLOT_*
};
static_assert(sizeof(struct deposit_slot) == 208, "kept");

union deposit {
	struct deposit_vm vm;
	struct deposit_slot slot;
	struct deposit_profile profile;
	struct deposit_warm warm;
	struct deposit_pool pool;
	struct deposit_daemon daemon;
	struct deposit_tenant tenant;
	struct deposit_session session;
	struct deposit_channel channel;
	struct deposit_share share;
};

// Checks a record that came back: kind, length, places of its fds, and every field by itself; what it refers
// to is looked up by who uses it. 0 and *ret (what is behind the end of a SHARE is zero), or -EPROTO with
// *why (static text); -ESTALE: it is another version's.
int deposit_read(uint32_t kind, uint64_t id, uint32_t places, const void *blob, uint32_t bytes,
		 union deposit *ret, const char **why);

// How many bytes of the record travel.
uint32_t record_bytes(uint32_t kind, const union deposit *r);

#endif
