// SPDX-License-Identifier: Apache-2.0
// A mediator and an executor in one thread of the test: speaks the host link as far as one channel, consumes
// the ring as the protocol says, answers ping, performs fences, and can misbehave on demand.
#ifndef VGPU_TESTS_CLIENT_FAKE_HOST_H
#define VGPU_TESTS_CLIENT_FAKE_HOST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/host/link.h"

struct fake_host {
	char path[108];
	struct link_geometry geometry;
	uint32_t refuse_code; // not 0: CHANNEL_OPEN is answered with this error and a text
	_Atomic bool hold;    // consume nothing while set
	_Atomic bool mute;    // consume, but answer no call and store no fence
	_Atomic bool quit;
	_Atomic uint64_t records, pads, pushes_seen_bytes, doorbells;
	_Atomic int link; // of the one client; -1 before
	pthread_t thread;
	int listener, doorbell;
	uint8_t *channel;
};

// Starts it; h->path is where clients connect. Ring of ring_bytes (0: the default).
void fake_host_start(struct fake_host *h, uint32_t ring_bytes);
// Makes the channel's memory, as the geometry says, and serves it from now on. The fds are the caller's.
void fake_host_make_memory(struct fake_host *h, int *ret_channel, int *ret_window);
// Ends the thread and closes what the client left.
void fake_host_stop(struct fake_host *h);
// Closes the client's link, as a dying mediator does.
void fake_host_hang_up(struct fake_host *h);
void fake_host_send_lost(struct fake_host *h, uint32_t code);

#endif
