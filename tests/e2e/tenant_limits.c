// SPDX-License-Identifier: Apache-2.0
//
// tenant_limits STREAMS EVENTS PINNED_MIB: the mediator allows so many streams and events of a program and so
// much pinned memory of a tenant; more is refused as CUDA_ERROR_OUT_OF_MEMORY, and what was given back can be
// had again.
#include "tests/e2e/check.h"

#include <stdlib.h>

#define MOST 4096

static CUstream streams[MOST];
static CUevent events[MOST];
static void *pinned[MOST];

static int take_streams(int n)
{
	while (n < MOST && cuStreamCreate(&streams[n], CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS)
		n++;
	return n;
}

// Events are made without a round trip: the refusal comes with the next call that waits.
static int take_events(void)
{
	int n = 0;

	while (n < MOST && cuEventCreate(&events[n], 0) == CUDA_SUCCESS && cuCtxSynchronize() == CUDA_SUCCESS)
		n++;
	return n;
}

static int take_pinned(void)
{
	int n = 0;

	while (n < MOST && cuMemHostAlloc(&pinned[n], MIB, 0) == CUDA_SUCCESS)
		n++;
	return n;
}

int main(int argc, char **argv)
{
	int most_streams, most_events, most_pinned, n;
	CUdeviceptr managed;

	if (argc != 4)
		check_bail("usage: tenant_limits STREAMS EVENTS PINNED_MIB");
	most_streams = (int)strtol(argv[1], NULL, 10);
	most_events = (int)strtol(argv[2], NULL, 10);
	most_pinned = (int)strtol(argv[3], NULL, 10);
	check_context();

	n = take_streams(0);
	CHECK(n <= most_streams && n >= most_streams - 4, "%d streams of %d", n, most_streams);
	OK(cuStreamDestroy_v2(streams[n - 1]));
	EQUAL(n, take_streams(n - 1));

	n = take_events();
	CHECK(n <= most_events && n >= most_events - 4, "%d events of %d", n, most_events);
	OK(cuCtxSynchronize());

	n = take_pinned();
	EQUAL(most_pinned, n);
	EXPECT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAllocManaged(&managed, MIB, 1));
	OK(cuMemFreeHost(pinned[0]));
	OK(cuMemAllocManaged(&managed, MIB, 1));
	OK(cuMemFree_v2(managed));
	return check_done();
}
