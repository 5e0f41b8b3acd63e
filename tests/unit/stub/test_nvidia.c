// SPDX-License-Identifier: Apache-2.0
// The identity device of the nvidia personality: its registers and how touches of them are counted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/host/link.h"
#include "protocol/vmm/vfio_user.h"
#include "stub/personality/nvidia.h"

#define BAR0 VFIO_USER_REGION_BAR0

static struct nvidia d;

static int set_up(void **state)
{
	(void)state;
	memset(&d, 0, sizeof(d));
	d.setup.model = nvidia_model_default();
	d.setup.bar1_bytes = NVIDIA_BAR1_DEFAULT_BYTES;
	d.setup.serial = 0x1122334455667788;
	nvidia_reset(&d, 0);
	return 0;
}

static uint32_t get(uint64_t now_ns, uint32_t offset)
{
	uint32_t value = 0;

	nvidia_read(&d, now_ns, BAR0, offset, &value, sizeof(value));
	return value;
}

static void set(uint32_t offset, uint32_t value)
{
	nvidia_write(&d, 0, BAR0, offset, &value, sizeof(value));
}

static uint32_t config(uint32_t offset)
{
	uint32_t value = 0;

	nvidia_read(&d, 0, VFIO_USER_REGION_CONFIG, offset, &value, sizeof(value));
	return value;
}

static void every_model_has_a_name(void **state)
{
	(void)state;
	assert_ptr_equal(nvidia_model_find("h100-sxm"), nvidia_model_default());
	assert_int_equal(nvidia_model_find("h100-pcie")->device, 0x2331);
	assert_null(nvidia_model_find("h100"));
}

static void the_serial_is_an_extended_capability(void **state)
{
	(void)state;
	assert_int_equal(config(0x100), 0x2f0u << 20);
	assert_int_equal(config(0x2f0), 0x00010003);
	assert_int_equal(config(0x2f4), 0x55667788);
	assert_int_equal(config(0x2f8), 0x11223344);
	d.setup.serial = 0;
	nvidia_reset(&d, 0);
	assert_int_equal(config(0x100), 0); // none at all
}

static void bars_are_sized_by_writing_ones(void **state)
{
	static const struct {
		uint32_t at;
		uint64_t bytes;
	} bars[] = { { 0x10, 16ull << 20 }, { 0x18, 512ull << 20 }, { 0x20, 32ull << 20 } };
	const uint64_t ones = UINT64_MAX;
	uint64_t mask;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		nvidia_write(&d, 0, VFIO_USER_REGION_CONFIG, bars[i].at, &ones, sizeof(ones));
		nvidia_read(&d, 0, VFIO_USER_REGION_CONFIG, bars[i].at, &mask, sizeof(mask));
		assert_true(mask == (~(bars[i].bytes - 1) | 0xc));
	}
}

// The table is searched by halves: each entry is found at both ends, and not beyond.
static void the_table_is_in_order(void **state)
{
	uint32_t last = 0;
	unsigned n = 0;

	(void)state;
	for (uint32_t at = 0; at < NVIDIA_BAR0_BYTES; at += 4) {
		const char *name = nvidia_register_name(at);

		assert_true(strlen(name) < LINK_REGISTER_NAME_BYTES);
		if (name[0]) {
			last = at;
			n++;
		}
	}
	assert_int_equal(last, 0xbbfffc);
	// Boot, scratch, PTIMER, THERM, mirrors, PFB, XAL, GSP, CC, memory, SCI, WPR, display, PRAMIN, fuses,
	// FSP, VF
	assert_int_equal(n, 3 + 64 + 2 + 1 + 2 * 1024 + 3 + 1024 + 2 * 1024 + 1 + 1 + 4 + 4 + 0x3c000 +
				0x40000 + 2 + 2 * 1024 + 0x10000);
}

static void time_begins_with_the_reset(void **state)
{
	(void)state;
	nvidia_reset(&d, 1000);
	assert_int_equal(get(1000, 0x9400), 0);
	assert_int_equal(get(1000 + (5ull << 32) + 95, 0x9400), 64);
	assert_int_equal(get(1000 + (5ull << 32) + 95, 0x9410), 5);
	assert_int_equal(get(1000 + (7ull << 32), 0xbb0084), 7);
}

static void the_function_level_reset_is_one(void **state)
{
	uint16_t control = 0x8000 | 0x513e;

	(void)state;
	set(0x100a34, 5);
	nvidia_write(&d, 9000, VFIO_USER_REGION_CONFIG, 0x68, &control, sizeof(control));
	assert_int_equal(get(9000, 0x100a34), 0);
	assert_int_equal(get(9000, 0x9400), 0);
	assert_int_equal(config(0x68) & 0xffff, 0x513e);
}

