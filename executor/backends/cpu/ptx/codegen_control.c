// SPDX-License-Identifier: Apache-2.0
/*
 * Code generator: branches, calls, returns and the ends of threads. A kernel never jumps to an address it
 * computed: branch tables and indirect calls become switches over known targets. Runs in the executor at
 * module load.
 */
#include "executor/backends/cpu/ptx/codegen.h"
#include "executor/backends/cpu/ptx/ptx_rt.h"
#include "executor/backends/cpu/ptx/ptx_sema.h"

static LLVMBasicBlockRef label_bb(struct ptx_cg *cg, struct ptx_label *l)
{
	if (!l || l->targets || l->proto)
		cg_fail(cg, "not a label to branch to");
	if (!l->cg_bb)
		l->cg_bb = cg_new_bb(cg, "");
	return l->cg_bb;
}

void ptx_emit_bra(struct ptx_cg *cg, const struct ptx_insn *in)
{
	struct ptx_label *l = in->ops[0].label;

	if (l && l->position <= in->position)
		cg_stop_check(cg);
	LLVMBuildBr(cg->b, label_bb(cg, l));
	cg->ended = true;
}

static void trap_block(struct ptx_cg *cg, unsigned why)
{
	CG_RT(cg, ptx_rt_trap, cg->void_t, cg->blk, cg_u(cg, 32, why));
	LLVMBuildUnreachable(cg->b);
	cg->ended = true;
}

void ptx_emit_brx(struct ptx_cg *cg, const struct ptx_insn *in)
{
	struct ptx_label *table = in->ops[1].label;
	LLVMBasicBlockRef bad = cg_new_bb(cg, "");
	LLVMValueRef sw;

	if (!ptx_has(in, W_idx) || !table || !table->targets)
		cg_fail(cg, "expected a .branchtargets label");
	cg_stop_check(cg);
	sw = LLVMBuildSwitch(cg->b, cg_get(cg, &in->ops[0], T_U32), bad, table->n_targets);
	for (uint32_t i = 0; i < table->n_targets; i++)
		LLVMAddCase(sw, cg_u(cg, 32, i), label_bb(cg, table->targets[i]));
	cg_start(cg, bad);
	trap_block(cg, PTX_TRAP_BRANCH);
}

void ptx_emit_ret(struct ptx_cg *cg, const struct ptx_insn *in)
{
	struct ptx_func *f = cg->func;

	(void)in;
	for (uint32_t i = 0; !f->is_entry && i < f->n_rets; i++) {
		struct ptx_operand o = { .kind = OPD_REG, .reg = f->rets[i]->reg };

		if (f->rets[i]->is_reg) {
			LLVMValueRef st =
			    LLVMBuildStore(cg->b, cg_get(cg, &o, f->rets[i]->type), f->rets[i]->cg_slot);
			LLVMSetAlignment(st, 1);
		}
	}
	LLVMBuildRetVoid(cg->b);
	cg->ended = true;
}

void ptx_emit_exit(struct ptx_cg *cg, const struct ptx_insn *in)
{
	(void)in;
	if (cg->func->is_entry) {
		LLVMBuildRetVoid(cg->b);
	} else {
		CG_RT(cg, ptx_rt_exit, cg->void_t, cg->blk, cg->self);
		LLVMBuildUnreachable(cg->b);
	}
	cg->ended = true;
}

void ptx_emit_trap(struct ptx_cg *cg, const struct ptx_insn *in)
{
	(void)in;
	trap_block(cg, PTX_TRAP_PLAIN);
}

void ptx_emit_nanosleep(struct ptx_cg *cg, const struct ptx_insn *in)
{
	(void)in;
	cg_poll(cg);
}

// ---- calls ----

