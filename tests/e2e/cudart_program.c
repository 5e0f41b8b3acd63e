// SPDX-License-Identifier: Apache-2.0
//
// An ordinary program of CUDA's runtime, whatever version of it: argv[1] is the path of a libcudart.so; built
// with CUDART_STATIC the runtime is inside (test_cudart.py links it). What
// nvcc puts into a program (registering its fat binary, kernels and variables) is done here by hand, with a
// fat binary made at run time of kernels/basic.ptx. The few declarations that the versions share are written
// out below.
#include "tests/e2e/check.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 100000, BLOCK = 256, GRID = (N + BLOCK - 1) / BLOCK };
enum { HOST_TO_DEVICE = 1, DEVICE_TO_HOST = 2, DEVICE_TO_DEVICE = 3, DEFAULT = 4 };
enum {
	SUCCESS = 0,
	INVALID_VALUE = 1,
	INVALID_CONFIGURATION = 9,
	INVALID_DEVICE_FUNCTION = 98,
	INVALID_HANDLE = 400,
	NOT_READY = 600
};

struct dim {
	unsigned x, y, z;
};
// Only what lies at the same place in all versions; the rest is room.
struct properties {
	char name[256];
	uint8_t uuid[16], luid[8];
	uint32_t node_mask;
	size_t total_global;
	size_t shared_per_block;
	int registers_per_block, warp_size;
	char more[4096];
};
// Only the beginning; 11.8, 12 and 13 add behind it.
struct attributes {
	size_t shared, constant, local;
	int max_threads, registers, ptx_version, binary_version;
	char more[512];
};

// The runtime's functions: name, result, parameters.
#define RUNTIME(ENTRY)                                                                                   \
	ENTRY(__cudaRegisterFatBinary, void **, (void *))                                                \
	ENTRY(__cudaRegisterFatBinaryEnd, void, (void **))                                               \
	ENTRY(__cudaUnregisterFatBinary, void, (void **))                                                \
	ENTRY(__cudaRegisterFunction, void,                                                              \
	      (void **, const char *, char *, const char *, int, void *, void *, void *, void *, int *)) \
	ENTRY(__cudaRegisterVar, void, (void **, char *, char *, const char *, int, size_t, int, int))   \
	ENTRY(cudaRuntimeGetVersion, int, (int *))                                                       \
	ENTRY(cudaDriverGetVersion, int, (int *))                                                        \
	ENTRY(cudaGetDeviceCount, int, (int *))                                                          \
	ENTRY(cudaSetDevice, int, (int))                                                                 \
	ENTRY(cudaGetDevice, int, (int *))                                                               \
	ENTRY(cudaDeviceGetAttribute, int, (int *, int, int))                                            \
	ENTRY(cudaDeviceSynchronize, int, (void))                                                        \
	ENTRY(cudaDeviceReset, int, (void))                                                              \
	ENTRY(cudaGetLastError, int, (void))                                                             \
	ENTRY(cudaPeekAtLastError, int, (void))                                                          \
	ENTRY(cudaGetErrorName, const char *, (int))                                                     \
	ENTRY(cudaMalloc, int, (void **, size_t))                                                        \
	ENTRY(cudaFree, int, (void *))                                                                   \
	ENTRY(cudaMallocHost, int, (void **, size_t))                                                    \
	ENTRY(cudaFreeHost, int, (void *))                                                               \
	ENTRY(cudaMemset, int, (void *, int, size_t))                                                    \
	ENTRY(cudaMemcpy, int, (void *, const void *, size_t, int))                                      \
	ENTRY(cudaMemcpyAsync, int, (void *, const void *, size_t, int, void *))                         \
	ENTRY(cudaMemcpyToSymbol, int, (const void *, const void *, size_t, size_t, int))                \
	ENTRY(cudaMemcpyFromSymbol, int, (void *, const void *, size_t, size_t, int))                    \
	ENTRY(cudaMemGetInfo, int, (size_t *, size_t *))                                                 \
	ENTRY(cudaLaunchKernel, int, (const void *, struct dim, struct dim, void **, size_t, void *))    \
	ENTRY(cudaFuncGetAttributes, int, (struct attributes *, const void *))                           \
	ENTRY(cudaOccupancyMaxActiveBlocksPerMultiprocessor, int, (int *, const void *, int, size_t))    \
	ENTRY(cudaStreamCreate, int, (void **))                                                          \
	ENTRY(cudaStreamDestroy, int, (void *))                                                          \
	ENTRY(cudaStreamSynchronize, int, (void *))                                                      \
	ENTRY(cudaStreamQuery, int, (void *))                                                            \
	ENTRY(cudaStreamWaitEvent, int, (void *, void *, unsigned))                                      \
	ENTRY(cudaEventCreate, int, (void **))                                                           \
	ENTRY(cudaEventDestroy, int, (void *))                                                           \
	ENTRY(cudaEventRecord, int, (void *, void *))                                                    \
	ENTRY(cudaEventSynchronize, int, (void *))                                                       \
	ENTRY(cudaEventQuery, int, (void *))                                                             \
	ENTRY(cudaEventElapsedTime, int, (float *, void *, void *))

