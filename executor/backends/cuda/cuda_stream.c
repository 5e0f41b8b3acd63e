// SPDX-License-Identifier: Apache-2.0
// Streams and stream-ordered words of the cuda backend. Executor process, loop thread; nothing here waits.
#include "executor/backends/cuda/cuda_backend.h"

#include <stdlib.h>
#include <string.h>

int cuda_stream_create(struct backend *b, uint32_t flags, int32_t priority, struct backend_stream **ret)
{
	struct backend_stream *s = calloc(1, sizeof(*s));
	int result;

	if (!s)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = cuda_result(b, b->cu.stream_create(&s->cu, flags, priority));
	if (result) {
		free(s);
		return result;
	}
	LIST_INSERT_HEAD(&b->streams, s, link);
	*ret = s;
	return 0;
}

void cuda_stream_destroy(struct backend *b, struct backend_stream *s)
{
	if (!s)
		return;
	cuda_result(b, b->cu.stream_destroy(s->cu));
	LIST_REMOVE(s, link);
	free(s);
}

int cuda_stream_set(struct backend *b, struct backend_stream *s, uint32_t attribute, const uint64_t value[8])
{
	CUlaunchAttributeValue v;

	if (!b->cu.stream_set)
		return CUDA_ERROR_NOT_SUPPORTED;
	memcpy(&v, value, sizeof(v));
	return cuda_result(b, b->cu.stream_set(cuda_stream(s), (CUlaunchAttributeID)attribute, &v));
}

int cuda_stream_query(struct backend *b, struct backend_stream *s)
{
	return cuda_result(b, b->cu.stream_query(cuda_stream(s)));
}

int cuda_stream_write(struct backend *b, struct backend_stream *s, _Atomic uint64_t *where, uint64_t value)
{
	if (!b->memory_ops || !b->host_mapped)
		return cuda_host_store(b, cuda_stream(s), where, value);
	return cuda_result(
	    b, b->cu.stream_write_64(cuda_stream(s), (uintptr_t)where, value, CU_STREAM_WRITE_VALUE_DEFAULT));
}

int cuda_stream_wait(struct backend *b, struct backend_stream *s, _Atomic uint64_t *where, uint64_t value)
{
	if (!b->memory_ops || !b->host_mapped)
		return cuda_host_wait(b, cuda_stream(s), where, value);
	return cuda_result(
	    b, b->cu.stream_wait_64(cuda_stream(s), (uintptr_t)where, value, CU_STREAM_WAIT_VALUE_GEQ));
}

static CUstreamBatchMemOpParams params_of(const struct word_op *op)
{
	CUstreamBatchMemOpParams p = { .operation = (int)op->operation };

	if (word_is_wait(op)) {
		p.waitValue.address = op->address;
		p.waitValue.value64 = op->value;
		p.waitValue.flags = op->flags;
	} else if (word_is_write(op)) {
		p.writeValue.address = op->address;
		p.writeValue.value64 = op->value;
		p.writeValue.flags = op->flags;
	} else {
		p.memoryBarrier.flags = op->flags; // a flush's, too
	}
	return p;
}

int cuda_words(struct backend *b, const struct word_op *ops, uint32_t n, struct backend_stream *s)
{
	CUstreamBatchMemOpParams params[256];

	if (!b->memory_ops || !b->cu.stream_words)
		return CUDA_ERROR_NOT_SUPPORTED;
	for (uint32_t i = 0; i < n; i++) {
		if (ops[i].address && ops[i].space == MEMORY_SPACE_HOST && !b->host_mapped)
			return CUDA_ERROR_NOT_SUPPORTED;
		params[i] = params_of(&ops[i]);
	}
	return cuda_result(b, b->cu.stream_words(cuda_stream(s), n, params, 0));
}
