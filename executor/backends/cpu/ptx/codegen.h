// SPDX-License-Identifier: Apache-2.0
/*
 * Code generator: LLVM IR of a parsed module. One struct ptx_cg a load; errors leave by longjmp to
 * ptx_codegen.
 *
 * Safety rules that every emitter keeps: a register always holds a defined value (all start as zero), no
 * operation with undefined results is emitted (shift counts, divisions and conversions are guarded), and
 * memory is touched only through cg_check and its relatives in codegen_addr.c.
 */
#ifndef VGPU_EXECUTOR_CPU_PTX_CODEGEN_H
#define VGPU_EXECUTOR_CPU_PTX_CODEGEN_H

#include "executor/backends/cpu/ptx/ptx_ast.h"
#include "executor/backends/cpu/ptx/ptx_ops.h"

#include <llvm-c/Core.h>
#include <setjmp.h>

struct ptx_cg {
	LLVMContextRef ctx;
	LLVMModuleRef mod;
	LLVMBuilderRef b, allocas;
	LLVMTypeRef i1, i8, i16, i32, i64, i128, f16, f32, f64, ptr, void_t;
	LLVMValueRef md_invariant;
	unsigned md_invariant_kind;
	struct ptx_unit *unit;
	struct ptx_error *err;
	jmp_buf fail;
	struct ptx_func *func;
	const struct ptx_insn *insn;
	uint32_t sites; // number of warp operations so far
	// of the function being made
	LLVMValueRef fn, blk, self, tid[3], lin, lsp, lend, cc, bad_addr, bad_size, bad_space;
	LLVMBasicBlockRef bad;
	bool ended; // the current block has its terminator
};

// Makes IR of the whole unit in mod. 0 or -EINVAL/-ENOMEM with err filled.
int ptx_codegen(struct ptx_unit *u, LLVMContextRef ctx, LLVMModuleRef mod, struct ptx_error *err);
// Name of the symbol that ptx_codegen makes for an entry; buf of PTX_SYMBOL_LEN bytes.
#define PTX_SYMBOL_LEN 24
void ptx_entry_symbol(const struct ptx_func *f, char *buf);

