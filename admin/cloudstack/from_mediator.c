// SPDX-License-Identifier: Apache-2.0
// What the mediator says; see sources.h. Runs in vgpu-admin.
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/cloudstack/listing.h"
#include "admin/cloudstack/sources.h"

#define PATIENCE_S 4  // the agent waits 30 s for all of it
#define LOOKS	   12 // for a card that is being read for the first time
#define LOOK_NS	   250000000

static const char *text_of(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

// The list of that name; NULL with why: it was not answered.
static json_t *ask(struct admin_call *c, const char *path, const char *name, char *why)
{
	struct http_answer a = { 0 };
	json_t *answer = NULL, *list = NULL;

	if (http_ask(c->http, "GET", path, NULL, &a) < 0) {
		snprintf(why, SOURCE_WHY_BYTES, "%s", http_failure(c->http));
		return NULL;
	}
	if (a.status == 200)
		answer = json_loadb(a.body ? a.body : "", a.len, 0, NULL);
	if (json_is_array(json_object_get(answer, name)))
		list = json_incref(json_object_get(answer, name));
	else
		snprintf(why, SOURCE_WHY_BYTES, "%s%s: status %ld", http_place(c->http), path, a.status);
	json_decref(answer);
	http_answer_done(&a);
	return list;
}

static uint32_t hex(const char *text)
{
	return text ? (uint32_t)strtoul(text, NULL, 16) : 0;
}

// A card that there is, or not known yet.
static bool may_be_placed(const json_t *gpu)
{
	const char *backend = text_of(gpu, "backend");

	return backend && strcmp(backend, "cuda") == 0;
}

// The mediator's GPU (it has one), looked at until it is known where it is. NULL with why.
static json_t *find_gpu(struct admin_call *c, char *why)
{
	static const struct timespec pause = { 0, LOOK_NS };
	json_t *gpu = NULL;

	for (unsigned i = 0; i < LOOKS; i++) {
		json_t *list = ask(c, "/v1/gpus", "gpus", why);

		json_decref(gpu);
		gpu = json_incref(json_array_get(list, 0));
		json_decref(list);
		if (!gpu || text_of(gpu, "pci") || !may_be_placed(gpu))
			break;
		nanosleep(&pause, NULL);
	}
	return gpu;
}

static json_t *make_card(const json_t *gpu, const char *store, char *why)
{
	char pci[64] = LISTING_NO_CARD, root[32];
	const char *uuid = text_of(gpu, "gpu");
	uint32_t id = hex(text_of(gpu, "pci_device")) << 16 | hex(text_of(gpu, "pci_vendor"));
	struct listing_card card = { .pci = pci, .name = text_of(gpu, "name") };
	json_t *o;

	if (text_of(gpu, "pci")) {
		snprintf(pci, sizeof(pci), "%s", text_of(gpu, "pci"));
	} else if (may_be_placed(gpu) &&
		   !source_store_place(store, uuid ? uuid : "", pci, sizeof(pci), &id)) {
		snprintf(why, SOURCE_WHY_BYTES, "where the GPU is on the PCI bus is not known (NVML)");
		return NULL;
	}
	card.vendor = id & 0xffff;
	card.device = id >> 16;
	card.root = source_kernel(pci, &card.numa, root, sizeof(root));
	o = listing_card(&card);
	if (!o)
		snprintf(why, SOURCE_WHY_BYTES, "'%.40s' is no PCI address", pci);
	return o;
}

static bool is_of(const json_t *slot, const char *field, const char *value)
{
	const char *text = text_of(slot, field);

	return text && value && strcmp(text, value) == 0;
}

static uint64_t count(const json_t *slots, const json_t *like)
{
	const json_t *slot;
	uint64_t n = 0;
	size_t i;

	json_array_foreach((json_t *)slots, i, slot) n +=
	    is_of(slot, "gpu", text_of(like, "gpu")) && is_of(slot, "profile", text_of(like, "profile"));
	return n;
}

static void add_slots(json_t *card, const json_t *gpu, const json_t *slots)
{
	const json_t *slot;
	size_t i;

	json_array_foreach((json_t *)slots, i, slot)
	{
		json_int_t memory = json_integer_value(json_object_get(slot, "memory"));
		struct listing_slot s = {
			.uuid = text_of(slot, "vgpu"),
			.profile = text_of(slot, "profile"),
			.most = count(slots, slot),
			.vm = text_of(slot, "name"),
		};

		if (!memory) // without a limit it can have all
			memory = json_integer_value(json_object_get(gpu, "memory"));
		s.memory = (uint64_t)memory;
		if (s.uuid && s.profile && is_of(slot, "gpu", text_of(gpu, "gpu")))
			listing_slot(card, &s);
	}
}

int source_mediator(struct admin_call *c, const char *store, json_t *gpus, char why[static SOURCE_WHY_BYTES])
{
	json_t *gpu, *slots, *card;

	http_set_patience(c->http, PATIENCE_S);
	gpu = find_gpu(c, why);
	slots = gpu ? ask(c, "/v1/vgpus", "vgpus", why) : NULL;
	card = slots ? make_card(gpu, store, why) : NULL;
	if (card)
		add_slots(card, gpu, slots);
	json_decref(gpu);
	json_decref(slots);
	if (!card)
		return slots ? -ENODEV : -EIO;
	json_array_append_new(gpus, card);
	return 0;
}
