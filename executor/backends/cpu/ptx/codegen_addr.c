// SPDX-License-Identifier: Apache-2.0
/*
 * Code generator: addresses. Every load, store and atomic of a kernel gets its pointer from cg_address, which
 * proves at load or checks at run time that the access stays inside the windows and is aligned. Runs in the
 * executor at module load.
 */
#include "executor/backends/cpu/ptx/codegen.h"
#include "executor/backends/cpu/ptx/ptx_rt.h"
#include "executor/backends/cpu/ptx/ptx_window.h"

enum ptx_space cg_space(const struct ptx_insn *in)
{
	if (ptx_has(in, W_global))
		return SP_GLOBAL;
	if (ptx_has(in, W_shared) || ptx_has(in, W_shared_cta))
		return SP_SHARED;
	if (ptx_has(in, W_local))
		return SP_LOCAL;
	if (ptx_has(in, W_constant))
		return SP_CONST;
	if (ptx_has(in, W_param) || ptx_has(in, W_param_entry) || ptx_has(in, W_param_func))
		return SP_PARAM;
	return SP_GENERIC;
}

// Goes on where ok holds; else the function's common exit reports the access.
void cg_guard(struct ptx_cg *cg, LLVMValueRef ok, LLVMValueRef addr, LLVMValueRef size, unsigned space)
{
	LLVMBasicBlockRef next = cg_new_bb(cg, ""), here = LLVMGetInsertBlock(cg->b);
	LLVMValueRef sp = cg_u(cg, 32, space);

	LLVMBuildCondBr(cg->b, ok, next, cg->bad);
	LLVMAddIncoming(cg->bad_addr, &addr, &here, 1);
	LLVMAddIncoming(cg->bad_size, &size, &here, 1);
	LLVMAddIncoming(cg->bad_space, &sp, &here, 1);
	cg_start(cg, next);
}

static unsigned log2_of(unsigned size)
{
	return __builtin_ctz(size);
}

// x <= limit and x a multiple of size, in one comparison: rotating puts the low bits on top.
static LLVMValueRef within(struct ptx_cg *cg, LLVMValueRef x, LLVMValueRef limit, unsigned size)
{
	LLVMValueRef k = cg_u(cg, 64, log2_of(size));

	if (size > 1) {
		x = cg_intrinsic(cg, "llvm.fshr", cg->i64, (LLVMValueRef[]){ x, x, k }, 3);
		limit = LLVMBuildLShr(cg->b, limit, k, "");
	}
	return LLVMBuildICmp(cg->b, LLVMIntULE, x, limit, "");
}

static LLVMValueRef checked_window(struct ptx_cg *cg, LLVMValueRef addr, unsigned size, enum ptx_space space)
{
	LLVMValueRef x = LLVMBuildSub(cg->b, addr, cg_u(cg, 64, PTX_REACH_LO), "");
	LLVMValueRef limit = cg_u(cg, 64, PTX_REACH_HI - PTX_REACH_LO - size);

	LLVMValueRef ok = within(cg, x, limit, size);
	LLVMBasicBlockRef outside = cg_new_bb(cg, ""), inside = cg_new_bb(cg, "");

	LLVMBuildCondBr(cg->b, ok, inside, outside);
	cg_start(cg, outside);
	ok = CG_RT(cg, ptx_rt_is_extra, cg->i1, addr, cg_u(cg, 32, size));
	cg_guard(cg, ok, addr, cg_u(cg, 32, size), space);
	LLVMBuildBr(cg->b, inside);
	cg_start(cg, inside);
	return LLVMBuildIntToPtr(cg->b, addr, cg->ptr, "");
}

static LLVMValueRef checked_shared(struct ptx_cg *cg, LLVMValueRef off, unsigned size)
{
	LLVMValueRef bytes = cg_block_field(cg, offsetof(struct ptx_block, shared_bytes), 32);
	LLVMValueRef limit = LLVMBuildSub(cg->b, cg_resize(cg, bytes, 64, false), cg_u(cg, 64, size), "");

	cg_guard(cg, within(cg, off, limit, size), off, cg_u(cg, 32, size), SP_SHARED);
	return LLVMBuildIntToPtr(cg->b, LLVMBuildAdd(cg->b, cg_shared_base(cg), off, ""), cg->ptr, "");
}

