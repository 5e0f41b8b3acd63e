// SPDX-License-Identifier: Apache-2.0
// A libnvidia-ml.so.1 of one card whose every value is fixed, so that nvidia-smi's screens can be compared to
// the letter. The values are those that an H200 gave once, with a program on it. What it has not answers as a
// library that lacks the function does. VGPU_FAKE_NVML=off: as without a driver; idle: no program.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/nvml/nvml_abi.h"

#define FAKE			__attribute__((visibility("default")))
#define NVML_CALL(name, params) FAKE nvmlReturn_t name params;
#include "protocol/nvml/nvml_calls.def"
#undef NVML_CALL

#define MIB 1048576ull

static nvmlDevice_t the_card(void)
{
	static char card;

	return (nvmlDevice_t)(void *)&card;
}

static int fake_is(const char *what)
{
	const char *mode = getenv("VGPU_FAKE_NVML");

	return mode && !strcmp(mode, what);
}

static nvmlReturn_t text(char *ret, unsigned int bytes, const char *value)
{
	return (unsigned int)snprintf(ret, bytes, "%s", value) < bytes ? NVML_SUCCESS
								       : NVML_ERROR_INSUFFICIENT_SIZE;
}

nvmlReturn_t nvmlInit_v2(void)
{
	return fake_is("off") ? NVML_ERROR_DRIVER_NOT_LOADED : NVML_SUCCESS;
}

