// SPDX-License-Identifier: Apache-2.0
// The programs that use a GPU, compute ones first.
#include <stdio.h>
#include <stdlib.h>

#include "guest/smi/facts.h"

#define ROOM_TRIES 4 // programs come while they are counted

typedef nvmlReturn_t list_function(nvmlDevice_t, unsigned int *, nvmlProcessInfo_t *);

// Appends one list. The library's answer; memory that grew is the caller's either way.
static nvmlReturn_t append(const struct smi_gpu *gpu, list_function *list, char type,
			   struct smi_process **all, unsigned int *count)
{
	nvmlProcessInfo_t *infos = NULL;
	nvmlReturn_t result = NVML_ERROR_INSUFFICIENT_SIZE;
	struct smi_process *more;
	unsigned int n = 0;

	if (!list)
		return NVML_ERROR_FUNCTION_NOT_FOUND;
	for (int i = 0; i < ROOM_TRIES && result == NVML_ERROR_INSUFFICIENT_SIZE; i++) {
		unsigned int room = n + 8; // some more than there were

		free(infos);
		infos = calloc(room, sizeof(*infos));
		if (!infos)
			return NVML_ERROR_MEMORY;
		n = room;
		result = list(gpu->handle, &n, infos);
	}
	if (!result && n) {
		more = realloc(*all, (*count + n) * sizeof(**all));
		if (more)
			*all = more;
		else
			result = NVML_ERROR_MEMORY;
	}
	for (unsigned int i = 0; !result && i < n; i++) {
		struct smi_process *p = &(*all)[(*count)++];

		p->pid = infos[i].pid;
		p->type = type;
		p->memory = infos[i].usedGpuMemory;
		if (NVML(nvmlSystemGetProcessName, p->pid, p->name, sizeof(p->name)) || !p->name[0])
			snprintf(p->name, sizeof(p->name), "[Not Found]");
	}
	free(infos);
	return result;
}

nvmlReturn_t smi_processes(const struct smi_gpu *gpu, struct smi_process **ret, unsigned int *ret_count)
{
	nvmlReturn_t result;

	*ret = NULL;
	*ret_count = 0;
	result = append(gpu, smi_nvml.nvmlDeviceGetComputeRunningProcesses_v3, 'C', ret, ret_count);
	if (result)
		return result;
	// Not every library tells of graphics; what is known stands.
	append(gpu, smi_nvml.nvmlDeviceGetGraphicsRunningProcesses_v3, 'G', ret, ret_count);
	return NVML_SUCCESS;
}
