// SPDX-License-Identifier: Apache-2.0
//
// Every result code's name and text, before cuInit and after; unknown codes.
#include "tests/e2e/check.h"

#include <string.h>

static const struct {
	int code;
	const char *name, *text;
} results[] = {
#define CUDA_RESULT(number, symbol, words) { number, #symbol, words },
#include "protocol/cuda/cuda_results.def"
#undef CUDA_RESULT
};

static void all_known(const char *when)
{
	int wrong = 0;
	for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
		const char *name = NULL, *text = NULL;
		CUresult a = cuGetErrorName((CUresult)results[i].code, &name);
		CUresult b = cuGetErrorString((CUresult)results[i].code, &text);
		if (a || b || !name || !text || strcmp(name, results[i].name) ||
		    strcmp(text, results[i].text)) {
			wrong++;
			CHECK(false, "%d: expected %s \"%s\", got %s \"%s\" (%d, %d)", results[i].code,
			      results[i].name, results[i].text, name ? name : "NULL", text ? text : "NULL", a,
			      b);
		}
	}
	CHECK(!wrong, "names and texts of all codes %s", when);
}

int main(void)
{
	const char *text = "unchanged";
	check_open();
	all_known("before cuInit");
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGetErrorName((CUresult)12345, &text));
	CHECK(!text, "an unknown code's name is NULL");
	text = "unchanged";
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGetErrorString((CUresult)12345, &text));
	CHECK(!text, "an unknown code's text is NULL");
	MUST(cuInit(0));
	all_known("after cuInit");
	return check_done();
}
