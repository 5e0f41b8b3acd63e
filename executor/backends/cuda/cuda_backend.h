// SPDX-License-Identifier: Apache-2.0
// Internal to the cuda backend: the open device, its context and what hangs on it. Executor process, one
// thread (the executor's loop); only host functions (cuda_host.c) run on a thread of the driver.
#ifndef VGPU_EXECUTOR_BACKENDS_CUDA_BACKEND_H
#define VGPU_EXECUTOR_BACKENDS_CUDA_BACKEND_H

#include <stdatomic.h>
#include <sys/queue.h>

#include <uthash.h>

#include "executor/backends/backend.h"
#include "executor/backends/cuda/cuda_driver.h"

// One mem_map: the physical memory behind a piece of the window.
struct cuda_mapping {
	uint64_t address, size;
	CUmemGenericAllocationHandle handle;
	bool parked; // there is no memory, the address waits for it
	UT_hash_handle hh;
};

struct backend_physical {
	CUmemGenericAllocationHandle handle;
	uint32_t handle_types;
	bool parked;
};

struct backend_stream {
	CUstream cu;
	LIST_ENTRY(backend_stream) link;
};

struct backend_function {
	CUfunction cu;
	uint32_t (*params)[2];
	uint32_t n_params, param_bytes;
	SLIST_ENTRY(backend_function) link;
};

struct backend_module {
	CUmodule cu;
	SLIST_HEAD(, backend_function) functions; // all that function_get made
	const char **names;			  // n_names of them, the driver's; NULL: not asked for yet
	uint32_t n_names;
};

// The driver's handles belong to the driver's graph in which their nodes are, and kernels are given them
// before there is a node: so the graph is there from the beginning, and filled when it is instantiated.
struct backend_conditions {
	CUgraph graph;
	CUgraphConditionalHandle *handles;
	uint32_t n, room;
};

struct backend_graph {
	CUgraphExec exec;
	// What exec was instantiated from, by which its nodes are known; owned.
	CUgraph graph; // NULL: that of its conditions
	CUgraphNode *nodes;
	bool toggled; // a node was switched off or on since
};

// The graph that is being collected (cuda_graph.c).
struct cuda_capture {
	struct backend_stream *stream; // that collects now: of the graph, or of a body
	// What the bodies inside of one another are collected in, kept from one graph to the next.
	struct backend_stream *streams[VGPU_MAX_GRAPH_DEPTH + 1];
	struct cuda_branch {
		CUgraph *bodies; // the driver's, as long as the node
		uint32_t at;	 // the next one to be collected
	} branches[VGPU_MAX_GRAPH_DEPTH + 1];
	uint32_t depth;			       // of bodies; streams[0 to depth] collect
	struct backend_conditions *conditions; // of the graph; NULL: it has no conditional nodes
	CUgraphNode *nodes, *behind;
	CUgraphEdgeData *edges; // of behind
	size_t n_nodes, n_behind;
	bool plain; // all edges of the node at hand are full dependencies
	bool active;
};

struct cuda_stage; // cuda_stage.c
struct event_word; // executor/backends/event_word.h

struct backend_array {
	CUarray cu;
	CUmipmappedArray mipmap; // instead of cu
	SLIST_ENTRY(backend_array) next;
	SLIST_HEAD(, backend_array) parts; // the driver's own, with the whole
};

// What the driver said last that an array takes (cuda_array.c); 0 bytes: nothing yet.
struct cuda_array_size {
	struct array_shape shape;
	uint64_t bytes;
};

