// SPDX-License-Identifier: Apache-2.0
/*
 * The PTX engine of the cpu backend: loads PTX text, compiles it for the host's processor and runs grids of
 * it on worker threads. Lives in the executor process of one tenant; the rest of the cpu backend is its only
 * caller.
 *
 * The tenant is hostile. A kernel can reach only three windows of the address space (below), never any other
 * memory of the process; text that the engine does not understand completely is refused at load, with line
 * and opcode.
 */
#ifndef VGPU_EXECUTOR_CPU_PTX_H
#define VGPU_EXECUTOR_CPU_PTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The windows a kernel can reach, each PTX_WINDOW_SIZE bytes. Device and host memory are reserved and mapped
 * by the caller (a hole faults); the engine reserves its own window (shared and local memory of running
 * blocks) and the gaps between the windows when the first machine is made, so nothing else may ever be mapped
 * between PTX_WINDOW_ENGINE and the end of PTX_WINDOW_DEVICE.
 */
#define PTX_WINDOW_ENGINE 0x100000000000ull
#define PTX_WINDOW_HOST	  0x200000000000ull
#define PTX_WINDOW_DEVICE 0x300000000000ull
#define PTX_WINDOW_SIZE	  (1ull << 40)

struct ptx_module;
struct ptx_kernel;
struct ptx_machine;

// Why a load was refused. line counts from 1 (0: not tied to a line); opcode is empty when no instruction is
// at fault.
struct ptx_error {
	unsigned line;
	char opcode[48];
	char text[192];
};

// One kernel parameter: where its bytes lie in the parameter buffer of a launch.
struct ptx_param {
	uint32_t offset, size, align;
};

struct ptx_kernel_info {
	const char *name;
	uint32_t n_params;
	const struct ptx_param *params;
	uint32_t param_bytes;	// bytes a launch needs at least
	uint32_t shared_static; // bytes of static shared memory, without the dynamic part
	uint32_t local_bytes;	// local memory of one thread
	uint32_t const_bytes;	// .const of the whole module
	uint32_t regs_estimate; // registers declared and used, at most 255
	uint32_t max_threads;	// from .maxntid or .reqntid, else 1024
	uint32_t req_ntid[3];	// from .reqntid, else 0
	uint32_t ptx_version;	// 10 * major + minor
	uint32_t target_sm;	// 75 for sm_75
};

/*
 * Memory for .global and .const variables comes from the caller so that it lies in the device window. alloc
 * returns 0 or a negative errno; the memory must be mapped read-write when it returns. The module frees it in
 * ptx_module_free.
 */
struct ptx_module_env {
	void *opaque;
	int (*alloc)(void *opaque, size_t size, size_t align, uint64_t *ret_addr);
	void (*free)(void *opaque, uint64_t addr);
};

/*
 * Parses, checks and compiles text (len bytes, need not end in NUL; a NUL ends it). env is copied. Returns 0,
 * -EINVAL (the text is wrong or unsupported: err says why), -ENOMEM or what env->alloc returned; err is
 * filled on every failure and may be NULL. Thread-safe.
 */
int ptx_module_load(const char *text, size_t len, const struct ptx_module_env *env, struct ptx_module **ret,
		    struct ptx_error *err);
// No kernel of the module may be running. Accepts NULL.
void ptx_module_free(struct ptx_module *m);

// Only parses and checks: nothing is compiled or allocated from the caller. For the fuzzer and for quick
// refusals.
int ptx_check(const char *text, size_t len, struct ptx_error *err);

size_t ptx_module_kernel_count(const struct ptx_module *m);
const struct ptx_kernel *ptx_module_kernel_at(const struct ptx_module *m, size_t i); // NULL past the end
const struct ptx_kernel *ptx_module_kernel(const struct ptx_module *m, const char *name);
// Owned by the module.
const struct ptx_kernel_info *ptx_kernel_info(const struct ptx_kernel *k);
// Address and size of a .global or .const variable; -ENOENT when there is none of that name.
int ptx_module_global(const struct ptx_module *m, const char *name, uint64_t *ret_addr, size_t *ret_size);

/*
 * Memory outside of the windows that kernels may reach as well, at a cost for each access (registered memory
 * of the program). It must stay mapped read-write until it is removed, and no kernel may be using it then. 0
 * or -ENOMEM.
 */
int ptx_extra_add(uint64_t addr, uint64_t size);
void ptx_extra_remove(uint64_t addr);

/*
 * A pool of workers that run blocks in parallel; threads = 0 means one for each core. The thread that
 * launches works too, so a machine of one thread starts none. NULL: out of memory, or the address windows are
 * taken (errno says which).
 */
struct ptx_machine *ptx_machine_new(unsigned threads);
// No launch may be running. Accepts NULL.
void ptx_machine_free(struct ptx_machine *m);

enum ptx_fault_kind {
	PTX_FAULT_NONE,
	PTX_FAULT_ADDRESS,    // outside the windows, not mapped, outside shared memory, or stack overflow
	PTX_FAULT_MISALIGNED, // address not a multiple of the access size
	PTX_FAULT_TRAP,	      // trap, brkpt, bad indirect call, or a block that can never go on
	PTX_FAULT_ASSERT,     // device-side assert; text holds the message
	PTX_FAULT_STOPPED,    // ptx_machine_stop
};

struct ptx_fault {
	enum ptx_fault_kind kind;
	uint64_t addr; // of the access, for ADDRESS and MISALIGNED
	char text[512];
};

/*
 * Runs a grid and returns when it is done or stopped. 0: every thread finished. -EINVAL: the shape,
 * dynamic_shared or params_len does not suit the kernel (nothing ran, ret->text says why). -EFAULT: the grid
 * ended early, ret says why. -ECANCELED: stopped. -ENOMEM. Several threads may launch at once. ret must not
 * be NULL.
 */
int ptx_launch(struct ptx_machine *m, const struct ptx_kernel *k, const uint32_t grid[3],
	       const uint32_t block[3], uint32_t dynamic_shared, const void *params, size_t params_len,
	       struct ptx_fault *ret);
// From any thread: every launch running now ends with PTX_FAULT_STOPPED soon, even out of an infinite loop.
void ptx_machine_stop(struct ptx_machine *m);
// Where printf from kernels goes; called from worker threads, one at a time. Set while nothing runs. NULL:
// dropped.
void ptx_machine_output(struct ptx_machine *m, void (*print)(void *opaque, const char *text, size_t len),
			void *opaque);

// What cudaGraphSetConditional does, called from worker threads, several at a time; false: the name is no
// condition's, which is the kernel's fault. Set while nothing runs. NULL: there are no conditions.
void ptx_machine_conditions(struct ptx_machine *m, bool (*set)(void *opaque, uint64_t name, uint32_t value),
			    void *opaque);

// Upper bounds that a launch is checked against.
#define PTX_MAX_BLOCK_THREADS 1024u
#define PTX_MAX_SHARED	      (228u * 1024) // static and dynamic together
#define PTX_MAX_LOCAL	      (512u * 1024) // bytes a thread
#define PTX_MAX_PARAMS	      32764u

#endif
