// SPDX-License-Identifier: Apache-2.0
// How the card is, out of what its readings and its Xid events say (numbers of NVIDIA's driver for what went
// wrong). Pure: time comes in as now_ns.
//
//   HEALTHY ──Xid of the device──> DEGRADED ──none for a while──> HEALTHY
//      └──────────┴── a reading says lost, or Xid 79 ──> LOST ──a reading succeeds──> HEALTHY
#ifndef VGPU_MEDIATOR_WATCH_HEALTH_H
#define VGPU_MEDIATOR_WATCH_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/host/device.h"

enum xid_class {
	XID_PROGRAM, // a program's fault (a stray pointer, a kernel that was killed): says nothing of the
		     // card
	XID_DEVICE,  // the card, its memory, its firmware or its links; unknown numbers too
	XID_LOST,    // the card does not answer any more
};

struct health {
	enum device_health state;
	uint64_t since_ns;
	uint32_t last_xid; // of class DEVICE or LOST; 0: none yet
	uint64_t last_xid_ns;
	uint64_t device_xids, program_xids, losses; // only grow
};

enum xid_class health_xid_class(uint32_t xid);

// Each returns whether the state changed.
bool health_reading(struct health *h, uint64_t now_ns); // the card was read, or there is none to read
bool health_lost(struct health *h, uint64_t now_ns);	// its reading says that it is gone
bool health_xid(struct health *h, uint32_t xid, uint64_t now_ns);
// DEGRADED for degraded_ns without another Xid of the device.
bool health_expire(struct health *h, uint64_t degraded_ns, uint64_t now_ns);

const char *health_text(enum device_health state);

#endif
