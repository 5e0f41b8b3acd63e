// SPDX-License-Identifier: Apache-2.0
// Event sets. The host tells of no events: a set can be made, nothing can be registered in it, and waiting
// for it takes the given time and ends with TIMEOUT. Runs in the guest program, any thread.
#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>

#include "guest/libnvml/libnvml.h"

struct nvmlEventSet_st {
	LIST_ENTRY(nvmlEventSet_st) next;
};

// nv_lock held.
static LIST_HEAD(, nvmlEventSet_st) sets = LIST_HEAD_INITIALIZER(sets);

static struct nvmlEventSet_st *find_locked(nvmlEventSet_t set)
{
	struct nvmlEventSet_st *s;

	LIST_FOREACH (s, &sets, next)
		if (s == set)
			return s;
	return NULL;
}

static nvmlReturn_t ready_set(nvmlEventSet_t set)
{
	nvmlReturn_t result = nv_ready();

	if (result)
		return result;
	nv_lock();
	result = find_locked(set) ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
	nv_unlock();
	return result;
}

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set)
{
	nvmlReturn_t result = nv_ready();
	struct nvmlEventSet_st *s;

	if (result)
		return result;
	if (!set)
		return NVML_ERROR_INVALID_ARGUMENT;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NVML_ERROR_MEMORY;
	nv_lock();
	LIST_INSERT_HEAD(&sets, s, next);
	nv_unlock();
	*set = s;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set)
{
	nvmlReturn_t result = nv_ready();
	struct nvmlEventSet_st *s;

	if (result)
		return result;
	nv_lock();
	s = find_locked(set);
	if (s)
		LIST_REMOVE(s, next);
	nv_unlock();
	free(s);
	return s ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *event_types)
{
	nvmlReturn_t result = nv_ready_answer(device, event_types);

	if (!result)
		*event_types = 0;
	return result;
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long event_types, nvmlEventSet_t set)
{
	nvmlReturn_t result = nv_ready_device(device);

	if (!result)
		result = ready_set(set);
	if (!result && (event_types & ~NVML_EVENT_ALL))
		result = NVML_ERROR_INVALID_ARGUMENT;
	if (!result && event_types)
		result = NVML_ERROR_NOT_SUPPORTED;
	return result;
}

// The set may be freed meanwhile: it is not looked at any more.
nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms)
{
	struct timespec until;
	nvmlReturn_t result = ready_set(set);

	if (result)
		return result;
	if (!data)
		return NVML_ERROR_INVALID_ARGUMENT;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
	return NVML_ERROR_TIMEOUT;
}

nvmlReturn_t nvmlEventSetWait(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms)
{
	return nvmlEventSetWait_v2(set, data, timeout_ms);
}
