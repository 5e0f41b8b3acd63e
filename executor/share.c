// SPDX-License-Identifier: Apache-2.0
// Sharing; see the header. Handlers of mem_share, vm_share, vm_import, event_share and event_open. Called by
// the generated dispatch in the executor's loop.
#include "executor/share.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/seqpacket.h"
#include "executor/executor.h"
#include "executor/objects.h"
#include "executor/work.h"
#include "protocol/cuda/cuda_abi.h"

// The mediator's one loop takes microseconds, but it may be away: then the next one answers, or the link is
// closed.
#define ANSWER_NS (30 * NSEC_PER_SEC)

struct share_owned {
	LIST_ENTRY(share_owned) link;
	uint64_t key[2], address;
};

// ---- the link

static struct link_header header_of(uint16_t type, uint16_t n_fds, uint32_t length, uint32_t cookie)
{
	return (struct link_header){ LINK_MAGIC, type, n_fds, length, cookie };
}

static bool is_answer(const struct link_shared *m, int n, unsigned n_fds, uint32_t cookie)
{
	return n == (int)sizeof(*m) && m->header.magic == LINK_MAGIC && m->header.type == LINK_SHARED &&
	       m->header.cookie == cookie && n_fds <= 1;
}

// The next packet of the link: 1 with the answer in *ret and its fd, 0: another one (a WAKE, which needs no
// reading: the loop looks at the turn page in each round), -errno.
static int receive(struct executor *x, uint32_t cookie, struct link_shared *ret, int *ret_fd)
{
	union {
		struct link_shared shared;
		char bytes[LINK_MAX_PACKET];
	} packet;
	int fds[SEQPACKET_MAX_FDS];
	unsigned n_fds;
	int n = seqpacket_recv(x->link, &packet, sizeof(packet), fds, &n_fds, MSG_DONTWAIT);

	if (n <= 0)
		return n == -EAGAIN ? 0 : n ? n : -EPIPE;
	if (is_answer(&packet.shared, n, n_fds, cookie)) {
		*ret = packet.shared;
		*ret_fd = n_fds ? fds[0] : -1;
		return 1;
	}
	for (unsigned i = 0; i < n_fds; i++)
		close_fd(&fds[i]);
	return 0;
}

// Sends a packet that begins with a header, and waits for its answer. *ret_fd is the caller's, -1: none came.
// CUresult.
static int32_t ask(struct executor *x, void *packet, size_t bytes, uint16_t type, int fd,
		   struct link_shared *ret, int *ret_fd)
{
	uint32_t cookie = ++x->share.cookie;
	uint64_t end = clock_now_ns() + ANSWER_NS;
	int r;

	*ret_fd = -1;
	if (x->link < 0)
		return CUDA_ERROR_NOT_SUPPORTED;
	*(struct link_header *)packet = header_of(type, fd >= 0, (uint32_t)bytes, cookie);
	r = seqpacket_send(x->link, packet, bytes, &fd, fd >= 0, 0);
	while (!r) {
		struct pollfd p = { .fd = x->link, .events = POLLIN };
		uint64_t now = clock_now_ns();

		if (now >= end)
			r = -ETIMEDOUT;
		else if (poll(&p, 1, (int)((end - now) / NSEC_PER_MSEC) + 1) < 0 && errno != EINTR)
			r = -errno;
		else
			r = receive(x, cookie, ret, ret_fd);
	}
	if (r < 0) {
		log_warning("asking the mediator about shared memory: %s", strerror(-r));
		return r == -EPROTO ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_OPERATING_SYSTEM;
	}
	switch (ret->code) {
	case LINK_SHARE_OK: return CUDA_SUCCESS;
	case LINK_SHARE_UNKNOWN: return CUDA_ERROR_INVALID_VALUE;
	default: return CUDA_ERROR_OUT_OF_MEMORY;
	}
}

// Shares what the backend named, and takes its fd over; key is new.
static int32_t ask_share(struct executor *x, struct backend_share *share, uint64_t bytes, uint64_t key[2])
{
	struct link_share m = { .bytes = bytes };
	struct link_shared answer;
	int32_t result = CUDA_ERROR_OPERATING_SYSTEM;
	int fd;

	static_assert(sizeof(m.data) == sizeof(share->data), "one name");
	if (getrandom(m.key, sizeof(m.key), 0) == (ssize_t)sizeof(m.key)) {
		memcpy(m.data, share->data, sizeof(m.data));
		result = ask(x, &m, sizeof(m), LINK_SHARE, share->fd, &answer, &fd);
		close_fd(&fd);
	}
	close_fd(&share->fd);
	if (!result)
		memcpy(key, m.key, sizeof(m.key));
	return result;
}

