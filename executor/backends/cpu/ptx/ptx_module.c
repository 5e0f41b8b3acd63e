// SPDX-License-Identifier: Apache-2.0
/*
 * Loading of modules: parse, check, place the variables, generate and compile code, describe the kernels. In
 * the executor, called by the cpu backend for the tenant's modules.
 */
#include "executor/backends/cpu/ptx/codegen.h"
#include "executor/backends/cpu/ptx/ptx_module.h"
#include "executor/backends/cpu/ptx/ptx_parse.h"
#include "executor/backends/cpu/ptx/ptx_sema.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct ptx_module {
	struct ptx_unit unit;
	struct ptx_module_env env;
	uint64_t global_base, const_base;
	struct ptx_jit *jit;
	struct ptx_kernel *kernels;
	size_t n_kernels;
};

static int place(struct ptx_module *m, uint64_t bytes, uint64_t *ret, struct ptx_error *err)
{
	int rc;

	if (!bytes)
		return 0;
	rc = m->env.alloc ? m->env.alloc(m->env.opaque, bytes, 256, ret) : -ENOMEM;
	if (rc) {
		*ret = 0;
		ptx_error_set(err, 0, "", "no memory for %llu bytes of variables", (unsigned long long)bytes);
		return rc;
	}
	memset((void *)(uintptr_t)*ret, 0, bytes);
	return 0;
}

static int write_init(const struct ptx_var *v, const struct ptx_init *i, struct ptx_error *err)
{
	uint64_t value = i->value;

	if (i->var && i->var->space != SP_GLOBAL && i->var->space != SP_CONST) {
		ptx_error_set(err, v->line, "", "'%.80s' is initialised with an address that is not constant",
			      v->name);
		return -EINVAL;
	}
	if (i->var)
		value += i->var->addr;
	if (i->func)
		value += i->func->id;
	memcpy((void *)(uintptr_t)(v->addr + i->at), &value, i->size);
	return 0;
}

static int place_variables(struct ptx_module *m, struct ptx_error *err)
{
	int rc = place(m, m->unit.global_bytes, &m->global_base, err);

	if (!rc)
		rc = place(m, m->unit.const_bytes, &m->const_base, err);
	for (struct ptx_var *v = m->unit.vars; !rc && v; v = v->next)
		if (v->space == SP_GLOBAL || v->space == SP_CONST)
			v->addr += v->space == SP_CONST ? m->const_base : m->global_base;
	for (struct ptx_var *v = m->unit.vars; !rc && v; v = v->next)
		for (struct ptx_init *i = v->inits; !rc && i; i = i->next)
			rc = write_init(v, i, err);
	return rc;
}

static int describe(struct ptx_module *m, struct ptx_kernel *k, const struct ptx_func *f)
{
	struct ptx_kernel_info *i = &k->info;
	struct ptx_param *params = calloc(f->n_params + 1, sizeof(*params));

	if (!params)
		return -ENOMEM;
	for (uint32_t p = 0; p < f->n_params; p++) {
		params[p] = (struct ptx_param){ f->params[p]->addr, f->params[p]->size, f->params[p]->align };
		i->param_bytes = params[p].offset + params[p].size;
	}
	i->name = f->name;
	i->n_params = f->n_params;
	i->params = params;
	i->shared_static = f->shared_bytes;
	i->local_bytes = f->frame_deepest;
	i->const_bytes = m->unit.const_bytes;
	i->regs_estimate = f->n_regs < 255 ? f->n_regs : 255;
	i->max_threads =
	    f->maxntid && f->maxntid < PTX_MAX_BLOCK_THREADS ? f->maxntid : PTX_MAX_BLOCK_THREADS;
	if (f->reqntid[0])
		i->max_threads = f->reqntid[0] * f->reqntid[1] * f->reqntid[2];
	memcpy(i->req_ntid, f->reqntid, sizeof(i->req_ntid));
	i->ptx_version = m->unit.version;
	i->target_sm = m->unit.sm;
	k->fibers = ptx_needs_fibers(f);
	k->local_bytes = f->frame_deepest + (f->recursive ? PTX_RECURSION_LOCAL : 0);
	k->local_bytes = (k->local_bytes + 15) & ~15u;
	return 0;
}

