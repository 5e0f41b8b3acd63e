// SPDX-License-Identifier: Apache-2.0
/*
 * The instruction table: name, what may follow it, and who makes code of it.
 */
#ifndef VGPU_EXECUTOR_CPU_PTX_OPS_H
#define VGPU_EXECUTOR_CPU_PTX_OPS_H

#include "executor/backends/cpu/ptx/ptx_ast.h"

struct ptx_cg;

enum ptx_op_flag {
	OF_CALL = 1 << 0,   // operands are those of call
	OF_SYNC = 1 << 1,   // threads of a block meet here: needs resumable threads
	OF_EXIT = 1 << 2,   // ends the thread
	OF_BRANCH = 1 << 3, // operand 0 is a label
	OF_TABLE = 1 << 4,  // operand 1 is a .branchtargets label
	OF_ATOM = 1 << 5,   // touches memory that others may change: a loop of it may poll
	OF_YIELD = 1 << 6,  // lets other threads go on
	OF_TEX = 1 << 7,    // an address is of an object, and coordinates
};

struct ptx_op {
	const char *name;
	void (*emit)(struct ptx_cg *cg, const struct ptx_insn *in);
	uint32_t classes; // of modifiers
	uint8_t min_ops, max_ops, max_types;
	uint8_t flags;
	uint8_t arg; // for emitters that serve several names
};

// NULL when the instruction is not supported.
const struct ptx_op *ptx_op_find(const char *name, size_t len);

#endif
