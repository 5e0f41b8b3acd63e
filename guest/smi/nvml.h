// SPDX-License-Identifier: Apache-2.0
// The functions of libnvidia-ml.so.1, found when the tool starts: it shows what that library says and nothing
// else, so it works on ours and on any other.
#ifndef VGPU_SMI_NVML_H
#define VGPU_SMI_NVML_H

#include "protocol/nvml/nvml_abi.h"

struct smi_nvml {
#define NVML_CALL(name, params) nvmlReturn_t(*name) params;
#include "protocol/nvml/nvml_calls.def"
#undef NVML_CALL
};
extern struct smi_nvml smi_nvml; // NULL where the library lacks a function

// One call; NVML_ERROR_FUNCTION_NOT_FOUND where the library lacks it.
#define NVML(name, ...) (smi_nvml.name ? smi_nvml.name(__VA_ARGS__) : NVML_ERROR_FUNCTION_NOT_FOUND)

// Loads the library by its name (the loader's search path decides which) and initialises it.
// NVML_ERROR_LIBRARY_NOT_FOUND, or what nvmlInit_v2 says.
nvmlReturn_t smi_nvml_open(void);
void smi_nvml_close(void);

const char *smi_nvml_text(nvmlReturn_t result);

#endif
