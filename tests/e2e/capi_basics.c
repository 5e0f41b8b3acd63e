// SPDX-License-Identifier: Apache-2.0
//
// libvgpu where all goes well: the device, memory of both kinds, every way of copying, modules, launches with
// parameters in both forms, streams that wait for each other, fences.
#include "tests/e2e/capi.h"

#include <string.h>

static struct vgpu *gpu;
static struct vgpu_module *basic;

static void the_device(void)
{
	struct { // an older program's structure: what lies behind it is not touched
		struct vgpu_info info;
	} old;
	struct vgpu_info info = { .size = sizeof(info) };
	uint64_t left, total;

	EQUAL(VGPU_VERSION_MAJOR, vgpu_version() >> 16);
	FINE(vgpu_info(gpu, &info));
	CHECK(info.name[0] && info.multiprocessors > 0 && info.warp_size == 32, "it is a device: %s",
	      info.name);
	CHECK(info.compute_major >= 5 && info.max_threads_per_block >= 256, "of a capability");
	CHECK(info.max_grid[0] > 65535 && info.max_block[2] >= 64 && info.max_streams > 1, "with limits");
	EQUAL(1, info.protocol_version);
	FINE(vgpu_memory(gpu, &left, &total));
	CHECK(left && left <= total && total == info.memory_bytes, "memory: %llu of %llu of %llu",
	      (unsigned long long)left, (unsigned long long)total, (unsigned long long)info.memory_bytes);
	memset(&old, 0xee, sizeof(old));
	old.info.size = offsetof(struct vgpu_info, uuid);
	FINE(vgpu_info(gpu, &old.info));
	EQUAL(0, strcmp(old.info.name, info.name));
	EQUAL(0xee, old.info.uuid[0]);
	old.info.size = 8;
	REFUSED(VGPU_E_ARGUMENT, vgpu_info(gpu, &old.info));
}

// Sizes on both sides of what travels in a record, of one piece, and of the pieces in flight.
static void copies(void)
{
	static const size_t sizes[] = { 1, 16384, 16385, 65536, MIB, 2 * MIB + 1, 9 * MIB + 4321, 0 };
	size_t most = 10 * MIB;
	char *in = malloc(most), *out = malloc(most), *pinned_in, *pinned_out;
	uint64_t a, b;

	NEED(vgpu_alloc(gpu, most, &a));
	NEED(vgpu_alloc(gpu, most, &b));
	NEED(vgpu_host_alloc(gpu, most, (void **)&pinned_in));
	NEED(vgpu_host_alloc(gpu, most, (void **)&pinned_out));
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t n = sizes[i];

		pattern_fill(in, n, i);
		FINE(vgpu_copy_in(gpu, NULL, a, in, n, 0));
		memset(in, 0, n); // it was taken when the call returned
		FINE(vgpu_copy(gpu, NULL, b, a, n, 0));
		FINE(vgpu_copy_out(gpu, NULL, out, b, n, 0));
		if (check_computes())
			pattern_check(out, n, i, "pageable both ways");
		pattern_fill(pinned_in, n, i + 100);
		FINE(vgpu_copy_in(gpu, NULL, a, pinned_in, n, 0));
		FINE(vgpu_copy_out(gpu, NULL, pinned_out, a, n, VGPU_WAIT));
		if (check_computes())
			pattern_check(pinned_out, n, i + 100, "pinned both ways");
	}
	FINE(vgpu_fill(gpu, NULL, a + 4, 0x01020304, 4, 1000, 0));
	FINE(vgpu_fill(gpu, NULL, a + 8, 0xabcd, 2, 2, 0));
	FINE(vgpu_fill(gpu, NULL, a + 12, 0x7f, 1, 1, VGPU_WAIT));
	FINE(vgpu_copy_out(gpu, NULL, out, a + 4, 16, 0));
	if (check_computes())
		EQUAL(0, memcmp(out, "\4\3\2\1\xcd\xab\xcd\xab\x7f\3\2\1\4\3\2\1", 16));
	FINE(vgpu_host_free(gpu, pinned_in));
	FINE(vgpu_host_free(gpu, pinned_out));
	FINE(vgpu_free(gpu, a));
	FINE(vgpu_free(gpu, b));
	FINE(vgpu_free(gpu, 0));
	FINE(vgpu_host_free(gpu, NULL));
	free(in);
	free(out);
}

