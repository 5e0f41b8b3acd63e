// SPDX-License-Identifier: Apache-2.0
/*
 * Code generator: functions. A .func and the threads of an .entry become functions of one thread; an entry
 * gets a wrapper besides that either runs one resumable thread or loops over all threads of the block. Runs
 * in the executor at module load.
 */
#include "executor/backends/cpu/ptx/codegen.h"
#include "executor/backends/cpu/ptx/ptx_rt.h"
#include "executor/backends/cpu/ptx/ptx_sema.h"

#include <stdio.h>
#include <string.h>

void ptx_entry_symbol(const struct ptx_func *f, char *buf)
{
	snprintf(buf, PTX_SYMBOL_LEN, "ptx_k%u", f->id);
}

static void add_attributes(struct ptx_cg *cg, LLVMValueRef fn)
{
	unsigned nounwind = LLVMGetEnumAttributeKindForName("nounwind", 8);

	LLVMAddAttributeAtIndex(fn, LLVMAttributeFunctionIndex,
				LLVMCreateEnumAttribute(cg->ctx, nounwind, 0));
	// A frame larger than a page touches each page of it, so it cannot step over the guard below the
	// stack.
	LLVMAddAttributeAtIndex(fn, LLVMAttributeFunctionIndex,
				LLVMCreateStringAttribute(cg->ctx, "probe-stack", 11, "inline-asm", 10));
}

LLVMTypeRef cg_func_type(struct ptx_cg *cg, const struct ptx_func *f)
{
	LLVMTypeRef args[CG_FIXED_ARGS + 2 * PTX_MAX_LIST] = { cg->ptr, cg->ptr, cg->i32, cg->i32,
							       cg->i32, cg->i32, cg->i64, cg->i64 };
	unsigned n = CG_FIXED_ARGS;

	if (!f->is_entry)
		for (uint32_t i = 0; i < f->n_rets + f->n_params; i++)
			args[n++] = cg->ptr;
	return LLVMFunctionType(cg->void_t, args, n, false);
}

void cg_declare(struct ptx_cg *cg, struct ptx_func *f)
{
	char name[PTX_SYMBOL_LEN];

	snprintf(name, sizeof(name), "ptx_%c%u", f->is_entry ? 't' : 'f', f->id);
	f->cg_fn = LLVMAddFunction(cg->mod, name, cg_func_type(cg, f));
	LLVMSetLinkage(f->cg_fn, LLVMInternalLinkage);
	add_attributes(cg, f->cg_fn);
}

static void begin_bad_block(struct ptx_cg *cg)
{
	cg->bad = cg_new_bb(cg, "bad");
	LLVMPositionBuilderAtEnd(cg->b, cg->bad);
	cg->bad_addr = LLVMBuildPhi(cg->b, cg->i64, "");
	cg->bad_size = LLVMBuildPhi(cg->b, cg->i32, "");
	cg->bad_space = LLVMBuildPhi(cg->b, cg->i32, "");
	CG_RT(cg, ptx_rt_bad_access, cg->void_t, cg->blk, cg->bad_addr, cg->bad_size, cg->bad_space);
	LLVMBuildUnreachable(cg->b);
}

static void zero_slot(struct ptx_cg *cg, struct ptx_var *v)
{
	LLVMTypeRef t = LLVMArrayType2(cg->i8, v->size);

	v->cg_slot = cg_alloca(cg, t, v->align > 16 ? v->align : 16);
	LLVMBuildMemSet(cg->allocas, v->cg_slot, cg_u(cg, 8, 0), cg_u(cg, 64, v->size), 16);
}

// .param variables of call sequences live on the host's stack: they have no address a kernel could use.
static void make_param_slots(struct ptx_cg *cg, struct ptx_func *f)
{
	uint64_t total = 0;

	for (struct ptx_var *v = f->vars; v; v = v->next) {
		if (v->space != SP_PARAM)
			continue;
		total += v->size;
		if (v->size > PTX_MAX_PARAMS || total > (1u << 20) || v->align > 128 || !v->size)
			cg_fail(cg, "parameters of calls exceed what is supported");
		zero_slot(cg, v);
	}
}

static LLVMValueRef frame_pointer(struct ptx_cg *cg, const struct ptx_var *v)
{
	return LLVMBuildIntToPtr(cg->b, LLVMBuildAdd(cg->b, cg->lsp, cg_u(cg, 64, v->addr), ""), cg->ptr, "");
}

