// SPDX-License-Identifier: Apache-2.0
// Internal to the cpu backend: a device made of the host's processor. Executor process of one tenant. The
// loop thread calls the operations; one worker thread does the work in the order in which it was submitted
// (work that stands behind a wait lets other streams' pass), and kernels spread their blocks over the PTX
// engine's pool.
#ifndef VGPU_EXECUTOR_BACKENDS_CPU_BACKEND_H
#define VGPU_EXECUTOR_BACKENDS_CPU_BACKEND_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "executor/backends/backend.h"
#include "executor/backends/cpu/ptx/ptx.h"
#include "protocol/cuda/cuda_abi.h"

// The device's model: what attributes, launch checks and occupancy agree on. Compute capability 8.0: numba's
// and nvcc's default targets load, and the engine's instructions (bf16, cp.async) are of that level.
#define CPU_SM_MAJOR	    8
#define CPU_SM_MINOR	    0
#define CPU_SM		    (10 * CPU_SM_MAJOR + CPU_SM_MINOR)
#define CPU_WARP	    32
#define CPU_SM_THREADS	    2048
#define CPU_SM_BLOCKS	    32
#define CPU_SM_REGISTERS    65536
#define CPU_SM_SHARED	    (100 * 1024)
#define CPU_SHARED_DEFAULT  (48 * 1024) // static and dynamic together without opting in
#define CPU_SHARED_OPTIN    (96 * 1024)
#define CPU_SHARED_RESERVED 1024 // counted for each block by occupancy
#define CPU_GRID_X	    2147483647u
#define CPU_GRID_YZ	    65535u
#define CPU_BLOCK_Z	    64u
#define CPU_TEXTURE_LINEAR  (1u << 28) // elements
#define CPU_GRANULARITY	    VGPU_MIB(2)
#define CPU_DRIVER_VERSION  13000
#define CPU_API_VERSION	    3020
#define CPU_QUEUE_LIMIT	    65536u // entries, then a submission waits for the worker

// Address ranges that do not overlap, in rising order.
struct cpu_range {
	uint64_t address, size;
	enum vm_access access;
};

struct cpu_ranges {
	struct cpu_range *at;
	size_t n, room;
};

enum cpu_work_kind {
	WORK_COPY,
	WORK_WRITE,
	WORK_SET,
	WORK_LAUNCH,
	WORK_EVENT,
	WORK_STORE,
	WORK_FORGET,
	WORK_GRAPH,
	WORK_BRANCH, // in a graph only
	// What may have to wait, and does its work when it is asked whether it is due.
	WORK_WAIT,
	WORK_WAIT_EVENT,
	WORK_WORDS
};

struct cpu_shared; // cpu_share.c
struct event_word;

// One record of an event: shared by the event, the work that completes it and the work that waits for it.
struct cpu_mark {
	atomic_uint refs;
	atomic_bool done;
	_Atomic uint64_t when_ns;
	struct event_word *word; // holds a reference; of an event that other executors have too, else NULL
	uint64_t number;	 // of the record in word
};

struct cpu_launch {
	const struct ptx_kernel *kernel;
	uint32_t grid[3], block[3], dynamic_shared;
};

// One piece of work; private memory, freed by the worker.
struct cpu_work {
	STAILQ_ENTRY(cpu_work) link;
	enum cpu_work_kind kind;
	struct backend_stream *stream; // holds a reference; NULL: the legacy stream
	union {
		struct backend_copy copy;
		struct backend_set set;
		struct cpu_launch launch;
		struct {
			uint64_t address;
			bool device;
		} write;
		struct cpu_mark *mark;	     // holds a reference
		struct backend_graph *graph; // holds a reference
		struct cpu_branch *branch;   // owned by the graph
		uint32_t words_done;	     // of the word_ops in data
		struct {
			_Atomic uint64_t *where;
			uint64_t value;
		} word;
		uint64_t object; // of a texture or surface that ends
	};
	size_t size; // of data: the bytes of a write, the parameters of a launch, word_ops
	unsigned char data[];
};

struct cpu_queue {
	pthread_mutex_t lock;
	pthread_cond_t changed; // both directions: work came, work was done
	STAILQ_HEAD(, cpu_work) pending;
	unsigned n;	     // pending and running
	unsigned n_blocking; // of those, in the legacy stream or in a stream that blocks with it
	// The worker's look through pending, by number, and in which of them something of the legacy stream,
	// or of a stream that blocks with it, had to wait.
	uint64_t look, legacy_held, blocking_held;
	bool running; // the worker is at something that it took out of pending
	bool done;    // the worker has left
	pthread_t worker;
	atomic_bool stop; // leave; work that is left is dropped
};

