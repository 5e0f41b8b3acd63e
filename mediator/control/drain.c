// SPDX-License-Identifier: Apache-2.0
// Operations drain.get, drain.start, drain.stop. Runs in the mediator's loop.
#include <string.h>

#include "common/clock.h"
#include "common/units.h"
#include "mediator/control/operations.h"
#include "mediator/mediator.h"
#include "protocol/control/control.h"

void control_add_drain(json_t *to, struct mediator *m)
{
	const struct drain *d = &m->drain;
	uint64_t now = clock_now_ns();
	unsigned left = drain_left(m);

	json_object_set_new(to, "draining", json_boolean(d->on));
	json_object_set_new(to, "drained", json_boolean(d->on && !left));
	json_object_set_new(to, "channels", json_integer(left));
	json_object_set_new(to, "since_s", d->on ? json_integer((json_int_t)d->since_s) : json_null());
	if (d->until_ns)
		control_set_count(to, "left_ns", d->until_ns > now ? d->until_ns - now : 0);
	else
		json_object_set_new(to, "left_ns", json_null());
}

static void get_called(struct control_call *c)
{
	control_add_drain(c->answer, c->mediator);
}

static void start_called(struct control_call *c)
{
	const char *text = control_text(c, "for");
	uint64_t for_ns = 0;
	int r;

	if (text && (unit_parse(text, 10, unit_times, &for_ns) < 0 || !for_ns ||
		     for_ns > VGPU_MAX_DRAIN_S * NSEC_PER_SEC)) {
		control_fail(c, CONTROL_E_VALUE,
			     "for: '%.40s' is not a time with its unit (ns, us, ms, s), up to %llu s", text,
			     VGPU_MAX_DRAIN_S);
		return;
	}
	r = drain_start(c->mediator, for_ns);
	if (r < 0)
		control_fail(c, CONTROL_E_INTERNAL, "no timer: %s", strerror(-r));
	else
		control_add_drain(c->answer, c->mediator);
}

static void stop_called(struct control_call *c)
{
	if (!drain_stop(c->mediator))
		control_fail(c, CONTROL_E_STATE, "the host is not being drained");
}

static const struct control_field no_fields[] = { { 0 } };
static const struct control_field start_fields[] = {
	{ "for", CONTROL_STRING, false,
	  "After how long (\"600 s\") channels that are still there are ended. Without it they may take as "
	  "long as they "
	  "like." },
	{ 0 },
};

const struct control_operation control_drain_operations[] = {
	{ "drain.get",
	  "Whether the host is being drained, since when, how long channels may still take (null: as long as "
	  "they like), "
	  "how many there are, and whether it is done.",
	  no_fields, 0, false, get_called },
	{ "drain.start",
	  "From now on no channel opens and no vGPU is assigned: programs that begin are refused "
	  "(CUDA_ERROR_SYSTEM_NOT_READY), what runs goes on. Once more: with the new time. A mediator that "
	  "adopts goes on "
	  "with it, one that is stopped and started does not.",
	  start_fields, 0, true, start_called },
	{ "drain.stop", "Channels open again.", no_fields, 0, true, stop_called },
	{ 0 },
};
