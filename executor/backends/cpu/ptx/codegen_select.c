// SPDX-License-Identifier: Apache-2.0
/*
 * Code generator: comparisons, selections, mov and conversions of addresses. Runs in the executor at module
 * load.
 */
#include "executor/backends/cpu/ptx/codegen.h"
#include "executor/backends/cpu/ptx/ptx_rt.h"
#include "executor/backends/cpu/ptx/ptx_window.h"

static LLVMIntPredicate int_predicate(struct ptx_cg *cg, enum ptx_word op, bool is_signed)
{
	switch (op) {
	case W_eq: return LLVMIntEQ;
	case W_ne: return LLVMIntNE;
	case W_lt: return is_signed ? LLVMIntSLT : LLVMIntULT;
	case W_le: return is_signed ? LLVMIntSLE : LLVMIntULE;
	case W_gt: return is_signed ? LLVMIntSGT : LLVMIntUGT;
	case W_ge: return is_signed ? LLVMIntSGE : LLVMIntUGE;
	case W_lo: return LLVMIntULT;
	case W_ls: return LLVMIntULE;
	case W_hi: return LLVMIntUGT;
	case W_hs: return LLVMIntUGE;
	default: cg_fail(cg, "comparison .%s does not suit the type", ptx_word_text(op));
	}
}

static LLVMRealPredicate real_predicate(struct ptx_cg *cg, enum ptx_word op)
{
	switch (op) {
	case W_eq: return LLVMRealOEQ;
	case W_ne: return LLVMRealONE;
	case W_lt: return LLVMRealOLT;
	case W_le: return LLVMRealOLE;
	case W_gt: return LLVMRealOGT;
	case W_ge: return LLVMRealOGE;
	case W_equ: return LLVMRealUEQ;
	case W_neu: return LLVMRealUNE;
	case W_ltu: return LLVMRealULT;
	case W_leu: return LLVMRealULE;
	case W_gtu: return LLVMRealUGT;
	case W_geu: return LLVMRealUGE;
	case W_num: return LLVMRealORD;
	case W_nan: return LLVMRealUNO;
	default: cg_fail(cg, "comparison .%s does not suit the type", ptx_word_text(op));
	}
}

static LLVMValueRef compare_bits(struct ptx_cg *cg, enum ptx_word op, enum ptx_type t, LLVMValueRef a,
				 LLVMValueRef b, bool ftz)
{
	LLVMValueRef x, y;

	if (!ptx_type_float(t))
		return LLVMBuildICmp(cg->b, int_predicate(cg, op, ptx_type_signed(t)), a, b, "");
	x = cg_fp_from_bits(cg, t, a);
	y = cg_fp_from_bits(cg, t, b);
	if (ftz && t == T_F32) {
		x = cg_ftz(cg, x);
		y = cg_ftz(cg, y);
	}
	return LLVMBuildFCmp(cg->b, real_predicate(cg, op), x, y, "");
}

LLVMValueRef cg_compare(struct ptx_cg *cg, enum ptx_word op, enum ptx_type t, const struct ptx_operand *a,
			const struct ptx_operand *b, bool ftz)
{
	return compare_bits(cg, op, t, cg_get(cg, a, t), cg_get(cg, b, t), ftz);
}

struct comparison {
	enum ptx_word op, join;
};

static struct comparison find_comparison(struct ptx_cg *cg, const struct ptx_insn *in)
{
	struct comparison c = { W_NONE, W_NONE };

	for (int i = 0; i < in->n_mods; i++) {
		uint32_t cls = ptx_word_classes(in->mods[i]);

		if ((cls & K_CMP) && !c.op)
			c.op = in->mods[i];
		else if (cls & K_BOOL)
			c.join = in->mods[i];
		else if (cls & K_CMP)
			cg_fail(cg, "two comparisons");
	}
	if (!c.op)
		cg_fail(cg, "comparison missing");
	if ((c.join != W_NONE) != (in->n_ops == 4))
		cg_fail(cg, "a third operand goes with .and, .or or .xor");
	return c;
}

static LLVMValueRef join(struct ptx_cg *cg, struct comparison c, const struct ptx_insn *in, LLVMValueRef v)
{
	LLVMValueRef p;

	if (!c.join)
		return v;
	p = cg_pred(cg, &in->ops[3]);
	if (c.join == W_and)
		return LLVMBuildAnd(cg->b, v, p, "");
	return c.join == W_or ? LLVMBuildOr(cg->b, v, p, "") : LLVMBuildXor(cg->b, v, p, "");
}

