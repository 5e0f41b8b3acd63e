// SPDX-License-Identifier: Apache-2.0
/*
 * Code generator: barriers and operations of a warp. All of them are calls into ptx_cta.c and ptx_warp.c,
 * which switch to another thread of the block where this one has to wait. Runs in the executor at module
 * load.
 */
#include "executor/backends/cpu/ptx/codegen.h"
#include "executor/backends/cpu/ptx/ptx_rt.h"

static LLVMValueRef barrier(struct ptx_cg *cg, unsigned kind, LLVMValueRef id, LLVMValueRef count,
			    LLVMValueRef pred)
{
	LLVMValueRef zero = cg_u(cg, 32, 0);

	return CG_RT(cg, ptx_rt_barrier, cg->i32, cg->blk, cg->self, cg_u(cg, 32, kind), id,
		     count ? count : zero, pred ? cg_resize(cg, pred, 32, false) : zero);
}

static void reducing_barrier(struct ptx_cg *cg, const struct ptx_insn *in)
{
	bool has_count = in->n_ops == 4;
	LLVMValueRef id, count = NULL, r;
	unsigned kind = ptx_has(in, W_popc) ? BAR_POPC : ptx_has(in, W_and) ? BAR_AND : BAR_OR;

	if (in->n_ops < 3 || (kind == BAR_OR && !ptx_has(in, W_or)))
		cg_fail(cg, "unsupported form");
	id = cg_get(cg, &in->ops[1], T_U32);
	if (has_count)
		count = cg_get(cg, &in->ops[2], T_U32);
	r = barrier(cg, kind, id, count, cg_pred(cg, &in->ops[in->n_ops - 1]));
	if (kind == BAR_POPC)
		cg_set(cg, &in->ops[0], T_U32, r);
	else
		cg_set(cg, &in->ops[0], T_PRED, cg_resize(cg, r, 1, false));
}

static void warp_sync(struct ptx_cg *cg, const struct ptx_insn *in)
{
	LLVMValueRef zero = cg_u(cg, 32, 0);

	CG_RT(cg, ptx_rt_warp, cg->i64, cg->blk, cg->self, cg_u(cg, 32, WARP_SYNC),
	      cg_get(cg, &in->ops[0], T_U32), cg_u(cg, 64, 0), zero, zero, zero);
}

void ptx_emit_bar(struct ptx_cg *cg, const struct ptx_insn *in)
{
	bool arrive = ptx_has(in, W_arrive);

	if (ptx_has(in, W_warp)) {
		if (in->n_ops != 1)
			cg_fail(cg, "unsupported form");
		warp_sync(cg, in);
		return;
	}
	if (ptx_has(in, W_red)) {
		reducing_barrier(cg, in);
		return;
	}
	if (in->n_ops < 1 || in->n_ops > 2 || (!arrive && !ptx_has(in, W_sync)) || (arrive && in->n_ops != 2))
		cg_fail(cg, "unsupported form");
	barrier(cg, arrive ? BAR_ARRIVE : BAR_SYNC, cg_get(cg, &in->ops[0], T_U32),
		in->n_ops == 2 ? cg_get(cg, &in->ops[1], T_U32) : NULL, NULL);
}

static LLVMValueRef warp(struct ptx_cg *cg, unsigned kind, unsigned op, LLVMValueRef mask, LLVMValueRef value,
			 LLVMValueRef b, LLVMValueRef c)
{
	LLVMValueRef zero = cg_u(cg, 32, 0), site = cg_u(cg, 32, ++cg->sites);

	return CG_RT(cg, ptx_rt_warp, cg->i64, cg->blk, cg->self, cg_u(cg, 32, kind | op << 8), mask,
		     cg_resize(cg, value, 64, false), b ? b : zero, c ? c : zero, site);
}

static LLVMValueRef low_word(struct ptx_cg *cg, LLVMValueRef r)
{
	return cg_resize(cg, r, 32, false);
}

static LLVMValueRef predicate(struct ptx_cg *cg, LLVMValueRef r)
{
	return cg_resize(cg, LLVMBuildLShr(cg->b, r, cg_u(cg, 64, 32), ""), 1, false);
}

