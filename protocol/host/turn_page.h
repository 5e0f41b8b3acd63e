// SPDX-License-Identifier: Apache-2.0
// Shared memory between the mediator and one executor (turn page) and between the mediator and all executors
// of one tenant (tenant page). Each field has one writer. The mediator treats what an executor wrote as
// tenant-controlled: it bills by its own clock and uses the executor's figures for metering only.
//
// A turn: the mediator opens the gate {turn_id, deadline_ns}. The executor submits GPU work only while gate
// is OPEN and, when deadline_ns is not VGPU_NO_DEADLINE, only before it and while its predicted work in
// flight is below inflight_budget_ns. It gives the turn back by waiting until its work in flight is done and
// then storing released_turn = turn_id and ringing the kick eventfd: when the gate was closed, the deadline
// passed, or it has had nothing to do for idle_grace_ns under a deadline. With VGPU_NO_DEADLINE (nobody else
// in demand) it keeps the gate while idle and merely clears demand; the mediator may then close the gate or
// set a deadline at any time. It does not wait for the release of a turn that it closes while demand is 0.
#ifndef VGPU_PROTOCOL_HOST_TURN_PAGE_H
#define VGPU_PROTOCOL_HOST_TURN_PAGE_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/limits.h"
#include "protocol/host/delays.h"

#define VGPU_TURN_PAGE_BYTES 4096u
#define VGPU_NO_DEADLINE     UINT64_MAX

enum vgpu_gate { VGPU_GATE_CLOSED = 0, VGPU_GATE_OPEN = 1 };

enum vgpu_held_by {
	VGPU_HELD_BY_TURN,     // others have the GPU, or the tenant's cap is used up
	VGPU_HELD_BY_LAUNCHES, // the tenant's launches a second
	VGPU_HELD_BY_COPIES,   // the tenant's copied bytes a second
	VGPU_HELD_BY_QUEUE,    // the tenant's depth of queue
	VGPU_HELD_BY
};

// What executors count the times of.
enum vgpu_delay {
	VGPU_DELAY_LAUNCH, // a record that launches: from when it was seen in the ring to the backend
	VGPU_DELAY_WAIT,   // what the guest waits for (fence, watched event): from when that was seen to its
			   // end
	VGPU_DELAYS
};

struct vgpu_turn_page {
	// Written by the mediator; it rings the executor's doorbell after a change.
	_Atomic uint32_t gate;
	// 1: park_ask holds for one that works as well: it takes no more records until it has parked.
	_Atomic uint32_t park_urgent;
	_Atomic uint64_t turn_id;     // grows by one with each opening; stored after the other fields
	_Atomic uint64_t deadline_ns; // CLOCK_MONOTONIC
	_Atomic uint64_t inflight_budget_ns;
	_Atomic uint64_t idle_grace_ns;
	// Parking (docs/decisions/0021). park_ask grows with each time that the executor is to move its
	// device memory to the host's; room_answer is the room_ask that was dealt with.
	_Atomic uint64_t park_ask;
	_Atomic uint64_t room_answer;
	_Atomic uint64_t lease; // bytes of device memory that it may hold; 0: as many as there are

	// Written by the executor; it rings kick when demand goes 0 -> 1 while it holds no open turn (with
	// one it need not: a pause inside a turn is part of the turn), and when released_turn changes.
	_Atomic uint32_t demand;    // 1: GPU work waits in the ring or is in flight
	_Atomic uint32_t in_flight; // records submitted and not known complete
	_Atomic uint64_t released_turn;
	_Atomic uint64_t busy_ns; // cumulative time with work in flight
	_Atomic uint64_t launches;
	_Atomic uint64_t copy_bytes;
	_Atomic uint64_t memory_bytes; // device memory this executor holds, as counted in the tenant page;
				       // what is parked counts
	_Atomic uint64_t faults;       // sticky errors and refused records
	_Atomic uint64_t progress;     // grows with each completion seen; the watchdog's pulse

	_Atomic uint64_t refused_memory; // allocations that had no room in a quota or on the device; grows
	_Atomic uint64_t pinned_bytes;	 // host memory this executor has registered, as in the tenant page
	// Time in which GPU work at the ring's head was held back, by what; grows.
	_Atomic uint64_t held_ns[VGPU_HELD_BY];
	uint64_t reserved2[6 - VGPU_HELD_BY];

	_Atomic uint64_t parked_bytes; // of memory_bytes, what lies in the host's memory
	// Behind each change of the next two it rings kick.
	_Atomic uint64_t park_answer; // the park_ask that was dealt with: parked_bytes says how
	// Grows when device memory is wanted that the device does not give; then nothing of the ring is
	// served until room_answer says the same.
	_Atomic uint64_t room_ask;
	_Atomic uint64_t room_bytes; // wanted, of it; 0: nothing any more
	_Atomic uint32_t room_back;  // 1: to come back from being parked
	uint32_t reserved3;
	_Atomic uint64_t active_ns; // CLOCK_MONOTONIC when a record was taken last
	_Atomic uint64_t room_free; // bytes that the device had free when room_ask was made
	// Bits by enum call_feature (protocol/guest/calls.yaml): set when one is used. The mediator takes
	// them out again, to see when each was used last: the one field that both write.
	_Atomic uint64_t features;

	struct vgpu_delays delays[VGPU_DELAYS]; // for operators; nothing is decided by them
};
static_assert(sizeof(struct vgpu_turn_page) == 768, "shared layout");
static_assert(sizeof(struct vgpu_turn_page) <= VGPU_TURN_PAGE_BYTES, "one page");
static_assert(offsetof(struct vgpu_turn_page, delays) == 256, "each side has its own cache line");
static_assert(offsetof(struct vgpu_turn_page, demand) == 64, "each side has its own cache line");
static_assert(offsetof(struct vgpu_turn_page, held_ns) == 144, "shared layout");

// Rates are kept by the executors of a tenant together: `due` is the time up to which what they submitted is
// paid for at that rate. They submit while it is at most VGPU_RATE_BURST_NS ahead of the clock, and then move
// it on by what they submitted; one piece of work above the burst is paid for afterwards. The mediator clears
// it when it changes the rate.
#define VGPU_RATE_BURST_NS 100000000ull

struct vgpu_tenant_page {
	// mediator; 0: no limit
	_Atomic uint64_t memory_quota;
	_Atomic uint64_t pinned_quota;
	_Atomic uint64_t launches_per_s, copy_bytes_per_s;
	_Atomic uint64_t queue_depth; // records of one executor submitted and not known complete
	uint64_t reserved[3];
	// Added to by the tenant's executors before they allocate, and taken from after they free; the
	// mediator takes a dead executor's memory_bytes off.
	_Atomic uint64_t memory_used;
	_Atomic uint64_t pinned_used;			 // the same for registered host memory
	_Atomic uint64_t launches_due_ns, copies_due_ns; // CLOCK_MONOTONIC
	uint64_t reserved1[4];

	// Objects of one kind that one executor may have; mediator; 0: as many as common/limits.h says.
	_Atomic uint32_t objects[VGPU_OBJECT_LIMITS];
	uint32_t reserved2[6];
};
static_assert(sizeof(struct vgpu_tenant_page) == 192, "shared layout");
static_assert(offsetof(struct vgpu_tenant_page, memory_used) == 64, "each side has its own cache line");

#endif
