// SPDX-License-Identifier: Apache-2.0
// The self-test: a small CUDA program, and a question to NVML, through the libraries that any program here
// would find. Each runs in a child with a time limit and tells its steps as it takes them, so that what
// hangs or dies is known by name.
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/check/check.h"
#include "guest/check/child.h"
#include "guest/smi/nvml.h"
#include "protocol/cuda/cuda_abi.h"

#define NUMBERS	     65536u
#define BLOCK	     256u
#define VECTOR_BYTES (NUMBERS * sizeof(uint32_t))

enum step { STEP_INIT, STEP_DEVICE, STEP_MEMORY, STEP_COPY_IN, STEP_KERNEL, STEP_COPY_OUT, N_STEPS };

// sum[i] = a[i] + b[i]
static const char ptx[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n"
    ".visible .entry add(.param .u64 a, .param .u64 b, .param .u64 sum)\n{\n"
    ".reg .b32 %r<8>;\n.reg .b64 %rd<8>;\n"
    "mov.u32 %r1, %ctaid.x;\nmov.u32 %r2, %ntid.x;\nmov.u32 %r3, %tid.x;\n"
    "mad.lo.s32 %r4, %r1, %r2, %r3;\nmul.wide.u32 %rd1, %r4, 4;\n"
    "ld.param.u64 %rd2, [a];\nadd.s64 %rd3, %rd2, %rd1;\nld.global.u32 %r5, [%rd3];\n"
    "ld.param.u64 %rd4, [b];\nadd.s64 %rd5, %rd4, %rd1;\nld.global.u32 %r6, [%rd5];\n"
    "add.s32 %r7, %r5, %r6;\n"
    "ld.param.u64 %rd6, [sum];\nadd.s64 %rd7, %rd6, %rd1;\nst.global.u32 [%rd7], %r7;\nret;\n}\n";

// ---- in the child ----

struct cuda {
#define CUDA_CALL(name, params) CUresult(*name) params;
#include "protocol/cuda/cuda_calls.def"
#undef CUDA_CALL
};

#define CUDA(name, ...) (cuda.name ? cuda.name(__VA_ARGS__) : CUDA_ERROR_NOT_FOUND)

static struct cuda cuda; // NULL where the library lacks a function

struct vectors {
	CUdeviceptr a, b, sum;
	uint32_t host[NUMBERS];
};

static const char *result_name(CUresult result)
{
	switch ((int)result) {
#define CUDA_RESULT(code, name, text) \
	case code: return #name;
#include "protocol/cuda/cuda_results.def"
#undef CUDA_RESULT
	default: return "an unknown error";
	}
}

static void find(void *library, const char *name, void *pointer)
{
	void *symbol = dlsym(library, name);

	memcpy(pointer, &symbol, sizeof(symbol));
}

// One line of the answer: '+' or '-' and a text.
__attribute__((format(printf, 3, 4))) static void tell(int out, char sign, const char *format, ...)
{
	char line[CHECK_TEXT_BYTES];
	va_list ap;
	int n;

	line[0] = sign;
	va_start(ap, format);
	n = vsnprintf(line + 1, sizeof(line) - 1, format, ap);
	va_end(ap);
	n = n < (int)sizeof(line) - 2 ? n + 1 : (int)sizeof(line) - 1;
	line[n++] = '\n';
	if (write(out, line, (size_t)n) != n)
		_exit(1);
}

// Ends the child where a call failed.
static void must(int out, CUresult result, const char *call)
{
	if (!result)
		return;
	tell(out, '-', "%s: %s", call, result_name(result));
	_exit(0);
}

#define MUST(out, name, ...) must(out, CUDA(name, __VA_ARGS__), #name)

static void open_cuda(int out)
{
	void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		tell(out, '-', "%s", dlerror());
		_exit(0);
	}
#define CUDA_CALL(name, params) find(library, #name, &cuda.name);
#include "protocol/cuda/cuda_calls.def"
#undef CUDA_CALL
	MUST(out, cuInit, 0);
	tell(out, '+', "a channel to the host is open");
}

