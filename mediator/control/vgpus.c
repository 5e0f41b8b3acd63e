// SPDX-License-Identifier: Apache-2.0
// Operations on vGPUs: vgpu.list, .get, .add, .remove, .assign, .release. Runs in the mediator's loop.
#include "mediator/control/inventory.h"
#include "mediator/tenant.h"
#include "protocol/control/control.h"

struct slot *control_slot(struct control_call *c, const char *field)
{
	const char *text = control_text(c, field);
	char uuid[VM_UUID_BYTES];
	struct slot *s = vm_uuid_parse(text, uuid) ? slot_find(c->mediator, uuid) : NULL;

	if (!s)
		control_fail(c, CONTROL_E_UNKNOWN, "there is no vGPU '%.64s'", text);
	return s;
}

static void describe(json_t *to, const struct slot *s)
{
	const struct tenant *t = s->vm ? s->vm->tenant : NULL;

	json_object_set_new(to, "vgpu", json_string(s->uuid));
	json_object_set_new(to, "gpu", json_string(s->gpu));
	json_object_set_new(to, "profile", json_string(s->profile->name));
	json_object_set_new(to, "number", json_integer(s->number));
	control_set_count(to, "memory", s->profile->policy.value[POLICY_MEMORY]);
	json_object_set_new(to, "vm", s->vm ? json_string(s->vm->uuid) : json_null());
	json_object_set_new(to, "name", s->vm ? json_string(s->vm->name) : json_null());
	json_object_set_new(to, "state", json_string(slot_state_text(s->life.state)));
	json_object_set_new(to, "reserved", json_boolean(s->life.by_reserve));
	json_object_set_new(to, "tenant", t ? json_integer(t->id) : json_null());
	json_object_set_new(to, "socket", t ? json_string(t->listener.path) : json_null());
}

static void list_called(struct control_call *c)
{
	json_t *rows = json_array();
	struct slot *s;

	for (s = slot_after(c->mediator, NULL); s; s = slot_after(c->mediator, s)) {
		json_t *o = json_object();

		describe(o, s);
		json_array_append_new(rows, o);
	}
	json_object_set_new(c->answer, "vgpus", rows);
}

static void get_called(struct control_call *c)
{
	struct slot *s = control_slot(c, "vgpu");

	if (s)
		describe(c->answer, s);
}

static void add_called(struct control_call *c)
{
	struct vm *vm = control_text(c, "vm") ? control_vm(c, "vm") : NULL;
	char why[INVENTORY_WHY_BYTES];
	struct profile *p = NULL;
	struct slot *s = NULL;
	int r;

	if (c->error)
		return;
	if (control_text(c, "profile")) {
		p = control_profile(c, "profile");
		if (!p)
			return;
	} else if (vm) {
		p = vm->profile;
	}
	if (!p) {
		control_fail(c, CONTROL_E_FIELD, "vgpu.add needs the field 'profile', or a VM that has one");
		return;
	}
	if (!control_device_known(c))
		return;
	r = slot_add(c->mediator, p, vm, &s, why);
	control_inventory_did(c, r, why);
	if (r == 0)
		describe(c->answer, s);
}

static void remove_called(struct control_call *c)
{
	struct slot *s = control_slot(c, "vgpu");
	char why[INVENTORY_WHY_BYTES];

	if (s)
		control_inventory_did(c, slot_remove(c->mediator, s, why), why);
}

static void assign_called(struct control_call *c)
{
	struct slot *s = control_slot(c, "vgpu");
	struct vm *vm = s ? control_vm(c, "vm") : NULL;
	char why[INVENTORY_WHY_BYTES];
	int r;

	if (!vm)
		return;
	r = slot_assign(c->mediator, s, vm, why);
	control_inventory_did(c, r, why);
	if (r == 0)
		describe(c->answer, s);
}

static void release_called(struct control_call *c)
{
	struct slot *s = control_slot(c, "vgpu");
	unsigned channels = s && s->vm && s->vm->tenant ? s->vm->tenant->n_channels : 0;
	char why[INVENTORY_WHY_BYTES];

	if (!s)
		return;
	json_object_set_new(c->answer, "channels", json_integer(channels));
	control_inventory_did(c, slot_release(c->mediator, s, why), why);
}

static const struct control_field no_fields[] = { { 0 } };
static const struct control_field uuid_only[] = { { "vgpu", CONTROL_STRING, true, "Its uuid." }, { 0 } };
static const struct control_field add_fields[] = {
	{ "profile", CONTROL_NAME, false, "What it is. Without it, as the VM is to have." },
	{ "vm", CONTROL_STRING, false, "Uuid of the VM that it is assigned to at once." },
	{ 0 },
};
static const struct control_field assign_fields[] = {
	{ "vgpu", CONTROL_STRING, true, "Its uuid." },
	{ "vm", CONTROL_STRING, true, "Uuid of the VM." },
	{ 0 },
};

const struct control_operation control_vgpu_operations[] = {
	{ "vgpu.list", "All vGPUs, and which VM has which.", no_fields, 0, false, list_called },
	{ "vgpu.get", "One vGPU.", uuid_only, 0, false, get_called },
	{ "vgpu.add",
	  "Makes a vGPU, if the card has room for it (capacity.overcommit, capacity.vgpus). The answer shows "
	  "it.",
	  add_fields, 0, true, add_called },
	{ "vgpu.remove", "Removes a vGPU that no VM has.", uuid_only, 0, true, remove_called },
	{ "vgpu.assign",
	  "Gives a vGPU to a VM: the VM is a tenant from now on, with a socket for its stub (\"socket\" in "
	  "the answer) "
	  "and with what the profile says.",
	  assign_fields, 0, true, assign_called },
	{ "vgpu.release",
	  "Takes it away again: the VM's channels end, and its socket goes. \"channels\" in the answer: how "
	  "many there "
	  "were.",
	  uuid_only, 0, true, release_called },
	{ 0 },
};
