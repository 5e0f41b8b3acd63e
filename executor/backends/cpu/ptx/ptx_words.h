// SPDX-License-Identifier: Apache-2.0
/*
 * Types and the dotted words ("modifiers") that may follow an opcode. A word belongs to classes; each
 * instruction names the classes that it accepts, so a modifier that its emitter does not know is refused at
 * load instead of being ignored.
 */
#ifndef VGPU_EXECUTOR_CPU_PTX_WORDS_H
#define VGPU_EXECUTOR_CPU_PTX_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ptx_type {
	T_NONE,
	T_PRED,
	T_U8,
	T_U16,
	T_U32,
	T_U64,
	T_S8,
	T_S16,
	T_S32,
	T_S64,
	T_B8,
	T_B16,
	T_B32,
	T_B64,
	T_B128,
	T_F16,
	T_F32,
	T_F64,
	T_BF16,
	T_F16X2,
	T_BF16X2,
	T_TF32,
	T_U16X2,
	T_S16X2,
	T_COUNT
};

// Bits of a value of the type (1 for predicates).
unsigned ptx_type_bits(enum ptx_type t);
bool ptx_type_signed(enum ptx_type t);
bool ptx_type_float(enum ptx_type t);
// T_NONE when the word is no type.
enum ptx_type ptx_type_find(const char *s, size_t n);

enum ptx_word_class {
	K_RND = 1 << 0,	   // rn rz rm rp: rounding of a floating point result
	K_IRND = 1 << 1,   // rni rzi rmi rpi: rounding to an integer
	K_FTZ = 1 << 2,	   // flush subnormals
	K_SAT = 1 << 3,	   // clamp the result
	K_APX = 1 << 4,	   // approx full
	K_CMP = 1 << 5,	   // eq ne lt ...
	K_BOOL = 1 << 6,   // and or xor, joined to a comparison
	K_HLW = 1 << 7,	   // hi lo wide
	K_CC = 1 << 8,	   // carry out
	K_SPACE = 1 << 9,  // state spaces
	K_CACHE = 1 << 10, // hints that change no result
	K_ORDER = 1 << 11, // memory order
	K_SCOPE = 1 << 12,
	K_VEC = 1 << 13,
	K_UNI = 1 << 14,
	K_TO = 1 << 15,
	K_ATOM = 1 << 16, // operations of atom and red
	K_SHFL = 1 << 17,
	K_VOTE = 1 << 18, // all any uni ballot
	K_WC = 1 << 19,	  // wrap clamp l r
	K_PRMT = 1 << 20,
	K_TESTP = 1 << 21,
	K_SYNC = 1 << 22, // sync arrive red warp aligned popc
	K_NAN = 1 << 23,  // NaN
	K_RELU = 1 << 24,
	K_AMT = 1 << 25,   // shiftamt
	K_FENCE = 1 << 26, // words of fence and griddepcontrol
	K_COPY = 1 << 27,  // words of cp.async
	K_GEOM = 1 << 28,  // of textures and surfaces
	K_TEX = 1 << 29,   // level, components
	K_QUERY = 1 << 30, // width height ...
	K_SURF = 1u << 31, // b trap clamp zero
};

