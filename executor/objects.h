// SPDX-License-Identifier: Apache-2.0
// The objects that a guest makes in its channel, as the executor keeps them. Each begins with the handle it
// is known by. Made by on_*_create handlers, owned by the handle table from handle_enter to handle_remove.
#ifndef VGPU_EXECUTOR_OBJECTS_H
#define VGPU_EXECUTOR_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "executor/backends/backend.h"
#include "executor/track.h"

struct object {
	uint64_t handle;
};

struct stream {
	struct object object;
	struct backend_stream *backend;
	uint32_t lane; // of struct track
};

struct event {
	struct object object;
	struct backend_event *backend;
	uint32_t references; // the handle and each watch
	// Where it was recorded last: done when the lane's batch is; batch 0: never.
	uint32_t lane;
	uint64_t batch;
	struct guard guard; // host waits that its record stands behind
};

// Device memory that the backend placed itself: a variable of a module. Valid while the module lives.
struct module_global {
	SLIST_ENTRY(module_global) next;
	uint64_t address;
};

struct function {
	struct object object;
	struct backend_function *backend;
	LIST_ENTRY(function) next; // in its module
	uint32_t param_bytes;
	uint64_t id; // never reused: names the function in the table of durations
};

struct module {
	struct object object;
	struct backend_module *backend;
	LIST_HEAD(, function) functions;
	SLIST_HEAD(, module_global) globals;
};

struct blob {
	struct object object;
	uint8_t *data; // size + 1 bytes, the last one 0
	uint64_t size;
};

#endif
