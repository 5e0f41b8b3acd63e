// SPDX-License-Identifier: Apache-2.0
/*
 * Code generator: floating point arithmetic. Exact operations stay exact (no contraction, no fast-math
 * flags); f16 and bf16 are computed in a wider format whose one rounding more cannot show. Runs in the
 * executor at module load.
 */
#include "executor/backends/cpu/ptx/codegen.h"
#include "executor/backends/cpu/ptx/ptx_rt.h"

unsigned cg_round_mode(const struct ptx_insn *in)
{
	if (ptx_has(in, W_rz))
		return ROUND_RZ;
	if (ptx_has(in, W_rm))
		return ROUND_RM;
	if (ptx_has(in, W_rp))
		return ROUND_RP;
	return ptx_has(in, W_rna) ? ROUND_RNA : ROUND_RN;
}

static LLVMValueRef fabs_of(struct ptx_cg *cg, LLVMValueRef v)
{
	return cg_intrinsic(cg, "llvm.fabs", LLVMTypeOf(v), &v, 1);
}

// Subnormal floats become zero of the same sign.
LLVMValueRef cg_ftz(struct ptx_cg *cg, LLVMValueRef v)
{
	LLVMValueRef tiny, zero;

	if (LLVMTypeOf(v) != cg->f32)
		return v;
	tiny = LLVMBuildFCmp(cg->b, LLVMRealOLT, fabs_of(cg, v), LLVMConstReal(cg->f32, 0x1p-126), "");
	zero =
	    cg_intrinsic(cg, "llvm.copysign", cg->f32, (LLVMValueRef[]){ LLVMConstReal(cg->f32, 0), v }, 2);
	return LLVMBuildSelect(cg->b, tiny, zero, v, "");
}

// Clamp to [0, 1]; NaN becomes 0.
LLVMValueRef cg_sat01(struct ptx_cg *cg, LLVMValueRef v)
{
	LLVMTypeRef t = LLVMTypeOf(v);
	LLVMValueRef zero = LLVMConstReal(t, 0), one = LLVMConstReal(t, 1);

	v = LLVMBuildSelect(cg->b, LLVMBuildFCmp(cg->b, LLVMRealOGT, v, zero, ""), v, zero, "");
	return LLVMBuildSelect(cg->b, LLVMBuildFCmp(cg->b, LLVMRealOLT, v, one, ""), v, one, "");
}

static LLVMValueRef canonical_nan(LLVMTypeRef t, struct ptx_cg *cg)
{
	return t == cg->f64 ? LLVMConstBitCast(cg_u(cg, 64, 0x7fffffffffffffff), t)
			    : LLVMConstBitCast(cg_u(cg, 32, 0x7fffffff), t);
}

static LLVMValueRef relu(struct ptx_cg *cg, LLVMValueRef v)
{
	LLVMTypeRef t = LLVMTypeOf(v);
	LLVMValueRef neg = LLVMBuildFCmp(cg->b, LLVMRealOLE, v, LLVMConstReal(t, 0), "");
	LLVMValueRef nan = LLVMBuildFCmp(cg->b, LLVMRealUNO, v, v, "");

	v = LLVMBuildSelect(cg->b, neg, LLVMConstReal(t, 0), v, "");
	return LLVMBuildSelect(cg->b, nan, canonical_nan(t, cg), v, "");
}

static LLVMValueRef rounded_by_rt(struct ptx_cg *cg, unsigned op, unsigned mode, LLVMValueRef v[3],
				  unsigned n)
{
	LLVMTypeRef t = LLVMTypeOf(v[0]);
	LLVMValueRef z = LLVMConstReal(t, 0);
	const void *fn = t == cg->f64 ? (const void *)ptx_rt_round_f64 : (const void *)ptx_rt_round_f32;
	LLVMValueRef args[5] = { cg_u(cg, 32, op), cg_u(cg, 32, mode), v[0], n > 1 ? v[1] : z,
				 n > 2 ? v[2] : z };

	return cg_call_rt(cg, fn, t, args, 5);
}