// X(identifier, spelling, classes)
#define PTX_WORDS(X)                                       \
	X(rn, "rn", K_RND)                                 \
	X(rz, "rz", K_RND)                                 \
	X(rm, "rm", K_RND)                                 \
	X(rp, "rp", K_RND)                                 \
	X(rna, "rna", K_RND)                               \
	X(rni, "rni", K_IRND)                              \
	X(rzi, "rzi", K_IRND)                              \
	X(rmi, "rmi", K_IRND)                              \
	X(rpi, "rpi", K_IRND)                              \
	X(ftz, "ftz", K_FTZ)                               \
	X(sat, "sat", K_SAT)                               \
	X(satfinite, "satfinite", K_SAT)                   \
	X(approx, "approx", K_APX)                         \
	X(full, "full", K_APX)                             \
	X(eq, "eq", K_CMP)                                 \
	X(ne, "ne", K_CMP)                                 \
	X(lt, "lt", K_CMP)                                 \
	X(le, "le", K_CMP)                                 \
	X(gt, "gt", K_CMP)                                 \
	X(ge, "ge", K_CMP)                                 \
	X(ls, "ls", K_CMP)                                 \
	X(hs, "hs", K_CMP)                                 \
	X(equ, "equ", K_CMP)                               \
	X(neu, "neu", K_CMP)                               \
	X(ltu, "ltu", K_CMP)                               \
	X(leu, "leu", K_CMP)                               \
	X(gtu, "gtu", K_CMP)                               \
	X(geu, "geu", K_CMP)                               \
	X(num, "num", K_CMP)                               \
	X(nan, "nan", K_CMP)                               \
	X(and, "and", K_BOOL | K_ATOM | K_SYNC)            \
	X(or, "or", K_BOOL | K_ATOM | K_SYNC)              \
	X(xor, "xor", K_BOOL | K_ATOM | K_SYNC)            \
	X(hi, "hi", K_HLW | K_CMP)                         \
	X(lo, "lo", K_HLW | K_CMP)                         \
	X(wide, "wide", K_HLW)                             \
	X(cc, "cc", K_CC)                                  \
	X(global, "global", K_SPACE)                       \
	X(shared, "shared", K_SPACE)                       \
	X(shared_cta, "shared::cta", K_SPACE)              \
	X(local, "local", K_SPACE)                         \
	X(constant, "const", K_SPACE)                      \
	X(param, "param", K_SPACE)                         \
	X(param_entry, "param::entry", K_SPACE)            \
	X(param_func, "param::func", K_SPACE)              \
	X(ca, "ca", K_CACHE | K_COPY)                      \
	X(cg, "cg", K_CACHE | K_COPY)                      \
	X(cs, "cs", K_CACHE)                               \
	X(lu, "lu", K_CACHE)                               \
	X(cv, "cv", K_CACHE)                               \
	X(wb, "wb", K_CACHE)                               \
	X(wt, "wt", K_CACHE)                               \
	X(nc, "nc", K_CACHE)                               \
	X(L1, "L1", K_CACHE)                               \
	X(L2, "L2", K_CACHE)                               \
	X(L1_no_allocate, "L1::no_allocate", K_CACHE)      \
	X(L1_evict_last, "L1::evict_last", K_CACHE)        \
	X(L1_evict_first, "L1::evict_first", K_CACHE)      \
	X(L1_evict_normal, "L1::evict_normal", K_CACHE)    \
	X(L1_evict_unch, "L1::evict_unchanged", K_CACHE)   \
	X(L2_evict_last, "L2::evict_last", K_CACHE)        \
	X(L2_evict_first, "L2::evict_first", K_CACHE)      \
	X(L2_evict_normal, "L2::evict_normal", K_CACHE)    \
	X(L2_64B, "L2::64B", K_CACHE | K_COPY)             \
	X(L2_128B, "L2::128B", K_CACHE | K_COPY)           \
	X(L2_256B, "L2::256B", K_CACHE | K_COPY)           \
	X(weak, "weak", K_ORDER)                           \
	X(relaxed, "relaxed", K_ORDER)                     \
	X(acquire, "acquire", K_ORDER)                     \
	X(release, "release", K_ORDER)                     \
	X(acq_rel, "acq_rel", K_ORDER)                     \
	X(sc, "sc", K_ORDER)                               \
	X(volat, "volatile", K_ORDER)                      \
	X(mmio, "mmio", K_ORDER)                           \
	X(cta, "cta", K_SCOPE)                             \
	X(cluster, "cluster", K_SCOPE)                     \
	X(gpu, "gpu", K_SCOPE)                             \
	X(gl, "gl", K_SCOPE)                               \
	X(sys, "sys", K_SCOPE)                             \
	X(v2, "v2", K_VEC)                                 \
	X(v4, "v4", K_VEC)                                 \
	X(uni, "uni", K_UNI | K_VOTE)                      \
	X(to, "to", K_TO)                                  \
	X(add, "add", K_ATOM)                              \
	X(exch, "exch", K_ATOM)                            \
	X(cas, "cas", K_ATOM)                              \
	X(inc, "inc", K_ATOM)                              \
	X(dec, "dec", K_ATOM)                              \
	X(min, "min", K_ATOM)                              \
	X(max, "max", K_ATOM)                              \
	X(noftz, "noftz", K_ATOM)                          \
	X(up, "up", K_SHFL)                                \
	X(down, "down", K_SHFL)                            \
	X(bfly, "bfly", K_SHFL)                            \
	X(idx, "idx", K_SHFL)                              \
	X(all, "all", K_VOTE | K_COPY)                     \
	X(any, "any", K_VOTE)                              \
	X(ballot, "ballot", K_VOTE)                        \
	X(wrap, "wrap", K_WC)                              \
	X(clamp, "clamp", K_WC | K_SURF)                   \
	X(l, "l", K_WC)                                    \
	X(r, "r", K_WC | K_TEX)                            \
	X(f4e, "f4e", K_PRMT)                              \
	X(b4e, "b4e", K_PRMT)                              \
	X(rc8, "rc8", K_PRMT)                              \
	X(ecl, "ecl", K_PRMT)                              \
	X(ecr, "ecr", K_PRMT)                              \
	X(rc16, "rc16", K_PRMT)                            \
	X(finite, "finite", K_TESTP)                       \
	X(infinite, "infinite", K_TESTP)                   \
	X(number, "number", K_TESTP)                       \
	X(notanumber, "notanumber", K_TESTP)               \
	X(normal, "normal", K_TESTP)                       \
	X(subnormal, "subnormal", K_TESTP)                 \
	X(sync, "sync", K_SYNC)                            \
	X(arrive, "arrive", K_SYNC)                        \
	X(red, "red", K_SYNC)                              \
	X(warp, "warp", K_SYNC)                            \
	X(aligned, "aligned", K_SYNC)                      \
	X(popc, "popc", K_SYNC)                            \
	X(NaN, "NaN", K_NAN)                               \
	X(relu, "relu", K_RELU)                            \
	X(shiftamt, "shiftamt", K_AMT)                     \
	X(launch_dependents, "launch_dependents", K_FENCE) \
	X(wait, "wait", K_FENCE)                           \
	X(proxy, "proxy", K_FENCE)                         \
	X(alias, "alias", K_FENCE)                         \
	X(async, "async", K_COPY)                          \
	X(commit_group, "commit_group", K_COPY)            \
	X(wait_group, "wait_group", K_COPY)                \
	X(g1d, "1d", K_GEOM)                               \
	X(g2d, "2d", K_GEOM)                               \
	X(g3d, "3d", K_GEOM)                               \
	X(a1d, "a1d", K_GEOM)                              \
	X(a2d, "a2d", K_GEOM)                              \
	X(cube, "cube", K_GEOM)                            \
	X(acube, "acube", K_GEOM)                          \
	X(level, "level", K_TEX)                           \
	X(g, "g", K_TEX)                                   \
	X(b, "b", K_TEX | K_SURF)                          \
	X(a, "a", K_TEX)                                   \
	X(trap, "trap", K_SURF)                            \
	X(zero, "zero", K_SURF)                            \
	X(width, "width", K_QUERY)                         \
	X(height, "height", K_QUERY)                       \
	X(depth, "depth", K_QUERY)                         \
	X(array_size, "array_size", K_QUERY)               \
	X(num_levels, "num_mipmap_levels", K_QUERY)        \
	X(normalized, "normalized_coords", K_QUERY)        \
	X(wait_all, "wait_all", K_COPY)

enum ptx_word {
	W_NONE,
#define X(id, text, classes) W_##id,
	PTX_WORDS(X)
#undef X
	    W_COUNT
};

enum ptx_word ptx_word_find(const char *s, size_t n);
uint32_t ptx_word_classes(enum ptx_word w);
const char *ptx_word_text(enum ptx_word w);

#endif
