// SPDX-License-Identifier: Apache-2.0
// The stub's own connection to the mediator: whether that answers, who the tenant is, and questions about the
// device. It tells whether a monitor is there: a VM that runs is not one that never came. Lost, the
// connection is made again, with growing pauses.
#ifndef VGPU_STUB_HOST_H
#define VGPU_STUB_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "protocol/guest/vgpu_pci.h"

struct stub;

struct host {
	int link;   // -1: none
	bool up;    // HELLO was answered
	bool tells; // with LINK_FEATURE_PERSONALITY
	bool complained;
	uint64_t pause_us; // before the next try
	sd_event_source *link_source, *timer;
	uint32_t asked; // cookie of the question that is under way; 0: none
};

void host_init(struct host *h);
// Begins to connect. 0 or -errno.
int host_start(struct stub *s);
// A monitor came, or is gone.
void host_monitor(struct stub *s);
void host_done(struct host *h);

// DEVICE, checked: its reply comes later. One question at a time goes to the mediator, the others wait in
// their slots.
enum vgpu_command_result host_ask_device(struct stub *s, unsigned slot, const struct vgpu_command_device *d);

#endif
