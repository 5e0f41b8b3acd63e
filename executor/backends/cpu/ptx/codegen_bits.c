// SPDX-License-Identifier: Apache-2.0
/*
 * Code generator: bit operations and shifts. PTX shifts by the width or more give 0 (or the sign), unlike the
 * host's. Runs in the executor at module load.
 */
#include "executor/backends/cpu/ptx/codegen.h"
#include "executor/backends/cpu/ptx/ptx_rt.h"

// opcode LLVMShl, LLVMLShr or LLVMAShr; n an i32 count, any value.
LLVMValueRef cg_clamp_shift(struct ptx_cg *cg, unsigned opcode, LLVMValueRef v, LLVMValueRef n)
{
	unsigned bits = LLVMGetIntTypeWidth(LLVMTypeOf(v));
	LLVMValueRef big = LLVMBuildICmp(cg->b, LLVMIntUGE, n, cg_u(cg, 32, bits), ""), r;

	if (opcode == LLVMAShr) {
		n = LLVMBuildSelect(cg->b, big, cg_u(cg, 32, bits - 1), n, "");
		return LLVMBuildAShr(cg->b, v, cg_resize(cg, n, bits, false), "");
	}
	n = LLVMBuildSelect(cg->b, big, cg_u(cg, 32, 0), n, "");
	r = LLVMBuildBinOp(cg->b, opcode, v, cg_resize(cg, n, bits, false), "");
	return LLVMBuildSelect(cg->b, big, cg_u(cg, bits, 0), r, "");
}

void ptx_emit_shift(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	LLVMOpcode op = in->op->arg ? LLVMShl : ptx_type_signed(t) ? LLVMAShr : LLVMLShr;

	if (ptx_type_float(t) || ptx_type_bits(t) < 16 || ptx_type_bits(t) > 64)
		cg_fail(cg, "unsupported type");
	cg_set(cg, &in->ops[0], t,
	       cg_clamp_shift(cg, op, cg_get(cg, &in->ops[1], t), cg_get(cg, &in->ops[2], T_U32)));
}

static LLVMValueRef umin32(struct ptx_cg *cg, LLVMValueRef v, unsigned max)
{
	LLVMValueRef m = cg_u(cg, 32, max);

	return LLVMBuildSelect(cg->b, LLVMBuildICmp(cg->b, LLVMIntULT, v, m, ""), v, m, "");
}

static LLVMValueRef low_bits(struct ptx_cg *cg, LLVMValueRef v, uint64_t mask)
{
	return LLVMBuildAnd(cg->b, v, LLVMConstInt(LLVMTypeOf(v), mask, false), "");
}

void ptx_emit_shf(struct ptx_cg *cg, const struct ptx_insn *in)
{
	LLVMValueRef a = cg_resize(cg, cg_get(cg, &in->ops[1], T_B32), 64, false);
	LLVMValueRef b = cg_resize(cg, cg_get(cg, &in->ops[2], T_B32), 64, false);
	LLVMValueRef n = cg_get(cg, &in->ops[3], T_U32), v;

	if (cg_type(cg, 0) != T_B32 || ptx_has(in, W_l) == ptx_has(in, W_r))
		cg_fail(cg, "unsupported form");
	n = ptx_has(in, W_wrap) ? low_bits(cg, n, 31) : umin32(cg, n, 32);
	n = cg_resize(cg, n, 64, false);
	v = LLVMBuildOr(cg->b, LLVMBuildShl(cg->b, b, cg_u(cg, 64, 32), ""), a, "");
	if (ptx_has(in, W_l))
		v = LLVMBuildLShr(cg->b, LLVMBuildShl(cg->b, v, n, ""), cg_u(cg, 64, 32), "");
	else
		v = LLVMBuildLShr(cg->b, v, n, "");
	cg_set(cg, &in->ops[0], T_B32, cg_resize(cg, v, 32, false));
}

void ptx_emit_popc(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	LLVMValueRef a = cg_get(cg, &in->ops[1], t);

	cg_set(cg, &in->ops[0], T_U32,
	       cg_resize(cg, cg_intrinsic(cg, "llvm.ctpop", LLVMTypeOf(a), &a, 1), 32, false));
}

static LLVMValueRef leading_zeros(struct ptx_cg *cg, LLVMValueRef a)
{
	LLVMValueRef r =
	    cg_intrinsic(cg, "llvm.ctlz", LLVMTypeOf(a), (LLVMValueRef[]){ a, cg_u(cg, 1, 0) }, 2);

	return cg_resize(cg, r, 32, false);
}

void ptx_emit_clz(struct ptx_cg *cg, const struct ptx_insn *in)
{
	cg_set(cg, &in->ops[0], T_U32, leading_zeros(cg, cg_get(cg, &in->ops[1], cg_type(cg, 0))));
}

