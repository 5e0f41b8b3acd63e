// SPDX-License-Identifier: Apache-2.0
// The operation status: pools, tenants and channels with what they are to have and what they had. Runs in the
// mediator's loop.
#include "mediator/channel.h"
#include "mediator/control/operations.h"
#include "mediator/tenant.h"

static void set_percent(json_t *to, const char *name, double value)
{
	json_object_set_new(to, name, json_real(value));
}

// What a group is to have, what it has, what kept it back. Shares in percent of the GPU.
static void add_group(json_t *to, const struct wfq_node *group, struct window *window, uint64_t now_ns)
{
	uint64_t ns, grown = window_look(window, group->charged_ns, now_ns, &ns);

	json_object_set_new(to, "in_demand", json_boolean(group->in_demand));
	set_percent(to, "share_target", wfq_share(group) / 100.0);
	set_percent(to, "share_achieved", ns ? 100.0 * (double)grown / (double)ns : 0);
	control_set_count(to, "share_window_ns", ns);
	control_set_count(to, "gpu_ns", group->charged_ns);
	control_set_count(to, "contended_gpu_ns", group->contended_charged_ns);
	control_set_count(to, "turns", group->turns);
}

static const char *state_name(enum wfq_state state)
{
	static const char *const names[] = {
		[WFQ_IDLE] = "idle",	   [WFQ_WAITING] = "waiting", [WFQ_CAPPED] = "capped",
		[WFQ_HOLDING] = "holding", [WFQ_CLOSING] = "closing", [WFQ_LINGERING] = "lingering",
	};

	return names[state];
}

static const char *channel_state_name(enum channel_state state)
{
	switch (state) {
	case CHANNEL_STARTING: return "starting";
	case CHANNEL_SERVING: return "serving";
	default: return "ending";
	}
}

// How long work was held back, by what; as the executors count it.
static void add_held(json_t *to, const struct turn_meters *m)
{
	static const char *const names[] = {
		[VGPU_HELD_BY_TURN] = "turn",
		[VGPU_HELD_BY_LAUNCHES] = "launches_per_s",
		[VGPU_HELD_BY_COPIES] = "copy_per_s",
		[VGPU_HELD_BY_QUEUE] = "queue_depth",
	};
	json_t *held = json_object();

	for (unsigned i = 0; i < VGPU_HELD_BY; i++)
		control_set_count(held, names[i], m->held_ns[i]);
	json_object_set_new(to, "held_ns", held);
}

static json_t *describe_channel(struct channel *c)
{
	json_t *o = json_object();

	turn_seat_refresh(&c->seat);
	control_set_count(o, "channel", c->id);
	json_object_set_new(o, "state", json_string(channel_state_name(c->state)));
	control_set_count(o, "pid", (uint64_t)c->process.pid);
	json_object_set_new(o, "turn", json_string(state_name(c->seat.leaf.state)));
	control_set_count(o, "gpu_ns", c->seat.leaf.charged_ns);
	control_set_count(o, "memory_used", turn_seat_memory(&c->seat));
	control_set_count(o, "launches", c->seat.meters.launches);
	control_set_count(o, "copy_bytes", c->seat.meters.copy_bytes);
	control_set_count(o, "faults", c->seat.meters.faults);
	add_held(o, &c->seat.meters);
	return o;
}

static json_t *set_by_hand(const struct tenant *t)
{
	json_t *names = json_array();

	for (unsigned i = 0; i < POLICY_ITEMS; i++) {
		if (t->by_hand & 1u << i)
			json_array_append_new(names, json_string(policy_name(i)));
	}
	if (t->by_hand & TENANT_POOL_BY_HAND)
		json_array_append_new(names, json_string("pool"));
	return names;
}

