// SPDX-License-Identifier: Apache-2.0
/*
 * Second pass over a parsed module: frames of local memory, shared memory layout, and what each function
 * needs through its callees. Runs in the executor between parser and code generator.
 */
#include "executor/backends/cpu/ptx/ptx_parse.h"
#include "executor/backends/cpu/ptx/ptx_sema.h"

#include <errno.h>
#include <string.h>

#define MAX_CALL_CHAIN 512u

struct sema {
	struct ptx_unit *u;
	struct ptx_error *err;
	unsigned depth;
};

static uint64_t align_up(uint64_t v, uint64_t a)
{
	return a ? (v + a - 1) & ~(a - 1) : v;
}

enum ptx_builtin ptx_builtin_of(const struct ptx_func *f)
{
	if (f->has_body)
		return PTX_BUILTIN_NONE;
	if (!strcmp(f->name, "vprintf") && f->n_params == 2)
		return PTX_BUILTIN_VPRINTF;
	if (!strcmp(f->name, "__assertfail") && f->n_params == 5)
		return PTX_BUILTIN_ASSERTFAIL;
	if (!strcmp(f->name, "cudaGraphSetConditional") && f->n_params == 2 && !f->n_rets)
		return PTX_BUILTIN_CONDITION;
	return PTX_BUILTIN_NONE;
}

static int layout_frame(struct sema *s, struct ptx_func *f)
{
	uint64_t at = 0;

	for (struct ptx_var *v = f->vars; v; v = v->next) {
		if (v->space != SP_LOCAL)
			continue;
		at = align_up(at, v->align > 16 ? v->align : 16);
		v->addr = at;
		at += v->size;
		if (v->align > 1024 || at > PTX_MAX_LOCAL) {
			ptx_error_set(s->err, v->line, "", "local memory of '%.80s' exceeds %u bytes",
				      f->name, PTX_MAX_LOCAL);
			return -EINVAL;
		}
	}
	for (uint32_t i = 0; !f->is_entry && i < f->n_params; i++) {
		struct ptx_var *v = f->params[i];

		if (!v->address_taken)
			continue;
		at = align_up(at, v->align > 16 ? v->align : 16);
		v->addr = at;
		at += v->size;
	}
	f->frame_bytes = align_up(at, 16);
	return 0;
}

static uint64_t place_shared(struct ptx_var *v, uint64_t at)
{
	at = align_up(at, v->align);
	v->addr = at;
	return at + v->size;
}

uint64_t ptx_layout_shared(const struct ptx_unit *u, struct ptx_func *f)
{
	uint64_t at = u->common_shared;

	for (uint32_t i = 0; i < f->n_shared; i++)
		if (!f->shared_vars[i]->in_func && !f->shared_vars[i]->is_dynamic)
			at = place_shared(f->shared_vars[i], at);
	return at;
}

static int layout_shared(struct sema *s)
{
	uint64_t at = 0;

	for (struct ptx_func *f = s->u->funcs; f; f = f->next)
		for (uint32_t i = 0; !f->is_entry && i < f->n_shared; i++)
			if (!f->shared_vars[i]->mark && !f->shared_vars[i]->is_dynamic) {
				f->shared_vars[i]->mark = 1;
				at = place_shared(f->shared_vars[i], at);
			}
	if (at > PTX_MAX_SHARED) {
		ptx_error_set(s->err, 0, "", "shared memory exceeds %u bytes", PTX_MAX_SHARED);
		return -EINVAL;
	}
	s->u->common_shared = at;
	for (struct ptx_func *f = s->u->funcs; f; f = f->next) {
		if (!f->is_entry)
			continue;
		at = ptx_layout_shared(s->u, f);
		if (at > PTX_MAX_SHARED) {
			ptx_error_set(s->err, f->line, "", "shared memory of '%.80s' exceeds %u bytes",
				      f->name, PTX_MAX_SHARED);
			return -EINVAL;
		}
		f->shared_bytes = at;
	}
	return 0;
}

static int check_extern(struct sema *s, const struct ptx_func *f)
{
	static const char *const heap[] = { "malloc", "free", "cudaMalloc", "__nv_aligned_device_malloc" };

	if (f->has_body || ptx_builtin_of(f) != PTX_BUILTIN_NONE)
		return 0;
	for (size_t i = 0; i < sizeof(heap) / sizeof(heap[0]); i++)
		if (!strcmp(f->name, heap[i])) {
			ptx_error_set(s->err, f->line, "call", "device-side heap ('%s') is not supported",
				      f->name);
			return -EINVAL;
		}
	ptx_error_set(s->err, f->line, "call", "unresolved extern function '%.80s'", f->name);
	return -EINVAL;
}

enum { MARK_NEW, MARK_OPEN, MARK_DONE };

static int visit(struct sema *s, struct ptx_func *f);

