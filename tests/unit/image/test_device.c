// SPDX-License-Identifier: Apache-2.0
// Which code a device takes.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "image/device.h"

static struct image_target target(const char *text)
{
	struct image_target t;

	assert_true(image_target_parse(text, strlen(text), &t));
	return t;
}

static enum image_fit code(unsigned sm, const char *text)
{
	struct image_target t = target(text);

	return image_code_fit(&(struct image_device){ sm, 90, true }, &t);
}

static enum image_fit ptx(unsigned sm, unsigned newest, const char *text, unsigned version)
{
	struct image_target t = target(text);

	return image_ptx_fit(&(struct image_device){ sm, newest, true }, &t, version);
}

static void targets_are_read(void **state)
{
	struct image_target t = target("90a");

	(void)state;
	assert_int_equal(t.sm, 90);
	assert_int_equal(image_target_letter(&t), 'a');
	t = target("120f");
	assert_int_equal(t.sm, 120);
	assert_int_equal(image_target_letter(&t), 'f');
	t = image_target_of(100, 0x200011);
	assert_int_equal(t.reach, REACH_FAMILY);
	assert_false(image_target_parse("90b", 3, &t));
	assert_false(image_target_parse("a", 1, &t));
	assert_false(image_target_parse("", 0, &t));
	assert_false(image_target_parse("99999999", 8, &t));
}

static void machine_code_runs_within_its_major_version(void **state)
{
	struct image_target t = target("80");

	(void)state;
	assert_int_equal(code(90, "90"), FIT_RUNS);
	assert_int_equal(code(89, "80"), FIT_RUNS);
	assert_int_equal(code(80, "89"), FIT_NEWER);
	assert_int_equal(code(90, "80"), FIT_ARCH);
	assert_int_equal(code(90, "90a"), FIT_RUNS);
	assert_int_equal(code(103, "100a"), FIT_ARCH);
	assert_int_equal(code(103, "100f"), FIT_RUNS);
	assert_int_equal(code(100, "103f"), FIT_NEWER);
	assert_int_equal(code(120, "100f"), FIT_ARCH);
	assert_int_equal(code(87, "80"), FIT_ARCH);
	assert_int_equal(code(87, "87"), FIT_RUNS);
	assert_int_equal(code(89, "87"), FIT_ARCH);
	assert_int_equal(image_code_fit(&(struct image_device){ 80, 0, false }, &t), FIT_NO_CODE);
}

static void ptx_runs_on_what_came_later(void **state)
{
	(void)state;
	assert_int_equal(ptx(90, 80, "52", 80), FIT_RUNS);
	assert_int_equal(ptx(90, 80, "52", 81), FIT_PTX);
	assert_int_equal(ptx(90, 0, "52", 99), FIT_RUNS);
	assert_int_equal(ptx(80, 90, "90", 80), FIT_NEWER);
	assert_int_equal(ptx(100, 90, "90a", 80), FIT_ARCH);
	assert_int_equal(ptx(90, 90, "90a", 80), FIT_RUNS);
	assert_int_equal(ptx(103, 90, "100f", 88), FIT_RUNS);
}

static void drivers_take_the_ptx_of_their_time(void **state)
{
	(void)state;
	assert_int_equal(image_ptx_of_cuda(11080), 78);
	assert_int_equal(image_ptx_of_cuda(12000), 80);
	assert_int_equal(image_ptx_of_cuda(12050), 85);
	assert_int_equal(image_ptx_of_cuda(12060), 85);
	assert_int_equal(image_ptx_of_cuda(12080), 87);
	assert_int_equal(image_ptx_of_cuda(13000), 90);
	assert_int_equal(image_ptx_of_cuda(13010), 91);
	assert_int_equal(image_ptx_of_cuda(0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets_are_read),
		cmocka_unit_test(machine_code_runs_within_its_major_version),
		cmocka_unit_test(ptx_runs_on_what_came_later),
		cmocka_unit_test(drivers_take_the_ptx_of_their_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
