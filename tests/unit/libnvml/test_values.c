// SPDX-License-Identifier: Apache-2.0
// Numbers of the card: told when the host knows them, NOT_SUPPORTED when it does not; versions of structures.
#include "tests/unit/libnvml/test.h"

// Every call with one unsigned int, and the value behind it.
static const struct one {
	nvmlReturn_t (*call)(nvmlDevice_t device, unsigned int *ret);
	enum device_value which;
} ones[] = {
	{ nvmlDeviceGetBoardId, DEVICE_BOARD_ID },
	{ nvmlDeviceGetMultiGpuBoard, DEVICE_MULTI_GPU_BOARD },
	{ nvmlDeviceGetMinorNumber, DEVICE_MINOR_NUMBER },
	{ nvmlDeviceGetNumGpuCores, DEVICE_GPU_CORES },
	{ nvmlDeviceGetMemoryBusWidth, DEVICE_MEMORY_BUS_WIDTH },
	{ nvmlDeviceGetIrqNum, DEVICE_IRQ },
	{ nvmlDeviceGetNumFans, DEVICE_FANS },
	{ nvmlDeviceGetPersistenceMode, DEVICE_PERSISTENCE_MODE },
	{ nvmlDeviceGetDisplayMode, DEVICE_DISPLAY_MODE },
	{ nvmlDeviceGetDisplayActive, DEVICE_DISPLAY_ACTIVE },
	{ nvmlDeviceGetPowerUsage, DEVICE_POWER_DRAW },
	{ nvmlDeviceGetPowerManagementLimit, DEVICE_POWER_LIMIT },
	{ nvmlDeviceGetPowerManagementDefaultLimit, DEVICE_POWER_LIMIT_DEFAULT },
	{ nvmlDeviceGetEnforcedPowerLimit, DEVICE_POWER_LIMIT_ENFORCED },
	{ nvmlDeviceGetPerformanceState, DEVICE_PERFORMANCE_STATE },
	{ nvmlDeviceGetPowerState, DEVICE_PERFORMANCE_STATE },
	{ nvmlDeviceGetFanSpeed, DEVICE_FAN_SPEED },
	{ nvmlDeviceGetCurrPcieLinkGeneration, DEVICE_PCIE_GENERATION },
	{ nvmlDeviceGetMaxPcieLinkGeneration, DEVICE_PCIE_GENERATION_MAX },
	{ nvmlDeviceGetGpuMaxPcieLinkGeneration, DEVICE_PCIE_GENERATION_DEVICE_MAX },
	{ nvmlDeviceGetCurrPcieLinkWidth, DEVICE_PCIE_WIDTH },
	{ nvmlDeviceGetMaxPcieLinkWidth, DEVICE_PCIE_WIDTH_MAX },
	{ nvmlDeviceGetPcieLinkMaxSpeed, DEVICE_PCIE_GENERATION_MAX },
	{ nvmlDeviceGetPcieReplayCounter, DEVICE_PCIE_REPLAYS },
};

static void single_numbers(void **state)
{
	for (size_t i = 0; i < sizeof(ones) / sizeof(ones[0]); i++) {
		unsigned int got = 4711;

		fake_reset();
		fake.opens = 1;
		assert_int_equal(ones[i].call(*state, &got), NVML_ERROR_NOT_SUPPORTED);
		assert_int_equal(got, 4711);
		fake_know_all();
		assert_int_equal(ones[i].call(*state, &got), NVML_SUCCESS);
		assert_int_equal(got, ones[i].which + 1);
		assert_int_equal(ones[i].call(*state, NULL), NVML_ERROR_INVALID_ARGUMENT);
		assert_int_equal(ones[i].call(OTHER_HANDLE, &got), NVML_ERROR_INVALID_ARGUMENT);
		device_value_clear(&fake.state.values, ones[i].which);
		assert_int_equal(ones[i].call(*state, &got), NVML_ERROR_NOT_SUPPORTED);
	}
}

