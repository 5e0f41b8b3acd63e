// SPDX-License-Identifier: Apache-2.0
// Loading libnvidia-ml.so.1; see the header.
#include "guest/smi/nvml.h"

#include <dlfcn.h>
#include <string.h>

struct smi_nvml smi_nvml;

// The address of a function in a pointer of its type; 4 bytes of dlsym's void pointer are no function pointer
// in ISO C, so the bytes are copied.
static void find(void *library, const char *name, void *pointer)
{
	void *symbol = dlsym(library, name);

	memcpy(pointer, &symbol, sizeof(symbol));
}

nvmlReturn_t smi_nvml_open(void)
{
	void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return NVML_ERROR_LIBRARY_NOT_FOUND;
#define NVML_CALL(name, params) find(library, #name, &smi_nvml.name);
#include "protocol/nvml/nvml_calls.def"
#undef NVML_CALL
	return NVML(nvmlInit_v2);
}

void smi_nvml_close(void)
{
	NVML(nvmlShutdown);
}

const char *smi_nvml_text(nvmlReturn_t result)
{
	switch ((int)result) {
#define NVML_RESULT(code, name, text) \
	case code: return text;
#include "protocol/nvml/nvml_results.def"
#undef NVML_RESULT
	default: return "Unknown Error";
	}
}
