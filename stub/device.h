// SPDX-License-Identifier: Apache-2.0
// The device as a whole: what the server's messages and the guest's registers do.
#ifndef VGPU_STUB_DEVICE_H
#define VGPU_STUB_DEVICE_H

#include <stdint.h>

#include "stub/stub.h"

#define ALL_CHANNELS UINT64_MAX

// As after power-on; with the next generation.
void device_init(struct stub *s);

// Every channel is ended at once; the device is as after power-on, but for channels whose executors are not
// gone.
void device_reset(struct stub *s);

// The monitor is gone: reset, and all of its memory and interrupts forgotten.
void device_detach(struct stub *s);

void device_read(struct stub *s, uint32_t region, uint64_t offset, void *to, uint32_t count);
void device_write(struct stub *s, uint32_t region, uint64_t offset, const void *from, uint32_t count);

// Memory of the VM goes away: channels that have some in the range are ended at once. Returns who they are;
// they may use the memory until they are not busy.
uint64_t device_lose_memory(struct stub *s, uint64_t address, uint64_t bytes);

// Which of the channels have executors (or may).
uint64_t device_busy(const struct stub *s, uint64_t channels);

// An executor is gone.
void device_channel_gone(struct stub *s);

// VGPU_CAUSE_*: remembered, and the guest is interrupted.
void device_interrupt(struct stub *s, uint32_t cause);

// VGPU_STATUS_READY or not.
void device_host_answers(struct stub *s, bool answers);

#endif
