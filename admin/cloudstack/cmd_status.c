// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack status: CloudStack's hosts, and this host's devices beside the mediator's vGPUs.
// Changes nothing.
#include "admin/cloudstack/cloudstack.h"
#include "admin/cloudstack/compare.h"

static const struct view_column host_columns[] = {
	{ "HOST", "name", FORMAT_TEXT, .cut = true },
	{ "STATE", "state", FORMAT_STATE },
	{ "MAINTENANCE", "resourcestate", FORMAT_TEXT, .drop = 2 },
	{ "GPUS", "gputotal", FORMAT_COUNT },
	{ "USED", "gpuused", FORMAT_COUNT },
	{ "ADDRESS", "ipaddress", FORMAT_TEXT, .drop = 1 },
	{ 0 },
};
static const struct view host_view = { "hosts", "CloudStack has no KVM hosts.", host_columns, 0 };

static const struct view_column slot_columns[] = {
	{ "VGPU", "slot", FORMAT_TEXT, .cut = true },
	{ "PROFILE", "profile", FORMAT_TEXT, .cut = true },
	{ "CLOUDSTACK", "state", FORMAT_TEXT },
	{ "ITS VM", "vm_name", FORMAT_TEXT, .cut = true },
	{ "VM IS", "vm_state", FORMAT_TEXT, .drop = 1 },
	{ "MEDIATOR", "mediator_name", FORMAT_TEXT, .cut = true },
	{ "DIFFERENCE", "note", FORMAT_TEXT, .cut = true },
	{ 0 },
};
static const struct view slot_view = { "vgpus", "This host has no vGPUs, here or in CloudStack.",
				       slot_columns, 0 };

static enum admin_exit look(struct cloudstack *cs, json_t *to)
{
	json_t *hosts = NULL, *host = NULL, *devices = NULL, *slots = NULL;
	enum admin_exit e = cloudstack_hosts(cs, &hosts);

	if (e != ADMIN_OK)
		return e;
	json_object_set_new(to, "hosts", hosts);
	e = cloudstack_host(cs, NULL, &host);
	if (e == ADMIN_OK)
		e = cloudstack_devices(cs, host, &devices);
	if (e == ADMIN_OK)
		e = cloudstack_mediator_list(cs, "/v1/vgpus", "vgpus", &slots);
	if (e == ADMIN_OK) {
		json_object_set(to, "host", json_object_get(host, "name"));
		json_object_set_new(to, "vgpus", compare_rows(devices, slots));
	}
	json_decref(host);
	json_decref(devices);
	json_decref(slots);
	return e;
}

// What is known is shown also when the rest could not be had.
int cloudstack_status(struct admin_call *c)
{
	struct cloudstack cs;
	json_t *found = json_object();
	enum admin_exit e = cloudstack_begin(&cs, c);

	if (e == ADMIN_OK)
		e = look(&cs, found);
	if (c->json) {
		if (e == ADMIN_OK)
			cloudstack_print_json(&cs, found);
	} else {
		if (json_object_get(found, "hosts"))
			view_print(&host_view, found, &c->output);
		if (json_object_get(found, "vgpus")) {
			fputc('\n', c->output.out);
			view_print(&slot_view, found, &c->output);
		}
	}
	json_decref(found);
	cloudstack_end(&cs);
	return e;
}
