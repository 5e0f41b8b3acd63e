// SPDX-License-Identifier: Apache-2.0
// What is not about a device: versions, error texts, program names, confidential computing, units. Runs in
// the guest program, any thread.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest/libnvml/libnvml.h"
#include "protocol/cuda/cuda_abi.h"

// The driver whose interface this is. Told where the host has no driver whose version it could tell.
#define INTERFACE_VERSION "580.0"

const char *nvmlErrorString(nvmlReturn_t result)
{
	switch (result) {
#define NVML_RESULT(code, name, text) \
	case name: return text;
#include "protocol/nvml/nvml_results.def"
#undef NVML_RESULT
	}
	return "Unknown Error";
}

static nvmlReturn_t ready(const void *answer)
{
	nvmlReturn_t result = nv_ready();

	if (result)
		return result;
	return answer ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

static nvmlReturn_t driver_version(char ret[NVML_DRIVER_VERSION_BYTES])
{
	struct device_state s;
	nvmlReturn_t result = nv_look(&s);

	if (!result)
		snprintf(ret, NVML_DRIVER_VERSION_BYTES, "%s",
			 s.texts.driver[0] ? s.texts.driver : INTERFACE_VERSION);
	return result;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
	char text[NVML_DRIVER_VERSION_BYTES];
	nvmlReturn_t result = ready(version);

	if (!result)
		result = driver_version(text);
	return result ? result : nv_text(text, version, length);
}

// The major version of CUDA before the driver's, as the library that comes with a driver has it.
nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length)
{
	char driver[NVML_DRIVER_VERSION_BYTES], text[NVML_NVML_VERSION_BYTES + 8];
	nvmlReturn_t result = ready(version);

	if (!result)
		result = driver_version(driver);
	if (result)
		return result;
	snprintf(text, sizeof(text), "%d.%s", CUDA_ABI_VERSION / 1000, driver);
	return nv_text(text, version, length);
}

// Of the libcuda.so.1 beside this library, which may know less than the host's driver.
nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version)
{
	nvmlReturn_t result = ready(version);

	if (!result)
		*version = CUDA_ABI_VERSION;
	return result;
}

nvmlReturn_t nv_program_name(unsigned int pid, char *ret, unsigned int length)
{
	cleanup_fd int fd = -1;
	char path[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%u/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NVML_ERROR_NOT_FOUND;
	n = read(fd, ret, length - 1);
	if (n <= 0)
		return NVML_ERROR_NOT_FOUND;
	ret[n] = '\0';
	return NVML_SUCCESS;
}

// Longer names are cut off at the buffer's end.
nvmlReturn_t nvmlSystemGetProcessName(unsigned int pid, char *name, unsigned int length)
{
	nvmlReturn_t result = nv_ready();

	if (result)
		return result;
	return name && length ? nv_program_name(pid, name, length) : NVML_ERROR_INVALID_ARGUMENT;
}

// ---- confidential computing: none

nvmlReturn_t nvmlSystemGetConfComputeCapabilities(nvmlConfComputeSystemCaps_t *capabilities)
{
	nvmlReturn_t result = ready(capabilities);

	if (!result)
		*capabilities = (nvmlConfComputeSystemCaps_t){ 0 };
	return result;
}

nvmlReturn_t nvmlSystemGetConfComputeState(nvmlConfComputeSystemState_t *state)
{
	nvmlReturn_t result = ready(state);

	if (!result)
		*state = (nvmlConfComputeSystemState_t){ 0 };
	return result;
}

nvmlReturn_t nvmlSystemGetConfComputeSettings(nvmlSystemConfComputeSettings_t *settings)
{
	nvmlReturn_t result = ready(settings);

	if (!result && settings->version != NVML_VERSION(nvmlSystemConfComputeSettings_t, 1))
		result = NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (!result)
		*settings = (nvmlSystemConfComputeSettings_t){ .version = settings->version };
	return result;
}

// ---- units, bridge cards, devices kept from use: none

nvmlReturn_t nvmlSystemGetHicVersion(unsigned int *count, nvmlHwbcEntry_t *entries)
{
	nvmlReturn_t result = nv_ready();

	return result ? result : nv_room(0, count, entries);
}

static nvmlReturn_t none(unsigned int *count)
{
	nvmlReturn_t result = ready(count);

	if (!result)
		*count = 0;
	return result;
}

nvmlReturn_t nvmlUnitGetCount(unsigned int *count)
{
	return none(count);
}

nvmlReturn_t nvmlGetExcludedDeviceCount(unsigned int *count)
{
	return none(count);
}

nvmlReturn_t nvmlGetExcludedDeviceInfoByIndex(unsigned int index, nvmlExcludedDeviceInfo_t *info)
{
	(void)index;
	(void)info;
	return nv_refuse(NVML_ERROR_INVALID_ARGUMENT);
}
