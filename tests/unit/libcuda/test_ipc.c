// SPDX-License-Identifier: Apache-2.0
// cuIpc handles in the guest (guest/libcuda/ipc.c): what opens, counts and closes, and handles that are none.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "guest/libcuda/libcuda.h"
#include "tests/unit/libcuda/fake_client.h"

// Places of a handle's fields, packed by hand.
enum { AT_MAGIC = 0, AT_WHAT = 4, AT_KEY = 8, AT_OFFSET = 24, AT_BYTES = 32, AT_ID = 40, AT_RESERVED = 48 };
#define PIECE (2ull << 20)

static CUdeviceptr first, second;
static CUipcMemHandle one, two;

static int setup(void **state)
{
	CUcontext ctx;

	(void)state;
	fake_reset();
	if (cuInit(0) || cuDevicePrimaryCtxRetain(&ctx, 0) || cuCtxSetCurrent(ctx) ||
	    cuMemAlloc_v2(&first, 1000) || cuMemAlloc_v2(&second, 2000) || cuIpcGetMemHandle(&one, first) ||
	    cuIpcGetMemHandle(&two, second))
		return -1;
	fake_reset();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_reset();
	return cuMemFree_v2(first) || cuMemFree_v2(second) || cuDevicePrimaryCtxRelease_v2(0);
}

static CUresult opened(CUipcMemHandle handle, CUdeviceptr *ret)
{
	return cuIpcOpenMemHandle_v2(ret, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS);
}

static void put(CUipcMemHandle *handle, int at, uint64_t value)
{
	memcpy(handle->reserved + at, &value, sizeof(value));
}

static void nothing_is_left(void)
{
	assert_int_equal(fake.counts[OPCODE_VM_IMPORT], fake.counts[OPCODE_VM_RELEASE]);
	assert_int_equal(fake.counts[OPCODE_VM_RESERVE], fake.counts[OPCODE_VM_FREE]);
}

static void allocations_of_one_piece_are_opened_in_it(void **state)
{
	CUdeviceptr a, b, again, base;
	size_t bytes;

	(void)state;
	assert_int_equal(opened(one, &a), 0);
	assert_int_equal(opened(two, &b), 0);
	assert_int_equal(opened(one, &again), 0);
	assert_int_equal(again, a);
	assert_int_equal(b - a, second - first);
	assert_int_equal(fake.counts[OPCODE_VM_IMPORT], 1);
	assert_int_equal(cuMemGetAddressRange_v2(&base, &bytes, b + 1999), 0);
	assert_int_equal(base, b);
	assert_int_equal(bytes, 2000);
	assert_int_equal(cuMemGetAddressRange_v2(&base, &bytes, b + 2000), CUDA_ERROR_NOT_FOUND);
	assert_int_equal(cuMemFree_v2(a), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuIpcCloseMemHandle(a + 1), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuIpcCloseMemHandle(a), 0);
	assert_int_equal(cuIpcCloseMemHandle(b), 0);
	assert_int_equal(fake.counts[OPCODE_VM_UNMAP], 0);
	assert_int_equal(cuIpcCloseMemHandle(a), 0);
	assert_int_equal(fake.counts[OPCODE_VM_UNMAP], 1);
	assert_int_equal(cuIpcCloseMemHandle(a), CUDA_ERROR_INVALID_VALUE);
	nothing_is_left();
}

static void another_allocation_at_the_same_place(void **state)
{
	CUipcMemHandle other = one;
	CUdeviceptr a, b;

	(void)state;
	put(&other, AT_ID, 12345);
	assert_int_equal(opened(one, &a), 0);
	assert_int_equal(opened(other, &b), CUDA_ERROR_ALREADY_MAPPED);
	assert_int_equal(cuIpcCloseMemHandle(a), 0);
	assert_int_equal(opened(other, &b), 0);
	assert_int_equal(cuIpcCloseMemHandle(b), 0);
	nothing_is_left();
}

static void forged_handles(void **state)
{
	static const int places[] = { AT_MAGIC, AT_WHAT, AT_RESERVED, AT_RESERVED + 8 };
	static const struct {
		uint64_t offset, bytes;
	} beyond[] = {
		{ PIECE, 1 },	   { 0, PIECE + 1 },	      { 0, 0 }, { PIECE - 1, 2 }, { UINT64_MAX, 2 },
		{ 2, UINT64_MAX }, { UINT64_MAX, UINT64_MAX }
	};
	CUipcMemHandle h;
	CUdeviceptr p;

	(void)state;
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		h = one;
		h.reserved[places[i]] ^= 0x10;
		assert_int_equal(opened(h, &p), CUDA_ERROR_INVALID_VALUE);
	}
	assert_int_equal(cuIpcOpenMemHandle_v2(&p, one, 2), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuIpcOpenMemHandle_v2(NULL, one, 1), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(fake.counts[OPCODE_VM_IMPORT], 0);
	for (unsigned i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
		h = one;
		put(&h, AT_OFFSET, beyond[i].offset);
		put(&h, AT_BYTES, beyond[i].bytes);
		assert_int_equal(opened(h, &p), CUDA_ERROR_INVALID_VALUE);
	}
	assert_int_not_equal(fake.counts[OPCODE_VM_IMPORT], 0);
	nothing_is_left();
}

