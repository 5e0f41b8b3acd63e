// SPDX-License-Identifier: Apache-2.0
// See the header. Used by discover.c, and by the unit tests.
#include "admin/cloudstack/listing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NVIDIA 0x10deu

struct address {
	unsigned domain, bus, device, function;
};

static bool parse(const char *text, struct address *ret)
{
	struct address a = { 0 };
	int n = 0;

	if (sscanf(text, "%x:%x:%x.%x%n", &a.domain, &a.bus, &a.device, &a.function, &n) != 4 || text[n]) {
		a.domain = 0;
		n = 0;
		if (sscanf(text, "%x:%x.%x%n", &a.bus, &a.device, &a.function, &n) != 3 || text[n])
			return false;
	}
	*ret = a;
	return a.bus <= 0xff && a.device <= 0x1f && a.function <= 7;
}

bool listing_address(const char *text, char ret[static LISTING_ADDRESS_BYTES])
{
	struct address a;

	if (!parse(text, &a))
		return false;
	if (a.domain)
		snprintf(ret, LISTING_ADDRESS_BYTES, "%04x:%02x:%02x.%x", a.domain, a.bus, a.device,
			 a.function);
	else
		snprintf(ret, LISTING_ADDRESS_BYTES, "%02x:%02x.%x", a.bus, a.device, a.function);
	return true;
}

bool listing_same_address(const char *a, const char *b)
{
	struct address x, y;

	return parse(a, &x) && parse(b, &y) && x.domain == y.domain && x.bus == y.bus &&
	       x.device == y.device && x.function == y.function;
}

// ---- what we have ----

static json_t *hex4(uint32_t id)
{
	char text[8];

	snprintf(text, sizeof(text), "%04x", id & 0xffff);
	return json_string(text);
}

static json_t *text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

// CloudStack shows vendor and device behind one another.
static json_t *device_name(const struct listing_card *c)
{
	static const char vendor[] = "NVIDIA ";
	const char *name = c->name ? c->name : "";

	if (c->vendor == NVIDIA && strncmp(name, vendor, sizeof(vendor) - 1) == 0)
		name += sizeof(vendor) - 1;
	return json_string(name[0] ? name : "GPU");
}

json_t *listing_card(const struct listing_card *c)
{
	char address[LISTING_ADDRESS_BYTES] = "00:00.0"; // no GPU is ever there
	json_t *o;

	if (strcmp(c->pci, LISTING_NO_CARD) != 0 && !listing_address(c->pci, address))
		return NULL;
	o = json_object();
	json_object_set_new(o, "pci_address", json_string(address));
	json_object_set_new(o, "vendor_id", hex4(c->vendor));
	json_object_set_new(o, "device_id", hex4(c->device));
	json_object_set_new(o, "vendor", json_string(c->vendor == NVIDIA ? "NVIDIA Corporation" : "vgpu"));
	json_object_set_new(o, "device", device_name(c));
	json_object_set_new(o, "numa_node", c->numa >= 0 ? json_integer(c->numa) : json_null());
	json_object_set_new(o, "pci_root", text_or_null(c->root));
	// A number: the agent does not take false. 0: nobody gets the card itself.
	json_object_set_new(o, "full_passthrough", json_pack("{s:i, s:n}", "enabled", 0, "used_by_vm"));
	json_object_set_new(o, "vgpu_instances", json_array());
	json_object_set_new(o, "vf_instances", json_array());
	return o;
}

void listing_slot(json_t *card, const struct listing_slot *s)
{
	json_t *o = json_object();

	json_object_set_new(o, "mdev_uuid", json_string(s->uuid));
	json_object_set_new(o, "profile_name", json_string(s->profile));
	json_object_set_new(o, "max_instances", json_integer((json_int_t)s->most));
	json_object_set_new(o, "video_ram",
			    s->memory ? json_integer((json_int_t)(s->memory >> 20)) : json_null());
	json_object_set_new(o, "used_by_vm", text_or_null(s->vm));
	json_array_append_new(json_object_get(card, "vgpu_instances"), o);
}

// ---- what another script found ----

static bool are_texts(const json_t *o, const char *const *keys, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!json_is_string(json_object_get(o, keys[i])))
			return false;
	}
	return true;
}

static bool is_text_or_null(const json_t *v)
{
	return !v || json_is_null(v) || json_is_string(v);
}

// What a GPU and its instances may have.
static bool has_options(const json_t *o)
{
	static const char *const numbers[] = { "max_instances", "video_ram", "max_heads", "max_resolution_x",
					       "max_resolution_y" };
	const json_t *node = json_object_get(o, "numa_node");

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		const json_t *v = json_object_get(o, numbers[i]);

		if (v && !json_is_null(v) && !json_is_number(v))
			return false;
	}
	return (json_is_number(node) || is_text_or_null(node)) &&
	       is_text_or_null(json_object_get(o, "pci_root")) &&
	       is_text_or_null(json_object_get(o, "used_by_vm"));
}

static bool are_instances(const json_t *list, const char *const *keys, size_t n)
{
	const json_t *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		if (!are_texts(o, keys, n) || !is_text_or_null(json_object_get(o, "profile_name")) ||
		    !has_options(o))
			return false;
	}
	return json_is_array(list);
}

// What the agent needs of a GPU: where it stumbles, it takes nothing of what follows either.
static bool is_readable(const json_t *gpu)
{
	static const char *const texts[] = { "pci_address", "vendor_id", "device_id", "vendor", "device" };
	static const char *const of_vgpu[] = { "mdev_uuid" }, *const of_vf[] = { "vf_pci_address",
										 "vf_profile" };
	const json_t *whole = json_object_get(gpu, "full_passthrough");

	return are_texts(gpu, texts, sizeof(texts) / sizeof(texts[0])) && has_options(gpu) &&
	       json_is_number(json_object_get(whole, "enabled")) &&
	       is_text_or_null(json_object_get(whole, "used_by_vm")) &&
	       are_instances(json_object_get(gpu, "vgpu_instances"), of_vgpu, 1) &&
	       are_instances(json_object_get(gpu, "vf_instances"), of_vf, 2);
}

static bool is_ours(const json_t *ours, size_t n, const json_t *gpu)
{
	const char *address = json_string_value(json_object_get(gpu, "pci_address"));

	for (size_t i = 0; i < n; i++) {
		const json_t *mine = json_object_get(json_array_get(ours, i), "pci_address");

		if (listing_same_address(json_string_value(mine), address))
			return true;
	}
	return false;
}

bool listing_merge(json_t *ours, const json_t *found)
{
	json_t *list = json_object_get(found, "gpus"), *gpu;
	size_t n = json_array_size(ours), i;

	if (!json_is_array(list))
		return false;
	json_array_foreach(list, i, gpu)
	{
		if (is_readable(gpu) && !is_ours(ours, n, gpu))
			json_array_append(ours, gpu);
	}
	return true;
}

char *listing_print(json_t *gpus)
{
	json_t *all = json_pack("{s:O}", "gpus", gpus);
	char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;

	json_decref(all);
	if (text && strlen(text) < LISTING_MOST_BYTES)
		return text;
	free(text);
	return NULL;
}