static LLVMValueRef half_of(struct ptx_cg *cg, LLVMValueRef v, unsigned i)
{
	return cg_resize(cg, LLVMBuildLShr(cg->b, v, cg_u(cg, 32, 16 * i), ""), 16, false);
}

static void setp_pair(struct ptx_cg *cg, const struct ptx_insn *in, struct comparison c, enum ptx_type t)
{
	enum ptx_type half = t == T_F16X2 ? T_F16 : T_BF16;
	LLVMValueRef a = cg_get(cg, &in->ops[1], t), b = cg_get(cg, &in->ops[2], t), r[2];

	if (!in->ops[0].second)
		cg_fail(cg, "two destinations are needed");
	for (unsigned i = 0; i < 2; i++)
		r[i] = join(cg, c, in,
			    compare_bits(cg, c.op, half, half_of(cg, a, i), half_of(cg, b, i), false));
	cg_set(cg, &in->ops[0], T_PRED, r[0]);
	cg_set(cg, in->ops[0].second, T_PRED, r[1]);
}

void ptx_emit_setp(struct ptx_cg *cg, const struct ptx_insn *in)
{
	struct comparison c = find_comparison(cg, in);
	enum ptx_type t = cg_type(cg, 0);
	LLVMValueRef v, q = NULL;

	if (t == T_F16X2 || t == T_BF16X2) {
		setp_pair(cg, in, c, t);
		return;
	}
	v = cg_compare(cg, c.op, t, &in->ops[1], &in->ops[2], ptx_has(in, W_ftz));
	if (in->ops[0].second)
		q = join(cg, c, in, LLVMBuildNot(cg->b, v, ""));
	v = join(cg, c, in, v);
	cg_set(cg, &in->ops[0], T_PRED, v);
	if (q)
		cg_set(cg, in->ops[0].second, T_PRED, q);
}

void ptx_emit_set(struct ptx_cg *cg, const struct ptx_insn *in)
{
	struct comparison c = find_comparison(cg, in);
	enum ptx_type dt = cg_type(cg, 0), st = cg_type(cg, 1);
	LLVMValueRef v;

	if (ptx_type_bits(dt) != 32 || dt == T_F16X2 || dt == T_BF16X2 || st == T_F16X2 || st == T_BF16X2)
		cg_fail(cg, "unsupported type");
	v = join(cg, c, in, cg_compare(cg, c.op, st, &in->ops[1], &in->ops[2], ptx_has(in, W_ftz)));
	v = LLVMBuildSelect(cg->b, v, cg_u(cg, 32, dt == T_F32 ? 0x3f800000 : UINT32_MAX), cg_u(cg, 32, 0),
			    "");
	cg_set(cg, &in->ops[0], dt, v);
}

void ptx_emit_selp(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);

	cg_set(cg, &in->ops[0], t,
	       LLVMBuildSelect(cg->b, cg_pred(cg, &in->ops[3]), cg_get(cg, &in->ops[1], t),
			       cg_get(cg, &in->ops[2], t), ""));
}

void ptx_emit_slct(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0), ct = cg_type(cg, 1);
	LLVMValueRef c;

	if (ct == T_S32) {
		c = LLVMBuildICmp(cg->b, LLVMIntSGE, cg_get(cg, &in->ops[3], ct), cg_u(cg, 32, 0), "");
	} else if (ct == T_F32) {
		c = cg_getf(cg, &in->ops[3], ct);
		if (ptx_has(in, W_ftz))
			c = cg_ftz(cg, c);
		c = LLVMBuildFCmp(cg->b, LLVMRealOGE, c, LLVMConstReal(cg->f32, 0), "");
	} else {
		cg_fail(cg, "unsupported type");
	}
	cg_set(cg, &in->ops[0], t,
	       LLVMBuildSelect(cg->b, c, cg_get(cg, &in->ops[1], t), cg_get(cg, &in->ops[2], t), ""));
}

// ---- mov ----

static enum ptx_type bits_type(struct ptx_cg *cg, unsigned bits)
{
	switch (bits) {
	case 8: return T_B8;
	case 16: return T_B16;
	case 32: return T_B32;
	case 64: return T_B64;
	default: cg_fail(cg, "vector does not suit the type");
	}
}