static void take_params(struct ptx_cg *cg, struct ptx_func *f)
{
	unsigned at = CG_FIXED_ARGS;

	for (uint32_t i = 0; i < f->n_rets; i++)
		f->rets[i]->cg_slot = LLVMGetParam(cg->fn, at++);
	for (uint32_t i = 0; i < f->n_params; i++) {
		struct ptx_var *v = f->params[i];
		LLVMValueRef in = LLVMGetParam(cg->fn, at++);

		v->cg_slot = in;
		if (v->is_reg) {
			struct ptx_operand o = { .kind = OPD_REG, .reg = v->reg };
			LLVMTypeRef t = cg_int(cg, ptx_type_bits(v->type));
			LLVMValueRef value = LLVMBuildLoad2(cg->b, t, in, "");

			LLVMSetAlignment(value, 1);
			cg_set(cg, &o, v->type, value);
		} else if (v->address_taken) {
			v->cg_slot = frame_pointer(cg, v);
			LLVMBuildMemCpy(cg->b, v->cg_slot, 16, in, 1, cg_u(cg, 64, v->size));
		}
	}
}

static void check_frame(struct ptx_cg *cg, const struct ptx_func *f)
{
	LLVMValueRef end = LLVMBuildAdd(cg->b, cg->lsp, cg_u(cg, 64, f->frame_bytes), "");

	if (!f->is_entry && f->frame_bytes)
		cg_guard(cg, LLVMBuildICmp(cg->b, LLVMIntULE, end, cg->lend, ""), end, cg_u(cg, 32, 0),
			 SP_LOCAL);
}

static void emit_insn(struct ptx_cg *cg, const struct ptx_insn *in)
{
	LLVMBasicBlockRef next = NULL;

	cg->insn = in;
	if (cg->ended)
		cg_start(cg, cg_new_bb(cg, "dead"));
	if (in->pred) {
		struct ptx_operand o = { .kind = OPD_REG, .reg = in->pred, .negate = in->pred_negate };
		LLVMBasicBlockRef then = cg_new_bb(cg, "");

		next = cg_new_bb(cg, "");
		LLVMBuildCondBr(cg->b, cg_pred(cg, &o), then, next);
		cg_start(cg, then);
	}
	in->op->emit(cg, in);
	if (next) {
		if (!cg->ended)
			LLVMBuildBr(cg->b, next);
		cg_start(cg, next);
	}
}

static void emit_label(struct ptx_cg *cg, struct ptx_label *l)
{
	if (!l->cg_bb)
		l->cg_bb = cg_new_bb(cg, "");
	if (!cg->ended)
		LLVMBuildBr(cg->b, l->cg_bb);
	cg_start(cg, l->cg_bb);
}

static void begin_function(struct ptx_cg *cg, struct ptx_func *f)
{
	cg->func = f;
	cg->insn = NULL;
	cg->fn = f->cg_fn;
	cg->blk = LLVMGetParam(cg->fn, 0);
	cg->self = LLVMGetParam(cg->fn, 1);
	for (int i = 0; i < 3; i++)
		cg->tid[i] = LLVMGetParam(cg->fn, 2 + i);
	cg->lin = LLVMGetParam(cg->fn, 5);
	cg->lsp = LLVMGetParam(cg->fn, 6);
	cg->lend = LLVMGetParam(cg->fn, 7);
	cg->cc = NULL;
	if (f->is_entry)
		ptx_layout_shared(cg->unit, f);
}

static void make_wrapper(struct ptx_cg *cg, struct ptx_func *f);

void cg_function(struct ptx_cg *cg, struct ptx_func *f)
{
	LLVMBasicBlockRef entry, body;

	begin_function(cg, f);
	entry = cg_new_bb(cg, "entry");
	body = cg_new_bb(cg, "body");
	LLVMPositionBuilderAtEnd(cg->allocas, entry);
	begin_bad_block(cg);
	cg_start(cg, body);
	make_param_slots(cg, f);
	check_frame(cg, f);
	if (!f->is_entry) {
		cg_stop_check(cg);
		take_params(cg, f);
	}
	for (struct ptx_insn *in = f->insns; in; in = in->next)
		if (in->op)
			emit_insn(cg, in);
		else
			emit_label(cg, in->label);
	cg->insn = NULL;
	if (!cg->ended)
		ptx_emit_ret(cg, NULL);
	LLVMBuildBr(cg->allocas, body);
	if (!LLVMGetFirstUse(LLVMBasicBlockAsValue(cg->bad)))
		LLVMDeleteBasicBlock(cg->bad);
	if (f->is_entry)
		make_wrapper(cg, f);
}

