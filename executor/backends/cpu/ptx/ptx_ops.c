// SPDX-License-Identifier: Apache-2.0
/*
 * The instruction table. What is not in it is refused at load. Read by the parser, the emitters live in
 * codegen_*.c.
 */
#include "executor/backends/cpu/ptx/ptx_ops.h"
#include "executor/backends/cpu/ptx/codegen.h"

#include <pthread.h>
#include <string.h>

#define FARITH (K_RND | K_FTZ | K_SAT)
#define MEMORY (K_SPACE | K_CACHE | K_ORDER | K_SCOPE | K_VEC)
#define ATOMIC (K_SPACE | K_ORDER | K_SCOPE | K_ATOM)

static const struct ptx_op ops[] = {
	// name, emitter, classes, operands min max, types max, flags, arg
	{ "add", ptx_emit_add, FARITH | K_CC, 3, 3, 1, 0, 0 },
	{ "sub", ptx_emit_sub, FARITH | K_CC, 3, 3, 1, 0, 0 },
	{ "addc", ptx_emit_addc, K_CC, 3, 3, 1, 0, 0 },
	{ "subc", ptx_emit_addc, K_CC, 3, 3, 1, 0, 1 },
	{ "mul", ptx_emit_mul, FARITH | K_HLW, 3, 3, 1, 0, 0 },
	{ "mad", ptx_emit_mad, FARITH | K_HLW | K_CC, 4, 4, 1, 0, 0 },
	{ "madc", ptx_emit_madc, K_HLW | K_CC, 4, 4, 1, 0, 0 },
	{ "mul24", ptx_emit_mul24, K_HLW, 3, 3, 1, 0, 0 },
	{ "mad24", ptx_emit_mad24, K_HLW | K_SAT, 4, 4, 1, 0, 0 },
	{ "sad", ptx_emit_sad, 0, 4, 4, 1, 0, 0 },
	{ "div", ptx_emit_div, FARITH | K_APX, 3, 3, 1, 0, 0 },
	{ "rem", ptx_emit_rem, 0, 3, 3, 1, 0, 0 },
	{ "abs", ptx_emit_abs, K_FTZ, 2, 2, 1, 0, 0 },
	{ "neg", ptx_emit_neg, K_FTZ, 2, 2, 1, 0, 0 },
	{ "min", ptx_emit_minmax, K_FTZ | K_NAN | K_RELU, 3, 3, 1, 0, 0 },
	{ "max", ptx_emit_minmax, K_FTZ | K_NAN | K_RELU, 3, 3, 1, 0, 1 },
	{ "popc", ptx_emit_popc, 0, 2, 2, 1, 0, 0 },
	{ "clz", ptx_emit_clz, 0, 2, 2, 1, 0, 0 },
	{ "bfind", ptx_emit_bfind, K_AMT, 2, 2, 1, 0, 0 },
	{ "fns", ptx_emit_fns, 0, 4, 4, 1, 0, 0 },
	{ "brev", ptx_emit_brev, 0, 2, 2, 1, 0, 0 },
	{ "bfe", ptx_emit_bfe, 0, 4, 4, 1, 0, 0 },
	{ "bfi", ptx_emit_bfi, 0, 5, 5, 1, 0, 0 },
	{ "bmsk", ptx_emit_bmsk, K_WC, 3, 3, 1, 0, 0 },
	{ "szext", ptx_emit_szext, K_WC, 3, 3, 1, 0, 0 },
	{ "dp4a", ptx_emit_dp, 0, 4, 4, 2, 0, 4 },
	{ "dp2a", ptx_emit_dp, K_HLW, 4, 4, 2, 0, 2 },
	{ "shl", ptx_emit_shift, 0, 3, 3, 1, 0, 1 },
	{ "shr", ptx_emit_shift, 0, 3, 3, 1, 0, 0 },
	{ "shf", ptx_emit_shf, K_WC, 4, 4, 1, 0, 0 },
	{ "prmt", ptx_emit_prmt, K_PRMT, 4, 4, 1, 0, 0 },
	{ "lop3", ptx_emit_lop3, 0, 5, 5, 1, 0, 0 },
	{ "and", ptx_emit_logic, 0, 3, 3, 1, 0, 0 },
	{ "or", ptx_emit_logic, 0, 3, 3, 1, 0, 1 },
	{ "xor", ptx_emit_logic, 0, 3, 3, 1, 0, 2 },
	{ "not", ptx_emit_not, 0, 2, 2, 1, 0, 0 },
	{ "cnot", ptx_emit_cnot, 0, 2, 2, 1, 0, 0 },
	{ "fma", ptx_emit_fma, FARITH | K_RELU, 4, 4, 1, 0, 0 },
	{ "rcp", ptx_emit_rcp, FARITH | K_APX, 2, 2, 1, 0, 0 },
	{ "sqrt", ptx_emit_sqrt, FARITH | K_APX, 2, 2, 1, 0, 0 },
	{ "rsqrt", ptx_emit_rsqrt, K_FTZ | K_APX, 2, 2, 1, 0, 0 },
	{ "sin", ptx_emit_special, K_FTZ | K_APX, 2, 2, 1, 0, 0 },
	{ "cos", ptx_emit_special, K_FTZ | K_APX, 2, 2, 1, 0, 1 },
	{ "ex2", ptx_emit_special, K_FTZ | K_APX, 2, 2, 1, 0, 2 },
	{ "lg2", ptx_emit_special, K_FTZ | K_APX, 2, 2, 1, 0, 3 },
	{ "tanh", ptx_emit_special, K_FTZ | K_APX, 2, 2, 1, 0, 4 },
	{ "testp", ptx_emit_testp, K_TESTP, 2, 2, 1, 0, 0 },
	{ "copysign", ptx_emit_copysign, 0, 3, 3, 1, 0, 0 },
	{ "setp", ptx_emit_setp, K_CMP | K_BOOL | K_FTZ, 3, 4, 1, 0, 0 },
	{ "set", ptx_emit_set, K_CMP | K_BOOL | K_FTZ, 3, 4, 2, 0, 0 },
	{ "selp", ptx_emit_selp, 0, 4, 4, 1, 0, 0 },
	{ "slct", ptx_emit_slct, K_FTZ, 4, 4, 2, 0, 0 },
	{ "cvt", ptx_emit_cvt, K_RND | K_IRND | K_FTZ | K_SAT | K_RELU, 2, 3, 2, 0, 0 },
	{ "cvta", ptx_emit_cvta, K_TO | K_SPACE, 2, 2, 1, 0, 0 },
	{ "isspacep", ptx_emit_isspacep, K_SPACE, 2, 2, 0, 0, 0 },
	{ "mov", ptx_emit_mov, 0, 2, 2, 1, 0, 0 },
	{ "ld", ptx_emit_ld, MEMORY, 2, 2, 1, OF_ATOM, 0 },
	{ "ldu", ptx_emit_ld, K_SPACE | K_VEC, 2, 2, 1, 0, 0 },
	{ "st", ptx_emit_st, MEMORY, 2, 2, 1, 0, 0 },
	{ "atom", ptx_emit_atom, ATOMIC, 3, 4, 1, OF_ATOM, 0 },
	{ "red", ptx_emit_red, ATOMIC, 2, 2, 1, 0, 0 },
	{ "prefetch", ptx_emit_prefetch, K_SPACE | K_CACHE, 1, 1, 0, 0, 0 },
	{ "prefetchu", ptx_emit_prefetch, K_CACHE, 1, 1, 0, 0, 0 },
	{ "cp", ptx_emit_cpasync, K_COPY | K_SPACE, 0, 4, 0, 0, 0 },
	{ "tex", ptx_emit_tex, K_GEOM | K_TEX | K_VEC, 2, 3, 2, OF_TEX, 0 },
	{ "tld4", ptx_emit_tex, K_GEOM | K_TEX | K_VEC, 2, 2, 2, OF_TEX, 1 },
	{ "txq", ptx_emit_txq, K_QUERY, 2, 2, 1, 0, 0 },
	{ "suld", ptx_emit_suld, K_GEOM | K_SURF | K_VEC | K_CACHE, 2, 2, 1, OF_TEX, 0 },
	{ "sust", ptx_emit_sust, K_GEOM | K_SURF | K_VEC | K_CACHE, 2, 2, 1, OF_TEX, 0 },
	{ "sured", ptx_emit_sured, K_GEOM | K_SURF | K_ATOM, 2, 2, 1, OF_TEX, 0 },
	{ "suq", ptx_emit_txq, K_QUERY, 2, 2, 1, 0, 1 },
	{ "membar", ptx_emit_fence, K_SCOPE, 0, 0, 0, 0, 0 },
	{ "fence", ptx_emit_fence, K_ORDER | K_SCOPE | K_FENCE, 0, 0, 0, 0, 0 },
	{ "griddepcontrol", ptx_emit_nop, K_FENCE, 0, 0, 0, 0, 0 },
	{ "bar", ptx_emit_bar, K_SYNC | (K_SCOPE), 1, 4, 1, OF_SYNC, 0 },
	{ "barrier", ptx_emit_bar, K_SYNC | (K_SCOPE), 1, 4, 1, OF_SYNC, 0 },
	{ "shfl", ptx_emit_shfl, K_SHFL | K_SYNC, 4, 5, 1, OF_SYNC, 0 },
	{ "vote", ptx_emit_vote, K_VOTE | K_SYNC, 2, 3, 1, OF_SYNC, 0 },
	{ "activemask", ptx_emit_activemask, 0, 1, 1, 1, OF_SYNC, 0 },
	{ "match", ptx_emit_match, K_VOTE | K_SYNC, 3, 3, 1, OF_SYNC, 0 },
	{ "redux", ptx_emit_redux, K_ATOM | K_SYNC, 3, 3, 1, OF_SYNC, 0 },
	{ "bra", ptx_emit_bra, K_UNI, 1, 1, 0, OF_BRANCH, 0 },
	{ "brx", ptx_emit_brx, K_UNI | K_SHFL, 2, 2, 0, OF_TABLE, 0 },
	{ "call", ptx_emit_call, K_UNI, 0, 0, 0, OF_CALL, 0 },
	{ "ret", ptx_emit_ret, K_UNI, 0, 0, 0, 0, 0 },
	{ "exit", ptx_emit_exit, 0, 0, 0, 0, OF_EXIT, 0 },
	{ "trap", ptx_emit_trap, 0, 0, 0, 0, 0, 0 },
	{ "brkpt", ptx_emit_trap, 0, 0, 0, 0, 0, 0 },
	{ "nanosleep", ptx_emit_nanosleep, 0, 1, 1, 1, OF_YIELD, 0 },
	{ "pmevent", ptx_emit_nop, 0, 1, 1, 0, 0, 0 },
};

#define N_OPS	 (sizeof(ops) / sizeof(ops[0]))
#define HASH_LEN 512u

static const struct ptx_op *by_hash[HASH_LEN];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t hash(const char *s, size_t n)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * 16777619u;
	return h % HASH_LEN;
}

static void fill(void)
{
	for (size_t i = 0; i < N_OPS; i++) {
		uint32_t h = hash(ops[i].name, strlen(ops[i].name));

		while (by_hash[h])
			h = (h + 1) % HASH_LEN;
		by_hash[h] = &ops[i];
	}
}

const struct ptx_op *ptx_op_find(const char *name, size_t len)
{
	pthread_once(&once, fill);
	for (uint32_t h = hash(name, len); by_hash[h]; h = (h + 1) % HASH_LEN)
		if (strlen(by_hash[h]->name) == len && !memcmp(by_hash[h]->name, name, len))
			return by_hash[h];
	return NULL;
}