// ---- codegen.c: values and operands ----
_Noreturn void cg_fail(struct ptx_cg *cg, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
LLVMTypeRef cg_int(struct ptx_cg *cg, unsigned bits);
LLVMValueRef cg_u(struct ptx_cg *cg, unsigned bits, uint64_t v);
LLVMTypeRef cg_fp_type(struct ptx_cg *cg, enum ptx_type t);
// Operand as an integer of the type's width; a wider register is cut, a narrower one extended.
LLVMValueRef cg_get(struct ptx_cg *cg, const struct ptx_operand *o, enum ptx_type t);
void cg_set(struct ptx_cg *cg, const struct ptx_operand *o, enum ptx_type t, LLVMValueRef v);
// f32 and f64 as they are; f16 and bf16 as float.
LLVMValueRef cg_getf(struct ptx_cg *cg, const struct ptx_operand *o, enum ptx_type t);
void cg_setf(struct ptx_cg *cg, const struct ptx_operand *o, enum ptx_type t, LLVMValueRef v);
LLVMValueRef cg_fp_from_bits(struct ptx_cg *cg, enum ptx_type t, LLVMValueRef bits);
LLVMValueRef cg_fp_to_bits(struct ptx_cg *cg, enum ptx_type t, LLVMValueRef v);
LLVMValueRef cg_pred(struct ptx_cg *cg, const struct ptx_operand *o);
LLVMValueRef cg_resize(struct ptx_cg *cg, LLVMValueRef v, unsigned bits, bool is_signed);
enum ptx_type cg_type(struct ptx_cg *cg,
		      unsigned i); // i-th type of the instruction; fails when it is missing
LLVMValueRef cg_intrinsic(struct ptx_cg *cg, const char *name, LLVMTypeRef overload, LLVMValueRef *args,
			  unsigned n);
// Calls a C function of the engine.
LLVMValueRef cg_call_rt(struct ptx_cg *cg, const void *fn, LLVMTypeRef ret, LLVMValueRef *args, unsigned n);
LLVMValueRef cg_block_field(struct ptx_cg *cg, size_t offset, unsigned bits);
LLVMBasicBlockRef cg_new_bb(struct ptx_cg *cg, const char *name);
void cg_start(struct ptx_cg *cg, LLVMBasicBlockRef bb);
LLVMValueRef cg_alloca(struct ptx_cg *cg, LLVMTypeRef t, unsigned align);
LLVMValueRef cg_shared_base(struct ptx_cg *cg);

#define CG_RT(cg, fn, ret, ...)                                                  \
	cg_call_rt(cg, (const void *)(fn), ret, (LLVMValueRef[]){ __VA_ARGS__ }, \
		   sizeof((LLVMValueRef[]){ __VA_ARGS__ }) / sizeof(LLVMValueRef))

// ---- codegen_addr.c ----
enum ptx_space cg_space(const struct ptx_insn *in);
// Address of a checked access as an LLVM pointer.
LLVMValueRef cg_address(struct ptx_cg *cg, const struct ptx_operand *o, enum ptx_space space, unsigned size);
LLVMValueRef cg_var_address(struct ptx_cg *cg, const struct ptx_operand *o, unsigned bits);
void cg_stop_check(struct ptx_cg *cg);
void cg_poll(struct ptx_cg *cg);
void cg_guard(struct ptx_cg *cg, LLVMValueRef ok, LLVMValueRef addr, LLVMValueRef size, unsigned space);

// ---- codegen_func.c, codegen_call.c ----
void cg_function(struct ptx_cg *cg, struct ptx_func *f);
void cg_declare(struct ptx_cg *cg, struct ptx_func *f);
LLVMTypeRef cg_func_type(struct ptx_cg *cg, const struct ptx_func *f);
#define CG_FIXED_ARGS 8 // blk, self, tid x y z, linear tid, local pointer, local end

// ---- emitters, one for each row group of ptx_ops.c ----
// clang-format off: the formatter never comes to rest on this list
#define PTX_EMITTERS(X) \
	X(add) X(sub) X(mul) X(mad) X(mul24) X(mad24) X(sad) X(div) X(rem) X(abs) X(neg) X(minmax) \
	X(popc) X(clz) X(bfind) X(fns) X(brev) X(bfe) X(bfi) X(bmsk) X(szext) X(dp) X(shift) X(shf) \
	X(prmt) X(lop3) X(logic) X(not) X(cnot) X(addc) X(madc) X(fma) X(rcp) X(sqrt) X(rsqrt) \
	X(special) X(testp) X(copysign) X(setp) X(set) X(selp) X(slct) X(cvt) X(cvta) X(isspacep) \
	X(mov) X(ld) X(st) X(atom) X(red) X(nop) X(prefetch) X(cpasync) X(fence) X(bar) X(shfl) \
	X(vote) X(activemask) X(match) X(redux) X(bra) X(brx) X(call) X(ret) X(exit) X(trap) \
	X(nanosleep) X(tex) X(txq) X(suld) X(sust) X(sured)
// clang-format on
#define X(name) void ptx_emit_##name(struct ptx_cg *cg, const struct ptx_insn *in);
PTX_EMITTERS(X)
#undef X
// float forms of names that integers have too
void cg_float_binary(struct ptx_cg *cg, const struct ptx_insn *in, unsigned op);
void cg_float_minmax(struct ptx_cg *cg, const struct ptx_insn *in, bool is_max, unsigned n);
void cg_float_abs_neg(struct ptx_cg *cg, const struct ptx_insn *in, bool is_neg);
LLVMValueRef cg_compare(struct ptx_cg *cg, enum ptx_word op, enum ptx_type t, const struct ptx_operand *a,
			const struct ptx_operand *b, bool ftz);
LLVMValueRef cg_ftz(struct ptx_cg *cg, LLVMValueRef v);
LLVMValueRef cg_sat01(struct ptx_cg *cg, LLVMValueRef v);
unsigned cg_round_mode(const struct ptx_insn *in);
LLVMValueRef cg_clamp_shift(struct ptx_cg *cg, unsigned opcode, LLVMValueRef v, LLVMValueRef n);

#endif
