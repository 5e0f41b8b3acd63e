// SPDX-License-Identifier: Apache-2.0
//
// Events of whole contexts: one that stands behind the work of all streams, and a context whose streams, also
// those made later, wait for one.
#include "tests/e2e/check.h"

static CUcontext context;
static CUdeviceptr word;
static volatile uint32_t *held; // pinned: a held stream goes on when it is as large as what it waits for
static uint32_t holds;

static void hold(CUstream stream)
{
	MUST(cuStreamWaitValue32_v2(stream, (CUdeviceptr)(uintptr_t)held, ++holds, CU_STREAM_WAIT_VALUE_GEQ));
}

static void let_go(void)
{
	*held = holds;
}

static void record(CUstream a, CUstream b)
{
	CUevent event;

	MUST(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
	MUST(cuMemsetD32Async(word, 1, 1, b));
	OK(cuCtxRecordEvent(context, event));
	OK(cuEventSynchronize(event));
	hold(a);
	MUST(cuMemsetD32Async(word, 1, 1, b));
	OK(cuCtxRecordEvent(context, event));
	EXPECT(CUDA_ERROR_NOT_READY, cuEventQuery(event));
	let_go();
	OK(cuEventSynchronize(event));
	OK(cuStreamQuery(a));
	MUST(cuEventDestroy_v2(event));
}

static void wait(CUstream a, CUstream b)
{
	CUstream later;
	CUevent event;

	MUST(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
	OK(cuCtxWaitEvent(context, event)); // never recorded: nothing to wait for
	hold(a);
	MUST(cuEventRecord(event, a));
	OK(cuCtxWaitEvent(context, event));
	MUST(cuStreamCreate(&later, CU_STREAM_NON_BLOCKING));
	MUST(cuMemsetD32Async(word, 2, 1, b));
	MUST(cuMemsetD32Async(word, 3, 1, later));
	sleep_ms(20);
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(b));
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(later));
	let_go();
	OK(cuStreamSynchronize(later));
	OK(cuStreamSynchronize(b));
	MUST(cuStreamDestroy_v2(later));
	MUST(cuEventDestroy_v2(event));
}

static void refused(CUstream a)
{
	CUgraph graph = NULL;
	CUevent event;

	MUST(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
	EXPECT(CUDA_ERROR_INVALID_HANDLE, cuCtxRecordEvent(context, NULL));
	MUST(cuStreamBeginCapture_v2(a, CU_STREAM_CAPTURE_MODE_RELAXED));
	EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuCtxRecordEvent(context, event));
	EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(a, &graph));
	MUST(cuEventDestroy_v2(event));
}

int main(void)
{
	int version = 0;
	CUstream a, b;

	context = check_context();
	MUST(cuDriverGetVersion(&version));
	if (version < 12050)
		check_skip("events of contexts need CUDA 12.5");
	if (!check_computes())
		check_skip("this backend waits for nothing");
	MUST(cuMemHostAlloc((void **)&held, 4, 0));
	*held = 0;
	MUST(cuMemAlloc_v2(&word, 4));
	MUST(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
	refused(a);
	record(a, b);
	wait(a, b);
	return check_done();
}
