// SPDX-License-Identifier: Apache-2.0
//
// Streams that write words and wait for them: every condition, in device and pinned memory, written by the
// processor, by another stream that came later, and inside graphs.
#include <stdatomic.h>
#include <string.h>

#include "tests/e2e/check.h"

static CUdeviceptr word, out; // 64 bytes each
static _Atomic uint32_t *pinned;
static CUstream a, b;

// Done when it returns: the streams here do not wait for the legacy one.
static void fill(CUdeviceptr to, uint32_t v, size_t n)
{
	MUST(cuMemsetD32_v2(to, v, n));
	MUST(cuStreamSynchronize(NULL));
}

static CUdeviceptr pinned_address(void)
{
	CUdeviceptr address;

	MUST(cuMemHostGetDevicePointer_v2(&address, (void *)pinned, 0));
	return address;
}

static uint32_t get(CUdeviceptr from)
{
	uint32_t v = 0;

	MUST(cuMemcpyDtoHAsync_v2(&v, from, 4, b));
	MUST(cuStreamSynchronize(b));
	return v;
}

static void put(CUdeviceptr to, uint64_t v)
{
	MUST(cuStreamWriteValue64_v2(b, to, v, 0));
	MUST(cuStreamSynchronize(b));
}

static void writes(void)
{
	uint64_t wide = 0;

	fill(word, 0xeeeeeeee, 16);
	OK(cuStreamWriteValue32_v2(a, word, 0x11223344, 0));
	OK(cuStreamWriteValue32_v2(a, word + 4, 0x55667788, 0));
	OK(cuStreamWriteValue64_v2(a, word + 8, 0x0123456789abcdefull, 0));
	OK(cuStreamWriteValue32_v2(a, pinned_address(), 77, 0));
	OK(cuStreamSynchronize(a));
	EQUAL(0x11223344, get(word));
	EQUAL(0x55667788, get(word + 4));
	MUST(cuMemcpyDtoH_v2(&wide, word + 8, 8));
	CHECK(wide == 0x0123456789abcdefull, "the wide word is %llx", (unsigned long long)wide);
	EQUAL(0xeeeeeeee, get(word + 16));
	EQUAL(77, atomic_load(pinned));
}

// The processor lets the stream go on.
static void for_the_processor(void)
{
	atomic_store(pinned, 0);
	fill(out, 1, 1);
	OK(cuStreamWaitValue32_v2(a, pinned_address(), 5, CU_STREAM_WAIT_VALUE_GEQ));
	MUST(cuMemsetD32Async(out, 2, 1, a));
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(a));
	EQUAL(1, get(out));
	atomic_store(pinned, 4);
	sleep_ms(5);
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(a));
	atomic_store(pinned, 6);
	OK(cuStreamSynchronize(a));
	OK(cuStreamQuery(a));
	EQUAL(2, get(out));
}

// A stream that gets its work later lets the first one go on; events carry the wait to a third.
static void for_another_stream(void)
{
	CUstream c;
	CUevent event;

	MUST(cuStreamCreate(&c, CU_STREAM_NON_BLOCKING));
	MUST(cuEventCreate(&event, 0));
	put(word, 0);
	fill(out, 0, 3);
	OK(cuStreamWaitValue32_v2(a, word, 9, CU_STREAM_WAIT_VALUE_EQ));
	MUST(cuMemsetD32Async(out, 1, 1, a));
	MUST(cuEventRecord(event, a));
	MUST(cuStreamWaitEvent(c, event, 0));
	MUST(cuMemsetD32Async(out + 4, 1, 1, c));
	EXPECT(CUDA_ERROR_NOT_READY, cuEventQuery(event));
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(c));
	MUST(cuMemsetD32Async(out + 8, 1, 1, b));
	EQUAL(1, get(out + 8));
	EQUAL(0, get(out));
	EQUAL(0, get(out + 4));
	OK(cuStreamWriteValue32_v2(b, word, 9, 0));
	OK(cuEventSynchronize(event));
	OK(cuStreamSynchronize(c));
	EQUAL(1, get(out));
	EQUAL(1, get(out + 4));
	MUST(cuEventDestroy_v2(event));
	MUST(cuStreamDestroy_v2(c));
}