// Sets of conditions by their place, under the lock (cpu_graph.c).
struct cpu_conditions {
	pthread_mutex_t lock;
	struct backend_conditions *sets[VGPU_MAX_CONDITION_SETS];
	uint32_t generation; // of the set made last
};

struct cpu_works;
struct cpu_branch;

// The graph that is being collected; loop thread only.
struct cpu_collect {
	struct backend_graph *graph; // NULL: none
	struct cpu_works *into;
	struct cpu_branch *branch; // whose bodies are being collected
};

struct backend {
	struct backend_env env;
	struct backend_tenant tenant;
	struct ptx_machine *machine;
	unsigned threads;
	struct cpu_queue queue;
	struct cpu_conditions conditions;
	struct cpu_collect collect;
	atomic_int sticky; // CUresult of the first fault
	uint64_t limits[CU_LIMIT_COUNT];
	uint64_t memory_total, memory_used;
	size_t code_bytes; // of machine code that is kept; loop thread only
	struct reply_device_info info;
	uint64_t variable_bytes;	    // of all variables ever placed
	uint64_t private_base, private_end; // part of the device window that modules' variables lie in
	// Read by the worker while it touches memory, written by the loop thread.
	pthread_rwlock_t memory_lock;
	struct cpu_ranges device, host;
	SLIST_HEAD(, cpu_shared) shared; // memory that other executors may map
};

struct backend_stream {
	atomic_uint refs; // the executor's handle and the work in it
	uint32_t flags;
	int32_t priority;
	uint64_t held; // see cpu_queue
};

// Loop thread only.
struct backend_event {
	uint32_t flags;
	struct cpu_mark *mark;	 // of the last record here; NULL: never recorded
	struct event_word *word; // of an event that other executors have too: it knows the last record
	uint64_t follows;	 // > 0: stands for that record of word only
};

struct backend_function {
	const struct ptx_kernel *kernel;    // NULL: machine code, which is never launched
	const struct ptx_kernel_info *info; // owned by the module
	uint32_t (*params)[2];
	int32_t max_dynamic, carveout;
	SLIST_ENTRY(backend_function) link;
};

// A variable of machine code that somebody asked for.
struct cpu_placed {
	SLIST_ENTRY(cpu_placed) link;
	const struct cpu_variable *variable; // owned by the code
	uint64_t address;
};

struct backend_module {
	struct ptx_module *ptx;
	struct cpu_code *code; // in place of ptx
	uint64_t memory;       // that its variables take
	SLIST_HEAD(, cpu_placed) placed;
	const char **names; // of all kernels, made when first asked for
	SLIST_HEAD(, backend_function) functions;
};

// cpu_device.c
// At open: later the files that it looks at are behind the sandbox.
void cpu_device_read(struct backend *b);
void cpu_attributes(int32_t *ret); // CU_DEVICE_ATTRIBUTE_COUNT of them, those that no host changes
int cpu_device_info(struct backend *b, struct reply_device_info *ret);
uint64_t cpu_memory_total(void);
unsigned cpu_thread_count(void);
int cpu_occupancy(struct backend *b, struct backend_function *f, uint32_t block_threads,
		  uint64_t dynamic_shared, uint32_t flags, int32_t *ret_blocks);

// cpu_ranges.c: 0 or -EEXIST (overlap), -ENOMEM; -ENOENT where no such range is.
int cpu_ranges_add(struct cpu_ranges *r, uint64_t address, uint64_t size, enum vm_access access);
int cpu_ranges_remove(struct cpu_ranges *r, uint64_t address, uint64_t *ret_size);
// Whether all of it may be used like that, also across neighbours.
bool cpu_ranges_cover(const struct cpu_ranges *r, uint64_t address, uint64_t size, enum vm_access access);
bool cpu_ranges_has(const struct cpu_ranges *r, uint64_t address, uint64_t size); // exactly this one
// Says what may be done with the ranges that fill exactly this. false: none do, nothing has changed.
bool cpu_ranges_allow(struct cpu_ranges *r, uint64_t address, uint64_t size, enum vm_access access);
// The lowest free place of size bytes in [base, end), aligned to align (a power of two). false: none.
bool cpu_ranges_gap(const struct cpu_ranges *r, uint64_t base, uint64_t end, uint64_t size, uint64_t align,
		    uint64_t *ret);
