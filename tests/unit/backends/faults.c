// SPDX-License-Identifier: Apache-2.0
// Cases after which a context is lost, and work that never ends. test_backend runs each in a process of its
// own and looks at the exit status, since a CUDA process never recovers from them.
#include "tests/unit/backends/harness.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "tests/unit/backends/kernels.h"

#define CHECK(what)                                                       \
	do {                                                              \
		if (!(what)) {                                            \
			printf("%s:%d: %s\n", __FILE__, __LINE__, #what); \
			return 1;                                         \
		}                                                         \
	} while (0)

static int run_store(uint64_t address, int expected)
{
	struct backend_module *m = harness_module(ptx_faults), *other;
	struct backend_function *f = harness_function(m, "store");
	struct {
		uint64_t address;
		uint32_t value;
	} params = { address, 1 };
	_Atomic uint64_t *word = (void *)host;
	struct backend_event *e;
	struct backend_jit jit = { 0 };

	CHECK(!ops->event_create(backend, 0, &e));
	CHECK(!harness_launch(f, 1, 1, &params, 12, NULL));
	CHECK(ops->synchronize(backend) == expected);
	// From here on everything answers with it, and nothing more is done.
	CHECK(ops->error(backend) == expected);
	CHECK(ops->event_record(backend, e, NULL, 0) == expected);
	CHECK(ops->event_query(backend, e) == expected);
	ops->stream_write(backend, NULL, word, 7);
	CHECK(ops->module_load(backend, ptx_add, strlen(ptx_add), &jit, &other) == expected);
	CHECK(harness_copy(device, true, (uintptr_t)host, false, 64, NULL) == expected);
	CHECK(ops->synchronize(backend) == expected && atomic_load(word) == 0);
	return 0;
}

static int case_unmapped(void)
{
	return run_store(VGPU_DEVICE_WINDOW_BASE + VGPU_GIB(512), CUDA_ERROR_ILLEGAL_ADDRESS);
}

// Shows memory with that access and lets a kernel store there.
static int run_shown(enum vm_access access)
{
	uint64_t address = VGPU_DEVICE_WINDOW_BASE + VGPU_GIB(8), size = VGPU_MIB(2);
	struct backend_physical *p;

	if (!ops->mem_granularity(backend))
		return 0; // the driver below has no such calls
	CHECK(!ops->physical_create(backend, size, 0, &p));
	CHECK(!ops->physical_map(backend, address, size, p, 0));
	if (access != VM_ACCESS_NONE)
		CHECK(!ops->physical_access(backend, address, size, access));
	return run_store(address, CUDA_ERROR_ILLEGAL_ADDRESS);
}

static int case_no_access(void)
{
	return run_shown(VM_ACCESS_NONE);
}

static int case_read_only(void)
{
	return run_shown(VM_ACCESS_READ);
}

static int case_null(void)
{
	return run_store(0, CUDA_ERROR_ILLEGAL_ADDRESS);
}

static int case_misaligned(void)
{
	return run_store(device + 2, CUDA_ERROR_MISALIGNED_ADDRESS);
}

// The context must be found lost although nobody synchronises or asks an event.
static int case_trap(void)
{
	struct backend_module *m = harness_module(ptx_faults);
	struct backend_function *f = harness_function(m, "fail");
	_Atomic uint64_t *word = (void *)host;

	CHECK(!harness_launch(f, 1, 1, NULL, 0, NULL));
	ops->stream_write(backend, NULL, word, 1);
	CHECK(!harness_reaches(word, 1));
	CHECK(ops->error(backend) == CUDA_ERROR_LAUNCH_FAILED);
	return 0;
}

// Closing with a kernel that never ends, and one queued behind it, takes no time.
static int case_endless(void)
{
	struct backend_module *m = harness_module(ptx_faults);
	struct backend_function *f = harness_function(m, "spin");
	struct timespec shortly = { .tv_nsec = 100000000 };
	uint64_t begin;

	memset(host, 0, 64);
	CHECK(!harness_copy(device, true, (uintptr_t)host, false, 64, NULL));
	CHECK(!harness_launch(f, 4, 64, &device, 8, NULL));
	CHECK(!harness_launch(f, 4, 64, &device, 8, NULL));
	nanosleep(&shortly, NULL);
	CHECK(!ops->error(backend));
	begin = clock_now_ns();
	ops->close(backend);
	CHECK(clock_now_ns() - begin < 3 * NSEC_PER_SEC);
	return 0;
}

// The same with a graph's loop whose condition always holds.
static int case_endless_graph(void)
{
	struct backend_conditions *conditions;
	struct backend_graph *graph = NULL;
	struct backend_branch loop = { .type = CU_GRAPH_COND_TYPE_WHILE, .n_bodies = 1 };
	struct timespec shortly = { .tv_nsec = 100000000 };
	struct backend_copy copy = { .dst = device,
				     .src = device + 4096,
				     .width = 64,
				     .height = 1,
				     .depth = 1,
				     .dst_device = true,
				     .src_device = true };
	struct backend_stream *into;
	uint64_t begin, name;

	CHECK(!ops->conditions_create(backend, &conditions));
	CHECK(!ops->condition_add(backend, conditions, 1, true, &name));
	loop.conditions = conditions;
	CHECK(!ops->graph_begin(backend, conditions, 2, &into));
	CHECK(!ops->graph_place(backend, NULL, 0));
	CHECK(!ops->branch_enter(backend, &loop));
	CHECK(!ops->branch_body(backend, &into));
	CHECK(!ops->graph_place(backend, NULL, 0));
	CHECK(!ops->copy(backend, &copy, into));
	CHECK(!ops->graph_placed(backend));
	CHECK(!ops->branch_leave(backend));
	CHECK(!ops->graph_end(backend, &graph, 0));
	CHECK(!ops->graph_launch(backend, graph, NULL));
	CHECK(!ops->graph_launch(backend, graph, NULL));
	nanosleep(&shortly, NULL);
	CHECK(!ops->error(backend));
	CHECK(ops->stream_query(backend, NULL) == CUDA_ERROR_NOT_READY);
	begin = clock_now_ns();
	ops->close(backend);
	CHECK(clock_now_ns() - begin < 3 * NSEC_PER_SEC);
	return 0;
}

// The same with a wait for a word that nobody writes.
static int case_wait(void)
{
	_Atomic uint64_t *word = (void *)host;
	uint64_t begin;

	atomic_store(word, 0);
	CHECK(!ops->stream_wait(backend, NULL, word, 1));
	CHECK(!harness_copy(device, true, (uintptr_t)host, false, 64, NULL));
	begin = clock_now_ns();
	ops->close(backend);
	CHECK(clock_now_ns() - begin < 3 * NSEC_PER_SEC);
	return 0;
}

// A context that was given back is made again, in the same window.
static int case_again(void)
{
	struct reply_context_activate reply;
	bool mapped = ops->mem_granularity(backend) != 0;

	CHECK(!(mapped ? ops->mem_unmap(backend, device, device_size) : ops->mem_free(backend, device)));
	CHECK(!ops->host_unregister(backend, (uintptr_t)host));
	CHECK(!ops->deactivate(backend));
	CHECK(!ops->activate(backend, 0, &reply));
	CHECK(!ops->host_register(backend, (uintptr_t)host, HARNESS_HOST_BYTES));
	CHECK(!(mapped ? ops->mem_map(backend, device, device_size)
		       : ops->mem_alloc(backend, device_size, &device)));
	memset(host, 5, 4096);
	CHECK(!harness_copy(device, true, (uintptr_t)host, false, 4096, NULL));
	CHECK(!harness_copy((uintptr_t)host + 4096, false, device, true, 4096, NULL));
	CHECK(!ops->synchronize(backend));
	CHECK(!memcmp(host, host + 4096, 4096));
	harness_close();
	return 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} cases[] = {
	{ "unmapped", case_unmapped },	   { "null", case_null },
	{ "misaligned", case_misaligned }, { "trap", case_trap },
	{ "endless", case_endless },	   { "wait", case_wait },
	{ "again", case_again },	   { "no_access", case_no_access },
	{ "read_only", case_read_only },   { "endless_graph", case_endless_graph },
};

const char *const fault_names[] = { "unmapped", "null",	     "misaligned", "trap",	    "endless", "wait",
				    "again",	"no_access", "read_only",  "endless_graph", NULL };

int fault_case(const char *name)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (!strcmp(cases[i].name, name))
			return cases[i].run();
	printf("no case %s\n", name);
	return 1;
}
