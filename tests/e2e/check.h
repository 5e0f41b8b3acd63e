// SPDX-License-Identifier: Apache-2.0
//
// What every end-to-end program needs: checks that print one TAP line each, the device's context, kernels
// from the .ptx files beside the sources. The programs are ordinary driver-API programs and run natively as
// well; the runner says in VGPU_TEST_BACKEND where it runs them (native, cuda, cpu, null).
#ifndef VGPU_TESTS_E2E_CHECK_H
#define VGPU_TESTS_E2E_CHECK_H

#include "demo/driver.h"

#include <stdbool.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

// A call must answer exactly `want`. Prints a line either way.
#define EXPECT(want, call) check_result(__FILE__, __LINE__, #call, want, call)
#define OK(call)	   EXPECT(CUDA_SUCCESS, call)
// A call that only prepares: silent when right, ends the program when not.
#define MUST(call)	      check_must(__FILE__, __LINE__, #call, call)
#define CHECK(condition, ...) check_true(__FILE__, __LINE__, (condition), __VA_ARGS__)
#define EQUAL(want, got)      check_equal(__FILE__, __LINE__, #got, (long long)(want), (long long)(got))

bool check_result(const char *file, int line, const char *what, CUresult want, CUresult got);
void check_must(const char *file, int line, const char *what, CUresult got);
bool check_true(const char *file, int line, bool holds, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
bool check_equal(const char *file, int line, const char *what, long long want, long long got);
// Prints the plan; the program's exit status: 0, or 1 when a check failed.
int check_done(void);
// Says why nothing can be checked here and ends the program with status 77.
void check_skip(const char *why) __attribute__((noreturn));
// Ends the program with status 1; for what cannot go on.
void check_bail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

enum check_backend { BACKEND_NATIVE, BACKEND_CUDA, BACKEND_CPU, BACKEND_NULL };
enum check_backend check_backend(void);
// Whether kernels really run and copies really move bytes (everywhere but on the null backend).
bool check_computes(void);

// Opens the library only (for what happens before cuInit).
void check_open(void);
// Opens the library, initialises, makes device 0's primary context current.
CUcontext check_context(void);

// A module from tests/e2e/kernels: VGPU_KERNELS, else VGPU_SOURCE, else beside the binary.
CUmodule check_module(const char *file);
// Its text, to be freed; ends with a zero byte.
char *check_read(const char *file);
CUfunction check_function(CUmodule module, const char *name);

// One-dimensional launch that must succeed; the rest are addresses of the arguments.
#define LAUNCH(function, grid, block, stream, ...)                                                          \
	do {                                                                                                \
		void *launch_arguments[] = { __VA_ARGS__ };                                                 \
		MUST(cuLaunchKernel(function, grid, 1, 1, block, 1, 1, 0, stream, launch_arguments, NULL)); \
	} while (0)

// A gate that the host opens: kernels launched behind it wait (not for ever, but long), so that "in flight"
// is a fact and not a race.
struct gate {
	uint32_t *word; // pinned: [0] the gate, [1] what the kernel saw
	CUfunction wait;
};
void gate_init(struct gate *gate, CUmodule basic);
void gate_close(struct gate *gate, CUstream stream); // launches the waiting kernel on the stream
void gate_open(struct gate *gate);
void gate_done(struct gate *gate);

// Bytes that differ by seed and position; compares and says where the first difference is.
void pattern_fill(void *bytes, size_t n, uint32_t seed);
bool pattern_check(const void *bytes, size_t n, uint32_t seed, const char *what);

double seconds_now(void); // monotonic
void sleep_ms(int ms);

#endif
