// SPDX-License-Identifier: Apache-2.0
// The watch: who hangs, who is kept out and whether the card is there. Carries the rules of work.h,
// strikes.h and health.h into the mediator: hooks that channels, sessions and the sensor call, a patrol that
// looks at the running channels, and what operators ask. One `watch` a mediator; all in its loop.
// docs/decisions/0019.
#ifndef VGPU_MEDIATOR_WATCH_WATCH_H
#define VGPU_MEDIATOR_WATCH_WATCH_H

#include <signal.h>
#include <systemd/sd-event.h>

#include "mediator/settings.h"
#include "mediator/watch/health.h"
#include "mediator/watch/strikes.h"
#include "mediator/watch/work.h"
#include "protocol/host/link.h"

struct channel;
struct mediator;
struct tenant;

// What one tenant may do; from the settings until an operator says otherwise.
struct watch_rules {
	uint64_t work_ns;	// longest time in which its GPU work makes no progress; 0: any
	uint32_t refusals_in_s; // refused allocations of one executor in a second that are a strike; 0: any
	struct strike_rules strikes;
};

// Of a tenant.
struct tenant_watch {
	struct watch_rules rules;
	struct strike_book book;
};

// Of a channel.
struct channel_watch {
	struct work_watch work;
	uint64_t refusals, refusals_ns; // of allocations: as counted at that time
};

#define WATCH_LISTENERS 2 // the keeper's side and the store's

struct watch {
	struct mediator *mediator;
	sd_event_source *patrol;
	struct health health;
	uint64_t sensed_ns; // when the card was looked at last
	// Told after each change of a tenant's book: those who keep it longer than this process lives.
	struct watch_listener {
		void (*changed)(void *opaque, struct tenant *t);
		void *opaque;
	} listeners[WATCH_LISTENERS];
};

int watch_init(struct watch *w, struct mediator *m);
// Accepts one that was never initialised (all zero).
void watch_done(struct watch *w);

// From now on, or no more; there are places for all that there are.
void watch_listen(struct watch *w, void (*changed)(void *opaque, struct tenant *t), void *opaque);
void watch_unlisten(struct watch *w, void (*changed)(void *opaque, struct tenant *t));

// Takes the tenant's policy over: what it does not say is as the settings say.
void watch_apply_policy(struct tenant *t);
// Whether the tenant's book must outlive its connections.
bool watch_tenant_kept(const struct tenant *t);

// Whether a new channel may open: 0, or LINK_E_QUARANTINED or LINK_E_DEVICE_LOST with a text (error:
// LINK_TEXT_BYTES).
int watch_admit(struct tenant *t, char *error);
// A channel has begun: the patrol goes on as long as there is one.
void watch_channel_began(struct channel *c);

// What ended the channel c, after its state says so; may end the tenant's other channels.
void watch_strike(struct channel *c, enum strike_cause cause);
// The same out of an executor's exit that nobody ordered.
void watch_executor_exit(struct channel *c, const siginfo_t *si);

// What the sensor read, or that there is no card to read.
void watch_sensed(struct watch *w, const struct link_sensed *sensed);
void watch_no_card(struct watch *w);

// ---- for operators ----

struct quarantine_row {
	const struct tenant *tenant;
	enum strike_cause cause;
	uint64_t left_ns; // STRIKES_FOREVER: until released
};

// Tenants that are kept out now, by id.
void quarantine_list(struct mediator *m, void (*row)(void *opaque, const struct quarantine_row *r),
		     void *opaque);
// False: it is not in quarantine.
bool quarantine_release(struct tenant *t);
// for_ns 0: until released. Ends its channels.
void quarantine_add(struct tenant *t, uint64_t for_ns);

#endif