struct backend {
	struct cuda_driver cu;
	struct backend_env env;
	struct backend_tenant tenant;
	CUdevice device;
	CUcontext context;			       // NULL until activate
	int32_t attributes[CU_DEVICE_ATTRIBUTE_COUNT]; // as the driver gives them
	size_t granularity;			       // of the VMM calls; 0: not offered by this driver
	bool warm;				       // the JIT compiler has run
	bool host_mapped; // registered host memory has the same address on the device
	bool memory_ops;  // 64-bit stream writes and waits
	int sticky;	  // first error that the context cannot recover from
	unsigned since_probe;
	const char *printed;	// what was written to stdout since it was taken last
	const char *complained; // and to stderr
	CUstream print_stream;	// always idle; NULL until it is needed
	atomic_bool closing;	// ends host functions that wait
	struct cuda_capture capture;
	struct cuda_array_size array_size;
	struct cuda_mapping *mappings;
	LIST_HEAD(, backend_stream) streams;
	SLIST_HEAD(, cuda_stage) stages;
};

static inline CUstream cuda_stream(const struct backend_stream *s)
{
	return s ? s->cu : CU_STREAM_LEGACY;
}

// Every result of the driver goes through here: remembers the first sticky one. Returns it unchanged.
int cuda_result(struct backend *b, CUresult result);

// cuda_print.c
int cuda_print_open(struct backend *b); // at open, before the driver is there: takes the process's stdout
void cuda_print_flush(struct backend *b);
void cuda_complaints_take(struct backend *b); // what the driver wrote to stderr

// cuda_device.c
int cuda_device_read(struct backend *b, char *error, size_t error_bytes); // at open: fills attributes
int cuda_device_info(struct backend *b, struct reply_device_info *ret);

// cuda_memory.c
void cuda_window_prepare(struct backend *b); // at open, before the driver is there
int cuda_window_reserve(struct backend *b);  // at activate
int cuda_host_check(struct backend *b);	     // at activate: sets host_mapped
uint64_t cuda_mem_granularity(struct backend *b);
bool cuda_can_share(const struct backend *b);
CUmemAllocationProp cuda_memory_kind(const struct backend *b); // what cuMemCreate makes here
int cuda_mem_available(struct backend *b, uint64_t *ret_free, uint64_t *ret_total);
int cuda_mem_map(struct backend *b, uint64_t address, uint64_t size);
int cuda_mem_unmap(struct backend *b, uint64_t address, uint64_t size);
int cuda_mem_export(struct backend *b, uint64_t address, uint64_t size, struct backend_share *ret);
int cuda_mem_alloc(struct backend *b, uint64_t size, uint64_t *ret_address);
int cuda_mem_free(struct backend *b, uint64_t address);
int cuda_host_register(struct backend *b, uint64_t address, uint64_t size);
int cuda_host_unregister(struct backend *b, uint64_t address);

// cuda_physical.c
int cuda_physical_create(struct backend *b, uint64_t size, uint32_t handle_types,
			 struct backend_physical **ret);
int cuda_physical_free(struct backend *b, struct backend_physical *p);
int cuda_physical_map(struct backend *b, uint64_t address, uint64_t size, struct backend_physical *p,
		      uint64_t offset);
int cuda_physical_unmap(struct backend *b, uint64_t address, uint64_t size);
int cuda_physical_access(struct backend *b, uint64_t address, uint64_t size, enum vm_access access);
int cuda_physical_export(struct backend *b, struct backend_physical *p, struct backend_share *ret);
int cuda_physical_import(struct backend *b, const struct backend_share *share, uint64_t size,
			 struct backend_physical **ret);
int cuda_handle_export(struct backend *b, CUmemGenericAllocationHandle handle, struct backend_share *ret);

// cuda_park.c
int cuda_mem_park(struct backend *b, uint64_t address, uint64_t size, void *store);
int cuda_mem_unpark(struct backend *b, uint64_t address, uint64_t size, void *store);
int cuda_physical_park(struct backend *b, struct backend_physical *p, uint64_t size, void *store);
int cuda_physical_unpark(struct backend *b, struct backend_physical *p, uint64_t size, void *store);