// Offset of a shared variable in the block's shared memory.
static LLVMValueRef shared_offset(struct ptx_cg *cg, const struct ptx_var *v, int64_t off)
{
	if (v->is_dynamic)
		return LLVMBuildAdd(
		    cg->b,
		    cg_resize(cg, cg_block_field(cg, offsetof(struct ptx_block, dynamic_off), 32), 64, false),
		    cg_u(cg, 64, off), "");
	return cg_u(cg, 64, v->addr + (uint64_t)off);
}

static bool inside(const struct ptx_var *v, int64_t off, unsigned size)
{
	return off >= 0 && v->size >= size && (uint64_t)off <= v->size - size && off % size == 0 &&
	       v->align >= size;
}

static LLVMValueRef param_pointer(struct ptx_cg *cg, const struct ptx_operand *o, unsigned size)
{
	struct ptx_var *v = o->var;
	LLVMValueRef at = cg_u(cg, 64, o->off), base;

	if (v->owner != cg->func || v->space != SP_PARAM)
		cg_fail(cg, "'%.80s' is no parameter here", v->name);
	if (o->off < 0 || v->size < size || (uint64_t)o->off > v->size - size || o->off % size)
		cg_fail(cg, "access outside of parameter '%.80s'", v->name);
	if (!v->cg_slot) { // of the kernel
		if ((v->addr + (uint64_t)o->off) % size)
			cg_fail(cg, "misaligned access to parameter '%.80s'", v->name);
		base = cg_block_field(cg, offsetof(struct ptx_block, param_base), 64);
		base = LLVMBuildAdd(cg->b, base, cg_u(cg, 64, v->addr + (uint64_t)o->off), "");
		return LLVMBuildIntToPtr(cg->b, base, cg->ptr, "");
	}
	return LLVMBuildGEP2(cg->b, cg->i8, v->cg_slot, &at, 1, "");
}

static LLVMValueRef local_address(struct ptx_cg *cg, const struct ptx_var *v, int64_t off)
{
	if (v->owner != cg->func)
		cg_fail(cg, "'%.80s' belongs to another function", v->name);
	return LLVMBuildAdd(cg->b, cg->lsp, cg_u(cg, 64, v->addr + (uint64_t)off), "");
}

static LLVMValueRef variable_pointer(struct ptx_cg *cg, const struct ptx_operand *o, enum ptx_space space,
				     unsigned size)
{
	struct ptx_var *v = o->var;
	LLVMValueRef addr;

	if (v->space == SP_PARAM)
		return param_pointer(cg, o, size);
	if (space != SP_GENERIC && space != v->space)
		cg_fail(cg, "'%.80s' lies in another state space", v->name);
	if (v->space == SP_SHARED) {
		if (space == SP_GENERIC)
			cg_fail(cg, "a shared variable needs cvta for a generic access");
		return checked_shared(cg, shared_offset(cg, v, o->off), size);
	}
	addr = v->space == SP_LOCAL ? local_address(cg, v, o->off) : cg_u(cg, 64, v->addr + (uint64_t)o->off);
	if (inside(v, o->off, size))
		return LLVMBuildIntToPtr(cg->b, addr, cg->ptr, "");
	return checked_window(cg, addr, size, space);
}

LLVMValueRef cg_address(struct ptx_cg *cg, const struct ptx_operand *o, enum ptx_space space, unsigned size)
{
	LLVMValueRef addr;
	unsigned bits = 64;

	if (o->kind != OPD_ADDR)
		cg_fail(cg, "expected an address");
	if (o->var)
		return variable_pointer(cg, o, space, size);
	if (o->reg) {
		struct ptx_operand reg = { .kind = OPD_REG, .reg = o->reg };

		bits = ptx_type_bits(o->reg->type);
		if ((bits != 32 && bits != 64) || (bits == 32 && space != SP_SHARED))
			cg_fail(cg, "an address of %u bits", bits);
		addr = cg_get(cg, &reg, bits == 32 ? T_B32 : T_B64);
		if (o->off)
			addr = LLVMBuildAdd(cg->b, addr, cg_u(cg, bits, o->off), "");
		addr = cg_resize(cg, addr, 64, false);
	} else {
		addr = cg_u(cg, 64, o->off);
	}
	return space == SP_SHARED ? checked_shared(cg, addr, size) : checked_window(cg, addr, size, space);
}

