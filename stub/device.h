// SPDX-License-Identifier: Apache-2.0
// The device as a whole: what the server's messages and the guest's registers do.
#ifndef VGPU_STUB_DEVICE_H
#define VGPU_STUB_DEVICE_H

#include <stdint.h>

#include "stub/stub.h"

// As after power-on; with the next generation.
void device_init(struct stub *s);

// What the server's messages do with it; opaque is the stub.
extern const struct server_device device_server;

// An executor is gone.
void device_channel_gone(struct stub *s);

// VGPU_CAUSE_*: remembered, and the guest is interrupted.
void device_interrupt(struct stub *s, uint32_t cause);

// VGPU_STATUS_READY or not.
void device_host_answers(struct stub *s, bool answers);

#endif
