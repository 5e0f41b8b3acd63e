// SPDX-License-Identifier: Apache-2.0
/*
 * Common ground of the PTX engine's tests: device memory in its window, loading from text or from a
 * checked-in file, launching. Every test program is one process with one machine.
 */
#ifndef VGPU_TESTS_UNIT_PTX_TEST_H
#define VGPU_TESTS_UNIT_PTX_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "executor/backends/cpu/ptx/ptx.h"

// Reserves the device window and makes the machine; a cmocka group set-up. threads from the program's choice
// below.
int ptx_test_setup(void **state);
int ptx_test_teardown(void **state);
extern unsigned ptx_test_threads; // of the machine; set before the group runs
extern struct ptx_machine *ptx_test_machine;

// Device memory, zeroed, followed by a hole; addresses are valid in kernels and here. Never fails.
void *dev_alloc(size_t size);
void dev_free_all(void); // after each test
// Memory environment for modules on the same allocator.
extern const struct ptx_module_env ptx_test_env;

// Fails the test with the engine's message when the text does not load.
struct ptx_module *load(const char *text);
// The file lies next to the tests.
struct ptx_module *load_file(const char *name);

struct shape {
	uint32_t grid[3], block[3], shared;
};
#define SHAPE(g, b) (&(struct shape){ { g, 1, 1 }, { b, 1, 1 }, 0 })

// Launches with 64 bit parameters (pointers or numbers); returns ptx_launch's result, the fault in
// last_fault.
int launch(struct ptx_module *m, const char *kernel, const struct shape *s, unsigned n, const uint64_t *args);
extern struct ptx_fault last_fault;
#define P(x) ((uint64_t)(uintptr_t)(x))
#define RUN(m, kernel, s, ...) \
	assert_int_equal(      \
	    launch(m, kernel, s, sizeof((uint64_t[]){ __VA_ARGS__ }) / 8, (uint64_t[]){ __VA_ARGS__ }), 0)

// Text expected to be refused at a line, with an opcode (a prefix) and a part of the message.
void expect_refused(const char *text, unsigned line, const char *opcode, const char *part);

// Head of a module; the body follows on line 4.
#define HEAD ".version 8.0\n.target sm_80\n.address_size 64\n"
#endif