static void use_device(int out)
{
	char name[96] = "";
	CUcontext context;
	CUdevice device;
	size_t bytes = 0;

	MUST(out, cuDeviceGet, &device, 0);
	MUST(out, cuDeviceGetName, name, sizeof(name), device);
	MUST(out, cuDeviceTotalMem_v2, &bytes, device);
	MUST(out, cuDevicePrimaryCtxRetain, &context, device);
	MUST(out, cuCtxSetCurrent, context);
	tell(out, '+', "%s, %zu MiB", name, bytes >> 20);
}

static void launch(int out, struct vectors *v)
{
	void *params[] = { &v->a, &v->b, &v->sum };
	CUfunction function;
	CUmodule module;

	MUST(out, cuModuleLoadData, &module, ptx);
	MUST(out, cuModuleGetFunction, &function, module, "add");
	MUST(out, cuLaunchKernel, function, NUMBERS / BLOCK, 1, 1, BLOCK, 1, 1, 0, NULL, params, NULL);
	MUST(out, cuCtxSynchronize);
	tell(out, '+', "a kernel from PTX ran");
}

static void compare(int out, struct vectors *v)
{
	memset(v->host, 0xff, VECTOR_BYTES);
	MUST(out, cuMemcpyDtoH_v2, v->host, v->sum, VECTOR_BYTES);
	for (uint32_t i = 0; i < NUMBERS; i++)
		if (v->host[i] != 4 * i) {
			tell(out, '-', "sum %u is %u, not %u", i, v->host[i], 4 * i);
			return;
		}
	MUST(out, cuMemFree_v2, v->a);
	MUST(out, cuMemFree_v2, v->b);
	MUST(out, cuMemFree_v2, v->sum);
	tell(out, '+', "%u sums are right", NUMBERS);
}

static void run_cuda(int out, void *arg)
{
	static struct vectors v;

	(void)arg;
	setenv("VGPU_LOG", "debug", 1); // for the reason of what cuInit says
	open_cuda(out);
	use_device(out);
	MUST(out, cuMemAlloc_v2, &v.a, VECTOR_BYTES);
	MUST(out, cuMemAlloc_v2, &v.b, VECTOR_BYTES);
	MUST(out, cuMemAlloc_v2, &v.sum, VECTOR_BYTES);
	tell(out, '+', "3 times %zu KiB allocated", VECTOR_BYTES >> 10);
	for (uint32_t i = 0; i < NUMBERS; i++)
		v.host[i] = i;
	MUST(out, cuMemcpyHtoD_v2, v.a, v.host, VECTOR_BYTES);
	for (uint32_t i = 0; i < NUMBERS; i++)
		v.host[i] = 3 * i;
	MUST(out, cuMemcpyHtoD_v2, v.b, v.host, VECTOR_BYTES);
	tell(out, '+', "two vectors copied in");
	launch(out, &v);
	compare(out, &v);
}

static void run_nvml(int out, void *arg)
{
	nvmlReturn_t result = smi_nvml_open();
	nvmlMemory_t memory = { 0 };
	nvmlDevice_t device;
	char name[96] = "";

	(void)arg;
	if (!result)
		result = NVML(nvmlDeviceGetHandleByIndex_v2, 0, &device);
	if (!result)
		result = NVML(nvmlDeviceGetName, device, name, sizeof(name));
	if (!result)
		result = NVML(nvmlDeviceGetMemoryInfo, device, &memory);
	if (result)
		tell(out, '-', "%s", smi_nvml_text(result));
	else
		tell(out, '+', "%s, %llu MiB", name, memory.total >> 20);
}

// ---- what became of it ----

// Line n of the answer, '+' or '-' first; its length, 0: it was not told.
static size_t line_of(const struct child *c, unsigned n, const char **line)
{
	const char *p = c->answer, *end = p + c->bytes;

	for (;; n--) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));

		if (!stop)
			return 0;
		if (!n) {
			*line = p;
			return (size_t)(stop - p);
		}
		p = stop + 1;
	}
}

