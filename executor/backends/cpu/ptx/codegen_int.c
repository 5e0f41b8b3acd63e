// SPDX-License-Identifier: Apache-2.0
/*
 * Code generator: integer arithmetic, with the carry flag, and the integer forms of names that floats share.
 * Runs in the executor at module load.
 */
#include "executor/backends/cpu/ptx/codegen.h"

static void no_float_modifiers(struct ptx_cg *cg, const struct ptx_insn *in)
{
	static const enum ptx_word words[] = {
		W_rn, W_rz, W_rm, W_rp, W_ftz, W_approx, W_full, W_NaN, W_relu
	};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (ptx_has(in, words[i]))
			cg_fail(cg, "unsupported modifier .%s for an integer type", ptx_word_text(words[i]));
}

static bool is_pair(enum ptx_type t)
{
	return t == T_U16X2 || t == T_S16X2;
}

static LLVMValueRef as_lanes(struct ptx_cg *cg, LLVMValueRef v)
{
	return LLVMBuildBitCast(cg->b, v, LLVMVectorType(cg->i16, 2), "");
}

// a op b with op an LLVM opcode; both halves apart for the x2 types.
static LLVMValueRef binary(struct ptx_cg *cg, LLVMOpcode op, enum ptx_type t, LLVMValueRef a, LLVMValueRef b)
{
	if (!is_pair(t))
		return LLVMBuildBinOp(cg->b, op, a, b, "");
	return LLVMBuildBitCast(cg->b, LLVMBuildBinOp(cg->b, op, as_lanes(cg, a), as_lanes(cg, b), ""),
				cg->i32, "");
}

// ---- carry ----

static LLVMValueRef carry_slot(struct ptx_cg *cg)
{
	if (!cg->cc) {
		cg->cc = cg_alloca(cg, cg->i1, 1);
		LLVMBuildStore(cg->allocas, cg_u(cg, 1, 0), cg->cc);
	}
	return cg->cc;
}

// a + b + carry, or a - b - carry; the carry out goes to the flag when .cc is there.
static LLVMValueRef with_carry(struct ptx_cg *cg, const struct ptx_insn *in, LLVMValueRef a, LLVMValueRef b,
			       bool sub, bool use)
{
	LLVMTypeRef t = LLVMTypeOf(a);
	const char *name = sub ? "llvm.usub.with.overflow" : "llvm.uadd.with.overflow";
	LLVMValueRef r = cg_intrinsic(cg, name, t, (LLVMValueRef[]){ a, b }, 2), v, c;

	v = LLVMBuildExtractValue(cg->b, r, 0, "");
	c = LLVMBuildExtractValue(cg->b, r, 1, "");
	if (use) {
		LLVMValueRef flag = LLVMBuildLoad2(cg->b, cg->i1, carry_slot(cg), "");

		flag = LLVMBuildZExt(cg->b, flag, t, "");
		r = cg_intrinsic(cg, name, t, (LLVMValueRef[]){ v, flag }, 2);
		v = LLVMBuildExtractValue(cg->b, r, 0, "");
		c = LLVMBuildOr(cg->b, c, LLVMBuildExtractValue(cg->b, r, 1, ""), "");
	}
	if (ptx_has(in, W_cc))
		LLVMBuildStore(cg->b, c, carry_slot(cg));
	return v;
}

static void add_sub(struct ptx_cg *cg, const struct ptx_insn *in, bool sub)
{
	enum ptx_type t = cg_type(cg, 0);
	LLVMValueRef a, b, v;

	if (ptx_type_float(t)) {
		cg_float_binary(cg, in, sub ? 1 : 0);
		return;
	}
	no_float_modifiers(cg, in);
	a = cg_get(cg, &in->ops[1], t);
	b = cg_get(cg, &in->ops[2], t);
	if (ptx_has(in, W_sat)) {
		if (t != T_S32)
			cg_fail(cg, ".sat is for .s32");
		v = cg_intrinsic(cg, sub ? "llvm.ssub.sat" : "llvm.sadd.sat", cg->i32,
				 (LLVMValueRef[]){ a, b }, 2);
	} else if (ptx_has(in, W_cc)) {
		v = with_carry(cg, in, a, b, sub, false);
	} else {
		v = binary(cg, sub ? LLVMSub : LLVMAdd, t, a, b);
	}
	cg_set(cg, &in->ops[0], t, v);
}

