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

// What the mediator knows a thing of several processes by (share.c).
struct share_key {
	enum { SHARE_NONE, SHARE_OWNED, SHARE_TAKEN } kind;
	uint64_t key[2];
};

struct event {
	struct object object;
	struct backend_event *backend;
	uint32_t references; // the handle and each watch
	// Where it was recorded last: done when the lane's batch is; batch 0: never.
	uint32_t lane;
	uint64_t batch;
	struct guard guard; // host waits that its record stands behind
	bool shared; // other processes have it too: only the backend knows its records, lane and batch do not
	struct share_key share;
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
	uint64_t charged; // device memory
};

// Device memory without an address (memory_vm.c): goes with the last of its handle and its mappings.
struct physical {
	struct object object;
	LIST_ENTRY(physical) link; // of memory.physicals
	struct backend_physical *backend;
	uint64_t size;
	uint32_t references;
	void *store; // as in memory_extent
	bool back;
	struct share_key share;
};

// An array, or the whole of a mipmapped one.
struct array {
	struct object object;
	struct backend_array *backend;
	struct array_shape shape;
	uint64_t charged;	  // to the quota
	bool is_part;		  // of another, which owns it
	LIST_HEAD(, array) parts; // planes or levels that have a handle
	LIST_ENTRY(array) next;	  // of the same whole
};

struct mipmap {
	struct array whole; // first: its handle is a mipmap's
};

struct texture {
	struct object object;
	uint64_t value; // that kernels use
};

struct surface {
	struct object object;
	uint64_t value;
};

struct blob {
	struct object object;
	uint8_t *data; // size + 1 bytes, the last one 0
	uint64_t size;
};

#endif
