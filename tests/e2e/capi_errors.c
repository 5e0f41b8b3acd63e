// SPDX-License-Identifier: Apache-2.0
//
// libvgpu where it is used wrongly: arguments, stale objects, images that are none, launches too large,
// memory beyond the quota (first argument: MiB of it), late errors, faults, forks.
#include "tests/e2e/capi.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct vgpu *gpu;

static void images(void)
{
	static const char bad[] = ".version 7.0\n.target sm_70\n.address_size 64\n"
				  ".visible .entry k()\n{\n\tnonsense.u32 %r1;\n\tret;\n}\n";
	struct vgpu_load_options options = { .size = sizeof(options),
					     .max_registers = 32,
					     .optimization_and_1 = 4 };
	struct vgpu_module *module;
	struct vgpu_function *function;
	char log[4096], *text = check_read("basic.ptx");

	memset(log, 'x', sizeof(log));
	if (check_computes()) {
		REFUSED(VGPU_E_IMAGE, vgpu_module_load(gpu, bad, 0, NULL, log, sizeof(log), &module));
		CHECK(strstr(log, "nonsense"), "the log names the instruction: %s", log);
		REFUSED(VGPU_E_IMAGE, vgpu_module_load(gpu, bad, 0, NULL, log, 8, &module));
		EQUAL(7, strlen(log)); // cut, with its end
		REFUSED(VGPU_E_IMAGE, vgpu_module_load(gpu, bad, 0, NULL, NULL, 0, &module));
	}
	REFUSED(VGPU_E_IMAGE, vgpu_module_load(gpu, "no image", 0, NULL, NULL, 0, &module));
	REFUSED(VGPU_E_ARGUMENT, vgpu_module_load(gpu, NULL, 0, NULL, NULL, 0, &module));
	REFUSED(VGPU_E_ARGUMENT, vgpu_module_load(gpu, bad, 0, NULL, NULL, 10, &module));
	options.size = 4;
	REFUSED(VGPU_E_ARGUMENT, vgpu_module_load(gpu, text, 0, &options, NULL, 0, &module));
	options.size = sizeof(options);
	FINE(vgpu_module_load(gpu, text, strlen(text) + 1, &options, log, sizeof(log), &module));
	if (check_computes())
		REFUSED(VGPU_E_NOT_FOUND, vgpu_function_get(gpu, module, "not_there", &function));
	REFUSED(VGPU_E_NOT_FOUND, vgpu_function_get(gpu, module, "", &function));
	REFUSED(VGPU_E_ARGUMENT, vgpu_function_get(gpu, module, NULL, &function));
	FINE(vgpu_function_get(gpu, module, "empty", &function));
	FINE(vgpu_module_free(gpu, module));
	// The kernel ended with its module.
	REFUSED(VGPU_E_HANDLE, capi_launch(gpu, NULL, function, 1, 1, NULL));
	REFUSED(VGPU_E_HANDLE, vgpu_module_free(gpu, module));
	REFUSED(VGPU_E_HANDLE, vgpu_function_get(gpu, module, "empty", &function));
	free(text);
}

static void stale_objects(void)
{
	struct vgpu_stream *stream, *again;
	struct vgpu_fence *fence;
	struct vgpu *other = capi_open();
	uint64_t word;

	NEED(vgpu_alloc(gpu, 4, &word));
	NEED(vgpu_stream_new(gpu, 0, &stream));
	NEED(vgpu_fence_new(gpu, &fence));
	FINE(vgpu_fence_record(gpu, fence, stream));
	FINE(vgpu_stream_free(gpu, stream));
	NEED(vgpu_stream_new(gpu, 0, &again));
	REFUSED(VGPU_E_HANDLE, vgpu_stream_free(gpu, stream));
	REFUSED(VGPU_E_HANDLE, vgpu_fill(gpu, stream, word, 0, 4, 1, 0));
	REFUSED(VGPU_E_HANDLE, vgpu_fence_record(gpu, fence, stream));
	REFUSED(VGPU_E_HANDLE, vgpu_stream_wait(gpu, (struct vgpu_stream *)fence, 0)); // of another kind
	REFUSED(VGPU_E_HANDLE, vgpu_stream_wait(gpu, (struct vgpu_stream *)&word, 0));
	FINE(vgpu_fence_free(gpu, fence));
	REFUSED(VGPU_E_HANDLE, vgpu_fence_wait(gpu, fence, 0));
	REFUSED(VGPU_E_HANDLE, vgpu_stream_after(gpu, again, fence));
	REFUSED(VGPU_E_HANDLE, vgpu_stream_free(gpu, NULL)); // the first one stays
	// Another device has none of these, nor the memory.
	REFUSED(VGPU_E_HANDLE, vgpu_fence_wait(other, fence, 0));
	REFUSED(VGPU_E_ARGUMENT, vgpu_free(other, word));
	FINE(vgpu_stream_free(gpu, again));
	FINE(vgpu_free(gpu, word));
	REFUSED(VGPU_E_ARGUMENT, vgpu_free(gpu, word));
	vgpu_close(other);
}

