// SPDX-License-Identifier: Apache-2.0
//
// Checks, context and kernels for the end-to-end programs (see the header). Runs in each of those programs;
// the counters belong to whichever thread holds the lock.
#include "tests/e2e/check.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int checks, failures;

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

bool check_result(const char *file, int line, const char *what, CUresult want, CUresult got)
{
	pthread_mutex_lock(&lock);
	checks++;
	failures += want != got;
	if (want == got)
		printf("ok %d - %s\n", checks, what);
	else
		printf("not ok %d - FAIL %s:%d: %s: expected %s (%d), got %s (%d)\n", checks, base_name(file),
		       line, what, driver_error_name(want), want, driver_error_name(got), got);
	fflush(stdout);
	pthread_mutex_unlock(&lock);
	return want == got;
}

void check_must(const char *file, int line, const char *what, CUresult got)
{
	if (got != CUDA_SUCCESS)
		check_bail("%s:%d: %s: %s (%d)", base_name(file), line, what, driver_error_name(got), got);
}

bool check_true(const char *file, int line, bool holds, const char *format, ...)
{
	char text[400];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	pthread_mutex_lock(&lock);
	checks++;
	failures += !holds;
	if (holds)
		printf("ok %d - %s\n", checks, text);
	else
		printf("not ok %d - FAIL %s:%d: %s\n", checks, base_name(file), line, text);
	fflush(stdout);
	pthread_mutex_unlock(&lock);
	return holds;
}

bool check_equal(const char *file, int line, const char *what, long long want, long long got)
{
	if (want == got)
		return check_true(file, line, true, "%s is %lld", what, want);
	return check_true(file, line, false, "%s: expected %lld (0x%llx), got %lld (0x%llx)", what, want,
			  (unsigned long long)want, got, (unsigned long long)got);
}

int check_done(void)
{
	printf("1..%d\n# %d checks, %d failed\n", checks, checks, failures);
	fflush(stdout);
	return failures || !checks ? 1 : 0;
}

void check_skip(const char *why)
{
	printf("1..0 # SKIP %s\n", why);
	fflush(stdout);
	exit(77);
}

void check_bail(const char *format, ...)
{
	char text[400];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	printf("Bail out! FAIL %s\n", text);
	fflush(stdout);
	exit(1);
}

enum check_backend check_backend(void)
{
	static const char *const names[] = { "native", "cuda", "cpu", "null" };
	const char *name = getenv("VGPU_TEST_BACKEND");
	for (int i = 0; name && i < 4; i++) {
		if (!strcmp(name, names[i]))
			return (enum check_backend)i;
	}
	return BACKEND_NATIVE;
}

bool check_computes(void)
{
	return check_backend() != BACKEND_NULL;
}

void check_open(void)
{
	const char *error = driver_open();
	if (error)
		check_bail("no CUDA driver: %s", error);
}

CUcontext check_context(void)
{
	CUcontext context;
	check_open();
	MUST(cuInit(0));
	MUST(cuDevicePrimaryCtxRetain(&context, 0));
	MUST(cuCtxSetCurrent(context));
	return context;
}

// Where the .ptx files are, tried in the order that the header tells.
static FILE *open_kernel(const char *file, char *path, size_t size)
{
	const char *folder = getenv("VGPU_KERNELS"), *source = getenv("VGPU_SOURCE");
	FILE *f = NULL;
	if (folder) {
		snprintf(path, size, "%s/%s", folder, file);
		f = fopen(path, "re");
	}
	if (!f && source) {
		snprintf(path, size, "%s/tests/e2e/kernels/%s", source, file);
		f = fopen(path, "re");
	}
	if (!f) {
		char self[2048];
		ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
		if (n <= 0)
			return NULL;
		self[n] = 0;
		*(strrchr(self, '/') + 1) = 0;
		snprintf(path, size, "%skernels/%s", self, file);
		f = fopen(path, "re");
	}
	return f;
}

char *check_read(const char *file)
{
	char path[4096];
	FILE *f = open_kernel(file, path, sizeof(path));
	if (!f)
		check_bail("%s: %s", path, strerror(errno));
	fseek(f, 0, SEEK_END);
	long n = ftell(f);
	rewind(f);
	char *text = calloc(1, (size_t)n + 1);
	if (!text || fread(text, 1, (size_t)n, f) != (size_t)n)
		check_bail("cannot read %s", path);
	fclose(f);
	return text;
}

CUmodule check_module(const char *file)
{
	CUmodule module;
	char *text = check_read(file);
	MUST(cuModuleLoadData(&module, text));
	free(text);
	return module;
}

CUfunction check_function(CUmodule module, const char *name)
{
	CUfunction function;
	CUresult result = cuModuleGetFunction(&function, module, name);
	if (result != CUDA_SUCCESS)
		check_bail("no function %s: %s", name, driver_error_name(result));
	return function;
}

void gate_init(struct gate *gate, CUmodule basic)
{
	void *memory;
	MUST(cuMemHostAlloc(&memory, 4096, CU_MEMHOSTALLOC_DEVICEMAP));
	gate->word = memory;
	gate->wait = check_function(basic, "wait_gate");
}

void gate_close(struct gate *gate, CUstream stream)
{
	CUdeviceptr word = (CUdeviceptr)gate->word, seen = word + 4;
	uint64_t limit = 20 * 1000 * 1000; // looks; longer than any test runs
	__atomic_store_n(gate->word, 0, __ATOMIC_SEQ_CST);
	LAUNCH(gate->wait, 1, 1, stream, &word, &seen, &limit);
}

void gate_open(struct gate *gate)
{
	__atomic_store_n(gate->word, 1, __ATOMIC_SEQ_CST);
}

void gate_done(struct gate *gate)
{
	MUST(cuMemFreeHost(gate->word));
}

static uint8_t pattern_byte(size_t i, uint32_t seed)
{
	uint32_t x = (uint32_t)(i >> 2) * 2654435761u + seed * 40503u + 12345u;
	x ^= x >> 15;
	return (uint8_t)(x >> (8 * (i & 3)));
}

void pattern_fill(void *bytes, size_t n, uint32_t seed)
{
	uint8_t *p = bytes;
	for (size_t i = 0; i < n; i++)
		p[i] = pattern_byte(i, seed);
}

bool pattern_check(const void *bytes, size_t n, uint32_t seed, const char *what)
{
	const uint8_t *p = bytes;
	if (!check_computes())
		return true;
	for (size_t i = 0; i < n; i++) {
		if (p[i] != pattern_byte(i, seed))
			return CHECK(false, "%s: byte %zu of %zu: expected 0x%02x, got 0x%02x", what, i, n,
				     pattern_byte(i, seed), p[i]);
	}
	return true;
}

double seconds_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void sleep_ms(int ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };
	while (nanosleep(&t, &t) && errno == EINTR)
		;
}
