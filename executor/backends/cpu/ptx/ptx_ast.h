// SPDX-License-Identifier: Apache-2.0
/*
 * What the parser makes of PTX text: a module of variables and functions, a function a list of instructions
 * with resolved operands. Everything lives in the module's arena and dies with it. The void pointers named
 * cg_ belong to the code generator, which fills them anew for each function.
 */
#ifndef VGPU_EXECUTOR_CPU_PTX_AST_H
#define VGPU_EXECUTOR_CPU_PTX_AST_H

#include "executor/backends/cpu/ptx/ptx.h"
#include "executor/backends/cpu/ptx/ptx_words.h"

// Limits of what one module may hold; beyond them a load is refused.
#define PTX_MAX_TEXT	(64u << 20)
#define PTX_MAX_FUNCS	16384u
#define PTX_MAX_REGS	1000000u
#define PTX_MAX_DEPTH	48u // nesting of scopes, initialisers, expressions
#define PTX_MAX_VAR	(1ull << 32)
#define PTX_MAX_GLOBALS (16ull << 30)
#define PTX_MAX_OPS	8u
#define PTX_MAX_LIST	1024u // parameters of a function, targets of a branch table

enum ptx_space { SP_GENERIC, SP_GLOBAL, SP_SHARED, SP_LOCAL, SP_CONST, SP_PARAM, SP_REG };

// X(name of the register without the component, values are 32 bit unless listed in ptx_sreg_bits)
#define PTX_SREGS(X)         \
	X(tid)               \
	X(ntid)              \
	X(ctaid)             \
	X(nctaid)            \
	X(laneid)            \
	X(warpid)            \
	X(nwarpid)           \
	X(smid)              \
	X(nsmid)             \
	X(gridid)            \
	X(clock)             \
	X(clock_hi)          \
	X(clock64)           \
	X(globaltimer)       \
	X(globaltimer_lo)    \
	X(globaltimer_hi)    \
	X(lanemask_eq)       \
	X(lanemask_le)       \
	X(lanemask_lt)       \
	X(lanemask_ge)       \
	X(lanemask_gt)       \
	X(dynamic_smem_size) \
	X(total_smem_size)   \
	X(aggr_smem_size)    \
	X(envreg)            \
	X(clusterid)         \
	X(nclusterid)        \
	X(cluster_ctaid)     \
	X(cluster_nctaid)    \
	X(cluster_ctarank)   \
	X(cluster_nctarank)  \
	X(is_explicit_cluster)

enum ptx_sreg {
#define X(id) SR_##id,
	PTX_SREGS(X)
#undef X
	    SR_WARP_SZ,
	SR_COUNT
};

struct ptx_reg {
	const char *name;
	enum ptx_type type;
	struct ptx_reg *next; // of the function
	void *cg_slot;
};

struct ptx_func;
struct ptx_var;

// One initialised element of a variable: value, or the address of var/func plus value.
struct ptx_init {
	struct ptx_init *next;
	uint64_t at; // bytes from the start of the variable
	uint64_t value;
	struct ptx_var *var;
	struct ptx_func *func;
	uint8_t size;
};

struct ptx_var {
	const char *name;
	unsigned line;
	enum ptx_space space;
	enum ptx_type type;
	uint32_t align;
	uint64_t size; // bytes; 0 for extern .shared arrays
	bool is_extern, is_dynamic, address_taken, is_reg;
	struct ptx_func *owner; // NULL at module scope
	struct ptx_init *inits;
	struct ptx_reg *reg; // .reg parameter of a .func
	uint64_t addr;	     // global, const: address; local: offset in the frame; kernel parameter: offset;
			     // shared: see sema
	bool in_func;	     // a .func names it
	uint8_t mark;	     // of sema
	const struct ptx_func *last_user;
	struct ptx_var *next; // of the module or the function
	void *cg_slot;
};

struct ptx_label {
	const char *name;
	unsigned line;
	uint32_t position; // index of the next instruction
	bool defined;
	struct ptx_label **targets; // .branchtargets
	uint32_t n_targets;
	struct ptx_func *proto; // .callprototype or the first of .calltargets
	struct ptx_label *next; // of its scope while parsing
	void *cg_bb;
};

