// SPDX-License-Identifier: Apache-2.0
// What the backend tests stand on: loads a backend module by path, gives it the address windows that an
// executor would, and offers short forms of the operations that fail the test when they fail. One backend a
// process.
#ifndef VGPU_TESTS_UNIT_BACKENDS_HARNESS_H
#define VGPU_TESTS_UNIT_BACKENDS_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "executor/backends/backend.h"
#include "protocol/cuda/cuda_abi.h"

#define HARNESS_SKIP	   77
#define HARNESS_HOST_BYTES VGPU_MIB(64)
#define HARNESS_WAIT_NS	   20000000000ull

extern const struct backend_ops *ops;
extern struct backend *backend;
extern char *host;	      // HARNESS_HOST_BYTES of registered memory at the host window's base
extern bool kernels_see_host; // false over a second libcuda (VGPU_HOST_LIBCUDA), which copies host memory
extern uint64_t device;	      // DEVICE_BYTES of device memory
extern uint64_t device_size;  // bytes there
extern struct reply_device_info device_info;

// Loads, opens and activates; 0, HARNESS_SKIP (with the reason printed) or 1. The device memory is mapped by
// mem_map or mem_alloc, whichever the backend offers.
int harness_open(const char *path);
void harness_close(void);

struct backend_module *harness_module(const char *ptx);
struct backend_function *harness_function(struct backend_module *m, const char *name);
// One block row of threads; params are the bytes of the parameter buffer.
int harness_launch(struct backend_function *f, uint32_t blocks, uint32_t threads, const void *params,
		   uint32_t bytes, struct backend_stream *s);
void harness_sync(void);
int harness_copy(uint64_t dst, bool dst_device, uint64_t src, bool src_device, uint64_t bytes,
		 struct backend_stream *s);
// Waits until the word is at least value; false after HARNESS_WAIT_NS or on a sticky error.
bool harness_reaches(_Atomic uint64_t *word, uint64_t value);
// Waits until event_query is no longer NOT_READY and returns its result; NOT_READY after HARNESS_WAIT_NS.
int harness_event(struct backend_event *e);
// Text that kernels printed so far.
const char *harness_printed(void);

// Cases that cost the process its context; each runs in a process of its own. 0 passed.
int fault_case(const char *name);
extern const char *const fault_names[];

#endif