// Blocking streams and the legacy stream wait for each other's work, and so for each other's waits.
static void through_the_legacy_stream(void)
{
	CUstream blocking, other;

	MUST(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
	MUST(cuStreamCreate(&other, CU_STREAM_DEFAULT));
	atomic_store(pinned, 0);
	OK(cuStreamWaitValue32_v2(blocking, pinned_address(), 1, CU_STREAM_WAIT_VALUE_EQ));
	MUST(cuMemsetD32Async(out, 3, 1, NULL));
	MUST(cuMemsetD32Async(out + 4, 3, 1, other));
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(NULL));
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(other));
	atomic_store(pinned, 1);
	OK(cuStreamSynchronize(NULL));
	OK(cuStreamSynchronize(other));
	EQUAL(3, get(out));
	EQUAL(3, get(out + 4));
	MUST(cuStreamDestroy_v2(blocking));
	MUST(cuStreamDestroy_v2(other));
}

static void condition(int wide, uint64_t holds_not, uint64_t holds, uint64_t value, unsigned flags)
{
	put(word, holds_not);
	if (wide)
		OK(cuStreamWaitValue64_v2(a, word, value, flags));
	else
		OK(cuStreamWaitValue32_v2(a, word, (uint32_t)value, flags));
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(a));
	put(word, holds);
	OK(cuStreamSynchronize(a));
}

static void conditions(void)
{
	int nor = 0;

	MUST(cuDeviceGetAttribute(&nor, CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR, 0));
	condition(0, 9, 10, 10, CU_STREAM_WAIT_VALUE_GEQ);
	condition(0, 0xfffffff0u, 2, 1, CU_STREAM_WAIT_VALUE_GEQ); // by the sign of the difference
	condition(0, 11, 10, 10, CU_STREAM_WAIT_VALUE_EQ);
	condition(0, 1, 4, 6, CU_STREAM_WAIT_VALUE_AND);
	condition(1, (1ull << 40) - 1, 1ull << 40, 1ull << 40, CU_STREAM_WAIT_VALUE_GEQ);
	condition(1, 10, 10 + (1ull << 32), 10 + (1ull << 32), CU_STREAM_WAIT_VALUE_EQ);
	condition(1, 1, 1ull << 50, 3ull << 50, CU_STREAM_WAIT_VALUE_AND);
	if (nor) {
		condition(0, 0xfffffff0u, 0xffffff00u, 0xfu, CU_STREAM_WAIT_VALUE_NOR);
		condition(1, ~0ull - 1, ~0ull - 3, 1, CU_STREAM_WAIT_VALUE_NOR);
	}
}

static CUstreamBatchMemOpParams op(int operation, CUdeviceptr address, uint64_t value, unsigned flags)
{
	CUstreamBatchMemOpParams p = { .operation = operation };

	p.waitValue.address = address;
	p.waitValue.value64 = value;
	p.waitValue.flags = flags;
	return p;
}

static void batches(void)
{
	CUstreamBatchMemOpParams ops[4] = {
		op(CU_STREAM_MEM_OP_WRITE_VALUE_32, word + 8, 21, 0),
		op(CU_STREAM_MEM_OP_WAIT_VALUE_32, word, 1, CU_STREAM_WAIT_VALUE_EQ),
		{ .operation = CU_STREAM_MEM_OP_BARRIER },
		op(CU_STREAM_MEM_OP_WRITE_VALUE_64, word + 16, 22, 0),
	};

	fill(word, 0, 16);
	ops[2].memoryBarrier.flags = CU_STREAM_MEMORY_BARRIER_TYPE_GPU;
	OK(cuStreamBatchMemOp_v2(a, 4, ops, 0));
	for (int i = 0; i < 1000 && get(word + 8) != 21; i++)
		sleep_ms(1);
	EQUAL(21, get(word + 8));
	EQUAL(0, get(word + 16));
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(a));
	put(word, 1);
	OK(cuStreamSynchronize(a));
	EQUAL(22, get(word + 16));
}

