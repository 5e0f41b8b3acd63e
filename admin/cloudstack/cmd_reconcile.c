// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack reconcile and prune: what CloudStack believes of this host's vGPUs and is not so.
// Neither changes anything in the mediator, nor any VM.
#include <string.h>

#include "admin/cloudstack/cloudstack.h"
#include "admin/cloudstack/compare.h"
#include "admin/text.h"
#include "common/cleanup.h"

static const struct view_column columns[] = {
	{ "VGPU", "slot", FORMAT_TEXT, .cut = true },
	{ "PROFILE", "profile", FORMAT_TEXT, .cut = true },
	{ "CLOUDSTACK", "state", FORMAT_TEXT },
	{ "ITS VM", "vm_name", FORMAT_TEXT, .cut = true },
	{ "MEDIATOR", "mediator_name", FORMAT_TEXT, .cut = true },
	{ "DIFFERENCE", "note", FORMAT_TEXT, .cut = true },
	{ 0 },
};
static const struct view view = { .columns = columns };

static enum admin_exit look(struct cloudstack *cs, const json_t *host, json_t **ret_rows)
{
	json_t *devices = NULL, *slots = NULL;
	enum admin_exit e = cloudstack_devices(cs, host, &devices);

	if (e == ADMIN_OK)
		e = cloudstack_mediator_list(cs, "/v1/vgpus", "vgpus", &slots);
	if (e == ADMIN_OK)
		*ret_rows = compare_rows(devices, slots);
	json_decref(devices);
	json_decref(slots);
	return e;
}

static bool differs(const json_t *row)
{
	return json_is_true(json_object_get(row, "differs"));
}

static json_t *only(const json_t *rows, bool (*is)(const json_t *row))
{
	json_t *some = json_array(), *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		if (is(row))
			json_array_append(some, row);
	}
	return some;
}

// ---- reconcile ----

static enum admin_exit discover(struct cloudstack *cs, const json_t *host)
{
	struct api_request r = { 0 };

	api_set(&r, "id", "%s", cloudstack_text(host, "id"));
	return api_ask(cs->api, "discoverGpuDevices", &r, NULL);
}

static void say(struct cloudstack *cs, const json_t *rows, bool asked)
{
	json_t *some = only(rows, differs);
	FILE *out = cs->call->output.out;

	if (cs->call->json) {
		json_t *object = json_pack("{s:O, s:b}", "differences", some, "discovered", asked);

		cloudstack_print_json(cs, object);
		json_decref(object);
	} else if (json_array_size(some)) {
		view_print_list(&view, some, &cs->call->output);
	} else {
		fputs("CloudStack and the mediator agree.\n", out);
	}
	json_decref(some);
}

static enum admin_exit reconcile(struct cloudstack *cs, const json_t *host)
{
	bool asks;
	json_t *rows;
	size_t left;
	enum admin_exit e = look(cs, host, &rows);

	if (e != ADMIN_OK)
		return e;
	left = compare_differences(rows);
	asks = left && !admin_flag(cs->call, "dry-run");
	if (asks) {
		if (!cs->call->json)
			say(cs, rows, false);
		json_decref(rows);
		e = discover(cs, host);
		if (e == ADMIN_OK)
			e = look(cs, host, &rows);
		if (e != ADMIN_OK)
			return e;
		left = compare_differences(rows);
		if (!cs->call->json)
			fprintf(cs->call->output.out, "CloudStack was told to look again.\n");
	}
	say(cs, rows, asks);
	json_decref(rows);
	if (!left)
		return ADMIN_OK;
	if (asks)
		admin_complain(
		    "%zu %s left: 'vgpu-admin cloudstack prune' deletes what is no vGPU any more; a VM in "
		    "the wrong place has to be stopped and started",
		    left, left == 1 ? "difference is" : "differences are");
	else
		admin_complain("%zu %s; without --dry-run CloudStack is told to look again", left,
			       left == 1 ? "difference" : "differences");
	return ADMIN_REFUSED;
}

static int run(struct admin_call *c, enum admin_exit (*what)(struct cloudstack *cs, const json_t *host))
{
	struct cloudstack cs;
	json_t *host = NULL;
	enum admin_exit e = cloudstack_begin(&cs, c);

	if (e == ADMIN_OK)
		e = cloudstack_host(&cs, NULL, &host);
	if (e == ADMIN_OK)
		e = what(&cs, host);
	json_decref(host);
	cloudstack_end(&cs);
	return e;
}

int cloudstack_reconcile(struct admin_call *c)
{
	return run(c, reconcile);
}

// ---- prune ----

static enum admin_exit delete_devices(struct cloudstack *cs, const json_t *rows)
{
	enum admin_exit e = ADMIN_OK;
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		cleanup_free char *slot = text_clean(cloudstack_text(row, "slot"));
		struct api_request r = { 0 };

		api_set(&r, "ids", "%s", cloudstack_text(row, "device"));
		e = api_ask(cs->api, "deleteGpuDevice", &r, NULL);
		if (e != ADMIN_OK)
			break;
		if (!cs->call->json)
			fprintf(cs->call->output.out, "Device %s is deleted.\n", slot);
	}
	return e;
}

static enum admin_exit prune(struct cloudstack *cs, const json_t *host)
{
	json_t *rows, *some;
	enum admin_exit e = look(cs, host, &rows);
	size_t n;

	if (e != ADMIN_OK)
		return e;
	some = only(rows, compare_is_left_over);
	json_decref(rows);
	n = json_array_size(some);
	if (cs->call->json)
		cloudstack_print_json(cs, some);
	else if (n)
		view_print_list(&view, some, &cs->call->output);
	else
		fputs("There is nothing to delete.\n", cs->call->output.out);
	if (n && !admin_flag(cs->call, "dry-run")) {
		cleanup_free char *question =
		    text_print("Delete %s in CloudStack?", n == 1 ? "this device" : "these devices");

		e = cloudstack_confirm(cs, question);
		if (e == ADMIN_OK)
			e = delete_devices(cs, some);
	}
	json_decref(some);
	return e;
}

int cloudstack_prune(struct admin_call *c)
{
	return run(c, prune);
}
