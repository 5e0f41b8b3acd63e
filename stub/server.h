// SPDX-License-Identifier: Apache-2.0
// A vfio-user server: one socket, one PCI device behind it, one monitor at a time, its messages one after
// another, each answered before the next is looked at. A reply that must wait until nobody uses memory any
// more (of DMA_UNMAP and DEVICE_RESET) holds up those behind it.
#ifndef VGPU_STUB_SERVER_H
#define VGPU_STUB_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "protocol/vmm/vfio_user.h"

struct irq;
struct server;
struct vfio_user_request;

// The device behind a server. Users of memory are a set of bits that only the device knows.
struct server_device {
	const char *name; // in the log
	// Whether a monitor may have the device now. False: its connection is closed, and the log says why.
	bool (*accepts)(struct server *v);
	// Bytes of a region; 0: there is none of this index.
	uint64_t (*region_bytes)(const struct server *v, uint32_t region);
	// Inside of the region. A read fills all of to.
	void (*read)(struct server *v, uint32_t region, uint64_t offset, void *to, uint32_t count);
	void (*write)(struct server *v, uint32_t region, uint64_t offset, const void *from, uint32_t count);
	void (*reset)(struct server *v);
	void (*attach)(struct server *v); // a monitor is there; NULL: that does not matter
	void (*detach)(struct server *v); // it is gone
	// Memory of the VM, fd -1: not shared; takes it over. A positive errno: nothing changed. Who must
	// have let go of what was there before, until the reply goes, is added to *users.
	int (*map)(struct server *v, const struct vfio_user_request *r, int fd, uint64_t *users);
	int (*unmap)(struct server *v, uint64_t address, uint64_t bytes, uint64_t *users);
	// Which of the users still are some.
	uint64_t (*busy)(const struct server *v, uint64_t users);
	void (*idle)(struct server *v); // neither a monitor nor users
};

#define SERVER_ALL_USERS UINT64_MAX

struct server {
	sd_event *event;
	const char *path; // of the socket; lives as long
	const struct server_device *device;
	void *opaque; // the device's
	struct irq *irq;

	int listen_fd, fd; // fd -1: no monitor
	sd_event_source *listen_source, *source, *hold_timer;
	bool deaf;    // server_listen(false)
	bool greeted; // VERSION was exchanged

	// The message that is coming in.
	size_t got;
	unsigned n_fds;
	int fds[VFIO_USER_MAX_FDS];
	union {
		struct vfio_user_header header;
		uint8_t bytes[VFIO_USER_MAX_BYTES];
	} in;

	// The reply that is going out, or waits for users of memory (held) first.
	uint64_t held;
	bool reply_waits;
	size_t out_bytes, out_sent;
	union {
		struct vfio_user_header header;
		uint8_t bytes[VFIO_USER_MAX_BYTES];
	} out;
};

void server_init(struct server *v, const struct server_device *device, void *opaque, struct irq *irq);
// Listens on path; -EADDRINUSE: somebody answers there. 0 or -errno.
int server_start(struct server *v, sd_event *event, const char *path);
void server_done(struct server *v);

// Whether monitors that come are looked at; until then they wait.
void server_listen(struct server *v, bool on);

// A user of memory is gone: what waited for it goes on.
void server_go_on(struct server *v);

#endif
