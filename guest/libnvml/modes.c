// SPDX-License-Identifier: Apache-2.0
// What the device is set to, and features that a tenant's device has not: MIG, accounting, licences,
// performance monitoring. Runs in the guest program, any thread.
#include "guest/libnvml/libnvml.h"
#include "protocol/cuda/cuda_abi.h"

// As libcuda.so.1 tells it, where no card says so.
nvmlReturn_t nvmlDeviceGetComputeMode(nvmlDevice_t device, nvmlComputeMode_t *mode)
{
	struct device_state s;
	nvmlReturn_t result = nv_look_answer(device, mode, &s);

	if (result || !nv_known(&s, DEVICE_COMPUTE_MODE, mode))
		return result;
	if (s.identity.attribute_count <= CU_DEVICE_ATTRIBUTE_COMPUTE_MODE)
		return NVML_ERROR_NOT_SUPPORTED;
	*mode = (nvmlComputeMode_t)s.identity.attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_MODE];
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetVirtualizationMode(nvmlDevice_t device, nvmlGpuVirtualizationMode_t *mode)
{
	return nv_constant(device, NVML_GPU_VIRTUALIZATION_MODE_NONE, mode);
}

// ---- MIG: a tenant's device is whole, whatever the card's mode

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending)
{
	unsigned int of_card;
	nvmlReturn_t result = nv_ready_answer(device, current);

	if (!result)
		result = nv_ready_answer(device, pending);
	if (!result)
		result = nv_value(device, DEVICE_MIG_MODE, &of_card);
	if (!result)
		*current = *pending = NVML_FEATURE_DISABLED;
	return result;
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count)
{
	return nv_constant(device, 0, count);
}

nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t device, unsigned int *answer)
{
	return nv_constant(device, 0, answer);
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned int index, nvmlDevice_t *mig)
{
	nvmlReturn_t result = nv_ready_answer(device, mig);

	(void)index;
	return result ? result : NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t mig, nvmlDevice_t *device)
{
	(void)mig;
	(void)device;
	return nv_refuse(NVML_ERROR_INVALID_ARGUMENT);
}

// ---- accounting: off

nvmlReturn_t nvmlDeviceGetAccountingMode(nvmlDevice_t device, nvmlEnableState_t *mode)
{
	return nv_constant(device, NVML_FEATURE_DISABLED, mode);
}

nvmlReturn_t nvmlDeviceGetAccountingStats(nvmlDevice_t device, unsigned int pid, nvmlAccountingStats_t *stats)
{
	nvmlReturn_t result = nv_ready_answer(device, stats);

	(void)pid;
	return result ? result : NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetAccountingPids(nvmlDevice_t device, unsigned int *count, unsigned int *pids)
{
	nvmlReturn_t result = nv_ready_device(device);

	return result ? result : nv_room(0, count, pids);
}

nvmlReturn_t nvmlDeviceGetAccountingBufferSize(nvmlDevice_t device, unsigned int *entries)
{
	return nv_constant(device, 0, entries);
}

// ---- what a tenant may do, and what the device can

nvmlReturn_t nvmlDeviceGetAPIRestriction(nvmlDevice_t device, nvmlRestrictedAPI_t api,
					 nvmlEnableState_t *restricted)
{
	nvmlReturn_t result = nv_ready_device(device);

	if (!result && api >= NVML_RESTRICTED_API_COUNT)
		result = NVML_ERROR_INVALID_ARGUMENT;
	return result ? result : nv_constant(device, NVML_FEATURE_ENABLED, restricted);
}

nvmlReturn_t nvmlDeviceGetGridLicensableFeatures_v4(nvmlDevice_t device,
						    nvmlGridLicensableFeatures_t *features)
{
	nvmlReturn_t result = nv_ready_answer(device, features);

	if (!result)
		features->isGridLicenseSupported = features->licensableFeaturesCount = 0;
	return result;
}

// The GPU reaches no pageable memory: neither by the kernel's page tables nor by hardware.
nvmlReturn_t nvmlDeviceGetAddressingMode(nvmlDevice_t device, nvmlDeviceAddressingMode_t *mode)
{
	nvmlReturn_t result = nv_ready_answer(device, mode);

	if (!result && mode->version != NVML_VERSION(nvmlDeviceAddressingMode_t, 1))
		result = NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (!result)
		mode->value = 0;
	return result;
}

nvmlReturn_t nvmlDeviceGetCapabilities(nvmlDevice_t device, nvmlDeviceCapabilities_t *caps)
{
	nvmlReturn_t result = nv_ready_answer(device, caps);

	if (!result && caps->version != NVML_VERSION(nvmlDeviceCapabilities_t, 1))
		result = NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (!result)
		caps->capMask = 0;
	return result;
}

nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t device, nvmlGpmSupport_t *support)
{
	nvmlReturn_t result = nv_ready_answer(device, support);

	if (!result && support->version != 1)
		result = NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (!result)
		support->isSupportedDevice = 0;
	return result;
}