static void launches(void)
{
	struct vgpu_function *add = capi_function(gpu, basic, "vector_add"), *same, *fill, *reverse;
	struct vgpu_function_info info = { .size = sizeof(info) };
	struct vgpu_shape shape = { sizeof(shape), { 8, 1, 1 }, { 128, 1, 1 }, 0 };
	float *host;
	uint64_t a, b, c, from_gpu;
	uint32_t n = 1000, offset, bytes, words[64], first = 5;
	struct {
		uint64_t p;
		uint32_t n, first;
	} packed;

	FINE(vgpu_function_get(gpu, basic, "vector_add", &same));
	CHECK(same == add, "a kernel is asked for once");
	FINE(vgpu_function_info(gpu, add, &info));
	if (check_computes()) { // else nobody reads the image
		EQUAL(4, info.parameters);
		EQUAL(28, info.parameter_bytes);
		FINE(vgpu_function_parameter(gpu, add, 3, &offset, &bytes));
		EQUAL(24, offset);
		EQUAL(4, bytes);
	}
	NEED(vgpu_host_alloc(gpu, 3 * 4096, (void **)&host));
	for (uint32_t i = 0; i < n; i++) {
		host[i] = (float)i;
		host[1024 + i] = 0.5f;
	}
	// The kernel reads what the processor wrote, without a copy.
	FINE(vgpu_host_address(gpu, host, &a));
	FINE(vgpu_host_address(gpu, host + 1024, &b));
	EQUAL(4096, b - a);
	NEED(vgpu_alloc(gpu, n * sizeof(float), &c));
	FINE(vgpu_launch(gpu, NULL, add, &shape, (const void *const[]){ &a, &b, &c, &n }));
	FINE(vgpu_copy_out(gpu, NULL, host + 2048, c, n * sizeof(float), VGPU_WAIT));
	if (check_computes())
		CHECK(host[2048] == 0.5f && host[2048 + 999] == 999.5f, "sums: %f %f", (double)host[2048],
		      (double)host[2048 + 999]);

	fill = capi_function(gpu, basic, "fill");
	packed = (typeof(packed)){ c, 64, first };
	shape.grid[0] = 1;
	FINE(vgpu_launch_packed(gpu, NULL, fill, &shape, &packed, check_computes() ? sizeof(packed) : 0));
	FINE(vgpu_copy_out(gpu, NULL, words, c, sizeof(words), 0));
	if (check_computes())
		CHECK(words[0] == 5 && words[63] == 68, "packed parameters: %u %u", words[0], words[63]);

	reverse = capi_function(gpu, basic, "reverse_block");
	shape.block[0] = 64;
	shape.dynamic_shared_bytes = sizeof(words);
	FINE(vgpu_launch(gpu, NULL, reverse, &shape, (const void *const[]){ &c }));
	FINE(vgpu_copy_out(gpu, NULL, words, c, sizeof(words), 0));
	if (check_computes())
		CHECK(words[0] == 68 && words[63] == 5, "shared memory: %u %u", words[0], words[63]);
	FINE(vgpu_function_shared(gpu, reverse, 48 << 10));

	NEED(vgpu_module_variable(gpu, basic, "table", &from_gpu, &a));
	if (check_computes())
		EQUAL(64, a);
	FINE(vgpu_copy_out(gpu, NULL, words, from_gpu, 16, 0));
	if (check_computes())
		CHECK(words[0] == 1 && words[3] == 4, "a variable: %u %u", words[0], words[3]);
	FINE(vgpu_host_free(gpu, host));
	FINE(vgpu_free(gpu, c));
}