LLVMValueRef cg_var_address(struct ptx_cg *cg, const struct ptx_operand *o, unsigned bits)
{
	struct ptx_var *v = o->var;

	if (v->space == SP_SHARED)
		return cg_resize(cg, shared_offset(cg, v, o->off), bits, false);
	if (bits != 64)
		cg_fail(cg, "the address of '%.80s' has 64 bits", v->name);
	if (v->space == SP_LOCAL)
		return local_address(cg, v, o->off);
	if (v->space != SP_PARAM)
		return cg_u(cg, 64, v->addr + (uint64_t)o->off);
	if (v->owner != cg->func || v->owner->is_entry != !v->cg_slot)
		cg_fail(cg, "'%.80s' has no address", v->name);
	if (!v->cg_slot)
		return LLVMBuildAdd(cg->b, cg_block_field(cg, offsetof(struct ptx_block, param_base), 64),
				    cg_u(cg, 64, v->addr + (uint64_t)o->off), "");
	for (uint32_t i = 0; i < cg->func->n_params; i++)
		if (cg->func->params[i] == v)
			return local_address(cg, v, o->off);
	cg_fail(cg, "'%.80s' has no address", v->name);
}

// At every loop back edge and function entry: lets ptx_machine_stop and faults of other blocks end this one.
void cg_stop_check(struct ptx_cg *cg)
{
	LLVMValueRef flag = cg_block_field(cg, offsetof(struct ptx_block, stop), 64), v;
	LLVMBasicBlockRef next = cg_new_bb(cg, ""), out = cg_new_bb(cg, "");

	v = LLVMBuildLoad2(cg->b, cg->i32, LLVMBuildIntToPtr(cg->b, flag, cg->ptr, ""), "");
	LLVMSetVolatile(v, true);
	LLVMBuildCondBr(cg->b, LLVMBuildICmp(cg->b, LLVMIntEQ, v, cg_u(cg, 32, 0), ""), next, out);
	cg_start(cg, out);
	CG_RT(cg, ptx_rt_stopped, cg->void_t, cg->blk);
	LLVMBuildUnreachable(cg->b);
	cg_start(cg, next);
}

// After an operation that may wait for another thread: now and then lets the other threads of the block run.
void cg_poll(struct ptx_cg *cg)
{
	LLVMValueRef at = cg_u(cg, 64, offsetof(struct ptx_fiber, budget)), p, v;
	LLVMBasicBlockRef count, yield, next;

	if (!cg->func->has_loop || !cg->func->has_poll)
		return;
	count = cg_new_bb(cg, "");
	yield = cg_new_bb(cg, "");
	next = cg_new_bb(cg, "");
	LLVMBuildCondBr(cg->b, LLVMBuildIsNull(cg->b, cg->self, ""), next, count);
	cg_start(cg, count);
	p = LLVMBuildGEP2(cg->b, cg->i8, cg->self, &at, 1, "");
	v = LLVMBuildSub(cg->b, LLVMBuildLoad2(cg->b, cg->i32, p, ""), cg_u(cg, 32, 1), "");
	LLVMBuildStore(cg->b, v, p);
	LLVMBuildCondBr(cg->b, LLVMBuildICmp(cg->b, LLVMIntEQ, v, cg_u(cg, 32, 0), ""), yield, next);
	cg_start(cg, yield);
	CG_RT(cg, ptx_rt_yield, cg->void_t, cg->blk, cg->self);
	LLVMBuildBr(cg->b, next);
	cg_start(cg, next);
}
