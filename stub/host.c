// SPDX-License-Identifier: Apache-2.0
// The stub's own connection to the mediator; see the header.
#include "stub/host.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/seqpacket.h"
#include "protocol/host/link.h"
#include "stub/device.h"

#define PAUSE_MIN_US	100000u
#define PAUSE_MAX_US	5000000u
#define PACKETS_A_ROUND 16

union host_packet {
	struct link_header header;
	struct link_hello_ok hello;
	struct link_device_rows rows;
	struct link_error error;
	struct link_vm vm;
	char bytes[LINK_MAX_PACKET];
};

static int try_again_later(struct stub *s);

void host_init(struct host *h)
{
	*h = (struct host){ .link = -1, .pause_us = PAUSE_MIN_US };
}

void host_done(struct host *h)
{
	sd_event_source_disable_unref(h->link_source);
	sd_event_source_disable_unref(h->timer);
	close_fd(&h->link);
	host_init(h);
}

// ---- DEVICE ----

// The slot whose question was given first and not asked yet; -1: none.
static int next_question(const struct stub *s)
{
	int found = -1;

	for (int i = 0; i < VGPU_COMMAND_SLOTS; i++) {
		const struct command_slot *c = &s->commands.slots[i];

		if (c->busy && c->code == VGPU_COMMAND_DEVICE && !c->cookie &&
		    (found < 0 || c->order < s->commands.slots[found].order))
			found = i;
	}
	return found;
}

static void ask_next(struct stub *s)
{
	struct link_device m = { .header = { LINK_MAGIC, LINK_DEVICE, 0, sizeof(m), 0 } };
	int slot = next_question(s);

	if (slot < 0 || s->host.asked || !s->host.up)
		return;
	m.flags = s->commands.slots[slot].flags;
	m.header.cookie = command_new_cookie(s);
	if (seqpacket_send(s->host.link, &m, sizeof(m), NULL, 0, MSG_DONTWAIT) < 0)
		return; // the link is being lost, and the question with it
	s->commands.slots[slot].cookie = s->host.asked = m.header.cookie;
}

static void answered(struct stub *s, int slot)
{
	struct vgpu_reply reply = { 0 };

	s->host.asked = 0;
	if (slot >= 0) {
		reply.device.bytes = s->commands.slots[slot].written;
		command_reply(s, (unsigned)slot, VGPU_RESULT_OK, &reply);
	}
	ask_next(s);
}

// One packet of the answer, put behind those before it. What comes after a failure, or for somebody who was
// reset meanwhile, is dropped.
static void take_answer(struct stub *s, union host_packet *p, size_t n)
{
	int slot = command_of_cookie(s, p->header.cookie);
	bool last = p->header.type == LINK_ERROR || (p->header.type == LINK_DEVICE_ROWS && !p->rows.left);

	if (slot >= 0) {
		struct command_slot *c = &s->commands.slots[slot];
		enum vgpu_command_result r = VGPU_RESULT_OK;

		p->header.cookie = c->guest_cookie;
		if (n > c->room - c->written)
			r = VGPU_RESULT_LIMIT;
		else if (dma_write(&s->dma, c->buffer + c->written, p, n) < 0)
			r = VGPU_RESULT_NOT_SHARED;
		c->written += r ? 0 : (uint32_t)n;
		if (r) {
			command_reply(s, (unsigned)slot, r, NULL);
			slot = -1;
		}
	}
	if (last)
		answered(s, slot);
}

enum vgpu_command_result host_ask_device(struct stub *s, unsigned slot, const struct vgpu_command_device *d)
{
	struct command_slot *c = &s->commands.slots[slot];
	struct link_device question;

	if (!s->host.up)
		return VGPU_RESULT_NO_HOST;
	if (dma_read(&s->dma, d->buffer, &question, sizeof(question)) < 0)
		return VGPU_RESULT_NOT_SHARED;
	if (question.header.magic != LINK_MAGIC || question.header.type != LINK_DEVICE ||
	    question.header.length != sizeof(question) || question.header.n_fds ||
	    question.flags & ~LINK_DEVICE_CARD)
		return VGPU_RESULT_INVALID;
	c->buffer = d->buffer;
	c->room = d->buffer_bytes;
	c->guest_cookie = question.header.cookie;
	c->flags = (uint32_t)question.flags;
	ask_next(s);
	return VGPU_RESULT_OK;
}

// ---- link ----

static void lose(struct stub *s, const char *why)
{
	struct host *h = &s->host;

	if (!h->complained)
		log_warning("mediator %s: %s; trying again", s->tenant_path, why);
	h->complained = true;
	h->link_source = sd_event_source_disable_unref(h->link_source);
	close_fd(&h->link);
	h->up = h->tells = false;
	h->asked = 0;
	for (unsigned i = 0; i < VGPU_COMMAND_SLOTS; i++)
		if (s->commands.slots[i].busy && s->commands.slots[i].code == VGPU_COMMAND_DEVICE)
			command_reply(s, i, VGPU_RESULT_NO_HOST, NULL);
	device_host_answers(s, false);
	if (try_again_later(s) < 0)
		log_error("no timer: the mediator stays lost");
}

