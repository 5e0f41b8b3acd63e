// SPDX-License-Identifier: Apache-2.0
// vgpu-admin vm: virtual machines that a vGPU can be assigned to.
#include "admin/commands.h"

static const struct view_column list_columns[] = {
	{ "VM", "vm", FORMAT_TEXT, .cut = true },
	{ "NAME", "name", FORMAT_TEXT, .cut = true },
	{ "PROFILE", "profile", FORMAT_TEXT, .cut = true },
	{ "VGPU", "vgpu", FORMAT_TEXT, .cut = true },
	{ "POOL", "pool", FORMAT_TEXT, .cut = true, .drop = 1 },
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
	{ "vGPU", "vgpu", FORMAT_TEXT },
	{ "Tenant", "tenant", FORMAT_COUNT },
	{ "Socket for its stub", "socket", FORMAT_TEXT },
	{ "Connections", "connections", FORMAT_COUNT },
	{ "Programs", "channels", FORMAT_COUNT },
	{ "Record", "record", FORMAT_TEXT },
	{ 0 },
};
static const struct view show_view = { .columns = show_columns };

static const struct view_column created_columns[] = { { "VM", "vm", FORMAT_TEXT },
						      { "Name", "name", FORMAT_TEXT },
						      { 0 } };
static const struct view created_view = { .columns = created_columns };

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
	{ 0 },
};
static const struct admin_option set_options[] = {
	{ "name", "NAME", "name", TYPE_TEXT, NAMES_NONE, NULL, "Its new name." },
	{ "pool", "POOL", "pool", TYPE_TEXT, NAMES_POOL, NULL,
	  "The pool that its tenant is in. Empty: as tenant.pool says." },
	{ "profile", "PROFILE", "profile", TYPE_TEXT, NAMES_PROFILE, NULL,
	  "Only vGPUs of this profile can be assigned to it. Empty: any." },
	{ 0 },
};

static const struct admin_action actions[] = {
	{ "list", "Lists the VMs.", "GET", "/v1/vms", .view = &list_view },
	{ "show", "Shows one VM.", "GET", "/v1/vms/{vm}", vm_argument, .view = &show_view },
	{ "create", "Makes a VM known, so that a vGPU can be assigned to it.", "POST", "/v1/vms", new_vm,
	  create_options, .view = &created_view },
	{ "set", "Changes what is said, at once.", "PATCH", "/v1/vms/{vm}", vm_argument, set_options,
	  .done = "VM %s is changed." },
	{ "delete", "Forgets a VM without a vGPU. What was recorded of it stays.", "DELETE", "/v1/vms/{vm}",
	  vm_argument, .question = "Delete the VM %s?", .done = "VM %s is no longer known." },
	{ 0 },
};

static const char *const examples[] = { "vm create build-7 --uuid=6f1c4ae2-52a5-4d5c-8a45-0d2f7d6a1b9e",
					"a VM that the hypervisor has", NULL };

const struct admin_command admin_command_vm = { "vm", "Virtual machines that vGPUs can be assigned to",
						"A VM with a vGPU is a tenant, and the stub of its virtual "
						"GPU (vgpu-stub) connects to a socket of its own.",
						actions, examples };