static void arguments(void)
{
	struct vgpu_module *module = capi_module(gpu, "basic.ptx");
	struct vgpu_function *fill = capi_function(gpu, module, "fill");
	struct vgpu_shape shape = { sizeof(shape), { 1, 1, 1 }, { 1, 1, 1 }, 0 };
	uint64_t memory;
	char *pinned;

	NEED(vgpu_alloc(gpu, 4096, &memory));
	NEED(vgpu_host_alloc(gpu, 4096, (void **)&pinned));
	REFUSED(VGPU_E_ARGUMENT, vgpu_alloc(gpu, 0, &memory));
	REFUSED(VGPU_E_ARGUMENT, vgpu_alloc(NULL, 1, &memory));
	REFUSED(VGPU_E_ARGUMENT, vgpu_free(gpu, memory + 512));
	REFUSED(VGPU_E_ARGUMENT, vgpu_host_free(gpu, pinned + 64));
	REFUSED(VGPU_E_ARGUMENT, vgpu_host_address(gpu, pinned + 4096, &memory));
	REFUSED(VGPU_E_ARGUMENT, vgpu_copy_in(gpu, NULL, memory, "x", 1, 2));
	REFUSED(VGPU_E_ARGUMENT, vgpu_copy_in(gpu, NULL, memory, NULL, 1, 0));
	REFUSED(VGPU_E_ARGUMENT, vgpu_fill(gpu, NULL, memory, 0, 3, 1, 0));
	REFUSED(VGPU_E_ARGUMENT, vgpu_fill(gpu, NULL, memory + 2, 0, 4, 1, 0));
	if (check_computes())
		REFUSED(VGPU_E_ARGUMENT, vgpu_launch(gpu, NULL, fill, &shape, NULL));
	REFUSED(VGPU_E_ARGUMENT, vgpu_launch_packed(gpu, NULL, fill, &shape, &memory, 8));
	shape.block[0] = 2000;
	REFUSED(VGPU_E_LAUNCH, vgpu_launch(gpu, NULL, fill, &shape, NULL));
	shape.block[0] = 0;
	REFUSED(VGPU_E_LAUNCH, vgpu_launch(gpu, NULL, fill, &shape, NULL));
	shape.block[0] = 1;
	shape.dynamic_shared_bytes = 1 << 20;
	REFUSED(VGPU_E_LAUNCH, vgpu_launch(gpu, NULL, fill, &shape, NULL));
	REFUSED(VGPU_E_LAUNCH, vgpu_function_shared(gpu, fill, 1 << 30));
	shape.size = 8;
	REFUSED(VGPU_E_ARGUMENT, vgpu_launch(gpu, NULL, fill, &shape, NULL));

	// Refused on the host after the call had returned: the next call that waits tells it, once.
	FINE(vgpu_copy(gpu, NULL, memory, memory + 4000, 97, 0));
	REFUSED(VGPU_E_ARGUMENT, vgpu_stream_wait(gpu, NULL, VGPU_FOREVER));
	FINE(vgpu_stream_wait(gpu, NULL, VGPU_FOREVER));
	REFUSED(VGPU_E_ARGUMENT, vgpu_copy_out(gpu, NULL, pinned, memory + 4000, 97, VGPU_WAIT));
	REFUSED(VGPU_E_ARGUMENT, vgpu_fill(gpu, NULL, 4096, 0, 1, 1, VGPU_WAIT));
	FINE(vgpu_check(gpu));
	FINE(vgpu_free(gpu, memory));
	FINE(vgpu_host_free(gpu, pinned));
	FINE(vgpu_module_free(gpu, module));
}

