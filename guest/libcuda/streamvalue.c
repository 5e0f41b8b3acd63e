// SPDX-License-Identifier: Apache-2.0
// Values that a stream stores when it gets there: a write of four or eight bytes in stream order. Runs in the
// guest program.
#include "guest/libcuda/libcuda.h"

static CUresult write_value(CUstream stream, CUdeviceptr address, const void *value, uint32_t bytes,
			    unsigned int flags)
{
	struct vc_context *ctx;
	struct vc_stream *s;
	CUresult result = vc_enter_report(&ctx);

	if (!result)
		result = vc_stream_resolve(stream, &s);
	if (result)
		return result;
	if (address % bytes || (flags & ~CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER))
		return CUDA_ERROR_INVALID_VALUE;
	return vc_write_submit(s, address, value, bytes);
}

CUresult cuStreamWriteValue32_v2(CUstream stream, CUdeviceptr addr, uint32_t value, unsigned int flags)
{
	return write_value(stream, addr, &value, sizeof(value), flags);
}

CUresult cuStreamWriteValue64_v2(CUstream stream, CUdeviceptr addr, uint64_t value, unsigned int flags)
{
	return write_value(stream, addr, &value, sizeof(value), flags);
}
