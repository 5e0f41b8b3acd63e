// SPDX-License-Identifier: Apache-2.0
/*
 * Operations of a warp: the lanes named in a mask meet, the last one computes for all. On a worker thread of
 * the executor, called by generated code.
 */
#include "executor/backends/cpu/ptx/ptx_cta.h"

static struct ptx_fiber *warp_of(struct ptx_cta *c, uint32_t lin, uint32_t *ret_n)
{
	uint32_t first = lin & ~31u, n = c->blk.threads - first;

	*ret_n = n < 32 ? n : 32;
	return &c->fibers[first];
}

static void shuffle(struct ptx_fiber *warp, uint32_t in)
{
	for (uint32_t i = 0; i < 32; i++) {
		struct ptx_fiber *f = &warp[i];
		uint32_t seg, limit, low, b, j;
		bool p;

		if (!(in >> i & 1))
			continue;
		b = f->b & 31;
		seg = f->c >> 8 & 31;
		low = i & seg;
		limit = low | (f->c & 31 & ~seg);
		if (f->op == SHFL_UP) {
			p = (int32_t)(i - b) >= (int32_t)limit;
			j = i - b;
		} else {
			j = f->op == SHFL_DOWN ? i + b : f->op == SHFL_BFLY ? i ^ b : low | (b & ~seg);
			p = j <= limit;
		}
		if (!p)
			j = i;
		f->pred_out = p;
		f->result = j < 32 && (in >> j & 1) ? warp[j].value : f->value;
	}
}

static void vote(struct ptx_fiber *warp, uint32_t in)
{
	uint32_t ballot = 0;

	for (uint32_t i = 0; i < 32; i++)
		if ((in >> i & 1) && warp[i].value)
			ballot |= 1u << i;
	for (uint32_t i = 0; i < 32; i++) {
		if (!(in >> i & 1))
			continue;
		warp[i].result = ballot;
		warp[i].pred_out = warp[i].op == VOTE_ALL   ? ballot == in
				   : warp[i].op == VOTE_ANY ? ballot != 0
							    : ballot == 0 || ballot == in;
	}
}

static void match(struct ptx_fiber *warp, uint32_t in)
{
	for (uint32_t i = 0; i < 32; i++) {
		uint32_t same = 0;

		if (!(in >> i & 1))
			continue;
		for (uint32_t k = 0; k < 32; k++)
			if ((in >> k & 1) && warp[k].value == warp[i].value)
				same |= 1u << k;
		warp[i].pred_out = same == in;
		warp[i].result = warp[i].op == MATCH_ANY || same == in ? same : 0;
	}
}

static uint32_t reduce(uint32_t op, uint32_t a, uint32_t b)
{
	switch (op) {
	case REDUX_ADD: return a + b;
	case REDUX_MIN: return (int32_t)a < (int32_t)b ? a : b;
	case REDUX_MAX: return (int32_t)a > (int32_t)b ? a : b;
	case REDUX_UMIN: return a < b ? a : b;
	case REDUX_UMAX: return a > b ? a : b;
	case REDUX_AND: return a & b;
	case REDUX_OR: return a | b;
	default: return a ^ b;
	}
}

static void redux(struct ptx_fiber *warp, uint32_t in)
{
	uint32_t first = __builtin_ctz(in), v = warp[first].value;

	for (uint32_t i = first + 1; i < 32; i++)
		if (in >> i & 1)
			v = reduce(warp[first].op, v, warp[i].value);
	for (uint32_t i = 0; i < 32; i++)
		if (in >> i & 1)
			warp[i].result = v;
}

