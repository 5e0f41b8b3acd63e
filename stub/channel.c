// SPDX-License-Identifier: Apache-2.0
// Channels; see the header for the states. What mediator and executor send is checked here: an executor may
// have been taken over by its tenant, and what goes wrong then ends this channel and nothing else.
#include "stub/channel.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/seqpacket.h"
#include "protocol/host/memory_link.h"
#include "stub/device.h"
#include "stub/extents.h"

#define OPEN_COOKIE	2u
#define PACKETS_A_ROUND 16

void channel_init(struct channel *c, struct stub *s, unsigned number)
{
	*c = (struct channel){
		.stub = s,
		.number = number,
		.link = -1,
		.memory_link = -1,
		.bell_fd = -1,
		.doorbell_fd = -1,
		.pidfd = -1,
	};
}

bool channel_is_busy(const struct channel *c)
{
	return c->state == CHANNEL_OPENING || c->state == CHANNEL_OPEN || c->state == CHANNEL_ENDING;
}

// ---- the end ----

static void clear(struct channel *c)
{
	sd_event_source_disable_unref(c->link_source);
	sd_event_source_disable_unref(c->memory_source);
	sd_event_source_disable_unref(c->bell_source);
	sd_event_source_disable_unref(c->exit_source);
	close_fd(&c->link);
	close_fd(&c->memory_link);
	close_fd(&c->bell_fd);
	close_fd(&c->doorbell_fd);
	close_fd(&c->pidfd);
	dma_forget_channel(&c->stub->dma, c->number);
	channel_init(c, c->stub, c->number);
}

static void tell_ended(struct channel *c)
{
	if (c->told || c->forgotten || c->state == CHANNEL_OPENING)
		return;
	c->told = true;
	c->bell = (c->bell & VGPU_BELL_WAKE) | VGPU_BELL_ENDED |
		  (c->reason ? c->reason : LINK_E_EXECUTOR_DIED) << 16;
	command_bell(c->stub, c->number, c->bell);
}

// No executor uses the channel's memory any more. result: for an OPEN that is not answered.
static void gone(struct channel *c, enum vgpu_command_result result)
{
	struct stub *s = c->stub;
	unsigned number = c->number;
	// The guest knows of it as long as it has not closed it: of one that never opened it does not.
	bool keep = !c->forgotten && c->id && command_of_channel(s, number, VGPU_COMMAND_OPEN) < 0;
	int slot;

	log_debug("channel %u: executor is gone", number);
	if (keep)
		tell_ended(c);
	clear(c);
	if (keep)
		c->state = CHANNEL_DEAD;
	while ((slot = command_of_channel(s, number, 0)) >= 0) {
		uint32_t code = s->commands.slots[slot].code;

		if (code == VGPU_COMMAND_CLOSE)
			c->state = CHANNEL_FREE;
		command_reply(s, (unsigned)slot,
			      code == VGPU_COMMAND_CLOSE  ? VGPU_RESULT_OK
			      : code == VGPU_COMMAND_OPEN ? result
							  : VGPU_RESULT_ENDED,
			      NULL);
	}
	device_channel_gone(s);
}

// The mediator does not say so any more; see the header.
static bool gone_by_itself(struct channel *c)
{
	if (!c->link_lost || !(c->pidfd >= 0 ? c->exited : c->memory_lost))
		return false;
	gone(c, c->state == CHANNEL_OPENING ? VGPU_RESULT_NO_HOST : VGPU_RESULT_ENDED);
	return true;
}

static void ask_to_end(struct channel *c, bool at_once)
{
	struct link_channel_close m = {
		.header = { LINK_MAGIC, LINK_CHANNEL_CLOSE, 0, sizeof(m), 0 },
		.flags = at_once ? LINK_CLOSE_AT_ONCE : 0,
	};

	// What fails here shows as a lost link.
	if (c->link >= 0 && !c->killed)
		seqpacket_send(c->link, &m, sizeof(m), NULL, 0, MSG_DONTWAIT);
	c->asked = true;
	c->killed |= at_once;
}