json_t *control_describe_tenant(struct tenant *t, uint64_t now_ns)
{
	json_t *o = json_object(), *channels = json_array();
	struct turn_meters sum = t->account.ended;
	char kept_as[STORE_NAME_BYTES];
	struct channel *c;

	LIST_FOREACH (c, &t->mediator->channels, link) {
		if (c->tenant != t)
			continue;
		json_array_append_new(channels, describe_channel(c));
		turn_meters_add(&sum, &c->seat.meters);
	}
	control_set_count(o, "tenant", t->id);
	json_object_set_new(o, "name", json_string(t->name));
	record_tenant_name(t, kept_as);
	json_object_set_new(o, "record", json_string(kept_as));
	json_object_set_new(o, "vm", t->vm[0] ? json_string(t->vm) : json_null());
	json_object_set_new(o, "by_hand", set_by_hand(t));
	json_object_set_new(o, "pool", json_string(t->pool->name));
	control_add_policy(o, &t->policy, POLICY_FOR_TENANT);
	add_group(o, &t->account.group, &t->window, now_ns);
	control_set_count(o, "contended_ns", wfq_contended_ns(&t->mediator->turns.wfq, &t->account.group));
	control_set_count(o, "capped_ns", wfq_capped_ns(&t->account.group));
	control_set_count(o, "memory_used", atomic_load(&t->page->memory_used));
	control_set_count(o, "pinned_used", atomic_load(&t->page->pinned_used));
	control_set_count(o, "launches", sum.launches);
	control_set_count(o, "copy_bytes", sum.copy_bytes);
	control_set_count(o, "faults", sum.faults);
	add_held(o, &sum);
	json_object_set_new(o, "quarantine", json_boolean(watch_tenant_kept(t)));
	control_set_count(o, "connections", t->n_sessions);
	json_object_set_new(o, "channels", channels);
	return o;
}

json_t *control_describe_pool(struct pool *p, uint64_t now_ns)
{
	json_t *o = json_object();

	json_object_set_new(o, "pool", json_string(p->name));
	json_object_set_new(o, "gpu", p->gpu[0] ? json_string(p->gpu) : json_null());
	control_add_policy(o, &p->policy, POLICY_FOR_POOL);
	add_group(o, &p->group, &p->window, now_ns);
	control_set_count(o, "capped_ns", wfq_capped_ns(&p->group));
	control_set_count(o, "tenants", p->n_tenants);
	return o;
}

static void status_called(struct control_call *c)
{
	json_t *pools = json_array(), *tenants = json_array(), *drain = json_object();
	struct mediator *m = c->mediator;
	uint64_t now = clock_now_ns();
	struct tenant *t;
	struct pool *p;

	turns_refresh(&m->turns);
	TAILQ_FOREACH (p, &m->pools, link)
		json_array_append_new(pools, control_describe_pool(p, now));
	for (t = tenant_from_id(m, 0); t; t = tenant_after(t)) {
		if (!t->removed)
			json_array_append_new(tenants, control_describe_tenant(t, now));
	}
	control_set_count(c->answer, "now_ns", now);
	json_object_set_new(c->answer, "backend",
			    json_string(m->backend_name[0] ? m->backend_name : m->backend));
	json_object_set_new(c->answer, "device", json_string(m->device_name));
	json_object_set_new(c->answer, "health", json_string(health_text(m->watch.health.state)));
	control_set_count(c->answer, "last_xid", m->watch.health.last_xid);
	control_set_count(c->answer, "contended_ns", m->turns.wfq.contended_clock);
	control_add_drain(drain, m);
	json_object_set_new(c->answer, "drain", drain);
	json_object_set_new(c->answer, "pools", pools);
	json_object_set_new(c->answer, "tenants", tenants);
}

static const struct control_field no_fields[] = { { 0 } };

const struct control_operation control_status_operations[] = {
	{ "status",
	  "All pools, tenants and channels. Shares are percent of the GPU: the target among those in demand "
	  "now, what "
	  "was achieved in the last share_window_ns (at least a second, if somebody asks often enough).",
	  no_fields, 0, false, status_called },
	{ 0 },
};
