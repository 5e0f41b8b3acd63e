// SPDX-License-Identifier: Apache-2.0
// What the files of libvgpu.so.1 share. All of it runs in the program, in any of its threads. Prefix lv_;
// only what vgpu.h declares is exported.
#ifndef VGPU_LIBVGPU_LIBVGPU_H
#define VGPU_LIBVGPU_LIBVGPU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "guest/client/client.h"
#include "guest/client/objects.h"
#include "guest/libvgpu/vgpu.h"
#include "protocol/cuda/cuda_abi.h"
#include "protocol/guest/calls.h"

#define LV_EXPORT __attribute__((visibility("default")))

// Of each of the two compile logs: both fit one reply.
#define LV_LOG_BYTES 4032u

// A fence slot and the numbers given to it. It belongs to the object's place in its table, so numbers go on
// rising when the place is used again.
struct lv_slot {
	bool has;
	uint32_t number;
	uint64_t value; // last one asked for, under the object's lock
};

struct lv_stream {
	struct vgpu_object object;
	pthread_mutex_t lock;	    // order of this stream's fences
	_Atomic uint64_t submitted; // records pushed, counted after the push
	uint64_t covered;	    // of those, how many the last fence stands behind
	struct lv_slot slot;
};

struct lv_fence {
	struct vgpu_object object;
	pthread_mutex_t lock; // of all below
	uint64_t recorded;    // records so far
	uint64_t watched;     // the record that slot.value stands for
	struct lv_slot slot;
};

struct lv_function {
	struct vgpu_object object;
	struct lv_function *next; // of the same module
	char *name;
	struct vgpu_param *params;
	uint32_t n_params, param_bytes;
	int32_t refusal; // CUresult of every launch, 0: it runs
	_Atomic int32_t attributes[CU_FUNC_ATTRIBUTE_COUNT];
};

struct lv_module {
	struct vgpu_object object;
	pthread_mutex_t lock; // functions
	struct lv_function *functions;
};

struct vgpu {
	struct vgpu_client *client;
	_Atomic bool forked;   // this process is a child of the one that opened it; the client is gone
	LIST_ENTRY(vgpu) link; // all of this process (open.c)
	struct vgpu_objects streams, fences, modules, functions, blobs;
	struct lv_stream *first; // the stream that NULL names
	struct vgpu_info info;
	pthread_mutex_t memory_lock;
	void *device_memory, *host_memory; // tsearch trees of struct lv_block (memory.c), under the lock
	pthread_mutex_t load_lock;	   // one image at a time is on its way
};

// The error that stands for a CUresult, or for the -errno of the client's machinery.
int lv_error(int result);

// VGPU_OK, or why no call on the device can work: the child of a fork, a sticky error, a lost device.
static inline int lv_enter(const struct vgpu *gpu)
{
	int sticky;

	if (!gpu)
		return VGPU_E_ARGUMENT;
	if (atomic_load_explicit(&gpu->forked, memory_order_relaxed))
		return VGPU_E_FORKED;
	sticky = vgpu_client_sticky(gpu->client);
	return sticky ? lv_error(sticky) : VGPU_OK;
}

// Takes the error of a call without reply that was refused on the host; VGPU_OK if there is none.
static inline int lv_deferred(struct vgpu *gpu)
{
	return lv_error(vgpu_client_deferred(gpu->client));
}

// lv_enter, and the stream that a program's value names; VGPU_E_HANDLE.
int lv_enter_stream(struct vgpu *gpu, struct vgpu_stream *stream, struct lv_stream **ret);
// To be called after each record of GPU work pushed to the stream.
static inline void lv_submitted(struct lv_stream *s)
{
	atomic_fetch_add_explicit(&s->submitted, 1, memory_order_release);
}
// Makes sure that a fence stands behind all work submitted so far; *value is what the slot will hold then.
int lv_stream_fence(struct vgpu *gpu, struct lv_stream *s, uint64_t *value);
// Waits for it, and tells an error that a call without reply left behind.
int lv_stream_wait(struct vgpu *gpu, struct lv_stream *s, uint64_t value, uint64_t timeout_ns);
// The end of a call that put work in a stream: waits if flags have VGPU_WAIT.
int lv_stream_end(struct vgpu *gpu, struct lv_stream *s, uint32_t flags);
int lv_stream_make(struct vgpu *gpu, int priority, struct lv_stream **ret);

// A new stream or fence, whose slot is at that offset, with a slot that nobody stores in any more.
// VGPU_E_LIMIT.
int lv_object_new(struct vgpu *gpu, struct vgpu_objects *t, size_t slot_offset, void **ret);
// Waits for the slot's value.
int lv_slot_wait(struct vgpu *gpu, const struct vgpu_slot_value *list, size_t n, uint64_t timeout_ns,
		 size_t *ret_which);

// Whether all of [p, p + bytes) is the device's pinned memory.
bool lv_host_contains(struct vgpu *gpu, const void *p, size_t bytes);
// Frees what is known of memory; the host has the memory back with the channel.
void lv_memory_done(struct vgpu *gpu);
// Frees what functions hold of the program's memory.
void lv_functions_done(struct vgpu *gpu);

#endif
