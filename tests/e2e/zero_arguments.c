// SPDX-License-Identifier: Apache-2.0
//
// What every call says to arguments that are all zero, and to the same with a first argument that points to
// zeros: before cuInit, without a context, with one, and after a kernel has gone wrong. The answers are those
// that NVIDIA's driver gave (zero_arguments.def), where they can be had; that each call returns at all says
// that it trusts no pointer.
#include <stdint.h>
#include <string.h>

#include "tests/e2e/check.h"

// More words than any call takes, so that each finds zeros, also in what it takes by value.
typedef CUresult (*any_call)(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t,
			     uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t,
			     uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t);

enum moment { BEFORE_INIT, NO_CONTEXT, CONTEXT, AFTER_A_FAULT, MOMENTS };
static const char *const moments[] = { "before cuInit", "without a context", "with a context",
				       "after a fault" };

static const struct call {
	const char *name;
	int16_t answers[MOMENTS][2]; // to zeros, to a pointer and zeros; -1: any
} calls[] = {
#define CALL(name, ...) { #name, { __VA_ARGS__ } },
#include "tests/e2e/zero_arguments.def"
#undef CALL
};

static CUcontext context;

static bool ask(const struct call *c, enum moment moment, bool pointer)
{
	static _Alignas(4096) char zeros[1 << 16]; // more than any call writes
	any_call call = (any_call)(uintptr_t)driver_symbol(c->name);
	int want = c->answers[moment][pointer];
	CUresult got;

	// A driver takes whatever it gets for an object of its own.
	if (check_backend() == BACKEND_NATIVE && (want < 0 || pointer))
		return true;
	if (!call)
		return CHECK(false, "there is no %s", c->name);
	memset(zeros, 0, sizeof(zeros));
	got = call(pointer ? (uintptr_t)zeros : 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	if (moment != BEFORE_INIT)
		MUST(cuCtxSetCurrent(moment == NO_CONTEXT ? NULL : context));
	if (want < 0 || got == (CUresult)want)
		return true;
	return CHECK(false, "%s(%s) %s: expected %s, got %s", c->name, pointer ? "pointer, 0..." : "0...",
		     moments[moment], driver_error_name((CUresult)want), driver_error_name(got));
}

static void ask_all(enum moment moment)
{
	for (int pointer = 0; pointer < 2; pointer++) {
		int wrong = 0;

		for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
			wrong += !ask(&calls[i], moment, pointer);
		CHECK(!wrong, "%zu calls %s, %s", sizeof(calls) / sizeof(calls[0]), moments[moment],
		      pointer ? "a pointer and zeros" : "zeros");
	}
}

static void fault(void)
{
	CUfunction write_at = check_function(check_module("faults.ptx"), "write_at");
	CUdeviceptr bad = 16;
	uint32_t value = 1;

	LAUNCH(write_at, 1, 1, NULL, &bad, &value);
	EXPECT(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
}

int main(void)
{
	check_open();
	ask_all(BEFORE_INIT);
	MUST(cuInit(0));
	ask_all(NO_CONTEXT);
	context = check_context();
	ask_all(CONTEXT);
	if (check_computes()) {
		fault();
		ask_all(AFTER_A_FAULT);
	}
	return check_done();
}