// The operand that names the lanes; without .sync all of the warp.
static LLVMValueRef lanes(struct ptx_cg *cg, const struct ptx_insn *in, unsigned at)
{
	if (!ptx_has(in, W_sync)) {
		if (in->n_ops != at)
			cg_fail(cg, "too many operands");
		return cg_u(cg, 32, UINT32_MAX);
	}
	if (in->n_ops != at + 1)
		cg_fail(cg, "the mask of lanes is missing");
	return cg_get(cg, &in->ops[at], T_U32);
}

void ptx_emit_shfl(struct ptx_cg *cg, const struct ptx_insn *in)
{
	unsigned op = ptx_has(in, W_up)	    ? SHFL_UP
		      : ptx_has(in, W_down) ? SHFL_DOWN
		      : ptx_has(in, W_bfly) ? SHFL_BFLY
					    : SHFL_IDX;
	LLVMValueRef r;

	if (cg_type(cg, 0) != T_B32 || (op == SHFL_IDX && !ptx_has(in, W_idx)))
		cg_fail(cg, "unsupported form");
	r = warp(cg, WARP_SHFL, op, lanes(cg, in, 4), cg_get(cg, &in->ops[1], T_B32),
		 cg_get(cg, &in->ops[2], T_U32), cg_get(cg, &in->ops[3], T_U32));
	cg_set(cg, &in->ops[0], T_B32, low_word(cg, r));
	if (in->ops[0].second)
		cg_set(cg, in->ops[0].second, T_PRED, predicate(cg, r));
}

void ptx_emit_vote(struct ptx_cg *cg, const struct ptx_insn *in)
{
	unsigned op = ptx_has(in, W_all)   ? VOTE_ALL
		      : ptx_has(in, W_any) ? VOTE_ANY
		      : ptx_has(in, W_uni) ? VOTE_UNI
					   : VOTE_BALLOT;
	LLVMValueRef r;

	if (op == VOTE_BALLOT && !ptx_has(in, W_ballot))
		cg_fail(cg, "unsupported form");
	r = warp(cg, WARP_VOTE, op, lanes(cg, in, 2), cg_pred(cg, &in->ops[1]), NULL, NULL);
	if (op == VOTE_BALLOT)
		cg_set(cg, &in->ops[0], T_B32, low_word(cg, r));
	else
		cg_set(cg, &in->ops[0], T_PRED, predicate(cg, r));
}

void ptx_emit_activemask(struct ptx_cg *cg, const struct ptx_insn *in)
{
	LLVMValueRef r = warp(cg, WARP_ACTIVE, 0, cg_u(cg, 32, UINT32_MAX), cg_u(cg, 64, 0), NULL, NULL);

	cg_set(cg, &in->ops[0], T_B32, low_word(cg, r));
}

void ptx_emit_match(struct ptx_cg *cg, const struct ptx_insn *in)
{
	unsigned op = ptx_has(in, W_all) ? MATCH_ALL : MATCH_ANY;
	enum ptx_type t = cg_type(cg, 0);
	LLVMValueRef r;

	if ((t != T_B32 && t != T_B64) || !ptx_has(in, W_sync) || (op == MATCH_ANY && !ptx_has(in, W_any)))
		cg_fail(cg, "unsupported form");
	r = warp(cg, WARP_MATCH, op, lanes(cg, in, 2), cg_get(cg, &in->ops[1], t), NULL, NULL);
	cg_set(cg, &in->ops[0], T_B32, low_word(cg, r));
	if (in->ops[0].second)
		cg_set(cg, in->ops[0].second, T_PRED, predicate(cg, r));
}

void ptx_emit_redux(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_type t = cg_type(cg, 0);
	unsigned op;

	if (ptx_type_bits(t) != 32 || ptx_type_float(t) || !ptx_has(in, W_sync))
		cg_fail(cg, "unsupported form");
	if (ptx_has(in, W_add))
		op = REDUX_ADD;
	else if (ptx_has(in, W_min))
		op = ptx_type_signed(t) ? REDUX_MIN : REDUX_UMIN;
	else if (ptx_has(in, W_max))
		op = ptx_type_signed(t) ? REDUX_MAX : REDUX_UMAX;
	else
		op = ptx_has(in, W_and) ? REDUX_AND : ptx_has(in, W_or) ? REDUX_OR : REDUX_XOR;
	cg_set(
	    cg, &in->ops[0], t,
	    low_word(cg, warp(cg, WARP_REDUX, op, lanes(cg, in, 2), cg_get(cg, &in->ops[1], t), NULL, NULL)));
}
