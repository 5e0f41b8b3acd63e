// SPDX-License-Identifier: Apache-2.0
//
// Events of one process in another: a consumer waits in its stream, or in a thread, for what a producer
// records, and sees what was done before. Both wait for one another in turn, many times, with two events.
// With "plain" neither has memory of the other nor a kernel that waits for the host, only the events.
#include "tests/e2e/check.h"
#include "tests/e2e/peer.h"

#include <string.h>
#include <unistd.h>

#define ROUNDS 40
#define FLAGS  (CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING)

struct names {
	CUipcEventHandle there, back;
	CUipcMemHandle memory;
};

// Adds 1 to the word in stream order, with a copy in between so that a missing wait would be seen.
static void add(CUfunction step, CUdeviceptr word, CUstream stream)
{
	uint32_t what = 1;

	LAUNCH(step, 1, 1, stream, &word, &what);
}

static uint32_t next(uint32_t word)
{
	return word * 3 + 1; // what step does with 1
}

// What is recorded behind a closed gate is waited for in a thread and in a stream.
static void waits_for_a_gate(const struct peer *parent, CUevent there, CUstream stream)
{
	CUresult result;

	peer_meet(parent); // recorded behind the gate
	if (check_computes()) {
		EXPECT(CUDA_ERROR_NOT_READY, cuEventQuery(there));
		OK(cuStreamWaitEvent(stream, there, 0));
	}
	peer_meet(parent); // the gate opens at some time from now on, and this call may last until then
	result = cuStreamQuery(stream);
	CHECK(result == CUDA_ERROR_NOT_READY || (!result && !cuEventQuery(there)),
	      "a stream that waits is done when the event is, not before (%d)", (int)result);
	OK(cuEventSynchronize(there));
	OK(cuEventQuery(there));
	OK(cuStreamSynchronize(stream));
	peer_meet(parent);
}

static int consumer(const struct peer *parent, bool plain)
{
	CUdeviceptr word;
	CUevent there, back;
	struct names n;
	CUstream stream;
	CUfunction step;

	check_context();
	step = check_function(check_module("basic.ptx"), "step");
	peer_receive(parent, &n, sizeof(n));
	OK(cuIpcOpenEventHandle(&there, n.there));
	OK(cuIpcOpenEventHandle(&back, n.back));
	if (plain)
		MUST(cuMemAlloc_v2(&word, 4));
	else
		OK(cuIpcOpenMemHandle_v2(&word, n.memory, 1));
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	EXPECT(CUDA_SUCCESS, cuEventQuery(there)); // never recorded
	peer_meet(parent);
	if (!plain)
		waits_for_a_gate(parent, there, stream);
	for (int i = 0; i < ROUNDS; i++) {
		peer_meet(parent); // `there` is recorded
		MUST(cuStreamWaitEvent(stream, there, 0));
		add(step, word, stream);
		MUST(cuEventRecord(back, stream));
		peer_meet(parent);
	}
	MUST(cuStreamSynchronize(stream));
	OK(cuEventDestroy_v2(there));
	OK(cuEventDestroy_v2(back));
	if (!plain)
		OK(cuIpcCloseMemHandle(word));
	peer_meet(parent);
	return check_done();
}

// A process that ends with a record that never comes: nobody waits for it for ever.
static int leaver(const struct peer *parent)
{
	CUipcEventHandle handle;
	struct gate gate;
	CUstream stream;
	CUevent e;

	check_context();
	gate_init(&gate, check_module("basic.ptx"));
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	MUST(cuEventCreate(&e, FLAGS));
	MUST(cuIpcGetEventHandle(&handle, e));
	gate_close(&gate, stream);
	OK(cuEventRecord(e, stream));
	peer_send(parent, &handle, sizeof(handle), -1);
	peer_meet(parent);
	_exit(0);
}