void host_monitor(struct stub *s)
{
	struct link_monitor m = { .header = { LINK_MAGIC, LINK_MONITOR, 0, sizeof(m), 0 } };

	m.there = s->server.fd >= 0;
	if (s->host.tells) // what is not sent is a link that is being lost
		seqpacket_send(s->host.link, &m, sizeof(m), NULL, 0, MSG_DONTWAIT);
}

static bool take_hello(struct stub *s, const struct link_hello_ok *m)
{
	struct host *h = &s->host;

	if (!(m->features & LINK_FEATURE_VM)) {
		lose(s, "it is too old: it knows no virtual machines");
		return true;
	}
	h->up = true;
	h->complained = false;
	h->pause_us = PAUSE_MIN_US;
	s->registers.tenant_id = m->tenant_id;
	s->registers.weight = m->weight;
	s->registers.memory_quota = m->memory_quota;
	s->identity.setup.memory_bytes = m->memory_quota;
	h->tells = m->features & LINK_FEATURE_PERSONALITY;
	if (!h->tells)
		identity_tell(&s->identity, false, "");
	host_monitor(s);
	log_info("mediator %s answers: tenant %u, weight %u", s->tenant_path, m->tenant_id, m->weight);
	device_host_answers(s, true);
	return true;
}

static void take_vm(struct stub *s, struct link_vm *m)
{
	m->vm[sizeof(m->vm) - 1] = '\0';
	identity_tell(&s->identity, m->personality == LINK_PERSONALITY_NVIDIA, m->vm);
}

static void tell_registers(struct stub *s, uint32_t cookie)
{
	static struct link_registers m; // large for a stack
	unsigned at = 0;
	bool more;

	do {
		more = identity_registers(&s->identity, cookie, &at, &m);
		if (seqpacket_send(s->host.link, &m, m.header.length, NULL, 0, MSG_DONTWAIT) < 0)
			return; // the mediator gives up waiting
	} while (more);
}

static bool handle_packet(struct stub *s, union host_packet *p, size_t n)
{
	if (n < sizeof(p->header) || p->header.magic != LINK_MAGIC || p->header.length != n)
		return false;
	switch (p->header.type) {
	case LINK_HELLO_OK: // perhaps twice, by a mediator that took the other's place
		return n == sizeof(p->hello) && (s->host.up || take_hello(s, &p->hello));
	case LINK_DEVICE_ROWS:
		if (n < offsetof(struct link_device_rows, process))
			return false;
		take_answer(s, p, n);
		return true;
	case LINK_VM:
		if (n != sizeof(p->vm) || !s->host.up)
			return false;
		take_vm(s, &p->vm);
		return true;
	case LINK_REGISTERS_ASK:
		if (n != sizeof(p->header) || !s->host.up)
			return false;
		tell_registers(s, p->header.cookie);
		return true;
	case LINK_DEVICE_STATE: take_answer(s, p, n); return true;
	case LINK_ERROR:
		if (n != sizeof(p->error) || !p->header.cookie || p->header.cookie != s->host.asked)
			return false;
		take_answer(s, p, n);
		return true;
	default: return false;
	}
}

static int on_link(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct stub *s = userdata;

	(void)source;
	(void)fd;
	(void)events;
	for (int i = 0; i < PACKETS_A_ROUND && s->host.link >= 0; i++) {
		union host_packet packet;
		int fds[SEQPACKET_MAX_FDS];
		unsigned n_fds;
		int n = seqpacket_recv(s->host.link, &packet, sizeof(packet), fds, &n_fds, MSG_DONTWAIT);

		if (n == -EAGAIN)
			break;
		for (unsigned k = 0; k < n_fds; k++)
			close_fd(&fds[k]);
		if (n <= 0)
			lose(s, "the connection was closed");
		else if (!handle_packet(s, &packet, (size_t)n))
			lose(s, "it said something unexpected");
	}
	return 0;
}

static int connect_now(struct stub *s)
{
	struct link_hello m = {
		.header = { LINK_MAGIC, LINK_HELLO, 0, sizeof(m), 1 },
		.version_min = LINK_VERSION,
		.version_max = LINK_VERSION,
		.features = LINK_FEATURE_VM | LINK_FEATURE_PERSONALITY,
	};
	struct host *h = &s->host;
	int r;

	h->link = seqpacket_connect_now(s->tenant_path);
	if (h->link < 0)
		return h->link;
	r = sd_event_add_io(s->event, &h->link_source, h->link, EPOLLIN, on_link, s);
	return r < 0 ? r : seqpacket_send(h->link, &m, sizeof(m), NULL, 0, MSG_DONTWAIT);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct stub *s = userdata;
	int r = connect_now(s);

	(void)source;
	(void)usec;
	if (r < 0)
		lose(s, strerror(-r));
	return 0;
}

static int try_again_later(struct stub *s)
{
	struct host *h = &s->host;
	uint64_t at = clock_now_ns() / NSEC_PER_USEC + h->pause_us;

	h->pause_us = h->pause_us * 2 < PAUSE_MAX_US ? h->pause_us * 2 : PAUSE_MAX_US;
	sd_event_source_set_time(h->timer, at);
	return sd_event_source_set_enabled(h->timer, SD_EVENT_ONESHOT);
}

int host_start(struct stub *s)
{
	return sd_event_add_time(s->event, &s->host.timer, CLOCK_MONOTONIC, 0, 1000, on_time, s);
}
