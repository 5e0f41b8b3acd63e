// SPDX-License-Identifier: Apache-2.0
// Drives a backend through its operations as an executor would: test_backend PATH-OF-MODULE. The same checks
// hold for every backend that executes work; 77 when its device is missing here. Cases that lose the context
// run in children (faults.c).
#include "tests/unit/backends/harness.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/backends/cases.h"
#include "tests/unit/backends/kernels.h"

static char **arguments;

static void device_is_described(void **state)
{
	const int32_t *a = device_info.attributes;
	uint8_t none[16] = { 0 };

	(void)state;
	assert_int_equal(device_info.attribute_count, CU_DEVICE_ATTRIBUTE_COUNT);
	assert_true(device_info.name[0] && device_info.driver_version >= 12040);
	assert_true(device_info.total_memory >= VGPU_MIB(64));
	assert_memory_not_equal(device_info.uuid, none, sizeof(none));
	assert_int_equal(a[CU_DEVICE_ATTRIBUTE_WARP_SIZE], 32);
	assert_int_equal(a[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK], 1024);
	assert_true(a[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT] > 0);
	assert_true(a[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] >= 7);
	assert_int_equal(a[CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING], 1);
	assert_int_equal(a[CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY], 0);
	assert_int_equal(a[CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED],
			 ops->mem_granularity(backend) > 0);
	assert_int_equal(a[132], 0);
}

static void limits_are_set_and_answered(void **state)
{
	struct reply_context_activate again;
	uint64_t value = 0;

	(void)state;
	assert_int_equal(ops->limit_set(backend, CU_LIMIT_STACK_SIZE, 4096, &value), 0);
	assert_true(value >= 4096);
	assert_int_equal(ops->activate(backend, 0, &again), 0);
	assert_true(again.limit_valid & 1u << CU_LIMIT_STACK_SIZE);
	assert_int_equal(again.limits[CU_LIMIT_STACK_SIZE], value);
	assert_int_equal(again.api_version, 3020);
	assert_int_equal(ops->limit_set(backend, 15, 1, &value), CUDA_ERROR_INVALID_VALUE);
}

static void vectors_are_added(void **state)
{
	struct backend_module *m = harness_module(ptx_add);
	struct backend_function *f = harness_function(m, "add");
	uint32_t *a = (uint32_t *)host, *b = a + 100000, *sum = b + 100000;
	struct {
		uint64_t out, a, b;
		uint32_t n;
	} params = { device, device + VGPU_MIB(1), device + VGPU_MIB(2), 100000 };

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		a[i] = i;
		b[i] = 3 * i + 1;
	}
	assert_int_equal(harness_copy(params.a, true, at(a), false, 400000, NULL), 0);
	assert_int_equal(harness_copy(params.b, true, at(b), false, 400000, NULL), 0);
	assert_int_equal(harness_launch(f, 391, 256, &params, 28, NULL), 0);
	assert_int_equal(harness_copy(at(sum), false, device, true, 400000, NULL), 0);
	harness_sync();
	for (unsigned i = 0; i < 100000; i++)
		assert_int_equal(sum[i], 4 * i + 1);
	// Host memory read and written by the kernel.
	memset(sum, 0, 400000);
	if (kernels_see_host) {
		params.b = at(b);
		params.out = at(sum);
		assert_int_equal(harness_launch(f, 391, 256, &params, 28, NULL), 0);
		harness_sync();
		for (unsigned i = 0; i < 100000; i++)
			assert_int_equal(sum[i], 4 * i + 1);
	}
	ops->module_unload(backend, m);
}