enum ptx_operand_kind {
	OPD_NONE,
	OPD_REG,
	OPD_INT,
	OPD_F32,  // u: bits
	OPD_F64,  // u: bits
	OPD_VAR,  // var + off
	OPD_FUNC, // address of a function
	OPD_LABEL,
	OPD_SREG,
	OPD_VEC,
	OPD_ADDR, // [reg or var or nothing + off]
	OPD_TEX,  // [reg, coordinates]: elems
	OPD_SINK, // _
};

struct ptx_operand {
	uint8_t kind;
	uint8_t negate; // !p
	uint8_t comp;	// component of a special register
	uint8_t sreg;
	uint32_t n; // elements of a vector
	union {
		uint64_t u;
		int64_t off;
	};
	struct ptx_reg *reg;
	struct ptx_var *var;
	struct ptx_func *func;
	struct ptx_label *label;
	struct ptx_operand *elems;
	struct ptx_operand *second; // q of p|q
};

struct ptx_call {
	struct ptx_operand *rets, *args;
	uint32_t n_rets, n_args;
	struct ptx_operand target; // OPD_FUNC or OPD_REG
	struct ptx_label *proto;   // of an indirect call
};

struct ptx_op;

struct ptx_insn {
	struct ptx_insn *next;
	const struct ptx_op *op; // NULL: only a label stands here
	struct ptx_label *label;
	unsigned line;
	uint32_t position;
	struct ptx_reg *pred;
	bool pred_negate;
	uint8_t n_types, n_mods, n_ops;
	uint8_t types[4];
	uint8_t mods[10];
	uint64_t modset[(W_COUNT + 63) / 64];
	struct ptx_operand *ops;
	struct ptx_call *call;
};

struct ptx_func {
	const char *name;
	unsigned line;
	bool is_entry, has_body;
	struct ptx_var **params, **rets;
	uint32_t n_params, n_rets;
	struct ptx_reg *regs;
	uint32_t n_regs;
	struct ptx_var *vars; // shared, local, and .param declared inside
	struct ptx_insn *insns, **insns_end;
	uint32_t n_insns;
	uint32_t maxntid, reqntid[3];
	// filled by the parser and sema
	bool has_sync, has_exit, has_poll, has_loop; // of the function, and of its callees after sema
	bool address_taken, recursive;
	uint32_t id;		// index in the module + 1: the value of a function pointer
	uint32_t frame_bytes;	// of .local variables and of parameters whose address is taken
	uint32_t frame_deepest; // with the deepest chain of callees
	uint32_t shared_bytes;	// static shared memory (entries)
	uint8_t mark;
	struct ptx_func **callees;
	uint32_t n_callees, cap_callees;
	bool calls_indirect;
	struct ptx_var **shared_vars; // named by this function
	uint32_t n_shared, cap_shared;
	struct ptx_func *next;
	void *cg_fn;
};

struct ptx_arena {
	struct ptx_arena_chunk *chunks;
	size_t used, cap;
};

// Zeroed memory that lives as long as the arena; NULL when memory is out.
void *ptx_arena_alloc(struct ptx_arena *a, size_t size);
void ptx_arena_done(struct ptx_arena *a);

struct ptx_unit {
	struct ptx_arena arena;
	uint32_t version, sm;
	struct ptx_func *funcs, **funcs_end;
	struct ptx_var *vars, **vars_end;
	uint32_t n_funcs;
	uint64_t global_bytes, const_bytes;
	uint32_t common_shared; // bytes of shared variables that .func name, at offset 0 of every kernel
};

static inline bool ptx_has(const struct ptx_insn *in, enum ptx_word w)
{
	return in->modset[w / 64] >> (w % 64) & 1;
}

const char *ptx_sreg_name(enum ptx_sreg r);
// Name without '%'; -1 when there is none. %envregN all map to SR_envreg.
int ptx_sreg_find(const char *s, size_t n);
unsigned ptx_sreg_bits(enum ptx_sreg r);
bool ptx_sreg_has_component(enum ptx_sreg r);

#endif
