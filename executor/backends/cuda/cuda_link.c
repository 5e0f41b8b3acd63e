// SPDX-License-Identifier: Apache-2.0
// Modules made of several inputs: the host driver's linker, then its loader. Executor process, loop thread;
// the inputs are the tenant's bytes and the driver parses them, inside this tenant's sandboxed process.
#include "executor/backends/cuda/cuda_backend.h"

int cuda_module_link(struct backend *b, const struct backend_input *inputs, uint32_t n,
		     struct backend_jit *jit, struct backend_module **ret)
{
	struct backend_jit load = { 0 }; // what the linker made is code, and its logs are told
	CUjit_option options[CUDA_JIT_OPTIONS];
	void *values[CUDA_JIT_OPTIONS], *cubin;
	size_t bytes;
	CUlinkState state;
	unsigned count;
	int result;

	if (!b->cu.link_create || !b->cu.link_add_data || !b->cu.link_complete || !b->cu.link_destroy)
		return CUDA_ERROR_NOT_SUPPORTED;
	count = cuda_jit_options(jit, options, values);
	result = cuda_result(b, b->cu.link_create(count, options, values, &state));
	if (result)
		return result;
	for (uint32_t i = 0; !result && i < n; i++)
		result = cuda_result(b, b->cu.link_add_data(state, (CUjitInputType)inputs[i].type,
							    (void *)inputs[i].data, inputs[i].bytes, NULL, 0,
							    NULL, NULL));
	if (!result)
		result = cuda_result(b, b->cu.link_complete(state, &cubin, &bytes));
	if (!result)
		result = cuda_module_load(b, cubin, bytes, &load, ret);
	cuda_result(b, b->cu.link_destroy(state));
	cuda_jit_end(jit);
	return result;
}