static LLVMValueRef apply(struct ptx_cg *cg, unsigned op, unsigned mode, LLVMValueRef v[3], unsigned n)
{
	if (mode != ROUND_RN)
		return rounded_by_rt(cg, op, mode, v, n);
	switch (op) {
	case FOP_ADD: return LLVMBuildFAdd(cg->b, v[0], v[1], "");
	case FOP_SUB: return LLVMBuildFSub(cg->b, v[0], v[1], "");
	case FOP_MUL: return LLVMBuildFMul(cg->b, v[0], v[1], "");
	case FOP_DIV: return LLVMBuildFDiv(cg->b, v[0], v[1], "");
	case FOP_SQRT: return cg_intrinsic(cg, "llvm.sqrt", LLVMTypeOf(v[0]), v, 1);
	default: return cg_intrinsic(cg, "llvm.fma", LLVMTypeOf(v[0]), v, 3);
	}
}

// ---- one or two elements in a register ----

static unsigned lanes_of(enum ptx_type t)
{
	return t == T_F16X2 || t == T_BF16X2 ? 2 : 1;
}

static enum ptx_type scalar_of(enum ptx_type t)
{
	return t == T_F16X2 ? T_F16 : t == T_BF16X2 ? T_BF16 : t;
}

static LLVMValueRef lane(struct ptx_cg *cg, enum ptx_type t, LLVMValueRef bits, unsigned i)
{
	if (lanes_of(t) == 2)
		bits = cg_resize(cg, LLVMBuildLShr(cg->b, bits, cg_u(cg, 32, 16 * i), ""), 16, false);
	return cg_fp_from_bits(cg, scalar_of(t), bits);
}

static LLVMValueRef join(struct ptx_cg *cg, LLVMValueRef lo, LLVMValueRef hi)
{
	hi = LLVMBuildShl(cg->b, cg_resize(cg, hi, 32, false), cg_u(cg, 32, 16), "");
	return LLVMBuildOr(cg->b, cg_resize(cg, lo, 32, false), hi, "");
}

// Subnormal halves become zero of the same sign.
static LLVMValueRef ftz_half(struct ptx_cg *cg, LLVMValueRef v)
{
	LLVMValueRef tiny =
	    LLVMBuildFCmp(cg->b, LLVMRealOLT, fabs_of(cg, v), LLVMConstReal(cg->f32, 0x1p-14), "");
	LLVMValueRef zero =
	    cg_intrinsic(cg, "llvm.copysign", cg->f32, (LLVMValueRef[]){ LLVMConstReal(cg->f32, 0), v }, 2);

	return LLVMBuildSelect(cg->b, tiny, zero, v, "");
}

static LLVMValueRef flush(struct ptx_cg *cg, const struct ptx_insn *in, enum ptx_type t, LLVMValueRef v)
{
	if (!ptx_has(in, W_ftz))
		return v;
	return t == T_F16 ? ftz_half(cg, v) : t == T_F32 ? cg_ftz(cg, v) : v;
}

// A fused f16 product needs more than float to be rounded only once.
static LLVMValueRef fma_half(struct ptx_cg *cg, enum ptx_type t, LLVMValueRef v[3])
{
	LLVMValueRef d[3];

	if (t == T_BF16)
		return cg_resize(cg, CG_RT(cg, ptx_rt_fma_bf16, cg->i32, v[0], v[1], v[2]), 16, false);
	for (int i = 0; i < 3; i++)
		d[i] = LLVMBuildFPExt(cg->b, v[i], cg->f64, "");
	d[0] = apply(cg, FOP_FMA, ROUND_RN, d, 3);
	return cg_resize(
	    cg, CG_RT(cg, ptx_rt_narrow, cg->i32, cg_u(cg, 32, NARROW_F16), cg_u(cg, 32, ROUND_RN), d[0]), 16,
	    false);
}

