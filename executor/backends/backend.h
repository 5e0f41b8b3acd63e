// SPDX-License-Identifier: Apache-2.0
// What a backend is: the part of an executor that owns a device. A backend is a module (shared object
// vgpu-backend-NAME.so) with one symbol, vgpu_backend, loaded by name, so that a host with a GPU never loads
// LLVM and a host without one never looks for CUDA. All functions are called from the executor's one loop
// thread; none may wait for GPU work unless it says so. Results are CUresult values (0 success) as the CUDA
// driver would give them; the executor passes them on.
//
// Life: open -> device_info* -> prepare? -> attach -> activate -> everything else -> close. Until attach the
// process belongs to no tenant. The executor validates what can be validated without the device (handles,
// address windows, limits, lengths) before it calls. Libraries and threads that a sandbox would refuse later
// are there when open has returned; the cuda driver opens device files until activate has returned.
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
#include "protocol/cuda/array_shape.h"
#include "protocol/guest/calls.h"
#include "protocol/guest/words.h"

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
struct backend_conditions; // of the conditional nodes of one graph
struct backend_physical;   // device memory without an address
struct backend_array;	   // also a mipmapped one, or a level or plane of another

enum backend_capability {
	BACKEND_CAP_ADDRESSES =
	    1u << 0, // mem_map gives real memory; without it addresses are numbers only (null)
	BACKEND_CAP_RESULTS =
	    1u << 1, // work is executed; without it copies and kernels change nothing (null)
	BACKEND_CAP_GRAPHS =
	    1u << 2, // the graph_* functions are there; else the executor replays the records
	BACKEND_CAP_WAITS =
	    1u << 3, // any call may come back only when what was submitted before it has run (passer.h)
};

// What the executor gives the backend at open; pointers stay valid until close.
struct backend_env {
	unsigned device; // ordinal on the host
	// Base and size of the reserved (PROT_NONE) device window. From open on it is the backend's: it maps
	// in it and may give the reservation up for one of the driver's (cuda); the executor maps nothing
	// there.
	uint64_t device_window;
	uint64_t device_window_bytes;
	// Text that kernels print; called from any thread.
	void (*print)(void *opaque, const char *text, size_t length);
	// What the device's library wrote to stderr, whole lines; called from any thread, and before the
	// sticky error that they are about is seen. What is said of failed assertions goes to the guest.
	void (*complain)(void *opaque, const char *text, size_t length);
	// One log line for the operator.
	void (*log)(void *opaque, const char *text);
	void *opaque;
};

// What there is of a tenant's when the process gets one.
struct backend_tenant {
	void *host_window; // the channel's shared host memory, mapped at its address
	size_t host_window_bytes;
	// A file that all executors of the tenant have. While one lives, it holds a lock (fcntl) on the byte
	// at its pid, which tells those who wait for something of it. -1: there are no others.
	int peers;
};

struct backend_copy {
	uint64_t dst, src;				     // addresses, valid and inside their window
	uint64_t width, height, depth;			     // bytes, rows, slices; none is 0
	uint64_t dst_pitch, src_pitch, dst_slice, src_slice; // bytes between rows and slices
	bool dst_device, src_device;
	// A side that is an array (then also called device) begins at byte [0] of row [1] of slice [2]; its
	// address, pitch and slice mean nothing. The box lies inside.
	struct backend_array *dst_array, *src_array;
	uint64_t dst_at[3], src_at[3];
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
	int32_t refusal;	  // CUresult of every launch: this device has no code for it. 0: it runs
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

// How one backend names its memory or event to another of its kind in an executor of the same tenant. The
// executors pass it on unread; the importer takes nothing in it for granted.
struct backend_share {
	int fd; // -1: none
	uint8_t data[64];
};

// JIT options of module_load; a zero field means not given.
struct backend_jit {
	uint32_t max_registers, threads_per_block, optimization, options;
	char *info_log, *error_log; // filled, NUL-terminated
	uint32_t info_bytes, error_bytes;
};

// One input of the linker; behind it lies a 0 byte.
struct backend_input {
	uint32_t type; // CUjitInputType
	const void *data;
	size_t bytes;
};

// A node that another stands behind, by its number, and how (protocol/guest/graph.h: 0 everywhere is in
// full).
struct backend_edge {
	uint32_t node;
	uint8_t from_port, to_port, type;
};

// A node that runs bodies of its own as a condition says.
struct backend_branch {
	struct backend_conditions *conditions; // those that graph_begin was told
	uint32_t condition, type, n_bodies;    // type: CUgraphConditionalNodeType
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

