// SPDX-License-Identifier: Apache-2.0
/*
 * What generated code and the engine share at run time: the layout of a running block and thread, and the
 * helpers that generated code calls. Generated code runs on a worker thread of the executor, on a stack of
 * the engine's own.
 */
#ifndef VGPU_EXECUTOR_CPU_PTX_RT_H
#define VGPU_EXECUTOR_CPU_PTX_RT_H

#include "executor/backends/cpu/ptx/ptx.h"

#include <stdbool.h>

struct ptx_cta;

// A block while it runs. Generated code reads it by offset and takes all but *stop for constant.
struct ptx_block {
	uint32_t ctaid[3], ntid[3], nctaid[3];
	uint32_t threads;
	uint32_t shared_bytes; // that ld.shared may touch; never below PTX_SHARED_FLOOR
	uint32_t dynamic_off, dynamic_bytes;
	uint32_t smid, nsmid;
	uint64_t gridid;
	uint64_t shared_base, param_base;
	uint64_t local_base, local_bytes; // of thread 0; each thread has local_bytes
	const uint32_t *stop;
	struct ptx_cta *cta;
};

#define PTX_SHARED_FLOOR 128u

enum ptx_fiber_state {
	FIBER_READY,
	FIBER_BARRIER,
	FIBER_WARP,	// at a warp operation, until the lanes of its mask are there
	FIBER_CONVERGE, // at activemask, until the block can do nothing else
	FIBER_DONE,
};

enum ptx_warp_kind { WARP_SYNC, WARP_SHFL, WARP_VOTE, WARP_MATCH, WARP_REDUX, WARP_ACTIVE };

// One resumable thread of a block.
struct ptx_fiber {
	void *sp;
	uint32_t budget; // polls until it lets others run; counted down by generated code
	uint32_t tid[3], lin;
	uint64_t local_base;
	uint8_t state, yielded;
	struct ptx_fiber *next; // in the ready queue or at a barrier
	// at a warp operation: what it brings and what it takes away
	uint8_t kind, op, pred_out;
	uint32_t mask, site, b, c;
	uint64_t value, result;
	void *stack;
	struct ptx_cta *cta;
};

#define PTX_POLL_BUDGET 64u

// Entry of a kernel. Without fibers it runs all threads of the block; with fibers one thread, self.
typedef void (*ptx_entry_fn)(const struct ptx_block *blk, struct ptx_fiber *self);

// ---- helpers called by generated code; blk is the running block, self NULL without fibers ----

// Whether an aligned access outside of the windows lies in memory that ptx_extra_add named.
bool ptx_rt_is_extra(uint64_t addr, uint32_t size);
_Noreturn void ptx_rt_bad_access(const struct ptx_block *blk, uint64_t addr, uint32_t size, uint32_t space);
_Noreturn void ptx_rt_trap(const struct ptx_block *blk, uint32_t why);
_Noreturn void ptx_rt_stopped(const struct ptx_block *blk);
_Noreturn void ptx_rt_exit(const struct ptx_block *blk, struct ptx_fiber *self);
void ptx_rt_yield(const struct ptx_block *blk, struct ptx_fiber *self);

enum ptx_trap_why { PTX_TRAP_PLAIN, PTX_TRAP_CALL, PTX_TRAP_BRANCH, PTX_TRAP_BARRIER };

enum ptx_bar_kind { BAR_SYNC, BAR_ARRIVE, BAR_POPC, BAR_AND, BAR_OR };
// count 0: all threads of the block. Returns the reduction of pred for the last three kinds.
uint32_t ptx_rt_barrier(const struct ptx_block *blk, struct ptx_fiber *self, uint32_t kind, uint32_t id,
			uint32_t count, uint32_t pred);
// result in the low 32 bits (match.any on b64 takes the full value), the predicate in bit 32.
uint64_t ptx_rt_warp(const struct ptx_block *blk, struct ptx_fiber *self, uint32_t kind_op, uint32_t mask,
		     uint64_t value, uint32_t b, uint32_t c, uint32_t site);
enum ptx_shfl_op { SHFL_UP, SHFL_DOWN, SHFL_BFLY, SHFL_IDX };
enum ptx_vote_op { VOTE_ALL, VOTE_ANY, VOTE_UNI, VOTE_BALLOT };
enum ptx_match_op { MATCH_ANY, MATCH_ALL };
enum ptx_redux_op { REDUX_ADD, REDUX_MIN, REDUX_MAX, REDUX_UMIN, REDUX_UMAX, REDUX_AND, REDUX_OR, REDUX_XOR };

