// SPDX-License-Identifier: Apache-2.0
// The vfio-user server: one monitor at a time, its messages one after another, each answered before the next
// is looked at. A reply that must wait until executors are gone (of DMA_UNMAP and DEVICE_RESET) holds up
// those behind it.
#ifndef VGPU_STUB_SERVER_H
#define VGPU_STUB_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "protocol/vmm/vfio_user.h"

struct stub;

struct server {
	int listen_fd, fd; // fd -1: no monitor
	sd_event_source *listen_source, *source, *hold_timer;
	bool greeted; // VERSION was exchanged
	bool warned;

	// The message that is coming in.
	size_t got;
	unsigned n_fds;
	int fds[VFIO_USER_MAX_FDS];
	union {
		struct vfio_user_header header;
		uint8_t bytes[VFIO_USER_MAX_BYTES];
	} in;

	// The reply that is going out, or waits for channels (held) first.
	uint64_t held;
	bool reply_waits;
	size_t out_bytes, out_sent;
	union {
		struct vfio_user_header header;
		uint8_t bytes[VFIO_USER_MAX_BYTES];
	} out;
};

void server_init(struct server *v);
// Listens; -EADDRINUSE: somebody answers there. 0 or -errno.
int server_start(struct stub *s);
void server_done(struct stub *s);

// An executor is gone: what waited for it goes on.
void server_go_on(struct stub *s);

#endif