void channel_end(struct channel *c, uint32_t reason)
{
	if (!channel_is_busy(c))
		return;
	if (!c->reason)
		c->reason = reason;
	ask_to_end(c, true);
	tell_ended(c);
	if (c->state == CHANNEL_OPEN)
		c->state = CHANNEL_ENDING;
}

void channel_forget(struct channel *c)
{
	c->forgotten = true;
	channel_end(c, LINK_E_SHUTDOWN);
	if (c->state == CHANNEL_DEAD || c->state == CHANNEL_FREE)
		channel_init(c, c->stub, c->number);
}

static void lose_link(struct channel *c)
{
	c->link_source = sd_event_source_disable_unref(c->link_source);
	close_fd(&c->link);
	c->link_lost = true;
	if (!c->reason)
		c->reason = LINK_E_SHUTDOWN;
	tell_ended(c);
	if (c->state == CHANNEL_OPEN)
		c->state = CHANNEL_ENDING;
	gone_by_itself(c);
}

static int on_executor_exit(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct channel *c = userdata;

	(void)fd;
	(void)events;
	sd_event_source_set_enabled(source, SD_EVENT_OFF);
	c->exited = true;
	gone_by_itself(c);
	return 0;
}

// ---- what the mediator says ----

static enum vgpu_command_result result_of(uint32_t code)
{
	switch (code) {
	case LINK_E_VERSION: return VGPU_RESULT_INVALID;
	case LINK_E_LIMIT: return VGPU_RESULT_LIMIT;
	case LINK_E_BACKEND: return VGPU_RESULT_BACKEND;
	case LINK_E_SHUTDOWN: return VGPU_RESULT_NO_HOST;
	case LINK_E_QUARANTINED: return VGPU_RESULT_QUARANTINED;
	case LINK_E_DEVICE_LOST: return VGPU_RESULT_DEVICE_LOST;
	case LINK_E_DRAINING: return VGPU_RESULT_DRAINING;
	case LINK_E_PERMISSION: return VGPU_RESULT_PROTOCOL;
	default: return VGPU_RESULT_INTERNAL;
	}
}

static void reply_open(struct channel *c, const struct link_channel_ok *ok)
{
	const struct link_geometry *g = &ok->geometry;
	struct vgpu_reply reply = { .open = { .channel_id = ok->channel_id,
					      .tenant_id = c->stub->registers.tenant_id } };
	int slot = command_of_channel(c->stub, c->number, VGPU_COMMAND_OPEN);

	static_assert(sizeof(reply.open.geometry) == sizeof(*g), "the same in both");
	memcpy(&reply.open.geometry, g, sizeof(*g));
	if (slot >= 0)
		command_reply(c->stub, (unsigned)slot, VGPU_RESULT_OK, &reply);
}

static bool take_ok(struct channel *c, const struct link_channel_ok *ok, int *fds)
{
	if (c->id) // once more, by a mediator that took the other's place
		return ok->channel_id == c->id;
	if (!ok->channel_id || ok->geometry.channel_bytes != VGPU_VM_CHANNEL_BYTES ||
	    ok->geometry.arena_bytes != c->arena_bytes)
		return false;
	if (sd_event_add_io(c->stub->event, &c->exit_source, fds[1], EPOLLIN, on_executor_exit, c) < 0)
		return false;
	c->doorbell_fd = take_fd(&fds[0]);
	c->pidfd = take_fd(&fds[1]);
	c->id = ok->channel_id;
	if (c->asked) { // meanwhile
		c->state = CHANNEL_ENDING;
		return true;
	}
	c->state = CHANNEL_OPEN;
	reply_open(c, ok);
	return true;
}

union link_packet {
	struct link_header header;
	struct link_hello_ok hello;
	struct link_channel_ok ok;
	struct link_channel_lost lost;
	struct link_error error;
	char bytes[LINK_MAX_PACKET];
};