// ret->fd is the caller's.
static int32_t ask_take(struct executor *x, const uint64_t key[2], struct backend_share *ret,
			uint64_t *ret_bytes)
{
	struct link_take m = { .key = { key[0], key[1] } };
	struct link_shared answer;
	int32_t result = ask(x, &m, sizeof(m), LINK_TAKE, -1, &answer, &ret->fd);

	if (result) {
		close_fd(&ret->fd);
		return result;
	}
	memcpy(ret->data, answer.data, sizeof(ret->data));
	*ret_bytes = answer.bytes;
	return CUDA_SUCCESS;
}

// Whether others still use what we owned.
static bool ask_drop(struct executor *x, const uint64_t key[2], bool owner)
{
	struct link_drop m = { .key = { key[0], key[1] }, .owner = owner };
	struct link_shared answer = { 0 };
	int fd;
	int32_t result = ask(x, &m, sizeof(m), LINK_DROP, -1, &answer, &fd);

	close_fd(&fd);
	return !result && answer.in_use;
}

// ---- memory of ours

static struct share_owned *owned_at(struct executor *x, uint64_t address)
{
	struct share_owned *s;

	LIST_FOREACH (s, &x->share.owned, link)
		if (s->address == address)
			break;
	return s;
}

static bool owns(struct executor *x, const uint64_t key[2])
{
	const struct share_owned *s;

	LIST_FOREACH (s, &x->share.owned, link)
		if (s->key[0] == key[0] && s->key[1] == key[1])
			return true;
	return false;
}

static bool mapping_is_shared(void *opaque, uint64_t address)
{
	return owned_at(opaque, address);
}

static bool mapping_gone(struct executor *x, uint64_t address)
{
	struct share_owned *s = owned_at(x, address);
	bool in_use;

	if (!s)
		return false;
	in_use = ask_drop(x, s->key, true);
	LIST_REMOVE(s, link);
	free(s);
	return in_use;
}

static bool key_gone(struct executor *x, struct share_key *k)
{
	bool in_use = k->kind != SHARE_NONE && ask_drop(x, k->key, k->kind == SHARE_OWNED);

	k->kind = SHARE_NONE;
	return in_use;
}

static bool memory_gone(void *opaque, uint64_t address, struct physical *p)
{
	return p ? key_gone(opaque, &p->share) : mapping_gone(opaque, address);
}

// A new share of a mapping.
static int32_t share_mapping_new(struct executor *x, uint64_t base, uint64_t size, struct share_owned **ret)
{
	struct share_owned *s = calloc(1, sizeof(*s));
	struct backend_share share;
	int32_t result;

	if (!s)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = x->ops->mem_export(x->backend, base, size, &share);
	if (!result)
		result = ask_share(x, &share, size, s->key);
	if (result) {
		free(s);
		return result == CUDA_ERROR_NOT_READY ? RESULT_AGAIN : result;
	}
	s->address = base;
	LIST_INSERT_HEAD(&x->share.owned, s, link);
	*ret = s;
	return CUDA_SUCCESS;
}

int32_t on_mem_share(struct executor *x, const struct record_mem_share *r, struct reply_mem_share *ret)
{
	int32_t result = executor_ready(x);
	struct share_owned *s;
	uint64_t base, size;

	if (result)
		return result;
	if (!x->memory.granule)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (!memory_mapping_of(&x->memory, r->address, &base, &size))
		return CUDA_ERROR_INVALID_VALUE;
	s = owned_at(x, base);
	if (!s)
		result = share_mapping_new(x, base, size, &s);
	if (result)
		return result;
	memcpy(ret->key, s->key, sizeof(ret->key));
	ret->offset = r->address - base;
	ret->size = size;
	return CUDA_SUCCESS;
}

// ---- memory without an address

static int32_t share_key_new(struct executor *x, struct backend_share *share, uint64_t bytes,
			     struct share_key *k)
{
	int32_t result = ask_share(x, share, bytes, k->key);

	if (!result)
		k->kind = SHARE_OWNED;
	return result;
}

