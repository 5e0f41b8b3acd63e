// SPDX-License-Identifier: Apache-2.0
// vgpu-admin vm: virtual machines that a vGPU can be assigned to.
#include <string.h>

#include "admin/call.h"
#include "admin/commands.h"

static const struct view_column list_columns[] = {
	{ "VM", "vm", FORMAT_TEXT, .cut = true },
	{ "NAME", "name", FORMAT_TEXT, .cut = true },
	{ "PROFILE", "profile", FORMAT_TEXT, .cut = true },
	{ "VGPU", "vgpu", FORMAT_TEXT, .cut = true },
	{ "POOL", "pool", FORMAT_TEXT, .cut = true, .drop = 1 },
	{ "PERSONALITY", "personality", FORMAT_TEXT, .drop = 1 },
	{ "PROTOCOL", "protocol", FORMAT_TEXT, .drop = 1 },
	{ "TENANT", "tenant", FORMAT_COUNT, .drop = 3 },
	{ "PROGRAMS", "channels", FORMAT_COUNT, .drop = 2 },
	{ 0 },
};
static const struct view list_view = { "vms", "There are no VMs.", list_columns, 0 };

static const struct view_column show_columns[] = {
	{ "VM", "vm", FORMAT_TEXT },
	{ "Name", "name", FORMAT_TEXT },
	{ "Pool", "pool", FORMAT_TEXT },
	{ "Profile", "profile", FORMAT_TEXT },
	{ "Personality", "personality", FORMAT_TEXT },
	{ "Protocol", "protocol", FORMAT_TEXT },
	{ "Set by hand", "by_hand", FORMAT_JSON },
	{ "vGPU", "vgpu", FORMAT_TEXT },
	{ "Tenant", "tenant", FORMAT_COUNT },
	{ "Socket for its stub", "socket", FORMAT_TEXT },
	{ "Connections", "connections", FORMAT_COUNT },
	{ "Programs", "channels", FORMAT_COUNT },
	{ "Their libraries", "libraries", FORMAT_JSON },
	{ "Record", "record", FORMAT_TEXT },
	{ 0 },
};
static const struct view show_view = { .columns = show_columns };

static const struct view_column created_columns[] = { { "VM", "vm", FORMAT_TEXT },
						      { "Name", "name", FORMAT_TEXT },
						      { 0 } };
static const struct view created_view = { .columns = created_columns };

// ---- registers ----

static const struct view_column register_columns[] = {
	{ "REGISTER", "register", FORMAT_TEXT },
	{ "NAME", "name", FORMAT_TEXT },
	{ "READS", "reads", FORMAT_COUNT },
	{ "ANSWER", "answer", FORMAT_TEXT },
	{ "WRITES", "writes", FORMAT_COUNT },
	{ "WRITTEN", "written", FORMAT_TEXT },
	{ 0 },
};
static const struct view registers_view = { "registers", "Its guest has touched no register.",
					    register_columns, 0 };

static const struct view_column other_columns[] = {
	{ "Reads of further registers", "more_reads", FORMAT_COUNT },
	{ "Writes to further registers", "more_writes", FORMAT_COUNT },
	{ "Reads of the memory apertures", "aperture_reads", FORMAT_COUNT },
	{ "Writes to the memory apertures", "aperture_writes", FORMAT_COUNT },
	{ "Accesses of no known form", "odd", FORMAT_COUNT },
	{ 0 },
};
static const struct view others_view = { .columns = other_columns };

// Why nothing was counted, or NULL.
static const char *why_none(const char *device)
{
	if (device && strcmp(device, "no stub") == 0)
		return "The VM has no stub now, or one that knows no personalities: nothing was counted.";
	if (device && strcmp(device, "none") == 0)
		return "The VM's personality is custom: it has no second device, nothing was counted.";
	return NULL;
}

static int registers_run(struct admin_call *c)
{
	struct admin_answer a;
	enum admin_exit r = admin_ask_route(c, &a);
	const char *why;

	if (r != ADMIN_OK)
		return r;
	why = why_none(json_string_value(json_object_get(a.json, "device")));
	if (admin_print_json(c, &a)) {
		// As it is.
	} else if (why) {
		fprintf(c->output.out, "%s\n", why);
	} else {
		view_print(&registers_view, a.json, &c->output);
		fputc('\n', c->output.out);
		view_print(&others_view, a.json, &c->output);
	}
	admin_answer_done(&a);
	return ADMIN_OK;
}

// ---- use ----

static const struct view_column library_columns[] = {
	{ "LIBRARY", "library", FORMAT_TEXT },	  { "OPEN", "open", FORMAT_COUNT },
	{ "CHANNELS", "channels", FORMAT_COUNT }, { "REFUSED", "refused", FORMAT_COUNT },
	{ "LAUNCHES", "launches", FORMAT_COUNT }, { "GPU TIME", "gpu_ns", FORMAT_NS },
	{ "FAULTS", "faults", FORMAT_COUNT },	  { 0 },
};
static const struct view libraries_view = { "libraries", "No program of it has used the GPU.",
					    library_columns, 0 };

static const struct view_column feature_columns[] = {
	{ "FEATURE", "feature", FORMAT_TEXT },
	{ "FIRST USED (UTC)", "first_s", FORMAT_AT_S },
	{ "LAST USED (UTC)", "last_s", FORMAT_AT_S },
	{ 0 },
};
static const struct view features_view = { "features", "It has used no feature that is counted.",
					   feature_columns, 0 };

