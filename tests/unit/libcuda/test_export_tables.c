// SPDX-License-Identifier: Apache-2.0
// The tables behind cuGetExportTable: sizes, addresses, refusals, the digest, storage in contexts; and the
// pages that a module's kernels are listed in.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/libcuda/export_tables.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/md2.h"
#include "tests/unit/libcuda/fake_client.h"

static CUuuid uuid_of(const char *text)
{
	CUuuid id;

	for (int i = 0; i < 16; i++) {
		char digits[3] = { 0 };

		while (*text == '-')
			text++;
		memcpy(digits, text, 2);
		id.bytes[i] = (char)strtoul(digits, NULL, 16);
		text += 2;
	}
	return id;
}

static const export_slot *table(const char *uuid)
{
	CUuuid id = uuid_of(uuid);
	const void *words = NULL, *again = NULL;

	assert_int_equal(cuGetExportTable(&words, &id), CUDA_SUCCESS);
	assert_int_equal(cuGetExportTable(&again, &id), CUDA_SUCCESS);
	assert_non_null(words);
	assert_ptr_equal(words, again);
	return words;
}

// As the driver of CUDA 13.0 has them; before cuInit.
static void tables_have_the_true_sizes(void **state)
{
	static const struct {
		const char *uuid;
		size_t words, empty;
	} sizes[] = {
		{ "6bd5fb6c-5bf4-e74a-8987-d93912fd9df9", 13, 10 },
		{ "a094798c-2e74-2e74-93f2-0800200c0a66", 7, 0 },
		{ "42d85a81-23f6-cb47-8298-f6e78a3aecdc", 3, 0 },
		{ "263e8860-7cd2-6143-92f6-bbd5006dfa7e", 15, 0 },
		{ "d4082055-bde6-704b-8d34-ba123c66e1f2", 3, 0 },
		{ "21318c60-9714-3248-8ca6-41ff7324c8f2", 93, 91 },
		{ "6e163fbe-b958-444d-835c-e182aff1991e", 99, 93 },
		{ "1734dc26-800d-4745-8726-c0f1e7dd8bca", 17, 0 },
		{ "da9151d3-3ae6-cc41-a5c0-4f26d533e328", 7, 0 },
	};
	const export_slot *words;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		words = table(sizes[i].uuid);
		assert_int_equal((uintptr_t)words[0], 8 * sizes[i].words);
		for (size_t w = 1; w < sizes[i].words; w++)
			assert_int_equal(words[w] == NULL, w == sizes[i].empty);
	}
	words = table("c693336e-1121-df11-a8c3-68f355d89593");
	assert_ptr_equal(words[0], export_storage_put);
	assert_ptr_equal(words[2], export_storage_get);
	assert_null(words[3]);
}

static void other_tables_are_refused(void **state)
{
	static const char *const refused[] = {
		"f8cff951-2146-8b4e-b9e2-fb469e7c0dd9",
		"69a28e9f-2449-8b47-b030-c5da330ea4e9",
		"00000000-0000-0000-0000-000000000000",
		"6bd5fb6c-5bf4-e74a-8987-d93912fd9df8",
	};
	const void *words;

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		CUuuid id = uuid_of(refused[i]);

		words = &id;
		assert_int_equal(cuGetExportTable(&words, &id), CUDA_ERROR_INVALID_VALUE);
		assert_null(words);
		assert_int_equal(cuGetExportTable(NULL, &id), CUDA_ERROR_INVALID_VALUE);
	}
	assert_int_equal(cuGetExportTable(&words, NULL), CUDA_ERROR_INVALID_VALUE);
}

static void slots_that_are_not_there_say_so(void **state)
{
	const export_slot *words = table("1734dc26-800d-4745-8726-c0f1e7dd8bca");
	uint64_t before;

	(void)state;
	assert_int_equal(((CUresult(*)(void))words[4])(), CUDA_ERROR_NOT_INITIALIZED);
	assert_int_equal(cuInit(0), CUDA_SUCCESS);
	before = vc_unsupported_calls();
	for (int i = 1; i < 17; i++)
		assert_int_equal(((CUresult(*)(void))words[i])(), CUDA_ERROR_NOT_SUPPORTED);
	assert_int_equal(vc_unsupported_calls(), before + 16);
}

