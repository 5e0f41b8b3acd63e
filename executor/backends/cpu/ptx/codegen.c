// SPDX-License-Identifier: Apache-2.0
/*
 * Code generator, common part: types, values, operands, calls into the engine. Runs in the executor at module
 * load.
 */
#include "executor/backends/cpu/ptx/codegen.h"
#include "executor/backends/cpu/ptx/ptx_parse.h"
#include "executor/backends/cpu/ptx/ptx_rt.h"
#include "executor/backends/cpu/ptx/ptx_sema.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void cg_fail(struct ptx_cg *cg, const char *fmt, ...)
{
	const struct ptx_insn *in = cg->insn;
	char text[192], op[64] = "";
	size_t at = 0;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (in && in->op) {
		at = snprintf(op, sizeof(op), "%s", in->op->name);
		for (int i = 0; i < in->n_mods && at < 47; i++)
			at += snprintf(op + at, sizeof(op) - at, ".%s", ptx_word_text(in->mods[i]));
	}
	ptx_error_set(cg->err, in ? in->line : cg->func ? cg->func->line : 0, op, "%s", text);
	longjmp(cg->fail, EINVAL);
}

LLVMTypeRef cg_int(struct ptx_cg *cg, unsigned bits)
{
	switch (bits) {
	case 1: return cg->i1;
	case 8: return cg->i8;
	case 16: return cg->i16;
	case 32: return cg->i32;
	case 64: return cg->i64;
	case 128: return cg->i128;
	default: return LLVMIntTypeInContext(cg->ctx, bits);
	}
}

LLVMValueRef cg_u(struct ptx_cg *cg, unsigned bits, uint64_t v)
{
	return LLVMConstInt(cg_int(cg, bits), v, false);
}

LLVMTypeRef cg_fp_type(struct ptx_cg *cg, enum ptx_type t)
{
	return t == T_F64 ? cg->f64 : cg->f32;
}

LLVMValueRef cg_resize(struct ptx_cg *cg, LLVMValueRef v, unsigned bits, bool is_signed)
{
	unsigned have = LLVMGetIntTypeWidth(LLVMTypeOf(v));

	if (have == bits)
		return v;
	if (have > bits)
		return LLVMBuildTrunc(cg->b, v, cg_int(cg, bits), "");
	return is_signed ? LLVMBuildSExt(cg->b, v, cg_int(cg, bits), "")
			 : LLVMBuildZExt(cg->b, v, cg_int(cg, bits), "");
}

enum ptx_type cg_type(struct ptx_cg *cg, unsigned i)
{
	if (i >= cg->insn->n_types)
		cg_fail(cg, "type missing");
	return cg->insn->types[i];
}

LLVMValueRef cg_intrinsic(struct ptx_cg *cg, const char *name, LLVMTypeRef overload, LLVMValueRef *args,
			  unsigned n)
{
	unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
	LLVMTypeRef over[1] = { overload };
	LLVMValueRef fn = LLVMGetIntrinsicDeclaration(cg->mod, id, over, overload ? 1 : 0);

	return LLVMBuildCall2(cg->b, LLVMGlobalGetValueType(fn), fn, args, n, "");
}

LLVMValueRef cg_call_rt(struct ptx_cg *cg, const void *fn, LLVMTypeRef ret, LLVMValueRef *args, unsigned n)
{
	LLVMTypeRef types[10];
	LLVMTypeRef ft;

	for (unsigned i = 0; i < n; i++)
		types[i] = LLVMTypeOf(args[i]);
	ft = LLVMFunctionType(ret, types, n, false);
	return LLVMBuildCall2(cg->b, ft, LLVMConstIntToPtr(cg_u(cg, 64, (uintptr_t)fn), cg->ptr), args, n,
			      "");
}

LLVMValueRef cg_block_field(struct ptx_cg *cg, size_t offset, unsigned bits)
{
	LLVMValueRef at = cg_u(cg, 64, offset);
	LLVMValueRef p = LLVMBuildGEP2(cg->b, cg->i8, cg->blk, &at, 1, "");
	LLVMValueRef v = LLVMBuildLoad2(cg->b, cg_int(cg, bits), p, "");

	LLVMSetAlignment(v, bits / 8);
	LLVMSetMetadata(v, cg->md_invariant_kind, cg->md_invariant);
	return v;
}

LLVMValueRef cg_shared_base(struct ptx_cg *cg)
{
	return cg_block_field(cg, offsetof(struct ptx_block, shared_base), 64);
}

LLVMBasicBlockRef cg_new_bb(struct ptx_cg *cg, const char *name)
{
	return LLVMAppendBasicBlockInContext(cg->ctx, cg->fn, name);
}

