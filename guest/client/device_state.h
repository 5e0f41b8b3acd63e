// SPDX-License-Identifier: Apache-2.0
// What the GPU is doing, as the mediator tells it: the part of the client for programs that ask about the GPU
// without using it (NVML). One connection to the mediator (in a virtual machine: an open file), no channel,
// no executor. Any thread may call anything; calls on one device are answered one after the other. libc only,
// like all of the client.
//
// Every call ends within VGPU_DEVICE_WAIT_NS, mostly within microseconds; the first one on a host that nobody
// asked for a while takes longer (a sensor is started, two looks at the tenant's use of the GPU are needed:
// some 100 ms). When the mediator is gone calls answer -errno at once, and work again when it is back. In a
// forked child the device may be used on: it makes a connection of its own.
#ifndef VGPU_CLIENT_DEVICE_STATE_H
#define VGPU_CLIENT_DEVICE_STATE_H

#include "protocol/host/device.h"

#define VGPU_DEVICE_WAIT_NS	10000000000ull
#define VGPU_DEVICE_FRESHEST_NS 20000000ull // an answer younger than this is not asked for again

struct vgpu_device;

// Connects to the mediator at path (NULL: $VGPU_SOCKET, else the virtual GPU if there is one, else the
// default socket). The caller owns *ret. -ENOENT, -ECONNREFUSED: no mediator is there; -ENODEV: the virtual
// GPU does not answer; -EACCES: not this user's; -ECONNABORTED: the mediator refused (connections of this
// tenant, version); -ETIMEDOUT, -EPROTO, -ENOMEM, -EMFILE.
int vgpu_device_open(const char *path, struct vgpu_device **ret);
// Accepts NULL. No other call on it may be running or follow.
void vgpu_device_close(struct vgpu_device *d);

// One snapshot: an earlier answer if it is at most max_age_ns old (0 counts as VGPU_DEVICE_FRESHEST_NS), else
// a new one. values.valid says which numbers are known; source whether there is a card behind them. 0; or
// -errno as for open, with *ret untouched; -EBUSY: this tenant's programs ask too often; -EIO: the mediator
// cannot answer.
int vgpu_device_state(struct vgpu_device *d, uint64_t max_age_ns, struct device_state *ret);

// The programs of this tenant that use the GPU, of one moment, in no order: *ret_n of them, the first
// min(room, *ret_n) in rows (may be NULL with room 0). Results as above.
int vgpu_device_processes(struct vgpu_device *d, uint64_t max_age_ns, struct device_process *rows,
			  uint32_t room, uint32_t *ret_n);

#endif
