// SPDX-License-Identifier: Apache-2.0
// vm.use: which libraries and features a VM's programs used. With a store the answer is what that has and
// what it was not told yet; without one, what the tenant's books have. Runs in the mediator's loop.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/control/inventory.h"
#include "mediator/channel.h"
#include "mediator/tenant.h"
#include "protocol/control/control.h"
#include "protocol/guest/calls.h"

struct totals {
	struct control_later *later;
	struct use_library libraries[LINK_LIBRARIES];
	struct use_feature features[FEATURE_COUNT];
	unsigned open[LINK_LIBRARIES]; // channels now
};

static json_t *describe_libraries(const struct totals *sum)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < LINK_LIBRARIES; i++) {
		const struct use_library *l = &sum->libraries[i];
		json_t *o;

		if (!l->channels && !l->refused)
			continue;
		o = json_object();
		json_object_set_new(o, "library", json_string(use_library_text(i)));
		json_object_set_new(o, "open", json_integer(sum->open[i]));
		control_set_count(o, "channels", l->channels);
		control_set_count(o, "refused", l->refused);
		control_set_count(o, "launches", l->launches);
		control_set_count(o, "gpu_ns", l->gpu_ns);
		control_set_count(o, "faults", l->faults);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *describe_features(const struct totals *sum)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < FEATURE_COUNT; i++) {
		const struct use_feature *f = &sum->features[i];

		if (f->last_s)
			json_array_append_new(
			    list, json_pack("{s:s, s:I, s:I}", "feature", call_feature_names[i], "first_s",
					    (json_int_t)f->first_s, "last_s", (json_int_t)f->last_s));
	}
	return list;
}

static void describe(json_t *to, const struct totals *sum)
{
	json_object_set_new(to, "libraries", describe_libraries(sum));
	json_object_set_new(to, "features", describe_features(sum));
}

// ---- what is there ----

static void add_library(struct use_library *to, const struct use_library *more)
{
	to->channels += more->channels;
	to->refused += more->refused;
	to->launches += more->launches;
	to->gpu_ns += more->gpu_ns;
	to->faults += more->faults;
}

static void add_feature(struct use_feature *to, int64_t first_s, int64_t last_s)
{
	if (first_s && (!to->first_s || first_s < to->first_s))
		to->first_s = first_s;
	if (last_s > to->last_s)
		to->last_s = last_s;
}

static void add_tenant(struct totals *sum, const struct tenant *t, bool has_store)
{
	struct use_library untold[LINK_LIBRARIES];
	struct channel *c;

	record_use_untold(t, untold);
	for (unsigned i = 0; i < LINK_LIBRARIES; i++)
		add_library(&sum->libraries[i], has_store ? &untold[i] : &t->record.now.use[i]);
	for (unsigned i = 0; i < FEATURE_COUNT; i++)
		add_feature(&sum->features[i], t->use->features[i].first_s, t->use->features[i].last_s);
	LIST_FOREACH (c, &t->mediator->channels, link)
		sum->open[c->library] += c->tenant == t;
}

static void add_row(struct totals *sum, const struct store_use *row)
{
	unsigned i = 0;

	if (!row->is_feature) {
		const struct use_library l = { row->channels, row->refused, row->launches, row->gpu_ns,
					       row->faults };

		i = use_library_find(row->name);
		if (i < LINK_LIBRARIES)
			add_library(&sum->libraries[i], &l);
		return;
	}
	while (i < FEATURE_COUNT && strcmp(call_feature_names[i], row->name) != 0)
		i++;
	if (i < FEATURE_COUNT)
		add_feature(&sum->features[i], row->first_s, row->last_s);
}

// ---- the operation ----

static void on_rows(void *opaque, int result, const struct store_use *rows, size_t n)
{
	struct totals *sum = opaque;
	struct control_later *l = sum->later;

	for (size_t i = 0; result == 0 && i < n; i++)
		add_row(sum, &rows[i]);
	if (result == 0)
		describe(control_later_answer(l), sum);
	free(sum);
	control_finish(l, result < 0 ? CONTROL_E_STATE : NULL, strerror(-result));
}

// The store answers behind what it was told before.
static void ask_store(struct control_call *c, struct totals *sum, const struct vm *vm)
{
	char record[STORE_NAME_BYTES];
	int r;

	snprintf(record, sizeof(record), RECORD_NAME_OF_VM "%s", vm->uuid);
	sum->later = control_later(c);
	if (!sum->later) {
		free(sum);
		return;
	}
	r = store_ask_use(c->mediator->record.store, record, on_rows, sum);
	if (r == 0)
		return;
	control_not_later(c, sum->later);
	control_fail(c, CONTROL_E_STATE, "the store: %s",
		     r == -EIO ? "its disk does not work now (store.status)" : strerror(-r));
	free(sum);
}

void control_vm_use(struct control_call *c)
{
	bool has_store = c->mediator->record.store;
	const struct vm *vm = control_vm(c, "vm");
	struct totals *sum;

	if (!vm)
		return;
	sum = calloc(1, sizeof(*sum));
	if (!sum) {
		control_fail(c, CONTROL_E_LIMIT, "no memory");
		return;
	}
	json_object_set_new(c->answer, "vm", json_string(vm->uuid));
	json_object_set_new(c->answer, "personality", json_string(vm_word(vm, POLICY_PERSONALITY)));
	json_object_set_new(c->answer, "protocol", json_string(vm_word(vm, POLICY_PROTOCOL)));
	json_object_set_new(c->answer, "kept", json_boolean(has_store));
	record_usage_look(c->mediator);
	if (vm->tenant)
		add_tenant(sum, vm->tenant, has_store);
	if (has_store) {
		ask_store(c, sum, vm);
		return;
	}
	describe(c->answer, sum);
	free(sum);
}