static void refused(struct channel *c, const struct link_error *e)
{
	char text[LINK_TEXT_BYTES];

	log_sanitize(text, sizeof(text), e->text, sizeof(e->text));
	log_warning("channel %u: the mediator refused it: %s", c->number, text);
	c->reason = e->code;
	if (e->header.cookie == OPEN_COOKIE && !c->id)
		gone(c, c->asked ? VGPU_RESULT_ENDED : result_of(e->code));
}

static void lost(struct channel *c, const struct link_channel_lost *m)
{
	char text[LINK_TEXT_BYTES];

	log_sanitize(text, sizeof(text), m->text, sizeof(m->text));
	if (c->state == CHANNEL_OPEN) {
		log_info("channel %u ended: %s", c->number, text);
		c->state = CHANNEL_ENDING;
		c->reason = m->code < 0x10000 ? m->code : LINK_E_INTERNAL;
		tell_ended(c);
	}
}

// False: not what may come now.
static bool handle_packet(struct channel *c, const union link_packet *p, size_t n, int *fds, unsigned n_fds)
{
	if (n < sizeof(p->header) || p->header.magic != LINK_MAGIC || p->header.length != n ||
	    p->header.n_fds != n_fds)
		return false;
	switch (p->header.type) {
	case LINK_HELLO_OK: return n == sizeof(p->hello) && p->hello.features & LINK_FEATURE_VM;
	case LINK_CHANNEL_OK: return n == sizeof(p->ok) && n_fds == 2 && take_ok(c, &p->ok, fds);
	case LINK_CHANNEL_LOST:
		if (n == sizeof(p->lost))
			lost(c, &p->lost);
		return n == sizeof(p->lost);
	case LINK_ERROR:
		if (n == sizeof(p->error))
			refused(c, &p->error);
		return n == sizeof(p->error);
	case LINK_CHANNEL_GONE: gone(c, VGPU_RESULT_ENDED); return true;
	default: return false;
	}
}

static int on_link(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct channel *c = userdata;

	(void)source;
	(void)fd;
	(void)events;
	for (int i = 0; i < PACKETS_A_ROUND && c->link >= 0; i++) {
		union link_packet packet;
		int fds[SEQPACKET_MAX_FDS];
		unsigned n_fds;
		int n = seqpacket_recv(c->link, &packet, sizeof(packet), fds, &n_fds, MSG_DONTWAIT);
		bool good;

		if (n == -EAGAIN)
			break;
		good = n > 0 && handle_packet(c, &packet, (size_t)n, fds, n_fds);
		for (unsigned k = 0; k < n_fds; k++)
			close_fd(&fds[k]);
		if (!good)
			lose_link(c);
	}
	return 0;
}

// ---- what the executor says ----

static enum vgpu_command_result result_of_memory(uint32_t result)
{
	switch (result) {
	case MEMORY_OK: return VGPU_RESULT_OK;
	case MEMORY_INVALID: return VGPU_RESULT_INVALID;
	case MEMORY_LIMIT: return VGPU_RESULT_LIMIT;
	case MEMORY_ADDRESS: return VGPU_RESULT_ADDRESS;
	default: return VGPU_RESULT_INTERNAL;
	}
}

static bool done(struct channel *c, const struct memory_done *m, size_t n)
{
	int slot;

	if (n != sizeof(*m) || m->header.magic != LINK_MAGIC || m->header.type != MEMORY_DONE)
		return false;
	slot = command_of_cookie(c->stub, m->header.cookie);
	if (slot < 0 || c->stub->commands.slots[slot].channel != c->number)
		return c->forgotten; // of a command that nobody remembers
	command_reply(c->stub, (unsigned)slot, result_of_memory(m->result), NULL);
	return true;
}

