// SPDX-License-Identifier: Apache-2.0
// Operations on VMs: vm.list, .get, .add, .set, .remove. Runs in the mediator's loop.
#include "mediator/channel.h"
#include "mediator/control/inventory.h"
#include "mediator/tenant.h"
#include "protocol/control/control.h"

struct vm *control_vm(struct control_call *c, const char *field)
{
	const char *text = control_text(c, field);
	char uuid[VM_UUID_BYTES];
	struct vm *vm = vm_uuid_parse(text, uuid) ? vm_find(c->mediator, uuid) : NULL;

	if (!vm)
		control_fail(c, CONTROL_E_UNKNOWN, "there is no VM '%.64s'", text);
	return vm;
}

static json_t *text_or_null(const char *text)
{
	return text && text[0] ? json_string(text) : json_null();
}

static json_t *said_of(const struct vm *vm)
{
	json_t *names = json_array();

	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		if (vm->said.given & 1u << i)
			json_array_append_new(names, json_string(policy_name(i)));
	}
	return names;
}

json_t *control_vm_libraries(const struct vm *vm)
{
	bool there[LINK_LIBRARIES] = { false };
	json_t *names = json_array();
	struct channel *c;

	if (!vm->tenant || !vm->tenant->n_channels)
		return names;
	LIST_FOREACH (c, &vm->tenant->mediator->channels, link)
		there[c->library] |= c->tenant == vm->tenant;
	for (unsigned i = 0; i < LINK_LIBRARIES; i++) {
		if (there[i])
			json_array_append_new(names, json_string(use_library_text(i)));
	}
	return names;
}

static void describe(json_t *to, const struct vm *vm)
{
	const struct tenant *t = vm->tenant;
	char record[STORE_NAME_BYTES];

	snprintf(record, sizeof(record), RECORD_NAME_OF_VM "%s", vm->uuid);
	json_object_set_new(to, "vm", json_string(vm->uuid));
	json_object_set_new(to, "name", json_string(vm->name));
	json_object_set_new(to, "pool", text_or_null(vm->pool));
	json_object_set_new(to, "profile", text_or_null(vm->profile ? vm->profile->name : NULL));
	json_object_set_new(to, "personality", json_string(vm_word(vm, POLICY_PERSONALITY)));
	json_object_set_new(to, "protocol", json_string(vm_word(vm, POLICY_PROTOCOL)));
	json_object_set_new(to, "by_hand", said_of(vm));
	json_object_set_new(to, "libraries", control_vm_libraries(vm));
	json_object_set_new(to, "vgpu", text_or_null(vm->slot ? vm->slot->uuid : NULL));
	json_object_set_new(to, "tenant", t ? json_integer(t->id) : json_null());
	json_object_set_new(to, "socket", text_or_null(t ? t->listener.path : NULL));
	json_object_set_new(to, "connections", json_integer(t ? t->n_sessions : 0));
	json_object_set_new(to, "channels", json_integer(t ? t->n_channels : 0));
	json_object_set_new(to, "record", json_string(record));
}

static void list_called(struct control_call *c)
{
	json_t *rows = json_array();
	struct vm *vm;

	for (vm = vm_after(c->mediator, NULL); vm; vm = vm_after(c->mediator, vm)) {
		json_t *o = json_object();

		describe(o, vm);
		json_array_append_new(rows, o);
	}
	json_object_set_new(c->answer, "vms", rows);
}

static void get_called(struct control_call *c)
{
	struct vm *vm = control_vm(c, "vm");

	if (vm)
		describe(c->answer, vm);
}

static struct vm_wish wish_of(const struct control_call *c)
{
	return (struct vm_wish){ control_text(c, "name"), control_text(c, "pool"), control_text(c, "profile"),
				 control_text(c, "personality"), control_text(c, "protocol") };
}

static void add_called(struct control_call *c)
{
	const char *text = control_text(c, "vm");
	struct vm_wish wish = wish_of(c);
	char uuid[VM_UUID_BYTES], why[INVENTORY_WHY_BYTES];
	struct vm *vm = NULL;
	int r;

	if (text && !vm_uuid_parse(text, uuid)) {
		control_fail(c, CONTROL_E_VALUE, "vm: '%.40s' is not a uuid", text);
		return;
	}
	r = vm_add(c->mediator, text ? uuid : NULL, &wish, &vm, why);
	control_inventory_did(c, r, why);
	if (r == 0)
		describe(c->answer, vm);
}

