// SPDX-License-Identifier: Apache-2.0
//
// Streams and events as objects: flags, priorities, ids, times, queries and errors.
#include "tests/e2e/check.h"

static void streams(CUcontext context)
{
	CUstream a, b, c;
	CUcontext owner = NULL;
	unsigned flags = 9;
	int least = 9, greatest = 9, priority = 9, capturing = 9;
	unsigned long long id_a = 0, id_b = 0;

	OK(cuStreamCreate(&a, CU_STREAM_DEFAULT));
	OK(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
	OK(cuStreamGetFlags(a, &flags));
	EQUAL(0, flags);
	OK(cuStreamGetFlags(b, &flags));
	EQUAL(1, flags);
	OK(cuStreamGetCtx(a, &owner));
	CHECK(owner == context, "a stream's context");
	OK(cuStreamGetId(a, &id_a));
	OK(cuStreamGetId(b, &id_b));
	CHECK(id_a != id_b, "ids %llu and %llu differ", id_a, id_b);
	OK(cuCtxGetStreamPriorityRange(&least, &greatest));
	CHECK(least >= greatest, "priorities from %d to %d", least, greatest);
	OK(cuStreamCreateWithPriority(&c, CU_STREAM_NON_BLOCKING, greatest));
	OK(cuStreamGetPriority(c, &priority));
	EQUAL(greatest, priority);
	OK(cuStreamDestroy_v2(c));
	OK(cuStreamCreateWithPriority(&c, CU_STREAM_NON_BLOCKING, greatest - 100));
	OK(cuStreamGetPriority(c, &priority));
	EQUAL(greatest, priority);
	OK(cuStreamIsCapturing(a, &capturing));
	EQUAL(0, capturing);
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamCreate(&c, 0x80));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamCreate(NULL, 0));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuStreamDestroy_v2(NULL));
	OK(cuStreamSynchronize(a));
	OK(cuStreamSynchronize(CU_STREAM_LEGACY));
	OK(cuStreamSynchronize(CU_STREAM_PER_THREAD));
	OK(cuStreamDestroy_v2(a));
	OK(cuStreamDestroy_v2(b));
}

static void timing(CUmodule module)
{
	CUfunction spin = check_function(module, "spin");
	CUevent start, end, plain;
	CUdeviceptr out;
	uint64_t rounds = 2 * 1000 * 1000;
	float ms = -1;

	MUST(cuMemAlloc_v2(&out, 4));
	OK(cuEventCreate(&start, CU_EVENT_DEFAULT));
	OK(cuEventCreate(&end, CU_EVENT_BLOCKING_SYNC));
	OK(cuEventCreate(&plain, CU_EVENT_DISABLE_TIMING));
	OK(cuEventQuery(start));
	OK(cuEventSynchronize(start));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventElapsedTime(&ms, start, end));
	LAUNCH(spin, 1, 1, NULL, &out, &rounds);
	MUST(cuCtxSynchronize());
	double before = seconds_now();
	OK(cuEventRecord(start, NULL));
	LAUNCH(spin, 1, 1, NULL, &out, &rounds);
	OK(cuEventRecord(end, NULL));
	OK(cuEventSynchronize(end));
	double took = (seconds_now() - before) * 1e3;
	OK(cuEventQuery(end));
	OK(cuEventElapsedTime(&ms, start, end));
	if (check_computes())
		CHECK(ms > 0.1 && ms <= took + 1, "the kernel took %.3f ms by events, %.3f by the clock",
		      (double)ms, took);
	OK(cuEventElapsedTime(&ms, end, start));
	CHECK(ms <= 0, "backwards it is %.3f", (double)ms);
	OK(cuEventRecord(plain, NULL));
	OK(cuEventSynchronize(plain));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuEventElapsedTime(&ms, start, plain));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuEventCreate(&plain, 0x100));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuEventCreate(NULL, 0));
	OK(cuEventDestroy_v2(start));
	OK(cuEventDestroy_v2(end));
	OK(cuEventDestroy_v2(plain));
	MUST(cuMemFree_v2(out));
}

