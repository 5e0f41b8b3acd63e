// SPDX-License-Identifier: Apache-2.0
// Memory, load and programs of the tenant; how lists that do not fit are answered.
#include "tests/unit/libnvml/test.h"

#include <unistd.h>

static void memory(void **state)
{
	nvmlMemory_v2_t v2 = { .version = NVML_VERSION(nvmlMemory_v2_t, 2) };
	struct device_values *v = &fake.state.values;
	nvmlMemory_t m = { 1, 2, 3 };

	assert_int_equal(nvmlDeviceGetMemoryInfo(*state, &m), NVML_ERROR_NOT_SUPPORTED);
	assert_int_equal(m.total, 1);
	device_value_set(v, DEVICE_MEMORY_TOTAL, 1000);
	device_value_set(v, DEVICE_MEMORY_FREE, 600); // other tenants hold 100 of what could be its own
	assert_int_equal(nvmlDeviceGetMemoryInfo(*state, &m), NVML_ERROR_NOT_SUPPORTED);
	device_value_set(v, DEVICE_MEMORY_USED, 300);
	assert_int_equal(nvmlDeviceGetMemoryInfo(*state, &m), NVML_SUCCESS);
	assert_int_equal(m.total, 1000);
	assert_int_equal(m.free, 600);
	assert_int_equal(m.used, 400);
	assert_int_equal(nvmlDeviceGetMemoryInfo_v2(*state, &v2), NVML_SUCCESS);
	assert_int_equal(v2.total, 1000);
	assert_int_equal(v2.reserved, 100);
	assert_int_equal(v2.free, 600);
	assert_int_equal(v2.used, 300);
	// numbers of different moments: nothing becomes more than all
	device_value_set(v, DEVICE_MEMORY_FREE, 2000);
	assert_int_equal(nvmlDeviceGetMemoryInfo_v2(*state, &v2), NVML_SUCCESS);
	assert_int_equal(v2.free, 1000);
	assert_int_equal(v2.used + v2.reserved, 0);
	v2.version = NVML_VERSION(nvmlMemory_v2_t, 1);
	assert_int_equal(nvmlDeviceGetMemoryInfo_v2(*state, &v2), NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
	assert_int_equal(nvmlDeviceGetMemoryInfo_v2(*state, NULL), NVML_ERROR_INVALID_ARGUMENT);
}

static void load(void **state)
{
	nvmlUtilization_t u = { 5, 5 };
	unsigned int percent = 9, us = 9;

	assert_int_equal(nvmlDeviceGetUtilizationRates(*state, &u), NVML_ERROR_NOT_SUPPORTED);
	device_value_set(&fake.state.values, DEVICE_GPU_BUSY, 10000);
	assert_int_equal(nvmlDeviceGetUtilizationRates(*state, &u), NVML_SUCCESS);
	assert_int_equal(u.gpu, 100);
	assert_int_equal(u.memory, 0);
	device_value_set(&fake.state.values, DEVICE_GPU_BUSY, 299);
	assert_int_equal(nvmlDeviceGetUtilizationRates(*state, &u), NVML_SUCCESS);
	assert_int_equal(u.gpu, 2);
	assert_int_equal(nvmlDeviceGetOfaUtilization(*state, &percent, &us), NVML_SUCCESS);
	assert_int_equal(percent, 0);
	assert_int_equal(nvmlDeviceGetDecoderUtilization(*state, &percent, NULL),
			 NVML_ERROR_INVALID_ARGUMENT);
}

static void samples(void **state)
{
	nvmlValueType_t type = 99;
	unsigned int count = 0;
	nvmlSample_t s;

	assert_int_equal(nvmlDeviceGetSamples(*state, NVML_TOTAL_POWER_SAMPLES, 0, &type, &count, NULL),
			 NVML_ERROR_NOT_SUPPORTED);
	device_value_set(&fake.state.values, DEVICE_POWER_DRAW, 321000);
	assert_int_equal(nvmlDeviceGetSamples(*state, NVML_TOTAL_POWER_SAMPLES, 0, &type, &count, NULL),
			 NVML_SUCCESS);
	assert_int_equal(count, 1);
	assert_int_equal(nvmlDeviceGetSamples(*state, NVML_TOTAL_POWER_SAMPLES, 0, &type, &count, &s),
			 NVML_SUCCESS);
	assert_int_equal(type, NVML_VALUE_TYPE_UNSIGNED_INT);
	assert_int_equal(s.sampleValue.uiVal, 321000);
	assert_true(s.timeStamp > 0);
	assert_int_equal(nvmlDeviceGetSamples(*state, NVML_TOTAL_POWER_SAMPLES, s.timeStamp + 1000000000ull,
					      &type, &count, &s),
			 NVML_ERROR_NOT_FOUND);
	count = 0;
	assert_int_equal(nvmlDeviceGetSamples(*state, NVML_TOTAL_POWER_SAMPLES, 0, &type, &count, &s),
			 NVML_ERROR_INSUFFICIENT_SIZE);
	assert_int_equal(nvmlDeviceGetSamples(*state, NVML_MEMORY_UTILIZATION_SAMPLES, 0, &type, &count, &s),
			 NVML_ERROR_NOT_SUPPORTED);
	assert_int_equal(nvmlDeviceGetSamples(*state, NVML_SAMPLINGTYPE_COUNT, 0, &type, &count, &s),
			 NVML_ERROR_INVALID_ARGUMENT);
}

static void add_process(uint64_t pid, uint64_t bytes, uint32_t busy, uint32_t valid)
{
	fake.rows[fake.row_count++] =
	    (struct device_process){ .pid = pid, .memory_bytes = bytes, .busy = busy, .valid = valid };
}

static void some_processes(void)
{
	add_process(300, 30, 5000, DEVICE_PROCESS_PID | DEVICE_PROCESS_BUSY);
	add_process(0, 99, 9, 0); // of another pid namespace
	add_process(100, 10, 0, DEVICE_PROCESS_PID);
	add_process(300, 3, 1000, DEVICE_PROCESS_PID | DEVICE_PROCESS_BUSY); // its second channel
}

static void processes(void **state)
{
	nvmlProcessInfo_v1_t v1[4];
	nvmlProcessInfo_t v3[4];
	unsigned int count = 0;

	assert_int_equal(nvmlDeviceGetComputeRunningProcesses_v3(*state, &count, NULL), NVML_SUCCESS);
	assert_int_equal(count, 0);
	some_processes();
	assert_int_equal(nvmlDeviceGetComputeRunningProcesses_v3(*state, &count, NULL),
			 NVML_ERROR_INSUFFICIENT_SIZE);
	assert_int_equal(count, 2);
	count = 1;
	assert_int_equal(nvmlDeviceGetComputeRunningProcesses_v2(*state, &count, v3),
			 NVML_ERROR_INSUFFICIENT_SIZE);
	assert_int_equal(count, 2);
	count = 4;
	assert_int_equal(nvmlDeviceGetComputeRunningProcesses_v3(*state, &count, v3), NVML_SUCCESS);
	assert_int_equal(count, 2);
	assert_int_equal(v3[0].pid, 100);
	assert_int_equal(v3[0].usedGpuMemory, 10);
	assert_int_equal(v3[1].pid, 300);
	assert_int_equal(v3[1].usedGpuMemory, 33);
	assert_int_equal(v3[1].gpuInstanceId, NVML_NO_INSTANCE);
	assert_int_equal(nvmlDeviceGetComputeRunningProcesses(*state, &count, v1), NVML_SUCCESS);
	assert_int_equal(v1[1].pid, 300);
	assert_int_equal(v1[1].usedGpuMemory, 33);
	assert_int_equal(nvmlDeviceGetComputeRunningProcesses(*state, &count, NULL),
			 NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetComputeRunningProcesses(*state, NULL, v1), NVML_ERROR_INVALID_ARGUMENT);
	count = 4;
	assert_int_equal(nvmlDeviceGetMPSComputeRunningProcesses_v3(*state, &count, v3), NVML_SUCCESS);
	assert_int_equal(count, 0);
}

static void details_of_processes(void **state)
{
	nvmlProcessDetail_v1_t rows[2];
	nvmlProcessDetailList_t list = { .version = NVML_VERSION(nvmlProcessDetailList_t, 1) };

	some_processes();
	assert_int_equal(nvmlDeviceGetRunningProcessDetailList(*state, &list), NVML_ERROR_INSUFFICIENT_SIZE);
	assert_int_equal(list.numProcArrayEntries, 2);
	list.procArray = rows;
	assert_int_equal(nvmlDeviceGetRunningProcessDetailList(*state, &list), NVML_SUCCESS);
	assert_int_equal(rows[1].pid, 300);
	assert_int_equal(rows[1].usedGpuCcProtectedMemory, 0);
	list.mode = 1;
	assert_int_equal(nvmlDeviceGetRunningProcessDetailList(*state, &list), NVML_SUCCESS);
	assert_int_equal(list.numProcArrayEntries, 0);
	list.mode = 3;
	assert_int_equal(nvmlDeviceGetRunningProcessDetailList(*state, &list), NVML_ERROR_INVALID_ARGUMENT);
	list.version = 0;
	assert_int_equal(nvmlDeviceGetRunningProcessDetailList(*state, &list),
			 NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
}

static void load_of_processes(void **state)
{
	nvmlProcessUtilizationInfo_v1_t rows[3];
	nvmlProcessesUtilizationInfo_t info = { .version = NVML_VERSION(nvmlProcessesUtilizationInfo_t, 1) };
	nvmlProcessUtilizationSample_t samples_[3];
	unsigned int count = 0;

	assert_int_equal(nvmlDeviceGetProcessUtilization(*state, NULL, &count, 0), NVML_ERROR_NOT_FOUND);
	some_processes();
	assert_int_equal(nvmlDeviceGetProcessUtilization(*state, NULL, &count, 0),
			 NVML_ERROR_INSUFFICIENT_SIZE);
	assert_int_equal(count, 1);
	count = 3;
	assert_int_equal(nvmlDeviceGetProcessUtilization(*state, samples_, &count, 0), NVML_SUCCESS);
	assert_int_equal(count, 1);
	assert_int_equal(samples_[0].pid, 300);
	assert_int_equal(samples_[0].smUtil, 60);
	assert_int_equal(nvmlDeviceGetProcessUtilization(*state, samples_, &count, UINT64_MAX),
			 NVML_ERROR_NOT_FOUND);
	assert_int_equal(nvmlDeviceGetProcessesUtilizationInfo(*state, &info), NVML_ERROR_INSUFFICIENT_SIZE);
	info.procUtilArray = rows;
	assert_int_equal(nvmlDeviceGetProcessesUtilizationInfo(*state, &info), NVML_SUCCESS);
	assert_int_equal(rows[0].pid, 300);
	assert_int_equal(rows[0].smUtil, 60);
	info.version = 0;
	assert_int_equal(nvmlDeviceGetProcessesUtilizationInfo(*state, &info),
			 NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
}

// More rows than a tenant can have are a host that errs: the list has an end.
static void too_many_processes(void **state)
{
	nvmlProcessInfo_t infos[FAKE_PROCESSES];
	unsigned int count = FAKE_PROCESSES;

	for (unsigned int i = 0; i < FAKE_PROCESSES; i++)
		add_process(1000 - i, i, 0, DEVICE_PROCESS_PID);
	assert_int_equal(nvmlDeviceGetComputeRunningProcesses_v3(*state, &count, infos), NVML_SUCCESS);
	assert_int_equal(count, VGPU_MAX_CHANNELS_PER_TENANT);
	for (unsigned int i = 1; i < count; i++)
		assert_true(infos[i - 1].pid < infos[i].pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(memory),
		TEST(load),
		TEST(samples),
		TEST(processes),
		TEST(details_of_processes),
		TEST(load_of_processes),
		TEST(too_many_processes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