// The lanes that lane i waits for, as far as they are not gone; 0 when one of them is not there yet.
static uint32_t gathered(const struct ptx_fiber *warp, uint32_t n, uint32_t i)
{
	const struct ptx_fiber *f = &warp[i];
	uint32_t in = 0;

	for (uint32_t k = 0; k < n; k++) {
		const struct ptx_fiber *g = &warp[k];

		if (!(f->mask >> k & 1) || g->state == FIBER_DONE)
			continue;
		if (g->state != FIBER_WARP || g->mask != f->mask || g->kind != f->kind || g->op != f->op)
			return 0;
		in |= 1u << k;
	}
	return in;
}

static void compute(struct ptx_fiber *warp, uint32_t in)
{
	switch (warp[__builtin_ctz(in)].kind) {
	case WARP_SHFL: shuffle(warp, in); break;
	case WARP_VOTE: vote(warp, in); break;
	case WARP_MATCH: match(warp, in); break;
	case WARP_REDUX: redux(warp, in); break;
	default: break;
	}
}

// Completes the operation that lane i of the warp is at, if all its lanes are; self is not queued but goes on
// by itself.
static bool complete(struct ptx_cta *c, uint32_t lin, const struct ptx_fiber *self)
{
	uint32_t n, in;
	struct ptx_fiber *warp = warp_of(c, lin, &n);

	in = gathered(warp, n, lin % 32);
	if (!in)
		return false;
	compute(warp, in);
	c->waiting[lin / 32] &= ~in;
	for (uint32_t left = in; left; left &= left - 1) {
		struct ptx_fiber *f = &warp[__builtin_ctz(left)];

		if (f == self)
			f->state = FIBER_READY;
		else
			ptx_cta_ready(c, f);
	}
	return true;
}

bool ptx_warp_complete(struct ptx_cta *c, uint32_t lin)
{
	uint32_t first = lin & ~31u;
	bool any = false;

	for (uint32_t left = c->waiting[lin / 32]; left; left &= left - 1)
		if (c->waiting[lin / 32] >> __builtin_ctz(left) & 1)
			any |= complete(c, first + __builtin_ctz(left), NULL);
	return any;
}

uint64_t ptx_rt_warp(const struct ptx_block *blk, struct ptx_fiber *self, uint32_t kind_op, uint32_t mask,
		     uint64_t value, uint32_t b, uint32_t c, uint32_t site)
{
	struct ptx_cta *cta = blk->cta;

	self->kind = kind_op & 255;
	self->op = kind_op >> 8;
	mask |= 1u << self->lin % 32; // a lane that leaves itself out would be woken while it runs
	self->mask = mask;
	self->value = value;
	self->b = b;
	self->c = c;
	self->site = site;
	if (self->kind == WARP_ACTIVE) {
		self->state = FIBER_CONVERGE;
		cta->converging++;
		ptx_cta_block(cta, self);
		return self->result;
	}
	self->state = FIBER_WARP;
	cta->waiting[self->lin / 32] |= 1u << self->lin % 32;
	mask &= cta->alive[self->lin / 32];
	// The cheap question first: are all lanes of the mask at some operation?
	if ((cta->waiting[self->lin / 32] & mask) != mask || !complete(cta, self->lin, self))
		ptx_cta_block(cta, self);
	return (self->result & UINT32_MAX) | (uint64_t)self->pred_out << 32;
}

bool ptx_warp_converge(struct ptx_cta *c)
{
	bool any = false;

	for (uint32_t first = 0; first < c->blk.threads; first += 32) {
		uint32_t n;
		struct ptx_fiber *warp = warp_of(c, first, &n);

		for (uint32_t i = 0; i < n; i++) {
			uint32_t in = 0;

			if (warp[i].state != FIBER_CONVERGE)
				continue;
			for (uint32_t k = i; k < n; k++)
				if (warp[k].state == FIBER_CONVERGE && warp[k].site == warp[i].site)
					in |= 1u << k;
			for (uint32_t k = i; k < n; k++)
				if (in >> k & 1) {
					warp[k].result = in;
					ptx_cta_ready(c, &warp[k]);
				}
			any = true;
		}
	}
	c->converging = 0;
	return any;
}
