// SPDX-License-Identifier: Apache-2.0
// Configuration space, as vgpu's own device fills it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/guest/vgpu_pci.h"
#include "stub/personality/custom.h"

static struct config_space c;

static int set_up(void **state)
{
	(void)state;
	memset(&c, 0, sizeof(c));
	custom_config(&c);
	return 0;
}

static uint32_t get(uint32_t offset, uint32_t width)
{
	uint32_t value = 0;

	config_space_read(&c, offset, &value, width);
	return value;
}

static void set(uint32_t offset, uint32_t width, uint32_t value)
{
	config_space_write(&c, offset, &value, width);
}

static void identity(void **state)
{
	(void)state;
	assert_int_equal(get(0, 2), VGPU_PCI_VENDOR);
	assert_int_equal(get(2, 2), VGPU_PCI_DEVICE);
	assert_int_equal(get(8, 4) >> 8, VGPU_PCI_CLASS);
	assert_int_equal(get(0x0e, 1), 0); // header type
	assert_int_equal(get(0x3d, 1), 0); // no INTx
	set(0, 4, 0);
	assert_int_equal(get(0, 2), VGPU_PCI_VENDOR);
}

static void bar_sizing(void **state)
{
	(void)state;
	set(0x10, 4, 0xffffffffu);
	assert_int_equal(get(0x10, 4), ~(VGPU_BAR0_BYTES - 1u));
	set(0x10, 4, 0xfe000004u);
	assert_int_equal(get(0x10, 4), 0xfe000000u);
	for (uint32_t bar = 0x14; bar <= 0x30; bar += 4) { // no other BAR, no ROM
		if (bar >= 0x28 && bar < 0x30)
			continue;
		set(bar, 4, 0xffffffffu);
		assert_int_equal(get(bar, 4), 0);
	}
}

static void capability_list(void **state)
{
	static const uint8_t expected[] = { 0x01, 0x05, 0x10 };
	uint32_t at = get(0x34, 1);
	size_t n = 0;

	(void)state;
	assert_true(get(6, 2) & 0x10);
	for (; at; at = get(at + 1, 1)) {
		assert_true(at >= 0x40 && at % 4 == 0 && n < sizeof(expected));
		assert_int_equal(get(at, 1), expected[n++]);
	}
	assert_int_equal(n, sizeof(expected));
}

static void anything_may_be_written_and_read(void **state)
{
	uint8_t all[CONFIG_SPACE_BYTES + 64];

	(void)state;
	memset(all, 0xff, sizeof(all));
	config_space_write(&c, 0, all, sizeof(all));
	config_space_write(&c, UINT64_MAX - 4, all, 8);
	config_space_read(&c, 0, all, sizeof(all));
	assert_int_equal(all[CONFIG_SPACE_BYTES], 0);
	assert_int_equal(get(2, 2), VGPU_PCI_DEVICE);
	config_space_read(&c, UINT64_MAX, all, 4);
	assert_int_equal(all[0] | all[1] | all[2] | all[3], 0);
	assert_int_equal(get(0x488, 4), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(identity, set_up),
		cmocka_unit_test_setup(bar_sizing, set_up),
		cmocka_unit_test_setup(capability_list, set_up),
		cmocka_unit_test_setup(anything_may_be_written_and_read, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
