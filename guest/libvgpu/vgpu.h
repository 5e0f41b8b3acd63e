// SPDX-License-Identifier: Apache-2.0
// vgpu.h: the GPU that a tenant of vgpu has, for programs that do not want CUDA. Link with -lvgpu; nothing of
// CUDA is needed to build or to run. The manual is vgpu(7).
//
// A struct vgpu is one opened device: one channel to an executor of the host, with its own memory, modules
// and errors. It is the only context there is; a program may open several, and CUDA may be used beside it.
//
// Units and addresses. Sizes are bytes, times nanoseconds unless a name says otherwise. Device memory has
// addresses (uint64_t) of the opened device that allocated it; the processor cannot read there. They are what
// kernels take as pointers.
//
// Results. Every function that returns int returns VGPU_OK (0) or a negative enum vgpu_error. What is given
// back through a pointer is untouched on failure. Work that is put in a stream may be refused after its call
// has returned: the next call that waits (streams, fences, VGPU_WAIT) or vgpu_check tells it, once. A kernel
// that faults, and a lost device, are told by every call from then on; close the device and open it anew.
//
// Threads. Any thread may call any function at any time, on one device or several, with two exceptions:
// vgpu_close, and freeing an object that another thread's call is using at that moment.
//
// Objects (streams, fences, modules, functions) belong to their device and end with it. Their pointers are
// names, never read through: one that was freed is refused with VGPU_E_HANDLE.
//
// Fork. A child has none of its parent's devices: all calls on them answer VGPU_E_FORKED, but vgpu_close,
// which the child may call to free memory. It may open a device of its own. No memory of vgpu_host_alloc may
// be used in the child. The parent notices nothing.
//
// The library starts no thread until large copies are made, installs no signal handler, has no constructor
// and writes nowhere; VGPU_LOG does not change that.
#ifndef VGPU_H
#define VGPU_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VGPU_VERSION_MAJOR 1
#define VGPU_VERSION_MINOR 0

#define VGPU_FOREVER UINT64_MAX // a timeout without a limit; a lost device ends the wait all the same

// A device, and what belongs to one.
struct vgpu;
struct vgpu_stream;
struct vgpu_fence;
struct vgpu_module;
struct vgpu_function;

// Numbers are never reused or changed; there may be more in later versions.
enum vgpu_error {
	VGPU_OK = 0,
	VGPU_E_ARGUMENT = -1,	    // an argument cannot be right, or an address is not this device's memory
	VGPU_E_HANDLE = -2,	    // no such stream, fence, module or function of this device (any more)
	VGPU_E_MEMORY = -3,	    // no device memory: the tenant's quota, or the card is full
	VGPU_E_HOST_MEMORY = -4,    // no memory of the program, or nothing left that may be pinned
	VGPU_E_LIMIT = -5,	    // as many objects of that kind as there may be (struct vgpu_info)
	VGPU_E_NOT_FOUND = -6,	    // the module has no kernel or variable of that name
	VGPU_E_IMAGE = -7,	    // the image is none, does not compile, or is for another kind of GPU
	VGPU_E_LAUNCH = -8,	    // grid, block, shared memory or registers are more than the device has
	VGPU_E_UNSUPPORTED = -9,    // the host's GPU or this version cannot do that
	VGPU_E_NOT_READY = -10,	    // not done yet
	VGPU_E_TIMEOUT = -11,	    // not done within the time given
	VGPU_E_NO_DEVICE = -12,	    // no device can be opened: vgpu_open_error says why
	VGPU_E_REFUSED = -13,	    // there is one that may not be used now (quarantine, host being emptied)
	VGPU_E_FAULT_ADDRESS = -14, // sticky: a kernel used memory that is not its own
	VGPU_E_FAULT_ALIGNMENT = -15, // sticky: a kernel used a misaligned address
	VGPU_E_FAULT_ASSERT = -16,    // sticky: an assertion in a kernel failed
	VGPU_E_FAULT = -17,	      // sticky: a kernel failed otherwise (a trap, an illegal instruction)
	VGPU_E_WATCHDOG = -18,	      // sticky: work ran longer than the tenant may
	VGPU_E_LOST = -19,	      // sticky: the executor, the mediator or the virtual GPU is gone
	VGPU_E_FORKED = -20,	      // the device is the parent process's
	VGPU_E_UNEXPECTED = -21,      // the host answered something that this version does not know
};