// cuda_stream.c
int cuda_stream_create(struct backend *b, uint32_t flags, int32_t priority, struct backend_stream **ret);
void cuda_stream_destroy(struct backend *b, struct backend_stream *s);
int cuda_stream_set(struct backend *b, struct backend_stream *s, uint32_t attribute, const uint64_t value[8]);
int cuda_stream_query(struct backend *b, struct backend_stream *s);
int cuda_stream_write(struct backend *b, struct backend_stream *s, _Atomic uint64_t *where, uint64_t value);
int cuda_stream_wait(struct backend *b, struct backend_stream *s, _Atomic uint64_t *where, uint64_t value);
int cuda_words(struct backend *b, const struct word_op *ops, uint32_t n, struct backend_stream *s);

// cuda_event.c
int cuda_event_create(struct backend *b, uint32_t flags, struct backend_event **ret);
void cuda_event_destroy(struct backend *b, struct backend_event *e);
int cuda_event_record(struct backend *b, struct backend_event *e, struct backend_stream *s, uint32_t flags);
int cuda_event_query(struct backend *b, struct backend_event *e);
int cuda_event_export(struct backend *b, struct backend_event *e, struct backend_share *ret);
int cuda_event_import(struct backend *b, const struct backend_share *share, struct backend_event **ret);
int cuda_event_follow(struct backend *b, struct backend_event *e, struct backend_event **ret);
int cuda_event_elapsed(struct backend *b, struct backend_event *start, struct backend_event *end,
		       float *ret_ms);
int cuda_stream_wait_event(struct backend *b, struct backend_stream *s, struct backend_event *e,
			   uint32_t flags);

// cuda_copy.c
int cuda_copy(struct backend *b, const struct backend_copy *c, struct backend_stream *s);
int cuda_copy_direct(struct backend *b, const struct backend_copy *c,
		     CUstream s); // one side at least is the device
int cuda_write(struct backend *b, uint64_t dst, bool dst_device, const void *data, uint32_t size,
	       struct backend_stream *s);
int cuda_set(struct backend *b, const struct backend_set *set, struct backend_stream *s);

// cuda_array.c
int cuda_array_size(struct backend *b, const struct array_shape *s, uint64_t *ret);
int cuda_array_create(struct backend *b, const struct array_shape *s, struct backend_array **ret);
void cuda_array_destroy(struct backend *b, struct backend_array *a);
int cuda_array_part(struct backend *b, struct backend_array *a, uint32_t index, struct backend_array **ret,
		    struct array_shape *ret_shape);
int cuda_array_copy(struct backend *b, const struct backend_copy *c, CUstream s); // one side at least is one

// cuda_texture.c
int cuda_texture_create(struct backend *b, const struct record_texture_create *r, struct backend_array *a,
			uint64_t *ret_object);
void cuda_texture_destroy(struct backend *b, uint64_t object);
int cuda_surface_create(struct backend *b, struct backend_array *a, uint64_t *ret_object);
void cuda_surface_destroy(struct backend *b, uint64_t object);
int cuda_texture_linear_max(struct backend *b, uint32_t format, uint32_t channels, uint64_t *ret_elements);

// cuda_stage.c: copies to and from host memory that the driver below cannot map
int cuda_stage_copy(struct backend *b, const struct backend_copy *c, CUstream s);
void cuda_stages_free(struct backend *b); // nothing is in flight

// cuda_host.c: work that the driver's host functions do in stream order. data is copied.
int cuda_host_store(struct backend *b, CUstream s, _Atomic uint64_t *where, uint64_t value);
int cuda_host_wait(struct backend *b, CUstream s, _Atomic uint64_t *where, uint64_t value);
// A record of a shared event; not in a graph.
int cuda_host_record(struct backend *b, CUstream s, struct event_word *word);
int cuda_host_write(struct backend *b, CUstream s, uint64_t dst, const void *data, uint32_t size);
// busy, if not NULL, becomes false when the copy is done.
int cuda_host_copy(struct backend *b, CUstream s, const struct backend_copy *c, atomic_bool *busy);
int cuda_host_release(struct backend *b, CUstream s, atomic_bool *busy); // *busy becomes false
int cuda_host_set(struct backend *b, CUstream s, const struct backend_set *set);

