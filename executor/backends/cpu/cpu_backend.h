// SPDX-License-Identifier: Apache-2.0
// Internal to the cpu backend: a device made of the host's processor. Executor process of one tenant. The
// loop thread calls the operations; one worker thread does the work in the order in which it was submitted,
// and kernels spread their blocks over the PTX engine's pool.
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
#define CPU_GRANULARITY	    VGPU_MIB(2)
#define CPU_DRIVER_VERSION  13000
#define CPU_API_VERSION	    3020
#define CPU_QUEUE_LIMIT	    65536u // entries, then a submission waits for the worker

// Address ranges that do not overlap, in rising order.
struct cpu_range {
	uint64_t address, size;
};

struct cpu_ranges {
	struct cpu_range *at;
	size_t n, room;
};

enum cpu_work_kind { WORK_COPY, WORK_WRITE, WORK_SET, WORK_LAUNCH, WORK_EVENT, WORK_STORE, WORK_WAIT };

struct cpu_launch {
	const struct ptx_kernel *kernel;
	uint32_t grid[3], block[3], dynamic_shared;
};

// One piece of work; private memory, freed by the worker.
struct cpu_work {
	STAILQ_ENTRY(cpu_work) link;
	enum cpu_work_kind kind;
	union {
		struct backend_copy copy;
		struct backend_set set;
		struct cpu_launch launch;
		struct {
			uint64_t address;
			bool device;
		} write;
		struct {
			struct backend_event *event; // holds a reference
			uint64_t sequence;
		} record;
		struct {
			_Atomic uint64_t *where;
			uint64_t value;
		} word;
	};
	size_t size; // of data: the bytes of a write, the parameters of a launch
	unsigned char data[];
};

struct cpu_queue {
	pthread_mutex_t lock;
	pthread_cond_t changed; // both directions: work came, work was done
	STAILQ_HEAD(, cpu_work) pending;
	unsigned n; // pending and running
	bool done;  // the worker has left
	pthread_t worker;
	atomic_bool stop; // leave; work that is left is dropped
};

struct backend {
	struct backend_env env;
	struct ptx_machine *machine;
	unsigned threads;
	struct cpu_queue queue;
	atomic_int sticky; // CUresult of the first fault
	uint64_t limits[CU_LIMIT_COUNT];
	uint64_t memory_total, memory_used;
	uint64_t private_base, private_end; // part of the device window that modules' variables lie in
	// Read by the worker while it touches memory, written by the loop thread.
	pthread_rwlock_t memory_lock;
	struct cpu_ranges device, host;
};

struct backend_stream {
	uint32_t flags;
	int32_t priority;
};

// Freed when the last of the executor's handle and the work that names it has gone.
struct backend_event {
	atomic_uint refs;
	uint32_t flags;
	uint64_t recorded;	  // sequence of the last record; loop thread only
	_Atomic uint64_t reached; // sequence of the last record that the worker has come to
	_Atomic uint64_t when_ns;
};

struct backend_function {
	const struct ptx_kernel *kernel;
	const struct ptx_kernel_info *info; // owned by the module
	uint32_t (*params)[2];
	int32_t max_dynamic, carveout;
	SLIST_ENTRY(backend_function) link;
};

struct backend_module {
	struct ptx_module *ptx;
	const char **names; // of all kernels, made when first asked for
	SLIST_HEAD(, backend_function) functions;
};

// cpu_device.c
int cpu_device_info(struct backend *b, struct reply_device_info *ret);
uint64_t cpu_memory_total(void);
unsigned cpu_thread_count(void);
int cpu_occupancy(struct backend *b, struct backend_function *f, uint32_t block_threads,
		  uint64_t dynamic_shared, uint32_t flags, int32_t *ret_blocks);

// cpu_ranges.c: 0 or -EEXIST (overlap), -ENOMEM; -ENOENT where no such range is.
int cpu_ranges_add(struct cpu_ranges *r, uint64_t address, uint64_t size);
int cpu_ranges_remove(struct cpu_ranges *r, uint64_t address, uint64_t *ret_size);
bool cpu_ranges_cover(const struct cpu_ranges *r, uint64_t address, uint64_t size); // also across neighbours
bool cpu_ranges_has(const struct cpu_ranges *r, uint64_t address, uint64_t size);   // exactly this one
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
void cpu_memory_done(struct backend *b); // unmaps everything that is left
struct ptx_module_env cpu_module_env(struct backend *b);
// Is all of it memory that may be touched? Caller: any thread; holds memory_lock if it goes on to touch it.
bool cpu_memory_covers(const struct backend *b, bool device, uint64_t address, uint64_t size);

// cpu_queue.c
int cpu_queue_start(struct backend *b);
void cpu_queue_stop(struct backend *b); // ends a running kernel, drops the rest, joins the worker
struct cpu_work *cpu_work_new(enum cpu_work_kind kind, size_t data_bytes);
int cpu_work_submit(struct backend *b, struct cpu_work *w); // takes w; 0 or the sticky error
int cpu_queue_drain(struct backend *b);			    // waits until all is done; the sticky error or 0
void cpu_fault(struct backend *b, int result, const char *text); // first one wins; text is logged

// cpu_work.c
void cpu_work_run(struct backend *b, struct cpu_work *w); // on the worker
void cpu_work_drop(struct cpu_work *w);			  // frees w, gives its event reference back
int cpu_copy(struct backend *b, const struct backend_copy *c, struct backend_stream *s);
int cpu_write(struct backend *b, uint64_t dst, bool dst_device, const void *data, uint32_t size,
	      struct backend_stream *s);
int cpu_set(struct backend *b, const struct backend_set *set, struct backend_stream *s);
int cpu_launch(struct backend *b, struct backend_function *f, const struct backend_launch *l,
	       struct backend_stream *s);

// cpu_stream.c
int cpu_stream_create(struct backend *b, uint32_t flags, int32_t priority, struct backend_stream **ret);
void cpu_stream_destroy(struct backend *b, struct backend_stream *s);
int cpu_stream_wait_event(struct backend *b, struct backend_stream *s, struct backend_event *e,
			  uint32_t flags);
int cpu_event_create(struct backend *b, uint32_t flags, struct backend_event **ret);
void cpu_event_destroy(struct backend *b, struct backend_event *e);
void cpu_event_unref(struct backend_event *e);
int cpu_event_record(struct backend *b, struct backend_event *e, struct backend_stream *s, uint32_t flags);
int cpu_event_query(struct backend *b, struct backend_event *e);
int cpu_event_elapsed(struct backend *b, struct backend_event *start, struct backend_event *end,
		      float *ret_ms);
int cpu_stream_write(struct backend *b, struct backend_stream *s, _Atomic uint64_t *where, uint64_t value);
int cpu_stream_wait(struct backend *b, struct backend_stream *s, _Atomic uint64_t *where, uint64_t value);

// cpu_module.c
int cpu_module_load(struct backend *b, const void *image, size_t image_bytes, struct backend_jit *jit,
		    struct backend_module **ret);
void cpu_module_unload(struct backend *b, struct backend_module *m);
int cpu_function_get(struct backend *b, struct backend_module *m, const char *name,
		     struct backend_function **ret, struct backend_function_info *ret_info);
int cpu_module_names(struct backend *b, struct backend_module *m, const char *const **ret_names,
		     uint32_t *ret_count);
int cpu_function_set(struct backend *b, struct backend_function *f, uint32_t attribute, int32_t value);
int cpu_global_get(struct backend *b, struct backend_module *m, const char *name, uint64_t *ret_address,
		   uint64_t *ret_size);

#endif