	// Makes what the first activate would make and no tenant is needed for (the context), so that it is
	// there when one comes. An error: as if it had not been called. May be NULL.
	int (*prepare)(struct backend *);
	// Once, before activate; the tenant's memory is mapped, and stays until close.
	void (*attach)(struct backend *, const struct backend_tenant *);
	int (*activate)(struct backend *, uint32_t flags, struct reply_context_activate *ret);
	// Waits for all work, then gives the context back; objects must be gone already. activate may follow.
	int (*deactivate)(struct backend *);
	int (*limit_set)(struct backend *, uint32_t limit, uint64_t value, uint64_t *ret);

	int (*mem_map)(struct backend *, uint64_t address,
		       uint64_t size); // inside the device window, granular
	int (*mem_unmap)(struct backend *, uint64_t address, uint64_t size); // exactly as mapped
	// Names a mapping, exactly as it was mapped, for other executors of the tenant, as often as it is
	// asked (docs/decisions/0012); ret->fd is the caller's. The memory lives as long as somebody has it
	// mapped. CUDA_ERROR_NOT_READY: not while work runs. CUDA_ERROR_NOT_SUPPORTED.
	int (*mem_export)(struct backend *, uint64_t address, uint64_t size, struct backend_share *ret);

	// Memory and addresses apart; not where mem_granularity is 0. All sizes, addresses and offsets are
	// granular. physical_create makes zeroed memory; handle_types is CUmemAllocationHandleType's mask of
	// what it may be exported as. physical_free comes when nothing of it is mapped.
	int (*physical_create)(struct backend *, uint64_t size, uint32_t handle_types,
			       struct backend_physical **ret);
	int (*physical_free)(struct backend *, struct backend_physical *);
	// Shows size bytes from offset on at an address of the window where nothing is, without any access.
	// CUDA_ERROR_INVALID_VALUE also for what the driver cannot do (it documents
	// an offset of 0 only).
	int (*physical_map)(struct backend *, uint64_t address, uint64_t size, struct backend_physical *,
			    uint64_t offset);
	int (*physical_unmap)(struct backend *, uint64_t address, uint64_t size); // exactly as mapped
	// The range is filled by whole mappings. Kernels that do what they may not fault
	// (CUDA_ERROR_ILLEGAL_ADDRESS).
	int (*physical_access)(struct backend *, uint64_t address, uint64_t size, enum vm_access);

	// Parking (docs/decisions/0021), where nothing runs and nothing is shared with other executors: moves
	// the memory of a mapping, exactly as it was mapped, into store and frees it; and back, at the same
	// address. store is size bytes of this process's memory, whole pages that are touched by nobody else
	// in between. NULL: what is there is not kept (store has it from before). They wait for their own
	// copies. An error: as before. What is parked is not unmapped, it goes with the context. NULL: not
	// here.
	int (*mem_park)(struct backend *, uint64_t address, uint64_t size, void *store);
	int (*mem_unpark)(struct backend *, uint64_t address, uint64_t size, void *store);
	// The same for memory without an address that is mapped nowhere at the moment.
	int (*physical_park)(struct backend *, struct backend_physical *, uint64_t size, void *store);
	int (*physical_unpark)(struct backend *, struct backend_physical *, uint64_t size, void *store);

	// As mem_export; handle_types must have allowed it. And the memory that another executor named, of
	// this size.
	int (*physical_export)(struct backend *, struct backend_physical *, struct backend_share *ret);
	int (*physical_import)(struct backend *, const struct backend_share *, uint64_t size,
			       struct backend_physical **ret);