static LLVMValueRef compute(struct ptx_cg *cg, const struct ptx_insn *in, enum ptx_type t, unsigned op,
			    LLVMValueRef v[3], unsigned n)
{
	bool half = t == T_F16 || t == T_BF16;
	unsigned mode = cg_round_mode(in);
	LLVMValueRef r;

	if (half && mode != ROUND_RN)
		cg_fail(cg, "unsupported rounding");
	for (unsigned i = 0; i < n; i++)
		v[i] = flush(cg, in, t, v[i]);
	if (half && op == FOP_FMA)
		r = cg_fp_from_bits(cg, t, fma_half(cg, t, v));
	else
		r = apply(cg, op, mode, v, n);
	if (half && (ptx_has(in, W_ftz) || ptx_has(in, W_sat) || ptx_has(in, W_relu)))
		r = cg_fp_from_bits(cg, t, cg_fp_to_bits(cg, t, r));
	r = flush(cg, in, t, r);
	if (ptx_has(in, W_sat))
		r = cg_sat01(cg, r);
	if (ptx_has(in, W_relu))
		r = relu(cg, r);
	return cg_fp_to_bits(cg, t, r);
}

static void elementwise(struct ptx_cg *cg, const struct ptx_insn *in, unsigned op, unsigned n)
{
	enum ptx_type t = cg_type(cg, 0);
	LLVMValueRef bits[3], v[3], r[2];

	if (!ptx_type_float(t) || t == T_TF32)
		cg_fail(cg, "unsupported type");
	if (in->n_ops != n + 1)
		cg_fail(cg, "wrong number of operands");
	for (unsigned i = 0; i < n; i++)
		bits[i] = cg_get(cg, &in->ops[1 + i], t);
	for (unsigned l = 0; l < lanes_of(t); l++) {
		for (unsigned i = 0; i < n; i++)
			v[i] = lane(cg, t, bits[i], l);
		r[l] = compute(cg, in, scalar_of(t), op, v, n);
	}
	cg_set(cg, &in->ops[0], t, lanes_of(t) == 2 ? join(cg, r[0], r[1]) : r[0]);
}

// op as in enum ptx_fop
void cg_float_binary(struct ptx_cg *cg, const struct ptx_insn *in, unsigned op)
{
	if (ptx_has(in, W_cc) || ptx_has(in, W_hi) || ptx_has(in, W_lo) || ptx_has(in, W_wide))
		cg_fail(cg, "unsupported modifier for a floating point type");
	if (op == FOP_DIV && lanes_of(cg_type(cg, 0)) * ptx_type_bits(cg_type(cg, 0)) < 32)
		cg_fail(cg, "unsupported type");
	elementwise(cg, in, op, 2);
}

void ptx_emit_fma(struct ptx_cg *cg, const struct ptx_insn *in)
{
	elementwise(cg, in, FOP_FMA, 3);
}

void ptx_emit_sqrt(struct ptx_cg *cg, const struct ptx_insn *in)
{
	elementwise(cg, in, FOP_SQRT, 1);
}

void ptx_emit_rcp(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	LLVMValueRef v[3];

	if (t != T_F32 && t != T_F64)
		cg_fail(cg, "unsupported type");
	v[0] = LLVMConstReal(cg_fp_type(cg, t), 1);
	v[1] = cg_getf(cg, &in->ops[1], t);
	cg_set(cg, &in->ops[0], t, compute(cg, in, t, FOP_DIV, v, 2));
}

// ---- functions the GPU approximates ----

