// SPDX-License-Identifier: Apache-2.0
// What a backend is: the part of an executor that owns a device. A backend is a module (shared object
// vgpu-backend-NAME.so) with one symbol, vgpu_backend, loaded by name, so that a host with a GPU never loads
// LLVM and a host without one never looks for CUDA. All functions are called from the executor's one loop
// thread; none may wait for GPU work unless it says so. Results are CUresult values (0 success) as the CUDA
// driver would give them; the executor passes them on.
//
// Life: open -> device_info* -> activate -> everything else -> close. The executor validates what can be
// validated without the device (handles, address windows, limits, lengths) before it calls. Libraries and
// threads that a sandbox would refuse later are there when open has returned; the cuda driver opens device
// files until activate has returned.
//
// What a driver makes wait all the same (H100, driver 580): a stream holds about 1000 unfinished operations
// and 4 MiB of write data, then the next one waits for the GPU, so the executor keeps fewer in flight;
// host_unregister, module_load, module_unload and limit_set of the stack size wait until the device is idle.
#ifndef VGPU_EXECUTOR_BACKENDS_BACKEND_H
#define VGPU_EXECUTOR_BACKENDS_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/limits.h"
#include "protocol/guest/calls.h"

#define BACKEND_VERSION 1u

// The last bytes of the device window belong to the backend (the cpu backend puts modules' variables there);
// the executor never asks mem_map for them. The cuda backend's module variables lie wherever the driver put
// them, outside every window: what global_get returned is device memory too as long as its module lives.
#define BACKEND_PRIVATE_WINDOW_BYTES VGPU_GIB(16)

struct backend;	       // the open device and its one context
struct backend_stream; // NULL stands for the legacy default stream
struct backend_event;
struct backend_module;
struct backend_function;
struct backend_graph;

enum backend_capability {
	BACKEND_CAP_ADDRESSES =
	    1u << 0, // mem_map gives real memory; without it addresses are numbers only (null)
	BACKEND_CAP_RESULTS =
	    1u << 1, // work is executed; without it copies and kernels change nothing (null)
	BACKEND_CAP_GRAPHS =
	    1u << 2, // the graph_* functions are there; else the executor replays the records
};

// What the executor gives the backend at open; pointers stay valid until close.
struct backend_env {
	unsigned device;   // ordinal on the host
	void *host_window; // the channel's shared host memory, mapped at its address
	size_t host_window_bytes;
	// Base and size of the reserved (PROT_NONE) device window. From open on it is the backend's: it maps
	// in it and may give the reservation up for one of the driver's (cuda); the executor maps nothing
	// there.
	uint64_t device_window;
	uint64_t device_window_bytes;
	// Text that kernels print; called from any thread.
	void (*print)(void *opaque, const char *text, size_t length);
	// One log line for the operator.
	void (*log)(void *opaque, const char *text);
	void *opaque;
};

struct backend_copy {
	uint64_t dst, src;				     // addresses, valid and inside their window
	uint64_t width, height, depth;			     // bytes, rows, slices; none is 0
	uint64_t dst_pitch, src_pitch, dst_slice, src_slice; // bytes between rows and slices
	bool dst_device, src_device;
};

struct backend_set {
	uint64_t dst, width, height, pitch; // width in elements
	uint32_t value, element;
	bool dst_device;
};

struct backend_function_info {
	uint32_t n_params, param_bytes;
	const uint32_t (*params)[2]; // {offset, size}, owned by the function
	int32_t attributes[16];
	uint32_t attribute_valid; // bit per attribute
};

struct backend_launch {
	uint32_t grid[3], block[3], dynamic_shared;
	bool cooperative;
	const void *params; // param_bytes in the function's layout; not kept
	uint32_t param_bytes;
	const void
	    *attributes; // n_attributes times 72 bytes, checked by the executor (ids, no handles inside)
	uint32_t n_attributes;
};

// JIT options of module_load; a zero field means not given.
struct backend_jit {
	uint32_t max_registers, threads_per_block, optimization, options;
	char *info_log, *error_log; // filled, NUL-terminated
	uint32_t info_bytes, error_bytes;
};

struct backend_ops {
	uint32_t size;	  // sizeof(struct backend_ops) that the backend was built with
	uint32_t version; // BACKEND_VERSION
	const char *name;
	uint32_t capabilities;

	// Opens the device. On failure returns a CUresult and puts why into error (error_bytes),
	// NUL-terminated.
	int (*open)(const struct backend_env *env, struct backend **ret, char *error, size_t error_bytes);
	void (*close)(struct backend *);

	int (*device_info)(struct backend *, struct reply_device_info *ret);
	// Bytes: mem_map wants multiples of it; a power of two. 0: the device below has no virtual memory
	// calls, use mem_alloc and mem_free instead of mem_map and mem_unmap; addresses are then the lower
	// driver's own. Asked after open.
	uint64_t (*mem_granularity)(struct backend *);
	int (*mem_available)(struct backend *, uint64_t *ret_free, uint64_t *ret_total);

	int (*activate)(struct backend *, uint32_t flags, struct reply_context_activate *ret);
	// Waits for all work, then gives the context back; objects must be gone already. activate may follow.
	int (*deactivate)(struct backend *);
	int (*limit_set)(struct backend *, uint32_t limit, uint64_t value, uint64_t *ret);

	int (*mem_map)(struct backend *, uint64_t address,
		       uint64_t size); // inside the device window, granular
	int (*mem_unmap)(struct backend *, uint64_t address, uint64_t size); // exactly as mapped
	int (*host_register)(struct backend *, uint64_t address,
			     uint64_t size); // mapped memory of this process
	int (*host_unregister)(struct backend *, uint64_t address);