void cg_start(struct ptx_cg *cg, LLVMBasicBlockRef bb)
{
	LLVMPositionBuilderAtEnd(cg->b, bb);
	cg->ended = false;
}

LLVMValueRef cg_alloca(struct ptx_cg *cg, LLVMTypeRef t, unsigned align)
{
	LLVMValueRef v = LLVMBuildAlloca(cg->allocas, t, "");

	LLVMSetAlignment(v, align);
	return v;
}

// Every register starts as zero: an undefined value could pass a check as one thing and be used as another.
static LLVMValueRef reg_slot(struct ptx_cg *cg, struct ptx_reg *r)
{
	unsigned bits = ptx_type_bits(r->type);

	if (!r->cg_slot) {
		r->cg_slot = cg_alloca(cg, cg_int(cg, bits), bits < 8 ? 1 : bits / 8);
		LLVMBuildStore(cg->allocas, cg_u(cg, bits, 0), r->cg_slot);
	}
	return r->cg_slot;
}

LLVMValueRef cg_fp_from_bits(struct ptx_cg *cg, enum ptx_type t, LLVMValueRef bits)
{
	switch (t) {
	case T_F64: return LLVMBuildBitCast(cg->b, bits, cg->f64, "");
	case T_F16: {
		LLVMValueRef h = LLVMBuildBitCast(cg->b, bits, cg->f16, "");

		return LLVMBuildFPExt(cg->b, h, cg->f32, "");
	}
	case T_BF16: {
		LLVMValueRef w = LLVMBuildShl(cg->b, cg_resize(cg, bits, 32, false), cg_u(cg, 32, 16), "");

		return LLVMBuildBitCast(cg->b, w, cg->f32, "");
	}
	default: return LLVMBuildBitCast(cg->b, bits, cg->f32, "");
	}
}

// Round to nearest even by integer arithmetic; NaN becomes the canonical 0x7fff.
static LLVMValueRef bf16_bits(struct ptx_cg *cg, LLVMValueRef v)
{
	LLVMValueRef w = LLVMBuildBitCast(cg->b, v, cg->i32, "");
	LLVMValueRef lsb =
	    LLVMBuildAnd(cg->b, LLVMBuildLShr(cg->b, w, cg_u(cg, 32, 16), ""), cg_u(cg, 32, 1), "");
	LLVMValueRef sum = LLVMBuildAdd(cg->b, LLVMBuildAdd(cg->b, w, cg_u(cg, 32, 0x7fff), ""), lsb, "");
	LLVMValueRef nan = LLVMBuildFCmp(cg->b, LLVMRealUNO, v, v, "");

	sum = LLVMBuildLShr(cg->b, sum, cg_u(cg, 32, 16), "");
	return cg_resize(cg, LLVMBuildSelect(cg->b, nan, cg_u(cg, 32, 0x7fff), sum, ""), 16, false);
}

LLVMValueRef cg_fp_to_bits(struct ptx_cg *cg, enum ptx_type t, LLVMValueRef v)
{
	switch (t) {
	case T_F64: return LLVMBuildBitCast(cg->b, v, cg->i64, "");
	case T_F16: return LLVMBuildBitCast(cg->b, LLVMBuildFPTrunc(cg->b, v, cg->f16, ""), cg->i16, "");
	case T_BF16: return bf16_bits(cg, v);
	default: return LLVMBuildBitCast(cg->b, v, cg->i32, "");
	}
}

static LLVMValueRef float_literal(struct ptx_cg *cg, const struct ptx_operand *o, enum ptx_type t)
{
	double d;
	float f;
	uint32_t w = o->u;

	if (o->kind == OPD_F32) {
		if (ptx_type_bits(t) == 32)
			return cg_u(cg, 32, w);
		memcpy(&f, &w, 4);
		d = f;
	} else {
		memcpy(&d, &o->u, 8);
	}
	if (ptx_type_bits(t) == 64) {
		uint64_t u;

		memcpy(&u, &d, 8);
		return cg_u(cg, 64, u);
	}
	if (t == T_F16)
		return cg_u(cg, 16, ptx_rt_narrow(NARROW_F16, ROUND_RN, d));
	if (t == T_BF16)
		return cg_u(cg, 16, ptx_rt_narrow(NARROW_BF16, ROUND_RN, d));
	f = (float)d;
	memcpy(&w, &f, 4);
	if (ptx_type_bits(t) != 32)
		cg_fail(cg, "floating point literal for a type of %u bits", ptx_type_bits(t));
	return cg_u(cg, 32, w);
}

