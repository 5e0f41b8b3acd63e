// SPDX-License-Identifier: Apache-2.0
// What a module holds, asked of the executor in pages of names; each name then becomes a function as if it
// had been asked for. Runs in the guest program.
#include <string.h>

#include "common/limits.h"
#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"

#define PAGE_BYTES 8000 // as many as a reply's tail can hold

static CUresult ask_page(struct vc_module *m, uint32_t first, struct reply_module_names *reply, char *names,
			 uint32_t *bytes)
{
	struct record_module_names record = { .module = vc_object_handle(VC_MODULE, m), .first = first };
	CUresult result =
	    (CUresult)vgpu_call_module_names(vc_client, &record, reply, names, PAGE_BYTES, bytes);

	// The last name ends where the reply does, whoever wrote it.
	if (!result && *bytes && names[*bytes - 1])
		return CUDA_ERROR_INVALID_IMAGE;
	return result;
}

CUresult vc_module_count(struct vc_module *m, unsigned int *count)
{
	struct reply_module_names reply;
	char names[PAGE_BYTES];
	uint32_t bytes;
	CUresult result = ask_page(m, 0, &reply, names, &bytes);

	if (!result)
		*count = reply.count;
	return result;
}

CUresult vc_module_each(struct vc_module *m, unsigned int most,
			CUresult (*fn)(struct vc_function *f, unsigned int i, void *arg), void *arg)
{
	struct reply_module_names reply = { .count = 1 };
	char names[PAGE_BYTES];
	CUresult result = CUDA_SUCCESS;
	struct vc_function *f;
	uint32_t bytes;

	for (unsigned int i = 0; !result && i < most && i < reply.count;) {
		uint32_t at = 0;

		result = ask_page(m, i, &reply, names, &bytes);
		if (!result && !bytes && i < reply.count)
			return CUDA_ERROR_NOT_SUPPORTED; // a name longer than a page
		for (; !result && i < most && at < bytes; i++) {
			result = vc_module_function(m, names + at, &f);
			if (!result)
				result = fn(f, i, arg);
			at += (uint32_t)strlen(names + at) + 1;
		}
	}
	return result;
}

// ---- the calls

static CUresult enter_module(CUmodule module, const void *out, struct vc_module **ret)
{
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (result)
		return result;
	if (!out)
		return CUDA_ERROR_INVALID_VALUE;
	*ret = vc_object_find(VC_MODULE, (uint64_t)(uintptr_t)module);
	return *ret ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuModuleGetFunctionCount(unsigned int *count, CUmodule module)
{
	struct vc_module *m;
	CUresult result = enter_module(module, count, &m);

	return result ? result : vc_module_count(m, count);
}

static CUresult put_function(struct vc_function *f, unsigned int i, void *arg)
{
	((CUfunction *)arg)[i] = (CUfunction)(uintptr_t)vc_object_handle(VC_FUNCTION, f);
	return CUDA_SUCCESS;
}

CUresult cuModuleEnumerateFunctions(CUfunction *functions, unsigned int count, CUmodule module)
{
	struct vc_module *m;
	CUresult result = enter_module(module, functions, &m);

	return result ? result : vc_module_each(m, count, put_function, functions);
}
