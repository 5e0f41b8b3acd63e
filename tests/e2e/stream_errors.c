// SPDX-License-Identifier: Apache-2.0
//
// When streams, events and graphs report what: codes of captures that go wrong, objects that end while the
// GPU works for them, and, last, a fault inside a graph.
#include <pthread.h>
#include <stdatomic.h>

#include "tests/e2e/check.h"

static CUdeviceptr word;
static CUstream a, b;
static CUevent event;

// Done when it returns: the streams here do not wait for the legacy one.
static void fill(CUdeviceptr to, uint32_t v, size_t n)
{
	MUST(cuMemsetD32_v2(to, v, n));
	MUST(cuStreamSynchronize(NULL));
}

static uint32_t get(void)
{
	uint32_t v = 0;

	MUST(cuMemcpyDtoH_v2(&v, word, 4));
	return v;
}

static void before_init(void)
{
	CUstream s;
	CUevent e;
	CUgraph g;

	EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuStreamCreate(&s, 0));
	EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuStreamSynchronize(NULL));
	EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuEventCreate(&e, 0));
	EXPECT(CUDA_ERROR_NOT_INITIALIZED, cuGraphCreate(&g, 0));
}

static void no_context(void)
{
	CUcontext context;
	CUstream s;
	CUevent e;

	MUST(cuCtxPopCurrent_v2(&context));
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuStreamCreate(&s, 0));
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuEventCreate(&e, 0));
	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuStreamSynchronize(NULL));
	MUST(cuCtxPushCurrent_v2(context));
}

static void arguments(void)
{
	CUstreamCaptureStatus status;
	CUgraphExec exec;
	CUgraph graph;

	EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamGetFlags(a, NULL));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamGetPriority(a, NULL));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamIsCapturing(a, NULL));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamWaitEvent(a, event, 0x80));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuEventRecordWithFlags(event, a, 0x80));
	OK(cuStreamWaitEvent(a, event, 0)); // never recorded: nothing to wait for
	OK(cuStreamQuery(a));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGraphCreate(NULL, 0));
	MUST(cuGraphCreate(&graph, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGraphInstantiateWithFlags(NULL, graph, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGraphInstantiateWithFlags(&exec, graph, 1ull << 40));
	OK(cuGraphInstantiateWithFlags(&exec, graph, 0)); // an empty graph
	OK(cuGraphLaunch(exec, a));
	OK(cuStreamSynchronize(a));
	MUST(cuGraphExecDestroy(exec));
	MUST(cuGraphDestroy(graph));
	EXPECT(CUDA_ERROR_ILLEGAL_STATE, cuStreamEndCapture(a, &graph));
	OK(cuStreamIsCapturing(a, &status));
	EQUAL(CU_STREAM_CAPTURE_STATUS_NONE, status);
}

// ---- captures that go wrong

static void begin(CUstream s)
{
	MUST(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_RELAXED));
}

static void ends_invalid(CUstream s)
{
	CUgraph graph = (CUgraph)(uintptr_t)1;

	EXPECT(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(s, &graph));
	CHECK(!graph, "no graph of an invalid capture");
	OK(cuStreamSynchronize(s)); // the stream itself goes on
}

static void merged(void)
{
	begin(a);
	begin(b);
	MUST(cuEventRecord(event, a));
	EXPECT(CUDA_ERROR_STREAM_CAPTURE_MERGE, cuStreamWaitEvent(b, event, 0));
	ends_invalid(a);
	ends_invalid(b);
}

static void unmatched(void)
{
	CUgraph graph;

	begin(a);
	MUST(cuEventRecord(event, a));
	MUST(cuStreamWaitEvent(b, event, 0));
	EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, cuStreamEndCapture(b, &graph));
	cuStreamEndCapture(a, &graph); // whatever it says, the capture is over
	OK(cuStreamSynchronize(a));
	OK(cuStreamSynchronize(b));
}

static void isolated(void)
{
	CUevent outside;

	MUST(cuEventCreate(&outside, 0));
	MUST(cuEventRecord(outside, b));
	begin(a);
	EXPECT(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, cuStreamWaitEvent(a, outside, 0));
	ends_invalid(a);
	MUST(cuEventDestroy_v2(outside));
}

static void *end_elsewhere(void *context)
{
	static CUresult result;
	CUgraph graph;

	result = cuCtxSetCurrent(context);
	if (!result)
		result = cuStreamEndCapture(a, &graph);
	return &result;
}