#ifdef CUDART_STATIC
#define DECLARE(name, result, parameters) extern result name parameters;
extern int cudaGetDeviceProperties_v2(struct properties *, int) __attribute__((weak));
extern int cudaGetDeviceProperties(struct properties *, int) __attribute__((weak));
#else
#define DECLARE(name, result, parameters) static result(*name) parameters;
#endif
RUNTIME(DECLARE)
static int (*get_properties)(struct properties *, int);

// A call must answer exactly `want`; a line either way.
#define GIVES(want, call) gives(__LINE__, #call, want, call)
#define FINE(call)	  GIVES(SUCCESS, call)

static bool gives(int line, const char *what, int want, int got)
{
	return check_true(__FILE__, line, want == got, "%s: %d (%s), expected %d", what, got,
			  cudaGetErrorName(got), want);
}

#ifdef CUDART_STATIC
static void open_runtime(const char *path)
{
	(void)path;
	get_properties = cudaGetDeviceProperties_v2 ? cudaGetDeviceProperties_v2 : cudaGetDeviceProperties;
	if (!get_properties)
		check_bail("no cudaGetDeviceProperties");
}
#else
static void open_runtime(const char *path)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		check_bail("%s", dlerror());
#define FIND(name, result, parameters)                      \
	name = (result(*) parameters)dlsym(library, #name); \
	if (!name)                                          \
		check_bail("no %s", #name);
	RUNTIME(FIND)
	// 12 renamed it because the structure grew.
	get_properties = (int (*)(struct properties *, int))dlsym(library, "cudaGetDeviceProperties_v2");
	if (!get_properties)
		get_properties = (int (*)(struct properties *, int))dlsym(library, "cudaGetDeviceProperties");
	if (!get_properties)
		check_bail("no cudaGetDeviceProperties");
}
#endif

// ---- what nvcc would have put here

struct wrapper {
	uint32_t magic, version;
	const void *data;
	void *more;
};

struct fatbin {
	uint32_t magic;
	uint16_t version, header_bytes;
	uint64_t bytes;
	// one entry
	uint16_t kind, entry_version;
	uint32_t entry_header_bytes;
	uint64_t payload_bytes;
	uint32_t compressed_bytes, options_offset;
	uint16_t minor, major;
	uint32_t arch, name_offset, name_bytes;
	uint64_t flags, reserved, uncompressed_bytes;
	uint64_t
	    options[2]; // offset of the compile options' text in the entry, and the text: drivers read it
	char payload[];
};
_Static_assert(sizeof(struct fatbin) == 16 + 80, "the format's headers");

// Their addresses are what the runtime knows kernels and variables by.
static char fill, vector_add, missing, counter, table;

static struct fatbin *make_fatbin(const char *ptx)
{
	size_t bytes = (strlen(ptx) + 1 + 7) & ~(size_t)7;
	struct fatbin *f = calloc(1, sizeof(*f) + bytes);

	if (!f)
		check_bail("no memory");
	*f = (struct fatbin){ .magic = 0xba55ed50,
			      .version = 1,
			      .header_bytes = 16,
			      .bytes = 80 + bytes,
			      .kind = 1, // PTX
			      .entry_version = 0x0101,
			      .entry_header_bytes = 80,
			      .payload_bytes = bytes,
			      .options_offset = 64,
			      .options = { 72, 0 },
			      .major = 7,
			      .arch = 70,
			      .flags = 0x11 }; // 64 bits, Linux
	memcpy(f->payload, ptx, strlen(ptx) + 1);
	return f;
}

static void **register_all(struct wrapper *wrapper)
{
	static char fill_name[] = "fill", add_name[] = "vector_add"; // the runtime keeps the pointers
	void **handle = __cudaRegisterFatBinary(wrapper);

	__cudaRegisterFunction(handle, &fill, fill_name, fill_name, -1, NULL, NULL, NULL, NULL, NULL);
	__cudaRegisterFunction(handle, &vector_add, add_name, add_name, -1, NULL, NULL, NULL, NULL, NULL);
	__cudaRegisterVar(handle, &counter, &counter, "counter", 0, 4, 0, 0);
	__cudaRegisterVar(handle, &table, &table, "table", 0, 64, 0, 0);
	__cudaRegisterFatBinaryEnd(handle);
	return handle;
}

// ---- the checks

static void device(void)
{
	struct properties p = { .total_global = 0 };
	int count = 0, current = -1, runtime = 0, driver = 0, value = 0;

	FINE(cudaRuntimeGetVersion(&runtime));
	FINE(cudaDriverGetVersion(&driver));
	CHECK(driver >= runtime - runtime % 1000, "runtime %d on driver %d", runtime, driver);
	if (!FINE(cudaGetDeviceCount(&count)))
		check_bail("the runtime does not start");
	CHECK(count >= 1, "%d devices", count);
	FINE(cudaSetDevice(0));
	FINE(cudaGetDevice(&current));
	EQUAL(0, current);
	FINE(get_properties(&p, 0));
	CHECK(p.name[0] && memchr(p.name, 0, sizeof(p.name)), "device \"%.64s\"", p.name);
	CHECK(p.total_global >= MIB && p.warp_size == 32, "%zu bytes, warps of %d", p.total_global,
	      p.warp_size);
	FINE(cudaDeviceGetAttribute(&value, 1, 0));
	CHECK(value >= 256, "blocks of up to %d threads", value);
	GIVES(INVALID_VALUE, cudaDeviceGetAttribute(NULL, 1, 0));
	GIVES(INVALID_VALUE, cudaGetLastError());
	FINE(cudaGetLastError());
}

static bool is_sequence(const uint32_t *at, size_t n, uint32_t first)
{
	for (size_t i = 0; i < n; i++)
		if (at[i] != first + (uint32_t)i)
			return check_true(__FILE__, __LINE__, false, "word %zu is %u, expected %u", i, at[i],
					  first + (uint32_t)i);
	return check_true(__FILE__, __LINE__, true, "%zu words as the kernel wrote them", n);
}

static int launch_fill(void *to, uint32_t first, void *stream)
{
	uint32_t n = N;
	void *arguments[] = { &to, &n, &first };

	return cudaLaunchKernel(&fill, (struct dim){ GRID, 1, 1 }, (struct dim){ BLOCK, 1, 1 }, arguments, 0,
				stream);
}

static void memory_and_kernels(void)
{
	uint32_t *host = calloc(N, sizeof(*host));
	void *a = NULL, *b = NULL;
	size_t unused, total = 0;

	if (!host)
		check_bail("no memory");
	FINE(cudaMalloc(&a, N * 4));
	FINE(cudaMalloc(&b, N * 4));
	FINE(cudaMemGetInfo(&unused, &total));
	CHECK(total >= unused && total > 0, "%zu of %zu bytes free", unused, total);
	for (uint32_t i = 0; i < N; i++)
		host[i] = 5 + i;
	FINE(cudaMemcpy(a, host, N * 4, HOST_TO_DEVICE));
	FINE(cudaMemcpy(b, a, N * 4, DEVICE_TO_DEVICE));
	memset(host, 0, N * 4);
	FINE(cudaMemcpy(host, b, N * 4, DEVICE_TO_HOST));
	is_sequence(host, N, 5);
	FINE(launch_fill(a, 17, NULL));
	FINE(cudaGetLastError());
	FINE(cudaMemcpy(host, a, N * 4, DEFAULT));
	is_sequence(host, N, 17);
	FINE(cudaMemset(b, 0xff, N * 4));
	FINE(cudaMemcpy(host, b, N * 4, DEVICE_TO_HOST));
	EQUAL(0xffffffffu, host[N - 1]);
	FINE(cudaFree(a));
	FINE(cudaFree(b));
	free(host);
}

static void add_vectors(void)
{
	float *host = calloc(3 * (size_t)N, sizeof(*host));
	void *x = NULL, *y = NULL, *sum = NULL;
	uint32_t n = N, wrong = 0;
	void *arguments[] = { &x, &y, &sum, &n };

	if (!host)
		check_bail("no memory");
	for (uint32_t i = 0; i < N; i++) {
		host[i] = (float)i;
		host[N + i] = 2.0f * (float)i;
	}
	FINE(cudaMalloc(&x, N * 4));
	FINE(cudaMalloc(&y, N * 4));
	FINE(cudaMalloc(&sum, N * 4));
	FINE(cudaMemcpy(x, host, N * 4, HOST_TO_DEVICE));
	FINE(cudaMemcpy(y, host + N, N * 4, HOST_TO_DEVICE));
	FINE(cudaMemset(sum, 0, N * 4));
	FINE(cudaLaunchKernel(&vector_add, (struct dim){ GRID, 1, 1 }, (struct dim){ BLOCK, 1, 1 }, arguments,
			      0, NULL));
	FINE(cudaDeviceSynchronize());
	FINE(cudaMemcpy(host + 2 * (size_t)N, sum, N * 4, DEVICE_TO_HOST));
	for (uint32_t i = 0; i < N; i++)
		wrong += host[2 * N + i] != 3.0f * (float)i;
	CHECK(!wrong, "%u of %d sums are wrong", wrong, (int)N);
	FINE(cudaFree(x));
	FINE(cudaFree(y));
	FINE(cudaFree(sum));
	free(host);
}

static void kernel_facts(void)
{
	struct attributes a = { .max_threads = 0 };
	int blocks = 0;

	FINE(cudaFuncGetAttributes(&a, &fill));
	CHECK(a.max_threads >= BLOCK && a.ptx_version > 0, "up to %d threads, PTX %d", a.max_threads,
	      a.ptx_version);
	FINE(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, &fill, BLOCK, 0));
	CHECK(blocks >= 1, "%d blocks fit", blocks);
}

