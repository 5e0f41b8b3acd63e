// SPDX-License-Identifier: Apache-2.0
// How the card is: temperature, clocks, fans, memory errors, PCIe. Runs in the guest program, any thread.
// What is one plain number is in calls.yaml.
#include "guest/libnvml/libnvml.h"

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, nvmlTemperatureSensors_t sensor,
				      unsigned int *temp)
{
	nvmlReturn_t result = nv_ready_answer(device, temp);

	if (!result && sensor != NVML_TEMPERATURE_GPU)
		result = NVML_ERROR_INVALID_ARGUMENT;
	return result ? result : nv_value(device, DEVICE_TEMPERATURE, temp);
}

nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *temperature)
{
	unsigned int degrees;
	nvmlReturn_t result = nv_ready_answer(device, temperature);

	if (!result && temperature->version != NVML_VERSION(nvmlTemperature_t, 1))
		result = NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (!result)
		result = nvmlDeviceGetTemperature(device, temperature->sensorType, &degrees);
	if (!result)
		temperature->temperature = (int)degrees;
	return result;
}

nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, nvmlTemperatureThresholds_t type,
					       unsigned int *temp)
{
	static const enum device_value which[] = {
		[NVML_TEMPERATURE_THRESHOLD_SHUTDOWN] = DEVICE_TEMPERATURE_SHUTDOWN,
		[NVML_TEMPERATURE_THRESHOLD_SLOWDOWN] = DEVICE_TEMPERATURE_SLOWDOWN,
		[NVML_TEMPERATURE_THRESHOLD_MEM_MAX] = DEVICE_TEMPERATURE_MEMORY_MAX,
		[NVML_TEMPERATURE_THRESHOLD_GPU_MAX] = DEVICE_TEMPERATURE_GPU_MAX,
	};
	nvmlReturn_t result = nv_ready_answer(device, temp);

	if (!result && type >= NVML_TEMPERATURE_THRESHOLD_COUNT)
		result = NVML_ERROR_INVALID_ARGUMENT;
	if (!result && type > NVML_TEMPERATURE_THRESHOLD_GPU_MAX)
		result = NVML_ERROR_NOT_SUPPORTED;
	return result ? result : nv_value(device, which[type], temp);
}

// On where there is a limit that could be managed.
nvmlReturn_t nvmlDeviceGetPowerManagementMode(nvmlDevice_t device, nvmlEnableState_t *mode)
{
	unsigned int limit;
	nvmlReturn_t result = nv_ready_answer(device, mode);

	if (!result)
		result = nv_value(device, DEVICE_POWER_LIMIT, &limit);
	if (!result)
		*mode = NVML_FEATURE_ENABLED;
	return result;
}

// ---- clocks

static nvmlReturn_t clock_of(nvmlDevice_t device, const enum device_value which[NVML_CLOCK_COUNT],
			     nvmlClockType_t type, unsigned int *mhz)
{
	nvmlReturn_t result = nv_ready_answer(device, mhz);

	if (!result && type >= NVML_CLOCK_COUNT)
		result = NVML_ERROR_INVALID_ARGUMENT;
	if (!result && which[type] == DEVICE_VALUES)
		result = NVML_ERROR_NOT_SUPPORTED;
	return result ? result : nv_value(device, which[type], mhz);
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *mhz)
{
	static const enum device_value which[] = { DEVICE_CLOCK_GRAPHICS, DEVICE_CLOCK_SM,
						   DEVICE_CLOCK_MEMORY, DEVICE_CLOCK_VIDEO };

	return clock_of(device, which, type, mhz);
}

nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *mhz)
{
	static const enum device_value which[] = { DEVICE_CLOCK_GRAPHICS_MAX, DEVICE_CLOCK_SM_MAX,
						   DEVICE_CLOCK_MEMORY_MAX, DEVICE_CLOCK_VIDEO_MAX };

	return clock_of(device, which, type, mhz);
}

nvmlReturn_t nvmlDeviceGetApplicationsClock(nvmlDevice_t device, nvmlClockType_t type, unsigned int *mhz)
{
	static const enum device_value which[] = { DEVICE_CLOCK_APPLICATION_GRAPHICS,
						   DEVICE_CLOCK_APPLICATION_GRAPHICS,
						   DEVICE_CLOCK_APPLICATION_MEMORY, DEVICE_VALUES };

	return clock_of(device, which, type, mhz);
}