static void what_the_host_refuses_leaves_nothing(void **state)
{
	static const int opcodes[] = { OPCODE_VM_IMPORT, OPCODE_VM_RESERVE, OPCODE_VM_MAP, OPCODE_VM_ACCESS };
	CUdeviceptr p;

	(void)state;
	for (unsigned i = 0; i < sizeof(opcodes) / sizeof(opcodes[0]); i++) {
		fake_reset();
		fake.fail_opcode = opcodes[i];
		fake.fail_result = CUDA_ERROR_OUT_OF_MEMORY;
		assert_int_equal(opened(one, &p), CUDA_ERROR_OUT_OF_MEMORY);
		assert_int_equal(fake.counts[OPCODE_VM_RELEASE], i > 0);
		assert_int_equal(fake.counts[OPCODE_VM_FREE], i > 1);
		assert_int_equal(fake.counts[OPCODE_VM_UNMAP], i > 2);
	}
	fake_reset();
	assert_int_equal(opened(one, &p), 0);
	assert_int_equal(cuIpcCloseMemHandle(p), 0);
	nothing_is_left();
}

static void a_context_takes_what_it_opened(void **state)
{
	CUcontext ctx;
	CUdeviceptr p;

	(void)state;
	assert_int_equal(cuCtxCreate_v2(&ctx, 0, 0), 0);
	assert_int_equal(opened(one, &p), 0);
	assert_int_equal(opened(one, &p), 0);
	assert_int_equal(cuCtxDestroy_v2(ctx), 0);
	nothing_is_left();
	assert_int_equal(cuIpcCloseMemHandle(p), CUDA_ERROR_INVALID_VALUE);
}

static void events(void **state)
{
	CUipcEventHandle handle;
	CUipcMemHandle memory;
	CUdeviceptr p;
	CUevent e, other;

	(void)state;
	assert_int_equal(cuEventCreate(&e, CU_EVENT_INTERPROCESS), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuEventCreate(&e, CU_EVENT_DISABLE_TIMING), 0);
	assert_int_equal(cuIpcGetEventHandle(&handle, e), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuEventDestroy_v2(e), 0);
	assert_int_equal(cuEventCreate(&e, CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING), 0);
	assert_int_equal(cuIpcGetEventHandle(&handle, e), 0);
	// A handle of one kind is none of the other.
	memcpy(&memory, &handle, sizeof(memory));
	assert_int_equal(opened(memory, &p), CUDA_ERROR_INVALID_VALUE);
	memcpy(&handle, &one, sizeof(handle));
	assert_int_equal(cuIpcOpenEventHandle(&other, handle), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(fake.counts[OPCODE_EVENT_OPEN], 0);
	memcpy(&handle, &memory, sizeof(handle));
	assert_int_equal(cuIpcOpenEventHandle(&other, handle), 0);
	// Only the executor knows: each query and each wait asks; a record arrives before its call returns.
	assert_int_equal(cuEventQuery(other), 0);
	assert_int_equal(cuEventQuery(other), 0);
	assert_int_equal(fake.counts[OPCODE_EVENT_QUERY], 2);
	assert_int_equal(cuEventSynchronize(other), 0);
	assert_int_equal(cuEventSynchronize(other), 0);
	assert_int_equal(fake.counts[OPCODE_EVENT_WATCH], 2);
	assert_int_equal(cuStreamWaitEvent(NULL, other, 0), 0);
	assert_int_equal(fake.counts[OPCODE_STREAM_WAIT_EVENT], 1);
	assert_int_equal(cuEventRecord(e, NULL), 0);
	assert_int_equal(fake.counts[OPCODE_PING], 1);
	assert_int_equal(cuEventDestroy_v2(e), 0);
	assert_int_equal(cuEventDestroy_v2(other), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(allocations_of_one_piece_are_opened_in_it),
		TEST(another_allocation_at_the_same_place),
		TEST(forged_handles),
		TEST(what_the_host_refuses_leaves_nothing),
		TEST(a_context_takes_what_it_opened),
		TEST(events),
#undef TEST
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
