// SPDX-License-Identifier: Apache-2.0
// The tenant's programs that use the device. Those of other tenants, and those whose pid means nothing in the
// asker's pid namespace, are not there. Runs in the guest program, any thread.
#include "guest/libnvml/libnvml.h"

// Looks and sees to the room: SUCCESS with *ret_n rows that fit in the caller's list.
static nvmlReturn_t begin_list(nvmlDevice_t device, unsigned int *count, const void *list,
			       struct device_process *rows, unsigned int *ret_n)
{
	nvmlReturn_t result = nv_ready_answer(device, count);

	if (!result && *count && !list)
		result = NVML_ERROR_INVALID_ARGUMENT;
	if (!result)
		result = nv_look_processes(rows, ret_n);
	return result ? result : nv_room(*ret_n, count, list);
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses(nvmlDevice_t device, unsigned int *count,
						  nvmlProcessInfo_v1_t *infos)
{
	struct device_process rows[VGPU_MAX_CHANNELS_PER_TENANT];
	unsigned int n;
	nvmlReturn_t result = begin_list(device, count, infos, rows, &n);

	for (unsigned int i = 0; !result && i < n; i++)
		infos[i] = (nvmlProcessInfo_v1_t){ (unsigned int)rows[i].pid, rows[i].memory_bytes };
	return result;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count,
						     nvmlProcessInfo_t *infos)
{
	struct device_process rows[VGPU_MAX_CHANNELS_PER_TENANT];
	unsigned int n;
	nvmlReturn_t result = begin_list(device, count, infos, rows, &n);

	for (unsigned int i = 0; !result && i < n; i++)
		infos[i] = (nvmlProcessInfo_t){ (unsigned int)rows[i].pid, rows[i].memory_bytes,
						NVML_NO_INSTANCE, NVML_NO_INSTANCE };
	return result;
}

// No graphics, no MPS: the calls about MPS are these.
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses(nvmlDevice_t device, unsigned int *count,
						   nvmlProcessInfo_v1_t *infos)
{
	nvmlReturn_t result = nv_ready_device(device);

	return result ? result : nv_room(0, count, infos);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device, unsigned int *count,
						      nvmlProcessInfo_t *infos)
{
	nvmlReturn_t result = nv_ready_device(device);

	return result ? result : nv_room(0, count, infos);
}

nvmlReturn_t nvmlDeviceGetRunningProcessDetailList(nvmlDevice_t device, nvmlProcessDetailList_t *list)
{
	struct device_process rows[VGPU_MAX_CHANNELS_PER_TENANT];
	unsigned int n;
	nvmlReturn_t result = nv_ready_answer(device, list);

	if (result)
		return result;
	if (list->version != NVML_VERSION(nvmlProcessDetailList_t, 1))
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (list->mode > 2)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (list->mode)
		return nv_room(0, &list->numProcArrayEntries, list->procArray);
	result = begin_list(device, &list->numProcArrayEntries, list->procArray, rows, &n);
	for (unsigned int i = 0; !result && i < n; i++)
		list->procArray[i] =
		    (nvmlProcessDetail_v1_t){ (unsigned int)rows[i].pid, rows[i].memory_bytes,
					      NVML_NO_INSTANCE, NVML_NO_INSTANCE, 0 };
	return result;
}

// ---- their load; those of which it is not known yet are left out

static nvmlReturn_t look_busy(struct device_process *rows, unsigned int *ret_n)
{
	unsigned int n, kept = 0;
	nvmlReturn_t result = nv_look_processes(rows, &n);

	if (result)
		return result;
	for (unsigned int i = 0; i < n; i++)
		if (rows[i].valid & DEVICE_PROCESS_BUSY)
			rows[kept++] = rows[i];
	*ret_n = kept;
	return kept ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, nvmlProcessUtilizationSample_t *utilization,
					     unsigned int *count, unsigned long long last_seen)
{
	struct device_process rows[VGPU_MAX_CHANNELS_PER_TENANT];
	unsigned long long now = nv_now_us();
	unsigned int n;
	nvmlReturn_t result = nv_ready_answer(device, count);

	if (!result && *count && !utilization)
		result = NVML_ERROR_INVALID_ARGUMENT;
	if (!result && last_seen >= now)
		result = NVML_ERROR_NOT_FOUND;
	if (!result)
		result = look_busy(rows, &n);
	if (!result)
		result = nv_room(n, count, utilization);
	for (unsigned int i = 0; !result && i < n; i++)
		utilization[i] = (nvmlProcessUtilizationSample_t){ .pid = (unsigned int)rows[i].pid,
								   .timeStamp = now,
								   .smUtil = rows[i].busy / 100 };
	return result;
}

nvmlReturn_t nvmlDeviceGetProcessesUtilizationInfo(nvmlDevice_t device, nvmlProcessesUtilizationInfo_t *info)
{
	struct device_process rows[VGPU_MAX_CHANNELS_PER_TENANT];
	unsigned long long now = nv_now_us();
	unsigned int n;
	nvmlReturn_t result = nv_ready_answer(device, info);

	if (!result && info->version != NVML_VERSION(nvmlProcessesUtilizationInfo_t, 1))
		result = NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (!result && info->processSamplesCount && !info->procUtilArray)
		result = NVML_ERROR_INVALID_ARGUMENT;
	if (!result && info->lastSeenTimeStamp >= now)
		result = NVML_ERROR_NOT_FOUND;
	if (!result)
		result = look_busy(rows, &n);
	if (!result)
		result = nv_room(n, &info->processSamplesCount, info->procUtilArray);
	for (unsigned int i = 0; !result && i < n; i++)
		info->procUtilArray[i] = (nvmlProcessUtilizationInfo_v1_t){ .timeStamp = now,
									    .pid = (unsigned int)rows[i].pid,
									    .smUtil = rows[i].busy / 100 };
	return result;
}
