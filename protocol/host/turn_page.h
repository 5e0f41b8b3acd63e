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

#define VGPU_TURN_PAGE_BYTES 4096u
#define VGPU_NO_DEADLINE     UINT64_MAX

enum vgpu_gate { VGPU_GATE_CLOSED = 0, VGPU_GATE_OPEN = 1 };

struct vgpu_turn_page {
	// Written by the mediator; it rings the executor's doorbell after a change.
	_Atomic uint32_t gate;
	uint32_t reserved0;
	_Atomic uint64_t turn_id;     // grows by one with each opening; stored after the other fields
	_Atomic uint64_t deadline_ns; // CLOCK_MONOTONIC
	_Atomic uint64_t inflight_budget_ns;
	_Atomic uint64_t idle_grace_ns;
	uint64_t reserved1[3];

	// Written by the executor; it rings kick when demand goes 0 -> 1 while it holds no open turn (with
	// one it need not: a pause inside a turn is part of the turn), and when released_turn changes.
	_Atomic uint32_t demand;    // 1: GPU work waits in the ring or is in flight
	_Atomic uint32_t in_flight; // records submitted and not known complete
	_Atomic uint64_t released_turn;
	_Atomic uint64_t busy_ns; // cumulative time with work in flight
	_Atomic uint64_t launches;
	_Atomic uint64_t copy_bytes;
	_Atomic uint64_t memory_bytes; // device memory this executor holds, as counted in the tenant page
	_Atomic uint64_t faults;       // sticky errors and refused records
	_Atomic uint64_t progress;     // grows with each completion seen; the watchdog's pulse
};
static_assert(sizeof(struct vgpu_turn_page) == 128, "shared layout");
static_assert(offsetof(struct vgpu_turn_page, demand) == 64, "each side has its own cache line");

struct vgpu_tenant_page {
	_Atomic uint64_t memory_quota; // mediator; 0: none
	uint64_t reserved[7];
	// Added to by the tenant's executors before they allocate, and taken from after they free; the
	// mediator takes a dead executor's memory_bytes off.
	_Atomic uint64_t memory_used;
	uint64_t reserved1[7];
};
static_assert(sizeof(struct vgpu_tenant_page) == 128, "shared layout");

#endif
