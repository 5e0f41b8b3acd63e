// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack drain: a VM with a vGPU cannot be migrated, so a host is emptied by stopping those it
// has. They start again on another host with a free vGPU of their profile.
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "admin/cloudstack/cloudstack.h"
#include "admin/text.h"
#include "common/cleanup.h"

static const struct view_column columns[] = {
	{ "VM", "name", FORMAT_TEXT, .cut = true },
	{ "STATE", "state", FORMAT_TEXT },
	{ "VGPUS", "vgpus", FORMAT_COUNT },
	{ "PROFILE", "profile", FORMAT_TEXT, .cut = true, .drop = 1 },
	{ "ID", "vm", FORMAT_TEXT },
	{ 0 },
};
static const struct view view = { .columns = columns };

static json_t *row_of(const json_t *vms, const char *id)
{
	json_t *row;
	size_t i;

	json_array_foreach(vms, i, row)
	{
		if (strcmp(cloudstack_text(row, "vm"), id) == 0)
			return row;
	}
	return NULL;
}

// Those that hold mediated devices and are not stopped, each once.
static json_t *holders(const json_t *devices)
{
	json_t *vms = json_array(), *device;
	size_t i;

	json_array_foreach(devices, i, device)
	{
		const char *id = cloudstack_text(device, "virtualmachineid"),
			   *state = cloudstack_text(device, "vmstate");
		json_t *row = row_of(vms, id);

		if (!id[0] || strcasecmp(cloudstack_text(device, "gpudevicetype"), "MDEV") != 0 ||
		    strcasecmp(state, "Stopped") == 0)
			continue;
		if (row) {
			json_object_set_new(
			    row, "vgpus",
			    json_integer(json_integer_value(json_object_get(row, "vgpus")) + 1));
			continue;
		}
		json_array_append_new(vms, json_pack("{s:s, s:s, s:s, s:s, s:i}", "vm", id, "name",
						     cloudstack_text(device, "virtualmachinename"), "state",
						     state, "profile",
						     cloudstack_text(device, "vgpuprofilename"), "vgpus", 1));
	}
	return vms;
}

static enum admin_exit start_stop(struct cloudstack *cs, const char *id, char **ret_job)
{
	struct api_request r = { 0 };

	api_set(&r, "id", "%s", id);
	if (admin_flag(cs->call, "forced"))
		api_set(&r, "forced", "true");
	return api_start(cs->api, "stopVirtualMachine", &r, ret_job);
}

// All end at the same time; one that does not leaves the others alone.
static enum admin_exit stop_all(struct cloudstack *cs, const json_t *vms)
{
	size_t n = json_array_size(vms);
	char **jobs = text_memory(calloc(n + 1, sizeof(*jobs)));
	enum admin_exit e = ADMIN_OK;

	for (size_t i = 0; i < n; i++) {
		enum admin_exit one = start_stop(cs, cloudstack_text(json_array_get(vms, i), "vm"), &jobs[i]);

		e = one != ADMIN_OK ? one : e;
	}
	for (size_t i = 0; i < n; i++) {
		cleanup_free char *name = text_clean(cloudstack_text(json_array_get(vms, i), "name"));
		cleanup_free char *what = text_print("to stop %s", name);
		enum admin_exit one = jobs[i] ? api_wait(cs->api, jobs[i], what) : ADMIN_REFUSED;

		if (one == ADMIN_OK && !cs->call->json)
			fprintf(cs->call->output.out, "VM %s is stopped.\n", name);
		e = one != ADMIN_OK ? one : e;
		free(jobs[i]);
	}
	free(jobs);
	return e;
}

static enum admin_exit drain(struct cloudstack *cs, const json_t *host, const json_t *vms)
{
	FILE *out = cs->call->output.out;
	cleanup_free char *name = text_clean(cloudstack_text(host, "name"));
	cleanup_free char *question = text_print("Stop these VMs on %s?", name);
	enum admin_exit e = ADMIN_OK;
	bool some = json_array_size(vms) > 0;

	if (cs->call->json)
		cloudstack_print_json(cs, vms);
	else if (some)
		view_print_list(&view, vms, &cs->call->output);
	else
		fprintf(out, "No VM holds a vGPU on %s.\n", name);
	if (admin_flag(cs->call, "dry-run") || !some)
		return ADMIN_OK;
	e = cloudstack_confirm(cs, question);
	if (e == ADMIN_OK)
		e = stop_all(cs, vms);
	if (e == ADMIN_OK && !cs->call->json)
		fprintf(out,
			"No VM holds a vGPU on %s any more. CloudStack may start others there: disable the "
			"host in "
			"CloudStack, or 'vgpu-admin drain start' on it.\n",
			name);
	return e;
}

int cloudstack_drain(struct admin_call *c)
{
	struct cloudstack cs;
	json_t *host = NULL, *devices = NULL, *vms = NULL;
	enum admin_exit e = cloudstack_begin(&cs, c);

	if (e == ADMIN_OK)
		e = cloudstack_host(&cs, c->argument[0], &host);
	if (e == ADMIN_OK)
		e = cloudstack_devices(&cs, host, &devices);
	if (e == ADMIN_OK) {
		vms = holders(devices);
		e = drain(&cs, host, vms);
	}
	json_decref(vms);
	json_decref(devices);
	json_decref(host);
	cloudstack_end(&cs);
	return e;
}