static void symbols(void)
{
	uint32_t value = 0, words[4] = { 9, 8, 7, 6 }, back[4] = { 0 };

	FINE(cudaMemcpyFromSymbol(&value, &counter, 4, 0, DEVICE_TO_HOST));
	EQUAL(7, value);
	FINE(cudaMemcpyToSymbol(&table, words, sizeof(words), 8, HOST_TO_DEVICE));
	FINE(cudaMemcpyFromSymbol(back, &table, sizeof(back), 4, DEVICE_TO_HOST));
	CHECK(back[0] == 2 && back[1] == 9 && back[2] == 8, "table holds %u %u %u", back[0], back[1],
	      back[2]);
}

static void bad_launches(void)
{
	uint32_t n = 0;
	void *to = NULL;
	void *arguments[] = { &to, &n, &n };

	int refused =
	    cudaLaunchKernel(&fill, (struct dim){ 1, 1, 1 }, (struct dim){ 4096, 1, 1 }, arguments, 0, NULL);

	// 13 leaves it to the driver and passes its answer on, earlier ones look themselves.
	CHECK(refused == INVALID_CONFIGURATION || refused == INVALID_VALUE, "a block of 4096 threads: %d",
	      refused);
	GIVES(refused, cudaPeekAtLastError());
	GIVES(refused, cudaGetLastError());
	FINE(cudaGetLastError());
	if (check_backend() !=
	    BACKEND_NATIVE) { // 12.8 and 13 hand it to a driver that might follow the pointer
		refused = cudaLaunchKernel(&missing, (struct dim){ 1, 1, 1 }, (struct dim){ 1, 1, 1 },
					   arguments, 0, NULL);
		CHECK(refused == INVALID_DEVICE_FUNCTION || refused == INVALID_HANDLE,
		      "a kernel that nobody registered: %d", refused);
		GIVES(refused, cudaGetLastError());
	}
	FINE(cudaDeviceSynchronize());
}

