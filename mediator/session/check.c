// SPDX-License-Identifier: Apache-2.0
// Checks of packets from clients, executors and the sensor; see the header. Called by the mediator's loop on
// every packet, by the unit tests and the fuzzer.
#include "mediator/session/check.h"

#include <string.h>

#include "common/limits.h"

static bool is_text(const char *text, size_t n)
{
	return memchr(text, 0, n) != NULL;
}

static const char *check_hello(const void *packet)
{
	const struct link_hello *m = packet;

	// Feature bits that we do not know are an offer, not an error: we take none of them.
	return m->version_min > m->version_max ? "HELLO: version_min above version_max" : NULL;
}

static const char *check_channel_open(const void *packet)
{
	const struct link_channel_open *m = packet;

	return m->flags ? "CHANNEL_OPEN: unknown flags" : NULL;
}

static const char *check_channel_open_vm(const void *packet)
{
	const struct link_channel_open_vm *m = packet;

	if (!is_text(m->name, sizeof(m->name)))
		return "CHANNEL_OPEN_VM: name without an end";
	if (m->arena_bytes < VGPU_MIN_VM_ARENA || m->arena_bytes > VGPU_ARENA_BYTES || m->arena_bytes % 4096)
		return "CHANNEL_OPEN_VM: arena size (VGPU_MIN_VM_ARENA, VGPU_ARENA_BYTES)";
	if (m->extents < 2 || m->extents > VGPU_MAX_VM_PIECES)
		return "CHANNEL_OPEN_VM: number of extents (VGPU_MAX_VM_PIECES)";
	return NULL;
}

static const char *check_channel_close(const void *packet)
{
	const struct link_channel_close *m = packet;

	return m->flags & ~LINK_CLOSE_AT_ONCE ? "CHANNEL_CLOSE: unknown flags" : NULL;
}

// Text of these characters that fills the rest of its room with zeros.
static bool is_name(const char *text, size_t room, const char *allowed, size_t least)
{
	size_t n;

	if (!is_text(text, room))
		return false;
	n = strspn(text, allowed);
	if (n < least || text[n])
		return false;
	for (; n < room; n++) {
		if (text[n])
			return false;
	}
	return true;
}

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

static bool is_tenant_name(const char *name)
{
	return is_name(name, LINK_NAME_BYTES, LETTERS ".:", 1);
}

static const char *check_tenant_create(const void *packet)
{
	const struct link_tenant_create *m = packet;

	if (!is_tenant_name(m->name))
		return "TENANT_CREATE: name is not 1 to 63 of A-Z a-z 0-9 . _ : - with zeros behind";
	if (m->weight < VGPU_MIN_WEIGHT || m->weight > VGPU_MAX_WEIGHT)
		return "TENANT_CREATE: weight out of range (VGPU_MIN_WEIGHT, VGPU_MAX_WEIGHT)";
	return m->reserved ? "TENANT_CREATE: reserved field not zero" : NULL;
}

static const char *check_tenant_create_as(const void *packet)
{
	const struct link_tenant_create_as *m = packet;

	if (!is_tenant_name(m->name))
		return "TENANT_CREATE_AS: name is not 1 to 63 of A-Z a-z 0-9 . _ : - with zeros behind";
	if (!is_name(m->profile, sizeof(m->profile), LETTERS, 0) ||
	    !is_name(m->pool, sizeof(m->pool), LETTERS, 0))
		return "TENANT_CREATE_AS: profile or pool has other characters than A-Z a-z 0-9 _ -";
	if (m->weight > VGPU_MAX_WEIGHT)
		return "TENANT_CREATE_AS: weight out of range (VGPU_MAX_WEIGHT)";
	return m->reserved ? "TENANT_CREATE_AS: reserved field not zero" : NULL;
}

static const char *check_ready(const void *packet)
{
	const struct link_ready *m = packet;

	return is_text(m->backend, sizeof(m->backend)) && is_text(m->device, sizeof(m->device))
		   ? NULL
		   : "READY: text without an end";
}

