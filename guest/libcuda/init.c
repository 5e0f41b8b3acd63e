// SPDX-License-Identifier: Apache-2.0
// Start and end of libcuda.so.1: connects to the executor in cuInit, refuses calls after fork and after the
// exit handlers. Runs in the guest program.
#include <pthread.h>
#include <stdlib.h>

#include "guest/libcuda/libcuda.h"

_Atomic int vc_state = VC_NEW;
struct vgpu_client *vc_client;

static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;

CUresult vc_state_result(int state)
{
	return state == VC_SHUT_DOWN ? CUDA_ERROR_DEINITIALIZED : CUDA_ERROR_NOT_INITIALIZED;
}

static void lock_for_fork(void)
{
	pthread_mutex_lock(&init_lock);
}

static void unlock_in_parent(void)
{
	pthread_mutex_unlock(&init_lock);
}

// The child has no executor: whoever used CUDA before the fork is told so by every call.
static void refuse_in_child(void)
{
	if (atomic_load(&vc_state) != VC_NEW) {
		atomic_store(&vc_state, VC_FORKED);
		vgpu_client_forget(vc_client);
	}
	vc_thread.current = NULL;
	pthread_mutex_unlock(&init_lock);
}

// Runs among the exit handlers, those registered after cuInit ran before it. Work in flight is left to the
// executor, which ends it with the channel.
static void shut_down(void)
{
	int ready = VC_READY;

	if (atomic_compare_exchange_strong(&vc_state, &ready, VC_SHUT_DOWN))
		vc_log("shut down, %llu calls were not supported",
		       (unsigned long long)vc_unsupported_calls());
}

static CUresult init_locked(void)
{
	CUresult result;

	if (!vc_client && vgpu_client_open(NULL, &vc_client) < 0) {
		vc_log("cuInit: %s", vgpu_client_open_error());
		return (CUresult)vgpu_client_open_result();
	}
	vc_objects_limit();
	result = vc_device_init();
	if (!result && !vc_device.visible)
		result = CUDA_ERROR_NO_DEVICE;
	if (!result)
		result = vc_streams_init();
	if (!result && (vc_contexts_init() || atexit(shut_down)))
		result = CUDA_ERROR_OUT_OF_MEMORY;
	if (result) {
		vgpu_client_close(vc_client);
		vc_client = NULL;
		return result;
	}
	atomic_store(&vc_state, VC_READY);
	return CUDA_SUCCESS;
}

CUresult cuInit(unsigned int flags)
{
	static int fork_watched;
	CUresult result = CUDA_SUCCESS;
	int state = atomic_load(&vc_state);

	if (flags)
		return CUDA_ERROR_INVALID_VALUE;
	if (state == VC_READY)
		return CUDA_SUCCESS;
	if (state != VC_NEW)
		return vc_state_result(state);
	if (vc_thread.in_callback)
		return CUDA_ERROR_NOT_PERMITTED;
	pthread_mutex_lock(&init_lock);
	state = atomic_load(&vc_state);
	if (state == VC_NEW) {
		if (!fork_watched)
			fork_watched = pthread_atfork(lock_for_fork, unlock_in_parent, refuse_in_child) == 0;
		result = fork_watched ? init_locked() : CUDA_ERROR_OUT_OF_MEMORY;
	} else if (state != VC_READY) {
		result = vc_state_result(state);
	}
	pthread_mutex_unlock(&init_lock);
	return result;
}

CUresult cuDriverGetVersion(int *version)
{
	if (atomic_load(&vc_state) == VC_SHUT_DOWN)
		return CUDA_ERROR_DEINITIALIZED;
	if (!version)
		return CUDA_ERROR_INVALID_VALUE;
	*version = VC_DRIVER_VERSION;
	return CUDA_SUCCESS;
}

// There is nothing to profile from here; programs that bracket their work with these go on.
CUresult cuProfilerStart(void)
{
	return vc_ready();
}

CUresult cuProfilerStop(void)
{
	return vc_ready();
}