// Pointer to the bytes of an argument or result: the .param variable itself, or a temporary for a register.
static LLVMValueRef arg_slot(struct ptx_cg *cg, const struct ptx_operand *o, const struct ptx_var *formal,
			     bool is_ret)
{
	LLVMTypeRef t = cg_int(cg, ptx_type_bits(formal->type));
	LLVMValueRef slot;

	if (o->kind == OPD_VAR) {
		if (o->var->space != SP_PARAM || o->var->owner != cg->func || !o->var->cg_slot || o->off)
			cg_fail(cg, "argument '%.80s' is no .param variable of this function", o->var->name);
		if (o->var->size < formal->size)
			cg_fail(cg, "argument '%.80s' is smaller than the parameter", o->var->name);
		return o->var->cg_slot;
	}
	if (formal->size != ptx_type_bits(formal->type) / 8)
		cg_fail(cg, "a register for an array parameter");
	slot = cg_alloca(cg, t, 16);
	LLVMBuildStore(cg->allocas, LLVMConstNull(t), slot);
	if (!is_ret)
		LLVMBuildStore(cg->b, cg_get(cg, o, formal->type), slot);
	return slot;
}

static void check_signature(struct ptx_cg *cg, const struct ptx_call *c, const struct ptx_func *f)
{
	if (c->n_args != f->n_params || c->n_rets != f->n_rets)
		cg_fail(cg, "call with %u arguments and %u results, '%.60s' has %u and %u", c->n_args,
			c->n_rets, f->name ? f->name : "the prototype", f->n_params, f->n_rets);
}

static bool same_signature(const struct ptx_func *a, const struct ptx_func *b)
{
	if (a->n_params != b->n_params || a->n_rets != b->n_rets)
		return false;
	for (uint32_t i = 0; i < a->n_params; i++)
		if (a->params[i]->size != b->params[i]->size)
			return false;
	for (uint32_t i = 0; i < a->n_rets; i++)
		if (a->rets[i]->size != b->rets[i]->size)
			return false;
	return true;
}

static void call_through(struct ptx_cg *cg, const struct ptx_call *c, const struct ptx_func *proto,
			 LLVMValueRef *args, unsigned n)
{
	LLVMBasicBlockRef bad = cg_new_bb(cg, ""), next = cg_new_bb(cg, "");
	LLVMTypeRef type = cg_func_type(cg, proto);
	LLVMValueRef sw;

	sw = LLVMBuildSwitch(cg->b, cg_get(cg, &c->target, T_U64), bad, 8);
	for (struct ptx_func *f = cg->unit->funcs; f; f = f->next) {
		LLVMBasicBlockRef bb;

		if (!f->address_taken || !f->has_body || f->is_entry || !same_signature(f, proto))
			continue;
		bb = cg_new_bb(cg, "");
		LLVMAddCase(sw, cg_u(cg, 64, f->id), bb);
		cg_start(cg, bb);
		LLVMBuildCall2(cg->b, type, f->cg_fn, args, n, "");
		LLVMBuildBr(cg->b, next);
	}
	cg_start(cg, bad);
	trap_block(cg, PTX_TRAP_CALL);
	cg_start(cg, next);
}

// Value of argument i of a call to a function that the engine supplies.
static LLVMValueRef builtin_arg(struct ptx_cg *cg, const struct ptx_call *c, unsigned i, unsigned bits)
{
	const struct ptx_operand *o = &c->args[i];
	LLVMValueRef v;

	if (o->kind != OPD_VAR)
		return cg_get(cg, o, bits == 64 ? T_U64 : T_U32);
	if (o->var->space != SP_PARAM || !o->var->cg_slot || o->var->size < bits / 8)
		cg_fail(cg, "bad argument");
	v = LLVMBuildLoad2(cg->b, cg_int(cg, bits), o->var->cg_slot, "");
	LLVMSetAlignment(v, 1);
	return v;
}

