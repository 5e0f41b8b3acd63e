// SPDX-License-Identifier: Apache-2.0
// Adoption: a mediator that starts turns what the one before it left with its keeper into its own objects, so
// that programs and executors notice nothing but a pause (docs/decisions/0022). Called once, by main.c,
// before the first socket is opened. What does not fit together ends alone; what is another version's ends as
// a whole.
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "common/beside.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "mediator/adopt/keep.h"
#include "mediator/adopt/deposit.h"
#include "mediator/channel.h"
#include "mediator/session/session.h"
#include "mediator/tenant.h"

struct item {
	union deposit record;
	uint32_t kind;
	uint64_t id;
	int fds[KEEPER_MAX_FDS];
};

struct items {
	struct item *list;
	size_t n, room;
	const struct deposit_daemon *daemon;
};

static void close_fds(struct item *i)
{
	for (unsigned k = 0; k < KEEPER_MAX_FDS; k++)
		close_fd(&i->fds[k]);
}

static void items_done(struct items *all)
{
	for (size_t i = 0; i < all->n; i++)
		close_fds(&all->list[i]);
	free(all->list);
}

static struct item *add(struct items *all)
{
	if (all->n == all->room) {
		size_t room = all->room ? all->room * 2 : 64;
		struct item *grown = reallocarray(all->list, room, sizeof(*grown));

		if (!grown)
			return NULL;
		all->list = grown;
		all->room = room;
	}
	return &all->list[all->n++];
}

static int read_one(struct items *all, const struct custody_item *k)
{
	struct item *i = add(all);
	const char *why;
	int r = -ENOMEM;

	if (i) {
		memcpy(i->fds, k->fds, sizeof(i->fds));
		i->kind = k->kind;
		i->id = k->id;
		r = deposit_read(k->kind, k->id, k->places, k->blob, k->bytes, &i->record, &why);
	}
	if (r == 0)
		return 0;
	if (i)
		log_error("what was kept is of no use: record %" PRIu32 " %" PRIu64 ": %s", k->kind, k->id,
			  why);
	return r;
}

static int read_all(struct mediator *m, struct items *all)
{
	struct custody_item k;
	int r;

	while ((r = custody_next(&m->keeping.custody, &k)) > 0) {
		size_t before = all->n;
		int result = read_one(all, &k);

		if (result < 0) {
			if (all->n == before) {
				for (unsigned i = 0; i < KEEPER_MAX_FDS; i++)
					close_fd(&k.fds[i]);
			}
			return result;
		}
	}
	for (size_t i = 0; r == 0 && i < all->n; i++)
		if (all->list[i].kind == DEPOSIT_DAEMON)
			all->daemon = &all->list[i].record.daemon;
	// Without it: nothing was there yet, or it was about to end.
	return r < 0 ? r : all->daemon ? 0 : -ENOENT;
}

// ---- one after the other ----

static struct tenant *find_tenant(struct mediator *m, uint32_t id)
{
	struct tenant *t = tenant_from_id(m, id);

	return t && t->id == id ? t : NULL;
}

// As the control socket left it, whatever the settings say by now.
static int adopt_pool(struct mediator *m, struct item *i)
{
	const struct deposit_pool *r = &i->record.pool;
	struct pool *p = pool_find(m, r->name);
	int result = p ? pool_set(p, &r->policy) : pool_add(m, r->name, &r->policy, &p);

	if (result < 0)
		return result;
	memcpy(p->gpu, r->gpu, sizeof(p->gpu)); // its end lies within
	p->id = i->id;
	p->kept = true;
	return 0;
}

static int adopt_profile(struct mediator *m, struct item *i)
{
	return inventory_adopt_profile(m, i->id, &i->record.profile);
}

static int adopt_vm(struct mediator *m, struct item *i)
{
	return inventory_adopt_vm(m, i->id, &i->record.vm);
}

static int adopt_slot(struct mediator *m, struct item *i)
{
	return inventory_adopt_slot(m, i->id, &i->record.slot);
}

