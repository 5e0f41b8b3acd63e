// SPDX-License-Identifier: Apache-2.0
// A libnvidia-ml.so.1 of one made-up card, for tests of what the host's library is read with. $VGPU_FAKE_NVML
// says how it behaves, looked at in each call:
//   (unset)  answers everything   none      nvmlInit fails    bus     knows the card by its place only
//   lost     the card is gone     silent    never answers when the temperature is asked for
//   noevents the card may not be registered for events
// $VGPU_FAKE_XIDS names the Xid events that are there, each told once: "48 31"; a word that is no number is
// an event of another type.
//   some     a desktop card's gaps: no ECC, MIG, memory temperature, serial; numbers that are all ones
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/nvml/nvml_abi.h"

#define EXPORT __attribute__((visibility("default")))

struct nvmlDevice_st {
	int unused;
};

static struct nvmlDevice_st card;
static unsigned int reads;

static int behaves(const char *how)
{
	const char *wanted = getenv("VGPU_FAKE_NVML");

	return wanted && strcmp(wanted, how) == 0;
}

static nvmlReturn_t enter(nvmlDevice_t device)
{
	if (device != &card)
		return NVML_ERROR_INVALID_ARGUMENT;
	return behaves("lost") ? NVML_ERROR_GPU_IS_LOST : NVML_SUCCESS;
}

static nvmlReturn_t give(nvmlDevice_t device, unsigned int *ret, unsigned int value)
{
	nvmlReturn_t result = enter(device);

	if (result == NVML_SUCCESS)
		*ret = value;
	return result;
}

static nvmlReturn_t give_text(nvmlDevice_t device, char *ret, unsigned int length, const char *text)
{
	nvmlReturn_t result = enter(device);

	if (result == NVML_SUCCESS && strlen(text) >= length)
		result = NVML_ERROR_INSUFFICIENT_SIZE;
	if (result == NVML_SUCCESS)
		snprintf(ret, length, "%s", text);
	return result;
}

// What a desktop card does not have.
static nvmlReturn_t server_only(nvmlDevice_t device)
{
	return behaves("some") ? NVML_ERROR_NOT_SUPPORTED : enter(device);
}

// Prototypes first: the names are the library's, not ours to choose.
#define U32(symbol, value)                                                  \
	EXPORT nvmlReturn_t symbol(nvmlDevice_t device, unsigned int *ret); \
	nvmlReturn_t symbol(nvmlDevice_t device, unsigned int *ret)         \
	{                                                                   \
		return give(device, ret, value);                            \
	}
#define U32_OF(symbol, value)                                                                   \
	EXPORT nvmlReturn_t symbol(nvmlDevice_t device, unsigned int which, unsigned int *ret); \
	nvmlReturn_t symbol(nvmlDevice_t device, unsigned int which, unsigned int *ret)         \
	{                                                                                       \
		return give(device, ret, value);                                                \
	}
#define PAIR(symbol, a, b)                                                                          \
	EXPORT nvmlReturn_t symbol(nvmlDevice_t device, unsigned int *first, unsigned int *second); \
	nvmlReturn_t symbol(nvmlDevice_t device, unsigned int *first, unsigned int *second)         \
	{                                                                                           \
		nvmlReturn_t result = server_only(device);                                          \
                                                                                                    \
		if (result == NVML_SUCCESS) {                                                       \
			*first = a;                                                                 \
			*second = b;                                                                \
		}                                                                                   \
		return result;                                                                      \
	}
#define U64(symbol, value)                                                        \
	EXPORT nvmlReturn_t symbol(nvmlDevice_t device, unsigned long long *ret); \
	nvmlReturn_t symbol(nvmlDevice_t device, unsigned long long *ret)         \
	{                                                                         \
		nvmlReturn_t result = enter(device);                              \
                                                                                  \
		if (result == NVML_SUCCESS)                                       \
			*ret = value;                                             \
		return result;                                                    \
	}
#define TEXT(symbol, value)                                                              \
	EXPORT nvmlReturn_t symbol(nvmlDevice_t device, char *ret, unsigned int length); \
	nvmlReturn_t symbol(nvmlDevice_t device, char *ret, unsigned int length)         \
	{                                                                                \
		return give_text(device, ret, length, value);                            \
	}