static void launches_are_checked(void **state)
{
	struct backend_module *m = harness_module(ptx_add);
	struct backend_function *f = harness_function(m, "add");
	uint64_t params[4] = { device, device, device, 0 };
	struct backend_launch l = {
		.grid = { 1, 1, 1 }, .block = { 1, 1, 1 }, .params = params, .param_bytes = 28
	};
	CUlaunchAttribute hint = { .id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
				   .value.programmaticStreamSerializationAllowed = 0 };

	(void)state;
	assert_int_equal(ops->launch(backend, f, &l, NULL), 0);
	l.grid[1] = 0;
	assert_int_equal(ops->launch(backend, f, &l, NULL), CUDA_ERROR_INVALID_VALUE);
	l.grid[1] = 1;
	l.block[0] = 2048;
	assert_int_equal(ops->launch(backend, f, &l, NULL), CUDA_ERROR_INVALID_VALUE);
	l.block[0] = 1;
	l.dynamic_shared = 64 * 1024;
	assert_int_equal(ops->launch(backend, f, &l, NULL), CUDA_ERROR_INVALID_VALUE);
	l.dynamic_shared = 0;
	l.param_bytes = 24;
	assert_int_equal(ops->launch(backend, f, &l, NULL), CUDA_ERROR_INVALID_VALUE);
	l.param_bytes = 28;
	l.attributes = &hint;
	l.n_attributes = 1;
	assert_int_equal(ops->launch(backend, f, &l, NULL), 0);
	l.n_attributes = 0;
	l.cooperative = true;
	assert_int_equal(
	    ops->launch(backend, f, &l, NULL),
	    device_info.attributes[CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH] ? 0 : CUDA_ERROR_NOT_SUPPORTED);
	harness_sync();
	ops->module_unload(backend, m);
}

static void functions_tell_their_layout(void **state)
{
	struct backend_module *m = harness_module(ptx_layout);
	struct backend_function_info info, again;
	struct backend_function *f, *same;
	const char *const *names;
	int32_t blocks = 0;
	uint32_t count;

	(void)state;
	assert_int_equal(ops->module_names(backend, m, &names, &count), 0);
	assert_int_equal(count, 1);
	assert_string_equal(names[0], "layout");
	assert_int_equal(ops->function_get(backend, m, "layout", &f, &info), 0);
	assert_int_equal(info.n_params, 4);
	assert_int_equal(info.params[0][0], 0);
	assert_int_equal(info.params[0][1], 1);
	assert_int_equal(info.params[1][0], 8);
	assert_int_equal(info.params[2][0], 16);
	assert_int_equal(info.params[2][1], 48);
	assert_int_equal(info.params[3][0], 64);
	assert_int_equal(info.param_bytes, 66);
	assert_int_equal(info.attributes[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK], 1024);
	assert_true(info.attribute_valid & 1u << CU_FUNC_ATTRIBUTE_NUM_REGS);
	assert_int_equal(ops->function_get(backend, m, "layout", &same, &again), 0);
	assert_ptr_equal(f, same);
	assert_int_equal(ops->function_get(backend, m, "absent", &f, &info), CUDA_ERROR_NOT_FOUND);
	assert_int_equal(ops->occupancy(backend, same, 1024, 0, 0, &blocks), 0);
	assert_int_equal(blocks,
			 device_info.attributes[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR] / 1024);
	assert_int_equal(ops->occupancy(backend, same, 32, 0, 0, &blocks), 0);
	assert_int_equal(blocks, device_info.attributes[CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR]);
	ops->module_unload(backend, m);
}