// ---- the library and its devices ----

// Version of the library that runs: major << 16 | minor. Same major: programs built with an older minor work.
uint32_t vgpu_version(void);

// What an error means, in English, without a full stop; never NULL, never freed. Any number may be asked.
const char *vgpu_error_text(int error);

// Opens the tenant's device. socket: the mediator's socket; NULL: what VGPU_SOCKET names, else the virtual
// GPU of a virtual machine if there is one, else the default socket. *ret is the caller's, for vgpu_close.
// Takes milliseconds, up to a minute where the host's GPU is busy starting.
// VGPU_E_NO_DEVICE, VGPU_E_REFUSED, VGPU_E_HOST_MEMORY, VGPU_E_ARGUMENT (ret is NULL).
int vgpu_open(const char *socket, struct vgpu **ret);

// Why this thread's last vgpu_open failed, in English; "" if none did. Until its next vgpu_open.
const char *vgpu_open_error(void);

// Gives the device back with all its memory and objects; work in flight is given up, so wait first. Accepts
// NULL. No other call on it may be running or follow.
void vgpu_close(struct vgpu *gpu);

enum vgpu_way {
	VGPU_WAY_SOCKET = 0,	  // the mediator's socket (process mode)
	VGPU_WAY_VIRTUAL_GPU = 1, // /dev/vgpu0 of a virtual machine
};

// What the device is and what a program may have of it. Does not change while the device is open. Later
// versions add fields at the end.
struct vgpu_info {
	uint32_t size;		   // in: sizeof(struct vgpu_info); no more than that is written
	uint32_t protocol_version; // of the channel (PROTOCOL.md)
	uint32_t way;		   // enum vgpu_way
	uint32_t tenant;	   // its number at the mediator
	uint64_t memory_bytes;	   // device memory, as the tenant's quota leaves it
	char name[256];		   // NUL-terminated; of the host's GPU, or the backend that stands for one
	uint8_t uuid[16];
	int32_t compute_major, compute_minor; // compute capability
	int32_t multiprocessors;
	int32_t warp_size;
	int32_t max_threads_per_block;
	int32_t max_block[3]; // x, y, z
	int32_t max_grid[3];
	int32_t shared_bytes_per_block;	     // without asking
	int32_t shared_bytes_per_block_most; // with vgpu_function_shared
	int32_t registers_per_block;
	int32_t clock_khz;
	int32_t priority_least, priority_greatest; // of streams; the greatest is the lower number
	uint32_t max_streams, max_fences, max_modules, max_functions;
	uint32_t max_host_allocations;
	uint32_t max_parameter_bytes; // of one launch
	uint32_t max_log_bytes;	      // of a compile log
	uint64_t max_image_bytes;     // of one image
	uint64_t max_host_bytes;      // pinned memory of this device together
};

// Fills *info as far as info->size says. VGPU_E_ARGUMENT: size is less than 16.
int vgpu_info(struct vgpu *gpu, struct vgpu_info *info);

// The sticky error if there is one; else takes and returns the error of work that was refused after its call
// had returned; else VGPU_OK. Waits for nothing.
int vgpu_check(struct vgpu *gpu);

// ---- memory ----

// bytes (1 or more) of device memory, aligned to 512 at least, contents undefined. VGPU_E_MEMORY.
int vgpu_alloc(struct vgpu *gpu, size_t bytes, uint64_t *ret_address);
// Gives an allocation back, by the address that vgpu_alloc gave; 0 is accepted. Work in flight comes first.
// VGPU_E_ARGUMENT: no allocation begins there.
int vgpu_free(struct vgpu *gpu, uint64_t address);
// Bytes of device memory as the tenant's quota shows them, at this moment; either pointer may be NULL.
int vgpu_memory(struct vgpu *gpu, uint64_t *ret_free, uint64_t *ret_total);

// bytes (1 or more) of the host's memory that the GPU reaches (pinned), page-aligned, zeroed, for the
// processor to use as any memory. Copies to and from it are the fastest, and asynchronous both ways. Takes
// whole pages: few large ones are better than many small ones. VGPU_E_HOST_MEMORY.
int vgpu_host_alloc(struct vgpu *gpu, size_t bytes, void **ret);
// Gives it back, by the address that vgpu_host_alloc gave; NULL is accepted. Waits for work in flight.
int vgpu_host_free(struct vgpu *gpu, void *memory);
// The address by which kernels reach a byte of such memory; may differ from the processor's.
// VGPU_E_ARGUMENT: it is not in memory of vgpu_host_alloc of this device.
int vgpu_host_address(struct vgpu *gpu, const void *memory, uint64_t *ret_address);

