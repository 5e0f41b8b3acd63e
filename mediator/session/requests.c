// SPDX-License-Identifier: Apache-2.0
// What clients ask for: HELLO, CHANNEL_OPEN, of a VM's stub CHANNEL_OPEN_VM and CHANNEL_CLOSE, and, of
// operators, TENANT_CREATE[_AS] and STATUS (DEVICE: device.c). Packets come here checked (check.c), so
// handlers only look at what depends on the daemon's state. Runs in the mediator's loop.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "mediator/adopt/keep.h"
#include "mediator/inventory/inventory.h"
#include "mediator/session/internal.h"

static void handle_hello(struct session *s, const struct link_hello *hello)
{
	const struct tenant *t = s->tenant;
	bool in_inventory = t->vm[0] && vm_find(s->mediator, t->vm);
	struct link_hello_ok m = {
		.header = { LINK_MAGIC, LINK_HELLO_OK, 0, sizeof(m), hello->header.cookie },
		.version = LINK_VERSION,
		.tenant_id = t->id,
		.features =
		    hello->features & (LINK_FEATURE_VM | (in_inventory ? LINK_FEATURE_PERSONALITY : 0)),
		.weight = t->weight,
		.memory_quota = t->memory_quota,
	};

	s->phase = PHASE_READY;
	s->vm = m.features & LINK_FEATURE_VM;
	s->library = link_library_of(hello->features);
	s->personality = m.features & LINK_FEATURE_PERSONALITY;
	s->hello_timer = sd_event_source_disable_unref(s->hello_timer);
	session_send(s, &m, sizeof(m), NULL, 0);
	if (s->personality)
		registers_tell_vm(s);
	session_keep(s);
	inventory_tenant_changed(s->tenant);
}

static void handle_channel_open(struct session *s, const struct link_channel_open *open)
{
	char error[LINK_TEXT_BYTES];
	int code = channel_open(s, open->header.cookie, NULL, error);

	if (code)
		session_send_error(s, open->header.cookie, (uint32_t)code, error);
}

static void handle_channel_open_vm(struct session *s, const struct link_channel_open_vm *open, const int *fds,
				   unsigned n_fds)
{
	char error[LINK_TEXT_BYTES];
	struct channel_vm vm;
	int code = channel_vm_take(&vm, open, fds, n_fds, error);

	if (!code)
		code = channel_open(s, open->header.cookie, &vm, error);
	if (code)
		session_send_error(s, open->header.cookie, (uint32_t)code, error);
}

static void handle_channel_close(struct session *s, const struct link_channel_close *close)
{
	if (!session_close_channels(s, close->flags & LINK_CLOSE_AT_ONCE))
		session_send_error(s, close->header.cookie, LINK_E_LIMIT, "this connection has no channel");
}

static void tenant_refused(struct session *s, uint32_t cookie, int r)
{
	char error[LINK_TEXT_BYTES];

	if (r == -ENOSPC)
		snprintf(error, sizeof(error), "there are %" PRIu64 " tenants already (limits.tenants)",
			 s->mediator->settings->limits_tenants);
	else
		snprintf(error, sizeof(error), "cannot make the tenant's socket: %s", strerror(-r));
	session_send_error(
	    s, cookie, r == -ENOSPC || r == -EMFILE || r == -ENFILE ? LINK_E_LIMIT : LINK_E_INTERNAL, error);
}

static bool may_make_tenants(struct session *s, uint32_t cookie)
{
	if (!s->operator_)
		session_send_error(
		    s, cookie, LINK_E_PERMISSION,
		    "only root and the mediator's own user, on the main socket, may make tenants");
	return s->operator_;
}

void request_tenant_ok(struct session *s, struct tenant *t)
{
	struct link_tenant_ok m = {
		.header = { LINK_MAGIC, LINK_TENANT_OK, 0, sizeof(m), t->cookie },
		.tenant_id = t->id,
	};

	snprintf(m.path, sizeof(m.path), "%s", t->listener.path);
	session_send(s, &m, sizeof(m), NULL, 0);
}

static void send_tenant_ok(struct session *s, uint32_t cookie, struct tenant *t)
{
	t->cookie = cookie;
	t->fresh = true;
	keep_tenant(t);
	request_tenant_ok(s, t);
}

static void handle_tenant_create(struct session *s, const struct link_tenant_create *create)
{
	uint32_t cookie = create->header.cookie;
	struct tenant *t;
	int r;

	if (!may_make_tenants(s, cookie))
		return;
	r = tenant_make(s->mediator, s, create->name, create->weight, create->memory_quota, s->uid, &t);
	if (r < 0)
		tenant_refused(s, cookie, r);
	else
		send_tenant_ok(s, cookie, t);
}

static void unknown_name(struct session *s, uint32_t cookie, const char *kind, const char *name)
{
	char error[LINK_TEXT_BYTES];

	snprintf(error, sizeof(error), "there is no %s '%.48s'", kind, name);
	session_send_error(s, cookie, LINK_E_UNKNOWN, error);
}

// What the profile says, then what the request itself says.
static void apply_wishes(struct tenant *t, const struct link_tenant_create_as *create,
			 const struct profile *profile, struct pool *pool)
{
	struct policy own;

	if (pool)
		tenant_set_pool(t, pool);
	if (profile)
		tenant_set_policy(t, &profile->policy);
	policy_init(&own);
	if (create->weight) {
		own.value[POLICY_WEIGHT] = create->weight;
		own.given |= 1u << POLICY_WEIGHT;
	}
	if (create->memory_quota != LINK_AS_PROFILE) {
		own.value[POLICY_MEMORY] = create->memory_quota;
		own.given |= 1u << POLICY_MEMORY;
	}
	tenant_set_policy(t, &own);
}

