// SPDX-License-Identifier: Apache-2.0
// Operations on the card: gpu.list, capacity. Runs in the mediator's loop.
#include "common/clock.h"
#include "mediator/control/inventory.h"
#include "mediator/control/uuid.h"
#include "mediator/mediator.h"

// null: not known.
static void add_value(json_t *to, const char *name, const struct device_values *v, enum device_value i,
		      double unit)
{
	bool known = device_value_known(v, i);

	if (!known)
		json_object_set_new(to, name, json_null());
	else if (unit == 1)
		control_set_count(to, name, v->value[i]);
	else
		json_object_set_new(to, name, json_real((double)v->value[i] * unit));
}

// Four hexadecimal digits, as PCI tools print ids.
static json_t *id_or_null(const struct device_values *v, unsigned shift)
{
	char text[8];

	if (!device_value_known(v, DEVICE_PCI_ID))
		return json_null();
	snprintf(text, sizeof(text), "%04x", (unsigned)(v->value[DEVICE_PCI_ID] >> shift) & 0xffff);
	return json_string(text);
}

static void add_pci(json_t *to, const struct board *b)
{
	char text[BOARD_PCI_BYTES];

	json_object_set_new(to, "pci", board_pci(b, text) ? json_string(text) : json_null());
	json_object_set_new(to, "pci_vendor", id_or_null(&b->values, 0));
	json_object_set_new(to, "pci_device", id_or_null(&b->values, 16));
}

static json_t *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

#define ATTRIBUTE_MAJOR 75 // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
#define ATTRIBUTE_MINOR 76

// "9.0" of two numbers; null: not known.
static json_t *version_or_null(int major, int minor)
{
	char text[32];

	snprintf(text, sizeof(text), "%d.%d", major, minor);
	return major > 0 ? json_string(text) : json_null();
}

static void gpu_list_called(struct control_call *c)
{
	struct mediator *m = c->mediator;
	struct device_state d;
	char uuid[UUID_TEXT_BYTES];
	json_t *o;

	if (!control_device_known(c))
		return;
	board_tell(&m->sensor.board, true, clock_now_ns(), &d);
	uuid_print(d.identity.uuid, uuid);
	o = json_object();
	json_object_set_new(o, "gpu", json_string(uuid));
	json_object_set_new(o, "name", json_string(d.identity.name));
	json_object_set_new(o, "backend", json_string(d.backend));
	json_object_set_new(o, "device", json_integer((json_int_t)m->settings->gpu_device));
	add_pci(o, &m->sensor.board);
	json_object_set_new(o, "driver", text_or_null(d.texts.driver));
	json_object_set_new(
	    o, "cuda",
	    version_or_null(d.identity.driver_version / 1000, d.identity.driver_version % 1000 / 10));
	json_object_set_new(
	    o, "compute_capability",
	    version_or_null(d.identity.attributes[ATTRIBUTE_MAJOR], d.identity.attributes[ATTRIBUTE_MINOR]));
	control_set_count(o, "memory", d.identity.total_memory);
	add_value(o, "memory_used", &d.values, DEVICE_CARD_MEMORY_USED, 1);
	add_value(o, "memory_free", &d.values, DEVICE_CARD_MEMORY_FREE, 1);
	add_value(o, "temperature_c", &d.values, DEVICE_TEMPERATURE, 1);
	add_value(o, "power_w", &d.values, DEVICE_POWER_DRAW, 0.001);
	add_value(o, "power_limit_w", &d.values, DEVICE_POWER_LIMIT_ENFORCED, 0.001);
	add_value(o, "utilisation", &d.values, DEVICE_CARD_GPU_UTILISATION, 1);
	json_object_set_new(o, "health", json_string(health_text(m->watch.health.state)));
	control_set_count(o, "last_xid", m->watch.health.last_xid);
	if (d.age_ns == UINT64_MAX)
		json_object_set_new(o, "age_ns", json_null());
	else
		control_set_count(o, "age_ns", d.age_ns);
	json_object_set_new(c->answer, "gpus", json_pack("[o]", o));
}

// ---- capacity ----

static unsigned assigned(struct mediator *m, const struct profile *p)
{
	unsigned n = 0;
	struct slot *s;

	for (s = slot_after(m, NULL); s; s = slot_after(m, s))
		n += s->profile == p && s->vm;
	return n;
}

static json_t *describe_profiles(struct mediator *m, const struct capacity_card *card,
				 const struct capacity_use *use)
{
	json_t *rows = json_array();
	struct profile *p;

	for (p = profile_after(m, NULL); p; p = profile_after(m, p)) {
		uint64_t memory = p->policy.value[POLICY_MEMORY];
		json_t *o = json_object();

		json_object_set_new(o, "profile", json_string(p->name));
		control_set_count(o, "memory", capacity_bytes(card, memory));
		json_object_set_new(o, "personality",
				    json_string(policy_word(&p->policy, POLICY_PERSONALITY)));
		json_object_set_new(o, "protocol", json_string(policy_word(&p->policy, POLICY_PROTOCOL)));
		json_object_set_new(o, "vgpus", json_integer(p->n_slots));
		json_object_set_new(o, "assigned", json_integer(assigned(m, p)));
		json_object_set_new(o, "fit", json_integer(capacity_fit(card, use, memory)));
		json_array_append_new(rows, o);
	}
	return rows;
}

static void capacity_called(struct control_call *c)
{
	struct mediator *m = c->mediator;
	struct capacity_card card;
	struct capacity_use use;
	char uuid[UUID_TEXT_BYTES];
	json_t *o;

	if (!control_device_known(c))
		return;
	inventory_card(m, &card);
	inventory_use(m, &card, &use);
	uuid_print(m->sensor.board.identity.uuid, uuid);
	o = json_object();
	json_object_set_new(o, "gpu", json_string(uuid));
	control_set_count(o, "memory", card.bytes);
	json_object_set_new(o, "overcommit", json_integer(card.overcommit));
	control_set_count(o, "memory_most", capacity_limit(&card));
	control_set_count(o, "memory_taken", use.bytes);
	json_object_set_new(o, "vgpus_most", json_integer(card.most));
	json_object_set_new(o, "vgpus", json_integer(use.vgpus));
	json_object_set_new(o, "draining", json_boolean(m->drain.on));
	json_object_set_new(o, "profiles", describe_profiles(m, &card, &use));
	json_object_set_new(c->answer, "gpus", json_pack("[o]", o));
}

static const struct control_field no_fields[] = { { 0 } };

const struct control_operation control_gpu_operations[] = {
	{ "gpu.list",
	  "The GPU of this mediator and how it is. null: not known, or not yet; age_ns is how old the "
	  "readings are.",
	  no_fields, 0, false, gpu_list_called },
	{ "capacity",
	  "How the card is divided: for each profile how many vGPUs there are, how many of them are "
	  "assigned, and how "
	  "many more fit (if no others are made).",
	  no_fields, 0, false, capacity_called },
	{ 0 },
};