static void streams_and_events(void)
{
	void *first = NULL, *second = NULL, *start = NULL, *end = NULL, *memory = NULL, *pinned = NULL;
	float milliseconds = -1;
	int state;

	FINE(cudaStreamCreate(&first));
	FINE(cudaStreamCreate(&second));
	FINE(cudaEventCreate(&start));
	FINE(cudaEventCreate(&end));
	FINE(cudaMalloc(&memory, N * 4));
	FINE(cudaMallocHost(&pinned, N * 4));
	memset(pinned, 0, N * 4);
	FINE(cudaEventRecord(start, first));
	FINE(launch_fill(memory, 3, first));
	FINE(cudaEventRecord(end, first));
	FINE(cudaStreamWaitEvent(second, end, 0));
	FINE(cudaMemcpyAsync(pinned, memory, N * 4, DEVICE_TO_HOST, second));
	state = cudaStreamQuery(second);
	CHECK(state == SUCCESS || state == NOT_READY, "the second stream: %d", state);
	FINE(cudaStreamSynchronize(second));
	is_sequence(pinned, N, 3);
	FINE(cudaEventSynchronize(end));
	FINE(cudaEventQuery(end));
	FINE(cudaEventElapsedTime(&milliseconds, start, end));
	CHECK(milliseconds >= 0, "%f ms", (double)milliseconds);
	FINE(cudaFreeHost(pinned));
	FINE(cudaFree(memory));
	FINE(cudaEventDestroy(start));
	FINE(cudaEventDestroy(end));
	FINE(cudaStreamDestroy(first));
	FINE(cudaStreamDestroy(second));
}

int main(int argc, char **argv)
{
	struct wrapper wrapper = { .magic = 0x466243b1, .version = 1 };
	void **handle, *memory = NULL;
	char *ptx;

	if (argc != 2)
		check_bail("usage: %s libcudart.so", argv[0]);
	if (!check_computes())
		check_skip("this backend does not read modules");
	open_runtime(argv[1]);
	ptx = check_read("basic.ptx");
	wrapper.data = make_fatbin(ptx);
	free(ptx);
	handle = register_all(&wrapper);
	device();
	memory_and_kernels();
	add_vectors();
	kernel_facts();
	symbols();
	bad_launches();
	streams_and_events();
	FINE(cudaDeviceReset());
	FINE(cudaMalloc(&memory, MIB)); // and it starts again
	FINE(launch_fill(memory, 0, NULL));
	FINE(cudaDeviceSynchronize());
	__cudaUnregisterFatBinary(handle);
	free((void *)(uintptr_t)wrapper.data);
	return check_done();
}