static void many(void)
{
	int wrong = 0;

	put(word, 0);
	fill(out, 0, 1);
	for (uint32_t i = 1; i <= 100; i++) {
		wrong += cuStreamWaitValue32_v2(a, word, i, CU_STREAM_WAIT_VALUE_GEQ) != CUDA_SUCCESS;
		wrong += cuMemsetD32Async(out, i, 1, a) != CUDA_SUCCESS;
	}
	EQUAL(0, wrong);
	for (uint32_t i = 50; i <= 100; i += 50) {
		put(word, i);
		for (int k = 0; k < 1000 && get(out) != i; k++)
			sleep_ms(1);
		EQUAL(i, get(out));
		EXPECT(i == 100 ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY, cuStreamQuery(a));
	}
}

static void refused(void)
{
	CUstreamBatchMemOpParams p = op(CU_STREAM_MEM_OP_WRITE_VALUE_32, word, 1, 0);
	static uint32_t mine;
	int pageable = 1;

	EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamWriteValue32_v2(a, word + 2, 1, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamWaitValue64_v2(a, word + 4, 1, 0));
	MUST(cuDeviceGetAttribute(&pageable, 88, 0)); // such a device may reach all memory of the program
	if (!pageable)
		EXPECT(CUDA_ERROR_INVALID_VALUE,
		       cuStreamWriteValue32_v2(a, (CUdeviceptr)(uintptr_t)&mine, 1, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamWaitValue32_v2(a, 0, 1, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamWaitValue32_v2(a, word, 1, 0x10));
	EXPECT(CUDA_ERROR_INVALID_VALUE,
	       cuStreamWriteValue32_v2(a, word, 1, CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamBatchMemOp_v2(a, 1, &p, 1));
	p.operation = 77;
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuStreamBatchMemOp_v2(a, 1, &p, 0));
	OK(cuStreamSynchronize(a));
}

// ---- in graphs

static CUgraphNode add_set(CUgraph graph, const CUgraphNode *deps, size_t n, CUdeviceptr to, uint32_t value)
{
	CUDA_MEMSET_NODE_PARAMS p = { .dst = to, .value = value, .elementSize = 4, .width = 1, .height = 1 };
	CUcontext context;
	CUgraphNode node;

	MUST(cuCtxGetCurrent(&context));
	MUST(cuGraphAddMemsetNode(&node, graph, deps, n, &p, context));
	return node;
}

// wait -> set, beside a branch that nothing holds back.
static void nodes(void)
{
	CUstreamBatchMemOpParams wait = op(CU_STREAM_MEM_OP_WAIT_VALUE_32, word, 1, CU_STREAM_WAIT_VALUE_EQ);
	CUDA_BATCH_MEM_OP_NODE_PARAMS p = { .count = 1, .paramArray = &wait }, got = { 0 };
	CUgraphNode node, set;
	CUgraphNodeType type = 0;
	CUgraphExec exec;
	CUgraph graph;

	MUST(cuCtxGetCurrent(&p.ctx));
	MUST(cuGraphCreate(&graph, 0));
	OK(cuGraphAddBatchMemOpNode(&node, graph, NULL, 0, &p));
	set = add_set(graph, &node, 1, out, 5);
	add_set(graph, NULL, 0, out + 4, 6);
	OK(cuGraphNodeGetType(node, &type));
	EQUAL(CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, type);
	OK(cuGraphBatchMemOpNodeGetParams(node, &got));
	EQUAL(1, got.count);
	CHECK(got.paramArray && got.paramArray[0].waitValue.address == word, "what the node waits for");
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuGraphBatchMemOpNodeGetParams(set, &got));
	put(word, 0);
	fill(out, 0, 2);
	OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
	OK(cuGraphLaunch(exec, a));
	for (int i = 0; i < 1000 && get(out + 4) != 6; i++)
		sleep_ms(1);
	EQUAL(6, get(out + 4));
	EQUAL(0, get(out));
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(a));
	put(word, 1);
	OK(cuStreamSynchronize(a));
	EQUAL(5, get(out));
	wait.waitValue.value = 2; // what is instantiated waits for another value from now on
	OK(cuGraphExecBatchMemOpNodeSetParams(exec, node, &p));
	OK(cuGraphLaunch(exec, a));
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(a));
	put(word, 2);
	OK(cuStreamSynchronize(a));
	MUST(cuGraphExecDestroy(exec));
	MUST(cuGraphDestroy(graph));
}

