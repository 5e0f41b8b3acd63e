// SPDX-License-Identifier: Apache-2.0
//
// The other side dies while this program waits for it in every way there is: each wait ends with the same
// error, every later call that needs the device gives it at once, what the program has of its own stays
// usable, and the program can still end. Prints "ready" when all wait; somebody must kill then. With a name
// of the table below nothing but that is under way.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/e2e/check.h"

#define LOST	       CUDA_ERROR_DEVICE_UNAVAILABLE
#define WAIT_ENDS_IN_S 20 // a wait that has not ended by then never will

static CUcontext context;
static CUmodule module;
static CUfunction empty;
static CUstream busy, idle;
static CUevent event;
static CUdeviceptr memory;
static char *image;
static uint32_t *pinned;
static _Atomic int called_with = -1;
static const char *only; // NULL: all

static CUresult waits_for_stream(void)
{
	return cuStreamSynchronize(busy);
}

static CUresult waits_for_event(void)
{
	return cuEventSynchronize(event);
}

static CUresult waits_for_context(void)
{
	return cuCtxSynchronize();
}

static CUresult waits_for_copy(void)
{
	char pageable[64];

	return cuMemcpyDtoHAsync_v2(pageable, memory, sizeof(pageable), busy);
}

static CUresult asks_a_stream(void)
{
	CUresult result = cuStreamQuery(busy);

	return result == CUDA_ERROR_NOT_READY ? CUDA_SUCCESS : result;
}

static CUresult asks_an_event(void)
{
	CUresult result = cuEventQuery(event);

	return result == CUDA_ERROR_NOT_READY ? CUDA_SUCCESS : result;
}

static CUresult fills_the_queue(void)
{
	return cuMemsetD8Async(memory, 1, 64, busy);
}

static CUresult launches(void)
{
	CUresult result = cuLaunchKernel(empty, 1, 1, 1, 1, 1, 1, 0, idle, NULL, NULL);

	return result ? result : cuStreamSynchronize(idle);
}

static CUresult calls(void)
{
	size_t left, all;

	return cuMemGetInfo_v2(&left, &all);
}

static CUresult allocates(void)
{
	CUdeviceptr p;
	CUresult result = cuMemAlloc_v2(&p, 4096);

	return result ? result : cuMemFree_v2(p);
}

static CUresult allocates_pinned(void)
{
	void *p;
	CUresult result = cuMemHostAlloc(&p, 4096, 0);

	return result ? result : cuMemFreeHost(p);
}

static CUresult loads(void)
{
	CUmodule m;
	CUresult result = cuModuleLoadData(&m, image);

	return result ? result : cuModuleUnload(m);
}

static struct waiter {
	const char *name;
	CUresult (*once)(void);
	bool returns; // it is called again and again; else it waits for what never comes
	pthread_t thread;
	CUresult result;
	_Atomic int calls;
} waiters[] = {
	{ .name = "cuStreamSynchronize", .once = waits_for_stream },
	{ .name = "cuEventSynchronize", .once = waits_for_event },
	{ .name = "cuCtxSynchronize", .once = waits_for_context },
	{ .name = "a copy to pageable memory", .once = waits_for_copy },
	{ .name = "cuStreamQuery", .once = asks_a_stream, .returns = true },
	{ .name = "cuEventQuery", .once = asks_an_event, .returns = true },
	{ .name = "a full queue", .once = fills_the_queue, .returns = true },
	{ .name = "launches", .once = launches, .returns = true },
	{ .name = "cuMemGetInfo", .once = calls, .returns = true },
	{ .name = "cuMemAlloc", .once = allocates, .returns = true },
	{ .name = "cuMemHostAlloc", .once = allocates_pinned, .returns = true },
	{ .name = "cuModuleLoadData", .once = loads, .returns = true },
};
#define WAITERS (sizeof(waiters) / sizeof(waiters[0]))

// Where nothing takes time, nothing waits.
static bool takes_part(const struct waiter *w)
{
	return (check_computes() || w->returns) && (!only || !strcmp(only, w->name));
}

static void *wait_until_lost(void *arg)
{
	struct waiter *w = arg;

	w->result = cuCtxSetCurrent(context);
	while (!w->result && (!atomic_fetch_add(&w->calls, 1) || w->returns))
		w->result = w->once();
	return NULL;
}

static bool all_under_way(void)
{
	for (size_t i = 0; i < WAITERS; i++)
		if (takes_part(&waiters[i]) && !atomic_load(&waiters[i].calls))
			return false;
	return true;
}

static void callback(CUstream stream, CUresult status, void *user)
{
	(void)stream;
	(void)user;
	atomic_store(&called_with, (int)status);
}

static void start_waiters(void)
{
	for (size_t i = 0; i < WAITERS; i++) {
		struct waiter *w = &waiters[i];

		if (takes_part(w) && pthread_create(&w->thread, NULL, wait_until_lost, w))
			check_bail("no thread");
	}
	while (!all_under_way())
		sleep_ms(5);
	sleep_ms(200);
	puts("ready");
	fflush(stdout);
}

