// SPDX-License-Identifier: Apache-2.0
// DEVICE: what a tenant is told about the GPU and about its own programs on it. Facts of the card come from
// the sensor's board; all that belongs to the tenant from the mediator's own books. A request waits, bounded,
// when a reading is on its way or the tenant's use was not looked at before (a share of time needs two
// looks); while somebody asks, a tick keeps both at hand. Runs in the mediator's loop.
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "mediator/session/internal.h"

#define TICK_NS	     (200 * NSEC_PER_MSEC)
#define ATTENTIVE_NS (10 * NSEC_PER_SEC) // the tick goes on for so long after the last question

// ---- what the tenant did ----

static void note_tenant(struct tenant *t, uint64_t now_ns)
{
	struct channel *c;

	usage_note(&t->usage, now_ns, t->account.group.charged_ns);
	LIST_FOREACH (c, &t->mediator->channels, link) {
		if (c->tenant == t)
			usage_note(&c->usage, now_ns, c->seat.leaf.charged_ns);
	}
}

// false: not known yet.
static bool tenant_share(const struct tenant *t, uint64_t now_ns, uint32_t *ret)
{
	if (usage_share(&t->usage, now_ns, t->account.group.charged_ns, ret))
		return true;
	*ret = 0;
	return t->n_channels == 0;
}

static struct turn_meters tenant_meters(struct tenant *t)
{
	struct turn_meters sum = t->account.ended;
	struct channel *c;

	LIST_FOREACH (c, &t->mediator->channels, link) {
		if (c->tenant != t)
			continue;
		turn_seat_refresh(&c->seat);
		sum.launches += c->seat.meters.launches;
		sum.copy_bytes += c->seat.meters.copy_bytes;
	}
	return sum;
}

// As cuMemGetInfo shows it: total is the quota or the card, free is what both have left.
static void tell_memory(const struct tenant *t, uint64_t now_ns, struct device_state *d)
{
	const struct board *b = &t->mediator->sensor.board;
	uint64_t used = atomic_load(&t->page->memory_used), total = d->identity.total_memory, left;

	device_value_set(&d->values, DEVICE_MEMORY_USED, used);
	if (!b->known)
		return;
	if (t->memory_quota && t->memory_quota < total)
		total = t->memory_quota;
	device_value_set(&d->values, DEVICE_MEMORY_TOTAL, total);
	d->identity.total_memory = total; // as cuDeviceTotalMem
	left = used < total ? total - used : 0;
	// A real card has other users; only itself can say what they left.
	if (strcmp(b->backend, "cuda") == 0) {
		uint64_t free_bytes;

		if (!board_memory_free(b, now_ns, &free_bytes))
			return;
		if (!t->memory_quota || free_bytes < left)
			left = free_bytes;
	}
	device_value_set(&d->values, DEVICE_MEMORY_FREE, left);
}

static void tell_tenant(struct tenant *t, uint64_t now_ns, struct device_state *d)
{
	struct turn_meters meters = tenant_meters(t);
	uint32_t share;

	tell_memory(t, now_ns, d);
	if (tenant_share(t, now_ns, &share))
		device_value_set(&d->values, DEVICE_GPU_BUSY, share);
	device_value_set(&d->values, DEVICE_GPU_NS, t->account.group.charged_ns);
	device_value_set(&d->values, DEVICE_COPY_BYTES, meters.copy_bytes);
	device_value_set(&d->values, DEVICE_LAUNCHES, meters.launches);
	device_value_set(&d->values, DEVICE_WEIGHT, t->weight);
}

static void tell_process(struct session *asker, struct channel *c, uint64_t now_ns,
			 struct device_process *row)
{
	const struct peer *peer = session_peer(c->session);
	pid_t pid;

	*row = (struct device_process){
		.channel_id = c->id,
		.memory_bytes = turn_seat_memory(&c->seat),
		.gpu_ns = c->seat.leaf.charged_ns,
		.launches = c->seat.meters.launches,
		.started_us = c->opened_us,
		.valid = DEVICE_PROCESS_STARTED,
	};
	if (c->vm.is) { // the number means something in its guest, who alone asks for this tenant
		row->pid = c->vm.pid;
		row->valid |= DEVICE_PROCESS_PID;
	} else if (peer_sees(session_peer(asker), peer, &pid)) {
		row->pid = (uint64_t)pid;
		row->valid |= DEVICE_PROCESS_PID;
	}
	if (usage_share(&c->usage, now_ns, c->seat.leaf.charged_ns, &row->busy))
		row->valid |= DEVICE_PROCESS_BUSY;
	if (c->vm.is)
		memcpy(row->name, c->vm.name, sizeof(row->name));
	else
		memcpy(row->name, peer->name, sizeof(row->name));
}

// ---- the answer ----

static bool is_shown(const struct channel *c, const struct tenant *t)
{
	return c->tenant == t && c->state == CHANNEL_SERVING && c->session;
}

