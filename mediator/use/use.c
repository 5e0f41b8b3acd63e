// SPDX-License-Identifier: Apache-2.0
// See the header. Called by channels, the watch, the record and operations.
#include "mediator/use/use.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "mediator/about.h"
#include "mediator/channel.h"
#include "mediator/complain.h"
#include "mediator/event/event.h"
#include "mediator/tenant.h"
#include "protocol/guest/calls.h"

#define HOUR_S 3600

static_assert((unsigned)FEATURE_COUNT <= USE_FEATURES, "bits of a word");

static const char *const libraries[LINK_LIBRARIES] = {
	[LINK_LIBRARY_UNTOLD] = "untold",
	[LINK_LIBRARY_CUDA] = "libcuda",
	[LINK_LIBRARY_VGPU] = "libvgpu",
	[LINK_LIBRARY_NVML] = "libnvidia-ml",
};

const char *use_library_text(unsigned library)
{
	return libraries[library];
}

unsigned use_library_find(const char *text)
{
	unsigned i = 0;

	while (i < LINK_LIBRARIES && strcmp(libraries[i], text) != 0)
		i++;
	return i;
}

// ---- the protocol ----

int use_admit(struct tenant *t, uint32_t library, char *error)
{
	static const enum link_library only[] = {
		[POLICY_PROTOCOL_CUSTOM] = LINK_LIBRARY_VGPU,
		[POLICY_PROTOCOL_CUDA] = LINK_LIBRARY_CUDA,
	};
	uint64_t protocol = t->policy.value[POLICY_PROTOCOL];

	if (protocol == POLICY_PROTOCOL_ANY || library == only[protocol])
		return 0;
	if (library == LINK_LIBRARY_UNTOLD)
		snprintf(error, LINK_TEXT_BYTES,
			 "'%s' may only run programs of %s (protocol %s), and this one does not say what it "
			 "is: its library or vgpu.ko is of an older version",
			 t->name, libraries[only[protocol]], policy_word(&t->policy, POLICY_PROTOCOL));
	else
		snprintf(error, LINK_TEXT_BYTES,
			 "'%s' may only run programs of %s (protocol %s), and this one is of %s", t->name,
			 libraries[only[protocol]], policy_word(&t->policy, POLICY_PROTOCOL),
			 libraries[library]);
	t->use->past[library].refused++;
	complain("tenant %" PRIu32 ": %s", t->id, error);
	event_publish(t->mediator, EVENT_CHANNEL_REFUSED, t,
		      json_pack("{s:s}", "library", libraries[library]), "%s", error);
	return LINK_E_PERMISSION;
}

// ---- counting ----

void use_channel_began(struct channel *c)
{
	c->tenant->use->past[c->library].channels++;
}

void use_look(struct channel *c)
{
	uint64_t bits = turn_seat_take_features(&c->seat);
	struct tenant_use *use = c->tenant->use;
	int64_t hour = time(NULL);

	hour -= hour % HOUR_S;
	for (unsigned i = 0; bits >> i && i < FEATURE_COUNT; i++) {
		struct use_feature *f = &use->features[i];

		if (!(bits >> i & 1) || f->last_s == hour)
			continue;
		f->last_s = hour;
		if (!f->first_s)
			f->first_s = hour;
		use->news |= UINT64_C(1) << i;
	}
}

static uint64_t add_up(uint64_t a, uint64_t b)
{
	return a >= TURN_METER_MOST || b >= TURN_METER_MOST - a ? TURN_METER_MOST : a + b;
}

void use_add_channel(struct use_library sum[LINK_LIBRARIES], const struct channel *c)
{
	struct use_library *l = &sum[c->library];

	l->launches = add_up(l->launches, c->seat.meters.launches);
	l->gpu_ns = add_up(l->gpu_ns, c->seat.leaf.charged_ns);
	l->faults = add_up(l->faults, c->seat.meters.faults);
}

void use_channel_ended(struct channel *c)
{
	use_add_channel(c->tenant->use->past, c);
}