	int (*stream_create)(struct backend *, uint32_t flags, int32_t priority, struct backend_stream **ret);
	void (*stream_destroy)(struct backend *, struct backend_stream *); // its work still completes
	int (*stream_wait_event)(struct backend *, struct backend_stream *, struct backend_event *,
				 uint32_t flags);
	int (*event_create)(struct backend *, uint32_t flags, struct backend_event **ret);
	void (*event_destroy)(struct backend *, struct backend_event *);
	int (*event_record)(struct backend *, struct backend_event *, struct backend_stream *,
			    uint32_t flags);
	int (*event_query)(struct backend *,
			   struct backend_event *); // 0 done (or never recorded), 600 not ready
	int (*event_elapsed)(struct backend *, struct backend_event *start, struct backend_event *end,
			     float *ret_ms);

	// Stream-ordered store of value to *where (release) / wait until *where >= value. where is 8-byte
	// aligned memory of this process that was registered by host_register or is inside the fence page
	// (which the executor registers at activate).
	int (*stream_write)(struct backend *, struct backend_stream *, _Atomic uint64_t *where,
			    uint64_t value);
	int (*stream_wait)(struct backend *, struct backend_stream *, _Atomic uint64_t *where,
			   uint64_t value);

	int (*copy)(struct backend *, const struct backend_copy *, struct backend_stream *);
	// data is not kept: the backend has taken it when this returns.
	int (*write)(struct backend *, uint64_t dst, bool dst_device, const void *data, uint32_t size,
		     struct backend_stream *);
	int (*set)(struct backend *, const struct backend_set *, struct backend_stream *);

	// image is image_bytes long with a 0 byte behind it, and is not kept.
	int (*module_load)(struct backend *, const void *image, size_t image_bytes, struct backend_jit *,
			   struct backend_module **ret);
	void (*module_unload)(struct backend *, struct backend_module *); // no work of it is in flight
	int (*function_get)(struct backend *, struct backend_module *, const char *name,
			    struct backend_function **ret, struct backend_function_info *ret_info);
	// The names of the module's kernels, ret_count of them in a fixed order; the module's, until it is
	// unloaded. A backend that does not read images names none. CUDA_ERROR_NOT_SUPPORTED.
	int (*module_names)(struct backend *, struct backend_module *, const char *const **ret_names,
			    uint32_t *ret_count);
	int (*function_set)(struct backend *, struct backend_function *, uint32_t attribute, int32_t value);
	int (*global_get)(struct backend *, struct backend_module *, const char *name, uint64_t *ret_address,
			  uint64_t *ret_size);
	int (*occupancy)(struct backend *, struct backend_function *, uint32_t block_threads,
			 uint64_t dynamic_shared, uint32_t flags, int32_t *ret_blocks);
	int (*launch)(struct backend *, struct backend_function *, const struct backend_launch *,
		      struct backend_stream *);
	// How many clusters of such a launch run at a time (CLUSTER_QUESTION_ACTIVE), or how many blocks a
	// cluster of it may have at most (POTENTIAL). Its parameters are not looked at.
	// CUDA_ERROR_NOT_SUPPORTED.
	int (*occupancy_clusters)(struct backend *, struct backend_function *, const struct backend_launch *,
				  enum cluster_question, int32_t *ret);
	// Encodes a tensor map, pure arithmetic. rank and address are checked, the rest is as the guest said.
	// CUDA_ERROR_NOT_SUPPORTED.
	int (*tensor_map)(struct backend *, const struct record_tensor_map *, struct reply_tensor_map *ret);

	// Sticky error of the context, 0 if none; cheap. Called often.
	int (*error)(struct backend *);
	// Waits until all work is done or has failed. The only waiting call besides deactivate and close.
	int (*synchronize)(struct backend *);

	// Executable graphs (BACKEND_CAP_GRAPHS). graph_begin starts to collect the n_nodes nodes of one
	// graph; work given to *ret until graph_end becomes its nodes instead of running. Before a node's
	// work graph_place says which nodes, by their numbers, it stands behind; graph_placed ends the node
	// (one without work is an empty one). graph_end makes *graph (NULL: new) be what was collected; with
	// graph NULL what was collected is dropped. CUDA_ERROR_NOT_SUPPORTED when something collected cannot
	// be a node.
	int (*graph_begin)(struct backend *, uint32_t n_nodes, struct backend_stream **ret);
	int (*graph_place)(struct backend *, const uint32_t *behind, uint32_t n);
	int (*graph_placed)(struct backend *);
	int (*graph_end)(struct backend *, struct backend_graph **graph);
	int (*graph_launch)(struct backend *, struct backend_graph *, struct backend_stream *);
	int (*graph_upload)(struct backend *, struct backend_graph *, struct backend_stream *);
	void (*graph_free)(struct backend *, struct backend_graph *); // a launch in flight completes

	// Only where mem_granularity is 0 (may be NULL otherwise); aligned to 256 bytes at least.
	int (*mem_alloc)(struct backend *, uint64_t size, uint64_t *ret_address);
	int (*mem_free)(struct backend *, uint64_t address);

	// Hands the text of kernels that are done to env.print. May be NULL: the backend prints when kernels
	// do.
	void (*print_flush)(struct backend *);
};

// The module exports: const struct backend_ops *vgpu_backend(void);
typedef const struct backend_ops *(*backend_entry)(void);
#define BACKEND_ENTRY_SYMBOL "vgpu_backend"

#endif
