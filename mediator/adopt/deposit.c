// SPDX-License-Identifier: Apache-2.0
// Checks of kept records; see the header. Pure: used by adopt.c in the mediator's start, and by the unit
// tests. The keeper is trusted with the descriptors, but not with our arithmetic.
#include "mediator/adopt/deposit.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "mediator/channel.h"

#define BIT(place) (1u << (place))

static bool is_text(const char *text, size_t n)
{
	return memchr(text, 0, n) != NULL;
}

static bool is_uuid(const char *text, size_t n)
{
	char same[VM_UUID_BYTES];

	return is_text(text, n) && vm_uuid_parse(text, same) && strcmp(text, same) == 0;
}

// What the scheduler divides by or takes for granted.
static bool is_policy(const struct policy *p)
{
	const uint64_t *v = p->value;

	return v[POLICY_WEIGHT] >= VGPU_MIN_WEIGHT && v[POLICY_WEIGHT] <= VGPU_MAX_WEIGHT &&
	       v[POLICY_CLASS] <= POLICY_CLASS_LATENCY && v[POLICY_GPU_CAP] <= 10000 &&
	       v[POLICY_SHARE] <= 10000 && v[POLICY_LAUNCHES_PER_S] <= VGPU_MAX_RATE &&
	       v[POLICY_COPY_PER_S] <= VGPU_TIB(1) && v[POLICY_QUEUE_DEPTH] <= VGPU_MAX_QUEUE_DEPTH &&
	       v[POLICY_CHANNELS] <= VGPU_MAX_CHANNELS_PER_TENANT && v[POLICY_OBJECTS] <= 10000 &&
	       v[POLICY_STRIKES] <= 64 && v[POLICY_TURN] <= 10 * NSEC_PER_SEC &&
	       v[POLICY_PERSONALITY] <= POLICY_PERSONALITY_NVIDIA &&
	       v[POLICY_PROTOCOL] <= POLICY_PROTOCOL_CUDA && !(p->given >> POLICY_ITEMS);
}

static const char *check_pool(const union deposit *r, uint64_t id, uint32_t places)
{
	const struct deposit_pool *p = &r->pool;

	(void)id;
	(void)places;
	if (!is_text(p->name, sizeof(p->name)) || !p->name[0] || strlen(p->name) > VGPU_MAX_POLICY_NAME ||
	    !is_text(p->gpu, sizeof(p->gpu)) || strlen(p->gpu) > VGPU_MAX_POLICY_NAME)
		return "POOL: name or uuid (VGPU_MAX_POLICY_NAME)";
	return is_policy(&p->policy) ? NULL : "POOL: a policy out of range";
}

static const char *check_daemon(const union deposit *r, uint64_t id, uint32_t places)
{
	const struct deposit_daemon *d = &r->daemon;

	if (id || !(places & BIT(DAEMON_LISTENER)))
		return "DAEMON: without a listener, or not the one";
	if (!is_text(d->path, sizeof(d->path)) || !is_text(d->backend_name, sizeof(d->backend_name)) ||
	    !is_text(d->device_name, sizeof(d->device_name)))
		return "DAEMON: text without an end";
	if (d->draining > 1)
		return "DAEMON: draining is 0 or 1";
	return d->reserved2 ? "DAEMON: reserved field not zero" : NULL;
}

static const char *check_tenant(const union deposit *r, uint64_t id, uint32_t places)
{
	const uint32_t known =
	    DEPOSIT_TENANT_FOR_UID | DEPOSIT_TENANT_REMOVED | DEPOSIT_TENANT_USED | DEPOSIT_TENANT_FRESH;
	const struct deposit_tenant *t = &r->tenant;

	if (!t->id || t->id != id)
		return "TENANT: id";
	if (!is_policy(&t->policy))
		return "TENANT: a policy out of range";
	if (!is_text(t->name, sizeof(t->name)) || !t->name[0] || !is_text(t->path, sizeof(t->path)) ||
	    !is_text(t->pool, sizeof(t->pool)))
		return "TENANT: text without an end, or no name";
	if (t->flags & ~known || t->by_hand >> (POLICY_ITEMS + 1))
		return "TENANT: unknown flags";
	if (t->vm[0] && (!is_uuid(t->vm, sizeof(t->vm)) || t->flags & DEPOSIT_TENANT_FOR_UID))
		return "TENANT: a VM that is none";
	if ((places & (BIT(TENANT_PAGE) | BIT(TENANT_BOOKS))) != (BIT(TENANT_PAGE) | BIT(TENANT_BOOKS)))
		return "TENANT: without its pages";
	if (places & BIT(TENANT_LISTENER) && (t->flags & DEPOSIT_TENANT_FOR_UID || !t->path[0]))
		return "TENANT: a socket that it cannot have";
	return NULL;
}

