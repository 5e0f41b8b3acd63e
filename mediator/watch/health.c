// SPDX-License-Identifier: Apache-2.0
// See the header. Called by mediator/watch/watch.c and the unit tests.
#include "mediator/watch/health.h"

#include <stddef.h>

enum xid_class health_xid_class(uint32_t xid)
{
	// What a kernel or a program's end causes on a card that is well: exceptions of the engines (13, 69),
	// page faults (31), work stopped or cleaned up (43, 45), video engines (68), a context that does not
	// switch out (109).
	static const uint32_t program[] = { 13, 31, 43, 45, 68, 69, 109 };

	for (size_t i = 0; i < sizeof(program) / sizeof(program[0]); i++) {
		if (program[i] == xid)
			return XID_PROGRAM;
	}
	return xid == 79 ? XID_LOST : XID_DEVICE; // 79: fallen off the bus
}

static bool enter(struct health *h, enum device_health state, uint64_t now_ns)
{
	if (h->state == state)
		return false;
	h->state = state;
	h->since_ns = now_ns;
	return true;
}

bool health_reading(struct health *h, uint64_t now_ns)
{
	// One that was degraded is that for its time, whatever its readings say; one that comes back after it
	// was lost was reset.
	return h->state != DEVICE_HEALTH_DEGRADED && enter(h, DEVICE_HEALTH_HEALTHY, now_ns);
}

bool health_lost(struct health *h, uint64_t now_ns)
{
	if (!enter(h, DEVICE_HEALTH_LOST, now_ns))
		return false;
	h->losses++;
	return true;
}

bool health_xid(struct health *h, uint32_t xid, uint64_t now_ns)
{
	enum xid_class class = health_xid_class(xid);

	if (class == XID_PROGRAM) {
		h->program_xids++;
		return false;
	}
	h->device_xids++;
	h->last_xid = xid;
	h->last_xid_ns = now_ns;
	if (class == XID_LOST)
		return health_lost(h, now_ns);
	return h->state != DEVICE_HEALTH_LOST && enter(h, DEVICE_HEALTH_DEGRADED, now_ns);
}

bool health_expire(struct health *h, uint64_t degraded_ns, uint64_t now_ns)
{
	if (h->state != DEVICE_HEALTH_DEGRADED || now_ns - h->last_xid_ns < degraded_ns)
		return false;
	return enter(h, DEVICE_HEALTH_HEALTHY, now_ns);
}

const char *health_text(enum device_health state)
{
	switch (state) {
	case DEVICE_HEALTH_UNKNOWN: return "unknown";
	case DEVICE_HEALTH_HEALTHY: return "healthy";
	case DEVICE_HEALTH_DEGRADED: return "degraded";
	case DEVICE_HEALTH_LOST: return "lost";
	}
	return "?";
}
