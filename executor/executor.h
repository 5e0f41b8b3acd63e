// SPDX-License-Identifier: Apache-2.0
// One executor: everything it knows of its one channel. Begun by executor_reserve and executor_open before it
// belongs to anybody, made by executor_map and executor_init from the mediator's ASSIGN, driven by
// executor/loop.c, used by the on_NAME handlers that the generated dispatch calls. One thread, and
// a second one for what passer.h says.
#ifndef VGPU_EXECUTOR_EXECUTOR_H
#define VGPU_EXECUTOR_EXECUTOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "executor/backends/backend.h"
#include "executor/delay.h"
#include "executor/dispatch_gen.h"
#include "executor/gate.h"
#include "executor/guest_memory.h"
#include "executor/handles.h"
#include "executor/hostmem.h"
#include "executor/memory.h"
#include "executor/park.h"
#include "executor/passer.h"
#include "executor/predict.h"
#include "executor/print.h"
#include "executor/rate.h"
#include "executor/ring.h"
#include "executor/share.h"
#include "executor/track.h"
#include "protocol/guest/channel.h"
#include "protocol/host/link.h"
#include "protocol/host/turn_page.h"

// A handler's result that never reaches the guest: nothing was done, run the record again when work in flight
// is done (loop.c keeps it).
#define RESULT_AGAIN INT32_MIN

enum assign_fd {
	ASSIGN_CHANNEL,
	ASSIGN_HOST_WINDOW,
	ASSIGN_DOORBELL,
	ASSIGN_TURN_PAGE,
	ASSIGN_KICK,
	ASSIGN_TENANT_PAGE,
	ASSIGN_FDS
};

// In a VM; fds of guest memory follow.
enum assign_vm_fd {
	ASSIGN_VM_DOORBELL,
	ASSIGN_VM_TURN_PAGE,
	ASSIGN_VM_KICK,
	ASSIGN_VM_TENANT_PAGE,
	ASSIGN_VM_BELL,
	ASSIGN_VM_MEMORY_LINK,
	ASSIGN_VM_EXTENTS,
	ASSIGN_VM_FDS
};

#define EXECUTOR_LIMITS (sizeof(((struct reply_context_activate *)0)->limits) / sizeof(uint64_t))

struct event;
struct watch;

// What work counts as that is collected for a graph instead of submitted.
struct collected {
	uint64_t launches, copy_bytes;
};

// What is the same for all tenants, so that a process can be ready before it has one.
struct executor_place {
	unsigned device; // ordinal on the host
	uint64_t host_window, device_window;
};

struct executor {
	struct executor_place place;
	const struct backend_ops *ops;
	struct backend *backend;
	struct link_assign assign;
	int link, doorbell, kick, host_window; // fds; no host_window in a VM
	struct guest_memory guest;
	int tenant_file; // of the tenant page; its locks tell who lives (backend_tenant.peers)

	// Shared memory, mapped by executor_map.
	uint8_t *channel;
	struct channel_header *header;
	_Atomic uint64_t *fences;
	struct vgpu_turn_page *turn;
	struct vgpu_tenant_page *tenant;

	struct ring ring;
	struct gate gate;
	struct rates rates;
	struct delay delay;
	struct handles handles;
	struct memory memory;
	struct hostmem hostmem;
	struct track track;
	struct passer passer;
	struct predict predict;
	struct print_buffer print, complaints;
	struct share_state share;
	struct park park;
	struct watch *watches; // event_watch records that wait, n_watches of room for watches_room
	uint32_t n_watches, watches_room, watch_next;

	uint64_t now_ns; // when the loop's round began
	bool active;	 // the context exists
	struct reply_context_activate activation;
	uint64_t first_limits[EXECUTOR_LIMITS];	 // of the context, before the program changed any
	uint64_t limit_charged[EXECUTOR_LIMITS]; // device memory charged for what is beyond those
	uint64_t resident_threads;		 // that the device can have at once
	int32_t sticky;				 // CUresult, 0: none
	bool stored;	      // something that the guest may sleep for, since the last wake
	uint64_t image_bytes; // of all blobs
	uint64_t graph_bytes; // of all graphs: descriptions and what is kept for each node
	// Modules, memory or registrations that went, and events that did: a graph may name them (graph.c).
	uint64_t gone, events_gone;
	struct collected collected; // of the graph that is being captured
	uint64_t last_function;	    // id of a function or graph
};

// Keeps the windows' addresses free for what comes: before the backend's library, which places mappings of
// its own. 0, or -errno with why.
int executor_reserve(struct executor *x, const struct executor_place *place, char *why, size_t why_bytes);
// Opens the backend: what a sandbox would refuse is done then. 0, or -errno with why.
int executor_open(struct executor *x, const struct backend_ops *ops, char *why, size_t why_bytes);
// Makes the context as well, for a tenant that is to come. 0 with ret's figures, or -errno with why.
int executor_prepare(struct executor *x, struct link_warm *ret, char *why, size_t why_bytes);

// Maps the channel, the windows and the pages. fds stay the caller's but for host_window and the
// tenant page's, which are kept by number. 0, or -errno with why.
int executor_map(struct executor *x, const struct link_assign *assign, const int fds[ASSIGN_FDS], char *why,
		 size_t why_bytes);
// The same for a channel in a VM, whose memory is guest memory. Of the fds doorbell, kick, tenant
// page, bell and memory link are kept by number.
int executor_map_vm(struct executor *x, const struct link_assign_vm *assign, const int *fds, unsigned n_fds,
		    char *why, size_t why_bytes);
void executor_unmap(struct executor *x);

// Makes everything ready for the first record. 0, or -errno with why.
int executor_init(struct executor *x, char *why, size_t why_bytes);
// Frees every object, closes the backend. For tests: the process just ends.
void executor_done(struct executor *x);

// The context's state for a handler that needs one: 0, the sticky error, or CUDA_ERROR_INVALID_CONTEXT.
int32_t executor_ready(const struct executor *x);

// loop.c: whether the tenant's limits let a record with that opcode go on now; if not, rates says why. Asked
// only when limits are set.
bool executor_admits(struct executor *x, uint16_t opcode);

// The context has failed with this CUresult: it is sticky from now on, all work is forgotten.
void executor_fail(struct executor *x, int32_t result);

// context.c: the context's limits go with it, and the charge for them.
void limits_forget(struct executor *x);

// Records a refused asynchronous record for the guest to find.
void executor_defer(struct executor *x, int32_t result);

// Frees all objects, memory and registrations and gives the context up. The sticky error stays.
void executor_reset(struct executor *x);

// event.c: stores a value that is greater than what the slot holds.
void fence_store(struct executor *x, uint32_t slot, uint64_t value);

// event.c: looks which watched events are complete and stores their slots; true: some were. Dropped watches
// leave their slots as they are.
bool watches_poll(struct executor *x);
void watches_drop(struct executor *x);
void event_release(struct executor *x, struct event *e);
// A new event without a handle that is complete when the last record of the shared one is, by whomever.
int32_t event_follow(struct executor *x, const struct event *e, struct event **ret);
// The event stands behind all that was submitted to the lane so far.
void event_recorded(struct executor *x, struct event *e, uint32_t lane);

// What the executor alone adds to and others only read.
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

// Bits by enum call_feature, for operators to see. One that stands there already costs a look.
static inline void executor_used(struct executor *x, uint64_t features)
{
	if (features & ~atomic_load_explicit(&x->turn->features, memory_order_relaxed))
		atomic_fetch_or_explicit(&x->turn->features, features, memory_order_relaxed);
}

#endif
