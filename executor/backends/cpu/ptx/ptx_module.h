// SPDX-License-Identifier: Apache-2.0
/*
 * A loaded module, as the launcher sees it, and the compiler behind it.
 */
#ifndef VGPU_EXECUTOR_CPU_PTX_MODULE_H
#define VGPU_EXECUTOR_CPU_PTX_MODULE_H

#include "executor/backends/cpu/ptx/ptx_ast.h"
#include "executor/backends/cpu/ptx/ptx_rt.h"

#include <llvm-c/Core.h>
#include <llvm-c/Orc.h>

struct ptx_kernel {
	struct ptx_kernel_info info;
	ptx_entry_fn entry;
	bool fibers;
	uint32_t local_bytes; // of a thread, with room for recursion
};

// ptx_jit.c: machine code of one LLVM module.
struct ptx_jit;
int ptx_jit_init(void);
int ptx_jit_verify(LLVMModuleRef mod, struct ptx_error *err);
// Verifies, optimises and compiles; takes mod over in every case. Returns 0 or -EINVAL/-ENOMEM with err
// filled.
int ptx_jit_compile(LLVMModuleRef mod, LLVMOrcThreadSafeContextRef ts, struct ptx_jit **ret,
		    struct ptx_error *err);
void *ptx_jit_symbol(struct ptx_jit *j, const char *name);
void ptx_jit_free(struct ptx_jit *j);

#endif
