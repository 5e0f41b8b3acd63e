// SPDX-License-Identifier: Apache-2.0
// The cpu backend's linker; see the header. The engine takes .version and .target anywhere in a text, and
// declarations of a name before and behind its definition, so joining is putting one behind the other.
// Executor process, loop thread.
#include "executor/backends/cpu/cpu_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/cuda/cuda_abi.h"

// The PTX of one input: text, or a fat binary with some in it.
static int find_ptx(const struct backend_input *input, unsigned max_sm, struct cpu_image *ret, char *error,
		    size_t error_bytes)
{
	switch (input->type) {
	case CU_JIT_INPUT_PTX:
	case CU_JIT_INPUT_FATBINARY:
		return cpu_image_ptx(input->data, input->bytes, max_sm, ret, error, error_bytes);
	case CU_JIT_INPUT_CUBIN:
	case CU_JIT_INPUT_OBJECT:
	case CU_JIT_INPUT_LIBRARY:
		snprintf(error, error_bytes,
			 "link: machine code among the inputs; this device runs PTX only");
		return CUDA_ERROR_NO_BINARY_FOR_GPU;
	default:
		snprintf(error, error_bytes, "link: inputs of kind %u are not supported", input->type);
		return CUDA_ERROR_NOT_SUPPORTED;
	}
}

static int append(struct cpu_image *to, const struct cpu_image *text)
{
	size_t bytes = strnlen(text->text, text->bytes);
	char *grown = realloc(to->owned, to->bytes + bytes + 1);

	if (!grown)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(grown + to->bytes, text->text, bytes);
	grown[to->bytes + bytes] = '\n';
	to->bytes += bytes + 1;
	to->text = to->owned = grown;
	return 0;
}

int cpu_link_ptx(const struct backend_input *inputs, uint32_t n, unsigned max_sm, struct cpu_image *ret,
		 char *error, size_t error_bytes)
{
	struct cpu_image all = { 0 };
	int result = 0;

	error[0] = 0;
	for (uint32_t i = 0; i < n && !result; i++) {
		struct cpu_image one = { 0 };

		result = find_ptx(&inputs[i], max_sm, &one, error, error_bytes);
		if (!result)
			result = append(&all, &one);
		free(one.owned);
	}
	if (result)
		free(all.owned);
	else
		*ret = all;
	return result;
}
