// SPDX-License-Identifier: Apache-2.0
// Start and end of libnvidia-ml.so.1, its connection to the mediator, and every look through it. Runs in the
// guest program, any thread. nvmlInit is counted; the last nvmlShutdown closes the connection, or the last
// look that was still under way. A forked child goes on with the parent's count.
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "guest/libnvml/libnvml.h"

struct nvmlDevice_st {
	char nothing;
};

static struct nvmlDevice_st only_device;

static struct {
	pthread_mutex_t lock;
	unsigned int inits; // nvmlInit without nvmlShutdown
	unsigned int looks; // using device without the lock
	struct vgpu_device *device;
	bool fork_watched;
} nv = { .lock = PTHREAD_MUTEX_INITIALIZER };

void nv_lock(void)
{
	pthread_mutex_lock(&nv.lock);
}

void nv_unlock(void)
{
	pthread_mutex_unlock(&nv.lock);
}

static void unlock_in_child(void)
{
	nv.looks = 0; // those threads are not here
	nv_unlock();
}

static nvmlReturn_t open_result(int error)
{
	switch (error) {
	case 0: return NVML_SUCCESS;
	case -ENOENT:
	case -ECONNREFUSED: return NVML_ERROR_DRIVER_NOT_LOADED;
	case -EACCES: return NVML_ERROR_NO_PERMISSION;
	case -ENOMEM: return NVML_ERROR_MEMORY;
	default: return NVML_ERROR_UNKNOWN;
	}
}

static void close_if_unused(void)
{
	if (nv.inits || nv.looks)
		return;
	vgpu_device_close(nv.device);
	nv.device = NULL;
}

static nvmlReturn_t open_locked(void)
{
	int error = 0;

	if (!nv.fork_watched && pthread_atfork(nv_lock, nv_unlock, unlock_in_child))
		return NVML_ERROR_MEMORY;
	nv.fork_watched = true;
	if (!nv.device)
		error = vgpu_device_open(NULL, &nv.device);
	if (error)
		nv_log("nvmlInit: no mediator: %s", strerror(-error));
	return open_result(error);
}

// There is always a device here, and none is looked at before it is asked for: the flags change nothing.
nvmlReturn_t nvmlInitWithFlags(unsigned int flags)
{
	nvmlReturn_t result = NVML_SUCCESS;

	(void)flags;
	nv_lock();
	if (!nv.inits)
		result = open_locked();
	if (!result)
		nv.inits++;
	nv_unlock();
	return result;
}

nvmlReturn_t nvmlInit_v2(void)
{
	return nvmlInitWithFlags(0);
}

nvmlReturn_t nvmlShutdown(void)
{
	nvmlReturn_t result = NVML_SUCCESS;

	nv_lock();
	if (nv.inits) {
		nv.inits--;
		close_if_unused();
	} else {
		result = NVML_ERROR_UNINITIALIZED;
	}
	nv_unlock();
	return result;
}

nvmlReturn_t nv_ready(void)
{
	nvmlReturn_t result;

	nv_lock();
	result = nv.inits ? NVML_SUCCESS : NVML_ERROR_UNINITIALIZED;
	nv_unlock();
	return result;
}

nvmlDevice_t nv_device(void)
{
	return &only_device;
}

nvmlReturn_t nv_ready_device(nvmlDevice_t device)
{
	nvmlReturn_t result = nv_ready();

	if (result)
		return result;
	return device == &only_device ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nv_ready_answer(nvmlDevice_t device, const void *answer)
{
	nvmlReturn_t result = nv_ready_device(device);

	if (result)
		return result;
	return answer ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

// NULL: not initialised. Each look ends with end_look.
static struct vgpu_device *begin_look(void)
{
	struct vgpu_device *device = NULL;

	nv_lock();
	if (nv.inits) {
		nv.looks++;
		device = nv.device;
	}
	nv_unlock();
	return device;
}

static nvmlReturn_t end_look(int error)
{
	static _Atomic int told;

	nv_lock();
	nv.looks--;
	close_if_unused();
	nv_unlock();
	if (!error)
		return NVML_SUCCESS;
	if (atomic_exchange(&told, error) != error)
		nv_log("the mediator does not answer: %s", strerror(-error));
	switch (error) {
	case -ENOMEM: return NVML_ERROR_MEMORY;
	case -EBUSY: // too many questions
	case -ETIMEDOUT: return NVML_ERROR_TIMEOUT;
	default: return NVML_ERROR_GPU_IS_LOST;
	}
}

nvmlReturn_t nv_look(struct device_state *ret)
{
	struct vgpu_device *device = begin_look();
	nvmlReturn_t result;

	if (!device)
		return NVML_ERROR_UNINITIALIZED;
	result = end_look(vgpu_device_state(device, NV_AGE_NS, ret));
	if (result)
		return result;
	return ret->source == DEVICE_LOST ? NVML_ERROR_GPU_IS_LOST : NVML_SUCCESS;
}

nvmlReturn_t nv_look_answer(nvmlDevice_t device, const void *answer, struct device_state *ret)
{
	nvmlReturn_t result = nv_ready_answer(device, answer);

	return result ? result : nv_look(ret);
}

// Sorts the row in by its pid; two channels of one program are one row.
static void add_row(struct device_process *rows, unsigned int *n, const struct device_process *row)
{
	unsigned int at = *n;

	while (at && rows[at - 1].pid >= row->pid)
		at--;
	if (at < *n && rows[at].pid == row->pid) {
		rows[at].memory_bytes += row->memory_bytes;
		rows[at].gpu_ns += row->gpu_ns;
		rows[at].busy += row->busy;
		rows[at].valid |= row->valid;
		return;
	}
	memmove(&rows[at + 1], &rows[at], (*n - at) * sizeof(*rows));
	rows[at] = *row;
	++*n;
}

nvmlReturn_t nv_look_processes(struct device_process *rows, unsigned int *ret_n)
{
	struct device_process told[VGPU_MAX_CHANNELS_PER_TENANT];
	struct vgpu_device *device = begin_look();
	uint32_t count = 0;
	nvmlReturn_t result;

	if (!device)
		return NVML_ERROR_UNINITIALIZED;
	result =
	    end_look(vgpu_device_processes(device, NV_AGE_NS, told, VGPU_MAX_CHANNELS_PER_TENANT, &count));
	if (result)
		return result;
	*ret_n = 0;
	for (uint32_t i = 0; i < count && i < VGPU_MAX_CHANNELS_PER_TENANT; i++)
		if (told[i].valid & DEVICE_PROCESS_PID)
			add_row(rows, ret_n, &told[i]);
	return NVML_SUCCESS;
}

unsigned long long nv_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (unsigned long long)ts.tv_sec * 1000000 + (unsigned long long)ts.tv_nsec / NSEC_PER_USEC;
}