nvmlReturn_t nvmlShutdown(void)
{
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
	return text(version, length, "580.159.04");
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length)
{
	return text(version, length, "13.580.159.04");
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version)
{
	*version = 13000;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlSystemGetProcessName(unsigned int pid, char *name, unsigned int length)
{
	if (pid == 444)
		return text(name, length, "python3");
	return text(name, length, "/home/someone/miniconda3/envs/training/bin/python3.12");
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count)
{
	*count = 1;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
	*device = the_card();
	return index ? NVML_ERROR_INVALID_ARGUMENT : NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
	*device = the_card();
	return strcmp(uuid, "GPU-702f6684-ac23-71c0-ed03-054a54426bb6") ? NVML_ERROR_NOT_FOUND : NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *device)
{
	*device = the_card();
	return strcmp(bus_id, "00000000:00:06.0") ? NVML_ERROR_NOT_FOUND : NVML_SUCCESS;
}

#define TEXT_CALL(function, value)                                                                    \
	nvmlReturn_t function(nvmlDevice_t device, char *ret, unsigned int length)                    \
	{                                                                                             \
		return device == the_card() ? text(ret, length, value) : NVML_ERROR_INVALID_ARGUMENT; \
	}
TEXT_CALL(nvmlDeviceGetName, "NVIDIA H200")
TEXT_CALL(nvmlDeviceGetSerial, "1653724059356")
TEXT_CALL(nvmlDeviceGetUUID, "GPU-702f6684-ac23-71c0-ed03-054a54426bb6")
TEXT_CALL(nvmlDeviceGetVbiosVersion, "96.00.A5.00.1A")
TEXT_CALL(nvmlDeviceGetBoardPartNumber, "692-2G520-0282-000")

#define NUMBER_CALL(function, value)                                                      \
	nvmlReturn_t function(nvmlDevice_t device, unsigned int *ret)                     \
	{                                                                                 \
		*ret = (value);                                                           \
		return device == the_card() ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT; \
	}
NUMBER_CALL(nvmlDeviceGetIndex, 0)
NUMBER_CALL(nvmlDeviceGetBrand, NVML_BRAND_NVIDIA)
NUMBER_CALL(nvmlDeviceGetArchitecture, NVML_DEVICE_ARCH_HOPPER)
NUMBER_CALL(nvmlDeviceGetMinorNumber, 0)
NUMBER_CALL(nvmlDeviceGetBoardId, 6)
NUMBER_CALL(nvmlDeviceGetMultiGpuBoard, 0)
NUMBER_CALL(nvmlDeviceGetPersistenceMode, 1)
NUMBER_CALL(nvmlDeviceGetDisplayActive, 0)
NUMBER_CALL(nvmlDeviceGetComputeMode, NVML_COMPUTEMODE_DEFAULT)
NUMBER_CALL(nvmlDeviceGetVirtualizationMode, NVML_GPU_VIRTUALIZATION_MODE_PASSTHROUGH)
NUMBER_CALL(nvmlDeviceGetPerformanceState, 0)
NUMBER_CALL(nvmlDeviceGetPowerUsage, 385990)
NUMBER_CALL(nvmlDeviceGetEnforcedPowerLimit, 700000)
NUMBER_CALL(nvmlDeviceGetPowerManagementLimit, 700000)
NUMBER_CALL(nvmlDeviceGetCurrPcieLinkGeneration, 5)
NUMBER_CALL(nvmlDeviceGetMaxPcieLinkGeneration, 5)
NUMBER_CALL(nvmlDeviceGetCurrPcieLinkWidth, 16)
NUMBER_CALL(nvmlDeviceGetMaxPcieLinkWidth, 16)

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
	text(pci->busId, sizeof(pci->busId), "00000000:00:06.0");
	return device == the_card() ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetPciInfoExt(nvmlDevice_t device, nvmlPciInfoExt_t *pci)
{
	pci->bus = 0;
	pci->device = 6;
	pci->pciDeviceId = 0x233510de;
	pci->pciSubSystemId = 0x18bf10de;
	pci->baseClass = 3;
	pci->subClass = 2;
	return device == the_card() ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
	*major = 9;
	*minor = 0;
	return device == the_card() ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
	memory->total = 143771 * MIB;
	memory->reserved = 616 * MIB;
	memory->used = 2669 * MIB;
	memory->free = 140488 * MIB;
	return device == the_card() && memory->version == NVML_VERSION(nvmlMemory_v2_t, 2)
		   ? NVML_SUCCESS
		   : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization)
{
	utilization->gpu = 96;
	utilization->memory = 100;
	return device == the_card() ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, nvmlTemperatureSensors_t sensor,
				      unsigned int *temp)
{
	*temp = 40;
	return device == the_card() && sensor == NVML_TEMPERATURE_GPU ? NVML_SUCCESS
								      : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, nvmlEnableState_t *current, nvmlEnableState_t *pending)
{
	*current = *pending = 1;
	return device == the_card() ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t error,
					 nvmlEccCounterType_t counter, unsigned long long *counts)
{
	*counts = 0;
	return device == the_card() && error < 2 && counter < 2 ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending)
{
	*current = *pending = 0;
	return device == the_card() ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *mhz)
{
	static const unsigned int clocks[] = { 1980, 1980, 3201, 1545 };

	if (device != the_card() || type >= NVML_CLOCK_COUNT)
		return NVML_ERROR_INVALID_ARGUMENT;
	*mhz = clocks[type];
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetSupportedClocksEventReasons(nvmlDevice_t device, unsigned long long *reasons)
{
	*reasons = NVML_CLOCKS_ALL & ~NVML_CLOCKS_DISPLAY_SETTING;
	return device == the_card() ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t device, unsigned long long *reasons)
{
	*reasons = NVML_CLOCKS_SW_POWER_CAP;
	return device == the_card() ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned int *count,
						     nvmlProcessInfo_t *infos)
{
	unsigned int room = *count;

	if (device != the_card())
		return NVML_ERROR_INVALID_ARGUMENT;
	*count = fake_is("idle") ? 0 : 2;
	if (room < *count)
		return NVML_ERROR_INSUFFICIENT_SIZE;
	if (*count) {
		infos[0] = (nvmlProcessInfo_t){ .pid = 444, .usedGpuMemory = 2660 * MIB };
		infos[1] =
		    (nvmlProcessInfo_t){ .pid = 1234567,
					 .usedGpuMemory = (unsigned long long)NVML_VALUE_NOT_AVAILABLE };
	}
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, nvmlProcessUtilizationSample_t *utilization,
					     unsigned int *count, unsigned long long last_seen)
{
	if (device != the_card() || last_seen)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (*count < 2)
		return NVML_ERROR_INSUFFICIENT_SIZE;
	utilization[0] = (nvmlProcessUtilizationSample_t){ .pid = 444, .timeStamp = 1, .smUtil = 3 };
	utilization[1] =
	    (nvmlProcessUtilizationSample_t){ .pid = 444, .timeStamp = 2, .smUtil = 95, .memUtil = 100 };
	*count = 2;
	return NVML_SUCCESS;
}