static int make_kernels(struct ptx_module *m, struct ptx_error *err)
{
	char symbol[PTX_SYMBOL_LEN];
	size_t n = 0;
	int rc;

	for (struct ptx_func *f = m->unit.funcs; f; f = f->next)
		n += f->is_entry && f->has_body;
	m->kernels = calloc(n + 1, sizeof(*m->kernels));
	if (!m->kernels)
		return -ENOMEM;
	for (struct ptx_func *f = m->unit.funcs; f; f = f->next) {
		struct ptx_kernel *k = &m->kernels[m->n_kernels];

		if (!f->is_entry || !f->has_body)
			continue;
		rc = describe(m, k, f);
		if (rc)
			return rc;
		m->n_kernels++;
		ptx_entry_symbol(f, symbol);
		k->entry = (ptx_entry_fn)(uintptr_t)ptx_jit_symbol(m->jit, symbol);
		if (!k->entry) {
			ptx_error_set(err, f->line, "", "no code for '%.80s'", f->name);
			return -EINVAL;
		}
	}
	return 0;
}

static int compile(struct ptx_module *m, struct ptx_error *err)
{
	LLVMOrcThreadSafeContextRef ts = LLVMOrcCreateNewThreadSafeContext();
	LLVMContextRef ctx = LLVMOrcThreadSafeContextGetContext(ts);
	LLVMModuleRef mod = LLVMModuleCreateWithNameInContext("ptx", ctx);
	int rc = ptx_codegen(&m->unit, ctx, mod, err);

	if (rc)
		LLVMDisposeModule(mod);
	else
		rc = ptx_jit_compile(mod, ts, &m->jit, err);
	LLVMOrcDisposeThreadSafeContext(ts);
	return rc;
}

int ptx_module_load(const char *text, size_t len, const struct ptx_module_env *env, struct ptx_module **ret,
		    struct ptx_error *err)
{
	struct ptx_error scratch = { 0 };
	struct ptx_module *m = calloc(1, sizeof(*m));
	int rc;

	err = err ? err : &scratch;
	memset(err, 0, sizeof(*err));
	if (!m)
		return -ENOMEM;
	m->env = *env;
	rc = ptx_jit_init();
	if (!rc)
		rc = ptx_parse(&m->unit, text, len, err);
	if (!rc)
		rc = ptx_sema(&m->unit, err);
	if (!rc)
		rc = place_variables(m, err);
	if (!rc)
		rc = compile(m, err);
	if (!rc)
		rc = make_kernels(m, err);
	if (rc) {
		if (!err->text[0])
			ptx_error_set(err, 0, "", "%s", strerror(-rc));
		ptx_module_free(m);
		return rc;
	}
	*ret = m;
	return 0;
}

int ptx_check(const char *text, size_t len, struct ptx_error *err)
{
	struct ptx_error scratch = { 0 };
	struct ptx_unit unit;
	int rc;

	err = err ? err : &scratch;
	memset(err, 0, sizeof(*err));
	rc = ptx_parse(&unit, text, len, err);
	if (!rc)
		rc = ptx_sema(&unit, err);
	if (!rc) {
		LLVMContextRef ctx = LLVMContextCreate();
		LLVMModuleRef mod = LLVMModuleCreateWithNameInContext("ptx", ctx);

		rc = ptx_codegen(&unit, ctx, mod, err);
		if (!rc)
			rc = ptx_jit_verify(mod, err);
		LLVMDisposeModule(mod);
		LLVMContextDispose(ctx);
	}
	ptx_unit_done(&unit);
	return rc;
}

void ptx_module_free(struct ptx_module *m)
{
	if (!m)
		return;
	ptx_jit_free(m->jit);
	for (size_t i = 0; i < m->n_kernels; i++)
		free((void *)m->kernels[i].info.params);
	free(m->kernels);
	if (m->global_base)
		m->env.free(m->env.opaque, m->global_base);
	if (m->const_base)
		m->env.free(m->env.opaque, m->const_base);
	ptx_unit_done(&m->unit);
	free(m);
}

size_t ptx_module_kernel_count(const struct ptx_module *m)
{
	return m->n_kernels;
}

const struct ptx_kernel *ptx_module_kernel_at(const struct ptx_module *m, size_t i)
{
	return i < m->n_kernels ? &m->kernels[i] : NULL;
}

const struct ptx_kernel *ptx_module_kernel(const struct ptx_module *m, const char *name)
{
	for (size_t i = 0; i < m->n_kernels; i++)
		if (!strcmp(m->kernels[i].info.name, name))
			return &m->kernels[i];
	return NULL;
}

const struct ptx_kernel_info *ptx_kernel_info(const struct ptx_kernel *k)
{
	return &k->info;
}

int ptx_module_global(const struct ptx_module *m, const char *name, uint64_t *ret_addr, size_t *ret_size)
{
	for (const struct ptx_var *v = m->unit.vars; v; v = v->next)
		if ((v->space == SP_GLOBAL || v->space == SP_CONST) && !strcmp(v->name, name)) {
			*ret_addr = v->addr;
			*ret_size = v->size;
			return 0;
		}
	return -ENOENT;
}