uint32_t ptx_rt_vprintf(const struct ptx_block *blk, struct ptx_fiber *self, uint64_t fmt, uint64_t args);
_Noreturn void ptx_rt_assertfail(const struct ptx_block *blk, const uint32_t *tid, uint64_t msg,
				 uint64_t file, uint32_t line, uint64_t func);
// A name that is no condition's is a fault.
void ptx_rt_set_condition(const struct ptx_block *blk, uint64_t name, uint32_t value);
uint64_t ptx_rt_clock(void);
uint64_t ptx_rt_globaltimer(void);

enum ptx_round { ROUND_RN, ROUND_RZ, ROUND_RM, ROUND_RP, ROUND_RNA };
enum ptx_fop { FOP_ADD, FOP_SUB, FOP_MUL, FOP_FMA, FOP_DIV, FOP_SQRT };
float ptx_rt_round_f32(uint32_t op, uint32_t mode, float a, float b, float c);
double ptx_rt_round_f64(uint32_t op, uint32_t mode, double a, double b, double c);
float ptx_rt_f64_to_f32(uint32_t mode, double v);
float ptx_rt_int_to_f32(uint32_t mode, uint64_t v, uint32_t is_signed);
double ptx_rt_int_to_f64(uint32_t mode, uint64_t v, uint32_t is_signed);
// Rounds to a narrower format; returns its bits in the low half (tf32: 32 bits).
enum ptx_narrow { NARROW_F16, NARROW_BF16, NARROW_TF32 };
uint32_t ptx_rt_narrow(uint32_t format, uint32_t mode, double v);
uint32_t ptx_rt_fma_bf16(float a, float b, float c);
float ptx_rt_rsqrt_f32(float v);
float ptx_rt_tanh_f32(float v);
float ptx_rt_ex2_f32(float v);
float ptx_rt_lg2_f32(float v);
float ptx_rt_sin_f32(float v);
float ptx_rt_cos_f32(float v);
// dst += src on f16/bf16 elements; n 1 or 2. The address is checked already. Returns the old bits.
uint32_t ptx_rt_atomic_half(uint64_t addr, uint32_t value, uint32_t n, uint32_t format_op);
void ptx_rt_cas128(uint64_t addr, const uint64_t *cmp, const uint64_t *val, uint64_t *old, uint32_t op);
uint32_t ptx_rt_prmt(uint32_t a, uint32_t b, uint32_t sel, uint32_t mode);

// ---- textures and surfaces (ptx_rt_tex.c, ptx_rt_surf.c) ----
enum ptx_geometry { GEOM_1D, GEOM_2D, GEOM_3D, GEOM_A1D, GEOM_A2D, GEOM_CUBE, GEOM_ACUBE };
#define PTX_TEX_GEOMETRY 7u
#define PTX_TEX_INTEGER	 (1u << 3) // coordinates are .s32
#define PTX_TEX_GATHER	 (1u << 4) // tld4; its component in the bits from PTX_TEX_COMP on
#define PTX_TEX_COMP	 5u
#define PTX_TEX_COORDS	 5u // words: layer (of layered ones), x, y, z; the last one is the level of detail
// How of PTX_TEX_* and a geometry. ret gets the bits of four channels.
void ptx_rt_tex(const struct ptx_block *blk, uint64_t object, uint32_t how, const uint32_t *coords,
		uint32_t *ret);
enum ptx_surface_clamp { SURFACE_TRAP, SURFACE_CLAMP, SURFACE_ZERO };
// A surface's bytes at the place that coords (layer, x in bytes, y, z) name; 0: outside, and nothing is to be
// done. how: geometry | clamp << 3.
uint64_t ptx_rt_surface(const struct ptx_block *blk, uint64_t object, uint32_t how, const uint32_t *coords,
			uint32_t bytes);
enum ptx_texture_query {
	QUERY_WIDTH,
	QUERY_HEIGHT,
	QUERY_DEPTH,
	QUERY_LAYERS,
	QUERY_LEVELS,
	QUERY_NORMALIZED,
};
uint32_t ptx_rt_txq(const struct ptx_block *blk, uint64_t object, uint32_t query, uint32_t is_surface);

#endif