static const char *check_warm(const void *packet)
{
	const struct link_warm *m = packet;

	return m->device_free > m->device_memory ? "WARM: more memory free than there is" : NULL;
}

static const char *check_ended(const void *packet)
{
	const struct link_ended *m = packet;

	if (!is_text(m->text, sizeof(m->text)))
		return "text without an end";
	if (m->code < LINK_E_VERSION || m->code > LINK_E_WATCHDOG)
		return "unknown error code";
	return m->reserved ? "reserved field not zero" : NULL;
}

static const char *check_device(const void *packet)
{
	const struct link_device *m = packet;

	return m->flags & ~LINK_DEVICE_CARD ? "DEVICE: unknown flags" : NULL;
}

static const char *check_registers(const void *packet)
{
	const struct link_registers *m = packet;

	if (m->n > LINK_REGISTERS_MAX ||
	    m->header.length != offsetof(struct link_registers, row) + m->n * sizeof(m->row[0]))
		return "REGISTERS: other rows than its length says";
	if (m->left > LINK_REGISTERS_MOST || m->state > LINK_REGISTERS_IN_USE || m->reserved)
		return "REGISTERS: rows to come, state or reserved field out of range";
	for (uint32_t i = 0; i < m->n; i++)
		if (m->row[i].reserved ||
		    !is_name(m->row[i].name, sizeof(m->row[i].name), LETTERS " :().", 0))
			return "REGISTERS: a name of other characters";
	return NULL;
}

static const char *check_sensor_ready(const void *packet)
{
	const struct link_sensor_ready *m = packet;

	if (!is_text(m->backend, sizeof(m->backend)) || !is_text(m->identity.name, sizeof(m->identity.name)))
		return "SENSOR_READY: text without an end";
	if (m->identity.attribute_count > DEVICE_ATTRIBUTES)
		return "SENSOR_READY: more than DEVICE_ATTRIBUTES";
	return m->readings > 1 || m->reserved ? "SENSOR_READY: reserved field not zero" : NULL;
}

static const char *check_sensed(const void *packet)
{
	const struct link_sensed *m = packet;
	const struct device_texts *t = &m->texts;

	if (!is_text(t->driver, sizeof(t->driver)) || !is_text(t->vbios, sizeof(t->vbios)) ||
	    !is_text(t->serial, sizeof(t->serial)) || !is_text(t->board_part, sizeof(t->board_part)) ||
	    !is_text(t->inforom_image, sizeof(t->inforom_image)) ||
	    !is_text(t->gsp_firmware, sizeof(t->gsp_firmware)))
		return "SENSED: text without an end";
	if (m->n_xids > LINK_SENSED_XIDS)
		return "SENSED: more than LINK_SENSED_XIDS";
	return m->lost > 1 ? "SENSED: neither lost nor not" : NULL;
}

static const char *check_monitor(const void *packet)
{
	const struct link_monitor *m = packet;

	return m->there > 1 || m->reserved ? "MONITOR: neither there nor not, or reserved field not zero"
					   : NULL;
}

static const char *check_share(const void *packet)
{
	const struct link_share *m = packet;

	return m->bytes > VGPU_WINDOW_BYTES ? "SHARE: more bytes than there are addresses" : NULL;
}

static const char *check_drop(const void *packet)
{
	const struct link_drop *m = packet;

	if (m->owner > 1)
		return "DROP: neither owner nor taker";
	return m->reserved ? "DROP: reserved field not zero" : NULL;
}

