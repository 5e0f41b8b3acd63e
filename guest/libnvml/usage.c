// SPDX-License-Identifier: Apache-2.0
// The tenant's use of the device: memory, load, samples of both. Other tenants are not seen. Runs in the
// guest program, any thread.
#include "guest/libnvml/libnvml.h"

// ---- memory: the tenant's quota, or what it sees of the card

static nvmlReturn_t look_memory(nvmlDevice_t device, const void *answer, nvmlMemory_v2_t *ret)
{
	struct device_state s;
	nvmlReturn_t result = nv_look_answer(device, answer, &s);
	const uint64_t *v = s.values.value;

	if (result)
		return result;
	if (!device_value_known(&s.values, DEVICE_MEMORY_TOTAL) ||
	    !device_value_known(&s.values, DEVICE_MEMORY_FREE) ||
	    !device_value_known(&s.values, DEVICE_MEMORY_USED))
		return NVML_ERROR_NOT_SUPPORTED;
	ret->total = v[DEVICE_MEMORY_TOTAL];
	ret->free = v[DEVICE_MEMORY_FREE] < ret->total ? v[DEVICE_MEMORY_FREE] : ret->total;
	ret->used = ret->total - ret->free;
	if (v[DEVICE_MEMORY_USED] < ret->used)
		ret->used = v[DEVICE_MEMORY_USED];
	ret->reserved = ret->total - ret->free - ret->used; // not its own, yet not to be had
	return NVML_SUCCESS;
}

// Reserved memory counts as used here.
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
	nvmlMemory_v2_t all;
	nvmlReturn_t result = look_memory(device, memory, &all);

	if (!result)
		*memory = (nvmlMemory_t){ all.total, all.free, all.used + all.reserved };
	return result;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
	nvmlMemory_v2_t all = { .version = NVML_VERSION(nvmlMemory_v2_t, 2) };
	nvmlReturn_t result = nv_ready_answer(device, memory);

	if (!result && memory->version != all.version)
		result = NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (!result)
		result = look_memory(device, memory, &all);
	if (!result)
		*memory = all;
	return result;
}

// The aperture is the host's: nothing in it is a tenant's.
nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, nvmlBAR1Memory_t *memory)
{
	unsigned long long total;
	nvmlReturn_t result = nv_ready_answer(device, memory);

	if (!result)
		result = nv_wide_value(device, DEVICE_BAR1_TOTAL, &total);
	if (!result)
		*memory = (nvmlBAR1Memory_t){ .bar1Total = total, .bar1Free = total };
	return result;
}

nvmlReturn_t nvmlDeviceGetConfComputeProtectedMemoryUsage(nvmlDevice_t device, nvmlMemory_t *memory)
{
	nvmlReturn_t result = nv_ready_answer(device, memory);

	if (!result)
		*memory = (nvmlMemory_t){ 0 };
	return result;
}

// ---- load

// How busy the memory is, no one knows for a tenant: it is told as 0 beside the load, which is known.
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization)
{
	unsigned int busy;
	nvmlReturn_t result = nv_ready_answer(device, utilization);

	if (!result)
		result = nv_value(device, DEVICE_GPU_BUSY, &busy);
	if (!result)
		*utilization = (nvmlUtilization_t){ .gpu = busy / 100 };
	return result;
}

// A tenant has no video engines; the other calls about them are this one.
nvmlReturn_t nvmlDeviceGetEncoderUtilization(nvmlDevice_t device, unsigned int *utilization,
					     unsigned int *period_us)
{
	nvmlReturn_t result = nv_ready_answer(device, utilization);

	if (!result)
		result = nv_constant(device, 0, period_us);
	if (!result)
		*utilization = 0;
	return result;
}

nvmlReturn_t nvmlDeviceGetEncoderStats(nvmlDevice_t device, unsigned int *count, unsigned int *average_fps,
				       unsigned int *average_latency)
{
	nvmlReturn_t result = nv_ready_answer(device, count);

	if (!result)
		result = nv_ready_answer(device, average_fps);
	if (!result)
		result = nv_ready_answer(device, average_latency);
	if (!result)
		*count = *average_fps = *average_latency = 0;
	return result;
}

nvmlReturn_t nvmlDeviceGetEncoderSessions(nvmlDevice_t device, unsigned int *count, void *sessions)
{
	nvmlReturn_t result = nv_ready_device(device);

	return result ? result : nv_room(0, count, sessions);
}

nvmlReturn_t nvmlDeviceGetFBCStats(nvmlDevice_t device, nvmlFBCStats_t *stats)
{
	nvmlReturn_t result = nv_ready_answer(device, stats);

	if (!result)
		*stats = (nvmlFBCStats_t){ 0 };
	return result;
}

// ---- samples: the latest reading is the only one

static nvmlReturn_t latest(const struct device_state *s, nvmlSamplingType_t type, nvmlSample_t *ret)
{
	static const struct {
		enum device_value which;
		unsigned int divisor;
	} kinds[NVML_SAMPLINGTYPE_COUNT] = {
		[NVML_TOTAL_POWER_SAMPLES] = { DEVICE_POWER_DRAW, 1 },
		[NVML_GPU_UTILIZATION_SAMPLES] = { DEVICE_GPU_BUSY, 100 },
		[NVML_PROCESSOR_CLK_SAMPLES] = { DEVICE_CLOCK_SM, 1 },
		[NVML_MEMORY_CLK_SAMPLES] = { DEVICE_CLOCK_MEMORY, 1 },
	};
	unsigned int value;
	nvmlReturn_t result;

	if (!kinds[type].divisor)
		return NVML_ERROR_NOT_SUPPORTED;
	result = nv_known(s, kinds[type].which, &value);
	if (result)
		return result;
	ret->sampleValue = (nvmlValue_t){ .uiVal = value / kinds[type].divisor };
	ret->timeStamp = nv_now_us();
	if (type != NVML_GPU_UTILIZATION_SAMPLES && s->age_ns != UINT64_MAX)
		ret->timeStamp -= s->age_ns / 1000;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetSamples(nvmlDevice_t device, nvmlSamplingType_t type, unsigned long long last_seen,
				  nvmlValueType_t *value_type, unsigned int *count, nvmlSample_t *samples)
{
	struct device_state s;
	nvmlSample_t sample;
	nvmlReturn_t result = nv_ready_answer(device, value_type);

	if (!result && (!count || type >= NVML_SAMPLINGTYPE_COUNT))
		result = NVML_ERROR_INVALID_ARGUMENT;
	if (!result)
		result = nv_look(&s);
	if (!result)
		result = latest(&s, type, &sample);
	if (result)
		return result;
	if (sample.timeStamp <= last_seen)
		return NVML_ERROR_NOT_FOUND;
	*value_type = NVML_VALUE_TYPE_UNSIGNED_INT;
	if (samples && !*count)
		return NVML_ERROR_INSUFFICIENT_SIZE;
	*count = 1;
	if (samples)
		*samples = sample;
	return NVML_SUCCESS;
}
