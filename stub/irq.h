// SPDX-License-Identifier: Apache-2.0
// The device's interrupts as eventfds of the monitor: one MSI vector, and the one that stops the VM (kept,
// never used). An interrupt that nobody can hear is kept until somebody can.
#ifndef VGPU_STUB_IRQ_H
#define VGPU_STUB_IRQ_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/vmm/vfio_user.h"

struct irq {
	int fds[VFIO_USER_IRQS]; // -1: none
	bool pending;
};

void irq_init(struct irq *irq);
void irq_done(struct irq *irq); // closes them

uint32_t irq_count(uint32_t index);

// Carries out SET_IRQS (fields as decoded, fds are taken over). 0 or a positive errno.
int irq_set(struct irq *irq, const struct vfio_user_set_irqs *m, int *fds, unsigned n_fds);

void irq_raise(struct irq *irq);

#endif