static void all_end(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_ENDS_IN_S;
	for (size_t i = 0; i < WAITERS; i++) {
		struct waiter *w = &waiters[i];

		if (!takes_part(w))
			continue;
		if (pthread_timedjoin_np(w->thread, NULL, &until))
			check_bail("%s hangs", w->name);
		CHECK(w->result == LOST, "%s ends with %s", w->name, driver_error_name(w->result));
	}
	if (!check_computes() || only)
		return;
	for (int i = 0; i < 1000 && atomic_load(&called_with) < 0; i++)
		sleep_ms(10);
	EQUAL(LOST, atomic_load(&called_with)); // of the callback behind the work
}

static void later_calls(void)
{
	CUgraphExec exec;
	CUdeviceptr p;
	CUstream s;
	CUevent e;
	CUfunction f;
	CUtexObject t;
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_LINEAR };
	CUDA_TEXTURE_DESC d = { .flags = CU_TRSF_READ_AS_INTEGER };
	CUgraph graph;
	size_t left, all;
	uint32_t word = 1;
	void *host;

	EXPECT(LOST, cuCtxSynchronize());
	EXPECT(LOST, cuStreamSynchronize(NULL));
	EXPECT(LOST, cuStreamSynchronize(busy));
	EXPECT(LOST, cuStreamQuery(idle));
	EXPECT(LOST, cuEventSynchronize(event));
	EXPECT(LOST, cuEventQuery(event));
	EXPECT(LOST, cuEventRecord(event, idle));
	EXPECT(LOST, cuStreamWaitEvent(idle, event, 0));
	EXPECT(LOST, cuLaunchKernel(empty, 1, 1, 1, 1, 1, 1, 0, idle, NULL, NULL));
	EXPECT(LOST, cuMemcpyHtoD_v2(memory, &word, 4));
	EXPECT(LOST, cuMemcpyDtoH_v2(&word, memory, 4));
	EXPECT(LOST, cuMemcpyDtoDAsync_v2(memory, memory + 64, 4, idle));
	EXPECT(LOST, cuMemsetD32_v2(memory, 0, 1));
	EXPECT(LOST, cuMemAlloc_v2(&p, 16));
	EXPECT(LOST, cuMemAllocManaged(&p, 16, CU_MEM_ATTACH_GLOBAL));
	EXPECT(LOST, cuMemAllocAsync(&p, 16, idle));
	EXPECT(LOST, cuMemHostAlloc(&host, 16, 0));
	EXPECT(LOST, cuMemGetInfo_v2(&left, &all));
	EXPECT(LOST, cuStreamCreate(&s, 0));
	EXPECT(LOST, cuEventCreate(&e, 0));
	EXPECT(LOST, cuModuleLoadData(&module, image));
	EXPECT(LOST, cuModuleGetFunction(&f, module, "empty"));
	EXPECT(LOST, cuLaunchHostFunc(idle, (CUhostFn)(uintptr_t)1, NULL));
	r.res.linear.devPtr = memory;
	r.res.linear.format = CU_AD_FORMAT_FLOAT;
	r.res.linear.numChannels = 1;
	r.res.linear.sizeInBytes = 64;
	EXPECT(LOST, cuTexObjectCreate(&t, &r, &d, NULL));
	MUST(cuGraphCreate(&graph, 0)); // a graph is the program's own until it is made executable
	EXPECT(LOST, cuGraphInstantiateWithFlags(&exec, graph, 0));
	MUST(cuGraphDestroy(graph));
}

static void what_stays(void)
{
	CUcontext current;
	unsigned type;
	int n;

	OK(cuDeviceGetCount(&n));
	OK(cuDeviceGetAttribute(&n, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0));
	OK(cuCtxGetCurrent(&current));
	CHECK(current == context, "the context is still current");
	OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, memory));
	CHECK(pinned[1] == 4711, "pinned memory keeps what the program wrote");
	pinned[1] = 4712;
	CHECK(pinned[1] == 4712, "and can be written");
}

// Whatever these say, they return.
static void give_back(void)
{
	cuMemFreeHost(pinned);
	cuMemFree_v2(memory);
	cuEventDestroy_v2(event);
	cuStreamDestroy_v2(busy);
	cuStreamDestroy_v2(idle);
	cuModuleUnload(module);
	cuDevicePrimaryCtxReset_v2(0);
	cuDevicePrimaryCtxRelease_v2(0);
	CHECK(true, "all was given back");
}

int main(int argc, char **argv)
{
	CUmodule kernels;
	struct gate gate;
	void *host;

	only = argc > 1 ? argv[1] : NULL;
	context = check_context();
	image = check_read("basic.ptx");
	module = kernels = check_module("basic.ptx");
	empty = check_function(module, "empty");
	MUST(cuStreamCreate(&busy, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&idle, CU_STREAM_NON_BLOCKING));
	MUST(cuEventCreate(&event, 0));
	MUST(cuMemAlloc_v2(&memory, 4096));
	MUST(cuMemHostAlloc(&host, 4096, 0));
	pinned = host;
	pinned[1] = 4711;
	gate_init(&gate, module);
	if (check_computes())
		gate_close(&gate, busy);
	if (!only) // a thread of the library waits for it
		MUST(cuStreamAddCallback(busy, callback, NULL, 0));
	MUST(cuEventRecord(event, busy));
	start_waiters();
	all_end();
	later_calls();
	module = kernels;
	what_stays();
	give_back();
	return check_done();
}