void ptx_emit_rsqrt(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	LLVMValueRef v;

	if (t == T_F64) {
		v = cg_getf(cg, &in->ops[1], t);
		v = cg_intrinsic(cg, "llvm.sqrt", cg->f64, &v, 1);
		cg_setf(cg, &in->ops[0], t, LLVMBuildFDiv(cg->b, LLVMConstReal(cg->f64, 1), v, ""));
		return;
	}
	if (t != T_F32)
		cg_fail(cg, "unsupported type");
	v = flush(cg, in, t, cg_getf(cg, &in->ops[1], t));
	v = CG_RT(cg, ptx_rt_rsqrt_f32, cg->f32, v);
	cg_setf(cg, &in->ops[0], t, flush(cg, in, t, v));
}

void ptx_emit_special(struct ptx_cg *cg, const struct ptx_insn *in)
{
	static const void *const fns[] = { ptx_rt_sin_f32, ptx_rt_cos_f32, ptx_rt_ex2_f32, ptx_rt_lg2_f32,
					   ptx_rt_tanh_f32 };
	enum ptx_type t = cg_type(cg, 0), s = scalar_of(t);
	LLVMValueRef bits, r[2];

	if (!ptx_type_float(t) || t == T_F64 || t == T_TF32)
		cg_fail(cg, "unsupported type");
	bits = cg_get(cg, &in->ops[1], t);
	for (unsigned l = 0; l < lanes_of(t); l++) {
		LLVMValueRef v = flush(cg, in, s, lane(cg, t, bits, l));

		v = cg_call_rt(cg, fns[in->op->arg], cg->f32, &v, 1);
		r[l] = cg_fp_to_bits(cg, s, flush(cg, in, s, v));
	}
	cg_set(cg, &in->ops[0], t, lanes_of(t) == 2 ? join(cg, r[0], r[1]) : r[0]);
}

// ---- minimum, maximum: a NaN loses unless .NaN is there; -0 is less than +0 ----

static LLVMValueRef pick(struct ptx_cg *cg, const struct ptx_insn *in, LLVMValueRef a, LLVMValueRef b,
			 bool is_max)
{
	LLVMTypeRef t = LLVMTypeOf(a), it = t == cg->f64 ? cg->i64 : cg->i32;
	LLVMValueRef ia = LLVMBuildBitCast(cg->b, a, it, ""), ib = LLVMBuildBitCast(cg->b, b, it, ""), same,
		     r;
	LLVMValueRef nan_a = LLVMBuildFCmp(cg->b, LLVMRealUNO, a, a, ""),
		     nan_b = LLVMBuildFCmp(cg->b, LLVMRealUNO, b, b, "");
	LLVMValueRef nan = canonical_nan(t, cg);

	same = is_max ? LLVMBuildAnd(cg->b, ia, ib, "")
		      : LLVMBuildOr(cg->b, ia, ib, ""); // differ in the sign of 0
	r = LLVMBuildFCmp(cg->b, is_max ? LLVMRealOGT : LLVMRealOLT, a, b, "");
	r = LLVMBuildSelect(cg->b, r, a, b, "");
	r = LLVMBuildSelect(cg->b, LLVMBuildFCmp(cg->b, LLVMRealOEQ, a, b, ""),
			    LLVMBuildBitCast(cg->b, same, t, ""), r, "");
	if (ptx_has(in, W_NaN))
		return LLVMBuildSelect(cg->b, LLVMBuildOr(cg->b, nan_a, nan_b, ""), nan, r, "");
	r = LLVMBuildSelect(cg->b, nan_b, a, r, "");
	r = LLVMBuildSelect(cg->b, nan_a, b, r, "");
	return LLVMBuildSelect(cg->b, LLVMBuildAnd(cg->b, nan_a, nan_b, ""), nan, r, "");
}

