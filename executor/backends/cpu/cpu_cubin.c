// SPDX-License-Identifier: Apache-2.0
// Keeps what image/cubin.h tells of machine code when the image itself is gone; see the header. Executor
// process, loop thread.
#include "executor/backends/cpu/cpu_cubin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/cubin.h"

#define DEFAULT_THREADS 1024

struct cpu_cubin {
	struct ptx_kernel_info *kernels; // sorted by name
	size_t n;
	struct cpu_variable *variables; // sorted by name
	size_t n_variables;
	struct ptx_param *params; // of all kernels, in their order
	char *names;		  // of all kernels and variables, in their order
	unsigned char *bytes;	  // initial values of the variables, in their order
	size_t memory;		  // bytes of all of it
};

static void *take(struct cpu_cubin *c, size_t n, size_t bytes)
{
	c->memory += n * bytes;
	return calloc(n + 1, bytes);
}

// Symbols of a hostile file may share bytes; what is kept of them is never more than the file.
static int make_room(struct cpu_cubin *c, const struct cubin *from, size_t image_bytes)
{
	size_t names = 0, bytes = 0;

	for (size_t i = 0; i < from->n_kernels; i++)
		names += strlen(from->kernels[i].name) + 1;
	for (size_t i = 0; i < from->n_variables; i++) {
		const struct cubin_variable *v = &from->variables[i];

		names += strlen(v->name) + 1;
		if (v->bytes && v->size > image_bytes - bytes)
			return -EINVAL;
		bytes += v->bytes ? v->size : 0;
	}
	c->memory = sizeof(*c);
	c->kernels = take(c, from->n_kernels, sizeof(*c->kernels));
	c->variables = take(c, from->n_variables, sizeof(*c->variables));
	c->params = take(c, from->n_params, sizeof(*c->params));
	c->names = take(c, names, 1);
	c->bytes = take(c, bytes, 1);
	return c->kernels && c->variables && c->params && c->names && c->bytes ? 0 : -ENOMEM;
}

static const char *keep_name(char **at, const char *name)
{
	char *kept = *at;

	*at = stpcpy(kept, name) + 1;
	return kept;
}

static void keep_kernel(struct cpu_cubin *c, const struct cubin_kernel *k, struct ptx_param **at, char **name)
{
	struct ptx_kernel_info *to = &c->kernels[c->n++];

	*to = (struct ptx_kernel_info){
		.name = keep_name(name, k->name),
		.n_params = k->n_params,
		.params = k->n_params ? *at : NULL,
		.param_bytes = k->param_bytes,
		.shared_static = k->shared_bytes,
		.regs_estimate = k->registers,
		.max_threads = k->max_threads ? k->max_threads : DEFAULT_THREADS,
	};
	memcpy(to->req_ntid, k->req_ntid, sizeof(to->req_ntid));
	for (uint32_t i = 0; i < k->n_params; i++)
		*(*at)++ = (struct ptx_param){ k->params[i].offset, k->params[i].size, 1 };
}

static void keep_all(struct cpu_cubin *c, const struct cubin *from)
{
	struct ptx_param *params = c->params;
	unsigned char *bytes = c->bytes;
	char *names = c->names;

	for (size_t i = 0; i < from->n_kernels; i++)
		keep_kernel(c, &from->kernels[i], &params, &names);
	for (size_t i = 0; i < from->n_variables; i++) {
		const struct cubin_variable *v = &from->variables[i];

		c->variables[c->n_variables++] =
		    (struct cpu_variable){ keep_name(&names, v->name), v->size, v->bytes ? bytes : NULL };
		if (v->bytes) {
			memcpy(bytes, v->bytes, v->size);
			bytes += v->size;
		}
	}
}

int cpu_cubin_read(const void *image, size_t bytes, struct cpu_cubin **ret)
{
	struct cpu_cubin *c;
	struct cubin list;
	int r = cubin_read(image, bytes, &list);

	if (r)
		return r;
	c = calloc(1, sizeof(*c));
	r = c ? make_room(c, &list, bytes) : -ENOMEM;
	if (!r) {
		keep_all(c, &list);
		*ret = c;
	} else {
		cpu_cubin_free(c);
	}
	cubin_done(&list);
	return r;
}

void cpu_cubin_free(struct cpu_cubin *c)
{
	if (!c)
		return;
	free(c->kernels);
	free(c->variables);
	free(c->params);
	free(c->names);
	free(c->bytes);
	free(c);
}

size_t cpu_cubin_count(const struct cpu_cubin *c)
{
	return c->n;
}

const struct ptx_kernel_info *cpu_cubin_kernel_at(const struct cpu_cubin *c, size_t i)
{
	return &c->kernels[i];
}

static int compare_kernels(const void *a, const void *b)
{
	return strcmp(((const struct ptx_kernel_info *)a)->name, ((const struct ptx_kernel_info *)b)->name);
}

static int compare_variables(const void *a, const void *b)
{
	return strcmp(((const struct cpu_variable *)a)->name, ((const struct cpu_variable *)b)->name);
}

const struct ptx_kernel_info *cpu_cubin_kernel(const struct cpu_cubin *c, const char *name)
{
	struct ptx_kernel_info key = { .name = name };

	return c->n ? bsearch(&key, c->kernels, c->n, sizeof(key), compare_kernels) : NULL;
}

const struct cpu_variable *cpu_cubin_variable(const struct cpu_cubin *c, const char *name)
{
	struct cpu_variable key = { .name = name };

	return c->n_variables ? bsearch(&key, c->variables, c->n_variables, sizeof(key), compare_variables)
			      : NULL;
}

size_t cpu_cubin_memory(const struct cpu_cubin *c)
{
	return c->memory;
}