EXPORT nvmlReturn_t nvmlInit_v2(void);
nvmlReturn_t nvmlInit_v2(void)
{
	return behaves("none") ? NVML_ERROR_DRIVER_NOT_LOADED : NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device);
nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
	if (behaves("bus") || strlen(uuid) != 40 || strncmp(uuid, "GPU-", 4) != 0)
		return NVML_ERROR_NOT_FOUND;
	*device = &card;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *id, nvmlDevice_t *device);
nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *id, nvmlDevice_t *device)
{
	if (strcmp(id, "00000001:41:03.0") != 0)
		return NVML_ERROR_NOT_FOUND;
	*device = &card;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length);
nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
	return give_text(&card, version, length, "580.159.04");
}

EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version);
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version)
{
	*version = 13000;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci);
nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
	*pci = (nvmlPciInfo_t){
		.domain = 1, .bus = 0x41, .device = 3, .pciDeviceId = 0x233010de, .pciSubSystemId = 0x16c110de
	};
	return enter(device);
}

EXPORT nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned int sensor, unsigned int *ret);
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned int sensor, unsigned int *ret)
{
	while (behaves("silent"))
		pause();
	return sensor == NVML_TEMPERATURE_GPU ? give(device, ret, 40 + reads++) : NVML_ERROR_INVALID_ARGUMENT;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *m);
nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *m)
{
	if (m->version != (sizeof(*m) | 2u << 24))
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	*m = (nvmlMemory_v2_t){ .version = m->version,
				.total = 80ull << 30,
				.reserved = 1ull << 30,
				.free = 7ull << 30,
				.used = 72ull << 30 };
	return enter(device);
}

EXPORT nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, nvmlBAR1Memory_t *m);
nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, nvmlBAR1Memory_t *m)
{
	*m =
	    (nvmlBAR1Memory_t){ .bar1Total = 128ull << 30, .bar1Free = 127ull << 30, .bar1Used = 1ull << 30 };
	return enter(device);
}

EXPORT nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *u);
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *u)
{
	*u = (nvmlUtilization_t){ .gpu = 97, .memory = 31 };
	return enter(device);
}

EXPORT nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, unsigned int error, unsigned int counter,
						unsigned long long *ret);
nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, unsigned int error, unsigned int counter,
					 unsigned long long *ret)
{
	*ret = 10 * error + counter;
	return server_only(device);
}

EXPORT nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned int *corrected,
					      unsigned int *uncorrected, unsigned int *pending,
					      unsigned int *failed);
nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned int *corrected,
				       unsigned int *uncorrected, unsigned int *pending, unsigned int *failed)
{
	*corrected = 2;
	*uncorrected = 1;
	*pending = 1;
	*failed = 0;
	return server_only(device);
}

EXPORT nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values);
nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values)
{
	for (int i = 0; i < count; i++) {
		values[i].nvmlReturn =
		    values[i].fieldId == 82 ? server_only(device) : NVML_ERROR_INVALID_ARGUMENT;
		values[i].valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
		values[i].value.uiVal = 51;
	}
	return enter(device);
}

EXPORT nvmlReturn_t nvmlDeviceGetGspFirmwareVersion(nvmlDevice_t device, char *version);
nvmlReturn_t nvmlDeviceGetGspFirmwareVersion(nvmlDevice_t device, char *version)
{
	return give_text(device, version, 64, "580.159.04");
}

EXPORT nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t device, char *ret, unsigned int length);
nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t device, char *ret, unsigned int length)
{
	snprintf(ret, length, "garbage");
	return behaves("some") ? NVML_ERROR_NOT_SUPPORTED : give_text(device, ret, length, "1650000000000");
}

struct nvmlEventSet_st {
	nvmlDevice_t device;
	unsigned int told;
};

static struct nvmlEventSet_st events;

EXPORT nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set);
nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set)
{
	*set = &events;
	return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types,
					     nvmlEventSet_t set);
nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set)
{
	if (set != &events || types != NVML_EVENT_XID_CRITICAL_ERROR)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (behaves("noevents"))
		return NVML_ERROR_NOT_SUPPORTED;
	events.device = device;
	return enter(device);
}

EXPORT nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms);
nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned int timeout_ms)
{
	const char *at = getenv("VGPU_FAKE_XIDS");

	if (set != &events || !events.device || timeout_ms)
		return NVML_ERROR_INVALID_ARGUMENT;
	for (unsigned int i = 0; at && i < set->told; i++)
		at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL;
	if (!at || !*at)
		return NVML_ERROR_TIMEOUT;
	set->told++;
	*data = (nvmlEventData_t){ .device = &card, .eventType = NVML_EVENT_XID_CRITICAL_ERROR };
	data->eventData = strtoull(at, NULL, 10);
	if (!data->eventData)
		data->eventType = NVML_EVENT_PSTATE;
	return NVML_SUCCESS;
}

U32(nvmlDeviceGetBrand, NVML_BRAND_TESLA)
U32(nvmlDeviceGetArchitecture, 9)
U32(nvmlDeviceGetBoardId, 0x4100)
U32(nvmlDeviceGetMultiGpuBoard, 0)
U32(nvmlDeviceGetMinorNumber, 3)
U32(nvmlDeviceGetNumaNodeId, behaves("some") ? UINT32_MAX : 1)
U32(nvmlDeviceGetNumGpuCores, 16896)
U32(nvmlDeviceGetMemoryBusWidth, 5120)
U32(nvmlDeviceGetIrqNum, 187)
U32(nvmlDeviceGetNumFans, 0)
U32(nvmlDeviceGetPersistenceMode, 1)
U32(nvmlDeviceGetComputeMode, 0)
U32(nvmlDeviceGetDisplayMode, 0)
U32(nvmlDeviceGetDisplayActive, 0)
PAIR(nvmlDeviceGetMigMode, 0, 1)
PAIR(nvmlDeviceGetEccMode, 1, 0)
PAIR(nvmlDeviceGetGspFirmwareMode, 1, 1)
U32_OF(nvmlDeviceGetTemperatureThreshold, 85 + which)
U32(nvmlDeviceGetPerformanceState, 0)
U32(nvmlDeviceGetPowerUsage, 350123)
U32(nvmlDeviceGetPowerManagementLimit, 690000)
U32(nvmlDeviceGetEnforcedPowerLimit, 680000)
U32(nvmlDeviceGetPowerManagementDefaultLimit, 700000)
PAIR(nvmlDeviceGetPowerManagementLimitConstraints, 200000, 700000)
U64(nvmlDeviceGetTotalEnergyConsumption, 123456789012ull)
U32_OF(nvmlDeviceGetClockInfo, 1000 + which)
U32_OF(nvmlDeviceGetMaxClockInfo, 2000 + which)
U32_OF(nvmlDeviceGetApplicationsClock, 1500 + which)
U32_OF(nvmlDeviceGetDefaultApplicationsClock, 1600 + which)
U64(nvmlDeviceGetCurrentClocksThrottleReasons, 4)
U64(nvmlDeviceGetSupportedClocksThrottleReasons, 0x1ff)
U32(nvmlDeviceGetCurrPcieLinkGeneration, 4)
U32(nvmlDeviceGetMaxPcieLinkGeneration, 5)
U32(nvmlDeviceGetGpuMaxPcieLinkGeneration, 5)
U32(nvmlDeviceGetCurrPcieLinkWidth, 8)
U32(nvmlDeviceGetMaxPcieLinkWidth, 16)
U32(nvmlDeviceGetPcieReplayCounter, 6)
U32_OF(nvmlDeviceGetPcieThroughput, 100 + which)
TEXT(nvmlDeviceGetVbiosVersion, "96.00.74.00.01")
TEXT(nvmlDeviceGetBoardPartNumber, "692-2G520-0200-000")
TEXT(nvmlDeviceGetInforomImageVersion, "G520.0200.00.05")
// nvmlDeviceGetFanSpeed is not here: older and newer libraries lack functions too.