void cg_float_minmax(struct ptx_cg *cg, const struct ptx_insn *in, bool is_max, unsigned n)
{
	enum ptx_type t = cg_type(cg, 0), s = scalar_of(t);
	LLVMValueRef bits[2], r[2];

	if (n != 2)
		cg_fail(cg, "too many operands");
	for (unsigned i = 0; i < 2; i++)
		bits[i] = cg_get(cg, &in->ops[1 + i], t);
	for (unsigned l = 0; l < lanes_of(t); l++) {
		LLVMValueRef a = flush(cg, in, s, lane(cg, t, bits[0], l)),
			     b = flush(cg, in, s, lane(cg, t, bits[1], l));

		r[l] = pick(cg, in, a, b, is_max);
		if (ptx_has(in, W_relu))
			r[l] = relu(cg, r[l]);
		r[l] = cg_fp_to_bits(cg, s, r[l]);
	}
	cg_set(cg, &in->ops[0], t, lanes_of(t) == 2 ? join(cg, r[0], r[1]) : r[0]);
}

void cg_float_abs_neg(struct ptx_cg *cg, const struct ptx_insn *in, bool is_neg)
{
	enum ptx_type t = cg_type(cg, 0);
	uint64_t sign = lanes_of(t) == 2 ? 0x80008000 : 1ull << (ptx_type_bits(t) - 1);
	unsigned bits = ptx_type_bits(t);
	LLVMValueRef v = cg_get(cg, &in->ops[1], t);

	if (ptx_has(in, W_ftz) && t == T_F32)
		v = cg_fp_to_bits(cg, t, cg_ftz(cg, cg_fp_from_bits(cg, t, v)));
	v = is_neg ? LLVMBuildXor(cg->b, v, cg_u(cg, bits, sign), "")
		   : LLVMBuildAnd(cg->b, v, cg_u(cg, bits, ~sign), "");
	cg_set(cg, &in->ops[0], t, v);
}

void ptx_emit_copysign(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	unsigned bits = ptx_type_bits(t);
	LLVMValueRef sign = cg_u(cg, bits, 1ull << (bits - 1));
	LLVMValueRef a = LLVMBuildAnd(cg->b, cg_get(cg, &in->ops[1], t), sign, "");
	LLVMValueRef b = LLVMBuildAnd(cg->b, cg_get(cg, &in->ops[2], t), LLVMConstNot(sign), "");

	if (t != T_F32 && t != T_F64)
		cg_fail(cg, "unsupported type");
	cg_set(cg, &in->ops[0], t, LLVMBuildOr(cg->b, a, b, ""));
}

void ptx_emit_testp(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	LLVMTypeRef ft = cg_fp_type(cg, t);
	LLVMValueRef a, inf, least, r;

	if ((t != T_F32 && t != T_F64) || in->n_mods != 1)
		cg_fail(cg, "unsupported form");
	a = fabs_of(cg, cg_getf(cg, &in->ops[1], t));
	inf = LLVMConstReal(ft, __builtin_inf());
	least = LLVMConstReal(ft, t == T_F64 ? 0x1p-1022 : 0x1p-126);
	switch (in->mods[0]) {
	case W_finite: r = LLVMBuildFCmp(cg->b, LLVMRealOLT, a, inf, ""); break;
	case W_infinite: r = LLVMBuildFCmp(cg->b, LLVMRealOEQ, a, inf, ""); break;
	case W_number: r = LLVMBuildFCmp(cg->b, LLVMRealORD, a, a, ""); break;
	case W_notanumber: r = LLVMBuildFCmp(cg->b, LLVMRealUNO, a, a, ""); break;
	case W_normal:
		r = LLVMBuildAnd(cg->b, LLVMBuildFCmp(cg->b, LLVMRealOLT, a, inf, ""),
				 LLVMBuildFCmp(cg->b, LLVMRealOGE, a, least, ""), "");
		break;
	default:
		r = LLVMBuildAnd(cg->b, LLVMBuildFCmp(cg->b, LLVMRealOLT, a, least, ""),
				 LLVMBuildFCmp(cg->b, LLVMRealOGT, a, LLVMConstReal(ft, 0), ""), "");
		break;
	}
	cg_set(cg, &in->ops[0], T_PRED, r);
}