static void md2_gives_the_standard_s_digests(void **state)
{
	static const struct {
		const char *text;
		uint8_t digest[MD2_BYTES];
	} known[] = {
		{ "",
		  { 0x83, 0x50, 0xe5, 0xa3, 0xe2, 0x4c, 0x15, 0x3d, 0xf2, 0x27, 0x5c, 0x9f, 0x80, 0x69, 0x27,
		    0x73 } },
		{ "abc",
		  { 0xda, 0x85, 0x3b, 0x0d, 0x3f, 0x88, 0xd9, 0x9b, 0x30, 0x28, 0x3a, 0x69, 0xe6, 0xde, 0xd6,
		    0xbb } },
	};
	uint8_t digest[MD2_BYTES];
	struct md2 m;

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		md2_init(&m);
		md2_add(&m, known[i].text, strlen(known[i].text));
		md2_end(&m, digest);
		assert_memory_equal(digest, known[i].digest, MD2_BYTES);
	}
}

static void the_digest_is_the_known_one(void **state)
{
	static const struct export_integrity head = { 12020,	      0x2b4a,	      0x4d08,
						      0x2b78,	      0x7ff8c80717f0, 0x7ff8c825e4b0,
						      0x7ff8c7dd0ad0, 0x64a365ee };
	static const struct export_integrity_device device = { { 0x67, 0x22, 0xcb, 0xcf, 0xc6, 0x61, 0xf2,
								 0x92, 0x74, 0xd6, 0xed, 0x23, 0x2a, 0x32,
								 0x13, 0x1c },
							       0,
							       4,
							       0 };
	static const uint64_t want[2] = { 0xa7c34628f214707a, 0xeaf1313342bfcd84 };
	uint8_t digest[16];

	(void)state;
	export_digest(&head, &device, digest);
	assert_memory_equal(digest, want, sizeof(want));
}

static void the_third_answer_is_about_this_process(void **state)
{
	const export_slot *words = table("d4082055-bde6-704b-8d34-ba123c66e1f2");
	CUresult (*ask)(uint32_t, uint64_t, uint64_t *) =
	    (CUresult(*)(uint32_t, uint64_t, uint64_t *))words[1];
	struct export_integrity head = { 13000,
					 13002,
					 (uint32_t)getpid(),
					 (uint32_t)(uintptr_t)pthread_self(),
					 (uintptr_t)table("6bd5fb6c-5bf4-e74a-8987-d93912fd9df9"),
					 (uintptr_t)words,
					 (uintptr_t)words[1],
					 1234567 };
	struct export_integrity_device device;
	uint64_t out[2];
	uint8_t digest[16];

	(void)state;
	assert_int_equal(ask(13000, 1, out), CUDA_SUCCESS);
	assert_true(out[0] == 0x3341181c03cb675c && out[1] == 0x8ed383aa1f4cd1e8);
	assert_int_equal(ask(13001, 1, out), CUDA_SUCCESS);
	assert_true(out[0] == 0x1841181c03cb675c && out[1] == 0x8ed383aa1f4cd1e8);
	assert_int_equal(cuDeviceGetUuid_v2((CUuuid *)device.uuid, 0), CUDA_SUCCESS);
	assert_int_equal(cuDeviceGetAttribute(&device.pci_domain, 50, 0), CUDA_SUCCESS);
	assert_int_equal(cuDeviceGetAttribute(&device.pci_bus, 33, 0), CUDA_SUCCESS);
	assert_int_equal(cuDeviceGetAttribute(&device.pci_device, 34, 0), CUDA_SUCCESS);
	export_digest(&head, &device, digest);
	assert_int_equal(ask(13002, 1234567, out), CUDA_SUCCESS);
	assert_memory_equal(out, digest, sizeof(out));
}

static int ended;
static void *ended_value;