// The reason that libcuda logs when it gets no channel.
static const char *reason_of(const struct child *c)
{
	const char *p = strstr(c->said, "cuInit: ");

	return p ? p + strlen("cuInit: ") : NULL;
}

static void say_failed(const struct machine *m, const struct child *c, unsigned step, const char *text,
		       int length, struct check_result *r)
{
	const char *reason = step == STEP_INIT ? reason_of(c) : NULL,
		   *visible = getenv("CUDA_VISIBLE_DEVICES");

	check_say(r, CHECK_FAILED, "%.*s%s%.*s", length, text, reason ? ": " : "",
		  reason ? (int)strcspn(reason, "\n") : 0, reason ? reason : "");
	if (step == STEP_INIT && visible)
		check_next(r, "CUDA_VISIBLE_DEVICES is \"%s\": unset it, or see the checks that failed",
			   visible);
	else if (reason && m->container)
		check_next(r, "see the checks that failed; the container's seccomp filter must allow ioctl "
			      "and mmap of the "
			      "device");
	else if (step == STEP_INIT)
		check_next(
		    r, "see the checks that failed; else ask the operator what the mediator's journal says");
	else
		check_next(r, "ask the operator: limits of this tenant (vgpu-admin tenant list), the "
			      "mediator's journal");
}

static void say_step(const struct machine *m, const struct child *c, unsigned step, struct check_result *r)
{
	const char *line;
	size_t length = line_of(c, step, &line);

	if (length && line[0] == '+') {
		check_say(r, CHECK_OK, "%.*s", (int)length - 1, line + 1);
	} else if (length) {
		say_failed(m, c, step, line + 1, (int)length - 1, r);
	} else if (c->end == CHILD_TIMED_OUT) {
		check_say(r, CHECK_FAILED, "not done after %u s", c->limit_s);
		check_next(r, "the host does not answer, or the GPU is very busy (--time-limit): ask the "
			      "operator whether "
			      "vgpu-mediator and this machine's vgpu-stub run");
	} else if (c->end == CHILD_KILLED) {
		check_say(r, CHECK_FAILED, "the program died of signal %d", c->signal);
		check_next(r, "is libcuda.so.1 vgpu's? LD_PRELOAD set?");
	} else {
		check_say(r, CHECK_FAILED, "the program could not run");
		check_next(r, "see what limits processes here: ulimit -u, memory");
	}
}

static void cuda_step(struct machine *m, enum step step, struct check_result *r)
{
	if (!m->test) {
		m->test = calloc(1, sizeof(*m->test));
		if (!m->test) {
			check_say(r, CHECK_FAILED, "out of memory");
			return;
		}
		*m->test = (struct child){ .work = run_cuda, .limit_s = m->limit_s };
		child_run(m->test);
	}
	say_step(m, m->test, step, r);
}

void check_test_init(struct machine *m, struct check_result *r)
{
	cuda_step(m, STEP_INIT, r);
}

void check_test_device(struct machine *m, struct check_result *r)
{
	cuda_step(m, STEP_DEVICE, r);
}

void check_test_memory(struct machine *m, struct check_result *r)
{
	cuda_step(m, STEP_MEMORY, r);
}

void check_test_copy_in(struct machine *m, struct check_result *r)
{
	cuda_step(m, STEP_COPY_IN, r);
}

void check_test_kernel(struct machine *m, struct check_result *r)
{
	cuda_step(m, STEP_KERNEL, r);
}

void check_test_copy_out(struct machine *m, struct check_result *r)
{
	cuda_step(m, STEP_COPY_OUT, r);
}

void check_test_nvml(struct machine *m, struct check_result *r)
{
	struct child c = { .work = run_nvml, .limit_s = m->limit_s };

	child_run(&c);
	say_step(m, &c, STEP_INIT, r);
}
