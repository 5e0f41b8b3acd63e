// SPDX-License-Identifier: Apache-2.0
// The forms that answers have: texts, numbers, lists, refusals; and the library's log. Runs in the guest
// program, any thread.
#include <stdarg.h>
#include <string.h>

#include "guest/client/log.h"
#include "guest/libnvml/libnvml.h"

void nv_log(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vgpu_log_line("libnvidia-ml", format, args);
	va_end(args);
}

nvmlReturn_t nv_text(const char *text, char *ret, unsigned int length)
{
	size_t bytes = strlen(text) + 1;

	if (!ret)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (bytes == 1)
		return NVML_ERROR_NOT_SUPPORTED;
	if (length < bytes)
		return NVML_ERROR_INSUFFICIENT_SIZE;
	memcpy(ret, text, bytes);
	return NVML_SUCCESS;
}

nvmlReturn_t nv_device_text(nvmlDevice_t device, size_t offset, char *ret, unsigned int length)
{
	struct device_state s;
	nvmlReturn_t result = nv_look_answer(device, ret, &s);

	return result ? result : nv_text((const char *)&s.texts + offset, ret, length);
}

nvmlReturn_t nv_known(const struct device_state *s, enum device_value which, unsigned int *ret)
{
	if (!device_value_known(&s->values, which))
		return NVML_ERROR_NOT_SUPPORTED;
	*ret = (unsigned int)s->values.value[which];
	return NVML_SUCCESS;
}

nvmlReturn_t nv_value(nvmlDevice_t device, enum device_value which, unsigned int *ret)
{
	struct device_state s;
	nvmlReturn_t result = nv_look_answer(device, ret, &s);

	return result ? result : nv_known(&s, which, ret);
}

nvmlReturn_t nv_wide_value(nvmlDevice_t device, enum device_value which, unsigned long long *ret)
{
	struct device_state s;
	nvmlReturn_t result = nv_look_answer(device, ret, &s);

	if (result)
		return result;
	if (!device_value_known(&s.values, which))
		return NVML_ERROR_NOT_SUPPORTED;
	*ret = s.values.value[which];
	return NVML_SUCCESS;
}

nvmlReturn_t nv_values(nvmlDevice_t device, const enum device_value *which, unsigned int *const *ret,
		       unsigned int n)
{
	struct device_state s;
	nvmlReturn_t result = nv_ready_device(device);

	for (unsigned int i = 0; i < n && !result; i++)
		result = ret[i] ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
	if (!result)
		result = nv_look(&s);
	for (unsigned int i = 0; i < n && !result; i++)
		result = device_value_known(&s.values, which[i]) ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
	for (unsigned int i = 0; i < n && !result; i++)
		*ret[i] = (unsigned int)s.values.value[which[i]];
	return result;
}

nvmlReturn_t nv_constant(nvmlDevice_t device, unsigned int value, unsigned int *ret)
{
	nvmlReturn_t result = nv_ready_answer(device, ret);

	if (!result)
		*ret = value;
	return result;
}

nvmlReturn_t nv_room(unsigned int needed, unsigned int *count, const void *list)
{
	unsigned int room;

	if (!count || (*count && !list))
		return NVML_ERROR_INVALID_ARGUMENT;
	room = *count;
	*count = needed;
	return room < needed ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

nvmlReturn_t nv_refuse(nvmlReturn_t result)
{
	nvmlReturn_t state = nv_ready();

	return state ? state : result;
}

nvmlReturn_t nv_refuse_device(nvmlDevice_t device, nvmlReturn_t result)
{
	nvmlReturn_t state = nv_ready_device(device);

	return state ? state : result;
}

nvmlReturn_t nv_missing(struct nv_missing *call)
{
	if (atomic_fetch_add_explicit(&call->count, 1, memory_order_relaxed) == 0 ||
	    vgpu_log_level() == VGPU_LOG_TRACE)
		nv_log("%s is not supported yet", call->name);
	return nv_refuse(NVML_ERROR_NOT_SUPPORTED);
}

nvmlReturn_t nv_missing_device(nvmlDevice_t device, struct nv_missing *call)
{
	nvmlReturn_t result = nv_missing(call);

	return result == NVML_ERROR_NOT_SUPPORTED ? nv_refuse_device(device, result) : result;
}