static int visit_callee(struct sema *s, struct ptx_func *f, struct ptx_func *callee, uint32_t *deepest)
{
	int rc = check_extern(s, callee);

	if (rc)
		return rc;
	if (callee->is_entry) {
		ptx_error_set(s->err, f->line, "call", "call of an entry ('%.80s')", callee->name);
		return -EINVAL;
	}
	if (callee->mark == MARK_OPEN) {
		f->recursive = true;
		return 0;
	}
	rc = visit(s, callee);
	if (rc)
		return rc;
	f->has_sync |= callee->has_sync;
	f->has_exit |= callee->has_exit;
	f->has_poll |= callee->has_poll;
	f->has_loop |= callee->has_loop;
	f->recursive |= callee->recursive;
	if (callee->frame_deepest > *deepest)
		*deepest = callee->frame_deepest;
	return 0;
}

static int visit(struct sema *s, struct ptx_func *f)
{
	uint32_t deepest = 0;
	int rc = 0;

	if (f->mark == MARK_DONE)
		return 0;
	f->mark = MARK_OPEN;
	if (++s->depth > MAX_CALL_CHAIN) {
		ptx_error_set(s->err, f->line, "call", "chain of calls too deep");
		return -EINVAL;
	}
	for (uint32_t i = 0; !rc && i < f->n_callees; i++)
		rc = visit_callee(s, f, f->callees[i], &deepest);
	if (f->calls_indirect) {
		f->recursive = true; // who knows
		for (struct ptx_func *c = s->u->funcs; !rc && c; c = c->next)
			if (c->address_taken && c->has_body && !c->is_entry)
				rc = visit_callee(s, f, c, &deepest);
	}
	s->depth--;
	f->mark = MARK_DONE;
	f->frame_deepest = f->frame_bytes + deepest;
	return rc;
}

// Flags of functions on a cycle are complete only when a whole round changes nothing.
static bool spread_flags(struct ptx_unit *u)
{
	bool changed = false;

	for (struct ptx_func *f = u->funcs; f; f = f->next)
		for (uint32_t i = 0; f->recursive && i < f->n_callees; i++) {
			struct ptx_func *c = f->callees[i];
			bool before[4] = { f->has_sync, f->has_exit, f->has_poll, f->has_loop };

			f->has_sync |= c->has_sync;
			f->has_exit |= c->has_exit;
			f->has_poll |= c->has_poll;
			f->has_loop |= c->has_loop;
			changed |= before[0] != f->has_sync || before[1] != f->has_exit ||
				   before[2] != f->has_poll || before[3] != f->has_loop;
		}
	return changed;
}

static int layout_globals(struct sema *s)
{
	for (struct ptx_var *v = s->u->vars; v; v = v->next) {
		uint64_t *total = v->space == SP_CONST ? &s->u->const_bytes : &s->u->global_bytes;

		if (v->space != SP_CONST && v->space != SP_GLOBAL)
			continue;
		if (v->is_extern) {
			ptx_error_set(s->err, v->line, "", "unresolved extern variable '%.80s'", v->name);
			return -EINVAL;
		}
		*total = align_up(*total, v->align > 16 ? v->align : 16);
		v->addr = *total;
		*total += v->size;
		if (*total > PTX_MAX_GLOBALS) {
			ptx_error_set(s->err, v->line, "", "variables exceed %llu bytes", PTX_MAX_GLOBALS);
			return -EINVAL;
		}
	}
	return 0;
}

static int check_param_bytes(struct sema *s, struct ptx_func *f)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < f->n_params; i++) {
		struct ptx_var *v = f->params[i];

		at = align_up(at, v->align);
		v->addr = at;
		at += v->size;
	}
	if (f->n_rets || at > PTX_MAX_PARAMS) {
		ptx_error_set(s->err, f->line, "", "parameters of '%.80s' exceed %u bytes", f->name,
			      PTX_MAX_PARAMS);
		return -EINVAL;
	}
	return 0;
}

bool ptx_needs_fibers(const struct ptx_func *f)
{
	return f->has_sync || f->has_exit || (f->has_poll && f->has_loop);
}

int ptx_sema(struct ptx_unit *u, struct ptx_error *err)
{
	struct sema s = { .u = u, .err = err };
	int rc = layout_globals(&s);

	for (struct ptx_func *f = u->funcs; !rc && f; f = f->next)
		if (f->has_body)
			rc = layout_frame(&s, f);
	if (!rc)
		rc = layout_shared(&s);
	for (struct ptx_func *f = u->funcs; !rc && f; f = f->next) {
		if (f->is_entry)
			rc = check_param_bytes(&s, f);
		if (!rc && f->has_body)
			rc = visit(&s, f);
	}
	while (!rc && spread_flags(u))
		;
	for (struct ptx_func *f = u->funcs; !rc && f; f = f->next)
		if (f->is_entry && f->frame_deepest > PTX_MAX_LOCAL) {
			ptx_error_set(err, f->line, "", "local memory of '%.80s' exceeds %u bytes", f->name,
				      PTX_MAX_LOCAL);
			rc = -EINVAL;
		}
	return rc;
}