static void send_rows(struct session *s, uint64_t now_ns)
{
	struct link_device_rows m = {
		.header = { LINK_MAGIC, LINK_DEVICE_ROWS, 0, 0, s->device_cookie },
	};
	struct channel *c;

	LIST_FOREACH (c, &s->mediator->channels, link)
		m.left += is_shown(c, s->tenant);
	LIST_FOREACH (c, &s->mediator->channels, link) {
		if (!is_shown(c, s->tenant))
			continue;
		if (m.n == LINK_DEVICE_ROWS_MAX) {
			m.header.length = sizeof(m);
			session_send(s, &m, sizeof(m), NULL, 0);
			m.n = 0;
		}
		tell_process(s, c, now_ns, &m.process[m.n++]);
		m.left--;
	}
	m.header.length = (uint32_t)(offsetof(struct link_device_rows, process) + m.n * sizeof(m.process[0]));
	session_send(s, &m, m.header.length, NULL, 0);
}

static void answer(struct session *s, uint64_t now_ns)
{
	struct link_device_state m = {
		.header = { LINK_MAGIC, LINK_DEVICE_STATE, 0, sizeof(m), s->device_cookie },
	};

	s->device_waits = false;
	board_tell(&s->mediator->sensor.board, s->device_card, now_ns, &m.state);
	tell_tenant(s->tenant, now_ns, &m.state);
	session_send(s, &m, sizeof(m), NULL, 0);
	send_rows(s, now_ns);
	if (s->waiting_kept)
		session_keep_waiting(s);
}

static bool can_answer(const struct session *s, uint64_t now_ns)
{
	uint32_t share;

	return now_ns >= s->device_until_ns ||
	       (sensor_settled(&s->mediator->sensor, now_ns) && tenant_share(s->tenant, now_ns, &share));
}

void session_device_news(struct mediator *m)
{
	uint64_t now = clock_now_ns();
	struct session *s;

	LIST_FOREACH (s, &m->sessions, link) {
		if (!s->doomed && s->device_waits && can_answer(s, now))
			answer(s, now);
	}
}

// ---- tick ----

static bool is_attentive(uint64_t asked_ns, uint64_t now_ns)
{
	return asked_ns && now_ns - asked_ns < ATTENTIVE_NS;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct mediator *m = userdata;
	uint64_t now = clock_now_ns();
	struct tenant *t;

	(void)usec;
	if (!is_attentive(m->device_asked_ns, now) || m->stopping)
		return 0;
	turns_refresh(&m->turns);
	for (t = tenant_from_id(m, 0); t; t = t->id < UINT32_MAX ? tenant_from_id(m, t->id + 1) : NULL) {
		if (is_attentive(t->device_asked_ns, now))
			note_tenant(t, now);
	}
	sensor_want(&m->sensor, now);
	session_device_news(m);
	sd_event_source_set_time(source, (now + TICK_NS) / NSEC_PER_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int start_tick(struct mediator *m, uint64_t now_ns)
{
	uint64_t at = (now_ns + TICK_NS) / NSEC_PER_USEC;
	int enabled;

	if (!m->device_tick)
		return sd_event_add_time(m->event, &m->device_tick, CLOCK_MONOTONIC, at, 10000, on_tick, m);
	if (sd_event_source_get_enabled(m->device_tick, &enabled) > 0)
		return 0;
	sd_event_source_set_time(m->device_tick, at);
	return sd_event_source_set_enabled(m->device_tick, SD_EVENT_ONESHOT);
}

// ---- the request ----

static const char *refusal(struct session *s, const struct link_device *device, uint64_t now_ns,
			   uint32_t *ret_code)
{
	*ret_code = LINK_E_LIMIT;
	if (s->device_waits)
		return "the last DEVICE is not answered yet";
	if (!bucket_take(&s->device_rate, VGPU_MAX_DEVICE_ASKS_PER_S, now_ns))
		return "asked too often (VGPU_MAX_DEVICE_ASKS_PER_S)";
	if (!bucket_take(&s->tenant->device_rate, VGPU_MAX_TENANT_ASKS_PER_S, now_ns))
		return "this tenant's programs ask too often (VGPU_MAX_TENANT_ASKS_PER_S)";
	*ret_code = LINK_E_PERMISSION;
	if (device->flags & LINK_DEVICE_CARD && !s->operator_)
		return "only root and the mediator's own user, on the main socket, may see what all tenants "
		       "do";
	return NULL;
}

void request_device(struct session *s, const struct link_device *device)
{
	struct mediator *m = s->mediator;
	uint64_t now = clock_now_ns();
	uint32_t code;
	const char *refused = refusal(s, device, now, &code);
	int r = refused ? 0 : start_tick(m, now);

	if (r < 0) {
		code = LINK_E_INTERNAL;
		refused = strerror(-r);
	}
	if (refused) {
		session_send_error(s, device->header.cookie, code, refused);
		return;
	}
	s->device_cookie = device->header.cookie;
	s->device_card = device->flags & LINK_DEVICE_CARD;
	s->device_until_ns = now + VGPU_MAX_DEVICE_WAIT_NS;
	m->device_asked_ns = s->tenant->device_asked_ns = now;
	turns_refresh(&m->turns);
	note_tenant(s->tenant, now);
	sensor_want(&m->sensor, now);
	if (can_answer(s, now))
		answer(s, now);
	else
		s->device_waits = true;
}
