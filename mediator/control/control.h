// SPDX-License-Identifier: Apache-2.0
// The mediator's end of the control socket (protocol/control/control.h), as the rest of the mediator sees it.
// In the mediator's loop.
#ifndef VGPU_MEDIATOR_CONTROL_CONTROL_H
#define VGPU_MEDIATOR_CONTROL_CONTROL_H

#include <bsd/sys/queue.h>
#include <stdio.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

struct mediator;
struct control_link;
struct control_retry;
struct control_later;
LIST_HEAD(control_link_list, control_link);
LIST_HEAD(control_retry_list, control_retry);
LIST_HEAD(control_later_list, control_later);

struct control {
	struct mediator *mediator; // NULL: not initialised
	int fd;
	sd_event_source *source;
	char path[108];
	gid_t group; // whose members may connect; (gid_t)-1: none
	struct control_link_list links;
	unsigned n_links;
	struct control_retry_list retries; // requests that wait for the sensor
};

// Opens the socket that the settings name. 0 or -errno, which was logged.
int control_init(struct control *c, struct mediator *m);
// Closes all; accepts one that was never initialised.
void control_done(struct control *c);

// The sensor told something, or ended: requests that waited for it go on.
void control_device_news(struct mediator *m);
// Gives them up.
void control_retries_done(struct control *c);

// The store and the sensor, which owe answers, are closed: none comes any more, which those who wait are
// told.
void control_give_up(struct mediator *m);

void control_print_help(FILE *out);

#endif