static void on_end(CUcontext ctx, void *key, void *value)
{
	void *found;

	ended++;
	ended_value = value;
	assert_int_not_equal(export_storage_get(&found, ctx, key), CUDA_SUCCESS);
}

static void contexts_keep_values(void **state)
{
	static char key, other, values[3];
	CUcontext primary, again, explicit_one;
	void *v = &v;

	(void)state;
	assert_int_equal(export_storage_get(&v, NULL, &key), CUDA_ERROR_INVALID_CONTEXT);
	assert_int_equal(export_primary_context(&primary, 0), CUDA_SUCCESS);
	assert_int_equal(export_primary_context(&again, 1), CUDA_ERROR_INVALID_DEVICE);
	assert_int_equal(export_storage_get(&v, primary, &key), CUDA_ERROR_INVALID_HANDLE);
	assert_ptr_equal(v, &v); // untouched
	assert_int_equal(cuCtxSetCurrent(primary), CUDA_SUCCESS);
	assert_int_equal(cuDevicePrimaryCtxRetain(&again, 0), CUDA_SUCCESS);
	assert_ptr_equal(primary, again);
	assert_int_equal(export_storage_put(NULL, &key, &values[0], on_end), CUDA_SUCCESS);
	assert_int_equal(export_storage_put(primary, &key, &values[1], on_end), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(export_storage_get(&v, (CUcontext)(intptr_t)-1, &key), CUDA_SUCCESS);
	assert_ptr_equal(v, &values[0]);
	assert_int_equal(export_storage_put(NULL, &other, &values[1], NULL), CUDA_SUCCESS);
	assert_int_equal(export_storage_delete(NULL, &other), CUDA_SUCCESS);
	assert_int_equal(export_storage_delete(NULL, &other), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuCtxCreate_v2(&explicit_one, 0, 0), CUDA_SUCCESS);
	assert_int_equal(export_storage_get(&v, NULL, &key), CUDA_ERROR_INVALID_HANDLE); // each has its own
	assert_int_equal(export_storage_put(NULL, &key, &values[2], on_end), CUDA_SUCCESS);
	assert_int_equal(cuCtxDestroy_v2(explicit_one), CUDA_SUCCESS);
	assert_int_equal(ended, 0 + 1);
	assert_ptr_equal(ended_value, &values[2]);
	assert_int_equal(cuDevicePrimaryCtxReset_v2(0), CUDA_SUCCESS);
	assert_int_equal(ended, 2);
	assert_ptr_equal(ended_value, &values[0]);
	assert_int_equal(cuDevicePrimaryCtxReset_v2(0), CUDA_SUCCESS);
	assert_int_equal(ended, 2);
	assert_int_equal(cuDevicePrimaryCtxRelease_v2(0), CUDA_SUCCESS);
}

enum { ROUNDS = 100000 };
static _Atomic int stop;

static void *change(void *arg)
{
	static char values[2];

	for (int i = 0; i < ROUNDS; i++) { // the same place for one key, then for the other
		char *key = (char *)arg + (size_t)(i & 1) * 65536;

		assert_int_equal(export_storage_put(vc_primary_context(), key, &values[i & 1], NULL),
				 CUDA_SUCCESS);
		assert_int_equal(export_storage_delete(vc_primary_context(), key), CUDA_SUCCESS);
	}
	atomic_store(&stop, 1);
	return values;
}

// A reader finds a key's own value or none, never another key's.
static void readers_need_no_lock(void **state)
{
	static char keys[2 * 65536]; // keys[0] and keys[65536] share a bucket
	void *seen[2] = { NULL, NULL }, *values;
	pthread_t thread;

	(void)state;
	atomic_store(&stop, 0);
	assert_int_equal(pthread_create(&thread, NULL, change, keys), 0);
	while (!atomic_load(&stop))
		for (int k = 0; k < 2; k++)
			if (export_storage_get(&seen[k], vc_primary_context(), keys + (size_t)k * 65536))
				seen[k] = NULL;
			else
				assert_true(!seen[0] || !seen[1] || (char *)seen[1] == (char *)seen[0] + 1);
	assert_int_equal(pthread_join(thread, &values), 0);
}

static void streams_have_objects(void **state)
{
	void *legacy, *own, *made;
	uint64_t id, own_id;
	CUcontext ctx;
	CUstream s;

	(void)state;
	assert_int_equal(cuDevicePrimaryCtxRetain(&ctx, 0), CUDA_SUCCESS);
	assert_int_equal(cuCtxSetCurrent(ctx), CUDA_SUCCESS);
	assert_int_equal(cuStreamCreate(&s, 0), CUDA_SUCCESS);
	assert_int_equal(export_tools_stream(ctx, NULL, &legacy), CUDA_SUCCESS);
	assert_int_equal(export_tools_stream(ctx, (CUstream)1, &made), CUDA_SUCCESS);
	assert_ptr_equal(legacy, made);
	assert_int_equal(export_tools_stream(ctx, (CUstream)2, &own), CUDA_SUCCESS);
	assert_int_equal(export_tools_stream(ctx, s, &made), CUDA_SUCCESS);
	assert_true(legacy && own && made && legacy != own && own != made && made != legacy);
	assert_int_equal(export_tools_stream(ctx, (CUstream)(intptr_t)-1, &made), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(export_tools_stream_id(ctx, legacy, &id), CUDA_SUCCESS);
	assert_int_equal(id, 7);
	assert_int_equal(export_tools_stream_id(ctx, own, &own_id), CUDA_SUCCESS);
	assert_int_not_equal(own_id, id);
	assert_int_equal(export_tools_context_id(NULL, &id), CUDA_SUCCESS);
	assert_int_equal(id, 0);
	assert_int_equal(cuStreamDestroy_v2(s), CUDA_SUCCESS);
}

static void kernels_are_listed_page_by_page(void **state)
{
	static const char ptx[] = ".version 7.0";
	CUfunction all[4] = { NULL, NULL, NULL, NULL }, k;
	unsigned int count = 0;
	CUkernel kernels[3];
	CUlibrary library;
	CUmodule module;

	(void)state;
	fake_reset();
	assert_int_equal(cuModuleLoadData(&module, ptx), CUDA_SUCCESS);
	assert_int_equal(cuModuleGetFunction(&k, module, "k"), CUDA_SUCCESS);
	assert_int_equal(cuModuleGetFunctionCount(NULL, module), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuModuleGetFunctionCount(&count, module), CUDA_SUCCESS);
	assert_int_equal(count, 3);
	assert_int_equal(cuModuleEnumerateFunctions(all, 2, module), CUDA_SUCCESS);
	assert_true(all[0] == k && all[1] == k && !all[2]);
	fake.counts[OPCODE_MODULE_NAMES] = 0;
	assert_int_equal(cuModuleEnumerateFunctions(all, 4, module), CUDA_SUCCESS);
	assert_true(all[2] == k && !all[3]);
	assert_int_equal(fake.counts[OPCODE_MODULE_NAMES], 3);
	assert_int_equal(cuLibraryLoadData(&library, ptx, NULL, NULL, 0, NULL, NULL, 0), CUDA_SUCCESS);
	assert_int_equal(cuLibraryGetKernelCount(&count, library), CUDA_SUCCESS);
	assert_int_equal(count, 3);
	assert_int_equal(cuLibraryEnumerateKernels(kernels, 3, library), CUDA_SUCCESS);
	assert_true(kernels[0] && kernels[2] == kernels[0]);
	assert_int_equal(cuLibraryUnload(library), CUDA_SUCCESS);
	assert_int_equal(cuModuleGetFunctionCount(&count, (CUmodule)library), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuModuleUnload(module), CUDA_SUCCESS);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static int remove_folder(const char *path)
{
	return nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

struct told {
	unsigned int calls;
	CUfunction last;
};

static void tell(void *user, CUfunction function, const char *name)
{
	struct told *told = user;

	assert_string_equal(name, "k");
	told->last = function;
	told->calls++;
}

// How cuFFT walks a module.
static void kernels_are_told_by_the_tools_table(void **state)
{
	typedef int (*walk_fn)(CUcontext, CUmodule, void (*)(void *, CUfunction, const char *), void *);
	walk_fn walk = (walk_fn)table("6e163fbe-b958-444d-835c-e182aff1991e")[7];
	struct told told = { 0, NULL };
	CUmodule module;
	CUfunction k;

	(void)state;
	fake_reset();
	assert_int_equal(cuModuleLoadData(&module, ".version 7.0"), CUDA_SUCCESS);
	assert_int_equal(cuModuleGetFunction(&k, module, "k"), CUDA_SUCCESS);
	assert_int_equal(walk(NULL, module, tell, &told), 3);
	assert_int_equal(told.calls, 3);
	assert_ptr_equal(told.last, k);
	assert_int_equal(walk(NULL, NULL, tell, &told), 0);
	assert_int_equal(cuModuleUnload(module), CUDA_SUCCESS);
}

// What NVRTC does: open with everything that decides the result, look, store, and find it the next time; in
// another process by the file.
static void compiled_code_is_found_again(void **state)
{
	char folder[] = "/tmp/vgpu-test-cache-XXXXXX", code[] = "source", *found = NULL;
	uint32_t bytes = 0;
	void *entry;

	(void)state;
	assert_non_null(mkdtemp(folder));
	setenv("CUDA_CACHE_PATH", folder, 1);
	assert_int_equal(export_cache_open(&entry, 1, code, 6, "-arch=sm_90", "build 1"), CUDA_SUCCESS);
	assert_int_equal(export_cache_lookup(entry, 0, (void **)&found, &bytes), CUDA_ERROR_NOT_FOUND);
	assert_int_equal(export_cache_store(entry, 0, "cubin", 6), CUDA_SUCCESS);
	assert_int_equal(export_cache_close(entry), CUDA_SUCCESS);
	code[0] = 'S'; // what was opened is what counts, not what the caller's memory holds later
	assert_int_equal(export_cache_open(&entry, 1, code, 6, "-arch=sm_90", "build 1"), CUDA_SUCCESS);
	assert_int_equal(export_cache_lookup(entry, 0, (void **)&found, &bytes), CUDA_ERROR_NOT_FOUND);
	export_cache_close(entry);
	assert_int_equal(export_cache_open(&entry, 2, "source", 6, "-arch=sm_90", "build 1"), CUDA_SUCCESS);
	assert_int_equal(export_cache_lookup(entry, 0, (void **)&found, &bytes), CUDA_ERROR_NOT_FOUND);
	export_cache_close(entry);
	assert_int_equal(export_cache_open(&entry, 1, "source", 6, "-arch=sm_90", "build 1"), CUDA_SUCCESS);
	assert_int_equal(export_cache_lookup(entry, 0, (void **)&found, &bytes), CUDA_SUCCESS);
	assert_int_equal(bytes, 6);
	assert_string_equal(found, "cubin");
	export_cache_free(found);
	export_cache_close(entry);
	if (fork() == 0) {
		compile_cache_forget();
		_exit(export_cache_open(&entry, 1, "source", 6, "-arch=sm_90", "build 1") ||
		      export_cache_lookup(entry, 0, (void **)&found, &bytes) || strcmp(found, "cubin"));
	} else {
		int status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(remove_folder(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compiled_code_is_found_again),
		cmocka_unit_test(tables_have_the_true_sizes),
		cmocka_unit_test(other_tables_are_refused),
		cmocka_unit_test(slots_that_are_not_there_say_so),
		cmocka_unit_test(md2_gives_the_standard_s_digests),
		cmocka_unit_test(the_digest_is_the_known_one),
		cmocka_unit_test(the_third_answer_is_about_this_process),
		cmocka_unit_test(contexts_keep_values),
		cmocka_unit_test(readers_need_no_lock),
		cmocka_unit_test(streams_have_objects),
		cmocka_unit_test(kernels_are_listed_page_by_page),
		cmocka_unit_test(kernels_are_told_by_the_tools_table),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("libcuda-export-tables", tests, NULL, NULL);
}
