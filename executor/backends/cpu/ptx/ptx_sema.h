// SPDX-License-Identifier: Apache-2.0
/*
 * Facts about functions that need the whole module: see ptx_sema in ptx_parse.h.
 */
#ifndef VGPU_EXECUTOR_CPU_PTX_SEMA_H
#define VGPU_EXECUTOR_CPU_PTX_SEMA_H

#include "executor/backends/cpu/ptx/ptx_ast.h"

// Functions without body that the engine supplies itself.
enum ptx_builtin { PTX_BUILTIN_NONE, PTX_BUILTIN_VPRINTF, PTX_BUILTIN_ASSERTFAIL, PTX_BUILTIN_CONDITION };
enum ptx_builtin ptx_builtin_of(const struct ptx_func *f);

// Gives the shared variables of an entry their offsets (they may differ from entry to entry); returns the
// bytes.
uint64_t ptx_layout_shared(const struct ptx_unit *u, struct ptx_func *f);

// Whether the threads of a block must be resumable: they meet, leave from inside a .func, or poll memory.
bool ptx_needs_fibers(const struct ptx_func *f);

// Local memory beyond the deepest known chain of calls, for recursion and indirect calls.
#define PTX_RECURSION_LOCAL (64u << 10)

#endif
