// SPDX-License-Identifier: Apache-2.0
// nvmlDeviceGetFieldValues: values by number, each with a result of its own. Runs in the guest program, any
// thread.
#include "common/clock.h"
#include "guest/libnvml/libnvml.h"

struct field {
	unsigned int id;
	enum device_value which;
	nvmlValueType_t type;
};

static const struct field fields[] = {
	{ NVML_FI_DEV_ECC_CURRENT, DEVICE_ECC_MODE, NVML_VALUE_TYPE_UNSIGNED_INT },
	{ NVML_FI_DEV_ECC_PENDING, DEVICE_ECC_MODE_PENDING, NVML_VALUE_TYPE_UNSIGNED_INT },
	{ NVML_FI_DEV_ECC_SBE_VOL_TOTAL, DEVICE_ECC_VOLATILE_CORRECTED, NVML_VALUE_TYPE_UNSIGNED_LONG_LONG },
	{ NVML_FI_DEV_ECC_DBE_VOL_TOTAL, DEVICE_ECC_VOLATILE_UNCORRECTED,
	  NVML_VALUE_TYPE_UNSIGNED_LONG_LONG },
	{ NVML_FI_DEV_ECC_SBE_AGG_TOTAL, DEVICE_ECC_AGGREGATE_CORRECTED, NVML_VALUE_TYPE_UNSIGNED_LONG_LONG },
	{ NVML_FI_DEV_ECC_DBE_AGG_TOTAL, DEVICE_ECC_AGGREGATE_UNCORRECTED,
	  NVML_VALUE_TYPE_UNSIGNED_LONG_LONG },
	{ NVML_FI_DEV_MEMORY_TEMP, DEVICE_TEMPERATURE_MEMORY, NVML_VALUE_TYPE_UNSIGNED_INT },
	{ NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, DEVICE_ENERGY, NVML_VALUE_TYPE_UNSIGNED_LONG_LONG },
	{ NVML_FI_DEV_PCIE_REPLAY_COUNTER, DEVICE_PCIE_REPLAYS, NVML_VALUE_TYPE_UNSIGNED_INT },
	{ NVML_FI_DEV_REMAPPED_COR, DEVICE_REMAPPED_CORRECTED, NVML_VALUE_TYPE_UNSIGNED_INT },
	{ NVML_FI_DEV_REMAPPED_UNC, DEVICE_REMAPPED_UNCORRECTED, NVML_VALUE_TYPE_UNSIGNED_INT },
	{ NVML_FI_DEV_REMAPPED_PENDING, DEVICE_REMAPPED_PENDING, NVML_VALUE_TYPE_UNSIGNED_INT },
	{ NVML_FI_DEV_REMAPPED_FAILURE, DEVICE_REMAPPED_FAILED, NVML_VALUE_TYPE_UNSIGNED_INT },
	{ NVML_FI_DEV_POWER_AVERAGE, DEVICE_POWER_DRAW, NVML_VALUE_TYPE_UNSIGNED_INT },
	{ NVML_FI_DEV_POWER_MIN_LIMIT, DEVICE_POWER_LIMIT_LEAST, NVML_VALUE_TYPE_UNSIGNED_INT },
	{ NVML_FI_DEV_POWER_MAX_LIMIT, DEVICE_POWER_LIMIT_MOST, NVML_VALUE_TYPE_UNSIGNED_INT },
	{ NVML_FI_DEV_POWER_DEFAULT_LIMIT, DEVICE_POWER_LIMIT_DEFAULT, NVML_VALUE_TYPE_UNSIGNED_INT },
	{ NVML_FI_DEV_POWER_CURRENT_LIMIT, DEVICE_POWER_LIMIT_ENFORCED, NVML_VALUE_TYPE_UNSIGNED_INT },
	{ NVML_FI_DEV_POWER_REQUESTED_LIMIT, DEVICE_POWER_LIMIT, NVML_VALUE_TYPE_UNSIGNED_INT },
	{ NVML_FI_DEV_ENERGY, DEVICE_ENERGY, NVML_VALUE_TYPE_UNSIGNED_LONG_LONG },
};

static const struct field *find(unsigned int id)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (fields[i].id == id)
			return &fields[i];
	return NULL;
}

// Scopes (parts of the board, links) other than the whole GPU are not told.
static void fill(const struct device_state *s, nvmlFieldValue_t *v)
{
	const struct field *f = find(v->fieldId);

	if (!v->fieldId || v->fieldId >= NVML_FI_MAX)
		v->nvmlReturn = NVML_ERROR_INVALID_ARGUMENT;
	else if (!f || v->scopeId || !device_value_known(&s->values, f->which))
		v->nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
	else
		v->nvmlReturn = NVML_SUCCESS;
	if (v->nvmlReturn)
		return;
	v->valueType = f->type;
	v->value = (nvmlValue_t){ .ullVal = s->values.value[f->which] };
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values)
{
	uint64_t begin = clock_now_ns(), age_us;
	struct device_state s;
	long long took_us;
	nvmlReturn_t result = nv_ready_answer(device, values);

	if (!result && count <= 0)
		result = NVML_ERROR_INVALID_ARGUMENT;
	if (!result)
		result = nv_look(&s);
	if (result)
		return result;
	took_us = (long long)((clock_now_ns() - begin) / NSEC_PER_USEC);
	age_us = s.age_ns == UINT64_MAX ? 0 : s.age_ns / NSEC_PER_USEC;
	for (int i = 0; i < count; i++) {
		values[i].timestamp = (long long)(nv_now_us() - age_us);
		values[i].latencyUsec = took_us;
		fill(&s, &values[i]);
	}
	return NVML_SUCCESS;
}