static void set_called(struct control_call *c)
{
	struct vm *vm = control_vm(c, "vm");
	struct vm_wish wish = wish_of(c);
	char why[INVENTORY_WHY_BYTES];

	if (vm)
		control_inventory_did(c, vm_set(c->mediator, vm, &wish, why), why);
}

static void remove_called(struct control_call *c)
{
	struct vm *vm = control_vm(c, "vm");
	char why[INVENTORY_WHY_BYTES];

	if (vm)
		control_inventory_did(c, vm_remove(c->mediator, vm, why), why);
}

#define POOL_FIELD \
	{ "pool", CONTROL_STRING, false, "The pool that its tenant is in. Empty: as tenant.pool says." }
#define PROFILE_FIELD \
	{ "profile", CONTROL_STRING, false, "Only vGPUs of this profile can be assigned to it. Empty: any." }

#define PERSONALITY_FIELD                                                                                \
	{ "personality", CONTROL_STRING, false,                                                          \
	  "custom: our own device alone. nvidia: also one with an NVIDIA GPU's identity. From the VM's " \
	  "next start on. Empty: as the profile of its vGPU says." }
#define PROTOCOL_FIELD                                                                                  \
	{ "protocol", CONTROL_STRING, false,                                                            \
	  "Whose programs may use the GPU: any, custom (those of libvgpu) or cuda (those of libcuda). " \
	  "Holds "                                                                                      \
	  "for programs that begin from now on. Empty: as the profile of its vGPU says." }

static const struct control_field no_fields[] = { { 0 } };
static const struct control_field uuid_only[] = { { "vm", CONTROL_STRING, true, "Its uuid." }, { 0 } };
static const struct control_field add_fields[] = {
	{ "vm", CONTROL_STRING, false, "Its uuid, as its hypervisor calls it. Without it one is made." },
	{ "name", CONTROL_STRING, true,
	  "Its name, 1 to 63 of A-Z a-z 0-9 . _ : -, which others may have as well." },
	POOL_FIELD,
	PROFILE_FIELD,
	PERSONALITY_FIELD,
	PROTOCOL_FIELD,
	{ 0 },
};
static const struct control_field set_fields[] = {
	{ "vm", CONTROL_STRING, true, "Its uuid." },
	{ "name", CONTROL_STRING, false, "Its new name; what is recorded of it stays its." },
	POOL_FIELD,
	PROFILE_FIELD,
	PERSONALITY_FIELD,
	PROTOCOL_FIELD,
	{ 0 },
};

const struct control_operation control_vm_operations[] = {
	{ "vm.list", "All VMs, the vGPU that each has, and the socket for its stub.", no_fields, 0, false,
	  list_called },
	{ "vm.get", "One VM.", uuid_only, 0, false, get_called },
	{ "vm.add", "Makes a VM known, so that a vGPU can be assigned to it. The answer shows it.",
	  add_fields, 0, true, add_called },
	{ "vm.set", "Changes what is given, at once; the personality with the VM's next start.", set_fields,
	  0, true, set_called },
	{ "vm.remove", "Forgets a VM without a vGPU. What was recorded of it stays (tenant.forget).",
	  uuid_only, 0, true, remove_called },
	{ "vm.registers",
	  "Which registers of the nvidia personality's second device the VM's guest has touched, in order of "
	  "first "
	  "touch.",
	  uuid_only, 0, false, control_vm_registers },
	{ "vm.use",
	  "What the VM's programs used, by the library that they say they have (channels opened, open now, "
	  "and "
	  "refused "
	  "by the VM's protocol, launches, GPU time, faults), and which features of CUDA, with the hours "
	  "(seconds since "
	  "1970) of the first and the last use. \"kept\": it goes back to the beginning, since there is a "
	  "store.",
	  uuid_only, 0, false, control_vm_use },
	{ 0 },
};
