// SPDX-License-Identifier: Apache-2.0
// Lists kernels and variables; see the header.
#include "admin/image_kernels.h"

#include <stdlib.h>
#include <string.h>

#include "admin/text.h"
#include "common/cleanup.h"
#include "common/limits.h"
#include "image/ptx_head.h"

json_t *image_text(const char *text, size_t n)
{
	json_t *string = json_stringn(text, n);
	cleanup_free char *copy = NULL, *clean = NULL;

	if (string)
		return string;
	copy = text_memory(strndup(text, n));
	clean = text_clean(copy);
	string = json_string(clean);
	return string ? string : json_string("?");
}

bool image_kernels_wanted(struct image_kernels *k)
{
	k->left_out |= k->on && k->n >= VGPU_MAX_IMAGE_LISTED;
	return k->on && !k->left_out;
}

static bool take(struct image_kernels *k)
{
	if (!image_kernels_wanted(k))
		return false;
	k->n++;
	return true;
}

static json_t *number(uint64_t n)
{
	return n <= INT64_MAX ? json_integer((json_int_t)n) : json_null();
}

static json_t *number_or_null(uint64_t n)
{
	return n ? number(n) : json_null();
}

static json_t *sides_or_null(const uint32_t sides[3])
{
	return sides[0]
		   ? json_pack("[I,I,I]", (json_int_t)sides[0], (json_int_t)sides[1], (json_int_t)sides[2])
		   : json_null();
}

static json_t *add(json_t *entry, const char *list, json_t *name)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", name);
	json_array_append_new(json_object_get(entry, list), o);
	return o;
}

static void begin(json_t *entry)
{
	json_object_set_new(entry, "kernels", json_array());
	json_object_set_new(entry, "variables", json_array());
}

// ---- PTX

static void add_ptx_params(struct image_kernels *list, const struct ptx_head *h, const struct ptx_item *k,
			   json_t *to)
{
	const char *at = k->params;
	struct ptx_object o;

	while (at && ptx_next_param(h, &at, &o) && take(list)) {
		json_t *param = json_object();

		json_object_set_new(param, "name", image_text(o.name.at, o.name.n));
		json_object_set_new(param, "type", image_text(o.type.at, o.type.n));
		json_object_set_new(param, "bytes", number_or_null(o.bytes));
		json_object_set_new(param, "align", number_or_null(o.align));
		json_array_append_new(to, param);
	}
}

static void add_ptx_kernel(struct image_kernels *list, const struct ptx_head *h, const struct ptx_item *k,
			   json_t *entry)
{
	json_t *o = add(entry, "kernels", image_text(k->name.at, k->name.n)), *params = json_array();
	bool fixed = k->req_ntid[0];
	const uint32_t *most = fixed ? k->req_ntid : k->max_ntid;

	add_ptx_params(list, h, k, params);
	json_object_set_new(o, "params", params);
	json_object_set_new(o, "param_bytes", number(k->param_bytes));
	json_object_set_new(o, "registers", json_null());
	json_object_set_new(o, "shared_bytes", number(k->shared_bytes));
	json_object_set_new(o, "stack_bytes", json_null());
	json_object_set_new(o, "barriers", json_null());
	json_object_set_new(o, "max_threads",
			    most[0] ? number((uint64_t)most[0] * most[1] * most[2]) : json_null());
	json_object_set_new(o, "block", sides_or_null(k->req_ntid));
	json_object_set_new(o, "min_blocks", number_or_null(k->min_ctas));
}

static void add_ptx_variable(const struct ptx_object *v, json_t *entry)
{
	json_t *o = add(entry, "variables", image_text(v->name.at, v->name.n));

	json_object_set_new(o, "bytes", number_or_null(v->bytes));
	json_object_set_new(o, "constant", json_boolean(v->constant));
}

bool image_kernels_of_ptx(struct image_kernels *k, json_t *entry, const char *text, size_t bytes)
{
	struct ptx_head h;
	struct ptx_item item;
	int more = 1;

	if (!image_kernels_wanted(k))
		return true;
	begin(entry);
	if (ptx_head_read(text, bytes, &h))
		return false;
	while ((more = ptx_head_next(&h, &item)) > 0 && take(k)) {
		if (item.what == PTX_KERNEL)
			add_ptx_kernel(k, &h, &item, entry);
		else if (!item.variable.external)
			add_ptx_variable(&item.variable, entry);
	}
	return more >= 0;
}

// ---- machine code

static void add_code_kernel(struct image_kernels *list, const struct cubin_kernel *k, json_t *entry)
{
	json_t *o = add(entry, "kernels", image_text(k->name, strlen(k->name))), *params = json_array();

	for (uint32_t i = 0; i < k->n_params && take(list); i++)
		json_array_append_new(params,
				      json_pack("{s:I,s:I}", "offset", (json_int_t)k->params[i].offset,
						"bytes", (json_int_t)k->params[i].size));
	json_object_set_new(o, "params", params);
	json_object_set_new(o, "param_bytes", number(k->param_bytes));
	json_object_set_new(o, "registers", number_or_null(k->registers));
	json_object_set_new(o, "shared_bytes", number(k->shared_bytes));
	json_object_set_new(o, "frame_bytes", number(k->frame_bytes));
	json_object_set_new(o, "stack_bytes", number(k->stack_bytes));
	json_object_set_new(o, "constant_bytes", number(k->constant_bytes));
	json_object_set_new(o, "barriers", number(k->barriers));
	json_object_set_new(o, "max_threads", number_or_null(k->max_threads));
	json_object_set_new(o, "block", sides_or_null(k->req_ntid));
}

void image_kernels_of_cubin(struct image_kernels *k, json_t *entry, const struct cubin *c)
{
	if (!image_kernels_wanted(k))
		return;
	begin(entry);
	for (size_t i = 0; i < c->n_kernels && take(k); i++)
		add_code_kernel(k, &c->kernels[i], entry);
	for (size_t i = 0; i < c->n_variables && take(k); i++) {
		const struct cubin_variable *v = &c->variables[i];
		json_t *o = add(entry, "variables", image_text(v->name, strlen(v->name)));

		json_object_set_new(o, "bytes", number(v->size));
		json_object_set_new(o, "constant", json_boolean(v->constant));
	}
}
