// SPDX-License-Identifier: Apache-2.0
// Joins both sides by the slot's uuid, which is a device's bus address; see the header. The mediator is right
// about who holds a slot, CloudStack about who is to hold it.
#include "admin/cloudstack/compare.h"

#include <string.h>
#include <strings.h>

#include "admin/cloudstack/cloudstack.h"

static json_t *find(const json_t *list, const char *field, const char *value)
{
	json_t *object;
	size_t i;

	json_array_foreach(list, i, object)
	{
		if (strcasecmp(cloudstack_text(object, field), value) == 0)
			return object;
	}
	return NULL;
}

static void copy(json_t *to, const char *name, const json_t *from, const char *field)
{
	json_t *value = from ? json_object_get(from, field) : NULL;

	json_object_set(to, name, value ? value : json_null());
}

// Those that a slot can be: the card itself and its functions are CloudStack's own business.
static bool is_mediated(const json_t *device)
{
	return strcasecmp(cloudstack_text(device, "gpudevicetype"), "MDEV") == 0;
}

// NULL: they agree. A VM that is stopped keeps its device unless gpu.detach.on.stop is set, and no slot.
static const char *difference_of_owners(const json_t *row)
{
	const char *theirs = cloudstack_text(row, "vm"), *ours = cloudstack_text(row, "mediator_vm");

	if (!theirs[0] && !ours[0])
		return NULL;
	if (!theirs[0])
		return "in use, but free in CloudStack";
	if (!ours[0])
		return strcasecmp(cloudstack_text(row, "vm_state"), "Running") == 0
			   ? "CloudStack's VM runs without it"
			   : NULL;
	if (strcasecmp(theirs, ours) != 0)
		return "another VM in CloudStack";
	return strcasecmp(cloudstack_text(row, "vm_state"), "Stopped") == 0
		   ? "in use, but its VM is stopped in CloudStack"
		   : NULL;
}

static const char *difference(const json_t *row, const json_t *device, const json_t *slot)
{
	const char *owners;

	if (!device)
		return "not known to CloudStack";
	if (!slot)
		return compare_is_left_over(row) ? "no slot any more: prune" : "no slot of this mediator";
	owners = difference_of_owners(row);
	if (owners)
		return owners;
	return strcasecmp(cloudstack_text(row, "state"), "Error") == 0 ? "Error in CloudStack" : NULL;
}

static void add(json_t *rows, const json_t *device, const json_t *slot)
{
	json_t *row = json_object();
	const char *said;

	if (slot)
		copy(row, "slot", slot, "vgpu");
	else
		copy(row, "slot", device, "busaddress");
	if (slot)
		copy(row, "profile", slot, "profile");
	else
		copy(row, "profile", device, "vgpuprofilename");
	copy(row, "device", device, "id");
	copy(row, "state", device, "state");
	copy(row, "vm", device, "virtualmachineid");
	copy(row, "vm_name", device, "virtualmachinename");
	copy(row, "vm_state", device, "vmstate");
	copy(row, "mediator_vm", slot, "vm");
	copy(row, "mediator_name", slot, "name");
	json_object_set_new(row, "ours", json_boolean(slot));
	said = difference(row, device, slot);
	json_object_set_new(row, "note", said ? json_string(said) : json_null());
	json_object_set_new(row, "differs", json_boolean(said));
	json_array_append_new(rows, row);
}

json_t *compare_rows(const json_t *devices, const json_t *slots)
{
	json_t *rows = json_array(), *slot, *device;
	size_t i;

	json_array_foreach(slots, i, slot)
	    add(rows, find(devices, "busaddress", cloudstack_text(slot, "vgpu")), slot);
	json_array_foreach(devices, i, device)
	{
		if (is_mediated(device) && !find(slots, "vgpu", cloudstack_text(device, "busaddress")))
			add(rows, device, NULL);
	}
	return rows;
}

size_t compare_differences(const json_t *rows)
{
	size_t n = 0, i;
	json_t *row;

	json_array_foreach(rows, i, row) n += json_is_true(json_object_get(row, "differs"));
	return n;
}

bool compare_is_left_over(const json_t *row)
{
	return json_is_false(json_object_get(row, "ours")) && cloudstack_text(row, "device")[0] &&
	       strcasecmp(cloudstack_text(row, "state"), "Error") == 0 && !cloudstack_text(row, "vm")[0];
}