void ptx_emit_add(struct ptx_cg *cg, const struct ptx_insn *in)
{
	add_sub(cg, in, false);
}

void ptx_emit_sub(struct ptx_cg *cg, const struct ptx_insn *in)
{
	add_sub(cg, in, true);
}

void ptx_emit_addc(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);

	if (ptx_type_float(t) || is_pair(t))
		cg_fail(cg, "unsupported type");
	cg_set(cg, &in->ops[0], t,
	       with_carry(cg, in, cg_get(cg, &in->ops[1], t), cg_get(cg, &in->ops[2], t), in->op->arg, true));
}

// ---- products ----

static enum ptx_type twice(struct ptx_cg *cg, enum ptx_type t)
{
	switch (t) {
	case T_U16: return T_U32;
	case T_S16: return T_S32;
	case T_U32: return T_U64;
	case T_S32: return T_S64;
	default: cg_fail(cg, ".wide does not suit the type");
	}
}

static LLVMValueRef product(struct ptx_cg *cg, const struct ptx_insn *in, enum ptx_type t)
{
	unsigned bits = ptx_type_bits(t);
	bool is_signed = ptx_type_signed(t);
	LLVMValueRef a = cg_get(cg, &in->ops[1], t), b = cg_get(cg, &in->ops[2], t), v;

	if (bits < 16 || is_pair(t))
		cg_fail(cg, "unsupported type");
	if (!ptx_has(in, W_hi) && !ptx_has(in, W_wide)) {
		if (!ptx_has(in, W_lo))
			cg_fail(cg, "one of .lo .hi .wide is missing");
		return LLVMBuildMul(cg->b, a, b, "");
	}
	v = LLVMBuildMul(cg->b, cg_resize(cg, a, 2 * bits, is_signed), cg_resize(cg, b, 2 * bits, is_signed),
			 "");
	if (ptx_has(in, W_wide))
		return v;
	return cg_resize(cg, LLVMBuildLShr(cg->b, v, cg_u(cg, 2 * bits, bits), ""), bits, false);
}

void ptx_emit_mul(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);

	if (ptx_type_float(t)) {
		cg_float_binary(cg, in, 2);
		return;
	}
	no_float_modifiers(cg, in);
	cg_set(cg, &in->ops[0], ptx_has(in, W_wide) ? twice(cg, t) : t, product(cg, in, t));
}

void ptx_emit_mad(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0), dt;
	LLVMValueRef p, c, v;

	if (ptx_type_float(t)) {
		ptx_emit_fma(cg, in);
		return;
	}
	no_float_modifiers(cg, in);
	dt = ptx_has(in, W_wide) ? twice(cg, t) : t;
	p = product(cg, in, t);
	c = cg_get(cg, &in->ops[3], dt);
	if (ptx_has(in, W_sat)) {
		if (t != T_S32 || !ptx_has(in, W_hi))
			cg_fail(cg, ".sat is for .hi.s32");
		v = cg_intrinsic(cg, "llvm.sadd.sat", cg->i32, (LLVMValueRef[]){ p, c }, 2);
	} else if (ptx_has(in, W_cc)) {
		v = with_carry(cg, in, p, c, false, false);
	} else {
		v = LLVMBuildAdd(cg->b, p, c, "");
	}
	cg_set(cg, &in->ops[0], dt, v);
}

void ptx_emit_madc(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);

	if (ptx_type_float(t) || ptx_has(in, W_wide))
		cg_fail(cg, "unsupported type");
	cg_set(cg, &in->ops[0], t,
	       with_carry(cg, in, product(cg, in, t), cg_get(cg, &in->ops[3], t), false, true));
}

