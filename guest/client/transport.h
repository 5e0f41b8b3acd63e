// SPDX-License-Identifier: Apache-2.0
// How a client reaches its executor: over the mediator's socket (process mode, transport_link.c), or over the
// virtual GPU of a virtual machine (/dev/vgpu0, transport_device.c). What differs, and nothing of what is
// called often: the ring, the replies and the fences are the same shared memory either way.
#ifndef VGPU_CLIENT_TRANSPORT_H
#define VGPU_CLIENT_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

struct vgpu_client;

// Results are 0 or -errno.
struct transport {
	// Opens a channel: geometry, tenant, the channel's memory, the address windows and in them the arena.
	// path as the caller of vgpu_client_open gave it. On failure open_error says why in words, and
	// close() follows.
	int (*open)(struct vgpu_client *c, const char *path);
	// Closes the files and frees what open and adopt made; maps are the caller's to undo. Also after a
	// failed open, and in a forked child.
	void (*close)(struct vgpu_client *c);
	// In a forked child: what the parent shares with the host must not be shared with the child.
	void (*forget)(struct vgpu_client *c);

	// Wakes the executor, which said that it sleeps.
	void (*ring)(struct vgpu_client *c);
	// Sleeps until the wake word may not be `seen` any more, 50 ms at most; finds out when the channel is
	// lost.
	void (*sleep)(struct vgpu_client *c, uint32_t seen);
	// Wakes all that sleep; the wake word has changed.
	void (*wake)(struct vgpu_client *c);
	// Marks the channel lost if it is; never waits.
	void (*check)(struct vgpu_client *c);

	// Puts memory behind whole pages of the host window that nobody uses; and takes it away.
	int (*back)(struct vgpu_client *c, uint64_t offset, uint64_t bytes);
	void (*unback)(struct vgpu_client *c, uint64_t offset, uint64_t bytes);

	// vgpu_window_adopt and vgpu_window_release. address and bytes are whole pages.
	int (*adopt)(struct vgpu_client *c, void *address, uint64_t bytes, uint64_t *ret_offset);
	int (*release)(struct vgpu_client *c, void *address, uint64_t bytes, uint64_t offset);
};

extern const struct transport transport_link, transport_device;

// An open file of the virtual GPU, which answered; or -errno: there is none, or not for this user.
int transport_device_file(void);

#endif