void cpu_ranges_done(struct cpu_ranges *r);

// cpu_memory.c
uint64_t cpu_mem_granularity(struct backend *b);
int cpu_mem_available(struct backend *b, uint64_t *ret_free, uint64_t *ret_total);
int cpu_mem_map(struct backend *b, uint64_t address, uint64_t size);
int cpu_mem_unmap(struct backend *b, uint64_t address, uint64_t size);
int cpu_host_register(struct backend *b, uint64_t address, uint64_t size);
int cpu_host_unregister(struct backend *b, uint64_t address);
// Zeroed memory in the private part of the window, whole pages. CUresult.
uint64_t cpu_private_bytes(uint64_t size); // what size bytes take there
int cpu_private_alloc(struct backend *b, uint64_t size, uint64_t align, uint64_t *ret_address);
void cpu_private_free(struct backend *b, uint64_t address);
void cpu_memory_done(struct backend *b); // unmaps everything that is left
struct ptx_module_env cpu_module_env(struct backend *b);
// May all of it be used like that? Caller: any thread; holds memory_lock if it goes on to touch it.
bool cpu_memory_covers(const struct backend *b, bool device, uint64_t address, uint64_t size,
		       enum vm_access access);
// Puts the reservation back where something was mapped: a hole that faults.
int cpu_window_close(uint64_t address, uint64_t size);

// cpu_physical.c
int cpu_physical_create(struct backend *b, uint64_t size, uint32_t handle_types,
			struct backend_physical **ret);
int cpu_physical_free(struct backend *b, struct backend_physical *p);
int cpu_physical_map(struct backend *b, uint64_t address, uint64_t size, struct backend_physical *p,
		     uint64_t offset);
int cpu_physical_unmap(struct backend *b, uint64_t address, uint64_t size);
int cpu_physical_access(struct backend *b, uint64_t address, uint64_t size, enum vm_access access);
int cpu_physical_export(struct backend *b, struct backend_physical *p, struct backend_share *ret);
int cpu_physical_import(struct backend *b, const struct backend_share *share, uint64_t size,
			struct backend_physical **ret);
int cpu_memfd_new(uint64_t size); // that cannot change its size; -errno

// cpu_share.c
int cpu_mem_park(struct backend *b, uint64_t address, uint64_t size, void *store);
int cpu_mem_unpark(struct backend *b, uint64_t address, uint64_t size, void *store);
int cpu_physical_park(struct backend *b, struct backend_physical *p, uint64_t size, void *store);
int cpu_physical_unpark(struct backend *b, struct backend_physical *p, uint64_t size, void *store);
int cpu_mem_export(struct backend *b, uint64_t address, uint64_t size, struct backend_share *ret);
void cpu_shared_forget(struct backend *b, uint64_t address); // what was mapped there is unmapped
int cpu_event_export(struct backend *b, struct backend_event *e, struct backend_share *ret);
int cpu_event_import(struct backend *b, const struct backend_share *share, struct backend_event **ret);
int cpu_event_follow(struct backend *b, struct backend_event *e, struct backend_event **ret);

// cpu_queue.c
int cpu_queue_start(struct backend *b);
void cpu_queue_stop(struct backend *b); // ends a running kernel, drops the rest, joins the worker
struct cpu_work *cpu_work_new(enum cpu_work_kind kind, size_t data_bytes);
// Takes w; 0 or the sticky error.
int cpu_work_submit(struct backend *b, struct backend_stream *s, struct cpu_work *w);
int cpu_queue_drain(struct backend *b); // waits until all is done; the sticky error or 0
void cpu_fault(struct backend *b, int result, const char *text); // first one wins; text is logged

// cpu_work.c
void cpu_work_run(struct backend *b, struct cpu_work *w);  // on the worker
void cpu_work_drop(struct backend *b, struct cpu_work *w); // frees w, gives its references back
int cpu_copy(struct backend *b, const struct backend_copy *c, struct backend_stream *s);
int cpu_write(struct backend *b, uint64_t dst, bool dst_device, const void *data, uint32_t size,
	      struct backend_stream *s);
int cpu_set(struct backend *b, const struct backend_set *set, struct backend_stream *s);
int cpu_launch(struct backend *b, struct backend_function *f, const struct backend_launch *l,
	       struct backend_stream *s);

