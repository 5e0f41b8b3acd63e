// SPDX-License-Identifier: Apache-2.0
// Words in memory that a stream writes or waits for when it gets there. Runs in the guest program; a wait is
// the device's, no thread of the program waits.
#include "guest/client/calls_gen.h"
#include "guest/libcuda/graph.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/ranges.h"

static CUresult check_wait(unsigned int flags)
{
	const int32_t *a = vc_device.attributes;
	unsigned int kind = flags & ~CU_STREAM_WAIT_VALUE_FLUSH;

	if (kind > CU_STREAM_WAIT_VALUE_NOR)
		return CUDA_ERROR_INVALID_VALUE;
	if (kind == CU_STREAM_WAIT_VALUE_NOR && !a[CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR])
		return CUDA_ERROR_NOT_SUPPORTED;
	return (flags & CU_STREAM_WAIT_VALUE_FLUSH) && !a[CU_DEVICE_ATTRIBUTE_CAN_FLUSH_REMOTE_WRITES]
		   ? CUDA_ERROR_NOT_SUPPORTED
		   : CUDA_SUCCESS;
}

// Device memory, or host memory that the GPU sees. bytes: the word's, a power of two.
static CUresult locate(struct word_op *op, uint32_t bytes)
{
	struct vc_range range;

	if (op->address & (bytes - 1) || vc_range_find(op->address, &range))
		return CUDA_ERROR_INVALID_VALUE;
	op->space = vc_range_is_device(&range) ? MEMORY_SPACE_DEVICE : MEMORY_SPACE_HOST;
	return CUDA_SUCCESS;
}

static CUresult read_op(const CUstreamBatchMemOpParams *p, struct word_op *op)
{
	*op = (struct word_op){ .operation = (uint32_t)p->operation };
	switch (p->operation) {
	case CU_STREAM_MEM_OP_WAIT_VALUE_32:
	case CU_STREAM_MEM_OP_WAIT_VALUE_64:
	case CU_STREAM_MEM_OP_WRITE_VALUE_32:
	case CU_STREAM_MEM_OP_WRITE_VALUE_64: break; // below: both kinds have the same fields
	case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES:
		if (p->flushRemoteWrites.flags)
			return CUDA_ERROR_INVALID_VALUE;
		return vc_device.attributes[CU_DEVICE_ATTRIBUTE_CAN_FLUSH_REMOTE_WRITES]
			   ? CUDA_SUCCESS
			   : CUDA_ERROR_NOT_SUPPORTED;
	case CU_STREAM_MEM_OP_BARRIER:
		op->flags = p->memoryBarrier.flags;
		return op->flags > CU_STREAM_MEMORY_BARRIER_TYPE_GPU ? CUDA_ERROR_INVALID_VALUE
								     : CUDA_SUCCESS;
	default: return CUDA_ERROR_INVALID_VALUE;
	}
	op->flags = p->waitValue.flags;
	op->address = p->waitValue.address;
	op->value = word_bytes(op) == 4 ? p->waitValue.value : p->waitValue.value64;
	if (word_is_wait(op)) {
		CUresult result = check_wait(op->flags);

		if (result)
			return result;
	} else if (op->flags) { // NO_MEMORY_BARRIER ended with the first form of these calls
		return CUDA_ERROR_INVALID_VALUE;
	}
	return locate(op, word_bytes(op));
}

CUresult vc_words_read(const CUstreamBatchMemOpParams *params, unsigned int count, unsigned int flags,
		       struct word_op ret[VC_MAX_WORDS])
{
	CUresult result = CUDA_SUCCESS;

	if (!vc_device.attributes[CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS])
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!params || !count || count > VC_MAX_WORDS || flags)
		return CUDA_ERROR_INVALID_VALUE;
	for (unsigned int i = 0; !result && i < count; i++)
		result = read_op(&params[i], &ret[i]);
	return result;
}

static CUresult submit(CUstream stream, const CUstreamBatchMemOpParams *params, unsigned int count,
		       unsigned int flags)
{
	struct record_words record = { .n = count };
	struct word_op ops[VC_MAX_WORDS];
	struct vc_context *ctx;
	struct vc_what what;
	struct vc_stream *s;
	CUresult result = vc_enter_report(&ctx);

	if (!result)
		result = vc_stream_resolve(stream, &s);
	if (result)
		return result;
	if (!VC_LIKELY(!vc_stream_captures(s))) {
		result = vc_what_words(params, count, flags, &what);
		return result ? result : vc_capture_add(s, &what);
	}
	result = vc_words_read(params, count, flags, ops);
	if (result)
		return result;
	record.stream = s->handle;
	result = (CUresult)vgpu_push_words(vc_client, &record, ops, count * (uint32_t)sizeof(ops[0]));
	if (!result)
		vc_stream_submitted(s);
	return result;
}

CUresult cuStreamBatchMemOp_v2(CUstream stream, unsigned int count, CUstreamBatchMemOpParams *params,
			       unsigned int flags)
{
	return submit(stream, params, count, flags);
}

static CUresult one(CUstream stream, int operation, CUdeviceptr address, uint64_t value, unsigned int flags)
{
	CUstreamBatchMemOpParams p = { .operation = operation };

	p.waitValue.address = address;
	p.waitValue.value64 = value;
	p.waitValue.flags = flags;
	return submit(stream, &p, 1, 0);
}

CUresult cuStreamWriteValue32_v2(CUstream stream, CUdeviceptr addr, uint32_t value, unsigned int flags)
{
	return one(stream, CU_STREAM_MEM_OP_WRITE_VALUE_32, addr, value, flags);
}

CUresult cuStreamWriteValue64_v2(CUstream stream, CUdeviceptr addr, uint64_t value, unsigned int flags)
{
	return one(stream, CU_STREAM_MEM_OP_WRITE_VALUE_64, addr, value, flags);
}

CUresult cuStreamWaitValue32_v2(CUstream stream, CUdeviceptr addr, uint32_t value, unsigned int flags)
{
	return one(stream, CU_STREAM_MEM_OP_WAIT_VALUE_32, addr, value, flags);
}

CUresult cuStreamWaitValue64_v2(CUstream stream, CUdeviceptr addr, uint64_t value, unsigned int flags)
{
	return one(stream, CU_STREAM_MEM_OP_WAIT_VALUE_64, addr, value, flags);
}