static LLVMValueRef pack(struct ptx_cg *cg, const struct ptx_operand *vec, unsigned bits)
{
	enum ptx_type et = bits_type(cg, bits / (vec->n ? vec->n : 1));
	LLVMValueRef r = cg_u(cg, bits, 0);

	if (vec->n * ptx_type_bits(et) != bits)
		cg_fail(cg, "vector does not suit the type");
	for (uint32_t i = 0; i < vec->n; i++) {
		LLVMValueRef e = cg_resize(cg, cg_get(cg, &vec->elems[i], et), bits, false);

		e = LLVMBuildShl(cg->b, e, cg_u(cg, bits, i * ptx_type_bits(et)), "");
		r = LLVMBuildOr(cg->b, r, e, "");
	}
	return r;
}

static void unpack(struct ptx_cg *cg, const struct ptx_operand *vec, LLVMValueRef v, unsigned bits)
{
	enum ptx_type et = bits_type(cg, bits / (vec->n ? vec->n : 1));

	if (vec->n * ptx_type_bits(et) != bits)
		cg_fail(cg, "vector does not suit the type");
	for (uint32_t i = 0; i < vec->n; i++) {
		LLVMValueRef e = LLVMBuildLShr(cg->b, v, cg_u(cg, bits, i * ptx_type_bits(et)), "");

		cg_set(cg, &vec->elems[i], et, cg_resize(cg, e, ptx_type_bits(et), false));
	}
}

void ptx_emit_mov(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	unsigned bits = ptx_type_bits(t);
	LLVMValueRef v;

	v = in->ops[1].kind == OPD_VEC ? pack(cg, &in->ops[1], bits) : cg_get(cg, &in->ops[1], t);
	if (in->ops[0].kind == OPD_VEC)
		unpack(cg, &in->ops[0], v, bits);
	else
		cg_set(cg, &in->ops[0], t, v);
}

// ---- addresses: only shared memory has addresses of its own ----

void ptx_emit_cvta(struct ptx_cg *cg, const struct ptx_insn *in)
{
	LLVMValueRef v = cg_get(cg, &in->ops[1], T_U64);

	if (cg_type(cg, 0) != T_U64)
		cg_fail(cg, "only 64 bit addresses are supported");
	if (cg_space(in) == SP_SHARED)
		v = ptx_has(in, W_to) ? LLVMBuildSub(cg->b, v, cg_shared_base(cg), "")
				      : LLVMBuildAdd(cg->b, v, cg_shared_base(cg), "");
	cg_set(cg, &in->ops[0], T_U64, v);
}

static LLVMValueRef in_range(struct ptx_cg *cg, LLVMValueRef v, LLVMValueRef base, LLVMValueRef size)
{
	return LLVMBuildICmp(cg->b, LLVMIntULT, LLVMBuildSub(cg->b, v, base, ""), size, "");
}

void ptx_emit_isspacep(struct ptx_cg *cg, const struct ptx_insn *in)
{
	LLVMValueRef a = cg_get(cg, &in->ops[1], T_U64), r;
	enum ptx_space space = cg_space(in);

	if (space == SP_SHARED) {
		r = in_range(cg, a, cg_shared_base(cg), cg_u(cg, 64, PTX_SLOT_CTA));
	} else if (space == SP_LOCAL) {
		LLVMValueRef bytes = cg_block_field(cg, offsetof(struct ptx_block, local_bytes), 64);

		r = in_range(cg, a, LLVMBuildSub(cg->b, cg->lend, bytes, ""), bytes);
	} else if (space == SP_GLOBAL) {
		// const memory is device memory too, as on the GPU only seen through its window
		r = LLVMBuildOr(
		    cg->b, in_range(cg, a, cg_u(cg, 64, PTX_WINDOW_DEVICE), cg_u(cg, 64, PTX_WINDOW_SIZE)),
		    in_range(cg, a, cg_u(cg, 64, PTX_WINDOW_HOST), cg_u(cg, 64, PTX_WINDOW_SIZE)), "");
	} else if (space == SP_PARAM) {
		r = in_range(cg, a, cg_block_field(cg, offsetof(struct ptx_block, param_base), 64),
			     cg_u(cg, 64, PTX_MAX_PARAMS));
	} else {
		r = cg_u(cg, 1, 0);
	}
	cg_set(cg, &in->ops[0], T_PRED, r);
}
