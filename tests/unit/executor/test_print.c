// SPDX-License-Identifier: Apache-2.0
// executor/print.c: order, what finds no room, the flag that the guest looks at, which images print.
#include "executor/print.h"

#include <string.h>

#include "protocol/guest/channel.h"
#include "tests/unit/executor/test.h"

static struct print_buffer p;
static _Atomic uint32_t flags;
static char taken[VGPU_MAX_PRINT_BYTES];

static int setup(void **state)
{
	(void)state;
	atomic_store(&flags, CHANNEL_PRINT_ASK);
	print_init(&p, &flags, CHANNEL_PRINT_WAITING);
	return 0;
}

static void text_comes_in_order(void **state)
{
	(void)state;
	print_put(&p, "one two ", 8);
	assert_int_equal(atomic_load(&flags), CHANNEL_PRINT_ASK | CHANNEL_PRINT_WAITING);
	assert_int_equal(print_take(&p, taken, 4), 4);
	assert_memory_equal(taken, "one ", 4);
	print_put(&p, "three", 5);
	assert_int_equal(print_take(&p, taken, sizeof(taken)), 9);
	assert_memory_equal(taken, "two three", 9);
	assert_int_equal(atomic_load(&flags), CHANNEL_PRINT_ASK);
	assert_int_equal(print_take(&p, taken, sizeof(taken)), 0);
}

static void what_finds_no_room_is_counted(void **state)
{
	static char much[VGPU_MAX_PRINT_BYTES];

	(void)state;
	memset(much, 'x', sizeof(much));
	print_put(&p, "abc", 3);
	print_put(&p, much, sizeof(much));
	assert_int_equal(print_lost(&p), 3);
	assert_int_equal(print_lost(&p), 0);
	// Room that was freed at the beginning is used again.
	assert_int_equal(print_take(&p, taken, 10), 10);
	print_put(&p, "0123456789", 10);
	assert_int_equal(print_lost(&p), 0);
	assert_int_equal(print_take(&p, taken, sizeof(taken)), sizeof(taken));
	assert_memory_equal(taken + sizeof(taken) - 10, "0123456789", 10);
}

static void images_that_print(void **state)
{
	static const char packed[] = { 1, 0x28, (char)0xb5, 0x2f, (char)0xfd, 0 };

	(void)state;
	assert_true(print_in_image("call vprintf,", 13));
	assert_false(print_in_image("call vprintf,", 11));
	assert_false(print_in_image(packed, sizeof(packed))); // zstd: cannot be looked into
	assert_false(print_in_image("", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(text_comes_in_order, setup),
		cmocka_unit_test_setup(what_finds_no_room_is_counted, setup),
		cmocka_unit_test_setup(images_that_print, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