static void quota(size_t mib)
{
	uint64_t all, more, left, total;

	FINE(vgpu_memory(gpu, &left, &total));
	EQUAL(mib * MIB, total);
	REFUSED(VGPU_E_MEMORY, vgpu_alloc(gpu, (mib + 1) * MIB, &all));
	FINE(vgpu_alloc(gpu, mib / 2 * MIB, &all));
	REFUSED(VGPU_E_MEMORY, vgpu_alloc(gpu, (mib / 2 + 1) * MIB, &more));
	FINE(vgpu_check(gpu)); // nothing is broken
	FINE(vgpu_free(gpu, all));
	FINE(vgpu_alloc(gpu, mib / 2 * MIB, &all));
	FINE(vgpu_free(gpu, all));
}

// The fault is told by every call from then on; another device of the same process goes on.
static void faults(void)
{
	struct vgpu *faulty = capi_open();
	struct vgpu_module *module = capi_module(faulty, "faults.ptx");
	struct vgpu_function *write_at = capi_function(faulty, module, "write_at");
	uint64_t address = 64, word;
	uint32_t value = 1;

	if (check_computes()) {
		FINE(CAPI_LAUNCH(faulty, NULL, write_at, 1, 1, &address, &value));
		REFUSED(VGPU_E_FAULT_ADDRESS, vgpu_stream_wait(faulty, NULL, VGPU_FOREVER));
		REFUSED(VGPU_E_FAULT_ADDRESS, vgpu_alloc(faulty, 4, &word));
		REFUSED(VGPU_E_FAULT_ADDRESS, vgpu_check(faulty));
	}
	FINE(vgpu_check(gpu));
	vgpu_close(faulty);
	FINE(vgpu_alloc(gpu, 4, &word));
	FINE(vgpu_free(gpu, word));
}

static int in_child(void)
{
	struct vgpu *own;
	uint64_t word;

	if (vgpu_alloc(gpu, 4, &word) != VGPU_E_FORKED || vgpu_check(gpu) != VGPU_E_FORKED ||
	    vgpu_stream_wait(gpu, NULL, VGPU_FOREVER) != VGPU_E_FORKED)
		return 1;
	vgpu_close(gpu);
	if (vgpu_open(NULL, &own) || vgpu_alloc(own, 4, &word) ||
	    vgpu_fill(own, NULL, word, 3, 4, 1, VGPU_WAIT))
		return 2;
	vgpu_close(own);
	return 0;
}

static void forks(void)
{
	uint64_t word;
	int status = -1;
	pid_t child;

	NEED(vgpu_alloc(gpu, 4, &word));
	child = fork();
	if (!child)
		_exit(in_child());
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status), "child: %x",
	      (unsigned)status);
	FINE(vgpu_fill(gpu, NULL, word, 3, 4, 1, VGPU_WAIT));
	FINE(vgpu_free(gpu, word));
}

static void nobody_there(void)
{
	struct vgpu *none = NULL;

	REFUSED(VGPU_E_NO_DEVICE, vgpu_open("/nowhere/at/all", &none));
	CHECK(!none && strstr(vgpu_open_error(), "/nowhere/at/all"), "it says where: %s", vgpu_open_error());
	REFUSED(VGPU_E_ARGUMENT, vgpu_open(NULL, NULL));
	vgpu_close(NULL);
	EQUAL(0, strcmp("no error", vgpu_error_text(0)));
	for (int e = 0; e >= VGPU_E_UNEXPECTED; e--)
		CHECK(strcmp(vgpu_error_text(e), "unknown error") != 0, "%d has a text", e);
	EQUAL(0, strcmp("unknown error", vgpu_error_text(-1000)));
}

int main(int argc, char **argv)
{
	nobody_there();
	gpu = capi_open();
	images();
	stale_objects();
	arguments();
	if (argc > 1)
		quota(strtoul(argv[1], NULL, 10));
	faults();
	forks();
	vgpu_close(gpu);
	return check_done();
}