// cuda_module.c
#define CUDA_JIT_OPTIONS 8
// The options for the driver; how many there are. After the driver's call cuda_jit_end ends the logs.
unsigned cuda_jit_options(struct backend_jit *jit, CUjit_option *options, void **values);
void cuda_jit_end(struct backend_jit *jit);
int cuda_module_load(struct backend *b, const void *image, size_t image_bytes, struct backend_jit *jit,
		     struct backend_module **ret);
void cuda_module_unload(struct backend *b, struct backend_module *m);
int cuda_function_get(struct backend *b, struct backend_module *m, const char *name,
		      struct backend_function **ret, struct backend_function_info *ret_info);
int cuda_module_names(struct backend *b, struct backend_module *m, const char *const **ret_names,
		      uint32_t *ret_count);
int cuda_function_set(struct backend *b, struct backend_function *f, uint32_t attribute, int32_t value);
int cuda_global_get(struct backend *b, struct backend_module *m, const char *name, uint64_t *ret_address,
		    uint64_t *ret_size);
int cuda_occupancy(struct backend *b, struct backend_function *f, uint32_t block_threads,
		   uint64_t dynamic_shared, uint32_t flags, int32_t *ret_blocks);
int cuda_launch(struct backend *b, struct backend_function *f, const struct backend_launch *l,
		struct backend_stream *s);
int cuda_occupancy_clusters(struct backend *b, struct backend_function *f, const struct backend_launch *l,
			    enum cluster_question what, int32_t *ret);

// cuda_graph.c
int cuda_graph_begin(struct backend *b, struct backend_conditions *conditions, uint32_t n_nodes,
		     struct backend_stream **ret);
int cuda_graph_place(struct backend *b, const struct backend_edge *behind, uint32_t n);
int cuda_graph_placed(struct backend *b);
int cuda_graph_end(struct backend *b, struct backend_graph **graph, uint32_t flags);
int cuda_graph_enable(struct backend *b, struct backend_graph *g, uint32_t node, bool enabled);
int cuda_graph_launch(struct backend *b, struct backend_graph *g, struct backend_stream *s);
int cuda_graph_upload(struct backend *b, struct backend_graph *g, struct backend_stream *s);
void cuda_graph_free(struct backend *b, struct backend_graph *g);

// The question in which of the driver's graphs, and behind which of its nodes, the stream collects.
CUresult cuda_capture_info(struct backend *b, CUstreamCaptureStatus *status, CUgraph *graph,
			   const CUgraphNode **now, size_t *n);

// cuda_branch.c
int cuda_conditions_create(struct backend *b, struct backend_conditions **ret);
int cuda_condition_add(struct backend *b, struct backend_conditions *c, uint32_t initial, bool assign,
		       uint64_t *ret);
void cuda_conditions_free(struct backend *b, struct backend_conditions *c);
// Makes the capture's stream of this depth collect into the graph, after what is in it.
int cuda_capture_into(struct backend *b, uint32_t depth, CUgraph graph);
int cuda_conditions_empty(struct backend *b, struct backend_conditions *c); // what an earlier graph left
int cuda_branch_enter(struct backend *b, const struct backend_branch *branch);
int cuda_branch_body(struct backend *b, struct backend_stream **ret);
int cuda_branch_leave(struct backend *b);
void cuda_branches_abandon(struct backend *b); // ends the bodies that are being collected

// cuda_tensormap.c
int cuda_tensor_map(struct backend *b, const struct record_tensor_map *r, struct reply_tensor_map *ret);

// cuda_link.c
int cuda_module_link(struct backend *b, const struct backend_input *inputs, uint32_t n,
		     struct backend_jit *jit, struct backend_module **ret);

#endif