// ---- copies and fills ----
//
// All go into a stream (NULL: the device's own first stream) and run in its order. flags: 0, or VGPU_WAIT:
// the call returns when the work is done, with its error. bytes may be 0. VGPU_E_ARGUMENT also for flags
// unknown.

#define VGPU_WAIT 1u

// From the program to the device. Without VGPU_WAIT: src may be reused when the call returns, unless it is
// memory of vgpu_host_alloc, which is read when the copy runs.
int vgpu_copy_in(struct vgpu *gpu, struct vgpu_stream *stream, uint64_t dst, const void *src, size_t bytes,
		 uint32_t flags);
// From the device to the program. Memory of vgpu_host_alloc is filled when the copy runs; any other is filled
// when the call returns, which waits for it.
int vgpu_copy_out(struct vgpu *gpu, struct vgpu_stream *stream, void *dst, uint64_t src, size_t bytes,
		  uint32_t flags);
// Within the device; the ranges must not overlap.
int vgpu_copy(struct vgpu *gpu, struct vgpu_stream *stream, uint64_t dst, uint64_t src, size_t bytes,
	      uint32_t flags);
// count elements of element bytes (1, 2 or 4), each set to the low bytes of value; dst a multiple of element.
int vgpu_fill(struct vgpu *gpu, struct vgpu_stream *stream, uint64_t dst, uint32_t value, uint32_t element,
	      size_t count, uint32_t flags);

// ---- modules ----

// How an image is compiled. Later versions add fields at the end; zeros mean the default.
struct vgpu_load_options {
	uint32_t size;		     // sizeof(struct vgpu_load_options)
	uint32_t max_registers;	     // of a thread; 0: no limit
	uint32_t threads_per_block;  // at least so many must fit; 0: not said
	uint32_t optimization_and_1; // level 0 to 4, plus 1; 0: the default
};

// Loads PTX text, a fat binary or a cubin of bytes bytes (0: the image itself says how long it is; PTX then
// ends with a NUL). The image may be freed when the call returns. options may be NULL. What the compiler said
// goes to log, at most log_bytes with the NUL (0: no log, log may be NULL), on success and on failure; at
// most vgpu_info's max_log_bytes of it exist. VGPU_E_IMAGE, VGPU_E_LIMIT, VGPU_E_MEMORY.
int vgpu_module_load(struct vgpu *gpu, const void *image, size_t bytes,
		     const struct vgpu_load_options *options, char *log, size_t log_bytes,
		     struct vgpu_module **ret);
// Ends the module with its functions and variables. Work in flight still completes.
int vgpu_module_free(struct vgpu *gpu, struct vgpu_module *module);
// Address and size of a variable of the module; either pointer may be NULL. VGPU_E_NOT_FOUND.
int vgpu_module_variable(struct vgpu *gpu, struct vgpu_module *module, const char *name,
			 uint64_t *ret_address, uint64_t *ret_bytes);

// A kernel by name, as the image spells it. The same one each time; it ends with its module.
// VGPU_E_NOT_FOUND, VGPU_E_LIMIT.
int vgpu_function_get(struct vgpu *gpu, struct vgpu_module *module, const char *name,
		      struct vgpu_function **ret);

struct vgpu_function_info {
	uint32_t size;		       // in: sizeof(struct vgpu_function_info)
	uint32_t parameters;	       // how many
	uint32_t parameter_bytes;      // of all together, as they lie in a packed buffer
	int32_t max_threads_per_block; // for this kernel
	int32_t registers;	       // of a thread
	int32_t static_shared_bytes;   // of a block
	int32_t constant_bytes;
	int32_t local_bytes;		  // of a thread
	int32_t max_dynamic_shared_bytes; // that a launch may ask for now
};
int vgpu_function_info(struct vgpu *gpu, struct vgpu_function *function, struct vgpu_function_info *info);
// Where parameter index (from 0) lies in the packed buffer, and its size. VGPU_E_ARGUMENT: there is none.
int vgpu_function_parameter(struct vgpu *gpu, struct vgpu_function *function, uint32_t index,
			    uint32_t *ret_offset, uint32_t *ret_bytes);