static void call_thread(struct ptx_cg *cg, struct ptx_func *f, LLVMValueRef self, LLVMValueRef tid[3],
			LLVMValueRef lin, LLVMValueRef local)
{
	LLVMValueRef bytes = cg_block_field(cg, offsetof(struct ptx_block, local_bytes), 64);
	LLVMValueRef args[CG_FIXED_ARGS] = { cg->blk, self, tid[0], tid[1],
					     tid[2],  lin,  local,  LLVMBuildAdd(cg->b, local, bytes, "") };

	LLVMBuildCall2(cg->b, LLVMGlobalGetValueType(f->cg_fn), f->cg_fn, args, CG_FIXED_ARGS, "");
}

static LLVMValueRef fiber_field(struct ptx_cg *cg, size_t offset, LLVMTypeRef t)
{
	LLVMValueRef at = cg_u(cg, 64, offset);

	return LLVMBuildLoad2(cg->b, t, LLVMBuildGEP2(cg->b, cg->i8, cg->self, &at, 1, ""), "");
}

static void wrap_fiber(struct ptx_cg *cg, struct ptx_func *f)
{
	LLVMValueRef tid[3], lin;

	for (int i = 0; i < 3; i++)
		tid[i] = fiber_field(cg, offsetof(struct ptx_fiber, tid) + 4 * i, cg->i32);
	lin = fiber_field(cg, offsetof(struct ptx_fiber, lin), cg->i32);
	call_thread(cg, f, cg->self, tid, lin,
		    fiber_field(cg, offsetof(struct ptx_fiber, local_base), cg->i64));
	LLVMBuildRetVoid(cg->b);
}

static void wrap_loop(struct ptx_cg *cg, struct ptx_func *f, LLVMBasicBlockRef entry)
{
	LLVMValueRef zero = cg_u(cg, 32, 0), one = cg_u(cg, 32, 1), n[3], tid[3], step[3], lin, next_lin,
		     carry;
	LLVMValueRef threads = cg_block_field(cg, offsetof(struct ptx_block, threads), 32);
	LLVMValueRef local = cg_block_field(cg, offsetof(struct ptx_block, local_base), 64);
	LLVMBasicBlockRef loop = cg_new_bb(cg, "threads"), done = cg_new_bb(cg, "done"), back;

	for (int i = 0; i < 3; i++)
		n[i] = cg_block_field(cg, offsetof(struct ptx_block, ntid) + 4 * i, 32);
	LLVMBuildBr(cg->b, loop);
	cg_start(cg, loop);
	lin = LLVMBuildPhi(cg->b, cg->i32, "");
	for (int i = 0; i < 3; i++)
		tid[i] = LLVMBuildPhi(cg->b, cg->i32, "");
	call_thread(cg, f, LLVMConstNull(cg->ptr), tid, lin, local);
	next_lin = LLVMBuildAdd(cg->b, lin, one, "");
	step[0] = LLVMBuildAdd(cg->b, tid[0], one, "");
	for (int i = 0; i < 2; i++) {
		carry = LLVMBuildICmp(cg->b, LLVMIntEQ, step[i], n[i], "");
		step[i] = LLVMBuildSelect(cg->b, carry, zero, step[i], "");
		step[i + 1] = LLVMBuildAdd(cg->b, tid[i + 1], cg_resize(cg, carry, 32, false), "");
	}
	back = LLVMGetInsertBlock(cg->b);
	LLVMBuildCondBr(cg->b, LLVMBuildICmp(cg->b, LLVMIntEQ, next_lin, threads, ""), done, loop);
	LLVMAddIncoming(lin, (LLVMValueRef[]){ zero, next_lin }, (LLVMBasicBlockRef[]){ entry, back }, 2);
	for (int i = 0; i < 3; i++)
		LLVMAddIncoming(tid[i], (LLVMValueRef[]){ zero, step[i] },
				(LLVMBasicBlockRef[]){ entry, back }, 2);
	cg_start(cg, done);
	LLVMBuildRetVoid(cg->b);
}

static void make_wrapper(struct ptx_cg *cg, struct ptx_func *f)
{
	LLVMTypeRef args[2] = { cg->ptr, cg->ptr };
	LLVMBasicBlockRef entry;
	char name[PTX_SYMBOL_LEN];

	ptx_entry_symbol(f, name);
	cg->fn = LLVMAddFunction(cg->mod, name, LLVMFunctionType(cg->void_t, args, 2, false));
	add_attributes(cg, cg->fn);
	cg->blk = LLVMGetParam(cg->fn, 0);
	cg->self = LLVMGetParam(cg->fn, 1);
	entry = cg_new_bb(cg, "entry");
	cg_start(cg, entry);
	if (ptx_needs_fibers(f))
		wrap_fiber(cg, f);
	else
		wrap_loop(cg, f, entry);
}
