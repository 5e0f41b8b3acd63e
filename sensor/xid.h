// SPDX-License-Identifier: Apache-2.0
// The critical errors (Xid) of the card that the host's NVML tells as events: which came since the last look.
// A library without events, or a card or a user that may not have them, tells none.
#ifndef VGPU_SENSOR_XID_H
#define VGPU_SENSOR_XID_H

#include "protocol/host/link.h"
#include "sensor/host_nvml.h"

struct xid_events {
	nvmlEventSet_t set; // NULL: none are told
	nvmlReturn_t (*wait)(nvmlEventSet_t, nvmlEventData_t *, unsigned int timeout_ms);
};

// Registers for the card of n, which is open. Before the sandbox: the library opens files for it.
void xid_open(struct xid_events *x, const struct host_nvml *n);

// Takes all that is there, waiting for nothing: of more than LINK_SENSED_XIDS the last ones. Returns how many
// are in ret, oldest first.
uint32_t xid_take(struct xid_events *x, uint32_t ret[LINK_SENSED_XIDS]);

#endif