	int (*host_register)(struct backend *, uint64_t address,
			     uint64_t size); // mapped memory of this process
	int (*host_unregister)(struct backend *, uint64_t address);

	int (*stream_create)(struct backend *, uint32_t flags, int32_t priority, struct backend_stream **ret);
	void (*stream_destroy)(struct backend *, struct backend_stream *); // its work still completes
	// An attribute that streams have, its value as cuStreamSetAttribute takes it. Hints may be ignored.
	int (*stream_set)(struct backend *, struct backend_stream *, uint32_t attribute,
			  const uint64_t value[8]);
	int (*stream_wait_event)(struct backend *, struct backend_stream *, struct backend_event *,
				 uint32_t flags);
	int (*stream_query)(struct backend *,
			    struct backend_stream *); // 0 all given so far is done, 600 not ready
	// flags as cuEventCreate. An event with CU_EVENT_INTERPROCESS, and an imported one, may be recorded
	// by other executors too; stream_wait_event is asked to wait for it in graphs only.
	int (*event_create)(struct backend *, uint32_t flags, struct backend_event **ret);
	void (*event_destroy)(struct backend *, struct backend_event *);
	int (*event_record)(struct backend *, struct backend_event *, struct backend_stream *,
			    uint32_t flags);
	int (*event_query)(struct backend *,
			   struct backend_event *); // 0 done (or never recorded), 600 not ready
	int (*event_export)(struct backend *, struct backend_event *, struct backend_share *ret);
	int (*event_import)(struct backend *, const struct backend_share *, struct backend_event **ret);
	// A new event of this executor that is complete when the last record of the shared one is, whoever
	// made it, and stays so; for event_query and event_destroy only.
	int (*event_follow)(struct backend *, struct backend_event *, struct backend_event **ret);
	int (*event_elapsed)(struct backend *, struct backend_event *start, struct backend_event *end,
			     float *ret_ms);

	// Stream-ordered store of value to *where (release) / wait until *where >= value. where is 8-byte
	// aligned memory of this process that was registered by host_register or is inside the fence page
	// (which the executor registers at activate).
	int (*stream_write)(struct backend *, struct backend_stream *, _Atomic uint64_t *where,
			    uint64_t value);
	int (*stream_wait)(struct backend *, struct backend_stream *, _Atomic uint64_t *where,
			   uint64_t value);

	// Memory operations of the tenant, n of them (1 to 256) in this order, checked but for what the
	// device itself cannot do: CUDA_ERROR_NOT_SUPPORTED then. A wait may never end; only its own stream
	// and what waits for that may stop for it. No waits while a graph is collected.
	int (*words)(struct backend *, const struct word_op *, uint32_t n, struct backend_stream *);

	int (*copy)(struct backend *, const struct backend_copy *, struct backend_stream *);
	// data is not kept: the backend has taken it when this returns.
	int (*write)(struct backend *, uint64_t dst, bool dst_device, const void *data, uint32_t size,
		     struct backend_stream *);
	int (*set)(struct backend *, const struct backend_set *, struct backend_stream *);

	// Bytes that an array of a valid shape takes of the device's memory, for the quota: never fewer than
	// it will. CUDA_ERROR_INVALID_VALUE: this device has no such array.
	int (*array_size)(struct backend *, const struct array_shape *, uint64_t *ret);
	int (*array_create)(struct backend *, const struct array_shape *, struct backend_array **ret);
	// No work uses it any more. Textures and surfaces of it may still be there: what they read is
	// undefined, but it is this executor's.
	void (*array_destroy)(struct backend *, struct backend_array *);
	// A level of a mipmapped array or a plane of another, the whole array's own; asked once for each.
	int (*array_part)(struct backend *, struct backend_array *, uint32_t index,
			  struct backend_array **ret, struct array_shape *ret_shape);
	// array: the source if it is one, mipmapped or not; memory was checked. The value is the kernels'.
	int (*texture_create)(struct backend *, const struct record_texture_create *, struct backend_array *,
			      uint64_t *ret_object);
	void (*texture_destroy)(struct backend *, uint64_t object); // work in flight may still use it
	int (*surface_create)(struct backend *, struct backend_array *, uint64_t *ret_object);
	void (*surface_destroy)(struct backend *, uint64_t object);
	int (*texture_linear_max)(struct backend *, uint32_t format, uint32_t channels,
				  uint64_t *ret_elements);

