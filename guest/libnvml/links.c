// SPDX-License-Identifier: Apache-2.0
// What the device is connected to: a tenant's has no NVLink, no fabric and no neighbours. Runs in the guest
// program, any thread.
#include <string.h>

#include "guest/libnvml/libnvml.h"

static nvmlReturn_t no_link(nvmlDevice_t device, unsigned int link, const void *answer)
{
	nvmlReturn_t result = nv_ready_answer(device, answer);

	if (!result && link >= NVML_NVLINK_MAX_LINKS)
		result = NVML_ERROR_INVALID_ARGUMENT;
	return result ? result : NVML_ERROR_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned int link, nvmlEnableState_t *active)
{
	return no_link(device, link, active);
}

nvmlReturn_t nvmlDeviceGetNvLinkVersion(nvmlDevice_t device, unsigned int link, unsigned int *version)
{
	return no_link(device, link, version);
}

nvmlReturn_t nvmlDeviceGetNvLinkCapability(nvmlDevice_t device, unsigned int link, unsigned int capability,
					   unsigned int *value)
{
	return no_link(device, capability < NVML_NVLINK_CAP_COUNT ? link : NVML_NVLINK_MAX_LINKS, value);
}

nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned int link, nvmlPciInfo_t *pci)
{
	return no_link(device, link, pci);
}

nvmlReturn_t nvmlDeviceGetNvLinkRemoteDeviceType(nvmlDevice_t device, unsigned int link, unsigned int *type)
{
	return no_link(device, link, type);
}

nvmlReturn_t nvmlDeviceGetGpuFabricInfo(nvmlDevice_t device, nvmlGpuFabricInfo_t *info)
{
	nvmlReturn_t result = nv_ready_answer(device, info);

	if (!result)
		*info = (nvmlGpuFabricInfo_t){ .status = NVML_ERROR_NOT_SUPPORTED,
					       .state = NVML_GPU_FABRIC_STATE_NOT_SUPPORTED };
	return result;
}

// Takes versions 2 and 3: version 3 has one field more.
nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfoV_t *info)
{
	nvmlGpuFabricInfoV_t none = { .status = NVML_ERROR_NOT_SUPPORTED,
				      .state = NVML_GPU_FABRIC_STATE_NOT_SUPPORTED };
	nvmlReturn_t result = nv_ready_answer(device, info);

	if (result)
		return result;
	none.version = info->version;
	if (info->version == NVML_VERSION(nvmlGpuFabricInfo_v2_t, 2))
		memcpy(info, &none, sizeof(nvmlGpuFabricInfo_v2_t));
	else if (info->version == NVML_VERSION(nvmlGpuFabricInfoV_t, 3))
		*info = none;
	else
		result = NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	return result;
}

// A device is a fine peer of itself; NCCL asks for all pairs.
nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t device1, nvmlDevice_t device2, nvmlGpuP2PCapsIndex_t index,
				    nvmlGpuP2PStatus_t *status)
{
	nvmlReturn_t result = nv_ready_device(device1);

	if (!result && index >= NVML_P2P_CAPS_INDEX_UNKNOWN)
		result = NVML_ERROR_INVALID_ARGUMENT;
	return result ? result : nv_constant(device2, NVML_P2P_STATUS_OK, status);
}

nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t device1, nvmlDevice_t device2,
						 nvmlGpuTopologyLevel_t *level)
{
	nvmlReturn_t result = nv_ready_device(device1);

	return result ? result : nv_constant(device2, NVML_TOPOLOGY_INTERNAL, level);
}

nvmlReturn_t nvmlDeviceGetTopologyNearestGpus(nvmlDevice_t device, nvmlGpuTopologyLevel_t level,
					      unsigned int *count, nvmlDevice_t *devices)
{
	nvmlReturn_t result = nv_ready_device(device);

	if (!result && level > NVML_TOPOLOGY_SYSTEM)
		result = NVML_ERROR_INVALID_ARGUMENT;
	return result ? result : nv_room(0, count, devices);
}

// Every processor of the guest is as near as any other.
nvmlReturn_t nvmlSystemGetTopologyGpuSet(unsigned int cpu, unsigned int *count, nvmlDevice_t *devices)
{
	unsigned int room = count ? *count : 0;
	nvmlReturn_t result = nv_ready();

	(void)cpu;
	if (result)
		return result;
	if (!count || (room && !devices))
		return NVML_ERROR_INVALID_ARGUMENT;
	*count = 1;
	if (room)
		devices[0] = nv_device();
	return NVML_SUCCESS;
}
