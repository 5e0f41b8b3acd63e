// SPDX-License-Identifier: Apache-2.0
// Names and texts of result codes, as the driver spells them. Runs in the guest program, before cuInit too.
#include "guest/libcuda/libcuda.h"

struct result_text {
	int code;
	const char *name;
	const char *text;
};

static const struct result_text results[] = {
#define CUDA_RESULT(code, name, text) { code, #name, text },
#include "protocol/cuda/cuda_results.def"
#undef CUDA_RESULT
};

static const struct result_text *find_result(int code)
{
	size_t low = 0, high = sizeof(results) / sizeof(results[0]);

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (results[mid].code == code)
			return &results[mid];
		if (results[mid].code < code)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

const char *vc_error_name(CUresult error)
{
	const struct result_text *found = find_result((int)error);

	return found ? found->name : "unknown";
}

// Before cuInit as well, but not after the end of the program, as the driver.
static CUresult tell(const struct result_text *found, const char *what, const char **ret)
{
	if (atomic_load_explicit(&vc_state, memory_order_relaxed) == VC_SHUT_DOWN)
		return CUDA_ERROR_DEINITIALIZED;
	if (!ret)
		return CUDA_ERROR_INVALID_VALUE;
	*ret = what;
	return found ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorName(CUresult error, const char **text)
{
	const struct result_text *found = find_result((int)error);

	return tell(found, found ? found->name : NULL, text);
}

CUresult cuGetErrorString(CUresult error, const char **text)
{
	const struct result_text *found = find_result((int)error);

	return tell(found, found ? found->text : NULL, text);
}
