// SPDX-License-Identifier: Apache-2.0
// The handle table: what the guest's names stand for. One array a kind, indexed by the handle's index part;
// the generation part tells a live name from a stale one. Used by the generated dispatch and the handlers.
#ifndef VGPU_EXECUTOR_HANDLES_H
#define VGPU_EXECUTOR_HANDLES_H

#include <stdint.h>

#include "protocol/guest/calls.h"

struct executor;
struct object;

struct handle_entry {
	struct object *object; // NULL: free
	uint32_t generation;   // of the object, or of the last one that was here
};

struct handles {
	struct handle_entry *entries[HANDLE_KINDS]; // NULL: no object of the kind was ever made
	uint32_t used[HANDLE_KINDS];		    // one above the highest index ever entered
	uint32_t live[HANDLE_KINDS];
};

// Tells the guest what its tenant may have (channel_header.objects), so that it can refuse by itself.
void handles_tell_limits(struct executor *x);

// Gives the tables back; the objects must have been removed.
void handles_done(struct handles *h);

// The live object of that kind and name, or NULL.
void *handle_get(struct executor *x, uint8_t kind, uint64_t handle);

// Whether a new object may take that name: CUDA_SUCCESS, CUDA_ERROR_INVALID_HANDLE (wrong kind, index above
// the kind's limit or in use, generation 0 or the one used last) or CUDA_ERROR_OUT_OF_MEMORY (also when there
// are as many as the tenant may have).
int32_t handle_check_new(struct executor *x, uint8_t kind, uint64_t handle);

// Enters object (a struct that begins with struct object) under a handle that handle_check_new accepted.
void handle_enter(struct executor *x, uint8_t kind, uint64_t handle, void *object);

// The object's name ends; the object itself is the caller's again.
void handle_remove(struct executor *x, uint64_t handle);

// Calls visit for each live object of the kind; visit may remove that object.
void handle_each(struct executor *x, uint8_t kind, void (*visit)(struct executor *x, void *object));

#endif