static int adopt_tenant(struct mediator *m, struct item *i)
{
	const struct deposit_tenant *r = &i->record.tenant;
	struct tenant *t;
	int result = tenant_adopt(m, r, i->fds[TENANT_PAGE], i->fds[TENANT_BOOKS], &t);

	if (result < 0)
		return result;
	i->fds[TENANT_PAGE] = i->fds[TENANT_BOOKS] = -1;
	if (i->fds[TENANT_LISTENER] < 0)
		return 0;
	return listener_adopt(&t->listener, m, t, take_fd(&i->fds[TENANT_LISTENER]), r->path);
}

static int adopt_session(struct mediator *m, struct item *i)
{
	const struct deposit_session *r = &i->record.session;
	struct tenant *t = find_tenant(m, r->tenant);
	int result = t ? session_adopt(m, t, r, i->fds[SESSION_SOCKET], i->fds[SESSION_PIDFD]) : -ENOENT;

	if (result == 0)
		i->fds[SESSION_SOCKET] = i->fds[SESSION_PIDFD] = -1;
	else if (i->fds[SESSION_SOCKET] >= 0)
		shutdown(i->fds[SESSION_SOCKET], SHUT_RDWR);
	return result;
}

static int fill_channel(struct channel *c, struct item *i)
{
	const struct deposit_channel *r = &i->record.channel;
	int result;

	c->kept = true;
	c->cookie = r->cookie;
	c->answered = r->flags & DEPOSIT_CHANNEL_ANSWERED;
	c->fresh = r->flags & DEPOSIT_CHANNEL_FRESH;
	c->lost_said = r->flags & DEPOSIT_CHANNEL_LOST_SAID;
	c->state = r->state;
	c->geometry = r->geometry;
	c->opened_us = r->opened_us;
	c->reason = r->reason;
	memcpy(c->text, r->text, sizeof(c->text));
	c->vm.is = r->flags & DEPOSIT_CHANNEL_VM;
	c->vm.pid = r->vm_pid;
	c->library = r->library;
	memcpy(c->vm.name, r->vm_name, sizeof(c->vm.name));
	c->process.pid = r->pid;
	c->process.link_fd = take_fd(&i->fds[CHANNEL_LINK]);
	c->process.pidfd = take_fd(&i->fds[CHANNEL_PIDFD]);
	c->process.output_fd = take_fd(&i->fds[CHANNEL_OUTPUT]);
	c->doorbell_fd = take_fd(&i->fds[CHANNEL_DOORBELL]);
	c->channel_fd = take_fd(&i->fds[CHANNEL_MEMORY]);
	c->window_fd = take_fd(&i->fds[CHANNEL_WINDOW]);
	result = turn_seat_adopt(&c->seat, &c->tenant->account, c->doorbell_fd, i->fds[CHANNEL_TURN_PAGE],
				 i->fds[CHANNEL_KICK], &channel_seat_ops);
	if (result < 0)
		return result;
	i->fds[CHANNEL_TURN_PAGE] = i->fds[CHANNEL_KICK] = -1;
	// Books that were written later than the record, or not at all: then it stands where the others do.
	if (turn_books_restore_place(&c->seat, c->id, r->place) < 0)
		turn_books_take_place(&c->seat, c->id);
	return channel_resume(c);
}

// One that cannot be adopted is killed: nobody else would.
static int adopt_channel(struct mediator *m, struct item *i)
{
	const struct deposit_channel *r = &i->record.channel;
	struct tenant *t = find_tenant(m, r->tenant);
	struct session *s = r->session ? session_from_id(m, r->session) : NULL;
	struct channel *c = NULL;
	int result = -ENOENT;

	if (t && t->n_channels < VGPU_MAX_CHANNELS_PER_TENANT && (!s || session_tenant(s) == t))
		c = channel_adopt(m, t, s, r->id);
	if (c)
		result = fill_channel(c, i);
	if (result < 0) {
		syscall(SYS_pidfd_send_signal, c ? c->process.pidfd : i->fds[CHANNEL_PIDFD], SIGKILL, NULL,
			0);
		if (c) {
			c->state = CHANNEL_GONE;
			mediator_reap(m);
		}
	}
	return result;
}

