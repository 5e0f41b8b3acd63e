// SPDX-License-Identifier: Apache-2.0
// The daemon's one object and who belongs to whom:
//
//   mediator ── tenants ── channels ── executor process, seat in the turns
//      │           └────── sessions (connections; a session owns its channels and the tenants it made)
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

#include "mediator/listener.h"
#include "mediator/settings.h"
#include "mediator/turn/turn.h"

struct session;
struct channel;
struct tenant;

RB_HEAD(tenant_tree, tenant);
LIST_HEAD(session_list, session);
LIST_HEAD(channel_list, channel);

struct mediator {
	sd_event *event;
	const struct settings *settings;
	const char *backend; // as decided, never "auto"
	char executor[4096]; // absolute path
	struct turns turns;
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