static void handle_tenant_create_as(struct session *s, const struct link_tenant_create_as *create)
{
	const struct profile *profile = NULL;
	uint32_t cookie = create->header.cookie;
	struct pool *pool = NULL;
	struct tenant *t;
	int r;

	if (!may_make_tenants(s, cookie))
		return;
	if (create->profile[0]) {
		profile = profile_find(s->mediator, create->profile);
		if (!profile) {
			unknown_name(s, cookie, "profile", create->profile);
			return;
		}
	}
	if (create->pool[0]) {
		pool = pool_find(s->mediator, create->pool);
		if (!pool) {
			unknown_name(s, cookie, "pool", create->pool);
			return;
		}
	}
	r = tenant_make(s->mediator, s, create->name, (uint32_t)s->mediator->settings->tenant_weight, 0,
			s->uid, &t);
	if (r < 0) {
		tenant_refused(s, cookie, r);
		return;
	}
	apply_wishes(t, create, profile, pool);
	send_tenant_ok(s, cookie, t);
}

static void handle_status(struct session *s, const struct link_status *status)
{
	if (!s->operator_) {
		session_send_error(
		    s, status->header.cookie, LINK_E_PERMISSION,
		    "only root and the mediator's own user, on the main socket, may ask for the status");
		return;
	}
	if (s->status) {
		session_send_error(s, status->header.cookie, LINK_E_LIMIT,
				   "the last STATUS is not sent completely yet");
		return;
	}
	s->status = true;
	s->status_cookie = status->header.cookie;
	s->status_next_id = 0;
	s->status_rows = 0;
	turns_refresh(&s->mediator->turns);
	outbox_flush(s);
}

static void send_row(struct session *s, struct tenant *t)
{
	const struct wfq_node *n = &t->account.group;
	struct turn_meters sum = t->account.ended;
	struct link_status_row row = {
		.header = { LINK_MAGIC, LINK_STATUS_ROW, 0, sizeof(row), s->status_cookie },
		.tenant_id = t->id,
		.weight = t->weight,
		.channels = t->n_channels,
		.in_demand = n->in_demand,
		.gpu_ns = n->charged_ns,
		.turns = n->turns,
		.memory_used = atomic_load(&t->page->memory_used),
		.memory_quota = t->memory_quota,
		.contended_gpu_ns = n->contended_charged_ns,
		.contended_ns = wfq_contended_ns(&s->mediator->turns.wfq, n),
	};
	struct channel *c;

	LIST_FOREACH (c, &s->mediator->channels, link) {
		if (c->tenant != t)
			continue;
		turn_seat_refresh(&c->seat);
		turn_meters_add(&sum, &c->seat.meters);
	}
	row.launches = sum.launches;
	row.copy_bytes = sum.copy_bytes;
	row.faults = sum.faults;
	memcpy(row.name, t->name, sizeof(row.name));
	session_send(s, &row, sizeof(row), NULL, 0);
}

static void send_end(struct session *s)
{
	const struct mediator *m = s->mediator;
	struct link_status_end end = {
		.header = { LINK_MAGIC, LINK_STATUS_END, 0, sizeof(end), s->status_cookie },
		.rows = s->status_rows,
		.health = m->watch.health.state,
		.now_ns = clock_now_ns(),
	};

	snprintf(end.backend, sizeof(end.backend), "%s", m->backend_name[0] ? m->backend_name : m->backend);
	snprintf(end.device, sizeof(end.device), "%s", m->device_name);
	session_send(s, &end, sizeof(end), NULL, 0);
	if (s->waiting_kept)
		session_keep_waiting(s);
}

void request_status_step(struct session *s)
{
	struct tenant *t = tenant_from_id(s->mediator, s->status_next_id);

	if (!t || t->id == UINT32_MAX) {
		s->status = false;
		send_end(s);
		return;
	}
	s->status_next_id = t->id + 1;
	s->status_rows++;
	send_row(s, t);
}

static void handle_monitor(struct session *s, const struct link_monitor *m)
{
	s->monitor = m->there;
	session_keep(s);
	inventory_tenant_changed(s->tenant);
}

void request_handle(struct session *s, const void *packet, const int *fds, unsigned n_fds)
{
	switch (((const struct link_header *)packet)->type) {
	case LINK_HELLO: handle_hello(s, packet); break;
	case LINK_CHANNEL_OPEN: handle_channel_open(s, packet); break;
	case LINK_CHANNEL_OPEN_VM: handle_channel_open_vm(s, packet, fds, n_fds); break;
	case LINK_CHANNEL_CLOSE: handle_channel_close(s, packet); break;
	case LINK_TENANT_CREATE: handle_tenant_create(s, packet); break;
	case LINK_TENANT_CREATE_AS: handle_tenant_create_as(s, packet); break;
	case LINK_STATUS: handle_status(s, packet); break;
	case LINK_DEVICE: request_device(s, packet); break;
	case LINK_MONITOR: handle_monitor(s, packet); break;
	case LINK_REGISTERS: request_registers(s, packet); break;
	}
}
