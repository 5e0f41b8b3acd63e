// SPDX-License-Identifier: Apache-2.0
// Reading a card through a libnvidia-ml.so.1 (sensor/host_nvml.c): the library is a made-up one
// (fake_nvml.c), found with VGPU_HOST_LIBNVML; its path is this program's argument.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/cuda/cuda_abi.h"
#include "sensor/host_nvml.h"
#include "sensor/xid.h"

static struct device_identity identity;
static struct host_nvml nvml;
static struct device_texts texts;
static struct device_values values;
static char why[256];

static void behave(const char *how)
{
	if (how)
		setenv("VGPU_FAKE_NVML", how, 1);
	else
		unsetenv("VGPU_FAKE_NVML");
}

static int setup(void **state)
{
	(void)state;
	behave(NULL);
	why[0] = 0;
	identity.attributes[CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID] = 1;
	identity.attributes[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID] = 0x41;
	identity.attributes[CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID] = 3;
	return 0;
}

static void expect(enum device_value which, uint64_t value)
{
	assert_true(device_value_known(&values, which));
	assert_int_equal(values.value[which], value);
}

static void expect_unknown(enum device_value which)
{
	assert_false(device_value_known(&values, which));
	assert_int_equal(values.value[which], 0);
}

static void open_and_read(void)
{
	assert_int_equal(host_nvml_open(&nvml, &identity, why, sizeof(why)), 0);
	assert_int_equal(host_nvml_read(&nvml, &texts, &values), 0);
}

static void a_server_card_is_read_completely(void **state)
{
	(void)state;
	open_and_read();
	for (unsigned i = 0; i < DEVICE_MEMORY_TOTAL; i++) { // all that is not the tenant's
		if (i != DEVICE_FAN_SPEED)
			assert_true(device_value_known(&values, i));
	}
	expect_unknown(DEVICE_FAN_SPEED);
	expect_unknown(DEVICE_MEMORY_TOTAL);
	expect(DEVICE_PCI_ID, 0x233010de);
	expect(DEVICE_PCI_BUS, 0x41);
	expect(DEVICE_TEMPERATURE_MEMORY, 51);
	expect(DEVICE_TEMPERATURE_SLOWDOWN, 86);
	expect(DEVICE_TEMPERATURE_MEMORY_MAX, 87);
	expect(DEVICE_TEMPERATURE_GPU_MAX, 88);
	expect(DEVICE_MIG_MODE, 0);
	expect(DEVICE_MIG_MODE_PENDING, 1);
	expect(DEVICE_POWER_DRAW, 350123);
	expect(DEVICE_POWER_LIMIT_LEAST, 200000);
	expect(DEVICE_ENERGY, 123456789012);
	expect(DEVICE_CLOCK_MEMORY, 1002);
	expect(DEVICE_CLOCK_VIDEO_MAX, 2003);
	expect(DEVICE_CLOCK_APPLICATION_MEMORY, 1502);
	expect(DEVICE_CLOCK_DEFAULT_GRAPHICS, 1600);
	expect(DEVICE_CLOCK_DEFAULT_MEMORY, 1602);
	expect(DEVICE_ECC_VOLATILE_CORRECTED, 0);
	expect(DEVICE_ECC_AGGREGATE_UNCORRECTED, 11);
	expect(DEVICE_REMAPPED_CORRECTED, 2);
	expect(DEVICE_CARD_GPU_UTILISATION, 97);
	expect(DEVICE_CARD_MEMORY_FREE, 7ull << 30);
	expect(DEVICE_CARD_PCIE_SENT, 100);
	expect(DEVICE_CARD_PCIE_RECEIVED, 101);
	expect(DEVICE_BAR1_TOTAL, 128ull << 30);
	expect(DEVICE_CUDA_DRIVER_VERSION, 13000);
	assert_string_equal(texts.driver, "580.159.04");
	assert_string_equal(texts.serial, "1650000000000");
	assert_string_equal(texts.board_part, "692-2G520-0200-000");
	assert_string_equal(texts.inforom_image, "G520.0200.00.05");
	assert_string_equal(texts.gsp_firmware, "580.159.04");
}

static void readings_are_read_again_and_fixed_values_once(void **state)
{
	uint64_t first;

	(void)state;
	open_and_read();
	first = values.value[DEVICE_TEMPERATURE];
	assert_int_equal(host_nvml_read(&nvml, &texts, &values), 0);
	expect(DEVICE_TEMPERATURE, first + 1);
	expect_unknown(DEVICE_GPU_CORES);
	expect_unknown(DEVICE_POWER_LIMIT_MOST);
}

