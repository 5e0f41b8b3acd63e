// SPDX-License-Identifier: Apache-2.0
// What the files of libcuda.so.1 share. All of it runs in the guest program, in any of its threads. Prefix
// vc_; nothing but the driver's own names is exported.
#ifndef VGPU_LIBCUDA_LIBCUDA_H
#define VGPU_LIBCUDA_LIBCUDA_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/client/client.h"
#include "guest/client/image.h"
#include "guest/libcuda/handles.h"
#include "guest/libcuda/log.h"
#include "guest/libcuda/objects.h"
#include "protocol/cuda/cuda_abi.h"
#include "protocol/guest/calls.h"

#define VC_EXPORT    __attribute__((visibility("default")))
#define VC_LIKELY(x) __builtin_expect(!!(x), 1)

#define CUDA_CALL(name, params) VC_EXPORT CUresult name params;
#include "protocol/cuda/cuda_calls.def"
#undef CUDA_CALL

#define VC_DRIVER_VERSION CUDA_ABI_VERSION // what cuDriverGetVersion answers; symbols.yaml holds its names

// ---- state of the library (init.c)

enum vc_state { VC_NEW, VC_READY, VC_SHUT_DOWN, VC_FORKED };
extern _Atomic int vc_state;

// The channel to the executor; valid in VC_READY and VC_SHUT_DOWN.
extern struct vgpu_client *vc_client;

// Result for a state other than VC_READY.
CUresult vc_state_result(int state);

static inline CUresult vc_ready(void)
{
	int state = atomic_load_explicit(&vc_state, memory_order_relaxed);

	return VC_LIKELY(state == VC_READY) ? CUDA_SUCCESS : vc_state_result(state);
}

const char *vc_error_name(CUresult error); // never NULL

// The answer to arguments that cannot be right. That the library is not ready comes first, as in the driver.
static inline CUresult vc_invalid(void)
{
	CUresult result = vc_ready();

	return result ? result : CUDA_ERROR_INVALID_VALUE;
}

// ---- the calling thread (context.c)

struct vc_thread_heap;
struct vc_thread {
	struct vc_context *current; // top of the stack, NULL: none
	uint64_t current_handle;    // its handle when it was made current
	struct vc_thread_heap *heap;
	uint32_t per_thread;  // > 0: the NULL stream is this thread's own
	uint32_t in_callback; // > 0: a host function runs here, calls are refused
	int capture_mode;     // cuThreadExchangeStreamCaptureMode
};
extern __thread struct vc_thread vc_thread __attribute__((tls_model("initial-exec")));

// The stack below the top, and the thread's own stream; freed when the thread ends.
struct vc_stack_entry {
	struct vc_context *ctx;
	uint64_t handle;
};
struct vc_thread_heap {
	struct vc_stack_entry *stack; // below the current one
	size_t depth, room;
	struct vc_stream *stream; // NULL until first used
};

// This thread's heap, made on first use; NULL: no memory.
struct vc_thread_heap *vc_thread_heap(void);

// Makes ctx current above what is current now; nonzero: no memory.
int vc_stack_push(struct vc_context *ctx, uint64_t handle);
// Takes the current context off and returns its handle, 0: there was none.
uint64_t vc_stack_pop(void);

// print.c: what was said of the context's failure is on stderr when a call has told of it. Returns sticky.
CUresult vc_context_failed(int sticky);

// Ready, no callback, a live current context (in *ctx) and no sticky error: what nearly every call asks.
// *ctx means nothing on failure.
static inline CUresult vc_enter(struct vc_context **ctx)
{
	struct vc_context *c = vc_thread.current;
	int state = atomic_load_explicit(&vc_state, memory_order_relaxed);
	int sticky;

	*ctx = c;
	if (!VC_LIKELY(state == VC_READY))
		return vc_state_result(state);
	if (vc_thread.in_callback)
		return CUDA_ERROR_NOT_PERMITTED;
	if (!c)
		return CUDA_ERROR_INVALID_CONTEXT;
	if (!VC_LIKELY(atomic_load_explicit(&c->object.handle, memory_order_relaxed) ==
			   vc_thread.current_handle &&
		       atomic_load_explicit(&c->active, memory_order_relaxed)))
		return CUDA_ERROR_CONTEXT_IS_DESTROYED;
	sticky = vgpu_client_sticky(vc_client);
	if (!VC_LIKELY(!sticky))
		return vc_context_failed(sticky);
	return CUDA_SUCCESS;
}