static void in_flight(CUmodule module)
{
	struct gate gate;
	CUevent event, second;
	CUstream stream;
	float ms;
	gate_init(&gate, module);
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	MUST(cuEventCreate(&event, 0));
	MUST(cuEventCreate(&second, 0));
	MUST(cuEventRecord(event, stream));
	gate_close(&gate, stream);
	MUST(cuEventRecord(second, stream));
	OK(cuEventSynchronize(event));
	EXPECT(CUDA_ERROR_NOT_READY, cuEventQuery(second));
	EXPECT(CUDA_ERROR_NOT_READY, cuEventElapsedTime(&ms, event, second));
	OK(cuEventDestroy_v2(second)); // in flight: allowed
	MUST(cuEventRecord(event, stream));
	EXPECT(CUDA_ERROR_NOT_READY, cuEventQuery(event));
	gate_open(&gate);
	OK(cuEventSynchronize(event));
	OK(cuEventQuery(event));
	MUST(cuEventDestroy_v2(event));
	MUST(cuStreamDestroy_v2(stream));
	gate_done(&gate);
}

// What one wait implies for others: streams and events that the waited-for work stood behind are done at
// once.
static void implied(CUmodule module)
{
	CUfunction spin = check_function(module, "spin");
	uint64_t rounds = 1000 * 1000;
	CUevent first, middle, last;
	CUstream a, b;
	CUdeviceptr out;
	float ms = -1;

	MUST(cuMemAlloc_v2(&out, 4));
	MUST(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
	MUST(cuEventCreate(&first, 0));
	MUST(cuEventCreate(&middle, 0));
	MUST(cuEventCreate(&last, 0));
	for (int round = 0; round < 3; round++) {
		MUST(cuEventRecord(first, a));
		LAUNCH(spin, 1, 1, a, &out, &rounds);
		MUST(cuEventRecord(middle, a));
		MUST(cuStreamWaitEvent(b, middle, 0));
		LAUNCH(spin, 1, 1, b, &out, &rounds);
		MUST(cuEventRecord(last, b));
		// Asked early, so that what was learnt then does not answer later.
		CUresult early = cuEventQuery(middle);
		CHECK(early == CUDA_SUCCESS || early == CUDA_ERROR_NOT_READY, "asked early: %d", (int)early);
		early = cuStreamQuery(a);
		CHECK(early == CUDA_SUCCESS || early == CUDA_ERROR_NOT_READY, "asked early: %d", (int)early);
		OK(cuStreamSynchronize(b));
		OK(cuEventQuery(first));
		OK(cuEventQuery(middle));
		OK(cuEventQuery(last));
		OK(cuStreamQuery(a));
		OK(cuStreamQuery(a));
		OK(cuStreamQuery(b));
		OK(cuEventElapsedTime(&ms, first, last));
	}
	MUST(cuEventDestroy_v2(first));
	MUST(cuEventDestroy_v2(middle));
	MUST(cuEventDestroy_v2(last));
	MUST(cuStreamDestroy_v2(a));
	MUST(cuStreamDestroy_v2(b));
	MUST(cuMemFree_v2(out));
}

static void many(void)
{
	enum { COUNT = 2000 };
	static CUevent events[COUNT];
	CUstream streams_made[100];
	int wrong = 0;
	for (int i = 0; i < 100; i++)
		wrong += cuStreamCreate(&streams_made[i], CU_STREAM_NON_BLOCKING) != CUDA_SUCCESS;
	for (int i = 0; i < COUNT; i++) {
		wrong += cuEventCreate(&events[i], CU_EVENT_DISABLE_TIMING) != CUDA_SUCCESS;
		wrong += cuEventRecord(events[i], streams_made[i % 100]) != CUDA_SUCCESS;
		wrong += cuStreamWaitEvent(streams_made[(i + 1) % 100], events[i], 0) != CUDA_SUCCESS;
	}
	wrong += cuCtxSynchronize() != CUDA_SUCCESS;
	for (int i = 0; i < COUNT; i++) {
		wrong += cuEventQuery(events[i]) != CUDA_SUCCESS;
		wrong += cuEventDestroy_v2(events[i]) != CUDA_SUCCESS;
	}
	for (int i = 0; i < 100; i++)
		wrong += cuStreamDestroy_v2(streams_made[i]) != CUDA_SUCCESS;
	EQUAL(0, wrong);
}

int main(void)
{
	CUcontext context = check_context();
	CUmodule module = check_module("basic.ptx");
	streams(context);
	timing(module);
	if (check_computes())
		in_flight(module);
	implied(module);
	many();
	return check_done();
}
