// SPDX-License-Identifier: Apache-2.0
//
// Batches of copies between every kind of memory, in one row and in boxes; what is refused and which copy is
// named.
#include <string.h>

#include "tests/e2e/check.h"

enum { N = 6, BYTES = 70000 };

static CUstream stream;
static CUdeviceptr device, second;
static uint8_t *pinned, heap[N * BYTES], back[N * BYTES];

static void rows(void)
{
	// heap to device, pinned to device, device to device, device to pinned, device to heap
	CUdeviceptr dsts[N], srcs[N];
	size_t sizes[N], begins[2] = { 0, 2 };
	CUmemcpyAttributes attributes[2] = { { .srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL },
					     { .srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM } };

	pattern_fill(heap, sizeof(heap), 3);
	pattern_fill(pinned, N * BYTES, 4);
	for (int i = 0; i < N; i++) {
		dsts[i] = device + (size_t)i * BYTES;
		srcs[i] = (i % 2 ? (uintptr_t)pinned : (uintptr_t)heap) + (size_t)i * BYTES;
		sizes[i] = BYTES;
	}
	OK(cuMemcpyBatchAsync_v2(dsts, srcs, sizes, N, attributes, begins, 2, stream));
	OK(cuMemcpyDtoDAsync_v2(second, device, N * BYTES, stream));
	for (int i = 0; i < N; i++) {
		srcs[i] = second + (size_t)i * BYTES;
		dsts[i] = (uintptr_t)back + (size_t)i * BYTES;
	}
	OK(cuMemcpyBatchAsync_v2(dsts, srcs, sizes, N, &attributes[1], begins, 1, stream));
	OK(cuStreamSynchronize(stream));
	if (!check_computes())
		return;
	for (int i = 0; i < N; i++)
		CHECK(!memcmp(back + i * BYTES, (i % 2 ? pinned : heap) + i * BYTES, BYTES),
		      "copy %d arrived", i);
}

static void boxes(void)
{
	enum { W = 100, H = 20, D = 3, PITCH = 160, LAYER = 25 };
	CUDA_MEMCPY3D_BATCH_OP op = { .width = W, .height = H, .depth = D }, bad;
	bool right = true;

	op.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
	op.src.type = op.dst.type = CU_MEMCPY_OPERAND_TYPE_POINTER;
	op.src.op.ptr.ptr = (uintptr_t)pinned;
	op.dst.op.ptr.ptr = device;
	op.dst.op.ptr.rowLength = PITCH;
	op.dst.op.ptr.layerHeight = LAYER;
	OK(cuMemsetD8Async(device, 0xee, PITCH * LAYER * D, stream));
	OK(cuMemcpy3DBatchAsync_v2(1, &op, 0, stream));
	OK(cuMemcpyDtoHAsync_v2(back, device, PITCH * LAYER * D, stream));
	OK(cuStreamSynchronize(stream));
	for (int z = 0; z < D; z++)
		for (int y = 0; y < H; y++)
			right = right &&
				!memcmp(back + (z * LAYER + y) * PITCH, pinned + (z * H + y) * W, W) &&
				back[(z * LAYER + y) * PITCH + W] == 0xee;
	if (check_computes())
		CHECK(right, "the box arrived, and nothing beside it");
	bad = op;
	bad.depth = 0;
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpy3DBatchAsync_v2(1, &bad, 0, stream));
	bad = op;
	bad.srcAccessOrder = 0;
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpy3DBatchAsync_v2(1, &bad, 0, stream));
	bad = op;
	bad.dst.op.ptr.rowLength = W - 1;
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpy3DBatchAsync_v2(1, &bad, 0, stream));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpy3DBatchAsync_v2(1, &op, 1, stream));
}

static void refused(void)
{
	CUdeviceptr dsts[2] = { device, device + 4096 }, srcs[2] = { (uintptr_t)pinned, (uintptr_t)pinned };
	size_t sizes[2] = { 16, 16 }, begins[2] = { 0, 1 };
	CUmemcpyAttributes attributes[2] = { { .srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM },
					     { .srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM } };

	OK(cuMemcpyBatchAsync_v2(dsts, srcs, sizes, 2, attributes, begins, 2, stream));
	EXPECT(CUDA_ERROR_INVALID_VALUE,
	       cuMemcpyBatchAsync_v2(dsts, srcs, sizes, 2, attributes, begins, 3, stream));
	begins[0] = 1;
	EXPECT(CUDA_ERROR_INVALID_VALUE,
	       cuMemcpyBatchAsync_v2(dsts, srcs, sizes, 2, attributes, begins, 1, stream));
	begins[0] = 0;
	begins[1] = 0;
	EXPECT(CUDA_ERROR_INVALID_VALUE,
	       cuMemcpyBatchAsync_v2(dsts, srcs, sizes, 2, attributes, begins, 2, stream));
	attributes[0].srcAccessOrder = 0;
	EXPECT(CUDA_ERROR_INVALID_VALUE,
	       cuMemcpyBatchAsync_v2(dsts, srcs, sizes, 2, attributes, begins, 1, stream));
	OK(cuStreamSynchronize(stream));
}

int main(void)
{
	check_context();
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	MUST(cuMemAlloc_v2(&device, MIB));
	MUST(cuMemAlloc_v2(&second, MIB));
	MUST(cuMemAllocHost_v2((void **)&pinned, MIB));
	pattern_fill(pinned, MIB, 5);
	rows();
	boxes();
	refused();
	return check_done();
}
