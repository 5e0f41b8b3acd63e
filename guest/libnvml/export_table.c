// SPDX-License-Identifier: Apache-2.0
// nvmlInternalGetExportTable, and the functions of its table that nvidia-smi 580 needs: undocumented, known
// from watching it (which words it calls, what it does with the answers). Runs in the guest program, any
// thread.
#include "guest/libnvml/export_table.h"

#include <string.h>

nvmlReturn_t nvmlInternalGetExportTable(const void **table, const void *id)
{
	static _Atomic int told;
	const uint8_t *b = id;

	if (!table)
		return NVML_ERROR_INVALID_ARGUMENT;
	*table = NULL;
	if (!id)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (memcmp(id, export_table_uuid, sizeof(export_table_uuid)) == 0) {
		*table = export_table;
		return NVML_SUCCESS;
	}
	if (!atomic_exchange(&told, 1))
		nv_log("nvmlInternalGetExportTable: no table "
		       "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		       b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
		       b[14], b[15]);
	return NVML_ERROR_NOT_FOUND;
}

// Called around each section of what nvidia-smi prints; it asks for nothing.
nvmlReturn_t export_section(void)
{
	return nv_ready();
}

nvmlReturn_t export_device(unsigned int index, nvmlDevice_t *device)
{
	return nvmlDeviceGetHandleByIndex_v2(index, device);
}

// The count is the list's room, then how many there are; more than fit are left out.
nvmlReturn_t export_compute_processes(nvmlDevice_t device, unsigned int *count, struct export_process *list)
{
	struct device_process rows[VGPU_MAX_CHANNELS_PER_TENANT];
	unsigned int n;
	nvmlReturn_t result = nv_ready_answer(device, count);

	if (!result && *count && !list)
		result = NVML_ERROR_INVALID_ARGUMENT;
	if (!result)
		result = nv_look_processes(rows, &n);
	if (result)
		return result;
	if (n < *count)
		*count = n;
	for (unsigned int i = 0; i < *count; i++) {
		struct export_process *p = &list[i];

		p->detail = (nvmlProcessDetail_v1_t){ (unsigned int)rows[i].pid, rows[i].memory_bytes,
						      NVML_NO_INSTANCE, NVML_NO_INSTANCE, 0 };
		if (nv_program_name((unsigned int)rows[i].pid, p->name, sizeof(p->name)))
			memcpy(p->name, rows[i].name, sizeof(rows[i].name));
	}
	return NVML_SUCCESS;
}

nvmlReturn_t export_no_processes(nvmlDevice_t device, unsigned int *count, struct export_process *list)
{
	(void)list;
	return nv_constant(device, 0, count);
}

nvmlReturn_t export_absent(void)
{
	return nv_refuse(NVML_ERROR_NOT_SUPPORTED);
}