// As vc_enter, and reports an error that an earlier call left behind, once.
static inline CUresult vc_enter_report(struct vc_context **ctx)
{
	CUresult result = vc_enter(ctx);

	return VC_LIKELY(!result) ? (CUresult)vgpu_client_deferred(vc_client) : result;
}

// The context that `ctx` names; NULL if it is none.
struct vc_context *vc_context_find(CUcontext ctx);
CUcontext vc_context_handle(const struct vc_context *ctx);

// The primary context's handle; the same from cuInit to the end.
CUcontext vc_primary_context(void);

// Runs the destructors of what CUDA's runtimes keep in the context and forgets it; they may make any call, so
// no lock is held (context_storage.c).
void vc_storage_release(struct vc_context *ctx);

// Makes the executor's context, once. flags as cuCtxCreate.
CUresult vc_backend_activate(unsigned int flags);

// Makes the primary context's object, inactive; part of cuInit. -ENOMEM.
int vc_contexts_init(void);

// ---- streams and events (stream.c, event.c)

// The legacy stream's object; its fences start in cuInit.
extern struct vc_stream vc_legacy_stream;
CUresult vc_streams_init(void);

// The stream of a call that gives it work or waits for it: as below, and the legacy stream is refused while a
// blocking stream captures.
CUresult vc_stream_resolve(CUstream stream, struct vc_stream **ret);
// The stream that a program's value names: NULL is the legacy one or, in per-thread forms, the thread's own.
// CUDA_ERROR_INVALID_HANDLE; OUT_OF_MEMORY when the thread's own cannot be made.
CUresult vc_stream_resolve_any(CUstream stream, struct vc_stream **ret);

// To be called after each record of GPU work pushed to the stream; returns its number in the stream.
uint64_t vc_stream_submitted(struct vc_stream *stream);

// Puts what kernels get from the stream's attributes and priority behind the n attributes of a launch that is
// captured, unless they say it themselves or the list, of VGPU_MAX_LAUNCH_ATTRS, is full; returns how many
// there are then (streamattr.c).
unsigned int vc_stream_attributes_of(struct vc_stream *stream, CUlaunchAttribute *list, unsigned int n);

// How many there were, and whether all streams are known to be done with all they were given.
uint64_t vc_stream_position(const struct vc_stream *stream);
int vc_streams_idle(void);

// Makes sure that a fence stands behind all work submitted so far; *value is what its slot will hold then.
CUresult vc_stream_fence(struct vc_stream *stream, uint64_t *value);

// Waits for the value that vc_stream_fence gave; an error of a call without reply ends the wait too.
CUresult vc_stream_wait_value(struct vc_stream *stream, uint64_t value);

// Waits for all work submitted so far and reports errors.
CUresult vc_stream_wait(struct vc_stream *stream);

// The same for all streams of a context (NULL: of the process), the legacy and per-thread ones included.
CUresult vc_streams_wait_all(struct vc_context *ctx);

// 1: the first `position` records of the stream that had this handle are known to be done; 0: not known.
int vc_stream_passed(const struct vc_stream *stream, uint64_t handle, uint64_t position);

void vc_stream_destroy(struct vc_stream *stream);
void vc_event_destroy(struct vc_event *event);
// The event that the handle names, for a call that needs no context. CUDA_ERROR_INVALID_HANDLE.
CUresult vc_event_enter(CUevent event, struct vc_event **ret);
// A new event with those flags that is not to be found yet; the caller's until vc_event_publish.
CUresult vc_event_new(struct vc_context *ctx, unsigned int flags, struct vc_event **ret);
CUevent vc_event_publish(struct vc_event *event);
// A stream or event of the context (NULL: of none), with nothing asked of the caller. flags as cuEventCreate.
CUresult vc_stream_new(struct vc_context *ctx, uint32_t flags, int32_t priority, struct vc_stream **ret);
CUresult vc_event_make(struct vc_context *ctx, uint32_t flags, struct vc_event **ret);
// A new stream comes to stand behind what its context was told to wait for (context_event.c). NULL is
// accepted.
CUresult vc_context_gate(struct vc_context *ctx, struct vc_stream *s);
// Destroys the streams, events, modules or memory that a context owns.
void vc_streams_release(struct vc_context *ctx);
void vc_events_release(struct vc_context *ctx);
void vc_modules_release(struct vc_context *ctx);
void vc_memory_release(struct vc_context *ctx);
void vc_arrays_release(struct vc_context *ctx);
void vc_textures_release(struct vc_context *ctx);
void vc_surfaces_release(struct vc_context *ctx);

