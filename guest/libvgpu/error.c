// SPDX-License-Identifier: Apache-2.0
// Errors of vgpu.h: their texts, and which of them stands for what the host answered. Pure; runs in the
// program.
#include <errno.h>

#include "guest/libvgpu/libvgpu.h"

LV_EXPORT const char *vgpu_error_text(int error)
{
	switch (error) {
	case VGPU_OK: return "no error";
	case VGPU_E_ARGUMENT: return "an argument or an address is not valid";
	case VGPU_E_HANDLE: return "no such object of this device";
	case VGPU_E_MEMORY: return "no device memory is left for this tenant";
	case VGPU_E_HOST_MEMORY: return "no host memory is left, or no more of it may be pinned";
	case VGPU_E_LIMIT: return "there are as many objects of that kind as there may be";
	case VGPU_E_NOT_FOUND: return "the module has nothing of that name";
	case VGPU_E_IMAGE: return "the image is not a program for this device; the compile log says more";
	case VGPU_E_LAUNCH: return "the launch asks for more than the device or the kernel has";
	case VGPU_E_UNSUPPORTED: return "the device cannot do that";
	case VGPU_E_NOT_READY: return "not done yet";
	case VGPU_E_TIMEOUT: return "not done within the time given";
	case VGPU_E_NO_DEVICE: return "no device can be opened";
	case VGPU_E_REFUSED: return "the device may not be used at present; its operator knows why";
	case VGPU_E_FAULT_ADDRESS: return "a kernel used memory that is not its own; open the device anew";
	case VGPU_E_FAULT_ALIGNMENT: return "a kernel used a misaligned address; open the device anew";
	case VGPU_E_FAULT_ASSERT: return "an assertion in a kernel failed; open the device anew";
	case VGPU_E_FAULT: return "a kernel failed; open the device anew";
	case VGPU_E_WATCHDOG: return "work ran longer than this tenant may; open the device anew";
	case VGPU_E_LOST: return "the device is lost; open it anew";
	case VGPU_E_FORKED: return "the device belongs to the parent process; open one of your own";
	case VGPU_E_UNEXPECTED: return "the host answered something unknown to this version";
	default: return "unknown error";
	}
}

static int of_errno(int result)
{
	switch (result) {
	case -ETIMEDOUT: return VGPU_E_TIMEOUT;
	case -ENOMEM: return VGPU_E_HOST_MEMORY;
	default: return VGPU_E_UNEXPECTED;
	}
}

static int of_fault(CUresult result)
{
	switch (result) {
	case CUDA_ERROR_ILLEGAL_ADDRESS: return VGPU_E_FAULT_ADDRESS;
	case CUDA_ERROR_MISALIGNED_ADDRESS: return VGPU_E_FAULT_ALIGNMENT;
	case CUDA_ERROR_ASSERT: return VGPU_E_FAULT_ASSERT;
	case CUDA_ERROR_HARDWARE_STACK_ERROR:
	case CUDA_ERROR_ILLEGAL_INSTRUCTION:
	case CUDA_ERROR_INVALID_ADDRESS_SPACE:
	case CUDA_ERROR_INVALID_PC:
	case CUDA_ERROR_LAUNCH_FAILED: return VGPU_E_FAULT;
	case CUDA_ERROR_LAUNCH_TIMEOUT: return VGPU_E_WATCHDOG;
	default: return VGPU_E_UNEXPECTED;
	}
}

int lv_error(int result)
{
	if (result < 0)
		return of_errno(result);
	switch ((CUresult)result) {
	case CUDA_SUCCESS: return VGPU_OK;
	case CUDA_ERROR_INVALID_VALUE: return VGPU_E_ARGUMENT;
	case CUDA_ERROR_OUT_OF_MEMORY: return VGPU_E_MEMORY;
	case CUDA_ERROR_DEVICE_UNAVAILABLE: return VGPU_E_LOST;
	case CUDA_ERROR_NO_DEVICE: return VGPU_E_NO_DEVICE;
	case CUDA_ERROR_SYSTEM_NOT_READY: return VGPU_E_REFUSED;
	case CUDA_ERROR_INVALID_IMAGE:
	case CUDA_ERROR_NO_BINARY_FOR_GPU:
	case CUDA_ERROR_INVALID_PTX:
	case CUDA_ERROR_JIT_COMPILER_NOT_FOUND:
	case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
	case CUDA_ERROR_INVALID_SOURCE: return VGPU_E_IMAGE;
	case CUDA_ERROR_INVALID_HANDLE: return VGPU_E_HANDLE;
	case CUDA_ERROR_NOT_FOUND: return VGPU_E_NOT_FOUND;
	case CUDA_ERROR_NOT_READY: return VGPU_E_NOT_READY;
	case CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: return VGPU_E_LAUNCH;
	case CUDA_ERROR_NOT_SUPPORTED: return VGPU_E_UNSUPPORTED;
	default: return of_fault((CUresult)result);
	}
}
