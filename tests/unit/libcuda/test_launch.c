// SPDX-License-Identifier: Apache-2.0
// Modules, functions, libraries and what a launch puts on the wire.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "guest/libcuda/libcuda.h"
#include "protocol/guest/link_image.h"
#include "tests/unit/libcuda/fake_client.h"

#define PTX ".version 7.0\n"

static CUmodule module;
static CUfunction function;

static int set_up(void **state)
{
	CUcontext ctx;

	(void)state;
	return cuInit(0) || cuCtxCreate_v2(&ctx, 0, 0) || cuModuleLoadData(&module, PTX) ||
	       cuModuleGetFunction(&function, module, "k");
}

static uint64_t a = 0x1122334455667788ull;
static uint32_t b = 0xaabbccdd;
static char c[16] = "fifteen letters";
static void *params[] = { &a, &b, c };

static CUresult launch(unsigned int grid, unsigned int block, unsigned int shared)
{
	return cuLaunchKernel(function, grid, 1, 1, block, 1, 1, shared, NULL, params, NULL);
}

static void modules_answer_as_the_driver_does(void **state)
{
	CUfunction again, f = NULL;
	CUmodule m;
	int value;
	size_t offset = 9, size = 9;
	const char *name;

	(void)state;
	assert_int_equal(cuModuleLoadData(&m, NULL), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuModuleLoad(&m, "/nonexistent/file"), CUDA_ERROR_FILE_NOT_FOUND);
	assert_int_equal(cuModuleGetFunction(&f, module, "nope"), CUDA_ERROR_NOT_FOUND);
	assert_null(f);
	fake_reset();
	assert_int_equal(cuModuleGetFunction(&again, module, "k"), 0);
	assert_ptr_equal(again, function);
	assert_int_equal(fake.counts[OPCODE_FUNCTION_GET], 0); // known by now
	assert_int_equal(cuFuncGetAttribute(&value, 0, function), 0);
	assert_int_equal(value, 512);
	assert_int_equal(cuFuncGetAttribute(&value, 16, function), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuFuncGetParamInfo(function, 2, &offset, &size), 0);
	assert_int_equal(offset, 16);
	assert_int_equal(size, 16);
	assert_int_equal(cuFuncGetParamInfo(function, 3, &offset, &size), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuFuncGetName(&name, function), 0);
	assert_string_equal(name, "k");
	assert_int_equal(cuFuncSetAttribute(function, 8, 232449), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuFuncSetAttribute(function, 0, 1), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(fake.counts[OPCODE_FUNCTION_SET], 0);
}

static void parameters_are_packed(void **state)
{
	unsigned char want[32] = { 0 };

	(void)state;
	fake_reset();
	memcpy(want, &a, 8);
	memcpy(want + 8, &b, 4);
	memcpy(want + 16, c, 16);
	assert_int_equal(launch(3, 64, 100), 0);
	assert_int_equal(fake.launch.grid_x, 3);
	assert_int_equal(fake.launch.block_x, 64);
	assert_int_equal(fake.launch.dynamic_shared, 100);
	assert_int_equal(fake.launch.param_bytes, 32);
	assert_int_equal(fake.launch_tail_bytes, 32);
	assert_memory_equal(fake.launch_tail, want, 32); // the hole is zero, not what the ring held
}

static void extra_is_a_parameter_buffer(void **state)
{
	unsigned char blob[40];
	size_t size = sizeof(blob);
	void *extra[] = { CU_LAUNCH_PARAM_BUFFER_POINTER, blob, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
			  CU_LAUNCH_PARAM_END };

	(void)state;
	memset(blob, 0x77, sizeof(blob));
	assert_int_equal(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, extra), 0);
	assert_memory_equal(fake.launch_tail, blob, 32);
	assert_int_equal(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, params, extra),
			 CUDA_ERROR_INVALID_VALUE);
	size = 31;
	assert_int_equal(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, extra),
			 CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL),
			 CUDA_ERROR_INVALID_VALUE);
}