static const char *check_session(const union deposit *r, uint64_t id, uint32_t places)
{
	const uint32_t known = DEPOSIT_SESSION_OPERATOR | DEPOSIT_SESSION_READY | DEPOSIT_SESSION_VM |
			       DEPOSIT_SESSION_STATUS | DEPOSIT_SESSION_DEVICE | DEPOSIT_SESSION_CARD |
			       DEPOSIT_SESSION_PERSONALITY | DEPOSIT_SESSION_MONITOR;
	const struct deposit_session *s = &r->session;

	if (!s->id || s->id != id || !s->tenant)
		return "SESSION: id";
	if (s->flags & ~known || s->library >= LINK_LIBRARIES)
		return "SESSION: unknown flags";
	return places & BIT(SESSION_SOCKET) ? NULL : "SESSION: without its socket";
}

static const char *check_channel(const union deposit *r, uint64_t id, uint32_t places)
{
	const uint32_t known =
	    DEPOSIT_CHANNEL_ANSWERED | DEPOSIT_CHANNEL_LOST_SAID | DEPOSIT_CHANNEL_VM | DEPOSIT_CHANNEL_FRESH;
	const uint32_t needed = BIT(CHANNEL_PIDFD) | BIT(CHANNEL_OUTPUT) | BIT(CHANNEL_DOORBELL) |
				BIT(CHANNEL_KICK) | BIT(CHANNEL_TURN_PAGE);
	const uint32_t memory = BIT(CHANNEL_MEMORY) | BIT(CHANNEL_WINDOW);
	const struct deposit_channel *c = &r->channel;

	if (!c->id || c->id != id || !c->tenant)
		return "CHANNEL: id";
	if (c->state > CHANNEL_KILLED || c->flags & ~known)
		return "CHANNEL: unknown state or flags";
	if (c->reason > UINT16_MAX || !is_text(c->text, sizeof(c->text)) ||
	    !is_text(c->vm_name, sizeof(c->vm_name)))
		return "CHANNEL: reason out of range, or text without an end";
	if (c->library >= LINK_LIBRARIES || c->reserved)
		return "CHANNEL: library";
	if (c->place >= VGPU_MAX_CHANNELS_PER_TENANT)
		return "CHANNEL: place (VGPU_MAX_CHANNELS_PER_TENANT)";
	if ((places & needed) != needed)
		return "CHANNEL: without its descriptors";
	if (c->state <= CHANNEL_SERVING && !(places & BIT(CHANNEL_LINK)))
		return "CHANNEL: without a link to its executor";
	// Who is still to be answered is to be given these.
	if (!(c->flags & (DEPOSIT_CHANNEL_ANSWERED | DEPOSIT_CHANNEL_VM)) && (places & memory) != memory)
		return "CHANNEL: without its memory";
	return NULL;
}

static const char *check_share(const union deposit *r, uint64_t id, uint32_t places)
{
	const struct deposit_share *s = &r->share;

	(void)places;
	if (!s->id || s->id != id || !s->tenant)
		return "SHARE: id";
	if (s->bytes > VGPU_WINDOW_BYTES)
		return "SHARE: more bytes than there are addresses";
	if (s->reserved)
		return "SHARE: reserved field not zero";
	if (!s->owner && !s->n_uses)
		return "SHARE: nobody's";
	for (uint32_t i = 0; i < s->n_uses; i++)
		if (!s->uses[i].channel || !s->uses[i].count || s->uses[i].count > VGPU_MAX_SHARE_USES)
			return "SHARE: a use of nobody's, or more than VGPU_MAX_SHARE_USES";
	return NULL;
}

static const char *check_warm(const union deposit *r, uint64_t id, uint32_t places)
{
	return id && r->warm.pid == id && places ? NULL : "WARM: id, or no process";
}

static const char *check_profile(const union deposit *r, uint64_t id, uint32_t places)
{
	const struct deposit_profile *p = &r->profile;

	(void)places;
	if (!id || !is_text(p->name, sizeof(p->name)) || !p->name[0] ||
	    strlen(p->name) > VGPU_MAX_POLICY_NAME)
		return "PROFILE: id, or name (VGPU_MAX_POLICY_NAME)";
	return is_policy(&p->policy) ? NULL : "PROFILE: a policy out of range";
}