static const struct rule {
	enum link_type type;
	unsigned phases;
	size_t bytes;
	const char *(*check)(const void *packet);
	unsigned min_fds, max_fds;
	size_t least; // bytes; 0: as many as bytes
} rules[] = {
	{ LINK_HELLO, PHASE_NEW, sizeof(struct link_hello), check_hello },
	{ LINK_CHANNEL_OPEN, PHASE_READY, sizeof(struct link_channel_open), check_channel_open },
	{ LINK_CHANNEL_OPEN_VM, PHASE_READY, sizeof(struct link_channel_open_vm), check_channel_open_vm,
	  CHANNEL_VM_FDS + 1, CHANNEL_VM_FDS + LINK_MAX_GUEST_MEMORY },
	{ LINK_CHANNEL_CLOSE, PHASE_READY, sizeof(struct link_channel_close), check_channel_close },
	{ LINK_TENANT_CREATE, PHASE_READY, sizeof(struct link_tenant_create), check_tenant_create },
	{ LINK_TENANT_CREATE_AS, PHASE_READY, sizeof(struct link_tenant_create_as), check_tenant_create_as },
	{ LINK_STATUS, PHASE_READY, sizeof(struct link_status), NULL },
	{ LINK_DEVICE, PHASE_READY, sizeof(struct link_device), check_device },
	{ LINK_MONITOR, PHASE_READY, sizeof(struct link_monitor), check_monitor },
	{ LINK_REGISTERS, PHASE_READY, sizeof(struct link_registers), check_registers, 0, 0,
	  offsetof(struct link_registers, row) },
	{ LINK_READY, PHASE_STARTING, sizeof(struct link_ready), check_ready },
	{ LINK_WARM, PHASE_WARMING, sizeof(struct link_warm), check_warm },
	{ LINK_FAILED, PHASE_STARTING | PHASE_WARMING, sizeof(struct link_ended), check_ended },
	{ LINK_ENDED, PHASE_STARTING | PHASE_SERVING, sizeof(struct link_ended), check_ended },
	{ LINK_SENSOR_READY, PHASE_SENSOR_STARTING, sizeof(struct link_sensor_ready), check_sensor_ready },
	{ LINK_SENSED, PHASE_SENSOR_SERVING, sizeof(struct link_sensed), check_sensed },
	{ LINK_SHARE, PHASE_SERVING, sizeof(struct link_share), check_share, 0, 1 },
	{ LINK_TAKE, PHASE_SERVING, sizeof(struct link_take), NULL },
	{ LINK_DROP, PHASE_SERVING, sizeof(struct link_drop), check_drop },
};

static const struct rule *find_rule(uint16_t type)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (rules[i].type == type)
			return &rules[i];
	}
	return NULL;
}

static int refuse(const char **why, const char *text)
{
	*why = text;
	return LINK_E_PROTOCOL;
}

int check_packet(enum phase phase, const void *packet, size_t len, unsigned n_fds, const char **why)
{
	const struct link_header *h = packet;
	const struct rule *rule;
	const char *wrong;

	if (len < sizeof(*h))
		return refuse(why, "shorter than a header");
	if (h->magic != LINK_MAGIC)
		return refuse(why, "wrong magic");
	if (h->length != len)
		return refuse(why, "header's length is not the packet's");
	rule = find_rule(h->type);
	if ((h->n_fds || n_fds) && (!rule || !rule->max_fds))
		return refuse(why, "a message of this type carries no file descriptors");
	if (!rule)
		return refuse(why, "unknown message type");
	if (h->n_fds != n_fds || n_fds < rule->min_fds || n_fds > rule->max_fds)
		return refuse(why, "other file descriptors than the header says or the type allows");
	if (!(rule->phases & phase))
		return refuse(why, phase == PHASE_NEW ? "the first message must be HELLO"
						      : "message not legal now");
	if (len > rule->bytes || len < (rule->least ? rule->least : rule->bytes))
		return refuse(why, "wrong length for its type");
	wrong = rule->check ? rule->check(packet) : NULL;
	if (wrong)
		return refuse(why, wrong);
	if (h->type == LINK_HELLO) {
		const struct link_hello *m = packet;

		if (m->version_min > LINK_VERSION || m->version_max < LINK_VERSION) {
			*why = "no common version: this mediator speaks version 1";
			return LINK_E_VERSION;
		}
	}
	return 0;
}