static int on_memory(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct channel *c = userdata;

	(void)source;
	(void)fd;
	(void)events;
	for (int i = 0; i < PACKETS_A_ROUND && c->memory_link >= 0; i++) {
		struct memory_done m;
		int fds[SEQPACKET_MAX_FDS];
		unsigned n_fds;
		int n = seqpacket_recv(c->memory_link, &m, sizeof(m), fds, &n_fds, MSG_DONTWAIT);

		if (n == -EAGAIN)
			break;
		for (unsigned k = 0; k < n_fds; k++)
			close_fd(&fds[k]);
		if (n > 0 && !n_fds && done(c, &m, (size_t)n))
			continue;
		c->memory_source = sd_event_source_disable_unref(c->memory_source);
		if (n == 0 || n == -ECONNRESET) {
			c->memory_lost = true;
			gone_by_itself(c);
		} else {
			log_warning("channel %u: the executor broke the memory link", c->number);
			channel_end(c, LINK_E_EXECUTOR_DIED);
		}
		break;
	}
	return 0;
}

static int on_bell(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct channel *c = userdata;
	uint64_t rings;

	(void)source;
	(void)events;
	if (read(fd, &rings, sizeof(rings)) != sizeof(rings) || c->forgotten || c->told)
		return 0;
	c->bell ^= VGPU_BELL_WAKE;
	command_bell(c->stub, c->number, c->bell);
	return 0;
}

void channel_doorbell(const struct channel *c)
{
	static const uint64_t one = 1;

	// A full counter is rung already.
	if (c->state == CHANNEL_OPEN)
		(void)!write(c->doorbell_fd, &one, sizeof(one));
}

// ---- OPEN ----

// The guest's process is who asks: the link says its library.
static int say_hello(const struct channel *c, uint32_t library)
{
	struct link_hello m = {
		.header = { LINK_MAGIC, LINK_HELLO, 0, sizeof(m), 1 },
		.version_min = LINK_VERSION,
		.version_max = LINK_VERSION,
		.features = LINK_FEATURE_VM | link_library_features(library),
	};

	return seqpacket_send(c->link, &m, sizeof(m), NULL, 0, MSG_DONTWAIT);
}

static int ask_to_open(const struct channel *c, const struct vgpu_command_open *o, const struct extents *e,
		       int their_memory_link)
{
	unsigned n_fds = 3 + e->n_files;
	struct link_channel_open_vm m = {
		.header = { LINK_MAGIC, LINK_CHANNEL_OPEN_VM, (uint16_t)n_fds, sizeof(m), OPEN_COOKIE },
		.channel_bytes = o->channel_bytes,
		.arena_bytes = o->arena_bytes,
		.extents = e->n,
		.pid = o->pid,
	};
	int fds[SEQPACKET_MAX_FDS] = { c->bell_fd, their_memory_link, e->list };

	memcpy(m.name, o->name, sizeof(m.name));
	memcpy(fds + 3, e->fds, e->n_files * sizeof(fds[0]));
	return seqpacket_send(c->link, &m, sizeof(m), fds, n_fds, MSG_DONTWAIT);
}

static int watch(struct channel *c)
{
	sd_event *event = c->stub->event;
	int r = sd_event_add_io(event, &c->link_source, c->link, EPOLLIN, on_link, c);

	if (r >= 0)
		r = sd_event_add_io(event, &c->memory_source, c->memory_link, EPOLLIN, on_memory, c);
	return r < 0 ? r : sd_event_add_io(event, &c->bell_source, c->bell_fd, EPOLLIN, on_bell, c);
}

static int connect_mediator(struct channel *c, const struct vgpu_command_open *o, const struct extents *e)
{
	cleanup_fd int theirs = -1;
	int pair[2], r;

	c->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->bell_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	c->memory_link = pair[0];
	theirs = pair[1];
	c->link = seqpacket_connect_now(c->stub->tenant_path);
	if (c->link < 0)
		return c->link;
	r = say_hello(c, o->library);
	if (!r)
		r = ask_to_open(c, o, e, theirs);
	return r < 0 ? r : watch(c);
}

enum vgpu_command_result channel_open(struct channel *c, const struct vgpu_command_open *o)
{
	struct dma *d = &c->stub->dma;
	enum vgpu_command_result result;
	struct extents e;
	int r;

