// SPDX-License-Identifier: Apache-2.0
// Event streams, taken apart the same however their bytes are divided.
#include "tests/unit/admin/test.h"

#include "admin/sse.h"

static char seen[4096];
static int until; // events; 0: all

static bool on_event(void *opaque, const char *type, const char *data)
{
	size_t n = strlen(seen);

	(void)opaque;
	snprintf(seen + n, sizeof(seen) - n, "<%s|%s>", type, data);
	return until == 0 || --until > 0;
}

static const char stream[] = ": hello\n\n"
			     "id: 7\nevent: tenant\ndata: {\"a\":1}\n\n"
			     "data:one\r\ndata: two\r\n\r\n"
			     "retry: 250\nunknown: x\ndata\n\n"
			     "id:8\rdata: cr\r\r"
			     "id: 9\ndata: not complete\n";
static const char expected[] = "<tenant|{\"a\":1}><message|one\ntwo><message|><message|cr>";

static void test_events(void **state)
{
	(void)state;
	for (size_t step = 1; step < sizeof(stream); step++) {
		struct sse s;

		seen[0] = 0;
		until = 0;
		sse_init(&s, on_event, NULL);
		for (size_t at = 0; at < sizeof(stream) - 1; at += step) {
			size_t n = sizeof(stream) - 1 - at;

			assert_true(sse_take(&s, stream + at, n < step ? n : step));
		}
		assert_string_equal(seen, expected);
		assert_string_equal(sse_last_id(&s), "8");
		assert_int_equal(s.retry_ms, 250);
		sse_reset(&s);
		assert_string_equal(sse_last_id(&s), "8");
		assert_true(sse_take(&s, "\n", 1)); // what was not complete is gone
		assert_string_equal(seen, expected);
		sse_done(&s);
	}
}

static void test_enough(void **state)
{
	struct sse s;

	(void)state;
	seen[0] = 0;
	until = 2;
	sse_init(&s, on_event, NULL);
	assert_false(sse_take(&s, stream, sizeof(stream) - 1));
	assert_string_equal(seen, "<tenant|{\"a\":1}><message|one\ntwo>");
	sse_done(&s);
}

static void test_an_event_without_end_is_refused(void **state)
{
	struct sse s;
	size_t taken = 0;
	char line[4096];

	(void)state;
	memset(line, 'x', sizeof(line));
	sse_init(&s, on_event, NULL);
	while (sse_take(&s, line, sizeof(line)) && taken < 2 * (size_t)SSE_MOST_BYTES)
		taken += sizeof(line);
	assert_true(taken <= SSE_MOST_BYTES);
	sse_done(&s);
	sse_init(&s, on_event, NULL);
	for (taken = 0; sse_take(&s, "data: xxxxxxxxx\n", 16) && taken < 4 * (size_t)SSE_MOST_BYTES;)
		taken += 16;
	assert_true(taken < 4 * (size_t)SSE_MOST_BYTES);
	sse_done(&s);
	sse_init(&s, on_event, NULL);
	assert_false(sse_take(&s, "a\0b\n", 4));
	sse_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_enough),
		cmocka_unit_test(test_an_event_without_end_is_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, group_set_up, NULL);
}
