// SPDX-License-Identifier: Apache-2.0
// What channel.c and channel_open.c have of each other.
#ifndef VGPU_MEDIATOR_CHANNEL_INTERNAL_H
#define VGPU_MEDIATOR_CHANNEL_INTERNAL_H

#include "mediator/channel.h"

// The first reason counts.
void channel_set_reason(struct channel *c, uint32_t code, const char *text);
void channel_tell_end(struct channel *c);
// channel.c looks at it again in ns. 0 or -errno.
int channel_set_timer(struct channel *c, uint64_t ns);
// Its other end sees it at once, although the keeper has the link too.
void channel_close_link(struct channel *c);
void channel_release_process(struct channel *c);

int channel_on_exit(sd_event_source *source, int pidfd, uint32_t events, void *userdata);
int channel_on_link(sd_event_source *source, int fd, uint32_t events, void *userdata);

// The one that was started ahead is reaped: from now on as if there had been none.
void channel_start_again(struct channel *c);

#endif
