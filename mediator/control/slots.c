// SPDX-License-Identifier: Apache-2.0
// Operations that a cloud's host agent needs on vGPUs: slot.partition, .reserve, .release. Runs in the
// mediator's loop.
#include "mediator/control/inventory.h"
#include "protocol/control/control.h"

// The VM's uuid in the usual form. False with the error said.
static bool take_uuid(struct control_call *c, char ret[static VM_UUID_BYTES])
{
	const char *text = control_text(c, "vm");

	if (vm_uuid_parse(text, ret))
		return true;
	control_fail(c, CONTROL_E_VALUE, "vm: '%.40s' is not a uuid", text);
	return false;
}

static void reserve_called(struct control_call *c)
{
	char uuid[VM_UUID_BYTES], path[SLOT_PATH_BYTES], why[INVENTORY_WHY_BYTES];
	struct slot *s = control_slot(c, "vgpu");
	int r;

	if (!s || !take_uuid(c, uuid))
		return;
	r = slot_reserve(c->mediator, s, uuid, control_text(c, "name"), why);
	control_inventory_did(c, r, why);
	if (r < 0)
		return;
	slot_stub_path(c->mediator, uuid, path);
	json_object_set_new(c->answer, "vgpu", json_string(s->uuid));
	json_object_set_new(c->answer, "vm", json_string(s->vm->uuid));
	json_object_set_new(c->answer, "name", json_string(s->vm->name));
	json_object_set_new(c->answer, "socket", json_string(path));
	json_object_set_new(c->answer, "nvidia_socket",
			    vm_item(s->vm, POLICY_PERSONALITY) ? json_sprintf("%s" LINK_IDENTITY_SUFFIX, path)
							       : json_null());
	json_object_set_new(c->answer, "state", json_string(slot_state_text(s->life.state)));
}

static void release_called(struct control_call *c)
{
	struct slot *s = control_slot(c, "vgpu");
	char uuid[VM_UUID_BYTES];

	if (!s || !take_uuid(c, uuid))
		return;
	json_object_set_new(c->answer, "released", json_boolean(slot_unreserve(c->mediator, s, uuid)));
	json_object_set_new(c->answer, "vgpu", json_string(s->uuid));
	json_object_set_new(c->answer, "vm", s->vm ? json_string(s->vm->uuid) : json_null());
	json_object_set_new(c->answer, "name", s->vm ? json_string(s->vm->name) : json_null());
	json_object_set_new(c->answer, "state", json_string(slot_state_text(s->life.state)));
	control_inventory_did(c, 0, NULL);
}

static void add_ids(struct control_call *c, const struct profile *p)
{
	json_t *ids = json_array();
	struct slot *s;

	for (s = slot_after(c->mediator, NULL); s; s = slot_after(c->mediator, s)) {
		if (s->profile == p)
			json_array_append_new(ids, json_string(s->uuid));
	}
	json_object_set_new(c->answer, "vgpus", ids);
}

static void partition_called(struct control_call *c)
{
	struct profile *p = control_profile(c, "profile");
	json_int_t count = json_integer_value(json_object_get(c->request, "count"));
	struct slots_partitioned did;
	char why[INVENTORY_WHY_BYTES];
	int r;

	if (!p || !control_device_known(c))
		return;
	r = slots_partition(c->mediator, p, count < 0 || count > UINT32_MAX ? UINT32_MAX : (uint32_t)count,
			    &did, why);
	control_inventory_did(c, r, why);
	if (r < 0)
		return;
	json_object_set_new(c->answer, "profile", json_string(p->name));
	json_object_set_new(c->answer, "count", json_integer(count));
	json_object_set_new(c->answer, "made", json_integer(did.made));
	json_object_set_new(c->answer, "removed", json_integer(did.removed));
	add_ids(c, p);
}

#define VM_FIELD { "vm", CONTROL_STRING, true, "Uuid of the VM, as its hypervisor calls it." }

static const struct control_field reserve_fields[] = {
	{ "vgpu", CONTROL_STRING, true, "Its uuid." },
	VM_FIELD,
	{ "name", CONTROL_STRING, true, "The VM's name, 1 to 63 of A-Z a-z 0-9 . _ : -." },
	{ 0 },
};
static const struct control_field release_fields[] = {
	{ "vgpu", CONTROL_STRING, true, "Its uuid." },
	VM_FIELD,
	{ 0 },
};
static const struct control_field partition_fields[] = {
	{ "profile", CONTROL_NAME, true, "What they are." },
	{ "count", CONTROL_INTEGER, true, "How many there are to be." },
	{ 0 },
};

const struct control_operation control_slot_operations[] = {
	{ "slot.partition",
	  "The card gets exactly so many vGPUs of a profile, if it has room for them. Their uuids follow "
	  "from "
	  "the host, the card, the profile and a number, and are the same whenever it is said again. Refused "
	  "as "
	  "a whole if one that would go is in use.",
	  partition_fields, 0, true, partition_called },
	{ "slot.reserve",
	  "Gives a vGPU to a VM that is about to start, which need not be known: until its stub has gone, or "
	  "if "
	  "none comes (slot.reserve_for, slot.grace). \"socket\" in the answer is where the stub listens for "
	  "the VM's monitor, \"nvidia_socket\" where for the second device of the personality nvidia (null: "
	  "there is "
	  "none). Said again for the same VM its time begins anew.",
	  reserve_fields, 0, true, reserve_called },
	{ "slot.release",
	  "Takes back what slot.reserve gave to that VM. Nothing happens (\"released\": false) where another "
	  "VM "
	  "has it, nobody, or this one by an operator's vgpu.assign.",
	  release_fields, 0, true, release_called },
	{ 0 },
};