void ptx_emit_bfind(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	unsigned bits = ptx_type_bits(t);
	LLVMValueRef a = cg_get(cg, &in->ops[1], t), lz, none, r;

	if (ptx_type_signed(t))
		a = LLVMBuildXor(cg->b, a, LLVMBuildAShr(cg->b, a, cg_u(cg, bits, bits - 1), ""), "");
	none = LLVMBuildICmp(cg->b, LLVMIntEQ, a, cg_u(cg, bits, 0), "");
	lz = leading_zeros(cg, a);
	r = ptx_has(in, W_shiftamt) ? lz : LLVMBuildSub(cg->b, cg_u(cg, 32, bits - 1), lz, "");
	cg_set(cg, &in->ops[0], T_U32, LLVMBuildSelect(cg->b, none, cg_u(cg, 32, UINT32_MAX), r, ""));
}

static uint32_t find_nth_set(uint32_t mask, uint32_t base, int32_t offset)
{
	int step = offset < 0 ? -1 : 1, left = offset < 0 ? -offset : offset;

	if (!offset)
		return base < 32 && (mask >> base & 1) ? base : UINT32_MAX;
	for (int64_t i = base; i >= 0 && i < 32; i += step)
		if ((mask >> i & 1) && !--left)
			return i;
	return UINT32_MAX;
}

void ptx_emit_fns(struct ptx_cg *cg, const struct ptx_insn *in)
{
	cg_set(cg, &in->ops[0], T_B32,
	       CG_RT(cg, find_nth_set, cg->i32, cg_get(cg, &in->ops[1], T_B32),
		     cg_get(cg, &in->ops[2], T_B32), cg_get(cg, &in->ops[3], T_B32)));
}

void ptx_emit_brev(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	LLVMValueRef a = cg_get(cg, &in->ops[1], t);

	cg_set(cg, &in->ops[0], t, cg_intrinsic(cg, "llvm.bitreverse", LLVMTypeOf(a), &a, 1));
}

// n low bits set, n an i32, all of them for n >= bits.
static LLVMValueRef mask_of(struct ptx_cg *cg, unsigned bits, LLVMValueRef n)
{
	return LLVMBuildNot(cg->b, cg_clamp_shift(cg, LLVMShl, LLVMConstAllOnes(cg_int(cg, bits)), n), "");
}

// The low n bits of v with the sign they have, 0 for n = 0; n an i32 at most the width.
static LLVMValueRef extend_from(struct ptx_cg *cg, LLVMValueRef v, LLVMValueRef n)
{
	unsigned bits = LLVMGetIntTypeWidth(LLVMTypeOf(v));
	LLVMValueRef none = LLVMBuildICmp(cg->b, LLVMIntEQ, n, cg_u(cg, 32, 0), "");
	LLVMValueRef sh = LLVMBuildSub(cg->b, cg_u(cg, 32, bits), n, "");

	v = cg_clamp_shift(cg, LLVMAShr, cg_clamp_shift(cg, LLVMShl, v, sh), sh);
	return LLVMBuildSelect(cg->b, none, cg_u(cg, bits, 0), v, "");
}

void ptx_emit_bfe(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	unsigned bits = ptx_type_bits(t);
	LLVMValueRef a = cg_get(cg, &in->ops[1], t);
	LLVMValueRef pos = low_bits(cg, cg_get(cg, &in->ops[2], T_U32), 255);
	LLVMValueRef len = low_bits(cg, cg_get(cg, &in->ops[3], T_U32), 255), v;

	if (bits < 32)
		cg_fail(cg, "unsupported type");
	v = cg_clamp_shift(cg, ptx_type_signed(t) ? LLVMAShr : LLVMLShr, a, pos);
	if (ptx_type_signed(t))
		v = extend_from(cg, v, umin32(cg, len, bits));
	else
		v = LLVMBuildAnd(cg->b, v, mask_of(cg, bits, len), "");
	cg_set(cg, &in->ops[0], t, v);
}

void ptx_emit_bfi(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	LLVMValueRef a = cg_get(cg, &in->ops[1], t), b = cg_get(cg, &in->ops[2], t);
	LLVMValueRef pos = low_bits(cg, cg_get(cg, &in->ops[3], T_U32), 255);
	LLVMValueRef len = low_bits(cg, cg_get(cg, &in->ops[4], T_U32), 255);
	LLVMValueRef mask = cg_clamp_shift(cg, LLVMShl, mask_of(cg, ptx_type_bits(t), len), pos);

	a = LLVMBuildAnd(cg->b, cg_clamp_shift(cg, LLVMShl, a, pos), mask, "");
	b = LLVMBuildAnd(cg->b, b, LLVMBuildNot(cg->b, mask, ""), "");
	cg_set(cg, &in->ops[0], t, LLVMBuildOr(cg->b, a, b, ""));
}

void ptx_emit_bmsk(struct ptx_cg *cg, const struct ptx_insn *in)
{
	LLVMValueRef a = cg_get(cg, &in->ops[1], T_U32), b = cg_get(cg, &in->ops[2], T_U32);

	if (ptx_has(in, W_wrap)) {
		a = low_bits(cg, a, 31);
		b = low_bits(cg, b, 31);
	}
	cg_set(cg, &in->ops[0], T_B32, cg_clamp_shift(cg, LLVMShl, mask_of(cg, 32, b), a));
}