static void several_numbers(void **state)
{
	unsigned int a = 1, b = 2, c = 3, d = 4;
	nvmlRemappedRowsInfo_v2_t rows;

	assert_int_equal(nvmlDeviceGetEccMode(*state, &a, &b), NVML_ERROR_NOT_SUPPORTED);
	device_value_set(&fake.state.values, DEVICE_ECC_MODE, 1);
	assert_int_equal(nvmlDeviceGetEccMode(*state, &a, &b), NVML_ERROR_NOT_SUPPORTED);
	device_value_set(&fake.state.values, DEVICE_ECC_MODE_PENDING, 0);
	assert_int_equal(nvmlDeviceGetEccMode(*state, &a, &b), NVML_SUCCESS);
	assert_int_equal(a, 1);
	assert_int_equal(b, 0);
	assert_int_equal(nvmlDeviceGetEccMode(*state, &a, NULL), NVML_ERROR_INVALID_ARGUMENT);
	fake_know_all();
	assert_int_equal(nvmlDeviceGetRemappedRows(*state, &a, &b, &c, &d), NVML_SUCCESS);
	assert_int_equal(a, DEVICE_REMAPPED_CORRECTED + 1);
	assert_int_equal(d, DEVICE_REMAPPED_FAILED + 1);
	assert_int_equal(nvmlDeviceGetRemappedRows_v2(*state, &rows), NVML_SUCCESS);
	assert_int_equal(rows.corrActiveRemaps, DEVICE_REMAPPED_CORRECTED + 1);
	assert_int_equal(rows.uncActiveRemaps, DEVICE_REMAPPED_UNCORRECTED + 1);
	assert_int_equal(rows.corrInactiveRemaps + rows.uncInactiveRemaps, 0);
	assert_int_equal(rows.bPending, DEVICE_REMAPPED_PENDING + 1);
	assert_int_equal(rows.bFailureOccurred, DEVICE_REMAPPED_FAILED + 1);
	assert_int_equal(nvmlDeviceGetRemappedRows_v2(*state, NULL), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetPowerManagementLimitConstraints(*state, &a, &b), NVML_SUCCESS);
	assert_int_equal(a, DEVICE_POWER_LIMIT_LEAST + 1);
	assert_int_equal(b, DEVICE_POWER_LIMIT_MOST + 1);
}

static void wide_numbers(void **state)
{
	unsigned long long wide = 9;

	assert_int_equal(nvmlDeviceGetTotalEnergyConsumption(*state, &wide), NVML_ERROR_NOT_SUPPORTED);
	device_value_set(&fake.state.values, DEVICE_ENERGY, 1ull << 50);
	assert_int_equal(nvmlDeviceGetTotalEnergyConsumption(*state, &wide), NVML_SUCCESS);
	assert_true(wide == 1ull << 50);
	device_value_set(&fake.state.values, DEVICE_CLOCK_REASONS, NVML_CLOCKS_GPU_IDLE);
	assert_int_equal(nvmlDeviceGetCurrentClocksThrottleReasons(*state, &wide), NVML_SUCCESS);
	assert_int_equal(wide, NVML_CLOCKS_GPU_IDLE);
	for (unsigned int error = 0; error < 2; error++)
		for (unsigned int counter = 0; counter < 2; counter++) {
			enum device_value which =
			    (enum device_value)(DEVICE_ECC_VOLATILE_CORRECTED + error + 2 * counter);

			assert_int_equal(nvmlDeviceGetTotalEccErrors(*state, error, counter, &wide),
					 NVML_ERROR_NOT_SUPPORTED);
			device_value_set(&fake.state.values, which, 70 + which);
			assert_int_equal(nvmlDeviceGetTotalEccErrors(*state, error, counter, &wide),
					 NVML_SUCCESS);
			assert_int_equal(wide, 70 + which);
		}
	assert_int_equal(nvmlDeviceGetTotalEccErrors(*state, 2, 0, &wide), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetTotalEccErrors(*state, 0, 2, &wide), NVML_ERROR_INVALID_ARGUMENT);
}

