// SPDX-License-Identifier: Apache-2.0
// Shared memory and events of a tenant's executors; see the header. Runs in the mediator's loop, on packets
// of executors (mediator/channel.c). The sender may be in its tenant's hands, so everything that it can grow
// is bounded, and what it names is looked for in its own tenant.
#include "mediator/share.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/cleanup.h"
#include "common/limits.h"
#include "mediator/adopt/keep.h"
#include "mediator/adopt/deposit.h"
#include "mediator/channel.h"
#include "mediator/tenant.h"

struct share {
	RB_ENTRY(share) link;	    // in by_key, while it has an owner
	LIST_ENTRY(share) of_owner; // likewise
	struct channel *owner;	    // NULL: it only lives on in its takers
	uint64_t id;		    // for the next mediator
	bool kept;		    // with the keeper
	uint32_t cookie;	    // of its SHARE
	uint64_t key[2], bytes;
	uint8_t data[LINK_SHARE_DATA];
	int fd; // -1: none
	struct share_use_list uses;
};

// One executor takes a share, so many times.
struct share_use {
	LIST_ENTRY(share_use) of_share, of_taker;
	struct share *share;
	struct channel *taker;
	unsigned count;
	uint32_t cookie; // of its last TAKE
};

static unsigned fds_of_all; // of all tenants

static int compare_shares(const struct share *a, const struct share *b)
{
	return memcmp(a->key, b->key, sizeof(a->key));
}

RB_GENERATE_INTERNAL(share_tree, share, link, compare_shares, __attribute__((unused)) static)

static struct shares *shares_of(struct channel *c)
{
	return &c->tenant->shares;
}

static struct share *find(struct channel *c, const uint64_t key[2])
{
	struct share wanted = { .key = { key[0], key[1] } };

	return RB_FIND(share_tree, &shares_of(c)->by_key, &wanted);
}

static bool fds_left(const struct shares *all)
{
	struct rlimit limit;

	return all->n_fds < VGPU_MAX_SHARE_FDS && getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
	       fds_of_all < limit.rlim_cur / 2;
}

static void close_share_fd(struct shares *all, struct share *s)
{
	if (s->fd < 0)
		return;
	close_fd(&s->fd);
	all->n_fds--;
	fds_of_all--;
}

static uint32_t handle_share(struct channel *c, const struct link_share *m, int *fd)
{
	struct shares *all = shares_of(c);
	struct share *s;

	// The last mediator did it, and died before it took the packet off the link.
	s = c->redo ? find(c, m->key) : NULL;
	if (s && s->owner == c && s->cookie == m->header.cookie)
		return LINK_SHARE_OK;
	if (all->n >= VGPU_MAX_SHARES || (*fd >= 0 && !fds_left(all)) || find(c, m->key))
		return LINK_SHARE_LIMIT;
	s = calloc(1, sizeof(*s));
	if (!s)
		return LINK_SHARE_LIMIT;
	*s = (struct share){ .owner = c, .key = { m->key[0], m->key[1] }, .bytes = m->bytes, .fd = *fd };
	s->cookie = m->header.cookie;
	s->id = ++c->mediator->keeping.next_share_id;
	all->changed = s;
	memcpy(s->data, m->data, sizeof(s->data));
	LIST_INIT(&s->uses);
	RB_INSERT(share_tree, &all->by_key, s);
	LIST_INSERT_HEAD(&c->shares, s, of_owner);
	all->n++;
	if (*fd >= 0) {
		all->n_fds++;
		fds_of_all++;
		*fd = -1;
	}
	return LINK_SHARE_OK;
}

static struct share_use *find_use(const struct share *s, const struct channel *taker)
{
	struct share_use *u;

	LIST_FOREACH (u, &s->uses, of_share)
		if (u->taker == taker)
			break;
	return u;
}

