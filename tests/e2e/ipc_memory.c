// SPDX-License-Identifier: Apache-2.0
//
// Memory of one process in another by cuIpc handles: the owner allocates and fills, the opener reads, changes
// it in place with a kernel and a copy, opens it again, and closes. What is refused, and what happens to what
// is still open when the owner frees or ends.
#include "tests/e2e/check.h"
#include "tests/e2e/peer.h"

#include <stdlib.h>
#include <string.h>

#define LARGE (5 * MIB)
#define SMALL 1000
#define OTHER 5000

static bool legacy_capable(CUdeviceptr p)
{
	bool is = false;

	MUST(cuPointerGetAttribute(&is, CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, p));
	return is;
}

static bool holds(CUdeviceptr p, size_t n, uint32_t seed, const char *what)
{
	void *bytes = malloc(n);
	bool same;

	MUST(cuMemcpyDtoH_v2(bytes, p, n));
	same = pattern_check(bytes, n, seed, what);
	free(bytes);
	return same;
}

static void fill(CUdeviceptr p, size_t n, uint32_t seed)
{
	void *bytes = malloc(n);

	pattern_fill(bytes, n, seed);
	MUST(cuMemcpyHtoD_v2(p, bytes, n));
	free(bytes);
}

struct handles {
	CUipcMemHandle large, small, other;
};

// ---- the opener

static void opens_and_changes(const struct handles *h)
{
	CUfunction step = check_function(check_module("basic.ptx"), "step");
	CUdeviceptr large, again, small, base;
	uint32_t what = 1;
	size_t size;

	OK(cuIpcOpenMemHandle_v2(&large, h->large, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
	OK(cuIpcOpenMemHandle_v2(&small, h->small, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
	holds(large, LARGE, 1, "what the owner wrote");
	holds(small, SMALL, 2, "what the owner wrote to a small allocation");
	OK(cuMemGetAddressRange_v2(&base, &size, large + 12345));
	CHECK(base == large, "the opened allocation begins where it was opened");
	// The same handle once more is the same memory, and must be closed once more.
	OK(cuIpcOpenMemHandle_v2(&again, h->large, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
	CHECK(again == large, "opened again at the same address");
	OK(cuIpcCloseMemHandle(again));
	holds(large, LARGE, 1, "still open");
	MUST(cuMemsetD32_v2(large, 5, 1));
	LAUNCH(step, 1, 1, NULL, &large, &what);
	fill(large + MIB, 3 * MIB, 3);
	fill(small + 8, SMALL - 8, 4);
	MUST(cuCtxSynchronize());
	if (check_backend() != BACKEND_NATIVE)
		EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(large));
	OK(cuIpcCloseMemHandle(large));
	OK(cuIpcCloseMemHandle(small));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuIpcCloseMemHandle(large));
}

static void opener_is_refused(void)
{
	CUipcMemHandle none;
	CUdeviceptr p, own;

	memset(&none, 0x5a, sizeof(none));
	MUST(cuMemAlloc_v2(&own, 4096));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuIpcCloseMemHandle(own));
	if (check_backend() != BACKEND_NATIVE)
		EXPECT(CUDA_ERROR_INVALID_VALUE, cuIpcOpenMemHandle_v2(&p, none, 1));
	MUST(cuMemFree_v2(own));
}

// CUDA leaves it undefined what is open of memory that its owner freed; here it stays what it was.
static void outlives_its_owner(const struct peer *parent, const struct handles *h)
{
	CUdeviceptr large, again, other;

	MUST(cuIpcOpenMemHandle_v2(&large, h->large, 1));
	MUST(cuIpcOpenMemHandle_v2(&other, h->other, 1));
	peer_meet(parent); // the owner frees the large one
	peer_meet(parent);
	fill(large, LARGE, 6);
	holds(large, LARGE, 6, "freed by its owner and open here");
	OK(cuIpcOpenMemHandle_v2(&again, h->large, 1));
	OK(cuIpcCloseMemHandle(large));
	OK(cuIpcCloseMemHandle(large));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuIpcOpenMemHandle_v2(&again, h->large, 1));
	OK(cuIpcCloseMemHandle(other));
}

static int opener(const struct peer *parent)
{
	struct handles h;

	check_context();
	peer_receive(parent, &h, sizeof(h));
	opens_and_changes(&h);
	peer_meet(parent);
	peer_meet(parent); // the owner has looked
	opener_is_refused();
	if (check_backend() != BACKEND_NATIVE)
		outlives_its_owner(parent, &h);
	return check_done();
}

// ---- the owner

static void owner_is_refused(CUdeviceptr large, const CUipcMemHandle *own)
{
	CUmemoryPool pool;
	CUipcMemHandle h;
	CUdeviceptr p;

	EXPECT(CUDA_ERROR_INVALID_CONTEXT, cuIpcOpenMemHandle_v2(&p, *own, 1));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuIpcGetMemHandle(NULL, large));
	MUST(cuDeviceGetDefaultMemPool(&pool, 0));
	MUST(cuMemAllocAsync(&p, 4096, NULL));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuIpcGetMemHandle(&h, p));
	CHECK(!legacy_capable(p), "memory of a pool has no cuIpc handle");
	MUST(cuMemFreeAsync(p, NULL));
	MUST(cuCtxSynchronize());
}

int main(int argc, char **argv)
{
	const char *role;
	struct peer peer = peer_parent(argc, argv, &role);
	CUdeviceptr large, small, other;
	CUipcMemHandle same;
	struct handles h;
	uint32_t word = 0;

	if (role)
		return opener(&peer);
	peer = peer_start("opener");
	check_context();
	MUST(cuMemAlloc_v2(&large, LARGE));
	MUST(cuMemAlloc_v2(&small, SMALL));
	MUST(cuMemAlloc_v2(&other, OTHER));
	fill(large, LARGE, 1);
	fill(small, SMALL, 2);
	fill(other, OTHER, 5);
	CHECK(legacy_capable(large), "cuMemAlloc's memory has a cuIpc handle");
	OK(cuIpcGetMemHandle(&h.large, large));
	OK(cuIpcGetMemHandle(&h.small, small));
	OK(cuIpcGetMemHandle(&h.other, other));
	OK(cuIpcGetMemHandle(&same, large + 4096));
	CHECK(!memcmp(&same, &h.large, sizeof(same)), "a pointer into it has the same handle");
	CHECK(memcmp(&h.small, &h.other, sizeof(same)) != 0, "another allocation has another handle");
	owner_is_refused(large, &h.large);
	holds(large, LARGE, 1, "unchanged by being shared");
	peer_send(&peer, &h, sizeof(h), -1);
	peer_meet(&peer);
	MUST(cuMemcpyDtoH_v2(&word, large, 4));
	if (check_computes())
		EQUAL(16, word);
	holds(large + MIB, 3 * MIB, 3, "what the opener wrote");
	holds(small + 8, SMALL - 8, 4, "what the opener wrote to the small one");
	holds(other, OTHER, 5, "its neighbour");
	peer_meet(&peer);
	if (check_backend() != BACKEND_NATIVE) {
		peer_meet(&peer);
		OK(cuMemFree_v2(large));
		peer_meet(&peer);
	}
	peer_end(&peer);
	OK(cuMemFree_v2(small));
	return check_done();
}