static void temperatures(void **state)
{
	nvmlTemperature_t v = { .version = NVML_VERSION(nvmlTemperature_t, 1) };
	unsigned int temp;

	assert_int_equal(nvmlDeviceGetTemperature(*state, 0, &temp), NVML_ERROR_NOT_SUPPORTED);
	device_value_set(&fake.state.values, DEVICE_TEMPERATURE, 41);
	assert_int_equal(nvmlDeviceGetTemperature(*state, 0, &temp), NVML_SUCCESS);
	assert_int_equal(temp, 41);
	assert_int_equal(nvmlDeviceGetTemperature(*state, 1, &temp), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetTemperatureV(*state, &v), NVML_SUCCESS);
	assert_int_equal(v.temperature, 41);
	v.version = 1;
	assert_int_equal(nvmlDeviceGetTemperatureV(*state, &v), NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
	assert_int_equal(nvmlDeviceGetTemperatureThreshold(*state, 0, &temp), NVML_ERROR_NOT_SUPPORTED);
	fake_know_all();
	assert_int_equal(nvmlDeviceGetTemperatureThreshold(*state, 0, &temp), NVML_SUCCESS);
	assert_int_equal(temp, DEVICE_TEMPERATURE_SHUTDOWN + 1);
	assert_int_equal(nvmlDeviceGetTemperatureThreshold(*state, 3, &temp), NVML_SUCCESS);
	assert_int_equal(temp, DEVICE_TEMPERATURE_GPU_MAX + 1);
	assert_int_equal(nvmlDeviceGetTemperatureThreshold(*state, 4, &temp), NVML_ERROR_NOT_SUPPORTED);
	assert_int_equal(nvmlDeviceGetTemperatureThreshold(*state, 8, &temp), NVML_ERROR_INVALID_ARGUMENT);
}

static void clocks(void **state)
{
	unsigned int mhz;

	assert_int_equal(nvmlDeviceGetClockInfo(*state, NVML_CLOCK_SM, &mhz), NVML_ERROR_NOT_SUPPORTED);
	fake_know_all();
	assert_int_equal(nvmlDeviceGetClockInfo(*state, NVML_CLOCK_SM, &mhz), NVML_SUCCESS);
	assert_int_equal(mhz, DEVICE_CLOCK_SM + 1);
	assert_int_equal(nvmlDeviceGetClock(*state, NVML_CLOCK_MEM, NVML_CLOCK_ID_CURRENT, &mhz),
			 NVML_SUCCESS);
	assert_int_equal(mhz, DEVICE_CLOCK_MEMORY + 1);
	assert_int_equal(nvmlDeviceGetMaxClockInfo(*state, NVML_CLOCK_VIDEO, &mhz), NVML_SUCCESS);
	assert_int_equal(mhz, DEVICE_CLOCK_VIDEO_MAX + 1);
	assert_int_equal(nvmlDeviceGetApplicationsClock(*state, NVML_CLOCK_MEM, &mhz), NVML_SUCCESS);
	assert_int_equal(mhz, DEVICE_CLOCK_APPLICATION_MEMORY + 1);
	assert_int_equal(nvmlDeviceGetDefaultApplicationsClock(*state, NVML_CLOCK_SM, &mhz), NVML_SUCCESS);
	assert_int_equal(mhz, DEVICE_CLOCK_DEFAULT_GRAPHICS + 1);
	assert_int_equal(nvmlDeviceGetClock(*state, NVML_CLOCK_MEM, NVML_CLOCK_ID_APP_CLOCK_DEFAULT, &mhz),
			 NVML_SUCCESS);
	assert_int_equal(mhz, DEVICE_CLOCK_DEFAULT_MEMORY + 1);
	assert_int_equal(nvmlDeviceGetApplicationsClock(*state, NVML_CLOCK_VIDEO, &mhz),
			 NVML_ERROR_NOT_SUPPORTED);
	assert_int_equal(nvmlDeviceGetClock(*state, 0, NVML_CLOCK_ID_CUSTOMER_BOOST_MAX, &mhz),
			 NVML_ERROR_NOT_SUPPORTED);
	assert_int_equal(nvmlDeviceGetClock(*state, 0, NVML_CLOCK_ID_COUNT, &mhz),
			 NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetClockInfo(*state, NVML_CLOCK_COUNT, &mhz), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetClockInfo(*state, 0, NULL), NVML_ERROR_INVALID_ARGUMENT);
}

static void fans_and_pcie(void **state)
{
	unsigned int got;

	assert_int_equal(nvmlDeviceGetFanSpeed_v2(*state, 0, &got), NVML_ERROR_NOT_SUPPORTED);
	device_value_set(&fake.state.values, DEVICE_FANS, 2);
	device_value_set(&fake.state.values, DEVICE_FAN_SPEED, 33);
	assert_int_equal(nvmlDeviceGetFanSpeed_v2(*state, 1, &got), NVML_SUCCESS);
	assert_int_equal(got, 33);
	assert_int_equal(nvmlDeviceGetFanSpeed_v2(*state, 2, &got), NVML_ERROR_INVALID_ARGUMENT);
	device_value_set(&fake.state.values, DEVICE_PCIE_GENERATION, 5);
	assert_int_equal(nvmlDeviceGetPcieSpeed(*state, &got), NVML_SUCCESS);
	assert_int_equal(got, 32000);
	device_value_set(&fake.state.values, DEVICE_PCIE_GENERATION, 16);
	assert_int_equal(nvmlDeviceGetPcieSpeed(*state, &got), NVML_ERROR_NOT_SUPPORTED);
}

static void modes(void **state)
{
	unsigned int a = 7, b = 7;

	assert_int_equal(nvmlDeviceGetComputeMode(*state, &a), NVML_SUCCESS);
	assert_int_equal(a, 3); // the attribute
	device_value_set(&fake.state.values, DEVICE_COMPUTE_MODE, NVML_COMPUTEMODE_DEFAULT);
	assert_int_equal(nvmlDeviceGetComputeMode(*state, &a), NVML_SUCCESS);
	assert_int_equal(a, NVML_COMPUTEMODE_DEFAULT);
	assert_int_equal(nvmlDeviceGetMigMode(*state, &a, &b), NVML_ERROR_NOT_SUPPORTED);
	device_value_set(&fake.state.values, DEVICE_MIG_MODE, 1);
	assert_int_equal(nvmlDeviceGetMigMode(*state, &a, &b), NVML_SUCCESS);
	assert_int_equal(a | b, NVML_FEATURE_DISABLED);
	assert_int_equal(nvmlDeviceGetPowerManagementMode(*state, &a), NVML_ERROR_NOT_SUPPORTED);
	device_value_set(&fake.state.values, DEVICE_POWER_LIMIT, 700000);
	assert_int_equal(nvmlDeviceGetPowerManagementMode(*state, &a), NVML_SUCCESS);
	assert_int_equal(a, NVML_FEATURE_ENABLED);
	assert_int_equal(nvmlDeviceGetBrand(*state, &a), NVML_SUCCESS);
	assert_int_equal(a, NVML_BRAND_UNKNOWN);
	assert_int_equal(nvmlDeviceGetBusType(*state, &a), NVML_SUCCESS);
	assert_int_equal(a, NVML_BUS_TYPE_UNKNOWN);
	assert_int_equal(nvmlDeviceGetAPIRestriction(*state, 0, &a), NVML_SUCCESS);
	assert_int_equal(a, NVML_FEATURE_ENABLED);
	assert_int_equal(nvmlDeviceGetAPIRestriction(*state, 2, &a), NVML_ERROR_INVALID_ARGUMENT);
}

static void fields(void **state)
{
	nvmlFieldValue_t v[] = {
		{ .fieldId = NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION },
		{ .fieldId = NVML_FI_DEV_MEMORY_TEMP },
		{ .fieldId = NVML_FI_MAX },
		{ .fieldId = 0 },
		{ .fieldId = NVML_FI_DEV_POWER_AVERAGE, .scopeId = 1 },
		{ .fieldId = 200 },
	};

	device_value_set(&fake.state.values, DEVICE_ENERGY, 1ull << 40);
	device_value_set(&fake.state.values, DEVICE_POWER_DRAW, 5);
	assert_int_equal(nvmlDeviceGetFieldValues(*state, 6, v), NVML_SUCCESS);
	assert_int_equal(v[0].nvmlReturn, NVML_SUCCESS);
	assert_int_equal(v[0].valueType, NVML_VALUE_TYPE_UNSIGNED_LONG_LONG);
	assert_true(v[0].value.ullVal == 1ull << 40);
	assert_true(v[0].timestamp > 0 && v[0].latencyUsec >= 0);
	assert_int_equal(v[1].nvmlReturn, NVML_ERROR_NOT_SUPPORTED);
	assert_int_equal(v[2].nvmlReturn, NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(v[3].nvmlReturn, NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(v[4].nvmlReturn, NVML_ERROR_NOT_SUPPORTED);
	assert_int_equal(v[5].nvmlReturn, NVML_ERROR_NOT_SUPPORTED);
	assert_int_equal(nvmlDeviceGetFieldValues(*state, 0, v), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetFieldValues(*state, -1, v), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetFieldValues(*state, 1, NULL), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetFieldValues(OTHER_HANDLE, 1, v), NVML_ERROR_INVALID_ARGUMENT);
}

static void links_and_neighbours(void **state)
{
	nvmlGpuFabricInfoV_t fabric, untouched;
	nvmlDevice_t list[2] = { NULL, NULL };
	nvmlGpuFabricInfo_t old;
	unsigned int got = 1;

	assert_int_equal(nvmlDeviceGetNvLinkState(*state, 17, &got), NVML_ERROR_NOT_SUPPORTED);
	assert_int_equal(nvmlDeviceGetNvLinkState(*state, 18, &got), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetNvLinkCapability(*state, 0, 6, &got), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetNvLinkRemotePciInfo_v2(*state, 0, NULL), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetP2PStatus(*state, *state, 0, &got), NVML_SUCCESS);
	assert_int_equal(got, NVML_P2P_STATUS_OK);
	assert_int_equal(nvmlDeviceGetP2PStatus(*state, OTHER_HANDLE, 0, &got), NVML_ERROR_INVALID_ARGUMENT);
	assert_int_equal(nvmlDeviceGetTopologyCommonAncestor(*state, *state, &got), NVML_SUCCESS);
	assert_int_equal(got, NVML_TOPOLOGY_INTERNAL);
	got = 0;
	assert_int_equal(nvmlSystemGetTopologyGpuSet(0, &got, NULL), NVML_SUCCESS);
	assert_int_equal(got, 1);
	got = 2;
	assert_int_equal(nvmlSystemGetTopologyGpuSet(0, &got, list), NVML_SUCCESS);
	assert_int_equal(got, 1);
	assert_ptr_equal(list[0], *state);
	assert_null(list[1]);
	assert_int_equal(nvmlDeviceGetGpuFabricInfo(*state, &old), NVML_SUCCESS);
	assert_int_equal(old.state, NVML_GPU_FABRIC_STATE_NOT_SUPPORTED);
	memset(&untouched, 0x5a, sizeof(untouched));
	fabric = untouched;
	fabric.version = NVML_VERSION(nvmlGpuFabricInfo_v2_t, 2);
	assert_int_equal(nvmlDeviceGetGpuFabricInfoV(*state, &fabric), NVML_SUCCESS);
	assert_int_equal(fabric.state, NVML_GPU_FABRIC_STATE_NOT_SUPPORTED);
	assert_memory_equal((char *)&fabric + 36, (char *)&untouched + 36, 4);
	fabric.version = NVML_VERSION(nvmlGpuFabricInfoV_t, 3);
	assert_int_equal(nvmlDeviceGetGpuFabricInfoV(*state, &fabric), NVML_SUCCESS);
	assert_int_equal(fabric.healthSummary, 0);
	fabric.version = NVML_VERSION(nvmlGpuFabricInfoV_t, 4);
	assert_int_equal(nvmlDeviceGetGpuFabricInfoV(*state, &fabric), NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
}

// Versioned structures of features that are not there.
static void versions_are_checked(void **state)
{
	nvmlSystemConfComputeSettings_t settings = { 0 };
	nvmlDeviceAddressingMode_t addressing = { 0 };
	nvmlDeviceCapabilities_t capabilities = { 0 };
	nvmlGpmSupport_t gpm = { .version = 1, .isSupportedDevice = 9 };

	assert_int_equal(nvmlSystemGetConfComputeSettings(&settings), NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
	settings.version = NVML_VERSION(nvmlSystemConfComputeSettings_t, 1);
	assert_int_equal(nvmlSystemGetConfComputeSettings(&settings), NVML_SUCCESS);
	assert_int_equal(nvmlDeviceGetAddressingMode(*state, &addressing),
			 NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
	addressing.version = NVML_VERSION(nvmlDeviceAddressingMode_t, 1);
	assert_int_equal(nvmlDeviceGetAddressingMode(*state, &addressing), NVML_SUCCESS);
	assert_int_equal(nvmlDeviceGetCapabilities(*state, &capabilities),
			 NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
	capabilities.version = NVML_VERSION(nvmlDeviceCapabilities_t, 1);
	assert_int_equal(nvmlDeviceGetCapabilities(*state, &capabilities), NVML_SUCCESS);
	assert_int_equal(nvmlGpmQueryDeviceSupport(*state, &gpm), NVML_SUCCESS);
	assert_int_equal(gpm.isSupportedDevice, 0);
	gpm.version = 2;
	assert_int_equal(nvmlGpmQueryDeviceSupport(*state, &gpm), NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(single_numbers),
		TEST(several_numbers),
		TEST(wide_numbers),
		TEST(temperatures),
		TEST(clocks),
		TEST(fans_and_pcie),
		TEST(modes),
		TEST(fields),
		TEST(links_and_neighbours),
		TEST(versions_are_checked),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