	if (c->state != CHANNEL_FREE)
		return VGPU_RESULT_INVALID;
	if (!(c->stub->registers.status & VGPU_STATUS_READY))
		return VGPU_RESULT_NO_HOST;
	if (extents_init(&e) < 0)
		return VGPU_RESULT_INTERNAL;
	result = extents_add(&e, d, c->number, o->list, o->channel_extents, o->channel_bytes);
	if (!result)
		result =
		    extents_add(&e, d, c->number, o->list + o->channel_extents * sizeof(struct vgpu_extent),
				o->arena_extents, o->arena_bytes);
	r = result ? 0 : connect_mediator(c, o, &e);
	extents_done(&e);
	if (result || r < 0) {
		if (r < 0)
			log_warning("channel %u: mediator %s: %s", c->number, c->stub->tenant_path,
				    strerror(-r));
		clear(c);
		return result			      ? result
		       : r == -EMFILE || r == -ENFILE ? VGPU_RESULT_LIMIT
						      : VGPU_RESULT_NO_HOST;
	}
	c->arena_bytes = o->arena_bytes;
	c->state = CHANNEL_OPENING;
	return VGPU_RESULT_OK;
}

// ---- CLOSE, MAP, UNMAP ----

enum vgpu_command_result channel_close(struct channel *c, unsigned slot)
{
	switch (c->state) {
	case CHANNEL_FREE: return VGPU_RESULT_INVALID;
	case CHANNEL_DEAD:
		channel_init(c, c->stub, c->number);
		command_reply(c->stub, slot, VGPU_RESULT_OK, NULL);
		break;
	case CHANNEL_OPEN: c->state = CHANNEL_ENDING; c->told = true; // fallthrough
	case CHANNEL_OPENING:
	case CHANNEL_ENDING: ask_to_end(c, false); break;
	}
	return VGPU_RESULT_OK;
}

static enum vgpu_command_result send_request(struct channel *c, unsigned slot, uint32_t cookie,
					     const void *packet, size_t bytes, const int *fds, unsigned n_fds)
{
	int r = seqpacket_send(c->memory_link, packet, bytes, fds, n_fds, MSG_DONTWAIT);

	if (r == -EPIPE || r == -ECONNRESET)
		return VGPU_RESULT_ENDED;
	if (r < 0)
		return VGPU_RESULT_LIMIT;
	c->stub->commands.slots[slot].cookie = cookie;
	return VGPU_RESULT_OK;
}

static enum vgpu_command_result may_ask(const struct channel *c)
{
	if (c->state == CHANNEL_FREE || c->state == CHANNEL_OPENING)
		return VGPU_RESULT_INVALID;
	return c->state == CHANNEL_OPEN ? VGPU_RESULT_OK : VGPU_RESULT_ENDED;
}

enum vgpu_command_result channel_map(struct channel *c, unsigned slot, const struct vgpu_command_map *map)
{
	enum vgpu_command_result result = may_ask(c);
	int fds[SEQPACKET_MAX_FDS];
	struct memory_map m = { .address = map->address, .bytes = map->bytes };
	struct extents e;

	if (result)
		return result;
	if (extents_init(&e) < 0)
		return VGPU_RESULT_INTERNAL;
	result = extents_add(&e, &c->stub->dma, c->number, map->list, map->extents, map->bytes);
	if (!result) {
		m.header = (struct link_header){ LINK_MAGIC, MEMORY_MAP, (uint16_t)(1 + e.n_files), sizeof(m),
						 command_new_cookie(c->stub) };
		m.extents = e.n;
		fds[0] = e.list;
		memcpy(fds + 1, e.fds, e.n_files * sizeof(fds[0]));
		result = send_request(c, slot, m.header.cookie, &m, sizeof(m), fds, 1 + e.n_files);
	}
	extents_done(&e);
	return result;
}

enum vgpu_command_result channel_unmap(struct channel *c, unsigned slot, const struct vgpu_command_unmap *u)
{
	enum vgpu_command_result result = may_ask(c);
	struct memory_unmap m = {
		.header = { LINK_MAGIC, MEMORY_UNMAP, 0, sizeof(m), command_new_cookie(c->stub) },
		.address = u->address,
	};

	return result ? result : send_request(c, slot, m.header.cookie, &m, sizeof(m), NULL, 0);
}