static LLVMValueRef sreg_component(struct ptx_cg *cg, size_t at, unsigned comp)
{
	return comp == 3 ? cg_u(cg, 32, 0) : cg_block_field(cg, at + 4 * comp, 32);
}

static LLVMValueRef lane_mask(struct ptx_cg *cg, enum ptx_sreg r)
{
	LLVMValueRef lane = LLVMBuildAnd(cg->b, cg->lin, cg_u(cg, 32, 31), "");
	LLVMValueRef eq = LLVMBuildShl(cg->b, cg_u(cg, 32, 1), lane, "");
	LLVMValueRef lt = LLVMBuildSub(cg->b, eq, cg_u(cg, 32, 1), "");

	switch (r) {
	case SR_lanemask_eq: return eq;
	case SR_lanemask_lt: return lt;
	case SR_lanemask_le: return LLVMBuildOr(cg->b, lt, eq, "");
	case SR_lanemask_ge: return LLVMBuildNot(cg->b, lt, "");
	default: return LLVMBuildNot(cg->b, LLVMBuildOr(cg->b, lt, eq, ""), "");
	}
}

static LLVMValueRef sreg_time(struct ptx_cg *cg, enum ptx_sreg r)
{
	bool is_clock = r == SR_clock || r == SR_clock_hi || r == SR_clock64;
	LLVMValueRef v = cg_call_rt(
	    cg, is_clock ? (const void *)ptx_rt_clock : (const void *)ptx_rt_globaltimer, cg->i64, NULL, 0);

	if (r == SR_clock_hi || r == SR_globaltimer_hi)
		v = LLVMBuildLShr(cg->b, v, cg_u(cg, 64, 32), "");
	return r == SR_clock64 || r == SR_globaltimer ? v : cg_resize(cg, v, 32, false);
}

static LLVMValueRef sreg_value(struct ptx_cg *cg, const struct ptx_operand *o)
{
	switch ((enum ptx_sreg)o->sreg) {
	case SR_tid: return o->comp == 3 ? cg_u(cg, 32, 0) : cg->tid[o->comp];
	case SR_ntid: return sreg_component(cg, offsetof(struct ptx_block, ntid), o->comp);
	case SR_ctaid:
	case SR_clusterid: return sreg_component(cg, offsetof(struct ptx_block, ctaid), o->comp);
	case SR_nctaid:
	case SR_nclusterid: return sreg_component(cg, offsetof(struct ptx_block, nctaid), o->comp);
	case SR_laneid: return LLVMBuildAnd(cg->b, cg->lin, cg_u(cg, 32, 31), "");
	case SR_warpid: return LLVMBuildLShr(cg->b, cg->lin, cg_u(cg, 32, 5), "");
	case SR_nwarpid: {
		LLVMValueRef n = cg_block_field(cg, offsetof(struct ptx_block, threads), 32);

		return LLVMBuildLShr(cg->b, LLVMBuildAdd(cg->b, n, cg_u(cg, 32, 31), ""), cg_u(cg, 32, 5),
				     "");
	}
	case SR_smid: return cg_block_field(cg, offsetof(struct ptx_block, smid), 32);
	case SR_nsmid: return cg_block_field(cg, offsetof(struct ptx_block, nsmid), 32);
	case SR_gridid: return cg_block_field(cg, offsetof(struct ptx_block, gridid), 64);
	case SR_dynamic_smem_size: return cg_block_field(cg, offsetof(struct ptx_block, dynamic_bytes), 32);
	case SR_total_smem_size:
	case SR_aggr_smem_size:
		return LLVMBuildAdd(cg->b, cg_block_field(cg, offsetof(struct ptx_block, dynamic_off), 32),
				    cg_block_field(cg, offsetof(struct ptx_block, dynamic_bytes), 32), "");
	case SR_clock:
	case SR_clock_hi:
	case SR_clock64:
	case SR_globaltimer:
	case SR_globaltimer_lo:
	case SR_globaltimer_hi: return sreg_time(cg, o->sreg);
	case SR_lanemask_eq:
	case SR_lanemask_le:
	case SR_lanemask_lt:
	case SR_lanemask_ge:
	case SR_lanemask_gt: return lane_mask(cg, o->sreg);
	case SR_cluster_nctaid:
	case SR_cluster_nctarank: return cg_u(cg, 32, 1);
	default: return cg_u(cg, ptx_sreg_bits(o->sreg), 0);
	}
}

