// SPDX-License-Identifier: Apache-2.0
// BAR0's registers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/guest/vgpu_pci.h"
#include "stub/registers.h"

static struct registers r;
static uint32_t arg;

static int set_up(void **state)
{
	(void)state;
	r = (struct registers){
		.tenant_id = 3, .weight = 100, .memory_quota = 0x123456789abull, .generation = 7
	};
	return 0;
}

static uint32_t get(uint64_t offset)
{
	uint32_t value = 0;

	registers_read(&r, offset, &value, 4);
	return value;
}

static enum register_action set(uint64_t offset, uint32_t value)
{
	return registers_write(&r, offset, &value, 4, &arg);
}

static void says_what_it_is(void **state)
{
	uint64_t quota;

	(void)state;
	assert_int_equal(get(VGPU_REG_MAGIC), VGPU_DEVICE_MAGIC);
	assert_int_equal(get(VGPU_REG_VERSION), VGPU_DEVICE_VERSION);
	assert_int_equal(get(VGPU_REG_FEATURES), VGPU_FEATURE_LIBRARY);
	assert_int_equal(get(VGPU_REG_FEATURES + 4), 0);
	assert_int_equal(get(VGPU_REG_VM_ID), 3);
	assert_int_equal(get(VGPU_REG_GENERATION), 7);
	registers_read(&r, VGPU_REG_MEMORY, &quota, 8);
	assert_true(quota == 0x123456789abull);
	assert_int_equal(r.strange_reads, 0);
}

static void any_shape_of_read_is_answered(void **state)
{
	uint8_t bytes[64];

	(void)state;
	registers_read(&r, VGPU_REG_MAGIC + 1, bytes, 2);
	assert_memory_equal(bytes, "GP", 2);
	registers_read(&r, VGPU_REG_MAGIC, bytes, sizeof(bytes));
	assert_memory_equal(bytes, "VGPU\1\0\0\0", 8);
	assert_int_equal(get(0x7fffc), 0);
	assert_int_equal(get(UINT64_MAX - 3), 0);
	assert_true(r.strange_reads > 0);
}

static void writes_of_the_guests_registers(void **state)
{
	uint64_t area = 0x1234567000ull;

	(void)state;
	assert_int_equal(registers_write(&r, VGPU_REG_ADMIN, &area, 8, &arg), REGISTER_NOTHING);
	assert_true(r.admin == area);
	set(VGPU_REG_ADMIN + 4, 1);
	assert_true(r.admin == 0x134567000ull);
	set(VGPU_REG_ADMIN_BYTES, 9000);
	assert_int_equal(get(VGPU_REG_ADMIN_BYTES), 9000);
	r.cause = 7;
	set(VGPU_REG_CAUSE, 5);
	assert_int_equal(r.cause, 2);
	assert_int_equal(r.strange_writes, 0);
}

static void actions(void **state)
{
	(void)state;
	assert_int_equal(set(VGPU_REG_COMMAND, 0xffffffffu), REGISTER_COMMAND);
	assert_int_equal(arg, 0xffffffffu);
	assert_int_equal(set(VGPU_REG_ADMIN_ENABLE, 1), REGISTER_ENABLE);
	assert_int_equal(arg, 1);
	assert_int_equal(set(VGPU_REG_ADMIN_ENABLE, 2), REGISTER_NOTHING);
	assert_int_equal(set(VGPU_BAR0_CHANNEL(0), 0), REGISTER_DOORBELL);
	assert_int_equal(arg, 0);
	assert_int_equal(registers_write(&r, VGPU_BAR0_CHANNEL(63) + 4095, "", 1, &arg), REGISTER_DOORBELL);
	assert_int_equal(arg, 63);
	assert_int_equal(set(VGPU_BAR0_CHANNEL(64), 0), REGISTER_NOTHING);
	assert_int_equal(r.strange_writes, 2);
}

static void what_is_told_cannot_be_written(void **state)
{
	static const uint32_t fixed[] = { VGPU_REG_MAGIC,      VGPU_REG_VERSION, VGPU_REG_VM_ID,
					  VGPU_REG_WEIGHT,     VGPU_REG_MEMORY,	 VGPU_REG_STATUS,
					  VGPU_REG_GENERATION, VGPU_REG_ERROR };

	(void)state;
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		uint32_t before = get(fixed[i]);

		assert_int_equal(set(fixed[i], ~before), REGISTER_NOTHING);
		assert_int_equal(get(fixed[i]), before);
	}
	assert_int_equal(r.strange_writes, sizeof(fixed) / sizeof(fixed[0]));
}

static void odd_writes_do_nothing(void **state)
{
	static const uint32_t counts[] = { 1, 2, 3, 5, 16, 4096 };
	static const uint8_t ones[4096] = { 1 };

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		assert_int_equal(registers_write(&r, VGPU_REG_ADMIN_ENABLE, ones, counts[i], &arg),
				 REGISTER_NOTHING);
	assert_int_equal(registers_write(&r, VGPU_REG_ADMIN + 2, ones, 4, &arg), REGISTER_NOTHING);
	assert_true(r.admin == 0);
}

static void reset_keeps_what_the_mediator_told(void **state)
{
	(void)state;
	r.status = VGPU_STATUS_READY | VGPU_STATUS_ENABLED;
	r.admin = 4096;
	r.cause = 7;
	registers_reset(&r);
	assert_int_equal(r.status, VGPU_STATUS_READY);
	assert_int_equal(r.generation, 8);
	assert_int_equal(r.cause, 0);
	assert_true(r.admin == 0);
	assert_int_equal(r.weight, 100);
}

#define TEST(f) cmocka_unit_test_setup(f, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(says_what_it_is),
		TEST(any_shape_of_read_is_answered),
		TEST(writes_of_the_guests_registers),
		TEST(actions),
		TEST(what_is_told_cannot_be_written),
		TEST(odd_writes_do_nothing),
		TEST(reset_keeps_what_the_mediator_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