static int adopt_share(struct mediator *m, struct item *i)
{
	struct tenant *t = find_tenant(m, i->record.share.tenant);

	if (!t || !share_adopt(t, &i->record.share, i->fds[0]))
		return -ENOENT;
	i->fds[0] = -1;
	return 0;
}

// Its mediator waited for what it would say; another one is started ahead.
static int end_warm(struct mediator *m, struct item *i)
{
	syscall(SYS_pidfd_send_signal, i->fds[WARM_PIDFD], SIGKILL, NULL, 0);
	custody_drop(&m->keeping.custody, DEPOSIT_WARM, i->id);
	return 0;
}

static void adopt_kind(struct mediator *m, struct items *all, uint32_t kind,
		       int (*one)(struct mediator *m, struct item *i))
{
	for (size_t i = 0; i < all->n; i++) {
		int r = all->list[i].kind == kind ? one(m, &all->list[i]) : 0;

		if (r < 0) {
			log_warning("record %" PRIu32 " %" PRIu64
				    " of the last mediator cannot be adopted: %s",
				    kind, all->list[i].id, strerror(-r));
			custody_drop(&m->keeping.custody, kind, all->list[i].id);
		}
		if (all->list[i].kind == kind)
			close_fds(&all->list[i]);
	}
}

// ---- what belongs to whom, and what ended meanwhile ----

static void find_makers(struct mediator *m, const struct items *all)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct deposit_tenant *r = &all->list[i].record.tenant;
		struct tenant *t = all->list[i].kind == DEPOSIT_TENANT ? find_tenant(m, r->id) : NULL;
		struct session *maker = t && r->maker ? session_from_id(m, r->maker) : NULL;

		if (maker) {
			t->maker = maker;
			session_made_tenant(maker, t);
		} else if (t && r->maker && !t->removed) {
			tenant_remove(t);
		}
	}
}

// A channel whose client is gone ends; the last mediator may not have come to it.
static void end_orphans(struct mediator *m)
{
	struct channel *c;

	LIST_FOREACH (c, &m->channels, link)
		if (!c->session)
			channel_stop(c, LINK_E_SHUTDOWN, "the client is gone");
}

// Closed gates that still hold, the open one, all others.
static void resume_turns(struct mediator *m)
{
	struct channel *c;
	bool open;

	for (int want_open = 0; want_open < 2; want_open++) {
		LIST_FOREACH (c, &m->channels, link)
			if (c->seat.page && !c->seat.stopped && turn_seat_holds(&c->seat, &open) &&
			    open == want_open)
				turn_seat_resume(&c->seat);
	}
	LIST_FOREACH (c, &m->channels, link)
		if (c->seat.page && !c->seat.stopped)
			turn_seat_look(&c->seat);
	turns_refresh(&m->turns);
}

static void resume_sessions(struct mediator *m, const struct items *all)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct deposit_session *r = &all->list[i].record.session;
		struct session *s = all->list[i].kind == DEPOSIT_SESSION ? session_from_id(m, r->id) : NULL;

		if (s)
			session_resume(s, r);
	}
}

static int take_daemon(struct mediator *m, struct items *all)
{
	const struct deposit_daemon *d = all->daemon;
	struct item *i = (struct item *)((char *)d - offsetof(struct item, record));
	int r;

	m->next_channel_id = d->next_channel_id;
	m->next_tenant_id = d->next_tenant_id;
	// What was made after this was kept has a record of its own.
	m->keeping.next_session_id = d->next_session_id;
	m->keeping.next_share_id = d->next_share_id;
	if (d->draining)
		drain_adopt(m, d->drain_since_s, d->drain_until_ns);
	memcpy(m->backend_name, d->backend_name, sizeof(m->backend_name));
	memcpy(m->device_name, d->device_name, sizeof(m->device_name));
	r = listener_adopt(&m->listener, m, NULL, take_fd(&i->fds[DAEMON_LISTENER]), d->path);
	m->listener.kept = r >= 0;
	return r;
}