// Allows launches to ask for so many bytes of dynamic shared memory (struct vgpu_info,
// shared_bytes_per_block_most). VGPU_E_LAUNCH: more than there is.
int vgpu_function_shared(struct vgpu *gpu, struct vgpu_function *function, uint32_t bytes);

// ---- launches ----

struct vgpu_shape {
	uint32_t size;	   // sizeof(struct vgpu_shape)
	uint32_t grid[3];  // blocks in x, y, z; each 1 or more
	uint32_t block[3]; // threads of a block in x, y, z; each 1 or more
	uint32_t dynamic_shared_bytes;
};

// Runs a kernel in a stream (NULL: the first). parameters[i] points to parameter i, of the size that
// vgpu_function_parameter tells; all is read before the call returns. NULL for a kernel without parameters.
// VGPU_E_LAUNCH: the shape does not fit device or kernel.
int vgpu_launch(struct vgpu *gpu, struct vgpu_stream *stream, struct vgpu_function *function,
		const struct vgpu_shape *shape, const void *const *parameters);
// The same with the parameters as they lie in the kernel's parameter buffer: bytes must be parameter_bytes.
int vgpu_launch_packed(struct vgpu *gpu, struct vgpu_stream *stream, struct vgpu_function *function,
		       const struct vgpu_shape *shape, const void *parameters, size_t bytes);

// ---- streams ----

// Work in one stream runs in order; streams run beside each other and wait only for fences. A number outside
// the device's priorities is brought inside; 0 is the least. VGPU_E_LIMIT.
int vgpu_stream_new(struct vgpu *gpu, int priority, struct vgpu_stream **ret);
// Ends the stream; work in it still completes.
int vgpu_stream_free(struct vgpu *gpu, struct vgpu_stream *stream);
// Waits until all that was put in the stream before is done. VGPU_E_TIMEOUT after timeout_ns.
int vgpu_stream_wait(struct vgpu *gpu, struct vgpu_stream *stream, uint64_t timeout_ns);
// VGPU_OK: done; VGPU_E_NOT_READY. Never waits.
int vgpu_stream_query(struct vgpu *gpu, struct vgpu_stream *stream);
// What is put in the stream from now on waits for the fence's last record (never recorded: for nothing).
int vgpu_stream_after(struct vgpu *gpu, struct vgpu_stream *stream, struct vgpu_fence *fence);

// ---- fences ----

// A place in a stream that can be waited for and measured. VGPU_E_LIMIT.
int vgpu_fence_new(struct vgpu *gpu, struct vgpu_fence **ret);
int vgpu_fence_free(struct vgpu *gpu, struct vgpu_fence *fence);
// Puts the fence behind all that is in the stream now; a new record takes the place of the one before.
int vgpu_fence_record(struct vgpu *gpu, struct vgpu_fence *fence, struct vgpu_stream *stream);
// VGPU_OK: the last record was reached, or there is none; VGPU_E_NOT_READY. Never waits.
int vgpu_fence_query(struct vgpu *gpu, struct vgpu_fence *fence);
// Waits for the last record. VGPU_E_TIMEOUT.
int vgpu_fence_wait(struct vgpu *gpu, struct vgpu_fence *fence, uint64_t timeout_ns);
// Waits until one of n fences (1 to 1024) is reached; *ret_which is the first of them in the list.
int vgpu_fence_wait_any(struct vgpu *gpu, struct vgpu_fence *const *fences, size_t n, uint64_t timeout_ns,
			size_t *ret_which);
// Milliseconds from one fence to another on the GPU, both reached. VGPU_E_NOT_READY; VGPU_E_HANDLE: one was
// never recorded.
int vgpu_fence_elapsed(struct vgpu *gpu, struct vgpu_fence *from, struct vgpu_fence *to, float *ret_ms);

// ---- what kernels print ----

// Room that vgpu_printed wants at least.
#define VGPU_PRINT_BYTES 8000u

// Takes what kernels printed and nobody took yet, oldest first: *ret_bytes of it (0: nothing) go to text,
// without a NUL; if all of VGPU_PRINT_BYTES there may be more. Text of a kernel is there when it was waited
// for. Waits for no work. VGPU_E_ARGUMENT: room is less than VGPU_PRINT_BYTES.
int vgpu_printed(struct vgpu *gpu, char *text, size_t room, size_t *ret_bytes);

#ifdef __cplusplus
}
#endif

#endif