// A slot for a fence that has none yet; the slot stays with it. CUDA_ERROR_OUT_OF_MEMORY.
CUresult vc_fence_init(struct vc_fence *fence);

// print.c: writes what kernels printed to stdout. For calls that have waited for the GPU, which look
// themselves whether there may be any (vc_printed).
void vc_print_take(void);

static inline void vc_printed(void)
{
	if (__builtin_expect(vgpu_client_printed(vc_client), 0))
		vc_print_take();
}

// Whether the executor has to be asked for an exact answer: the program has waited for something since
// `asked` was passed here last, and what it waited for may have stood behind this. Else a fence or a watch
// tells in time. Who asks waits at most VC_LOOK_NS, and not for the answer: what the question stands behind
// in the ring may wait for this very thread.
#define VC_LOOK_NS 1000000u
int vc_ask_again(_Atomic uint64_t *asked);

// Waits until the slot holds the value: 0, or the error that ended the wait before.
CUresult vc_fence_wait(const struct vc_fence *fence, uint64_t value);

// As vc_object_new, for objects with a vc_fence at that offset.
void *vc_object_new_fenced(enum vc_kind kind, size_t fence_offset);

// ---- modules (module.c, function.c)

// Where the JIT's logs and options of a load come from and go to; see cuModuleLoadDataEx.
struct vc_jit {
	unsigned int count;
	CUjit_option *options;
	void **values;
};
CUresult vc_module_load(struct vc_context *owner, const void *image, const struct vc_jit *jit,
			struct vc_module **ret);
// Sends bytes into a new blob of the executor; *ret is the guest's object for it, freed by the caller when
// the executor has taken it (module.c).
CUresult vc_blob_send(const void *data, size_t bytes, struct vgpu_object **ret);
// A module that a link made of the same bytes, NULL if there is none; a module that is about to go
// (linker.c).
struct vc_module *vc_linked_take(const void *image, size_t bytes);
void vc_linked_forget(const struct vc_module *module);
CUresult vc_module_load_file(struct vc_context *owner, const char *path, const struct vc_jit *jit,
			     struct vc_module **ret);
void vc_module_unload(struct vc_module *module);
CUresult vc_module_function(struct vc_module *module, const char *name, struct vc_function **ret);
CUresult vc_module_global(struct vc_module *module, const char *name, CUdeviceptr *ptr, size_t *bytes);
void vc_function_free(struct vc_function *function);
// How many kernels the module holds; fn for each of them, at most `most`, until it fails (enumerate.c).
CUresult vc_module_count(struct vc_module *module, unsigned int *count);
CUresult vc_module_each(struct vc_module *module, unsigned int most,
			CUresult (*fn)(struct vc_function *f, unsigned int i, void *arg), void *arg);

// The function that a CUfunction or CUkernel names, NULL if none.
struct vc_function *vc_function_find(CUfunction function);

CUresult vc_function_attribute(struct vc_function *f, int attribute, int *value);
CUresult vc_function_set(struct vc_function *f, int attribute, int value);
CUresult vc_function_cache_config(struct vc_function *f, CUfunc_cache config);
// Blocks of so many threads that fit on one multiprocessor at a time.
CUresult vc_function_blocks(struct vc_function *f, int threads, size_t shared, unsigned int flags,
			    int *blocks);
CUresult vc_function_param(const struct vc_function *f, size_t index, size_t *offset, size_t *size);

// ---- arrays (array.c): NULL if the handle names none

struct vc_array *vc_array_find(CUarray array);
struct vc_mipmap *vc_mipmap_find(CUmipmappedArray mipmap);

// ---- copies (copy.c)

// What the program says an address is; an array has a handle instead, and a place.
enum vc_side { VC_SIDE_DEVICE, VC_SIDE_HOST, VC_SIDE_ANY, VC_SIDE_ARRAY };