// cpu_graph.c
int cpu_conditions_create(struct backend *b, struct backend_conditions **ret);
int cpu_condition_add(struct backend *b, struct backend_conditions *c, uint32_t initial, bool assign,
		      uint64_t *ret);
void cpu_conditions_free(struct backend *b, struct backend_conditions *c);
// For the engine, whose kernels call cudaGraphSetConditional. false: that names no condition of this backend.
bool cpu_condition_set(void *backend, uint64_t name, uint32_t value);
int cpu_graph_begin(struct backend *b, struct backend_conditions *conditions, uint32_t n_nodes,
		    struct backend_stream **ret);
int cpu_graph_place(struct backend *b, const struct backend_edge *behind, uint32_t n);
int cpu_graph_placed(struct backend *b);
int cpu_branch_enter(struct backend *b, const struct backend_branch *from);
int cpu_branch_body(struct backend *b, struct backend_stream **ret);
int cpu_branch_leave(struct backend *b);
int cpu_graph_end(struct backend *b, struct backend_graph **graph, uint32_t flags);
int cpu_graph_launch(struct backend *b, struct backend_graph *g, struct backend_stream *s);
int cpu_graph_upload(struct backend *b, struct backend_graph *g, struct backend_stream *s);
void cpu_graph_free(struct backend *b, struct backend_graph *g);
void cpu_graph_run(struct backend *b, struct backend_graph *g); // on the worker
void cpu_graph_unref(struct backend *b, struct backend_graph *g);
// Whether work is being collected instead of run, and taking a piece of it: what cannot be in a graph is
// dropped with CUDA_ERROR_NOT_SUPPORTED.
bool cpu_collecting(const struct backend *b);
int cpu_collect(struct backend *b, struct cpu_work *w);

// cpu_word.c: what may have to wait
// On the worker: false if w has to wait still.
bool cpu_work_due(struct backend *b, struct cpu_work *w);
int cpu_stream_write(struct backend *b, struct backend_stream *s, _Atomic uint64_t *where, uint64_t value);
int cpu_stream_wait(struct backend *b, struct backend_stream *s, _Atomic uint64_t *where, uint64_t value);
int cpu_words(struct backend *b, const struct word_op *ops, uint32_t n, struct backend_stream *s);

// cpu_stream.c
int cpu_stream_create(struct backend *b, uint32_t flags, int32_t priority, struct backend_stream **ret);
void cpu_stream_destroy(struct backend *b, struct backend_stream *s);
int cpu_stream_set(struct backend *b, struct backend_stream *s, uint32_t attribute, const uint64_t value[8]);
int cpu_stream_wait_event(struct backend *b, struct backend_stream *s, struct backend_event *e,
			  uint32_t flags);
int cpu_event_create(struct backend *b, uint32_t flags, struct backend_event **ret);
void cpu_event_destroy(struct backend *b, struct backend_event *e);
void cpu_stream_unref(struct backend_stream *s);
void cpu_mark_unref(struct cpu_mark *m);
int cpu_event_record(struct backend *b, struct backend_event *e, struct backend_stream *s, uint32_t flags);
int cpu_stream_query(struct backend *b, struct backend_stream *s);
int cpu_event_query(struct backend *b, struct backend_event *e);
int cpu_event_elapsed(struct backend *b, struct backend_event *start, struct backend_event *end,
		      float *ret_ms);

// cpu_module.c
int cpu_module_load(struct backend *b, const void *image, size_t image_bytes, struct backend_jit *jit,
		    struct backend_module **ret);
int cpu_module_link(struct backend *b, const struct backend_input *inputs, uint32_t n,
		    struct backend_jit *jit, struct backend_module **ret);
uint64_t cpu_module_memory(struct backend *b, struct backend_module *m);
void cpu_module_unload(struct backend *b, struct backend_module *m);
int cpu_function_get(struct backend *b, struct backend_module *m, const char *name,
		     struct backend_function **ret, struct backend_function_info *ret_info);
int cpu_module_names(struct backend *b, struct backend_module *m, const char *const **ret_names,
		     uint32_t *ret_count);
int cpu_function_set(struct backend *b, struct backend_function *f, uint32_t attribute, int32_t value);
int cpu_global_get(struct backend *b, struct backend_module *m, const char *name, uint64_t *ret_address,
		   uint64_t *ret_size);

#endif