static uint32_t handle_take(struct channel *c, const struct link_take *m, struct link_shared *ret,
			    int *ret_fd)
{
	struct shares *all = shares_of(c);
	struct share *s = find(c, m->key);
	struct share_use *u = s ? find_use(s, c) : NULL;

	if (!s)
		return LINK_SHARE_UNKNOWN;
	if (all->n_uses >= VGPU_MAX_SHARE_USES)
		return LINK_SHARE_LIMIT;
	if (!u) {
		u = calloc(1, sizeof(*u));
		if (!u)
			return LINK_SHARE_LIMIT;
		u->share = s;
		u->taker = c;
		LIST_INSERT_HEAD(&s->uses, u, of_share);
		LIST_INSERT_HEAD(&c->share_uses, u, of_taker);
	}
	if (!c->redo || !u->count || u->cookie != m->header.cookie) {
		u->count++;
		all->n_uses++;
	}
	u->cookie = m->header.cookie;
	all->changed = s;
	ret->bytes = s->bytes;
	memcpy(ret->data, s->data, sizeof(ret->data));
	*ret_fd = s->fd;
	return LINK_SHARE_OK;
}

static void share_free(struct tenant *t, struct share *s)
{
	t->shares.n--;
	if (t->shares.changed == s)
		t->shares.changed = NULL;
	keep_gone(t->mediator, DEPOSIT_SHARE, s->id, &s->kept);
	free(s);
}

static void use_end(struct channel *c, struct share_use *u)
{
	struct share *s = u->share;

	shares_of(c)->n_uses -= u->count;
	LIST_REMOVE(u, of_share);
	LIST_REMOVE(u, of_taker);
	free(u);
	shares_of(c)->changed = s;
	if (s->owner || !LIST_EMPTY(&s->uses))
		return;
	tenant_uncharge(c->tenant, s->bytes, 0);
	share_free(c->tenant, s);
}

// Nobody can take it any more. Whether others still use it: then its charge is theirs from now on.
static bool owner_end(struct channel *c, struct share *s)
{
	struct shares *all = shares_of(c);

	RB_REMOVE(share_tree, &all->by_key, s);
	LIST_REMOVE(s, of_owner);
	s->owner = NULL;
	if (s->fd >= 0)
		s->kept = false; // without its fd
	close_share_fd(all, s);
	all->changed = s;
	if (!LIST_EMPTY(&s->uses))
		return true;
	share_free(c->tenant, s);
	return false;
}

static uint32_t drop_use(struct channel *c, const uint64_t key[2])
{
	struct share_use *u;

	// Its owner may have gone, so it is looked for among what this executor took.
	LIST_FOREACH (u, &c->share_uses, of_taker)
		if (u->share->key[0] == key[0] && u->share->key[1] == key[1])
			break;
	if (!u)
		return LINK_SHARE_UNKNOWN;
	if (u->count > 1) {
		u->count--;
		shares_of(c)->n_uses--;
		shares_of(c)->changed = u->share;
	} else {
		use_end(c, u);
	}
	return LINK_SHARE_OK;
}

static uint32_t handle_drop(struct channel *c, const struct link_drop *m, struct link_shared *ret)
{
	struct share *s;

	if (!m->owner)
		return drop_use(c, m->key);
	s = find(c, m->key);
	if (!s || s->owner != c)
		return LINK_SHARE_UNKNOWN;
	ret->in_use = owner_end(c, s);
	return LINK_SHARE_OK;
}

void share_handle(struct channel *c, const void *packet, int fd, struct link_shared *ret, int *ret_fd)
{
	const struct link_header *h = packet;

	*ret = (struct link_shared){ .header = { LINK_MAGIC, LINK_SHARED, 0, sizeof(*ret), h->cookie } };
	*ret_fd = -1;
	if (h->type == LINK_SHARE)
		ret->code = handle_share(c, packet, &fd);
	else if (h->type == LINK_TAKE)
		ret->code = handle_take(c, packet, ret, ret_fd);
	else
		ret->code = handle_drop(c, packet, ret);
	if (h->type == LINK_DROP && ret->code == LINK_SHARE_UNKNOWN && c->redo)
		ret->code = LINK_SHARE_OK;
	ret->header.n_fds = *ret_fd >= 0;
	close_fd(&fd);
}

// ---- for the next mediator ----