// A copy of rows: depth slices of height rows of width bytes.
struct vc_copy {
	uint64_t dst, src;	       // of an array: its handle
	uint64_t dst_at[3], src_at[3]; // of an array: byte, row, slice that the copy begins at
	enum vc_side dst_side, src_side;
	uint64_t width, height, depth;
	uint64_t dst_pitch, src_pitch, dst_slice, src_slice;
};
// sync: the synchronous form's rules; else the asynchronous one's.
CUresult vc_copy_submit(struct vc_stream *stream, const struct vc_copy *copy, int sync);

// Whether n numbers say where the runs of a batch of count begin: rising, the first 0 (memcpy_batch.c).
int vc_runs_are_right(const size_t *begins, size_t n, size_t count);

// What such a copy is as a record, for a stream to be named: both sides must be arrays or memory that the GPU
// reaches.
struct vc_copy_record {
	uint16_t opcode; // OPCODE_COPY or OPCODE_COPY_ARRAY
	union {
		struct record_copy copy;
		struct record_copy_array copy_array;
	};
};
static inline uint32_t vc_copy_record_bytes(const struct vc_copy_record *r)
{
	return r->opcode == OPCODE_COPY ? sizeof(r->copy) : sizeof(r->copy_array);
}
CUresult vc_copy_describe(const struct vc_copy *copy, struct vc_copy_record *ret);
CUresult vc_copy_of_3d(const CUDA_MEMCPY3D *c, struct vc_copy *ret);
struct record_set;
CUresult vc_set_describe(CUdeviceptr dst, uint64_t pitch, uint32_t value, uint32_t element, uint64_t width,
			 uint64_t height, struct record_set *ret);

// A launch as a record with its tail (*body is the caller's, malloc), for a stream to be named (launch.c).
CUresult vc_launch_describe(CUfunction function, const CUlaunchConfig *config, void **params, void **extra,
			    void **body, uint32_t *bytes);

// ---- capture (capture.c)

extern _Atomic uint32_t vc_captures_blocking; // blocking streams that capture
extern _Atomic uint32_t vc_captures_strict;   // captures that forbid unsafe calls to some threads

static inline int vc_stream_captures(const struct vc_stream *s)
{
	return atomic_load_explicit(&s->capture, memory_order_relaxed) != NULL;
}

// Why the call is refused (the capture is invalid then): something went to the legacy stream; a call that is
// unsafe meanwhile, like an allocation; waiting for a stream that captures (NULL: for all streams).
CUresult vc_capture_forbids_legacy(void);
CUresult vc_capture_forbids_unsafe(void);
CUresult vc_capture_forbids_wait(struct vc_stream *s);
CUresult vc_capture_forbids_event(struct vc_event *e); // the event was recorded in a capture last
int vc_capture_any(void);

static inline CUresult vc_capture_unsafe(void)
{
	return VC_LIKELY(!atomic_load_explicit(&vc_captures_strict, memory_order_relaxed))
		   ? CUDA_SUCCESS
		   : vc_capture_forbids_unsafe();
}

CUresult vc_capture_event_record(struct vc_stream *s, struct vc_event *e);
CUresult vc_capture_event_wait(struct vc_stream *s, struct vc_event *e);
void vc_capture_event_gone(struct vc_event *e);
void vc_capture_stream_gone(struct vc_stream *s);

// The event of this handle was recorded in the stream as its record number `position` (event.c).
void vc_event_recorded(uint64_t event, struct vc_stream *s, uint64_t position);

// Functions that are due when the slot `before` holds value; `after` gets it then (hostfunc.c). They are
// prepared before the work that they belong to is pushed, then queued (the thread must have been started) or
// dropped.
struct vc_host_jobs {
	struct job *last;
};
CUresult vc_host_start(void);
CUresult vc_host_prepare(struct vc_host_jobs *jobs, CUhostFn fn, void *user, uint32_t before, uint32_t after,
			 uint64_t value);
void vc_host_queue(struct vc_host_jobs *jobs);
void vc_host_drop(struct vc_host_jobs *jobs);

// ---- the device (device.c)

struct vc_device {
	uint64_t total_memory;
	int32_t attribute_count;
	int32_t attributes[160];
	uint8_t uuid[16];
	char name[256];
	int visible; // 0: CUDA_VISIBLE_DEVICES hides it
	// of the context, valid once it is active
	uint64_t limits[16];
	uint32_t limit_valid;
	uint32_t api_version;
	int32_t priority_least, priority_greatest;
};
extern struct vc_device vc_device;

// Asks the executor for the device; part of cuInit.
CUresult vc_device_init(void);

#endif