static void memory_is_the_profiles(void **state)
{
	static const struct {
		uint64_t bytes;
		uint32_t range;
	} cases[] = {
		{ 1ull << 30, 32 << 4 | 5 }, { 5ull << 30, 40 << 4 | 7 },  { 1ull << 20, 1 << 4 },
		{ 63ull << 20, 63 << 4 },    { 64ull << 20, 32 << 4 | 1 }, { 65ull << 20, 33 << 4 | 1 }
	};

	(void)state;
	assert_int_equal(get(0, 0x1183a4), 81559);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		d.setup.memory_bytes = cases[i].bytes;
		assert_int_equal(get(0, 0x1183a4), cases[i].bytes >> 20);
		assert_int_equal(get(0, 0x100ce0), cases[i].range);
	}
}

static void touches_are_counted_in_order(void **state)
{
	uint64_t both = 0xaaaaaaaa55555555;
	uint8_t byte = 0x7f;

	(void)state;
	get(0, 0xa00);
	get(0, 0x0);
	get(0, 0xa00);
	set(0xa00, 17);
	nvidia_write(&d, 0, BAR0, 0x100a34, &both, sizeof(both));
	nvidia_write(&d, 0, BAR0, 0x100a35, &byte, sizeof(byte)); // less than a register: counted, not kept
	assert_int_equal(d.touched.n, 4);
	assert_int_equal(d.touched.rows[0].offset, 0xa00);
	assert_int_equal(d.touched.rows[0].reads, 2);
	assert_int_equal(d.touched.rows[0].writes, 1);
	assert_int_equal(d.touched.rows[0].written, 17);
	assert_int_equal(d.touched.rows[0].answer, 0x180a1000);
	assert_int_equal(d.touched.rows[2].writes, 2);
	assert_int_equal(d.touched.rows[2].written, 0x7f00);
	assert_int_equal(get(0, 0x100a34), 0x55555555);
	assert_int_equal(get(0, 0x100a38), 0xaaaaaaaa);
	nvidia_reset(&d, 0);
	assert_int_equal(d.touched.n, 4);
}

static void what_has_no_row_is_counted_together(void **state)
{
	(void)state;
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < TOUCHED_ROWS + 100; i++) {
			get(0, i * 0x4000);
			set(i * 0x4000, i);
		}
	}
	assert_int_equal(d.touched.n, TOUCHED_ROWS);
	assert_int_equal(d.touched.more_reads, 200);
	assert_int_equal(d.touched.more_writes, 200);
	for (uint32_t i = 0; i < TOUCHED_ROWS; i++) {
		assert_int_equal(d.touched.rows[i].offset, i * 0x4000);
		assert_int_equal(d.touched.rows[i].reads, 2);
		assert_int_equal(d.touched.rows[i].written, i);
	}
}

static void strange_accesses_are_harmless(void **state)
{
	uint8_t all[64];

	(void)state;
	memset(all, 0xff, sizeof(all));
	nvidia_read(&d, 0, BAR0, 0, all, sizeof(all)); // longer than any processor's
	for (size_t i = 0; i < sizeof(all); i++)
		assert_int_equal(all[i], 0);
	nvidia_read(&d, 0, BAR0, UINT64_MAX - 2, all, 8);
	nvidia_write(&d, 0, BAR0, NVIDIA_BAR0_BYTES - 1, all, 2);
	assert_int_equal(d.touched.odd, 3);
	assert_int_equal(d.touched.n, 0);
	nvidia_read(&d, 0, VFIO_USER_REGION_BAR2, 0, all, 8);
	nvidia_write(&d, 0, VFIO_USER_REGION_BAR4, UINT64_MAX, all, 8);
	assert_int_equal(d.touched.aperture_reads, 1);
	assert_int_equal(d.touched.aperture_writes, 1);
	assert_int_equal(nvidia_region_bytes(&d, 6), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(every_model_has_a_name, set_up),
		cmocka_unit_test_setup(the_serial_is_an_extended_capability, set_up),
		cmocka_unit_test_setup(bars_are_sized_by_writing_ones, set_up),
		cmocka_unit_test_setup(the_table_is_in_order, set_up),
		cmocka_unit_test_setup(time_begins_with_the_reset, set_up),
		cmocka_unit_test_setup(the_function_level_reset_is_one, set_up),
		cmocka_unit_test_setup(memory_is_the_profiles, set_up),
		cmocka_unit_test_setup(touches_are_counted_in_order, set_up),
		cmocka_unit_test_setup(what_has_no_row_is_counted_together, set_up),
		cmocka_unit_test_setup(strange_accesses_are_harmless, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
