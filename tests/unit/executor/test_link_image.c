// SPDX-License-Identifier: Apache-2.0
// Images of several inputs as the executor checks them, good ones and those that lie about their lengths.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "executor/link_image.h"
#include "protocol/cuda/cuda_abi.h"
#include "protocol/guest/link_image.h"

struct image {
	struct link_image_header head;
	struct link_image_input inputs[2];
	char contents[24];
};

static struct backend_input got[VGPU_MAX_LINK_INPUTS];
static uint32_t n;

static struct image good(void)
{
	return (struct image){
		.head = { LINK_IMAGE_MAGIC, 2, sizeof(struct image) },
		.inputs = { { CU_JIT_INPUT_PTX, 0, offsetof(struct image, contents), 7 },
			    { CU_JIT_INPUT_CUBIN, 0, offsetof(struct image, contents) + 8, 15 } },
		.contents = "a text\n\0fifteen bytes..",
	};
}

// Reads a copy of exact size, so that a checker sees every access behind it.
static int32_t read_copy(const struct image *i, size_t bytes)
{
	static void *copy;

	free(copy);
	copy = malloc(bytes ? bytes : 1);
	assert_non_null(copy);
	memcpy(copy, i, bytes);
	return link_image_read(copy, bytes, got, &n);
}

static void inputs_are_found(void **state)
{
	struct image i = good();

	(void)state;
	assert_true(link_image_is(&i, sizeof(i)));
	assert_false(link_image_is(&i, 15));
	assert_int_equal(read_copy(&i, sizeof(i)), 0);
	assert_int_equal(n, 2);
	assert_int_equal(got[0].type, CU_JIT_INPUT_PTX);
	assert_int_equal(got[0].bytes, 7);
	assert_string_equal(got[0].data, "a text\n");
	assert_int_equal(got[1].bytes, 15);
	assert_string_equal(got[1].data, "fifteen bytes..");
}

#define REFUSED(change)                                                               \
	do {                                                                          \
		struct image i = good();                                              \
		change;                                                               \
		assert_int_equal(read_copy(&i, sizeof(i)), CUDA_ERROR_INVALID_IMAGE); \
	} while (0)

static void lies_are_refused(void **state)
{
	struct image whole = good();

	(void)state;
	for (size_t bytes = 0; bytes < sizeof(whole); bytes++)
		assert_int_equal(read_copy(&whole, bytes), CUDA_ERROR_INVALID_IMAGE);
	REFUSED(i.head.magic++);
	REFUSED(i.head.n_inputs = 0);
	REFUSED(i.head.n_inputs = 3);
	REFUSED(i.head.n_inputs = UINT32_MAX);
	REFUSED(i.head.bytes++);
	REFUSED(i.inputs[0].type = CU_JIT_INPUT_COUNT);
	REFUSED(i.inputs[0].reserved = 1);
	REFUSED(i.inputs[0].offset = 0);
	REFUSED(i.inputs[0].offset++);
	REFUSED(i.inputs[0].offset = sizeof(i));
	REFUSED(i.inputs[1].offset = UINT64_MAX - 7);
	REFUSED(i.inputs[1].bytes = 0);
	REFUSED(i.inputs[1].bytes = 16); // no 0 behind it
	REFUSED(i.inputs[1].bytes = UINT64_MAX);
	REFUSED(i.contents[7] = 'x');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inputs_are_found),
		cmocka_unit_test(lies_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