static void captured(void)
{
	CUgraphNode first;
	CUgraphNodeType type = 0;
	CUgraphExec exec;
	CUgraph graph;
	size_t n = 1;

	fill(word, 0, 16);
	MUST(cuStreamBeginCapture_v2(a, CU_STREAM_CAPTURE_MODE_RELAXED));
	OK(cuStreamWriteValue32_v2(a, word + 8, 31, 0));
	MUST(cuMemsetD32Async(out, 32, 1, a));
	OK(cuStreamWriteValue64_v2(a, word + 16, 33, 0));
	MUST(cuStreamEndCapture(a, &graph));
	OK(cuGraphGetRootNodes(graph, &first, &n));
	EQUAL(1, n);
	OK(cuGraphNodeGetType(first, &type));
	EQUAL(CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, type);
	EQUAL(0, get(word + 8));
	OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
	OK(cuGraphLaunch(exec, a));
	OK(cuStreamSynchronize(a));
	EQUAL(31, get(word + 8));
	EQUAL(32, get(out));
	EQUAL(33, get(word + 16));
	MUST(cuGraphExecDestroy(exec));
	MUST(cuGraphDestroy(graph));
}

// Waits far longer than a turn lasts, while other work of this program goes on.
static void long_wait(void)
{
	uint32_t i;

	put(word, 0);
	fill(out, 0, 2);
	OK(cuStreamWaitValue32_v2(a, word, 1, CU_STREAM_WAIT_VALUE_EQ));
	MUST(cuMemsetD32Async(out, 1, 1, a));
	for (i = 1; i <= 250; i++) {
		MUST(cuMemsetD32Async(out + 4, i, 1, b));
		if (get(out + 4) != i)
			break;
		sleep_ms(10);
	}
	EQUAL(251, i);
	EQUAL(0, get(out));
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(a));
	put(word, 1);
	OK(cuStreamSynchronize(a));
	EQUAL(1, get(out));
}

// usage: stream_memory_words [long]
int main(int argc, char **argv)
{
	int offered = 0;
	void *host;

	check_context();
	MUST(cuDeviceGetAttribute(&offered, CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, 0));
	if (!offered)
		check_skip("this device has no memory operations in streams");
	if (!check_computes())
		check_skip("this backend has no memory to wait for");
	MUST(cuMemAlloc_v2(&word, 64));
	MUST(cuMemAlloc_v2(&out, 64));
	MUST(cuMemHostAlloc(&host, 64, CU_MEMHOSTALLOC_DEVICEMAP));
	pinned = host;
	MUST(cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
	if (argc == 2 && !strcmp(argv[1], "long")) {
		long_wait();
		return check_done();
	}
	writes();
	for_the_processor();
	for_another_stream();
	through_the_legacy_stream();
	conditions();
	batches();
	many();
	refused();
	nodes();
	captured();
	return check_done();
}