static void shared_memory_is_opted_into(void **state)
{
	struct backend_module *m = harness_module(ptx_variables);
	struct backend_function *f = harness_function(m, "total");
	int32_t opt_in = device_info.attributes[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN];
	struct backend_launch l = {
		.grid = { 1, 1, 1 },
		.block = { 256, 1, 1 },
		.dynamic_shared = 96 * 1024,
		.params = &device,
		.param_bytes = 8,
	};

	(void)state;
	assert_int_equal(ops->launch(backend, f, &l, NULL), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(
	    ops->function_set(backend, f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, opt_in + 4096),
	    CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(
	    ops->function_set(backend, f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 96 * 1024), 0);
	assert_int_equal(ops->function_set(backend, f, 100, CU_FUNC_CACHE_PREFER_SHARED), 0);
	assert_int_equal(ops->launch(backend, f, &l, NULL), 0);
	assert_int_equal(harness_copy(at(host), false, device, true, 4, NULL), 0);
	harness_sync();
	assert_int_equal(*(uint32_t *)host, 255 * 256 / 2);
	ops->module_unload(backend, m);
}

static void variables_are_found(void **state)
{
	struct backend_module *m = harness_module(ptx_variables);
	struct backend_function *f = harness_function(m, "bump");
	uint64_t address = 0, size = 0;

	(void)state;
	assert_int_equal(ops->global_get(backend, m, "absent", &address, &size), CUDA_ERROR_NOT_FOUND);
	assert_int_equal(ops->global_get(backend, m, "counter", &address, &size), 0);
	assert_int_equal(size, 4);
	assert_int_equal(harness_launch(f, 1, 1, NULL, 0, NULL), 0);
	assert_int_equal(harness_copy(at(host), false, address, true, 4, NULL), 0);
	harness_sync();
	assert_int_equal(*(uint32_t *)host, 42);
	ops->module_unload(backend, m);
}

static void bad_images_are_explained(void **state)
{
	static const char wrong[] =
	    PTX_HEADER ".visible .entry k()\n{\n.reg .u32 %r;\nfrobnicate.u32 %r, %r;\nret;\n}\n";
	char error[1024], elf[128] = "\177ELF\2\1\1";
	struct backend_jit jit = { .error_log = error, .error_bytes = sizeof(error) };
	struct backend_module *m = NULL;

	(void)state;
	assert_int_equal(ops->module_load(backend, wrong, strlen(wrong), &jit, &m), CUDA_ERROR_INVALID_PTX);
	assert_non_null(strstr(error, "7")); // the line
	assert_non_null(strstr(error, "frobnicate"));
	assert_int_equal(ops->module_load(backend, "this is no image", 16, &jit, &m),
			 CUDA_ERROR_INVALID_IMAGE);
	assert_int_not_equal(ops->module_load(backend, elf, sizeof(elf) - 1, &jit, &m), 0);
	jit = (struct backend_jit){ 0 };
	assert_int_equal(ops->module_load(backend, wrong, strlen(wrong), &jit, &m), CUDA_ERROR_INVALID_PTX);
	assert_null(m);
	assert_int_equal(ops->error(backend), 0);
}

static void lost_contexts_are_reported(void **state)
{
	(void)state;
	for (unsigned i = 0; fault_names[i]; i++) {
		char *args[] = { arguments[0], arguments[1], (char *)(uintptr_t)fault_names[i], NULL };
		int status = -1;
		pid_t pid;

		assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, args, environ), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (status)
			print_error("case %s: wait status 0x%x\n", fault_names[i], (unsigned)status);
		assert_int_equal(status, 0);
	}
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_is_described),
		cmocka_unit_test(limits_are_set_and_answered),
		cmocka_unit_test(memory_is_mapped_and_given_back),
		cmocka_unit_test(memory_is_shown_in_places),
		cmocka_unit_test(parked_memory_is_free_and_comes_back),
		cmocka_unit_test(parked_memory_without_an_address_comes_back),
		cmocka_unit_test(too_much_memory_is_refused),
		cmocka_unit_test(lines_are_copied),
		cmocka_unit_test(planes_and_volumes_are_copied),
		cmocka_unit_test(inline_bytes_are_taken),
		cmocka_unit_test(memory_is_filled),
		cmocka_unit_test(vectors_are_added),
		cmocka_unit_test(launches_are_checked),
		cmocka_unit_test(functions_tell_their_layout),
		cmocka_unit_test(shared_memory_is_opted_into),
		cmocka_unit_test(variables_are_found),
		cmocka_unit_test(bad_images_are_explained),
		cmocka_unit_test(events_are_timed),
		cmocka_unit_test(streams_wait_for_words_and_events),
		cmocka_unit_test(other_streams_pass_a_wait),
		cmocka_unit_test(destroyed_objects_finish_their_work),
		cmocka_unit_test(many_small_things_keep_their_order),
		cmocka_unit_test(lost_contexts_are_reported),
	};
	int result;

	if (argc < 2) {
		fprintf(stderr, "usage: %s BACKEND-MODULE [FAULT-CASE]\n", argv[0]);
		return 2;
	}
	arguments = argv;
	result = harness_open(argv[1]);
	if (result)
		return result;
	if (argc > 2) {
		result = fault_case(argv[2]);
		fflush(stdout);
		_exit(result); // a lost context leaves nothing to tidy
	}
	result = cmocka_run_group_tests(tests, NULL, NULL);
	harness_close();
	return result;
}