static const char *check_vm(const union deposit *r, uint64_t id, uint32_t places)
{
	const struct deposit_vm *v = &r->vm;

	(void)places;
	if (!id || !is_uuid(v->uuid, sizeof(v->uuid)))
		return "VM: id or uuid";
	if (!is_text(v->name, sizeof(v->name)) || !v->name[0] || !is_text(v->pool, sizeof(v->pool)) ||
	    !is_text(v->profile, sizeof(v->profile)))
		return "VM: text without an end, or no name";
	return is_policy(&v->said) && !(v->said.given & ~POLICY_OF_VM) ? NULL : "VM: a policy out of range";
}

static const char *check_slot(const union deposit *r, uint64_t id, uint32_t places)
{
	const struct deposit_slot *s = &r->slot;

	(void)places;
	if (!id || !is_uuid(s->uuid, sizeof(s->uuid)) || (s->vm[0] && !is_uuid(s->vm, sizeof(s->vm))))
		return "SLOT: id or uuid";
	if (!is_text(s->gpu, sizeof(s->gpu)) || !s->gpu[0] || !is_text(s->profile, sizeof(s->profile)))
		return "SLOT: text without an end";
	if (s->state >= SLOT_STATES || s->flags & ~(DEPOSIT_SLOT_RESERVED | DEPOSIT_SLOT_WITH_VM) ||
	    (!s->vm[0] && (s->state || s->flags)))
		return "SLOT: state or flags";
	return NULL;
}

static const struct rule {
	size_t bytes;
	unsigned fds;
	const char *(*check)(const union deposit *r, uint64_t id, uint32_t places);
} rules[DEPOSIT_KINDS] = {
	[DEPOSIT_DAEMON] = { sizeof(struct deposit_daemon), DAEMON_FDS, check_daemon },
	[DEPOSIT_TENANT] = { sizeof(struct deposit_tenant), TENANT_FDS, check_tenant },
	[DEPOSIT_SESSION] = { sizeof(struct deposit_session), SESSION_FDS, check_session },
	[DEPOSIT_CHANNEL] = { sizeof(struct deposit_channel), CHANNEL_FDS, check_channel },
	[DEPOSIT_SHARE] = { sizeof(struct deposit_share), 1, check_share },
	[DEPOSIT_POOL] = { sizeof(struct deposit_pool), 0, check_pool },
	[DEPOSIT_PROFILE] = { sizeof(struct deposit_profile), 0, check_profile },
	[DEPOSIT_VM] = { sizeof(struct deposit_vm), 0, check_vm },
	[DEPOSIT_SLOT] = { sizeof(struct deposit_slot), 0, check_slot },
	[DEPOSIT_WARM] = { sizeof(struct deposit_warm), WARM_FDS, check_warm },
};

static size_t share_bytes(uint32_t n_uses)
{
	return offsetof(struct deposit_share, uses) + n_uses * sizeof(struct deposit_share_use);
}

uint32_t record_bytes(uint32_t kind, const union deposit *r)
{
	return (uint32_t)(kind == DEPOSIT_SHARE ? share_bytes(r->share.n_uses) : rules[kind].bytes);
}

// Its version is what a record of another one is known by, so it is looked at before its length.
static bool is_ours(const void *blob, uint32_t bytes)
{
	uint32_t versions[2];

	if (bytes < sizeof(versions))
		return false;
	memcpy(versions, blob, sizeof(versions));
	return versions[0] == DEPOSIT_VERSION && versions[1] == LINK_VERSION;
}

static bool length_is_right(uint32_t kind, const void *blob, uint32_t bytes)
{
	uint32_t n_uses;

	if (kind != DEPOSIT_SHARE)
		return bytes == rules[kind].bytes;
	if (bytes < share_bytes(0))
		return false;
	memcpy(&n_uses, (const char *)blob + offsetof(struct deposit_share, n_uses), sizeof(n_uses));
	return n_uses <= VGPU_MAX_CHANNELS_PER_TENANT && bytes == share_bytes(n_uses);
}

int deposit_read(uint32_t kind, uint64_t id, uint32_t places, const void *blob, uint32_t bytes,
		 union deposit *ret, const char **why)
{
	if (kind == DEPOSIT_DAEMON && !is_ours(blob, bytes)) {
		*why = "it is another version's";
		return -ESTALE;
	}
	*why = "unknown kind, or wrong length for it";
	if (kind < DEPOSIT_DAEMON || kind >= DEPOSIT_KINDS || !length_is_right(kind, blob, bytes))
		return -EPROTO;
	*why = "descriptors that its kind does not have";
	if (places >> rules[kind].fds)
		return -EPROTO;
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, blob, bytes);
	*why = rules[kind].check(ret, id, places);
	return *why ? -EPROTO : 0;
}