static void what_a_card_has_not_is_not_made_up(void **state)
{
	(void)state;
	behave("some");
	open_and_read();
	expect_unknown(DEVICE_ECC_MODE);
	expect_unknown(DEVICE_ECC_AGGREGATE_UNCORRECTED);
	expect_unknown(DEVICE_MIG_MODE);
	expect_unknown(DEVICE_TEMPERATURE_MEMORY);
	expect_unknown(DEVICE_REMAPPED_CORRECTED);
	expect_unknown(DEVICE_NUMA_NODE); // all ones
	assert_string_equal(texts.serial, "");
	expect(DEVICE_POWER_DRAW, 350123);
}

static void a_card_is_found_by_its_place(void **state)
{
	(void)state;
	behave("bus");
	open_and_read();
	expect(DEVICE_MINOR_NUMBER, 3);
	identity.attributes[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID] = 0x42;
	assert_int_equal(host_nvml_open(&nvml, &identity, why, sizeof(why)), -ENOENT);
	assert_non_null(strstr(why, "NVML error 6"));
}

static void no_library_and_no_driver_are_told_apart(void **state)
{
	char *path = strdup(getenv(HOST_NVML_ENV));

	(void)state;
	behave("none");
	assert_int_equal(host_nvml_open(&nvml, &identity, why, sizeof(why)), -ENOENT);
	assert_non_null(strstr(why, "NVML error 9"));
	setenv(HOST_NVML_ENV, "/nonexistent/libnvidia-ml.so.1", 1);
	assert_int_equal(host_nvml_open(&nvml, &identity, why, sizeof(why)), -ENOENT);
	assert_non_null(strstr(why, "/nonexistent/"));
	setenv(HOST_NVML_ENV, path, 1);
	free(path);
}

static void a_lost_card_has_no_values(void **state)
{
	(void)state;
	open_and_read();
	behave("lost");
	assert_int_equal(host_nvml_read(&nvml, &texts, &values), -EIO);
	for (unsigned i = 0; i < DEVICE_VALUES; i++)
		expect_unknown(i);
	assert_string_equal(texts.driver, "");
	behave(NULL);
	assert_int_equal(host_nvml_read(&nvml, &texts, &values), 0);
}

static void errors_of_the_card_are_told_once(void **state)
{
	uint32_t xids[LINK_SENSED_XIDS];
	struct xid_events x;

	(void)state;
	open_and_read();
	unsetenv("VGPU_FAKE_XIDS");
	xid_open(&x, &nvml);
	assert_int_equal(xid_take(&x, xids), 0);
	setenv("VGPU_FAKE_XIDS", "48 other 31", 1);
	assert_int_equal(xid_take(&x, xids), 2);
	assert_int_equal(xids[0], 48);
	assert_int_equal(xids[1], 31);
	assert_int_equal(xid_take(&x, xids), 0);
	// Of more than fit the last ones.
	setenv("VGPU_FAKE_XIDS", "48 other 31 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18", 1);
	assert_int_equal(xid_take(&x, xids), LINK_SENSED_XIDS);
	assert_int_equal(xids[0], 3);
	assert_int_equal(xids[LINK_SENSED_XIDS - 1], 18);
	unsetenv("VGPU_FAKE_XIDS");
}

static void a_card_without_events_is_read_all_the_same(void **state)
{
	uint32_t xids[LINK_SENSED_XIDS];
	struct xid_events x;

	(void)state;
	behave("noevents");
	open_and_read();
	xid_open(&x, &nvml);
	setenv("VGPU_FAKE_XIDS", "48", 1);
	assert_int_equal(xid_take(&x, xids), 0);
	unsetenv("VGPU_FAKE_XIDS");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_server_card_is_read_completely, setup),
		cmocka_unit_test_setup(readings_are_read_again_and_fixed_values_once, setup),
		cmocka_unit_test_setup(what_a_card_has_not_is_not_made_up, setup),
		cmocka_unit_test_setup(a_card_is_found_by_its_place, setup),
		cmocka_unit_test_setup(no_library_and_no_driver_are_told_apart, setup),
		cmocka_unit_test_setup(a_lost_card_has_no_values, setup),
		cmocka_unit_test_setup(errors_of_the_card_are_told_once, setup),
		cmocka_unit_test_setup(a_card_without_events_is_read_all_the_same, setup),
	};

	if (argc != 2)
		return 2;
	setenv(HOST_NVML_ENV, argv[1], 1);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
