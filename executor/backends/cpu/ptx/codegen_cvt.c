// SPDX-License-Identifier: Apache-2.0
/*
 * Code generator: cvt among all types. Conversions saturate where the host's would be undefined. Runs in the
 * executor at module load.
 */
#include "executor/backends/cpu/ptx/codegen.h"
#include "executor/backends/cpu/ptx/ptx_rt.h"

static bool is_half(enum ptx_type t)
{
	return t == T_F16 || t == T_BF16;
}

static LLVMValueRef int_limit(struct ptx_cg *cg, enum ptx_type t, bool max)
{
	unsigned bits = ptx_type_bits(t);
	LLVMValueRef v;

	if (ptx_type_signed(t)) {
		v = cg_u(cg, bits, max ? ~0ull >> (65 - bits) : 1ull << (bits - 1));
		return LLVMBuildSExt(cg->b, v, cg->i128, "");
	}
	v = max ? LLVMConstAllOnes(cg_int(cg, bits)) : cg_u(cg, bits, 0);
	return LLVMBuildZExt(cg->b, v, cg->i128, "");
}

static void int_to_int(struct ptx_cg *cg, const struct ptx_insn *in, enum ptx_type dt, enum ptx_type st)
{
	LLVMValueRef v = cg_get(cg, &in->ops[1], st), lo, hi;

	if (ptx_has(in, W_sat)) {
		v = cg_resize(cg, v, 128, ptx_type_signed(st));
		lo = int_limit(cg, dt, false);
		hi = int_limit(cg, dt, true);
		v = LLVMBuildSelect(cg->b, LLVMBuildICmp(cg->b, LLVMIntSLT, v, lo, ""), lo, v, "");
		v = LLVMBuildSelect(cg->b, LLVMBuildICmp(cg->b, LLVMIntSGT, v, hi, ""), hi, v, "");
	}
	cg_set(cg, &in->ops[0], dt, cg_resize(cg, v, ptx_type_bits(dt), ptx_type_signed(st)));
}

static LLVMValueRef to_integral(struct ptx_cg *cg, const struct ptx_insn *in, LLVMValueRef v)
{
	const char *name = ptx_has(in, W_rni)	? "llvm.roundeven"
			   : ptx_has(in, W_rzi) ? "llvm.trunc"
			   : ptx_has(in, W_rmi) ? "llvm.floor"
						: "llvm.ceil";

	return cg_intrinsic(cg, name, LLVMTypeOf(v), &v, 1);
}

static bool has_irnd(const struct ptx_insn *in)
{
	return ptx_has(in, W_rni) || ptx_has(in, W_rzi) || ptx_has(in, W_rmi) || ptx_has(in, W_rpi);
}

static LLVMValueRef source_float(struct ptx_cg *cg, const struct ptx_insn *in, const struct ptx_operand *o,
				 enum ptx_type st)
{
	LLVMValueRef v = cg_getf(cg, o, st);

	return ptx_has(in, W_ftz) && st == T_F32 ? cg_ftz(cg, v) : v;
}

static void float_to_int(struct ptx_cg *cg, const struct ptx_insn *in, enum ptx_type dt, enum ptx_type st)
{
	LLVMValueRef v = source_float(cg, in, &in->ops[1], st), nan, r, fn;
	unsigned bits = ptx_type_bits(dt), id;
	const char *name = ptx_type_signed(dt) ? "llvm.fptosi.sat" : "llvm.fptoui.sat";
	LLVMTypeRef over[2] = { cg_int(cg, bits), LLVMTypeOf(v) };
	// What the hardware makes of NaN depends on the widths.
	uint64_t of_nan = st == T_F64 || bits == 64 ? 1ull << (bits - 1) : 0;

	if (!has_irnd(in))
		cg_fail(cg, "conversion to an integer needs .rni, .rzi, .rmi or .rpi");
	nan = LLVMBuildFCmp(cg->b, LLVMRealUNO, v, v, "");
	v = to_integral(cg, in, v);
	id = LLVMLookupIntrinsicID(name, 15);
	fn = LLVMGetIntrinsicDeclaration(cg->mod, id, over, 2);
	r = LLVMBuildCall2(cg->b, LLVMGlobalGetValueType(fn), fn, &v, 1, "");
	cg_set(cg, &in->ops[0], dt, LLVMBuildSelect(cg->b, nan, cg_u(cg, bits, of_nan), r, ""));
}

static LLVMValueRef narrow(struct ptx_cg *cg, enum ptx_type dt, unsigned mode, LLVMValueRef d)
{
	unsigned format = dt == T_F16 ? NARROW_F16 : dt == T_BF16 ? NARROW_BF16 : NARROW_TF32;

	if (LLVMTypeOf(d) == cg->f32)
		d = LLVMBuildFPExt(cg->b, d, cg->f64, "");
	d = CG_RT(cg, ptx_rt_narrow, cg->i32, cg_u(cg, 32, format), cg_u(cg, 32, mode), d);
	return cg_resize(cg, d, ptx_type_bits(dt), false);
}

