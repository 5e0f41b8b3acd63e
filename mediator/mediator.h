// SPDX-License-Identifier: Apache-2.0
// The daemon's one object and who belongs to whom:
//
//   mediator ── pools ── (tenants)
//      ├── tenants ── channels ── executor process, seat in the turns
//      │           └────── sessions (connections; a session owns its channels and the tenants it made)
//      ├── sensor (reads the device for those who ask)
//      ├── executors started ahead, which have no tenant yet
//      ├── keeper (a process that holds what the next mediator is to adopt)
//      └── listener of the main socket; each made tenant has one of its own
//
// Everything runs in one sd-event loop. Sessions, channels and tenants never free themselves inside a
// handler: they are marked, and the reaper frees them when the handler is done.
#ifndef VGPU_MEDIATOR_MEDIATOR_H
#define VGPU_MEDIATOR_MEDIATOR_H

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "mediator/adopt/custody.h"
#include "mediator/api/api.h"
#include "mediator/control/control.h"
#include "mediator/device/sensor.h"
#include "mediator/inventory/drain.h"
#include "mediator/inventory/inventory.h"
#include "mediator/event/event.h"
#include "mediator/listener.h"
#include "mediator/metrics/metrics.h"
#include "mediator/migrate/migrate.h"
#include "mediator/park/park.h"
#include "mediator/pool.h"
#include "mediator/record/record.h"
#include "mediator/settings.h"
#include "mediator/turn/turn.h"
#include "mediator/warm/pool.h"
#include "mediator/watch/watch.h"

struct session;
struct channel;
struct tenant;

RB_HEAD(tenant_tree, tenant);
LIST_HEAD(session_list, session);
LIST_HEAD(channel_list, channel);

// What the next mediator gets; see mediator/adopt/keep.h.
struct keeping {
	struct custody custody;
	char program[4096]; // the keeper's; empty: there is none
	sd_event_source *link_source, *timer;
	uint64_t next_session_id, next_share_id, next_pool_id;
	uint64_t started_ns; // the keeper
	bool adopting;	     // records are being turned into objects: nothing is put
};

struct mediator {
	sd_event *event;
	struct keeping keeping;
	const struct settings *settings;
	const char *backend; // as decided, never "auto"
	char executor[4096]; // absolute path
	struct turns turns;
	struct pool_list pools;
	unsigned n_pools;
	struct control control;
	struct control_later_list laters; // answers to operators that are awaited
	struct api api;
	struct events events;
	struct sensor sensor;
	struct warm_pool warm;
	struct park park;
	struct watch watch;
	struct record record;
	struct inventory inventory;
	struct drain drain;
	struct migrate migrate;
	struct metrics metrics;
	sd_event_source *device_tick; // runs while somebody asks about the device
	uint64_t device_asked_ns;
	sd_event_source *history_tick; // runs while there are channels
	struct listener listener;
	int spare_fd; // given up for a moment when there are no others; see listener.c

	struct tenant_tree tenants; // by id
	uint32_t n_tenants, next_tenant_id;
	struct session_list sessions;
	struct channel_list channels;
	uint64_t next_channel_id;

	sd_event_source *reaper;
	bool stopping;
	sd_event_source *stop_timer;

	char backend_name[32], device_name[64]; // as the newest executor told, for STATUS
};

// Has the reaper run when the current handler is done.
void mediator_reap(struct mediator *m);

// Ends everything in order: clients are told, executors end, the loop exits when the last one is gone.
void mediator_stop(struct mediator *m);

#endif