nvmlReturn_t nvmlDeviceGetDefaultApplicationsClock(nvmlDevice_t device, nvmlClockType_t type,
						   unsigned int *mhz)
{
	static const enum device_value which[] = { DEVICE_CLOCK_DEFAULT_GRAPHICS,
						   DEVICE_CLOCK_DEFAULT_GRAPHICS, DEVICE_CLOCK_DEFAULT_MEMORY,
						   DEVICE_VALUES };

	return clock_of(device, which, type, mhz);
}

nvmlReturn_t nvmlDeviceGetClock(nvmlDevice_t device, nvmlClockType_t type, nvmlClockId_t id,
				unsigned int *mhz)
{
	nvmlReturn_t result = nv_ready_answer(device, mhz);

	if (result)
		return result;
	if (type >= NVML_CLOCK_COUNT || id >= NVML_CLOCK_ID_COUNT)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (id == NVML_CLOCK_ID_CURRENT)
		return nvmlDeviceGetClockInfo(device, type, mhz);
	if (id == NVML_CLOCK_ID_APP_CLOCK_TARGET)
		return nvmlDeviceGetApplicationsClock(device, type, mhz);
	if (id == NVML_CLOCK_ID_APP_CLOCK_DEFAULT)
		return nvmlDeviceGetDefaultApplicationsClock(device, type, mhz);
	return NVML_ERROR_NOT_SUPPORTED;
}

// ---- fans: one speed is told for all

nvmlReturn_t nvmlDeviceGetFanSpeed_v2(nvmlDevice_t device, unsigned int fan, unsigned int *speed)
{
	struct device_state s;
	unsigned int fans;
	nvmlReturn_t result = nv_look_answer(device, speed, &s);

	if (!result)
		result = nv_known(&s, DEVICE_FANS, &fans);
	if (!result && fan >= fans)
		result = NVML_ERROR_INVALID_ARGUMENT;
	return result ? result : nv_known(&s, DEVICE_FAN_SPEED, speed);
}

// ---- memory errors

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t error,
					 nvmlEccCounterType_t counter, unsigned long long *counts)
{
	static const enum device_value which[2][2] = {
		{ DEVICE_ECC_VOLATILE_CORRECTED, DEVICE_ECC_AGGREGATE_CORRECTED },
		{ DEVICE_ECC_VOLATILE_UNCORRECTED, DEVICE_ECC_AGGREGATE_UNCORRECTED },
	};
	nvmlReturn_t result = nv_ready_answer(device, counts);

	if (!result && (error >= NVML_MEMORY_ERROR_TYPE_COUNT || counter >= NVML_ECC_COUNTER_TYPE_COUNT))
		result = NVML_ERROR_INVALID_ARGUMENT;
	return result ? result : nv_wide_value(device, which[error][counter], counts);
}

// The host is asked in the old form, which knows of no rows that are remapped and not in use.
nvmlReturn_t nvmlDeviceGetRemappedRows_v2(nvmlDevice_t device, nvmlRemappedRowsInfo_v2_t *info)
{
	nvmlRemappedRowsInfo_v2_t rows = { 0 };
	nvmlReturn_t result = nv_ready_answer(device, info);

	if (!result)
		result = nvmlDeviceGetRemappedRows(device, &rows.corrActiveRemaps, &rows.uncActiveRemaps,
						   &rows.bPending, &rows.bFailureOccurred);
	if (!result)
		*info = rows;
	return result;
}

// ---- PCIe

// Of one lane, megabits a second.
nvmlReturn_t nvmlDeviceGetPcieSpeed(nvmlDevice_t device, unsigned int *mbps)
{
	static const unsigned int speeds[] = { 0, 2500, 5000, 8000, 16000, 32000, 64000 };
	unsigned int generation;
	nvmlReturn_t result = nv_ready_answer(device, mbps);

	if (!result)
		result = nv_value(device, DEVICE_PCIE_GENERATION, &generation);
	if (!result && (!generation || generation >= sizeof(speeds) / sizeof(speeds[0])))
		result = NVML_ERROR_NOT_SUPPORTED;
	if (!result)
		*mbps = speeds[generation];
	return result;
}