static void bad_shapes_are_refused_at_once(void **state)
{
	(void)state;
	fake_reset();
	assert_int_equal(launch(0, 1, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(launch(1, 0, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(launch(1, 2048, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(launch(1, 513, 0), CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES); // the function's own limit
	assert_int_equal(launch(1, 1, 65536), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(launch(1, 1, 1 << 20), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuLaunchKernel(NULL, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL),
			 CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuLaunchKernel(function, 1, 65536, 1, 1, 1, 1, 0, NULL, params, NULL),
			 CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, (CUstream)(uintptr_t)99, params, NULL),
			 CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(fake.counts[OPCODE_LAUNCH], 0);
	assert_int_equal(cuFuncSetAttribute(function, 8, 100000), 0);
	assert_int_equal(launch(1, 1, 65536), 0);
	assert_int_equal(cuFuncSetAttribute(function, 8, 49152), 0);
}

static void attributes_travel_along(void **state)
{
	CUlaunchAttribute attributes[] = {
		{ .id = CU_LAUNCH_ATTRIBUTE_IGNORE },
		{ .id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, .value.clusterDim = { 2, 1, 1 } },
	};
	CUlaunchConfig config = { 4, 1, 1, 32, 1, 1, 0, NULL, attributes, 2 };

	(void)state;
	fake_reset();
	assert_int_equal(cuLaunchKernelEx(&config, function, params, NULL), 0);
	assert_int_equal(fake.launch.n_attributes, 1);
	assert_int_equal(fake.launch_tail_bytes, 72 + 32);
	assert_memory_equal(fake.launch_tail, &attributes[1], 72);
	assert_memory_equal(fake.launch_tail + 72, &a, 8);
	config.gridDimX = 3;
	assert_int_equal(cuLaunchKernelEx(&config, function, params, NULL), CUDA_ERROR_INVALID_CLUSTER_SIZE);
	attributes[0].id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT;
	assert_int_equal(cuLaunchKernelEx(&config, function, params, NULL), CUDA_ERROR_NOT_SUPPORTED);
	assert_int_equal(cuLaunchCooperativeKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, params), 0);
	assert_int_equal(fake.launch_tail[0], CU_LAUNCH_ATTRIBUTE_COOPERATIVE);
	assert_int_equal(fake.launch_tail[8], 1);
	assert_int_equal(cuLaunchCooperativeKernel(function, 132 * 32, 1, 1, 64, 1, 1, 0, NULL, params), 0);
	assert_int_equal(cuLaunchCooperativeKernel(function, 132 * 32 + 1, 1, 1, 64, 1, 1, 0, NULL, params),
			 CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
}

static void libraries_and_kernels(void **state)
{
	CUlibrary library, of;
	CUkernel kernel, again;
	CUfunction f;
	int value;

	(void)state;
	fake_reset();
	assert_int_equal(cuLibraryLoadData(&library, PTX, NULL, NULL, 0, NULL, NULL, 0), 0);
	assert_int_equal(cuLibraryGetKernel(&kernel, library, "nope"), CUDA_ERROR_NOT_FOUND);
	assert_int_equal(cuLibraryGetKernel(&kernel, library, "k"), 0);
	assert_int_equal(cuLibraryGetKernel(&again, library, "k"), 0);
	assert_ptr_equal(kernel, again);
	assert_int_equal(cuKernelGetFunction(&f, kernel), 0);
	assert_ptr_not_equal(f, kernel);
	assert_int_equal(cuKernelGetLibrary(&of, kernel), 0);
	assert_ptr_equal(of, library);
	assert_int_equal(cuKernelGetAttribute(&value, 0, kernel, 0), 0);
	assert_int_equal(value, 512);
	assert_int_equal(cuFuncGetAttribute(&value, 0, (CUfunction)(void *)kernel),
			 CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuLaunchKernel((CUfunction)(void *)kernel, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL),
			 0);
	assert_int_equal(fake.launch.function, (uintptr_t)f);
	assert_int_equal(cuLibraryUnload(library), 0);
	assert_int_equal(fake.counts[OPCODE_MODULE_UNLOAD], 1);
	assert_int_equal(cuLibraryUnload(library), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuLaunchKernel((CUfunction)(void *)kernel, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL),
			 CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL),
			 CUDA_ERROR_INVALID_HANDLE);
}

static void linking_one_input(void **state)
{
	CUlinkState link;
	size_t bytes;
	CUmodule m;
	void *image;

	(void)state;
	assert_int_equal(cuLinkCreate_v2(0, NULL, NULL, &link), 0);
	assert_int_equal(cuLinkComplete(link, &image, &bytes), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(
	    cuLinkAddData_v2(link, CU_JIT_INPUT_PTX, (void *)PTX, strlen(PTX), "x", 0, NULL, NULL), 0);
	assert_int_equal(
	    cuLinkAddData_v2(link, CU_JIT_INPUT_NVVM, (void *)PTX, strlen(PTX), "y", 0, NULL, NULL),
	    CUDA_ERROR_NOT_SUPPORTED);
	assert_int_equal(cuLinkComplete(link, &image, &bytes), 0);
	assert_int_equal(bytes, strlen(PTX) + 1);
	assert_int_equal(cuModuleLoadData(&m, image), 0);
	assert_int_equal(cuModuleUnload(m), 0);
	assert_int_equal(cuModuleUnload(m), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(cuLinkDestroy(link), 0);
	assert_int_equal(cuLinkDestroy(link), CUDA_ERROR_INVALID_HANDLE);
}

// Several inputs come back as one image that says how long it is.
static void linking_several_inputs(void **state)
{
	struct link_image_header head;
	CUlinkState link;
	size_t bytes;
	CUmodule m;
	void *image;
	const void *start;

	(void)state;
	assert_int_equal(cuLinkCreate_v2(0, NULL, NULL, &link), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(cuLinkAddData_v2(link, CU_JIT_INPUT_PTX, (void *)PTX,
						  strlen(PTX) - (size_t)i, "x", 0, NULL, NULL),
				 0);
	assert_int_equal(cuLinkComplete(link, &image, &bytes), 0);
	assert_int_equal(
	    cuLinkAddData_v2(link, CU_JIT_INPUT_PTX, (void *)PTX, strlen(PTX), "late", 0, NULL, NULL),
	    CUDA_ERROR_INVALID_VALUE);
	memcpy(&head, image, sizeof(head));
	assert_int_equal(head.magic, LINK_IMAGE_MAGIC);
	assert_int_equal(head.n_inputs, 3);
	assert_int_equal(head.bytes, bytes);
	start = image;
	assert_int_equal(vgpu_image_size(&start), bytes);
	assert_int_equal(cuModuleLoadData(&m, image), 0);
	assert_int_equal(cuModuleUnload(m), 0);
	assert_int_equal(cuLinkDestroy(link), 0);
}

static void linking_compiles_once_and_tells_errors(void **state)
{
	char copy[sizeof(PTX)];
	CUmodule m, second;
	CUlinkState link;
	size_t bytes;
	void *image;

	(void)state;
	fake_reset();
	assert_int_equal(cuLinkCreate_v2(0, NULL, NULL, &link), 0);
	assert_int_equal(
	    cuLinkAddData_v2(link, CU_JIT_INPUT_PTX, (void *)PTX, strlen(PTX), "x", 0, NULL, NULL), 0);
	fake.fail_opcode = OPCODE_MODULE_LOAD;
	fake.fail_result = CUDA_ERROR_INVALID_PTX;
	assert_int_equal(cuLinkComplete(link, &image, &bytes), CUDA_ERROR_INVALID_PTX);
	fake_reset();
	assert_int_equal(cuLinkComplete(link, &image, &bytes), 0);
	assert_int_equal(cuLinkComplete(link, &image, &bytes), 0);
	assert_int_equal(bytes, sizeof(copy));
	memcpy(copy, image, bytes);
	assert_int_equal(cuLinkDestroy(link), 0);
	assert_int_equal(fake.counts[OPCODE_MODULE_LOAD], 1);
	assert_int_equal(cuModuleLoadData(&m, copy), 0);
	assert_int_equal(fake.counts[OPCODE_MODULE_LOAD], 1);
	assert_int_equal(cuModuleLoadData(&second, copy), 0);
	assert_ptr_not_equal(m, second);
	assert_int_equal(fake.counts[OPCODE_MODULE_LOAD], 2);
	assert_int_equal(cuModuleUnload(m), 0);
	assert_int_equal(cuModuleUnload(second), 0);
}

static void occupancy(void **state)
{
	int blocks, grid, block;

	(void)state;
	fake_reset();
	for (int i = 0; i < 3; i++) {
		assert_int_equal(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function, 128, 0), 0);
		assert_int_equal(blocks, 16);
	}
	assert_int_equal(fake.counts[OPCODE_OCCUPANCY], 1); // the same question again costs nothing
	assert_int_equal(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function, 0, 0),
			 CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuOccupancyMaxPotentialBlockSize(&grid, &block, function, NULL, 0, 0), 0);
	assert_int_equal(block, 512);
	assert_int_equal(grid, 4 * 132);
}

static void clusters(void **state)
{
	CUlaunchAttribute attributes[18] = {
		{ .id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT },
		{ .id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, .value.clusterDim = { 2, 1, 1 } },
	};
	CUlaunchConfig config = { 3, 1, 1, 32, 2, 1, 512, NULL, attributes, 2 };
	int value = -1;

	(void)state;
	fake_reset();
	assert_int_equal(cuOccupancyMaxActiveClusters(&value, function, &config), 0);
	assert_int_equal(value, 66);
	assert_int_equal(fake.clusters.grid_x, 3);
	assert_int_equal(fake.clusters.block_y, 2);
	assert_int_equal(fake.clusters.dynamic_shared, 512);
	assert_int_equal(fake.clusters.n_attributes, 1); // an event says nothing about room
	assert_memory_equal(fake.clusters_attribute, &attributes[1], 72);
	config.numAttrs = 0;
	config.attrs = NULL;
	assert_int_equal(cuOccupancyMaxPotentialClusterSize(&value, function, &config), 0);
	assert_int_equal(value, 8);
	config.numAttrs = 1;
	assert_int_equal(cuOccupancyMaxActiveClusters(&value, function, &config), CUDA_ERROR_INVALID_VALUE);
	config.attrs = attributes;
	config.numAttrs = 18;
	for (int i = 0; i < 18; i++)
		attributes[i] = attributes[1];
	assert_int_equal(cuOccupancyMaxActiveClusters(&value, function, &config), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuOccupancyMaxActiveClusters(&value, function, NULL), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuOccupancyMaxActiveClusters(NULL, function, &config), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuOccupancyMaxActiveClusters(&value, NULL, &config), CUDA_ERROR_INVALID_HANDLE);
	assert_int_equal(fake.counts[OPCODE_OCCUPANCY_CLUSTERS], 2);
}

static double ns_since(const struct timespec *start, int n)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return ((double)(now.tv_sec - start->tv_sec) * 1e9 + (double)(now.tv_nsec - start->tv_nsec)) / n;
}

// What our own part of the hot calls costs. Printed; a bound far above what is wanted catches a lock or a
// call.
static void hot_calls_are_cheap(void **state)
{
	enum { N = 200000 };
	struct timespec start;
	double current, query, launched;
	CUcontext ctx;

	(void)state;
	assert_int_equal(cuCtxSynchronize(), 0);
	fake_reset();
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int i = 0; i < N; i++)
		cuCtxGetCurrent(&ctx);
	current = ns_since(&start, N);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int i = 0; i < N; i++)
		cuStreamQuery(NULL);
	query = ns_since(&start, N);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int i = 0; i < N; i++)
		launch(1, 1, 0);
	launched = ns_since(&start, N);
	printf("# cuCtxGetCurrent %.1f ns, cuStreamQuery %.1f ns, cuLaunchKernel without ring %.1f ns\n",
	       current, query, launched);
	for (int opcode = 0; opcode < OPCODE_COUNT; opcode++)
		assert_int_equal(fake.counts[opcode], opcode == OPCODE_LAUNCH ? N : 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(modules_answer_as_the_driver_does),
		cmocka_unit_test(parameters_are_packed),
		cmocka_unit_test(extra_is_a_parameter_buffer),
		cmocka_unit_test(bad_shapes_are_refused_at_once),
		cmocka_unit_test(attributes_travel_along),
		cmocka_unit_test(libraries_and_kernels),
		cmocka_unit_test(linking_one_input),
		cmocka_unit_test(linking_several_inputs),
		cmocka_unit_test(linking_compiles_once_and_tells_errors),
		cmocka_unit_test(occupancy),
		cmocka_unit_test(clusters),
		cmocka_unit_test(hot_calls_are_cheap),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, NULL);
}
