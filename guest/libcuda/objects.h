// SPDX-License-Identifier: Apache-2.0
// What libcuda.so.1 knows of each object that a program made. All live in the tables of handles.h.
#ifndef VGPU_LIBCUDA_OBJECTS_H
#define VGPU_LIBCUDA_OBJECTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "guest/client/params.h"
#include "guest/libcuda/handles.h"
#include "guest/libcuda/values.h"
#include "protocol/cuda/cuda_abi.h"

#define VC_STORAGE_BUCKETS 16
struct vc_storage;

// A stream and an event of a context's own, by their handles; those may be stale (context_event.c).
struct vc_context_helper {
	_Atomic uint64_t stream;
	uint64_t event;
};

// A context: a group of ownership in the guest; the executor has one for the whole process. The primary
// context's object lives as long as the process, only `active` changes.
struct vc_context {
	struct vgpu_object object;
	_Atomic int active; // primary: retained; explicit: 1 until destroyed
	_Atomic uint32_t flags;
	int primary;
	uint64_t id;
	_Atomic int cache_config;
	_Atomic int shared_config;
	struct vc_storage *_Atomic storage[VC_STORAGE_BUCKETS]; // context_storage.c; empty in a new context
	struct vc_context_helper joins, gate;
};

// A fence slot and the numbers given to it. Slots belong to the object's place in its table, so numbers go on
// rising when the place is used again.
struct vc_fence {
	uint32_t slot;
	_Atomic uint64_t value; // last one asked for
};

// What cuStreamSetAttribute was told, under the stream's lock (streamattr.c).
#define VC_STREAM_ATTRIBUTES 5
struct vc_stream_attributes {
	uint32_t set; // bit of the place
	CUlaunchAttributeValue values[VC_STREAM_ATTRIBUTES];
};

#define VC_STREAM_BEHIND 8

struct vc_stream {
	struct vgpu_object object;
	uint64_t handle;	// on the wire, kept after destruction; STREAM_LEGACY for the legacy stream
	struct vc_context *ctx; // owner; NULL: the legacy stream and per-thread ones
	uint32_t flags;
	int32_t priority;
	uint64_t id;
	int internal;		    // a thread's own stream
	_Atomic uint64_t submitted; // records pushed, counted after the push
	_Atomic uint64_t covered;   // of those, how many the last fence stands behind
	_Atomic uint64_t asked;	    // vc_waits when the executor was asked last
	pthread_mutex_t lock;	    // order of this stream's fences
	struct vc_fence fence;
	struct vc_fence host; // host functions: the stream goes on when its slot has the value
	struct vc_stream_attributes attributes;
	struct vc_stream_capture *_Atomic capture; // NULL: work goes to the GPU (capture.c)
	struct { // other streams that it waited for, and how much of them (pool.c; the pools' lock)
		uint64_t stream, position;
	} behind[VC_STREAM_BEHIND];
	uint32_t next_behind;
};

struct vc_event {
	struct vgpu_object object;
	struct vc_context *ctx;
	uint32_t flags;
	_Atomic uint64_t recorded; // records so far
	_Atomic uint64_t watched;  // the record that the last watch stands for
	_Atomic uint64_t asked;	   // as of a stream
	// where the last record stands: the stream, its handle then, and its number there
	struct vc_stream *_Atomic stream;
	_Atomic uint64_t stream_handle, position;
	pthread_mutex_t lock;
	struct vc_fence fence;
	struct vc_event_capture *captured; // recorded in a capture last (capture.c)
};

struct vc_function;
struct vc_kernel;
struct vc_old_launch;

struct vc_module {
	struct vgpu_object object;
	struct vc_context *ctx; // NULL: belongs to a library
	pthread_mutex_t lock;	// functions
	struct vc_function *functions;
};

struct vc_function {
	struct vgpu_object object;
	struct vc_module *module;
	struct vc_function *next; // of the same module
	char *name;
	struct vgpu_param *params;
	uint32_t n_params;
	uint32_t param_bytes;
	uint32_t attribute_valid; // bit i: attribute i has an answer
	int32_t refusal;	  // CUresult of every launch: the device has no code for it. 0: it runs
	_Atomic int32_t attributes[CU_FUNC_ATTRIBUTE_COUNT];
	_Atomic uint64_t occupancy;	  // last question and answer, packed; 0: none
	struct vc_old_launch *old_launch; // oldlaunch.c; NULL: those calls were not used
};

struct vc_library {
	struct vgpu_object object;
	struct vc_module *module;
	pthread_mutex_t lock; // kernels
	struct vc_kernel *kernels;
};

struct vc_kernel {
	struct vgpu_object object;
	struct vc_library *library;
	struct vc_function *function;
	struct vc_kernel *next; // of the same library
};

// An array, also a level of a mipmapped one or a plane of another: those end with their whole (array.c).
struct vc_array {
	struct vgpu_object object;
	struct vc_context *ctx;
	CUDA_ARRAY3D_DESCRIPTOR desc;
	int is_part;
	unsigned int index;	// of a part
	struct vc_array *parts; // its planes
	struct vc_array *next;	// part of the same whole
};

struct vc_mipmap {
	struct vgpu_object object;
	struct vc_context *ctx;
	unsigned int levels;
	struct vc_array *parts;
};

struct vc_texture {
	struct vc_valued known;
	CUDA_RESOURCE_DESC resource;
	CUDA_TEXTURE_DESC desc;
	int has_view;
	CUDA_RESOURCE_VIEW_DESC view;
};

struct vc_surface {
	struct vc_valued known;
	CUDA_RESOURCE_DESC resource;
};

// Device memory without an address (vmem.c). Lives until the program has given all its references back and
// nothing of it is mapped.
struct vc_physical {
	struct vgpu_object object;
	uint64_t bytes;
	uint32_t references, mappings;
	CUmemAllocationProp prop; // as asked for; opened memory has no handle types and is not exported again
};

#define VC_LINK_OPTIONS 64 // twice as many as there are

struct vc_link_input {
	CUjitInputType type;
	char *data; // bytes and a 0 behind them
	size_t bytes;
};

struct vc_link {
	struct vgpu_object object;
	struct vc_link_input *inputs;
	unsigned int n_inputs;
	size_t input_bytes; // of all of them
	void *image;	    // once complete; NULL before
	size_t image_bytes;
	unsigned int count; // JIT options, copied
	CUjit_option options[VC_LINK_OPTIONS];
	void *values[VC_LINK_OPTIONS];
	void **ret_values; // the program's, for the logs' lengths; it keeps them until cuLinkDestroy
};

#endif
