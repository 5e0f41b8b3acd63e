// SPDX-License-Identifier: Apache-2.0
// Everything about the device, answered from what cuInit asked the executor once. Runs in the guest program,
// any thread, no lock: the data does not change after cuInit.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"

struct vc_device vc_device;

// Capabilities of the device that this library does not carry yet; a program that asks is told so.
static const uint8_t hidden_attributes[] = {
	89,		    // concurrent managed access: managed memory is pinned memory
	96,		    // cooperative launch on several devices
	101,		    // managed memory from the host
	107,		    // compressible memory
	110,		    // RDMA with virtual memory management
	112,		    // sparse arrays
	114,		    // timeline semaphores
	116,		    // RDMA
	119,		    // pool handle types
	121,		    // deferred mapping of arrays
	124,		    // dma-buf
	128,		    // fabric handles
	129,		    // unified function pointers
	132,		    // multicast
	136, 137,	    // decompression
	141, 142, 144, 145, // host memory by virtual memory management and in pools
};

static int uuid_matches(const char *text, size_t length)
{
	char ours[64];
	const uint8_t *u = vc_device.uuid;

	snprintf(ours, sizeof(ours),
		 "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2],
		 u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
	return length > 4 && length <= strlen(ours) && strncasecmp(text, ours, length) == 0;
}

// CUDA_VISIBLE_DEVICES: the list ends at the first entry that is no device; ours is number 0.
static int is_visible(const char *list)
{
	size_t length;
	char *end;
	long number;

	if (!list)
		return 1;
	list += strspn(list, " ");
	length = strcspn(list, ", ");
	if (strncmp(list, "GPU-", 4) == 0)
		return uuid_matches(list, length);
	number = strtol(list, &end, 10);
	return end != list && number == 0;
}

CUresult vc_device_init(void)
{
	struct reply_device_info info;
	int result = vgpu_call_device_info(vc_client, &info);

	if (result)
		return (CUresult)result;
	vc_device.total_memory = info.total_memory;
	vc_device.attribute_count = info.attribute_count > 160 ? 160 : (int32_t)info.attribute_count;
	memcpy(vc_device.attributes, info.attributes, sizeof(vc_device.attributes));
	memcpy(vc_device.uuid, info.uuid, sizeof(vc_device.uuid));
	memcpy(vc_device.name, info.name, sizeof(vc_device.name));
	vc_device.name[sizeof(vc_device.name) - 1] = '\0';
	for (size_t i = 0; i < sizeof(hidden_attributes); i++)
		vc_device.attributes[hidden_attributes[i]] = 0;
	vc_device.visible = is_visible(getenv("CUDA_VISIBLE_DEVICES"));
	return CUDA_SUCCESS;
}

// Ready, and the ordinal is a device's.
static CUresult enter_device(CUdevice device)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!device)
		return CUDA_ERROR_INVALID_VALUE;
	if (ordinal != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	*device = 0;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count)
{
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!count)
		return CUDA_ERROR_INVALID_VALUE;
	*count = 1;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device)
{
	CUresult result = enter_device(device);

	if (result)
		return result;
	if (!name || length <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	snprintf(name, (size_t)length, "%s", vc_device.name);
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device)
{
	CUresult result = enter_device(device);

	if (result)
		return result;
	if (!uuid)
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(uuid->bytes, vc_device.uuid, sizeof(uuid->bytes));
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device)
{
	return cuDeviceGetUuid_v2(uuid, device);
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
	CUresult result = enter_device(device);

	if (result)
		return result;
	if (!bytes)
		return CUDA_ERROR_INVALID_VALUE;
	*bytes = vc_device.total_memory;
	return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem(unsigned int *bytes, CUdevice device)
{
	size_t wide;
	CUresult result = cuDeviceTotalMem_v2(bytes ? &wide : NULL, device);

	if (!result)
		*bytes = wide > UINT32_MAX ? UINT32_MAX : (unsigned int)wide;
	return result;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
	CUresult result = enter_device(device);

	if (result)
		return result;
	if (!value || attribute < 1 || attribute >= vc_device.attribute_count)
		return CUDA_ERROR_INVALID_VALUE;
	*value = vc_device.attributes[attribute];
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetProperties(CUdevprop *prop, CUdevice device)
{
	const int32_t *a = vc_device.attributes;
	CUresult result = enter_device(device);

	if (result)
		return result;
	if (!prop)
		return CUDA_ERROR_INVALID_VALUE;
	*prop = (CUdevprop){
		.maxThreadsPerBlock = a[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK],
		.maxThreadsDim = { a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X],
				   a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y],
				   a[CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z] },
		.maxGridSize = { a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X], a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y],
				 a[CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z] },
		.sharedMemPerBlock = a[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK],
		.totalConstantMemory = a[CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY],
		.SIMDWidth = a[CU_DEVICE_ATTRIBUTE_WARP_SIZE],
		.memPitch = a[CU_DEVICE_ATTRIBUTE_MAX_PITCH],
		.regsPerBlock = a[CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK],
		.clockRate = a[CU_DEVICE_ATTRIBUTE_CLOCK_RATE],
		.textureAlign = a[CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT],
	};
	return CUDA_SUCCESS;
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device)
{
	CUresult result = enter_device(device);

	if (result)
		return result;
	if (!major || !minor)
		return CUDA_ERROR_INVALID_VALUE;
	*major = vc_device.attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR];
	*minor = vc_device.attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR];
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char *bus_id, int length, CUdevice device)
{
	const int32_t *a = vc_device.attributes;
	CUresult result = enter_device(device);
	char text[32];

	if (result)
		return result;
	snprintf(text, sizeof(text), "%04X:%02X:%02X.0", (unsigned int)a[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID],
		 (unsigned int)a[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID],
		 (unsigned int)a[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID]);
	if (!bus_id || length <= (int)strlen(text))
		return CUDA_ERROR_INVALID_VALUE;
	snprintf(bus_id, (size_t)length, "%s", text);
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetByPCIBusId(CUdevice *device, const char *bus_id)
{
	const int32_t *a = vc_device.attributes;
	unsigned int part[3] = { 0, 0, 0 }, function = 0;
	CUresult result = vc_ready();

	if (result)
		return result;
	if (!device || !bus_id)
		return CUDA_ERROR_INVALID_VALUE;
	if (sscanf(bus_id, "%8x:%8x:%8x.%1x", &part[0], &part[1], &part[2], &function) < 3) {
		part[0] = 0;
		if (sscanf(bus_id, "%8x:%8x.%1x", &part[1], &part[2], &function) < 2)
			return CUDA_ERROR_INVALID_VALUE;
	}
	if (part[0] != (unsigned int)a[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID] ||
	    part[1] != (unsigned int)a[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID] ||
	    part[2] != (unsigned int)a[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID] || function != 0)
		return CUDA_ERROR_INVALID_DEVICE;
	*device = 0;
	return CUDA_SUCCESS;
}

// One device: nobody to be a peer of.
CUresult cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer)
{
	CUresult result = enter_device(device);

	if (!result)
		result = enter_device(peer);
	if (result)
		return result;
	if (!can)
		return CUDA_ERROR_INVALID_VALUE;
	*can = 0;
	return CUDA_SUCCESS;
}

CUresult cuDeviceGetP2PAttribute(int *value, CUdevice_P2PAttribute attribute, CUdevice src, CUdevice dst)
{
	CUresult result = enter_device(src);

	if (!result)
		result = enter_device(dst);
	if (result)
		return result;
	(void)value;
	(void)attribute;
	return CUDA_ERROR_INVALID_DEVICE; // source and destination must differ
}

CUresult cuDeviceGetLuid(char *luid, unsigned int *mask, CUdevice device)
{
	CUresult result = enter_device(device);

	(void)luid;
	(void)mask;
	return result ? result : CUDA_ERROR_NOT_SUPPORTED; // Windows only
}