static void wrong_thread(void)
{
	CUcontext context;
	CUgraph graph;
	pthread_t thread;
	void *told;

	MUST(cuCtxGetCurrent(&context));
	MUST(cuStreamBeginCapture_v2(a, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
	if (pthread_create(&thread, NULL, end_elsewhere, context) || pthread_join(thread, &told))
		check_bail("no thread");
	EQUAL(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, *(CUresult *)told);
	cuStreamEndCapture(a, &graph);
	OK(cuStreamSynchronize(a));
}

static void queried(void)
{
	begin(a);
	EXPECT(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuStreamQuery(a));
	ends_invalid(a);
	begin(a);
	MUST(cuEventRecord(event, a));
	EXPECT(CUDA_ERROR_CAPTURED_EVENT, cuEventQuery(event));
	ends_invalid(a);
	MUST(cuEventRecord(event, b)); // an ordinary event again
	OK(cuEventSynchronize(event));
}

// ---- what ends while the GPU works for it

static void ends_in_flight(CUmodule module)
{
	struct gate gate;
	CUevent gone;
	CUstream s, t;

	gate_init(&gate, module);
	MUST(cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&t, CU_STREAM_NON_BLOCKING));
	MUST(cuEventCreate(&gone, 0));
	fill(word, 0, 1);
	gate_close(&gate, s);
	MUST(cuMemsetD32Async(word, 1, 1, s));
	MUST(cuEventRecord(gone, s));
	MUST(cuStreamWaitEvent(t, gone, 0));
	MUST(cuMemsetD32Async(word, 2, 1, t));
	MUST(cuEventRecord(event, t));
	OK(cuEventDestroy_v2(gone)); // who waits, waits
	OK(cuStreamDestroy_v2(s));   // its work goes on
	OK(cuStreamDestroy_v2(t));
	EXPECT(CUDA_ERROR_NOT_READY, cuEventQuery(event));
	gate_open(&gate);
	OK(cuEventSynchronize(event));
	EQUAL(2, get());
	gate_done(&gate);
}

// A wait is for the record that was the last when it was asked for. What keeps the second record back is no
// kernel: other streams shall go on, also where kernels run one after the other.
static void recorded_again(void)
{
	_Atomic uint32_t *gate;
	CUdeviceptr address;
	int offered = 0;
	void *host;

	MUST(cuDeviceGetAttribute(&offered, CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, 0));
	if (!offered)
		return;
	MUST(cuMemHostAlloc(&host, 4, CU_MEMHOSTALLOC_DEVICEMAP));
	MUST(cuMemHostGetDevicePointer_v2(&address, host, 0));
	gate = host;
	atomic_store(gate, 0);
	MUST(cuEventRecord(event, a));
	MUST(cuStreamWaitEvent(b, event, 0));
	MUST(cuStreamWaitValue32_v2(a, address, 1, CU_STREAM_WAIT_VALUE_EQ));
	MUST(cuEventRecord(event, a));
	OK(cuStreamSynchronize(b));
	EXPECT(CUDA_ERROR_NOT_READY, cuEventQuery(event));
	atomic_store(gate, 1);
	OK(cuEventSynchronize(event));
	MUST(cuMemFreeHost(host));
}

static void graph_ends_in_flight(CUmodule module)
{
	struct gate gate;
	CUgraphExec exec;
	CUgraph graph;

	gate_init(&gate, module);
	fill(word, 0, 1);
	begin(a);
	MUST(cuMemsetD32Async(word, 7, 1, a));
	MUST(cuStreamEndCapture(a, &graph));
	MUST(cuGraphInstantiateWithFlags(&exec, graph, 0));
	MUST(cuGraphDestroy(graph));
	gate_close(&gate, a);
	OK(cuGraphLaunch(exec, a));
	OK(cuGraphExecDestroy(exec));
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(a));
	gate_open(&gate);
	OK(cuStreamSynchronize(a));
	EQUAL(7, get());
	gate_done(&gate);
}

// ---- the end of the context

static void fault_in_a_graph(void)
{
	CUmodule faults = check_module("faults.ptx");
	CUdeviceptr bad = 16;
	uint32_t value = 1;
	CUgraphExec exec;
	CUgraph graph;

	begin(a);
	LAUNCH(check_function(faults, "write_at"), 1, 1, a, &bad, &value);
	MUST(cuStreamEndCapture(a, &graph));
	MUST(cuGraphInstantiateWithFlags(&exec, graph, 0));
	MUST(cuEventRecord(event, b));
	OK(cuGraphLaunch(exec, a));
	EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(a));
	EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamQuery(b));
	EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuEventQuery(event));
	EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuEventRecord(event, b));
	EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamWaitEvent(b, event, 0));
	EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuGraphLaunch(exec, a));
	EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
}

int main(void)
{
	CUmodule module;

	check_open();
	before_init();
	check_context();
	no_context();
	module = check_module("basic.ptx");
	MUST(cuMemAlloc_v2(&word, 4));
	MUST(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
	MUST(cuEventCreate(&event, 0));
	arguments();
	merged();
	unmatched();
	isolated();
	wrong_thread();
	queried();
	if (check_computes()) {
		ends_in_flight(module);
		recorded_again();
		graph_ends_in_flight(module);
		fault_in_a_graph();
	}
	return check_done();
}
