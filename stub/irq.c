// SPDX-License-Identifier: Apache-2.0
// Interrupts; see the header. Masking is the monitor's: a masked vector's eventfd is one that it reads
// itself.
#include "stub/irq.h"

#include <errno.h>
#include <unistd.h>

#include "common/cleanup.h"

void irq_init(struct irq *irq)
{
	for (unsigned i = 0; i < VFIO_USER_IRQS; i++)
		irq->fds[i] = -1;
	irq->pending = false;
}

void irq_done(struct irq *irq)
{
	for (unsigned i = 0; i < VFIO_USER_IRQS; i++)
		close_fd(&irq->fds[i]);
	irq->pending = false;
}

uint32_t irq_count(uint32_t index)
{
	return index == VFIO_USER_IRQ_MSI || index == VFIO_USER_IRQ_ERROR;
}

static void write_one(int fd)
{
	static const uint64_t one = 1;

	// It can only fail when the counter is full, or the monitor sent something else than an eventfd.
	(void)!write(fd, &one, sizeof(one));
}

int irq_set(struct irq *irq, const struct vfio_user_set_irqs *m, int *fds, unsigned n_fds)
{
	uint32_t data =
	    m->flags & (VFIO_USER_IRQ_DATA_NONE | VFIO_USER_IRQ_DATA_BOOL | VFIO_USER_IRQ_DATA_EVENTFD);
	int *mine = &irq->fds[m->index];

	if (m->start || m->count > irq_count(m->index) || n_fds > m->count ||
	    (n_fds && data != VFIO_USER_IRQ_DATA_EVENTFD))
		return EINVAL;
	if (!(m->flags & VFIO_USER_IRQ_TRIGGER)) // MASK, UNMASK: of INTx, which is not there
		return EINVAL;
	if (data == VFIO_USER_IRQ_DATA_EVENTFD || (data == VFIO_USER_IRQ_DATA_NONE && !m->count)) {
		close_fd(mine);
		if (n_fds)
			*mine = take_fd(&fds[0]);
	} else if (m->count && *mine >= 0) { // a test of the vector
		write_one(*mine);
	}
	if (irq->pending && irq->fds[VFIO_USER_IRQ_MSI] >= 0)
		irq_raise(irq);
	return 0;
}

void irq_raise(struct irq *irq)
{
	int fd = irq->fds[VFIO_USER_IRQ_MSI];

	irq->pending = fd < 0;
	if (fd >= 0)
		write_one(fd);
}