static LLVMValueRef product24(struct ptx_cg *cg, const struct ptx_insn *in, enum ptx_type t)
{
	LLVMValueRef v[2], eight = cg_u(cg, 32, 8);

	if (t != T_U32 && t != T_S32)
		cg_fail(cg, "unsupported type");
	for (int i = 0; i < 2; i++) {
		LLVMValueRef s = LLVMBuildShl(cg->b, cg_get(cg, &in->ops[1 + i], t), eight, "");

		s = t == T_S32 ? LLVMBuildAShr(cg->b, s, eight, "") : LLVMBuildLShr(cg->b, s, eight, "");
		v[i] = cg_resize(cg, s, 64, t == T_S32);
	}
	v[0] = LLVMBuildMul(cg->b, v[0], v[1], "");
	if (ptx_has(in, W_hi))
		v[0] = LLVMBuildLShr(cg->b, v[0], cg_u(cg, 64, 16), "");
	return cg_resize(cg, v[0], 32, false);
}

void ptx_emit_mul24(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);

	cg_set(cg, &in->ops[0], t, product24(cg, in, t));
}

void ptx_emit_mad24(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	LLVMValueRef p = product24(cg, in, t), c = cg_get(cg, &in->ops[3], t);

	if (ptx_has(in, W_sat))
		p = cg_intrinsic(cg, "llvm.sadd.sat", cg->i32, (LLVMValueRef[]){ p, c }, 2);
	else
		p = LLVMBuildAdd(cg->b, p, c, "");
	cg_set(cg, &in->ops[0], t, p);
}

static LLVMValueRef pick(struct ptx_cg *cg, enum ptx_type t, LLVMValueRef a, LLVMValueRef b, bool is_max)
{
	LLVMIntPredicate p = ptx_type_signed(t) ? (is_max ? LLVMIntSGT : LLVMIntSLT)
			     : is_max		? LLVMIntUGT
						: LLVMIntULT;

	if (is_pair(t)) {
		LLVMValueRef x = as_lanes(cg, a), y = as_lanes(cg, b);

		return LLVMBuildBitCast(
		    cg->b, LLVMBuildSelect(cg->b, LLVMBuildICmp(cg->b, p, x, y, ""), x, y, ""), cg->i32, "");
	}
	return LLVMBuildSelect(cg->b, LLVMBuildICmp(cg->b, p, a, b, ""), a, b, "");
}

void ptx_emit_minmax(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);

	if (ptx_type_float(t)) {
		cg_float_minmax(cg, in, in->op->arg, in->n_ops - 1);
		return;
	}
	no_float_modifiers(cg, in);
	if (in->n_ops != 3)
		cg_fail(cg, "too many operands");
	cg_set(cg, &in->ops[0], t,
	       pick(cg, t, cg_get(cg, &in->ops[1], t), cg_get(cg, &in->ops[2], t), in->op->arg));
}

void ptx_emit_sad(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	LLVMValueRef a = cg_get(cg, &in->ops[1], t), b = cg_get(cg, &in->ops[2], t);
	LLVMValueRef d = LLVMBuildSub(cg->b, pick(cg, t, a, b, true), pick(cg, t, a, b, false), "");

	if (ptx_type_float(t) || is_pair(t))
		cg_fail(cg, "unsupported type");
	cg_set(cg, &in->ops[0], t, LLVMBuildAdd(cg->b, cg_get(cg, &in->ops[3], t), d, ""));
}

// ---- quotients: by zero all ones (the remainder is a), the smallest value by -1 wraps ----

