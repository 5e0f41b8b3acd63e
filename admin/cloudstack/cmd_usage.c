// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack usage: the mediator's records by VM, with account, domain and offering from
// CloudStack, for billing. CloudStack itself counts only how long an offering ran.
#include <stdlib.h>
#include <time.h>

#include "admin/cloudstack/bill.h"
#include "admin/cloudstack/cloudstack.h"
#include "admin/text.h"
#include "common/cleanup.h"

#define ROWS 10000 // that the mediator tells at once

static const struct view_column columns[] = {
	{ "VM", "name", FORMAT_TEXT, .cut = true },
	{ "ACCOUNT", "account", FORMAT_TEXT, .cut = true },
	{ "PROJECT", "project", FORMAT_TEXT, .cut = true, .drop = 2 },
	{ "DOMAIN", "domain", FORMAT_TEXT, .cut = true },
	{ "OFFERING", "offering", FORMAT_TEXT, .cut = true },
	{ "GPU TIME", "gpu_ns", FORMAT_NS },
	{ "MEMORY", "memory_byte_s", FORMAT_BYTE_SECONDS },
	{ "LAUNCHES", "launches", FORMAT_COUNT, .drop = 3 },
	{ "COPIED", "copy_bytes", FORMAT_BYTES, .drop = 4 },
	{ "FAULTS", "faults", FORMAT_COUNT, .drop = 5 },
	{ "ID", "vm", FORMAT_TEXT, .cut = true, .drop = 1 },
	{ 0 },
};
static const struct view view = { .columns = columns };

static long long at(const struct admin_call *c, const char *option, long long otherwise)
{
	const char *text = admin_option(c, option);
	long long n = otherwise;

	if (text)
		admin_parse_at(text, time(NULL), &n); // was checked when it was parsed
	return n;
}

static json_int_t hour_of(const json_t *rows, size_t i)
{
	return json_integer_value(json_object_get(json_array_get(rows, i), "at"));
}

// One answer's rows. Of a full one the last hour is left for the next question, since it may go on there.
// *from is where that begins, -1 at the end.
static enum admin_exit add_some(struct cloudstack *cs, json_t *bill, long long *from, long long to)
{
	cleanup_free char *path = text_print("/v1/usage?by=hour&from=%lld&to=%lld&most=%d", *from, to, ROWS);
	json_t *rows;
	enum admin_exit e = cloudstack_mediator_list(cs, path, "usage", &rows);
	size_t n;

	if (e != ADMIN_OK)
		return e;
	n = json_array_size(rows);
	*from = -1;
	if (n >= ROWS) {
		*from = hour_of(rows, n - 1);
		while (n && hour_of(rows, n - 1) == *from)
			n--;
		if (!n) {
			admin_complain("more than %d tenants in one hour: too many for this command", ROWS);
			e = ADMIN_REFUSED;
		}
	}
	for (size_t i = 0; i < n; i++)
		bill_add(bill, json_array_get(rows, i));
	json_decref(rows);
	return e;
}

// Those of projects are listed apart.
static enum admin_exit list_vms(struct cloudstack *cs, json_t **ret)
{
	struct api_request r = { 0 };
	json_t *of_projects;
	enum admin_exit e;

	api_set(&r, "listall", "true");
	e = api_list(cs->api, "listVirtualMachines", &r, "virtualmachine", ret);
	if (e != ADMIN_OK)
		return e;
	api_set(&r, "listall", "true");
	api_set(&r, "projectid", "-1");
	e = api_list(cs->api, "listVirtualMachines", &r, "virtualmachine", &of_projects);
	if (e != ADMIN_OK) {
		json_decref(*ret);
		return e;
	}
	json_array_extend(*ret, of_projects);
	json_decref(of_projects);
	return ADMIN_OK;
}

static void print(struct cloudstack *cs, json_t *rows, long long from, long long to)
{
	FILE *out = cs->call->output.out;

	if (admin_flag(cs->call, "csv")) {
		bill_print_csv(rows, out);
	} else if (cs->call->json) {
		json_t *object = json_pack("{s:I, s:I, s:O}", "from", (json_int_t)from, "to", (json_int_t)to,
					   "usage", rows);

		cloudstack_print_json(cs, object);
		json_decref(object);
	} else if (json_array_size(rows)) {
		view_print_list(&view, rows, &cs->call->output);
	} else {
		fputs("No VM used a vGPU in that time.\n", out);
	}
}

static void say_unknown(const json_t *rows)
{
	size_t n = 0, i;
	json_t *row;

	json_array_foreach(rows, i, row) n += json_is_null(json_object_get(row, "account"));
	if (n)
		admin_complain(
		    "%zu of these VMs CloudStack does not know any more (expunged?), or these keys may not "
		    "see them",
		    n);
}

static enum admin_exit bill_all(struct cloudstack *cs, json_t *bill)
{
	long long from = at(cs->call, "from", 0), to = at(cs->call, "to", time(NULL));
	enum admin_exit e = ADMIN_OK;
	json_t *vms, *rows;

	if (from >= to) {
		admin_complain("--from is not before --to");
		return ADMIN_USAGE;
	}
	for (long long next = from; e == ADMIN_OK && next >= 0;)
		e = add_some(cs, bill, &next, to);
	if (e == ADMIN_OK)
		e = list_vms(cs, &vms);
	if (e != ADMIN_OK)
		return e;
	rows = bill_rows(bill, vms);
	json_decref(vms);
	print(cs, rows, from, to);
	say_unknown(rows);
	json_decref(rows);
	return ADMIN_OK;
}

int cloudstack_usage(struct admin_call *c)
{
	struct cloudstack cs;
	json_t *bill = json_object();
	enum admin_exit e = cloudstack_begin(&cs, c);

	if (e == ADMIN_OK && c->json && admin_flag(c, "csv"))
		e = admin_usage_error(c, "--csv or --json, not both");
	if (e == ADMIN_OK)
		e = bill_all(&cs, bill);
	json_decref(bill);
	cloudstack_end(&cs);
	return e;
}