	// image is image_bytes long with a 0 byte behind it, and is not kept.
	int (*module_load)(struct backend *, const void *image, size_t image_bytes, struct backend_jit *,
			   struct backend_module **ret);
	// Links n inputs, at least one, and loads the result. They are not kept. CUDA_ERROR_NOT_SUPPORTED.
	int (*module_link)(struct backend *, const struct backend_input *inputs, uint32_t n,
			   struct backend_jit *, struct backend_module **ret);
	// Device memory that the module takes now, as it is charged to the tenant; may grow by global_get.
	// NULL: not known, the variables that are asked for are charged instead.
	uint64_t (*module_memory)(struct backend *, struct backend_module *);
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
	// Waits until all work is done or has failed. The only waiting call besides deactivate and close, but
	// for BACKEND_CAP_WAITS.
	int (*synchronize)(struct backend *);

	// Executable graphs (BACKEND_CAP_GRAPHS). graph_begin starts to collect the n_nodes nodes of one
	// graph; work given to *ret until graph_end becomes its nodes instead of running. Before a node's
	// work graph_place says which nodes, by their numbers, it stands behind; graph_placed ends the node
	// (one without work is an empty one). graph_end makes *graph (NULL: new) be what was collected; with
	// graph NULL what was collected is dropped. CUDA_ERROR_NOT_SUPPORTED when something collected cannot
	// be a node. flags as cuGraphInstantiate takes them. conditions are those of the graph's conditional
	// nodes, which stay as long as the graph, and have one graph at a time; NULL: it has no such nodes,
	// and a backend may refuse it as not supported: the executor replays it then.
	int (*graph_begin)(struct backend *, struct backend_conditions *conditions, uint32_t n_nodes,
			   struct backend_stream **ret);
	int (*graph_place)(struct backend *, const struct backend_edge *behind, uint32_t n);
	int (*graph_placed)(struct backend *);
	int (*graph_end)(struct backend *, struct backend_graph **graph, uint32_t flags);
	// A conditional node (where conditions_create is there): branch_enter in place of the node's work;
	// then branch_body and the body's nodes, whose work is given to *ret, for each body; then
	// branch_leave in place of graph_placed. Inside are nodes without work, launches, copies, sets and
	// such nodes.
	int (*branch_enter)(struct backend *, const struct backend_branch *);
	int (*branch_body)(struct backend *, struct backend_stream **ret);
	int (*branch_leave)(struct backend *);
	// Switches a node of what was collected off or on, for launches from now on. An error: it cannot be
	// done so, and nothing has changed. May be NULL.
	int (*graph_enable)(struct backend *, struct backend_graph *, uint32_t node, bool enabled);
	int (*graph_launch)(struct backend *, struct backend_graph *, struct backend_stream *);
	int (*graph_upload)(struct backend *, struct backend_graph *, struct backend_stream *);
	void (*graph_free)(struct backend *, struct backend_graph *); // a launch in flight completes

	// Conditions of graphs; may be NULL. condition_add makes the next one, numbered from 0: *ret is what
	// kernels name it by in cudaGraphSetConditional, which works for conditions of this backend alone. It
	// becomes initial at the beginning of each launch of its graph if assign is set. conditions_free
	// comes when no graph has them.
	int (*conditions_create)(struct backend *, struct backend_conditions **ret);
	int (*condition_add)(struct backend *, struct backend_conditions *, uint32_t initial, bool assign,
			     uint64_t *ret);
	void (*conditions_free)(struct backend *, struct backend_conditions *);

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
