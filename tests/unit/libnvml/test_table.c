// SPDX-License-Identifier: Apache-2.0
// The undocumented table of nvidia-smi, and the calls that only answer an error.
#include "tests/unit/libnvml/test.h"

#include <unistd.h>

#include "guest/libnvml/export_table.h"

static const export_word *table(void)
{
	static const uint8_t id[16] = { 0xc4, 0xfe, 0x3e, 0x6c, 0xc9, 0x8f, 0x6c, 0x4e,
					0xa3, 0x27, 0xee, 0x69, 0x6e, 0x12, 0xf7, 0xc4 };
	const void *ret = NULL;

	assert_int_equal(nvmlInternalGetExportTable(&ret, id), NVML_SUCCESS);
	return ret;
}

static void it_has_its_size_and_no_holes(void **state)
{
	const export_word *t = table();
	uint8_t other[16] = { 1 };
	const void *ret = t;

	(void)state;
	assert_int_equal((uintptr_t)t[0], 2160);
	for (int i = 1; i < 270; i++)
		assert_non_null(t[i]);
	assert_int_equal(nvmlInternalGetExportTable(&ret, other), NVML_ERROR_NOT_FOUND);
	assert_null(ret);
	assert_int_equal(nvmlInternalGetExportTable(NULL, other), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlInternalGetExportTable(&ret, NULL), NVML_ERROR_INVALID_ARGUMENT);
}

static void its_words_answer(void **state)
{
	typedef nvmlReturn_t (*device_word)(unsigned int index, nvmlDevice_t *device, unsigned int x);
	typedef nvmlReturn_t (*plain_word)(void *a, void *b, void *c);
	const export_word *t = table();
	nvmlDevice_t device = NULL;
	uint64_t a = 1, b = 2;

	assert_int_equal(((device_word)t[81])(0, &device, 0x22), NVML_SUCCESS);
	assert_ptr_equal(device, *state);
	assert_int_equal(((device_word)t[81])(1, &device, 0x22), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(((plain_word)t[26])(NULL, NULL, NULL), NVML_SUCCESS);
	for (unsigned int i = 1; i < 270; i++)
		if (i != 26 && i != 81 && (i < 213 || i > 215)) {
			assert_int_equal(((plain_word)t[i])(&a, &b, NULL), NVML_ERROR_NOT_SUPPORTED);
			assert_int_equal(a | b, 3);
		}
}

static void its_processes(void **state)
{
	typedef nvmlReturn_t (*list_word)(nvmlDevice_t device, unsigned int *count,
					  struct export_process *list);
	list_word compute = (list_word)table()[213], graphics = (list_word)table()[214];
	struct export_process list[2];
	unsigned int count = 2;

	for (unsigned int i = 0; i < 3; i++)
		fake.rows[fake.row_count++] =
		    (struct device_process){ .pid = i ? 0x7fffff00 + i : (uint64_t)getpid(),
					     .memory_bytes = i + 1,
					     .valid = DEVICE_PROCESS_PID,
					     .name = "from the host" };
	assert_int_equal(compute(*state, &count, list), NVML_SUCCESS);
	assert_int_equal(count, 2);
	assert_int_equal(list[0].detail.pid, getpid());
	assert_non_null(strstr(list[0].name, "test_libnvml_table"));
	assert_string_equal(list[1].name, "from the host");
	assert_int_equal(list[1].detail.usedGpuMemory, 2);
	assert_int_equal(compute(*state, &count, NULL), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(compute(OTHER_HANDLE, &count, list), NVML_ERROR_INVALID_ARGUMENT);
	fake.row_count = 0;
	assert_int_equal(compute(*state, &count, list), NVML_SUCCESS);
	assert_int_equal(count, 0);
	count = 2;
	assert_int_equal(graphics(*state, &count, list), NVML_SUCCESS);
	assert_int_equal(count, 0);
}

static void refusals(void **state)
{
	typedef nvmlReturn_t (*any_call)(void *device, unsigned int a, unsigned int b);
	extern nvmlReturn_t nvmlDeviceSetPersistenceMode(nvmlDevice_t device);
	extern nvmlReturn_t nvmlDeviceGetSupportedVgpus(nvmlDevice_t device);
	extern nvmlReturn_t nvmlUnitGetLedState(void);
	extern nvmlReturn_t nvmlSystemSetNvlinkBwMode(void);
	nvmlEnableState_t mode = 7;
	any_call set = (any_call)(void (*)(void))nvmlDeviceSetPersistenceMode;

	assert_int_equal(set(*state, 1, 0), NVML_ERROR_NO_PERMISSION);
	assert_int_equal(set(OTHER_HANDLE, 1, 0), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetSupportedVgpus(*state), NVML_ERROR_NOT_SUPPORTED);
	assert_int_equal(nvmlDeviceGetDefaultEccMode(*state, &mode), NVML_ERROR_NOT_SUPPORTED);
	assert_int_equal(nvmlDeviceGetDefaultEccMode(OTHER_HANDLE, &mode), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(mode, 7);
	assert_int_equal(nvmlUnitGetLedState(), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlSystemSetNvlinkBwMode(), NVML_ERROR_NO_PERMISSION);
	assert_int_equal(nvmlShutdown(), NVML_SUCCESS);
	assert_int_equal(set(*state, 1, 0), NVML_ERROR_UNINITIALIZED);
	assert_int_equal(nvmlUnitGetLedState(), NVML_ERROR_UNINITIALIZED);
	assert_int_equal(nvmlInit_v2(), NVML_SUCCESS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_has_its_size_and_no_holes),
		TEST(its_words_answer),
		TEST(its_processes),
		TEST(refusals),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
