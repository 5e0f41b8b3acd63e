// SPDX-License-Identifier: Apache-2.0
/*
 * Code generator: atom and red. Blocks of a grid run on several threads, so these are real atomics in every
 * space. Runs in the executor at module load.
 */
#include "executor/backends/cpu/ptx/codegen.h"
#include "executor/backends/cpu/ptx/ptx_rt.h"

static enum ptx_word find_op(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_word op = W_NONE;

	for (int i = 0; i < in->n_mods; i++)
		if ((ptx_word_classes(in->mods[i]) & K_ATOM) && in->mods[i] != W_noftz) {
			if (op)
				cg_fail(cg, "two operations");
			op = in->mods[i];
		}
	if (!op)
		cg_fail(cg, "operation missing");
	return op;
}

static LLVMAtomicOrdering order_of(const struct ptx_insn *in)
{
	if (ptx_has(in, W_acq_rel))
		return LLVMAtomicOrderingAcquireRelease;
	if (ptx_has(in, W_acquire))
		return LLVMAtomicOrderingAcquire;
	return ptx_has(in, W_release) ? LLVMAtomicOrderingRelease : LLVMAtomicOrderingMonotonic;
}

static LLVMAtomicRMWBinOp rmw_of(struct ptx_cg *cg, enum ptx_word op, enum ptx_type t)
{
	switch (op) {
	case W_add: return ptx_type_float(t) ? LLVMAtomicRMWBinOpFAdd : LLVMAtomicRMWBinOpAdd;
	case W_exch: return LLVMAtomicRMWBinOpXchg;
	case W_and: return LLVMAtomicRMWBinOpAnd;
	case W_or: return LLVMAtomicRMWBinOpOr;
	case W_xor: return LLVMAtomicRMWBinOpXor;
	case W_min: return ptx_type_signed(t) ? LLVMAtomicRMWBinOpMin : LLVMAtomicRMWBinOpUMin;
	case W_max: return ptx_type_signed(t) ? LLVMAtomicRMWBinOpMax : LLVMAtomicRMWBinOpUMax;
	case W_inc: return LLVMAtomicRMWBinOpUIncWrap;
	case W_dec: return LLVMAtomicRMWBinOpUDecWrap;
	default: cg_fail(cg, "unsupported operation");
	}
}

static void check_types(struct ptx_cg *cg, enum ptx_word op, enum ptx_type t)
{
	unsigned bits = ptx_type_bits(t);
	bool half = t == T_F16 || t == T_BF16 || t == T_F16X2 || t == T_BF16X2;
	bool ok = bits == 32 || bits == 64;

	if (op == W_cas || op == W_exch)
		ok = (bits >= 16 && !half) || t == T_B128;
	else if (ptx_type_float(t))
		ok = op == W_add;
	else if (op == W_inc || op == W_dec)
		ok = t == T_U32;
	if (!ok || t == T_TF32 || t == T_PRED || t == T_U16X2 || t == T_S16X2)
		cg_fail(cg, "unsupported type");
}

static LLVMValueRef spill(struct ptx_cg *cg, LLVMValueRef v)
{
	LLVMValueRef slot = cg_alloca(cg, cg->i128, 16);

	LLVMBuildStore(cg->b, v, slot);
	return slot;
}

static LLVMValueRef wide(struct ptx_cg *cg, const struct ptx_insn *in, enum ptx_word op, LLVMValueRef p,
			 unsigned at)
{
	LLVMValueRef b = cg_get(cg, &in->ops[at], T_B128), slot = spill(cg, b), old = spill(cg, b), v = slot;

	if (op == W_cas)
		v = spill(cg, cg_get(cg, &in->ops[at + 1], T_B128));
	CG_RT(cg, ptx_rt_cas128, cg->void_t, LLVMBuildPtrToInt(cg->b, p, cg->i64, ""), slot, v, old,
	      cg_u(cg, 32, op == W_cas));
	return LLVMBuildLoad2(cg->b, cg->i128, old, "");
}

static LLVMValueRef half(struct ptx_cg *cg, const struct ptx_insn *in, enum ptx_type t, LLVMValueRef p,
			 unsigned at)
{
	unsigned n = t == T_F16X2 || t == T_BF16X2 ? 2 : 1,
		 format = t == T_F16 || t == T_F16X2 ? NARROW_F16 : NARROW_BF16;
	LLVMValueRef v = cg_resize(cg, cg_get(cg, &in->ops[at], t), 32, false);

	v = CG_RT(cg, ptx_rt_atomic_half, cg->i32, LLVMBuildPtrToInt(cg->b, p, cg->i64, ""), v,
		  cg_u(cg, 32, n), cg_u(cg, 32, format));
	return cg_resize(cg, v, n * 16, false);
}

static LLVMValueRef exchange_if(struct ptx_cg *cg, const struct ptx_insn *in, enum ptx_type t, LLVMValueRef p)
{
	LLVMAtomicOrdering order = order_of(in), failed = order;
	LLVMValueRef r;

	if (order == LLVMAtomicOrderingAcquireRelease)
		failed = LLVMAtomicOrderingAcquire;
	if (order == LLVMAtomicOrderingRelease)
		failed = LLVMAtomicOrderingMonotonic;
	r = LLVMBuildAtomicCmpXchg(cg->b, p, cg_get(cg, &in->ops[2], t), cg_get(cg, &in->ops[3], t), order,
				   failed, false);
	return LLVMBuildExtractValue(cg->b, r, 0, "");
}

// first: index of the address among the operands
static LLVMValueRef operate(struct ptx_cg *cg, const struct ptx_insn *in, unsigned first)
{
	enum ptx_word op = find_op(cg, in);
	enum ptx_type t = cg_type(cg, 0);
	LLVMValueRef p, v;

	check_types(cg, op, t);
	if (in->n_ops != first + (op == W_cas ? 3u : 2u))
		cg_fail(cg, "wrong number of operands");
	p = cg_address(cg, &in->ops[first], cg_space(in), ptx_type_bits(t) / 8);
	if (t == T_B128)
		return wide(cg, in, op, p, first + 1);
	if (t == T_F16 || t == T_BF16 || t == T_F16X2 || t == T_BF16X2)
		return half(cg, in, t, p, first + 1);
	if (op == W_cas)
		return exchange_if(cg, in, t, p);
	v = op == W_add && ptx_type_float(t) ? cg_getf(cg, &in->ops[first + 1], t)
					     : cg_get(cg, &in->ops[first + 1], t);
	v = LLVMBuildAtomicRMW(cg->b, rmw_of(cg, op, t), p, v, order_of(in), false);
	return LLVMTypeOf(v) == cg->f32 || LLVMTypeOf(v) == cg->f64 ? cg_fp_to_bits(cg, t, v) : v;
}

void ptx_emit_atom(struct ptx_cg *cg, const struct ptx_insn *in)
{
	cg_set(cg, &in->ops[0], cg_type(cg, 0), operate(cg, in, 1));
	cg_poll(cg);
}

void ptx_emit_red(struct ptx_cg *cg, const struct ptx_insn *in)
{
	if (ptx_has(in, W_cas) || ptx_has(in, W_exch))
		cg_fail(cg, "unsupported operation");
	operate(cg, in, 0);
}
