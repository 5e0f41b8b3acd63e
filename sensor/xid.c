// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in the sensor.
#include "sensor/xid.h"

#include <dlfcn.h>
#include <string.h>

#include "common/log.h"

// Of one look: a library that always has one more must not keep the mediator waiting.
#define MOST_EVENTS 1024

typedef nvmlReturn_t (*create_fn)(nvmlEventSet_t *);
typedef nvmlReturn_t (*register_fn)(nvmlDevice_t, unsigned long long, nvmlEventSet_t);

void xid_open(struct xid_events *x, const struct host_nvml *n)
{
	create_fn create = (create_fn)dlsym(n->library, "nvmlEventSetCreate");
	register_fn watch = (register_fn)dlsym(n->library, "nvmlDeviceRegisterEvents");
	nvmlEventSet_t set = NULL;
	nvmlReturn_t result = NVML_ERROR_FUNCTION_NOT_FOUND;

	*x = (struct xid_events){ 0 };
	*(void **)&x->wait = dlsym(n->library, "nvmlEventSetWait_v2");
	if (create && watch && x->wait)
		result = create(&set);
	if (result == NVML_SUCCESS)
		result = watch(n->device, NVML_EVENT_XID_CRITICAL_ERROR, set);
	if (result == NVML_SUCCESS)
		x->set = set; // until the process ends
	else
		log_info("the card's errors (Xid) are not told: NVML error %d", (int)result);
}

uint32_t xid_take(struct xid_events *x, uint32_t ret[LINK_SENSED_XIDS])
{
	uint32_t n = 0;

	for (unsigned i = 0; x->set && i < MOST_EVENTS; i++) {
		nvmlEventData_t event = { 0 };

		if (x->wait(x->set, &event, 0) != NVML_SUCCESS)
			break;
		if (event.eventType != NVML_EVENT_XID_CRITICAL_ERROR)
			continue;
		if (n == LINK_SENSED_XIDS)
			memmove(ret, ret + 1, --n * sizeof(*ret));
		ret[n++] = (uint32_t)event.eventData;
	}
	return n;
}