static void call_vprintf(struct ptx_cg *cg, const struct ptx_call *c)
{
	LLVMValueRef v = CG_RT(cg, ptx_rt_vprintf, cg->i32, cg->blk, cg->self, builtin_arg(cg, c, 0, 64),
			       builtin_arg(cg, c, 1, 64));
	LLVMValueRef st;

	if (!c->n_rets)
		return;
	if (c->rets[0].kind == OPD_VAR) {
		if (c->rets[0].var->space != SP_PARAM || !c->rets[0].var->cg_slot || c->rets[0].var->size < 4)
			cg_fail(cg, "bad result");
		st = LLVMBuildStore(cg->b, v, c->rets[0].var->cg_slot);
		LLVMSetAlignment(st, 1);
	} else {
		cg_set(cg, &c->rets[0], T_B32, v);
	}
}

static void call_assertfail(struct ptx_cg *cg, const struct ptx_call *c)
{
	LLVMValueRef tid = cg_alloca(cg, LLVMArrayType2(cg->i32, 3), 4);

	for (uint64_t i = 0; i < 3; i++) {
		LLVMValueRef at = cg_u(cg, 64, 4 * i);

		LLVMBuildStore(cg->b, cg->tid[i], LLVMBuildGEP2(cg->b, cg->i8, tid, &at, 1, ""));
	}
	CG_RT(cg, ptx_rt_assertfail, cg->void_t, cg->blk, tid, builtin_arg(cg, c, 0, 64),
	      builtin_arg(cg, c, 1, 64), builtin_arg(cg, c, 2, 32), builtin_arg(cg, c, 3, 64));
	LLVMBuildUnreachable(cg->b);
	cg->ended = true;
}

void ptx_emit_call(struct ptx_cg *cg, const struct ptx_insn *in)
{
	const struct ptx_call *c = in->call;
	const struct ptx_func *f = c->target.kind == OPD_FUNC ? c->target.func
				   : c->proto		      ? c->proto->proto
							      : NULL;
	LLVMValueRef args[CG_FIXED_ARGS + 128];
	unsigned n = CG_FIXED_ARGS;

	if (!f)
		cg_fail(cg, "an indirect call needs a .callprototype");
	check_signature(cg, c, f);
	if (c->target.kind == OPD_FUNC && ptx_builtin_of(f) == PTX_BUILTIN_VPRINTF) {
		call_vprintf(cg, c);
		return;
	}
	if (c->target.kind == OPD_FUNC && ptx_builtin_of(f) == PTX_BUILTIN_ASSERTFAIL) {
		call_assertfail(cg, c);
		return;
	}
	if (c->target.kind == OPD_FUNC && ptx_builtin_of(f) == PTX_BUILTIN_CONDITION) {
		CG_RT(cg, ptx_rt_set_condition, cg->void_t, cg->blk, builtin_arg(cg, c, 0, 64),
		      builtin_arg(cg, c, 1, 32));
		return;
	}
	args[0] = cg->blk;
	args[1] = cg->self;
	for (int i = 0; i < 3; i++)
		args[2 + i] = cg->tid[i];
	args[5] = cg->lin;
	args[6] = LLVMBuildAdd(cg->b, cg->lsp, cg_u(cg, 64, cg->func->frame_bytes), "");
	args[7] = cg->lend;
	for (uint32_t i = 0; i < c->n_rets; i++)
		args[n++] = arg_slot(cg, &c->rets[i], f->rets[i], true);
	for (uint32_t i = 0; i < c->n_args; i++)
		args[n++] = arg_slot(cg, &c->args[i], f->params[i], false);
	if (c->target.kind == OPD_FUNC)
		LLVMBuildCall2(cg->b, cg_func_type(cg, f), f->cg_fn, args, n, "");
	else
		call_through(cg, c, f, args, n);
	for (uint32_t i = 0; i < c->n_rets; i++)
		if (c->rets[i].kind != OPD_VAR) {
			LLVMTypeRef t = cg_int(cg, ptx_type_bits(f->rets[i]->type));

			cg_set(cg, &c->rets[i], f->rets[i]->type,
			       LLVMBuildLoad2(cg->b, t, args[CG_FIXED_ARGS + i], ""));
		}
}