static void int_to_float(struct ptx_cg *cg, const struct ptx_insn *in, enum ptx_type dt, enum ptx_type st)
{
	LLVMValueRef v = cg_get(cg, &in->ops[1], st), r, is_signed = cg_u(cg, 32, ptx_type_signed(st));
	unsigned mode = cg_round_mode(in);
	LLVMTypeRef ft = cg_fp_type(cg, dt);

	if (is_half(dt)) {
		v = cg_resize(cg, v, 64, ptx_type_signed(st));
		// Through a double that keeps a sticky last bit, so that only the second rounding counts.
		r = CG_RT(cg, ptx_rt_int_to_f64, cg->f64, cg_u(cg, 32, UINT32_MAX), v, is_signed);
		cg_set(cg, &in->ops[0], dt, narrow(cg, dt, mode, r));
		return;
	}
	if (mode == ROUND_RN) {
		r = ptx_type_signed(st) ? LLVMBuildSIToFP(cg->b, v, ft, "")
					: LLVMBuildUIToFP(cg->b, v, ft, "");
	} else {
		v = cg_resize(cg, v, 64, ptx_type_signed(st));
		r = cg_call_rt(
		    cg, dt == T_F64 ? (const void *)ptx_rt_int_to_f64 : (const void *)ptx_rt_int_to_f32, ft,
		    (LLVMValueRef[]){ cg_u(cg, 32, mode), v, is_signed }, 3);
	}
	if (ptx_has(in, W_sat))
		r = cg_sat01(cg, r);
	cg_setf(cg, &in->ops[0], dt, r);
}

// Bits of v in format dt; v is float (also for halves) or double.
static LLVMValueRef to_format(struct ptx_cg *cg, const struct ptx_insn *in, enum ptx_type dt, LLVMValueRef v)
{
	bool from_double = LLVMTypeOf(v) == cg->f64;
	unsigned mode = cg_round_mode(in);

	if (has_irnd(in))
		v = to_integral(cg, in, v);
	if (ptx_has(in, W_sat))
		v = cg_sat01(cg, v);
	if (ptx_has(in, W_relu)) {
		LLVMValueRef neg = LLVMBuildFCmp(cg->b, LLVMRealOLE, v, LLVMConstReal(LLVMTypeOf(v), 0), "");

		v = LLVMBuildSelect(cg->b, neg, LLVMConstReal(LLVMTypeOf(v), 0), v, "");
	}
	if (dt == T_F64)
		return cg_fp_to_bits(cg, dt, from_double ? v : LLVMBuildFPExt(cg->b, v, cg->f64, ""));
	if (dt == T_TF32 || ((dt == T_F16 || dt == T_BF16) && (from_double || mode != ROUND_RN)))
		return narrow(cg, dt, mode, v);
	if (dt == T_F32 && from_double)
		v = mode == ROUND_RN ? LLVMBuildFPTrunc(cg->b, v, cg->f32, "")
				     : CG_RT(cg, ptx_rt_f64_to_f32, cg->f32, cg_u(cg, 32, mode), v);
	if (dt == T_F32 && ptx_has(in, W_ftz))
		v = cg_ftz(cg, v);
	return cg_fp_to_bits(cg, dt, v);
}

static void to_pair(struct ptx_cg *cg, const struct ptx_insn *in, enum ptx_type dt, enum ptx_type st)
{
	enum ptx_type half = dt == T_F16X2 ? T_F16 : T_BF16;
	LLVMValueRef hi, lo;

	if (st != T_F32 || in->n_ops != 3 || ptx_has(in, W_satfinite))
		cg_fail(cg, "unsupported form");
	hi = to_format(cg, in, half, source_float(cg, in, &in->ops[1], st));
	lo = to_format(cg, in, half, source_float(cg, in, &in->ops[2], st));
	hi = LLVMBuildShl(cg->b, cg_resize(cg, hi, 32, false), cg_u(cg, 32, 16), "");
	cg_set(cg, &in->ops[0], dt, LLVMBuildOr(cg->b, hi, cg_resize(cg, lo, 32, false), ""));
}

void ptx_emit_cvt(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type dt = cg_type(cg, 0), st = cg_type(cg, 1);

	if (dt == T_F16X2 || dt == T_BF16X2) {
		to_pair(cg, in, dt, st);
		return;
	}
	if (in->n_ops != 2 || ptx_type_bits(dt) > 64 || ptx_type_bits(st) > 64 || st == T_F16X2 ||
	    st == T_BF16X2 || st == T_TF32 || dt == T_PRED || st == T_PRED || ptx_has(in, W_satfinite))
		cg_fail(cg, "unsupported form");
	if (ptx_type_float(dt) && ptx_type_float(st))
		cg_set(cg, &in->ops[0], dt, to_format(cg, in, dt, source_float(cg, in, &in->ops[1], st)));
	else if (ptx_type_float(dt))
		int_to_float(cg, in, dt, st);
	else if (ptx_type_float(st))
		float_to_int(cg, in, dt, st);
	else
		int_to_int(cg, in, dt, st);
}