static void div_rem(struct ptx_cg *cg, const struct ptx_insn *in, enum ptx_type t, bool rem)
{
	unsigned bits = ptx_type_bits(t);
	LLVMValueRef a = cg_get(cg, &in->ops[1], t), b = cg_get(cg, &in->ops[2], t), zero, unsafe, q;
	LLVMValueRef ones = LLVMConstAllOnes(cg_int(cg, bits));

	if (bits < 16 || is_pair(t))
		cg_fail(cg, "unsupported type");
	zero = LLVMBuildICmp(cg->b, LLVMIntEQ, b, cg_u(cg, bits, 0), "");
	unsafe = zero;
	if (ptx_type_signed(t)) {
		LLVMValueRef least = cg_u(cg, bits, 1ull << (bits - 1));

		unsafe = LLVMBuildAnd(cg->b, LLVMBuildICmp(cg->b, LLVMIntEQ, a, least, ""),
				      LLVMBuildICmp(cg->b, LLVMIntEQ, b, ones, ""), "");
		unsafe = LLVMBuildOr(cg->b, unsafe, zero, "");
	}
	b = LLVMBuildSelect(cg->b, unsafe, cg_u(cg, bits, 1), b, "");
	if (ptx_type_signed(t))
		q = rem ? LLVMBuildSRem(cg->b, a, b, "") : LLVMBuildSDiv(cg->b, a, b, "");
	else
		q = rem ? LLVMBuildURem(cg->b, a, b, "") : LLVMBuildUDiv(cg->b, a, b, "");
	cg_set(cg, &in->ops[0], t, LLVMBuildSelect(cg->b, zero, rem ? a : ones, q, ""));
}

void ptx_emit_div(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);

	if (ptx_type_float(t)) {
		cg_float_binary(cg, in, 4);
		return;
	}
	no_float_modifiers(cg, in);
	div_rem(cg, in, t, false);
}

void ptx_emit_rem(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);

	if (ptx_type_float(t))
		cg_fail(cg, "unsupported type");
	div_rem(cg, in, t, true);
}

void ptx_emit_abs(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	LLVMValueRef a;

	if (ptx_type_float(t)) {
		cg_float_abs_neg(cg, in, false);
		return;
	}
	a = cg_get(cg, &in->ops[1], t);
	cg_set(cg, &in->ops[0], t, pick(cg, t, a, LLVMBuildNeg(cg->b, a, ""), true));
}

void ptx_emit_neg(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);

	if (ptx_type_float(t))
		cg_float_abs_neg(cg, in, true);
	else
		cg_set(cg, &in->ops[0], t, LLVMBuildNeg(cg->b, cg_get(cg, &in->ops[1], t), ""));
}

// ---- dot products of bytes ----

static LLVMValueRef element(struct ptx_cg *cg, LLVMValueRef v, unsigned i, unsigned bits, bool is_signed)
{
	LLVMValueRef e = LLVMBuildLShr(cg->b, v, cg_u(cg, 32, i * bits), "");

	return cg_resize(cg, cg_resize(cg, e, bits, false), 32, is_signed);
}

void ptx_emit_dp(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type ta = cg_type(cg, 0), tb = cg_type(cg, 1);
	unsigned n = in->op->arg, first = n == 2 && ptx_has(in, W_hi) ? 2 : 0;
	LLVMValueRef a = cg_get(cg, &in->ops[1], ta), b = cg_get(cg, &in->ops[2], tb), sum;
	bool is_signed = ptx_type_signed(ta) || ptx_type_signed(tb);

	if (ptx_type_bits(ta) != 32 || ptx_type_bits(tb) != 32 || ptx_type_float(ta))
		cg_fail(cg, "unsupported type");
	sum = cg_get(cg, &in->ops[3], is_signed ? T_S32 : T_U32);
	for (unsigned i = 0; i < n; i++)
		sum =
		    LLVMBuildAdd(cg->b, sum,
				 LLVMBuildMul(cg->b, element(cg, a, i, n == 4 ? 8 : 16, ptx_type_signed(ta)),
					      element(cg, b, first + i, 8, ptx_type_signed(tb)), ""),
				 "");
	cg_set(cg, &in->ops[0], is_signed ? T_S32 : T_U32, sum);
}
