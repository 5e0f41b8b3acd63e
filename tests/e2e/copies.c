// SPDX-License-Identifier: Apache-2.0
//
// Linear copies, byte-exact: every direction, synchronous, on a stream, through the unified call; pageable
// and pinned host memory; odd sizes and offsets up to 40 MiB.
#include "tests/e2e/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGEABLE, PINNED };
enum { TYPED, TYPED_ASYNC, UNIFIED, UNIFIED_ASYNC };
static const char *const host_names[] = { "pageable", "pinned" };
static const char *const call_names[] = { "typed", "async", "unified", "unified async" };
static CUstream stream;

static CUresult to_device(int call, CUdeviceptr dst, const void *src, size_t n)
{
	switch (call) {
	case TYPED: return cuMemcpyHtoD_v2(dst, src, n);
	case TYPED_ASYNC: return cuMemcpyHtoDAsync_v2(dst, src, n, stream);
	case UNIFIED: return cuMemcpy(dst, (CUdeviceptr)src, n);
	default: return cuMemcpyAsync(dst, (CUdeviceptr)src, n, stream);
	}
}

static CUresult to_host(int call, void *dst, CUdeviceptr src, size_t n)
{
	switch (call) {
	case TYPED: return cuMemcpyDtoH_v2(dst, src, n);
	case TYPED_ASYNC: return cuMemcpyDtoHAsync_v2(dst, src, n, stream);
	case UNIFIED: return cuMemcpy((CUdeviceptr)dst, src, n);
	default: return cuMemcpyAsync((CUdeviceptr)dst, src, n, stream);
	}
}

static CUresult on_device(int call, CUdeviceptr dst, CUdeviceptr src, size_t n)
{
	switch (call) {
	case TYPED: return cuMemcpyDtoD_v2(dst, src, n);
	case TYPED_ASYNC: return cuMemcpyDtoDAsync_v2(dst, src, n, stream);
	case UNIFIED: return cuMemcpy(dst, src, n);
	default: return cuMemcpyAsync(dst, src, n, stream);
	}
}

struct buffers {
	uint8_t *in, *out; // host
	CUdeviceptr a, b;
};

// host -> a -> b -> host, with guard bytes around what is copied.
static bool round_trip(struct buffers *m, int call, size_t n, size_t offset, uint32_t seed, const char *what)
{
	uint8_t *in = m->in + offset, *out = m->out + offset / 2;
	pattern_fill(in, n, seed);
	memset(m->out, 0xee, n + offset + 64);
	MUST(cuMemsetD8_v2(m->b, 0x55, n + offset + 64));
	MUST(cuCtxSynchronize()); // the fill ran on the legacy stream, the copies may run on another
	MUST(to_device(call, m->a + offset, in, n));
	MUST(on_device(call, m->b + offset / 3, m->a + offset, n));
	MUST(to_host(call, out, m->b + offset / 3, n));
	MUST(cuStreamSynchronize(stream));
	if (!check_computes())
		return true;
	if (!pattern_check(out, n, seed, what))
		return false;
	if (out[n] != 0xee || (offset > 1 && out[-1] != 0xee))
		return CHECK(false, "%s: bytes around the copy changed", what);
	uint8_t behind = 0;
	MUST(cuMemcpyDtoH_v2(&behind, m->b + offset / 3 + n, 1));
	return behind == 0x55 || CHECK(false, "%s: device bytes behind the copy changed", what);
}

static void matrix(int host)
{
	static const size_t sizes[] = { 1, 3, 4095, 65536, 65537, 4 * MIB + 5, 40 * MIB };
	static const size_t offsets[] = { 0, 1, 13, 4099 };
	size_t most = 40 * MIB + 8 * KIB;
	struct buffers m;
	void *in, *out;
	if (host == PINNED) {
		MUST(cuMemHostAlloc(&in, most, 0));
		MUST(cuMemHostAlloc(&out, most, 0));
	} else {
		in = malloc(most);
		out = malloc(most);
	}
	m.in = in;
	m.out = out;
	MUST(cuMemAlloc_v2(&m.a, most));
	MUST(cuMemAlloc_v2(&m.b, most));
	for (int call = TYPED; call <= UNIFIED_ASYNC; call++) {
		for (int s = 0; s < 7; s++) {
			for (int o = 0; o < (sizes[s] > 8 * MIB ? 2 : 4); o++) {
				char what[100];
				snprintf(what, sizeof(what), "%s, %s, %zu bytes at %zu", host_names[host],
					 call_names[call], sizes[s], offsets[o]);
				if (round_trip(&m, call, sizes[s], offsets[o],
					       (uint32_t)(s * 31 + o * 7 + call), what))
					CHECK(true, "%s", what);
			}
		}
	}
	MUST(cuMemFree_v2(m.a));
	MUST(cuMemFree_v2(m.b));
	if (host == PINNED) {
		MUST(cuMemFreeHost(in));
		MUST(cuMemFreeHost(out));
	} else {
		free(in);
		free(out);
	}
}

// "Asynchronous" from pageable memory: the source may be used again as soon as the call is back.
static void reuse_of_pageable(void)
{
	enum { COUNT = 64, BYTES = 100 * 1024 };
	CUdeviceptr ptr;
	uint8_t *source = malloc(BYTES), *back = malloc(BYTES);
	bool right = true;
	MUST(cuMemAlloc_v2(&ptr, (size_t)COUNT * BYTES));
	for (uint32_t i = 0; i < COUNT; i++) {
		pattern_fill(source, BYTES, i);
		MUST(cuMemcpyHtoDAsync_v2(ptr + i * BYTES, source, BYTES, stream));
	}
	memset(source, 0, BYTES);
	for (uint32_t i = 0; i < COUNT && right; i++) {
		MUST(cuMemcpyDtoHAsync_v2(back, ptr + i * BYTES, BYTES, stream));
		right = pattern_check(back, BYTES, i, "pageable memory used again");
	}
	CHECK(right,
	      "a pageable source may be used again, a pageable target is filled when the call is back");
	MUST(cuMemFree_v2(ptr));
	free(source);
	free(back);
}

static void host_to_host(void)
{
	uint8_t a[1000], b[1000];
	void *pinned;
	MUST(cuMemHostAlloc(&pinned, 1000, 0));
	pattern_fill(a, 1000, 5);
	OK(cuMemcpy((CUdeviceptr)b, (CUdeviceptr)a, 1000));
	CHECK(pattern_check(b, 1000, 5, "host to host"), "host to host");
	OK(cuMemcpy((CUdeviceptr)pinned, (CUdeviceptr)a, 1000));
	CHECK(pattern_check(pinned, 1000, 5, "host to pinned"), "host to pinned");
	MUST(cuMemFreeHost(pinned));
}

static void errors(void)
{
	CUdeviceptr ptr;
	char byte[16] = "";
	MUST(cuMemAlloc_v2(&ptr, 1000));
	OK(cuMemcpyHtoD_v2(ptr, byte, 0));
	OK(cuMemcpyDtoH_v2(byte, ptr, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(ptr, NULL, 4));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH_v2(NULL, ptr, 4));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(0, byte, 4));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH_v2(byte, 0, 4));
	MUST(cuMemFree_v2(ptr));
}

int main(void)
{
	check_context();
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	matrix(PAGEABLE);
	matrix(PINNED);
	reuse_of_pageable();
	host_to_host();
	errors();
	MUST(cuStreamDestroy_v2(stream));
	return check_done();
}
