// SPDX-License-Identifier: Apache-2.0
// Start and end, what the library answers without a host, threads, forks, event sets, error texts.
#include "tests/unit/libnvml/test.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static void init_is_counted(void **state)
{
	unsigned int count;

	(void)state;
	fake_reset();
	assert_int_equal(nvmlShutdown(), NVML_ERROR_UNINITIALIZED);
	assert_int_equal(nvmlDeviceGetCount_v2(&count), NVML_ERROR_UNINITIALIZED);
	assert_int_equal(nvmlDeviceGetCount_v2(NULL), NVML_ERROR_UNINITIALIZED);
	assert_int_equal(nvmlInit(), NVML_SUCCESS);
	assert_int_equal(nvmlInitWithFlags(NVML_INIT_FLAG_NO_GPUS), NVML_SUCCESS);
	assert_int_equal(fake.opens, 1);
	assert_int_equal(nvmlShutdown(), NVML_SUCCESS);
	assert_int_equal(nvmlDeviceGetCount_v2(&count), NVML_SUCCESS);
	assert_int_equal(count, 1);
	assert_int_equal(fake.closes, 0);
	assert_int_equal(nvmlShutdown(), NVML_SUCCESS);
	assert_int_equal(fake.closes, 1);
	assert_int_equal(nvmlDeviceGetCount_v2(&count), NVML_ERROR_UNINITIALIZED);
	assert_int_equal(nvmlShutdown(), NVML_ERROR_UNINITIALIZED);
}

static void init_without_a_mediator(void **state)
{
	static const int errors[][2] = {
		{ -ENOENT, NVML_ERROR_DRIVER_NOT_LOADED }, { -ECONNREFUSED, NVML_ERROR_DRIVER_NOT_LOADED },
		{ -EACCES, NVML_ERROR_NO_PERMISSION },	   { -ENOMEM, NVML_ERROR_MEMORY },
		{ -ECONNABORTED, NVML_ERROR_UNKNOWN },
	};
	unsigned int count;

	(void)state;
	fake_reset();
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		fake.open_error = errors[i][0];
		assert_int_equal(nvmlInit_v2(), errors[i][1]);
		assert_int_equal(nvmlDeviceGetCount_v2(&count), NVML_ERROR_UNINITIALIZED);
	}
	fake.open_error = 0;
	assert_int_equal(nvmlInit_v2(), NVML_SUCCESS);
	assert_int_equal(nvmlShutdown(), NVML_SUCCESS);
}

static void handles_stay_the_same(void **state)
{
	nvmlDevice_t device = *state, again;
	char name[NVML_NAME_BYTES];

	assert_int_equal(nvmlShutdown(), NVML_SUCCESS);
	assert_int_equal(nvmlDeviceGetName(device, name, sizeof(name)), NVML_ERROR_UNINITIALIZED);
	assert_int_equal(nvmlInit_v2(), NVML_SUCCESS);
	assert_int_equal(nvmlDeviceGetHandleByIndex(0, &again), NVML_SUCCESS);
	assert_ptr_equal(device, again);
	assert_int_equal(nvmlDeviceGetName(device, name, sizeof(name)), NVML_SUCCESS);
}

static void a_lost_device_is_told(void **state)
{
	nvmlDevice_t device = *state;
	unsigned int n = 0, power = 77;
	char name[NVML_NAME_BYTES];

	fake_know_all();
	fake.look_error = -EPIPE;
	assert_int_equal(nvmlDeviceGetPowerUsage(device, &power), NVML_ERROR_GPU_IS_LOST);
	assert_int_equal(nvmlDeviceGetName(device, name, sizeof(name)), NVML_ERROR_GPU_IS_LOST);
	assert_int_equal(nvmlDeviceGetComputeRunningProcesses_v3(device, &n, NULL), NVML_ERROR_GPU_IS_LOST);
	fake.look_error = -ENOMEM;
	assert_int_equal(nvmlDeviceGetPowerUsage(device, &power), NVML_ERROR_MEMORY);
	fake.look_error = -ETIMEDOUT;
	assert_int_equal(nvmlDeviceGetPowerUsage(device, &power), NVML_ERROR_TIMEOUT);
	fake.look_error = 0;
	fake.state.source = DEVICE_LOST;
	assert_int_equal(nvmlDeviceGetPowerUsage(device, &power), NVML_ERROR_GPU_IS_LOST);
	assert_int_equal(power, 77);
	fake.state.source = DEVICE_CARD;
	assert_int_equal(nvmlDeviceGetPowerUsage(device, &power), NVML_SUCCESS);
	assert_int_equal(power, DEVICE_POWER_DRAW + 1);
}

