// SPDX-License-Identifier: Apache-2.0
// What tenants used by library and feature (mediator/use), told to the store with the rest of their usage.
// Runs in the mediator's loop.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mediator/channel.h"
#include "mediator/record/record.h"
#include "mediator/tenant.h"
#include "protocol/guest/calls.h"

#define MOST_ROWS (LINK_LIBRARIES + USE_FEATURES) // of one tenant

static uint64_t grown(uint64_t now, uint64_t told)
{
	return now > told ? now - told : 0;
}

void record_use_untold(const struct tenant *t, struct use_library ret[LINK_LIBRARIES])
{
	for (unsigned i = 0; i < LINK_LIBRARIES; i++) {
		const struct use_library *now = &t->record.now.use[i], *told = &t->record.told.use[i];

		ret[i] = (struct use_library){
			.channels = grown(now->channels, told->channels),
			.refused = grown(now->refused, told->refused),
			.launches = grown(now->launches, told->launches),
			.gpu_ns = grown(now->gpu_ns, told->gpu_ns),
			.faults = grown(now->faults, told->faults),
		};
	}
}

static struct store_use *new_row(struct record_uses *u, const struct tenant *t, const char *name)
{
	struct store_use *row = &u->rows[u->n++];

	memset(row, 0, sizeof(*row));
	record_tenant_name(t, row->tenant);
	snprintf(row->name, sizeof(row->name), "%s", name);
	return row;
}

static bool make_room(struct record_uses *u, unsigned rows)
{
	unsigned room = u->room ? u->room : MOST_ROWS;
	struct store_use *more;

	while (room < u->n + rows)
		room *= 2;
	if (room == u->room)
		return true;
	more = reallocarray(u->rows, room, sizeof(*more));
	if (!more)
		return false;
	u->rows = more;
	u->room = room;
	return true;
}

static void add_libraries(struct record_uses *u, const struct tenant *t)
{
	struct use_library untold[LINK_LIBRARIES];

	record_use_untold(t, untold);
	for (unsigned i = 0; i < LINK_LIBRARIES; i++) {
		const struct use_library *l = &untold[i];
		struct store_use *row;

		if (!(l->channels | l->refused | l->launches | l->gpu_ns | l->faults))
			continue;
		row = new_row(u, t, use_library_text(i));
		row->channels = l->channels;
		row->refused = l->refused;
		row->launches = l->launches;
		row->gpu_ns = l->gpu_ns;
		row->faults = l->faults;
	}
}

static void add_features(struct record_uses *u, const struct tenant *t)
{
	for (unsigned i = 0; i < FEATURE_COUNT; i++) {
		struct store_use *row;

		if (!(t->use->news >> i & 1))
			continue;
		row = new_row(u, t, call_feature_names[i]);
		row->is_feature = true;
		row->first_s = t->use->features[i].first_s;
		row->last_s = t->use->features[i].last_s;
	}
}

bool record_use_add(struct record *r, const struct tenant *t)
{
	if (!make_room(&r->uses, MOST_ROWS))
		return false;
	add_libraries(&r->uses, t);
	add_features(&r->uses, t);
	return true;
}

void record_use_again(struct tenant *t)
{
	for (unsigned i = 0; i < FEATURE_COUNT; i++) {
		if (t->use->features[i].last_s)
			t->use->news |= UINT64_C(1) << i;
	}
}