static void keep(struct tenant *t, struct share *s)
{
	struct deposit_share r = {
		.id = s->id,
		.owner = s->owner ? s->owner->id : 0,
		.key = { s->key[0], s->key[1] },
		.bytes = s->bytes,
		.tenant = t->id,
		.cookie = s->cookie,
	};
	struct share_use *u;

	memcpy(r.data, s->data, sizeof(r.data));
	LIST_FOREACH (u, &s->uses, of_share)
		if (r.n_uses < VGPU_MAX_CHANNELS_PER_TENANT)
			r.uses[r.n_uses++] = (struct deposit_share_use){ u->taker->id, u->count, u->cookie };
	keep_record(t->mediator, DEPOSIT_SHARE, s->id, &r, &s->fd, 1, &s->kept);
}

void share_keep(struct channel *c)
{
	struct share *s = shares_of(c)->changed;

	shares_of(c)->changed = NULL;
	if (s)
		keep(c->tenant, s);
}

void share_keep_all(struct tenant *t, bool anew)
{
	struct share_use *u;
	struct channel *c;
	struct share *s;

	// Those with an owner, then those that live in their takers.
	RB_FOREACH (s, share_tree, &t->shares.by_key) {
		s->kept &= !anew;
		keep(t, s);
	}
	LIST_FOREACH (c, &t->mediator->channels, link) {
		LIST_FOREACH (u, &c->share_uses, of_taker) {
			if (c->tenant != t || u->share->owner)
				continue;
			u->share->kept &= !anew;
			keep(t, u->share);
		}
	}
}

static struct channel *channel_of(struct tenant *t, uint64_t id)
{
	struct channel *c;

	LIST_FOREACH (c, &t->mediator->channels, link)
		if (c->id == id && c->tenant == t)
			break;
	return c;
}

static void adopt_uses(struct tenant *t, struct share *s, const struct deposit_share *r)
{
	for (uint32_t i = 0; i < r->n_uses; i++) {
		struct channel *taker = channel_of(t, r->uses[i].channel);
		struct share_use *u = taker && !find_use(s, taker) ? calloc(1, sizeof(*u)) : NULL;

		if (!u)
			continue;
		*u = (struct share_use){
			.share = s, .taker = taker, .count = r->uses[i].count, .cookie = r->uses[i].cookie
		};
		LIST_INSERT_HEAD(&s->uses, u, of_share);
		LIST_INSERT_HEAD(&taker->share_uses, u, of_taker);
		t->shares.n_uses += u->count;
	}
}

bool share_adopt(struct tenant *t, const struct deposit_share *r, int fd)
{
	struct channel *owner = r->owner ? channel_of(t, r->owner) : NULL;
	struct share *s = calloc(1, sizeof(*s));

	if (!s)
		return false;
	*s = (struct share){ .owner = owner,
			     .id = r->id,
			     .kept = true,
			     .cookie = r->cookie,
			     .key = { r->key[0], r->key[1] },
			     .bytes = r->bytes,
			     .fd = owner ? fd : -1 };
	memcpy(s->data, r->data, sizeof(s->data));
	LIST_INIT(&s->uses);
	if (owner && RB_INSERT(share_tree, &t->shares.by_key, s)) { // its key is another's
		free(s);
		return false;
	}
	if (owner)
		LIST_INSERT_HEAD(&owner->shares, s, of_owner);
	adopt_uses(t, s, r);
	if (!owner && LIST_EMPTY(&s->uses)) {
		free(s);
		return false;
	}
	t->shares.n++;
	if (owner && fd >= 0) {
		t->shares.n_fds++;
		fds_of_all++;
	}
	return true;
}

uint64_t share_channel_gone(struct channel *c)
{
	uint64_t kept = 0;

	while (!LIST_EMPTY(&c->share_uses)) {
		use_end(c, LIST_FIRST(&c->share_uses));
		share_keep(c);
	}
	while (!LIST_EMPTY(&c->shares)) {
		struct share *s = LIST_FIRST(&c->shares);
		uint64_t bytes = s->bytes;

		if (owner_end(c, s))
			kept += bytes;
		share_keep(c);
	}
	return kept;
}
