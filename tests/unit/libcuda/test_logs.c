// SPDX-License-Identifier: Apache-2.0
// The error log that programs fetch: order, iterators, too little room, callbacks.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "guest/libcuda/libcuda.h"

static char text[32768];
static size_t size;
static char heard[64];
static unsigned int n_heard;

static const char *dump(CUlogIterator *from, size_t room)
{
	memset(text, 'x', sizeof(text));
	size = room;
	assert_int_equal(cuLogsDumpToMemory(from, text, &size, 0), CUDA_SUCCESS);
	assert_int_equal(strlen(text), size);
	return text;
}

static void lines_come_in_order(void **state)
{
	CUlogIterator here, begin;

	(void)state;
	assert_int_equal(cuLogsCurrent(&begin, 0), CUDA_SUCCESS);
	assert_string_equal(dump(&begin, sizeof(text)), "");
	vc_log("first %d", 1);
	assert_int_equal(cuLogsCurrent(&here, 0), CUDA_SUCCESS);
	vc_log("second");
	assert_string_equal(dump(&begin, sizeof(text)), "first 1\nsecond\n");
	assert_string_equal(dump(&begin, sizeof(text)), ""); // it has moved on
	assert_string_equal(dump(&here, sizeof(text)), "second\n");
	assert_string_equal(dump(NULL, sizeof(text)), "first 1\nsecond\n");
}

static void the_latest_fit(void **state)
{
	CUlogIterator begin;

	(void)state;
	assert_int_equal(cuLogsCurrent(&begin, 0), CUDA_SUCCESS);
	for (int i = 0; i < 200; i++)
		vc_log("line %d", i);
	assert_non_null(strstr(dump(&begin, sizeof(text)), "lost"));
	assert_non_null(strstr(text, "line 199\n"));
	assert_null(strstr(text, "line 100\n"));
	for (size_t room = 28 + 10; room < 200; room++) {
		dump(NULL, room);
		assert_true(size < room);
		assert_non_null(strstr(text, "line 199\n"));
		assert_int_equal(text[room], 'x');
	}
	size = 5;
	assert_int_equal(cuLogsDumpToMemory(NULL, text, &size, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(size, 0);
	assert_int_equal(cuLogsDumpToMemory(NULL, NULL, &size, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuLogsDumpToMemory(NULL, text, &size, 1), CUDA_ERROR_INVALID_VALUE);
}

static void hear(void *data, int level, char *message, size_t length)
{
	assert_ptr_equal(data, heard);
	assert_int_equal(level, 0);
	assert_int_equal(strlen(message), length);
	snprintf(heard, sizeof(heard), "%s", message);
	n_heard++;
}

static void callbacks_hear(void **state)
{
	CUlogsCallbackHandle handle;

	(void)state;
	assert_int_equal(cuLogsRegisterCallback(NULL, heard, &handle), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuLogsRegisterCallback(hear, heard, &handle), CUDA_SUCCESS);
	vc_log("listen");
	assert_string_equal(heard, "listen");
	assert_int_equal(cuLogsUnregisterCallback(handle), CUDA_SUCCESS);
	assert_int_equal(cuLogsUnregisterCallback(handle), CUDA_ERROR_INVALID_VALUE);
	vc_log("nobody is there");
	assert_int_equal(n_heard, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_come_in_order),
		cmocka_unit_test(the_latest_fit),
		cmocka_unit_test(callbacks_hear),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