// Inits, looks and shutdowns at once: the fake aborts when it is used closed, or closed in use.
static void *hammer(void *arg)
{
	nvmlDevice_t device = arg;

	for (int i = 0; i < 2000; i++) {
		nvmlEventSet_t set;
		unsigned int power;

		if (nvmlInit_v2() || nvmlDeviceGetPowerUsage(device, &power) || nvmlEventSetCreate(&set) ||
		    nvmlEventSetFree(set) || nvmlShutdown())
			return "refused";
		power = nvmlDeviceGetPowerUsage(device, &power); // initialised by somebody else, or not
		if (power != NVML_SUCCESS && power != NVML_ERROR_UNINITIALIZED)
			return "wrong result";
	}
	return NULL;
}

static void threads_do_not_meet(void **state)
{
	nvmlDevice_t device = *state;
	pthread_t threads[4];

	fake_know_all();
	assert_int_equal(nvmlShutdown(), NVML_SUCCESS);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, device), 0);
	for (int i = 0; i < 4; i++) {
		void *said;

		pthread_join(threads[i], &said);
		assert_null(said);
	}
	assert_int_equal(fake.opens, fake.closes);
	assert_int_equal(nvmlInit_v2(), NVML_SUCCESS);
}

static void a_forked_child_goes_on(void **state)
{
	int status;
	pid_t pid;

	fake_know_all();
	pid = fork();
	if (!pid) {
		unsigned int power;

		_exit(nvmlDeviceGetPowerUsage(*state, &power) || nvmlShutdown() ||
		      nvmlDeviceGetPowerUsage(*state, &power) != NVML_ERROR_UNINITIALIZED || nvmlInit_v2());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void event_sets(void **state)
{
	nvmlDevice_t device = *state;
	unsigned long long types = 1;
	nvmlEventSet_t set, other;
	nvmlEventData_t data;

	assert_int_equal(nvmlEventSetCreate(NULL), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlEventSetCreate(&set), NVML_SUCCESS);
	assert_int_equal(nvmlEventSetCreate(&other), NVML_SUCCESS);
	assert_int_equal(nvmlDeviceGetSupportedEventTypes(device, &types), NVML_SUCCESS);
	assert_int_equal(types, 0);
	assert_int_equal(nvmlDeviceRegisterEvents(device, types, set), NVML_SUCCESS);
	assert_int_equal(nvmlDeviceRegisterEvents(device, NVML_EVENT_XID_CRITICAL_ERROR, set),
			 NVML_ERROR_NOT_SUPPORTED);
	assert_int_equal(nvmlDeviceRegisterEvents(device, 1ull << 40, set), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceRegisterEvents(OTHER_HANDLE, 0, set), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlEventSetWait_v2(set, &data, 0), NVML_ERROR_TIMEOUT);
	assert_int_equal(nvmlEventSetWait(set, &data, 1), NVML_ERROR_TIMEOUT);
	assert_int_equal(nvmlEventSetWait(set, NULL, 0), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlEventSetFree(set), NVML_SUCCESS);
	assert_int_equal(nvmlEventSetFree(set), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlEventSetWait(set, &data, 0), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceRegisterEvents(device, 0, set), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlEventSetFree(other), NVML_SUCCESS);
}

static void error_texts(void **state)
{
	(void)state;
	assert_string_equal(nvmlErrorString(NVML_SUCCESS), "Success");
	assert_string_equal(nvmlErrorString(NVML_ERROR_DRIVER_NOT_LOADED), "Driver Not Loaded");
	assert_string_equal(nvmlErrorString(NVML_ERROR_UNKNOWN), "Unknown Error");
	assert_string_equal(nvmlErrorString((nvmlReturn_t)12345), "Unknown Error");
	for (int i = 0; i <= NVML_ERROR_RESET_TYPE_NOT_SUPPORTED; i++)
		assert_string_not_equal(nvmlErrorString((nvmlReturn_t)i), "Unknown Error");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(init_is_counted),
		cmocka_unit_test(init_without_a_mediator),
		TEST(handles_stay_the_same),
		TEST(a_lost_device_is_told),
		TEST(threads_do_not_meet),
		TEST(a_forked_child_goes_on),
		TEST(event_sets),
		TEST(error_texts),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