int32_t on_vm_share(struct executor *x, const struct record_vm_share *r, struct physical *p,
		    struct reply_vm_share *ret)
{
	struct backend_share share;
	int32_t result = executor_ready(x);

	(void)r;
	if (!result && p->share.kind == SHARE_NONE) {
		result = x->ops->physical_export(x->backend, p->backend, &share);
		if (!result)
			result = share_key_new(x, &share, p->size, &p->share);
	}
	memcpy(ret->key, p->share.key, sizeof(ret->key));
	return result;
}

static int32_t import(struct executor *x, struct backend_share *share, uint64_t size, struct physical **ret)
{
	struct backend_physical *made;
	int32_t result;

	if (!size || size % x->memory.granule) // an event's key, or a liar's
		return CUDA_ERROR_INVALID_VALUE;
	result = x->ops->physical_import(x->backend, share, size, &made);
	return result ? result : memory_adopt(&x->memory, made, size, ret);
}

int32_t on_vm_import(struct executor *x, const struct record_vm_import *r, struct physical **ret_physical,
		     struct reply_vm_import *ret)
{
	struct backend_share share = { .fd = -1 };
	int32_t result = executor_ready(x);

	if (result)
		return result;
	if (!x->memory.granule)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (r->others && owns(x, r->key))
		return CUDA_ERROR_INVALID_CONTEXT;
	result = ask_take(x, r->key, &share, &ret->size);
	if (result)
		return result;
	result = import(x, &share, ret->size, ret_physical);
	close_fd(&share.fd);
	if (result) {
		ask_drop(x, r->key, false);
		return result;
	}
	(*ret_physical)->share = (struct share_key){ SHARE_TAKEN, { r->key[0], r->key[1] } };
	return CUDA_SUCCESS;
}

// ---- events

int32_t on_event_share(struct executor *x, const struct record_event_share *r, struct event *event,
		       struct reply_event_share *ret)
{
	struct backend_share share;
	int32_t result = executor_ready(x);

	(void)r;
	if (result)
		return result;
	if (!event->shared)
		return CUDA_ERROR_INVALID_HANDLE;
	if (event->share.kind == SHARE_NONE) {
		result = x->ops->event_export(x->backend, event->backend, &share);
		if (!result)
			result = share_key_new(x, &share, 0, &event->share);
	}
	memcpy(ret->key, event->share.key, sizeof(ret->key));
	return result;
}

static bool owns_event(struct executor *x, const uint64_t key[2])
{
	const struct handle_entry *entries = x->handles.entries[HANDLE_EVENT];

	for (uint32_t i = 0; i < x->handles.used[HANDLE_EVENT]; i++) {
		const struct event *e = (const struct event *)entries[i].object;

		if (e && e->share.kind == SHARE_OWNED && e->share.key[0] == key[0] &&
		    e->share.key[1] == key[1])
			return true;
	}
	return false;
}

int32_t on_event_open(struct executor *x, const struct record_event_open *r, struct event **ret_event)
{
	struct backend_share share = { .fd = -1 };
	int32_t result = executor_ready(x);
	struct event *e;
	uint64_t bytes;

	if (result)
		return result;
	if (owns_event(x, r->key))
		return CUDA_ERROR_INVALID_CONTEXT;
	e = calloc(1, sizeof(*e));
	if (!e)
		return CUDA_ERROR_OUT_OF_MEMORY;
	result = ask_take(x, r->key, &share, &bytes);
	if (result) {
		free(e);
		return result;
	}
	result = bytes ? CUDA_ERROR_INVALID_VALUE // a key of memory
		       : x->ops->event_import(x->backend, &share, &e->backend);
	close_fd(&share.fd);
	if (result) {
		ask_drop(x, r->key, false);
		free(e);
		return result;
	}
	e->references = 1;
	e->shared = true;
	e->share = (struct share_key){ SHARE_TAKEN, { r->key[0], r->key[1] } };
	*ret_event = e;
	return CUDA_SUCCESS;
}

void share_event_gone(struct executor *x, struct event *e)
{
	key_gone(x, &e->share);
}

// ---- life

void share_init(struct executor *x)
{
	LIST_INIT(&x->share.owned);
	x->memory.unshare = memory_gone;
	x->memory.is_shared = mapping_is_shared;
	x->memory.unshare_opaque = x;
}
