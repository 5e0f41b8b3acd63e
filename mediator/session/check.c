// SPDX-License-Identifier: Apache-2.0
// Checks of packets from clients and executors; see the header. Called by the mediator's loop on every
// packet, by the unit tests and the fuzzer.
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

static const char *check_tenant_create(const void *packet)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-";
	const struct link_tenant_create *m = packet;
	size_t n;

	if (!is_text(m->name, sizeof(m->name)))
		return "TENANT_CREATE: name without an end";
	n = strspn(m->name, allowed);
	if (!n || m->name[n])
		return "TENANT_CREATE: name is empty or has other characters than A-Z a-z 0-9 . _ : -";
	for (; n < sizeof(m->name); n++) {
		if (m->name[n])
			return "TENANT_CREATE: bytes behind the name's end";
	}
	if (m->weight < VGPU_MIN_WEIGHT || m->weight > VGPU_MAX_WEIGHT)
		return "TENANT_CREATE: weight out of range (VGPU_MIN_WEIGHT, VGPU_MAX_WEIGHT)";
	return m->reserved ? "TENANT_CREATE: reserved field not zero" : NULL;
}

static const char *check_ready(const void *packet)
{
	const struct link_ready *m = packet;

	return is_text(m->backend, sizeof(m->backend)) && is_text(m->device, sizeof(m->device))
		   ? NULL
		   : "READY: text without an end";
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

static const struct rule {
	enum link_type type;
	unsigned phases;
	size_t bytes;
	const char *(*check)(const void *packet);
} rules[] = {
	{ LINK_HELLO, PHASE_NEW, sizeof(struct link_hello), check_hello },
	{ LINK_CHANNEL_OPEN, PHASE_READY, sizeof(struct link_channel_open), check_channel_open },
	{ LINK_TENANT_CREATE, PHASE_READY, sizeof(struct link_tenant_create), check_tenant_create },
	{ LINK_STATUS, PHASE_READY, sizeof(struct link_status), NULL },
	{ LINK_READY, PHASE_STARTING, sizeof(struct link_ready), check_ready },
	{ LINK_FAILED, PHASE_STARTING, sizeof(struct link_ended), check_ended },
	{ LINK_ENDED, PHASE_STARTING | PHASE_SERVING, sizeof(struct link_ended), check_ended },
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
	if (h->n_fds || n_fds)
		return refuse(why, "no message in this direction carries file descriptors");
	rule = find_rule(h->type);
	if (!rule)
		return refuse(why, "unknown message type");
	if (!(rule->phases & phase))
		return refuse(why, phase == PHASE_NEW ? "the first message must be HELLO"
						      : "message not legal now");
	if (len != rule->bytes)
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
