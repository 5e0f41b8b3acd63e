// SPDX-License-Identifier: Apache-2.0
/*
 * Code generator: loads, stores, fences and copies. Runs in the executor at module load.
 */
#include "executor/backends/cpu/ptx/codegen.h"

static LLVMAtomicOrdering access_order(const struct ptx_insn *in, bool store)
{
	if (ptx_has(in, W_acquire) && !store)
		return LLVMAtomicOrderingAcquire;
	if (ptx_has(in, W_release) && store)
		return LLVMAtomicOrderingRelease;
	if (ptx_has(in, W_relaxed) || ptx_has(in, W_volat) || ptx_has(in, W_mmio))
		return LLVMAtomicOrderingMonotonic;
	return LLVMAtomicOrderingNotAtomic;
}

static unsigned vector_length(const struct ptx_insn *in)
{
	return ptx_has(in, W_v4) ? 4 : ptx_has(in, W_v2) ? 2 : 1;
}

static unsigned element_bytes(struct ptx_cg *cg, enum ptx_type t, unsigned n)
{
	unsigned bytes = ptx_type_bits(t) / 8;

	if (!bytes || bytes * n > 32)
		cg_fail(cg, "unsupported access size");
	return bytes;
}

static const struct ptx_operand *elements(struct ptx_cg *cg, const struct ptx_operand *o, unsigned n)
{
	if (n == 1)
		return o->kind == OPD_VEC && o->n == 1 ? o->elems : o;
	if (o->kind != OPD_VEC || o->n != n)
		cg_fail(cg, "a vector of %u registers is needed", n);
	return o->elems;
}

static LLVMValueRef element_pointer(struct ptx_cg *cg, LLVMValueRef p, unsigned bytes)
{
	LLVMValueRef at = cg_u(cg, 64, bytes);

	return bytes ? LLVMBuildGEP2(cg->b, cg->i8, p, &at, 1, "") : p;
}

static void set_order(LLVMValueRef access, LLVMAtomicOrdering order, unsigned bytes, unsigned offset)
{
	unsigned align = offset ? offset & -offset : bytes;

	LLVMSetAlignment(access, align < bytes ? align : bytes);
	if (order == LLVMAtomicOrderingNotAtomic)
		return;
	LLVMSetVolatile(access, true);
	if (bytes <= 8)
		LLVMSetOrdering(access, order);
}

void ptx_emit_ld(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	unsigned n = vector_length(in), bytes = element_bytes(cg, t, n);
	const struct ptx_operand *dst = elements(cg, &in->ops[0], n);
	LLVMAtomicOrdering order = access_order(in, false);
	LLVMValueRef p = cg_address(cg, &in->ops[1], cg_space(in), bytes * n), v[4];

	for (unsigned i = 0; i < n; i++) {
		v[i] = LLVMBuildLoad2(cg->b, cg_int(cg, 8 * bytes), element_pointer(cg, p, i * bytes), "");
		set_order(v[i], order, bytes, i * bytes);
	}
	for (unsigned i = 0; i < n; i++)
		cg_set(cg, &dst[i], t, v[i]);
	if (order != LLVMAtomicOrderingNotAtomic)
		cg_poll(cg);
}

void ptx_emit_st(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	unsigned n = vector_length(in), bytes = element_bytes(cg, t, n);
	const struct ptx_operand *src = elements(cg, &in->ops[1], n);
	LLVMAtomicOrdering order = access_order(in, true);
	LLVMValueRef v[4], p;

	if (cg_space(in) == SP_CONST)
		cg_fail(cg, ".const cannot be stored to");
	if (cg_space(in) == SP_PARAM && cg->func->is_entry && in->ops[0].kind == OPD_ADDR &&
	    (!in->ops[0].var || !in->ops[0].var->cg_slot))
		cg_fail(cg, "parameters of a kernel cannot be stored to");
	for (unsigned i = 0; i < n; i++)
		v[i] = cg_get(cg, &src[i], t);
	p = cg_address(cg, &in->ops[0], cg_space(in), bytes * n);
	for (unsigned i = 0; i < n; i++)
		set_order(LLVMBuildStore(cg->b, v[i], element_pointer(cg, p, i * bytes)), order, bytes,
			  i * bytes);
}

void ptx_emit_nop(struct ptx_cg *cg, const struct ptx_insn *in)
{
	(void)cg;
	(void)in;
}

void ptx_emit_prefetch(struct ptx_cg *cg, const struct ptx_insn *in)
{
	if (in->ops[0].kind != OPD_ADDR)
		cg_fail(cg, "expected an address");
}

void ptx_emit_fence(struct ptx_cg *cg, const struct ptx_insn *in)
{
	LLVMBuildFence(cg->b,
		       ptx_has(in, W_acq_rel) ? LLVMAtomicOrderingAcquireRelease
					      : LLVMAtomicOrderingSequentiallyConsistent,
		       false, "");
}

// The asynchronous copy may as well be done at once; waiting for it is nothing then.
void ptx_emit_cpasync(struct ptx_cg *cg, const struct ptx_insn *in)
{
	LLVMValueRef src, dst, v, zero;
	unsigned bytes;

	if (!ptx_has(in, W_async))
		cg_fail(cg, "unsupported form");
	if (ptx_has(in, W_commit_group) || ptx_has(in, W_wait_group) || ptx_has(in, W_wait_all))
		return;
	if (in->n_ops < 3 || in->ops[2].kind != OPD_INT ||
	    !ptx_has(in, W_shared) + !ptx_has(in, W_shared_cta) != 1 || !ptx_has(in, W_global))
		cg_fail(cg, "unsupported form");
	bytes = in->ops[2].u;
	if (in->ops[2].u != 4 && in->ops[2].u != 8 && in->ops[2].u != 16)
		cg_fail(cg, "copies of 4, 8 or 16 bytes only");
	dst = cg_address(cg, &in->ops[0], SP_SHARED, bytes);
	src = cg_address(cg, &in->ops[1], SP_GLOBAL, bytes);
	v = LLVMBuildLoad2(cg->b, cg_int(cg, 8 * bytes), src, "");
	LLVMSetAlignment(v, bytes);
	if (in->n_ops == 4) { // only the first bytes are copied, the rest is zero
		LLVMValueRef n = cg_get(cg, &in->ops[3], T_U32), keep;

		zero = LLVMConstAllOnes(cg_int(cg, 8 * bytes));
		keep = LLVMBuildICmp(cg->b, LLVMIntUGE, n, cg_u(cg, 32, bytes), "");
		n = LLVMBuildSelect(cg->b, keep, cg_u(cg, 32, bytes), n, "");
		n = LLVMBuildMul(cg->b, n, cg_u(cg, 32, 8), "");
		v = LLVMBuildAnd(cg->b, v, LLVMBuildNot(cg->b, cg_clamp_shift(cg, LLVMShl, zero, n), ""), "");
	}
	LLVMSetAlignment(LLVMBuildStore(cg->b, v, dst), bytes);
}
