// SPDX-License-Identifier: Apache-2.0
// Loads a backend for the tests and plays the executor towards it (harness.h).
#include "tests/unit/backends/harness.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

#define DEVICE_BYTES VGPU_MIB(32)

const struct backend_ops *ops;
struct backend *backend;
char *host;
bool kernels_see_host;
uint64_t device, device_size;
struct reply_device_info device_info;

static char printed[4096];
static size_t printed_bytes;

static void take_print(void *opaque, const char *text, size_t length)
{
	(void)opaque;
	if (length > sizeof(printed) - 1 - printed_bytes)
		length = sizeof(printed) - 1 - printed_bytes;
	memcpy(printed + printed_bytes, text, length);
	printed_bytes += length;
}

const char *harness_printed(void)
{
	return printed;
}

static void take_log(void *opaque, const char *text)
{
	(void)opaque;
	fprintf(stderr, "# %s\n", text);
}

static bool reserve(uint64_t base, uint64_t bytes)
{
	return mmap((void *)(uintptr_t)base, bytes, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != MAP_FAILED;
}

// A second libcuda in this process has windows of its own at the usual place.
#define OTHER_HOST_BASE 0x400000000000ull

static bool make_windows(void)
{
	int fd = memfd_create("host-window", MFD_CLOEXEC);
	uint64_t base;

	kernels_see_host = !getenv("VGPU_HOST_LIBCUDA");
	base = kernels_see_host ? VGPU_HOST_WINDOW_BASE : OTHER_HOST_BASE;
	if (fd < 0 || ftruncate(fd, HARNESS_HOST_BYTES) || !reserve(base, VGPU_WINDOW_BYTES) ||
	    !reserve(VGPU_DEVICE_WINDOW_BASE, VGPU_WINDOW_BYTES)) {
		perror("address windows");
		return false;
	}
	host = mmap((void *)(uintptr_t)base, HARNESS_HOST_BYTES, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_FIXED, fd, 0);
	close(fd);
	return host != MAP_FAILED;
}

static const struct backend_ops *load(const char *path)
{
	void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	backend_entry entry;
	const struct backend_ops *loaded;

	if (!module) {
		fprintf(stderr, "%s\n", dlerror());
		return NULL;
	}
	entry = (backend_entry)(uintptr_t)dlsym(module, BACKEND_ENTRY_SYMBOL);
	loaded = entry ? entry() : NULL;
	if (!loaded || loaded->version != BACKEND_VERSION || loaded->size < sizeof(*loaded)) {
		fprintf(stderr, "%s: not a backend of this version\n", path);
		return NULL;
	}
	return loaded;
}

static int get_device_memory(void)
{
	device_size = DEVICE_BYTES;
	if (!ops->mem_granularity(backend))
		return ops->mem_alloc(backend, device_size, &device);
	device = VGPU_DEVICE_WINDOW_BASE + DEVICE_BYTES;
	return ops->mem_map(backend, device, device_size);
}

static int put_device_memory(void)
{
	if (!ops->mem_granularity(backend))
		return ops->mem_free(backend, device);
	return ops->mem_unmap(backend, device, device_size);
}

int harness_open(const char *path)
{
	struct backend_env env = {
		.device_window = VGPU_DEVICE_WINDOW_BASE,
		.device_window_bytes = VGPU_WINDOW_BYTES,
		.print = take_print,
		.log = take_log,
	};
	struct backend_tenant tenant = { .host_window_bytes = HARNESS_HOST_BYTES, .peers = -1 };
	struct reply_context_activate active;
	char error[256] = "";
	int result;

	ops = load(path);
	if (!ops || !make_windows())
		return 1;
	tenant.host_window = host;
	result = ops->open(&env, &backend, error, sizeof(error));
	if (result) {
		printf("open: %s (%d)\n", error, result);
		return result == CUDA_ERROR_NO_DEVICE ? HARNESS_SKIP : 1;
	}
	result = ops->device_info(backend, &device_info);
	if (!result && ops->prepare)
		result = ops->prepare(backend);
	if (!result) {
		ops->attach(backend, &tenant);
		result = ops->activate(backend, 0, &active);
	}
	if (!result)
		result = ops->host_register(backend, (uintptr_t)host, HARNESS_HOST_BYTES);
	if (!result)
		result = get_device_memory();
	if (result)
		printf("set-up: error %d\n", result);
	return result ? 1 : 0;
}

void harness_close(void)
{
	if (!ops->error(backend)) {
		assert_int_equal(put_device_memory(), 0);
		assert_int_equal(ops->host_unregister(backend, (uintptr_t)host), 0);
		assert_int_equal(ops->deactivate(backend), 0);
	}
	ops->close(backend);
	backend = NULL;
}

struct backend_module *harness_module(const char *ptx)
{
	char info[256], error[1024] = "";
	struct backend_jit jit = {
		.info_log = info, .info_bytes = sizeof(info), .error_log = error, .error_bytes = sizeof(error)
	};
	struct backend_module *m = NULL;
	int result = ops->module_load(backend, ptx, strlen(ptx), &jit, &m);

	if (result)
		print_error("module_load: %d %s\n", result, error);
	assert_int_equal(result, 0);
	return m;
}

struct backend_function *harness_function(struct backend_module *m, const char *name)
{
	struct backend_function_info info;
	struct backend_function *f = NULL;

	assert_int_equal(ops->function_get(backend, m, name, &f, &info), 0);
	return f;
}

int harness_launch(struct backend_function *f, uint32_t blocks, uint32_t threads, const void *params,
		   uint32_t bytes, struct backend_stream *s)
{
	struct backend_launch l = {
		.grid = { blocks, 1, 1 },
		.block = { threads, 1, 1 },
		.params = params,
		.param_bytes = bytes,
	};

	return ops->launch(backend, f, &l, s);
}

void harness_sync(void)
{
	assert_int_equal(ops->synchronize(backend), 0);
}

int harness_copy(uint64_t dst, bool dst_device, uint64_t src, bool src_device, uint64_t bytes,
		 struct backend_stream *s)
{
	struct backend_copy c = {
		.dst = dst,
		.src = src,
		.width = bytes,
		.height = 1,
		.depth = 1,
		.dst_device = dst_device,
		.src_device = src_device,
	};

	return ops->copy(backend, &c, s);
}

static void pause_shortly(void)
{
	const struct timespec step = { .tv_nsec = 100000 };

	nanosleep(&step, NULL);
}

bool harness_reaches(_Atomic uint64_t *word, uint64_t value)
{
	uint64_t until = clock_now_ns() + HARNESS_WAIT_NS;

	while (atomic_load_explicit(word, memory_order_acquire) < value) {
		if (ops->error(backend) || clock_now_ns() > until)
			return false;
		pause_shortly();
	}
	return true;
}

int harness_event(struct backend_event *e)
{
	uint64_t until = clock_now_ns() + HARNESS_WAIT_NS;
	int result;

	while ((result = ops->event_query(backend, e)) == CUDA_ERROR_NOT_READY && clock_now_ns() < until)
		pause_shortly();
	return result;
}