LLVMValueRef cg_get(struct ptx_cg *cg, const struct ptx_operand *o, enum ptx_type t)
{
	unsigned bits = ptx_type_bits(t);
	LLVMValueRef v;

	if (!bits)
		cg_fail(cg, "type missing");
	switch (o->kind) {
	case OPD_REG:
		v = LLVMBuildLoad2(cg->b, cg_int(cg, ptx_type_bits(o->reg->type)), reg_slot(cg, o->reg), "");
		if ((o->reg->type == T_PRED) != (t == T_PRED))
			cg_fail(cg, "register %s does not suit the instruction", o->reg->name);
		v = cg_resize(cg, v, bits, ptx_type_signed(t));
		break;
	case OPD_INT: v = LLVMConstInt(cg_int(cg, bits), o->u, true); break;
	case OPD_F32:
	case OPD_F64: v = float_literal(cg, o, t); break;
	case OPD_SREG: v = cg_resize(cg, sreg_value(cg, o), bits, false); break;
	case OPD_VAR: v = cg_var_address(cg, o, bits); break;
	case OPD_FUNC:
		if (bits != 64)
			cg_fail(cg, "a function's address has 64 bits");
		v = cg_u(cg, 64, o->func->id);
		break;
	default: cg_fail(cg, "bad operand");
	}
	return o->negate ? LLVMBuildNot(cg->b, v, "") : v;
}

void cg_set(struct ptx_cg *cg, const struct ptx_operand *o, enum ptx_type t, LLVMValueRef v)
{
	if (o->kind == OPD_SINK)
		return;
	if (o->kind != OPD_REG)
		cg_fail(cg, "the destination is no register");
	if ((o->reg->type == T_PRED) != (t == T_PRED))
		cg_fail(cg, "register %s does not suit the instruction", o->reg->name);
	if (ptx_type_bits(o->reg->type) < LLVMGetIntTypeWidth(LLVMTypeOf(v)))
		cg_fail(cg, "register %s is too narrow", o->reg->name);
	v = cg_resize(cg, v, ptx_type_bits(o->reg->type), ptx_type_signed(t));
	LLVMBuildStore(cg->b, v, reg_slot(cg, o->reg));
}

LLVMValueRef cg_getf(struct ptx_cg *cg, const struct ptx_operand *o, enum ptx_type t)
{
	return cg_fp_from_bits(cg, t, cg_get(cg, o, t));
}

void cg_setf(struct ptx_cg *cg, const struct ptx_operand *o, enum ptx_type t, LLVMValueRef v)
{
	cg_set(cg, o, t, cg_fp_to_bits(cg, t, v));
}

LLVMValueRef cg_pred(struct ptx_cg *cg, const struct ptx_operand *o)
{
	return cg_get(cg, o, T_PRED);
}

static void init_types(struct ptx_cg *cg)
{
	LLVMContextRef c = cg->ctx;

	cg->i1 = LLVMInt1TypeInContext(c);
	cg->i8 = LLVMInt8TypeInContext(c);
	cg->i16 = LLVMInt16TypeInContext(c);
	cg->i32 = LLVMInt32TypeInContext(c);
	cg->i64 = LLVMInt64TypeInContext(c);
	cg->i128 = LLVMInt128TypeInContext(c);
	cg->f16 = LLVMHalfTypeInContext(c);
	cg->f32 = LLVMFloatTypeInContext(c);
	cg->f64 = LLVMDoubleTypeInContext(c);
	cg->ptr = LLVMPointerTypeInContext(c, 0);
	cg->void_t = LLVMVoidTypeInContext(c);
	cg->md_invariant_kind = LLVMGetMDKindIDInContext(c, "invariant.load", 14);
	cg->md_invariant = LLVMMetadataAsValue(c, LLVMMDNodeInContext2(c, NULL, 0));
}

int ptx_codegen(struct ptx_unit *u, LLVMContextRef ctx, LLVMModuleRef mod, struct ptx_error *err)
{
	struct ptx_cg state = { .ctx = ctx, .mod = mod, .unit = u, .err = err };
	struct ptx_cg *volatile cg = &state;
	int rc;

	init_types(cg);
	cg->b = LLVMCreateBuilderInContext(ctx);
	cg->allocas = LLVMCreateBuilderInContext(ctx);
	rc = setjmp(cg->fail);
	if (!rc) {
		for (struct ptx_func *f = u->funcs; f; f = f->next)
			if (f->has_body)
				cg_declare(cg, f);
		for (struct ptx_func *f = u->funcs; f; f = f->next)
			if (f->has_body)
				cg_function(cg, f);
	}
	LLVMDisposeBuilder(cg->b);
	LLVMDisposeBuilder(cg->allocas);
	return -rc;
}