static const struct view_column use_columns[] = { { "Personality", "personality", FORMAT_TEXT },
						  { "Protocol", "protocol", FORMAT_TEXT },
						  { 0 } };
static const struct view use_view = { .columns = use_columns };

static int use_run(struct admin_call *c)
{
	const struct view *const parts[] = { &use_view, &libraries_view, &features_view };
	struct admin_answer a;
	enum admin_exit r = admin_ask_route(c, &a);

	if (r != ADMIN_OK)
		return r;
	if (!admin_print_json(c, &a)) {
		for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
			if (i)
				fputc('\n', c->output.out);
			view_print(parts[i], a.json, &c->output);
		}
	}
	admin_answer_done(&a);
	return ADMIN_OK;
}

static const struct admin_argument vm_argument[] = { { "VM", "vm", false, NAMES_VM, NULL, "Its uuid." },
						     { 0 } };
static const struct admin_argument new_vm[] = { { "NAME", "name", false, NAMES_NONE, NULL,
						  "Its name, also as a tenant; others may have it too." },
						{ 0 } };
static const struct admin_option create_options[] = {
	{ "uuid", "UUID", "vm", TYPE_TEXT, NAMES_NONE, NULL,
	  "Its uuid, as its hypervisor calls it. Default: one is made." },
	{ "pool", "POOL", "pool", TYPE_TEXT, NAMES_POOL, NULL, "The pool that its tenant is in." },
	{ "profile", "PROFILE", "profile", TYPE_TEXT, NAMES_PROFILE, NULL,
	  "Only vGPUs of this profile can be assigned to it. Default: any." },
	{ "personality", "NAME", "personality", TYPE_TEXT, NAMES_WORDS, "custom|nvidia",
	  "custom: our own device alone. nvidia: also one with an NVIDIA GPU's identity. Default: as the "
	  "profile of its vGPU says." },
	{ "protocol", "NAME", "protocol", TYPE_TEXT, NAMES_WORDS, "any|custom|cuda",
	  "Whose programs may use the GPU: all, those of libvgpu, or those of libcuda. "
	  "Default: as the profile of its vGPU says." },
	{ 0 },
};
static const struct admin_option set_options[] = {
	{ "name", "NAME", "name", TYPE_TEXT, NAMES_NONE, NULL, "Its new name." },
	{ "pool", "POOL", "pool", TYPE_TEXT, NAMES_POOL, NULL,
	  "The pool that its tenant is in. Empty: as tenant.pool says." },
	{ "profile", "PROFILE", "profile", TYPE_TEXT, NAMES_PROFILE, NULL,
	  "Only vGPUs of this profile can be assigned to it. Empty: any." },
	{ "personality", "NAME", "personality", TYPE_TEXT, NAMES_WORDS, "custom|nvidia",
	  "custom: our own device alone. nvidia: also one with an NVIDIA GPU's identity, from the VM's next "
	  "start on. Empty: as the profile of its vGPU says." },
	{ "protocol", "NAME", "protocol", TYPE_TEXT, NAMES_WORDS, "any|custom|cuda",
	  "Whose programs may use the GPU: all, those of libvgpu, or those of libcuda; for programs "
	  "that begin from now on. Empty: as the profile of its vGPU says." },
	{ 0 },
};

static const struct admin_action actions[] = {
	{ "list", "Lists the VMs.", "GET", "/v1/vms", .view = &list_view },
	{ "show", "Shows one VM.", "GET", "/v1/vms/{vm}", vm_argument, .view = &show_view },
	{ "create", "Makes a VM known, so that a vGPU can be assigned to it.", "POST", "/v1/vms", new_vm,
	  create_options, .view = &created_view },
	{ "set", "Changes what is said, at once; the personality with the VM's next start.", "PATCH",
	  "/v1/vms/{vm}", vm_argument, set_options, .done = "VM %s is changed." },
	{ "registers",
	  "Shows which registers of the nvidia personality's device the VM's guest has touched since it "
	  "started, "
	  "how often, and what was answered last.",
	  "GET", "/v1/vms/{vm}/registers", vm_argument, .run = registers_run },
	{ "use", "Shows which libraries the VM's programs have, and which features of CUDA they used when.",
	  "GET", "/v1/vms/{vm}/use", vm_argument, .run = use_run },
	{ "delete", "Forgets a VM without a vGPU. What was recorded of it stays.", "DELETE", "/v1/vms/{vm}",
	  vm_argument, .question = "Delete the VM %s?", .done = "VM %s is no longer known." },
	{ 0 },
};

static const char *const examples[] = { "vm create build-7 --uuid=6f1c4ae2-52a5-4d5c-8a45-0d2f7d6a1b9e",
					"a VM that the hypervisor has",
					"vm set 6f1c4ae2-52a5-4d5c-8a45-0d2f7d6a1b9e --personality=nvidia",
					"one whose guest looks for an NVIDIA GPU",
					"vm set 6f1c4ae2-52a5-4d5c-8a45-0d2f7d6a1b9e --protocol=custom",
					"one that is for programs of libvgpu alone",
					NULL };

const struct admin_command admin_command_vm = { "vm", "Virtual machines that vGPUs can be assigned to",
						"A VM with a vGPU is a tenant, and the stub of its virtual "
						"GPU (vgpu-stub) connects to a socket of its own.",
						actions, examples };