// One stream is held up by a kernel that waits for a word; what waits for it by a fence waits too.
static void streams_and_fences(void)
{
	struct vgpu_function *gate = capi_function(gpu, basic, "wait_gate"),
			     *step = capi_function(gpu, basic, "step");
	struct vgpu_stream *one, *two;
	struct vgpu_fence *passed, *start, *list[2], *held;
	uint32_t *word, got[2] = { 0 }, what;
	uint64_t gate_at, seen_at, limit = 1ull << 40, value;
	size_t which = 9;
	float ms = -1;

	NEED(vgpu_stream_new(gpu, 0, &one));
	NEED(vgpu_stream_new(gpu, -100, &two));
	NEED(vgpu_fence_new(gpu, &passed));
	NEED(vgpu_fence_new(gpu, &start));
	NEED(vgpu_host_alloc(gpu, 4096, (void **)&word));
	NEED(vgpu_host_address(gpu, word, &gate_at));
	seen_at = gate_at + 64;
	NEED(vgpu_alloc(gpu, 8, &value));
	FINE(vgpu_fill(gpu, NULL, value, 1, 4, 1, VGPU_WAIT));
	FINE(vgpu_fence_query(gpu, passed)); // never recorded: nothing to wait for
	FINE(vgpu_fence_record(gpu, start, one));
	FINE(CAPI_LAUNCH(gpu, one, gate, 1, 1, &gate_at, &seen_at, &limit));
	FINE(CAPI_LAUNCH(gpu, one, step, 1, 1, &value, &(uint32_t){ 5 })); // 8
	FINE(vgpu_fence_record(gpu, passed, one));
	FINE(vgpu_stream_after(gpu, two, passed));
	what = 7;
	FINE(CAPI_LAUNCH(gpu, two, step, 1, 1, &value, &what)); // 31
	FINE(vgpu_fence_wait(gpu, start, VGPU_FOREVER));
	list[0] = passed;
	list[1] = start;
	if (check_computes()) {
		REFUSED(VGPU_E_NOT_READY, vgpu_fence_query(gpu, passed));
		REFUSED(VGPU_E_NOT_READY, vgpu_stream_query(gpu, two));
		REFUSED(VGPU_E_TIMEOUT, vgpu_fence_wait(gpu, passed, 20000000));
		REFUSED(VGPU_E_TIMEOUT, vgpu_stream_wait(gpu, two, 0));
		REFUSED(VGPU_E_NOT_READY, vgpu_fence_elapsed(gpu, start, passed, &ms));
		FINE(vgpu_fence_wait_any(gpu, list, 2, VGPU_FOREVER, &which));
		EQUAL(1, which);
	}
	// Freed while their work is held up: what is made anew must not wait for it.
	for (int i = 0; check_computes() && i < 300; i++) {
		NEED(vgpu_fence_new(gpu, &held));
		NEED(vgpu_fence_record(gpu, held, one));
		if (vgpu_fence_query(gpu, held) != VGPU_E_NOT_READY)
			check_bail("a fence behind a closed gate was reached");
		NEED(vgpu_fence_free(gpu, held));
	}
	*(volatile uint32_t *)word = 1;
	FINE(vgpu_fence_wait_any(gpu, list, 1, VGPU_FOREVER, &which));
	EQUAL(0, which);
	FINE(vgpu_stream_wait(gpu, two, VGPU_FOREVER));
	FINE(vgpu_stream_query(gpu, two));
	FINE(vgpu_fence_query(gpu, passed));
	FINE(vgpu_fence_elapsed(gpu, start, passed, &ms));
	CHECK(ms >= 0, "time passed: %f ms", (double)ms);
	FINE(vgpu_copy_out(gpu, two, got, value, 4, 0));
	if (check_computes())
		EQUAL(31, got[0]);
	FINE(vgpu_fence_free(gpu, passed));
	FINE(vgpu_fence_free(gpu, start));
	FINE(vgpu_stream_free(gpu, one));
	FINE(vgpu_stream_free(gpu, two));
	FINE(vgpu_host_free(gpu, word));
	FINE(vgpu_free(gpu, value));
}

// Places of freed objects are used again, and their fences go on.
static void many_objects(void)
{
	struct vgpu_stream *stream;
	struct vgpu_fence *fence;
	uint64_t word;
	int wrong = 0;

	NEED(vgpu_alloc(gpu, 4, &word));
	for (int i = 0; i < 400; i++) {
		NEED(vgpu_stream_new(gpu, 0, &stream));
		NEED(vgpu_fence_new(gpu, &fence));
		wrong += vgpu_fill(gpu, stream, word, (uint32_t)i, 4, 1, 0) != VGPU_OK;
		wrong += vgpu_fence_record(gpu, fence, stream) != VGPU_OK;
		if (i % 2)
			wrong += vgpu_fence_wait(gpu, fence, VGPU_FOREVER) != VGPU_OK;
		else
			wrong += vgpu_stream_wait(gpu, stream, VGPU_FOREVER) != VGPU_OK;
		wrong += vgpu_fence_free(gpu, fence) != VGPU_OK || vgpu_stream_free(gpu, stream) != VGPU_OK;
	}
	EQUAL(0, wrong);
	FINE(vgpu_free(gpu, word));
}

static void prints(void)
{
	struct vgpu_module *module = capi_module(gpu, "prints.ptx");
	struct vgpu_function *say = capi_function(gpu, module, "say");
	struct vgpu_function_info info = { .size = sizeof(info) };
	static char text[VGPU_PRINT_BYTES];
	static const char nothing[64];
	const void *zeros[8];
	size_t bytes = 9;

	FINE(vgpu_printed(gpu, text, sizeof(text), &bytes));
	EQUAL(0, bytes);
	REFUSED(VGPU_E_ARGUMENT, vgpu_printed(gpu, text, 10, &bytes));
	FINE(vgpu_function_info(gpu, say, &info));
	for (int i = 0; i < 8; i++)
		zeros[i] = nothing;
	FINE(capi_launch(gpu, NULL, say, 1, 1, zeros));
	FINE(vgpu_stream_wait(gpu, NULL, VGPU_FOREVER));
	FINE(vgpu_printed(gpu, text, sizeof(text), &bytes));
	if (check_computes())
		CHECK(bytes > 0, "a kernel printed %zu bytes", bytes);
	FINE(vgpu_module_free(gpu, module));
}

int main(void)
{
	gpu = capi_open();
	basic = capi_module(gpu, "basic.ptx");
	the_device();
	copies();
	launches();
	streams_and_fences();
	many_objects();
	prints();
	FINE(vgpu_check(gpu));
	FINE(vgpu_module_free(gpu, basic));
	vgpu_close(gpu);
	return check_done();
}