void ptx_emit_szext(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	LLVMValueRef a = cg_get(cg, &in->ops[1], t), n = cg_get(cg, &in->ops[2], T_U32);

	if (ptx_type_bits(t) != 32)
		cg_fail(cg, "unsupported type");
	n = ptx_has(in, W_wrap) ? low_bits(cg, n, 31) : umin32(cg, n, 32);
	if (ptx_type_signed(t))
		a = extend_from(cg, a, n);
	else
		a = LLVMBuildAnd(cg->b, a, mask_of(cg, 32, n), "");
	cg_set(cg, &in->ops[0], t, a);
}

// Byte i of the result: one of eight bytes, or its sign eight times.
static LLVMValueRef permuted_byte(struct ptx_cg *cg, LLVMValueRef v, LLVMValueRef sel, unsigned i)
{
	LLVMValueRef s = LLVMBuildLShr(cg->b, sel, cg_u(cg, 32, 4 * i), "");
	LLVMValueRef at =
	    cg_resize(cg, LLVMBuildShl(cg->b, low_bits(cg, s, 7), cg_u(cg, 32, 3), ""), 64, false);
	LLVMValueRef byte = cg_resize(cg, LLVMBuildLShr(cg->b, v, at, ""), 8, false);
	LLVMValueRef sign = LLVMBuildAShr(cg->b, byte, cg_u(cg, 8, 7), "");
	LLVMValueRef want = LLVMBuildICmp(cg->b, LLVMIntNE, low_bits(cg, s, 8), cg_u(cg, 32, 0), "");

	byte = LLVMBuildSelect(cg->b, want, sign, byte, "");
	return LLVMBuildShl(cg->b, cg_resize(cg, byte, 32, false), cg_u(cg, 32, 8 * i), "");
}

void ptx_emit_prmt(struct ptx_cg *cg, const struct ptx_insn *in)
{
	LLVMValueRef a = cg_get(cg, &in->ops[1], T_B32), b = cg_get(cg, &in->ops[2], T_B32);
	LLVMValueRef sel = cg_get(cg, &in->ops[3], T_B32), v, r = cg_u(cg, 32, 0);

	if (in->n_mods) {
		r = CG_RT(cg, ptx_rt_prmt, cg->i32, a, b, sel, cg_u(cg, 32, in->mods[0] - W_f4e));
	} else {
		v = LLVMBuildShl(cg->b, cg_resize(cg, b, 64, false), cg_u(cg, 64, 32), "");
		v = LLVMBuildOr(cg->b, v, cg_resize(cg, a, 64, false), "");
		for (unsigned i = 0; i < 4; i++)
			r = LLVMBuildOr(cg->b, r, permuted_byte(cg, v, sel, i), "");
	}
	cg_set(cg, &in->ops[0], T_B32, r);
}

void ptx_emit_lop3(struct ptx_cg *cg, const struct ptx_insn *in)
{
	LLVMValueRef v[3], r = cg_u(cg, 32, 0);

	if (in->ops[4].kind != OPD_INT || in->ops[4].u > 255 || in->ops[0].second || cg_type(cg, 0) != T_B32)
		cg_fail(cg, "unsupported form");
	for (int i = 0; i < 3; i++)
		v[i] = cg_get(cg, &in->ops[1 + i], T_B32);
	for (unsigned row = 0; row < 8; row++) {
		LLVMValueRef term = LLVMConstAllOnes(cg->i32);

		if (!(in->ops[4].u >> row & 1))
			continue;
		for (int i = 0; i < 3; i++) // the first operand is the high bit of the row
			term = LLVMBuildAnd(cg->b, term,
					    row >> (2 - i) & 1 ? v[i] : LLVMBuildNot(cg->b, v[i], ""), "");
		r = LLVMBuildOr(cg->b, r, term, "");
	}
	cg_set(cg, &in->ops[0], T_B32, r);
}

void ptx_emit_logic(struct ptx_cg *cg, const struct ptx_insn *in)
{
	static const LLVMOpcode ops[] = { LLVMAnd, LLVMOr, LLVMXor };
	enum ptx_type t = cg_type(cg, 0);

	cg_set(cg, &in->ops[0], t,
	       LLVMBuildBinOp(cg->b, ops[in->op->arg], cg_get(cg, &in->ops[1], t), cg_get(cg, &in->ops[2], t),
			      ""));
}

void ptx_emit_not(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);

	cg_set(cg, &in->ops[0], t, LLVMBuildNot(cg->b, cg_get(cg, &in->ops[1], t), ""));
}

void ptx_emit_cnot(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	LLVMValueRef a = cg_get(cg, &in->ops[1], t);
	LLVMValueRef z = LLVMBuildICmp(cg->b, LLVMIntEQ, a, LLVMConstNull(LLVMTypeOf(a)), "");

	cg_set(cg, &in->ops[0], t, cg_resize(cg, z, ptx_type_bits(t), false));
}