static void outlives_its_recorder(void)
{
	struct peer peer = peer_start("leaver");
	CUipcEventHandle handle;
	CUstream stream;
	CUevent e;

	peer_receive(&peer, &handle, sizeof(handle));
	MUST(cuIpcOpenEventHandle(&e, handle));
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	EXPECT(CUDA_ERROR_NOT_READY, cuEventQuery(e));
	OK(cuStreamWaitEvent(stream, e, 0));
	EXPECT(CUDA_ERROR_NOT_READY, cuStreamQuery(stream));
	peer_meet(&peer);
	peer_end(&peer);
	OK(cuEventSynchronize(e));
	OK(cuStreamSynchronize(stream));
	MUST(cuEventDestroy_v2(e));
	MUST(cuStreamDestroy_v2(stream));
}

static void refused(void)
{
	CUipcEventHandle handle;
	CUevent e, own;

	EXPECT(CUDA_ERROR_INVALID_VALUE, cuEventCreate(&e, CU_EVENT_INTERPROCESS));
	MUST(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
	CHECK(cuIpcGetEventHandle(&handle, e) != CUDA_SUCCESS, "an ordinary event has no handle");
	MUST(cuEventDestroy_v2(e));
	MUST(cuEventCreate(&e, FLAGS));
	MUST(cuIpcGetEventHandle(&handle, e));
	if (check_backend() != BACKEND_NATIVE) {
		EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuIpcOpenEventHandle(&own, handle));
		memset(&handle, 0x5a, 16);
		EXPECT(CUDA_ERROR_INVALID_VALUE, cuIpcOpenEventHandle(&own, handle));
	}
	MUST(cuEventDestroy_v2(e));
}

static void records_behind_a_gate(const struct peer *peer, CUmodule module, CUevent there, CUstream stream)
{
	struct gate gate;

	gate_init(&gate, module);
	gate_close(&gate, stream);
	OK(cuEventRecord(there, stream));
	peer_meet(peer);
	peer_meet(peer); // the consumer waits for it
	if (check_computes())
		sleep_ms(20);
	gate_open(&gate);
	peer_meet(peer);
	MUST(cuStreamSynchronize(stream));
	gate_done(&gate);
}

int main(int argc, char **argv)
{
	bool plain = argc == 2 && !strcmp(argv[1], "plain");
	const char *role;
	struct peer peer = peer_parent(argc, argv, &role);
	CUdeviceptr word;
	CUmodule module;
	CUfunction step;
	struct names n = { 0 };
	CUevent there, back;
	CUstream stream;
	uint32_t want = 5, got = 0;

	if (role && !strcmp(role, "leaver"))
		return leaver(&peer);
	if (role)
		return consumer(&peer, !strcmp(role, "plain"));
	peer = peer_start(plain ? "plain" : "consumer");
	check_context();
	refused();
	if (!plain && check_computes() && check_backend() != BACKEND_NATIVE)
		outlives_its_recorder();
	module = check_module("basic.ptx");
	step = check_function(module, "step");
	MUST(cuMemAlloc_v2(&word, 4));
	MUST(cuMemsetD32_v2(word, want, 1));
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	OK(cuEventCreate(&there, FLAGS));
	OK(cuEventCreate(&back, FLAGS));
	OK(cuIpcGetEventHandle(&n.there, there));
	OK(cuIpcGetEventHandle(&n.back, back));
	if (!plain)
		OK(cuIpcGetMemHandle(&n.memory, word));
	peer_send(&peer, &n, sizeof(n), -1);
	peer_meet(&peer);
	if (!plain)
		records_behind_a_gate(&peer, module, there, stream);
	for (int i = 0; i < ROUNDS; i++) {
		add(step, word, stream);
		MUST(cuEventRecord(there, stream));
		peer_meet(&peer);
		peer_meet(&peer); // the consumer has recorded `back`
		MUST(cuStreamWaitEvent(stream, back, 0));
		want = plain ? next(want) : next(next(want));
	}
	OK(cuEventSynchronize(back));
	OK(cuStreamSynchronize(stream));
	peer_meet(&peer);
	MUST(cuMemcpyDtoH_v2(&got, word, 4));
	if (check_computes())
		EQUAL(want, got);
	peer_end(&peer);
	OK(cuEventDestroy_v2(there));
	OK(cuEventDestroy_v2(back));
	return check_done();
}
