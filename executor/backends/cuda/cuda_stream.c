// SPDX-License-Identifier: Apache-2.0
// Streams, events and stream-ordered words of the cuda backend. Executor process, loop thread; nothing here
// waits. Events are the driver's own handles behind the opaque type.
#include "executor/backends/cuda/cuda_backend.h"

#include <stdlib.h>

static CUevent cuda_event(struct backend_event *e)
{
	return (CUevent)(void *)e;
}

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

int cuda_stream_wait_event(struct backend *b, struct backend_stream *s, struct backend_event *e,
			   uint32_t flags)
{
	return cuda_result(b, b->cu.stream_wait_event(cuda_stream(s), cuda_event(e), flags));
}

int cuda_event_create(struct backend *b, uint32_t flags, struct backend_event **ret)
{
	CUevent event;
	int result = cuda_result(b, b->cu.event_create(&event, flags));

	if (!result)
		*ret = (struct backend_event *)(void *)event;
	return result;
}

void cuda_event_destroy(struct backend *b, struct backend_event *e)
{
	if (e)
		cuda_result(b, b->cu.event_destroy(cuda_event(e)));
}

int cuda_event_record(struct backend *b, struct backend_event *e, struct backend_stream *s, uint32_t flags)
{
	if (flags && b->cu.event_record_flags)
		return cuda_result(b, b->cu.event_record_flags(cuda_event(e), cuda_stream(s), flags));
	return cuda_result(b, b->cu.event_record(cuda_event(e), cuda_stream(s)));
}

int cuda_event_query(struct backend *b, struct backend_event *e)
{
	return cuda_result(b, b->cu.event_query(cuda_event(e)));
}

int cuda_event_elapsed(struct backend *b, struct backend_event *start, struct backend_event *end,
		       float *ret_ms)
{
	float ms;
	int result = cuda_result(b, b->cu.event_elapsed(&ms, cuda_event(start), cuda_event(end)));

	if (!result)
		*ret_ms = ms;
	return result;
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
	    b, b->cu.stream_wait_64(cuda_stream(s), (uintptr_t)where, value, CUDA_STREAM_WAIT_VALUE_GEQ));
}