static void raise_ids(struct mediator *m, const struct items *all)
{
	for (size_t i = 0; i < all->n; i++) {
		const union deposit *r = &all->list[i].record;
		uint64_t *next = NULL, id = 0;

		switch (all->list[i].kind) {
		case DEPOSIT_SESSION:
			next = &m->keeping.next_session_id;
			id = r->session.id;
			break;
		case DEPOSIT_POOL:
			next = &m->keeping.next_pool_id;
			id = all->list[i].id;
			break;
		case DEPOSIT_PROFILE:
		case DEPOSIT_VM:
		case DEPOSIT_SLOT:
			next = &m->inventory.next_id;
			id = all->list[i].id;
			break;
		case DEPOSIT_SHARE:
			next = &m->keeping.next_share_id;
			id = r->share.id;
			break;
		case DEPOSIT_CHANNEL:
			next = &m->next_channel_id;
			id = r->channel.id;
			break;
		default: break;
		}
		if (next && *next < id)
			*next = id;
	}
}

static int adopt_all(struct mediator *m, struct items *all)
{
	int r = take_daemon(m, all);

	if (r < 0)
		return r;
	m->keeping.adopting = true;
	adopt_kind(m, all, DEPOSIT_POOL, adopt_pool);
	adopt_kind(m, all, DEPOSIT_PROFILE, adopt_profile);
	adopt_kind(m, all, DEPOSIT_VM, adopt_vm);
	adopt_kind(m, all, DEPOSIT_SLOT, adopt_slot);
	adopt_kind(m, all, DEPOSIT_TENANT, adopt_tenant);
	adopt_kind(m, all, DEPOSIT_SESSION, adopt_session);
	adopt_kind(m, all, DEPOSIT_CHANNEL, adopt_channel);
	adopt_kind(m, all, DEPOSIT_SHARE, adopt_share);
	adopt_kind(m, all, DEPOSIT_WARM, end_warm);
	raise_ids(m, all);
	find_makers(m, all);
	resume_turns(m);
	end_orphans(m);
	park_adopted(&m->park);
	m->keeping.adopting = false;
	return 0;
}

// ---- start ----

static void find_program(struct mediator *m)
{
	static const char *const places[] = { "vgpu-keeper", "../libexec/vgpu/vgpu-keeper", NULL };
	struct keeping *k = &m->keeping;

	k->custody.link = -1;
	if (m->settings->adopt_wait && beside_find(places, k->program, sizeof(k->program)) < 0) {
		k->program[0] = 0;
		log_warning("no vgpu-keeper beside this program: programs end if this process does");
	}
}

int keep_adopt(struct mediator *m, bool *ret_adopted)
{
	const struct settings *s = m->settings;
	struct items all = { 0 };
	int r;

	*ret_adopted = false;
	find_program(m);
	r = custody_find(&m->keeping.custody, s->paths_run_directory, s->adopt_wait, s->executor_stop);
	if (r == -EBUSY) {
		log_error("run directory %s: another mediator works there", s->paths_run_directory);
		return r;
	}
	if (r < 0) {
		if (r != -ENOENT)
			log_warning("the keeper of the last mediator does not answer: %s", strerror(-r));
		return 0;
	}
	r = read_all(m, &all);
	if (r == 0)
		r = adopt_all(m, &all);
	if (r < 0) {
		if (r != -ENOENT)
			log_error("nothing is adopted (%s): what the last mediator left ends", strerror(-r));
		items_done(&all);
		custody_refuse(&m->keeping.custody, s->paths_run_directory);
		return 0;
	}
	*ret_adopted = true;
	resume_sessions(m, &all);
	items_done(&all);
	return 0;
}
