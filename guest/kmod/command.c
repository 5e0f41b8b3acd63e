// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands: slots in the admin area. One command is one slot until its reply has come. When nobody waits for it any
 * longer (killed, out of time) the slot keeps what the device may still use, until the reply comes after all or the
 * device is stopped.
 */
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/jiffies.h>

#include "vgpu_drv.h"

/* Zeroed, contiguous for the device, whole pages. The caller has entered, also to free it. */
int vgpu_buffer_alloc(struct vgpu_device *vdev, size_t bytes, struct vgpu_buffer *ret)
{
	ret->bytes = PAGE_ALIGN(bytes);
	ret->va = dma_alloc_coherent(&vdev->pdev->dev, ret->bytes, &ret->dma, GFP_KERNEL | __GFP_NOWARN);
	return ret->va ? 0 : -ENOMEM;
}

void vgpu_buffer_free(struct vgpu_device *vdev, struct vgpu_buffer *buffer)
{
	if (buffer->va)
		dma_free_coherent(&vdev->pdev->dev, buffer->bytes, buffer->va, buffer->dma);
	buffer->va = NULL;
}

static u32 answer(struct vgpu_device *vdev, int i)
{
	return le32_to_cpu(READ_ONCE(vdev->admin->slot[i].reply.sequence));
}

/* vgpu_device.lock is held. */
bool vgpu_commands_answered(struct vgpu_device *vdev)
{
	int i;

	for (i = 0; i < VGPU_COMMAND_SLOTS; i++) {
		if (vdev->slot[i].state != VGPU_SLOT_FREE && answer(vdev, i))
			return true;
	}
	return false;
}

/* The host has let go of everything: no slot keeps anything. */
void vgpu_commands_drop(struct vgpu_device *vdev)
{
	struct vgpu_buffer kept;
	int i;

	for (i = 0; i < VGPU_COMMAND_SLOTS; i++) {
		spin_lock_irq(&vdev->lock);
		kept = vdev->slot[i].keep;
		vdev->slot[i] = (struct vgpu_slot){ .state = VGPU_SLOT_FREE };
		spin_unlock_irq(&vdev->lock);
		vgpu_buffer_free(vdev, &kept);
	}
}

/* A slot that is free, or whose late reply has come: then *stale is to be freed. -EAGAIN: none; -ENODEV. */
static int slot_take(struct vgpu_device *vdev, struct vgpu_buffer *stale, u32 *epoch)
{
	int i, r = -EAGAIN;

	spin_lock_irq(&vdev->lock);
	*epoch = vdev->epoch;
	if (vdev->state != VGPU_UP)
		r = -ENODEV;
	for (i = 0; i < VGPU_COMMAND_SLOTS && r == -EAGAIN; i++) {
		struct vgpu_slot *slot = &vdev->slot[i];

		if (slot->state == VGPU_SLOT_BUSY ||
		    (slot->state == VGPU_SLOT_ORPHAN && answer(vdev, i) != slot->sequence))
			continue;
		*stale = slot->keep;
		if (!++vdev->sequence)
			vdev->sequence = 1;
		*slot = (struct vgpu_slot){ .state = VGPU_SLOT_BUSY, .sequence = vdev->sequence };
		r = i;
	}
	spin_unlock_irq(&vdev->lock);
	return r;
}

static bool is_over(struct vgpu_device *vdev, int i, u32 epoch)
{
	return answer(vdev, i) || READ_ONCE(vdev->epoch) != epoch;
}

/* Hands the command and what it names over to the device. */
static int submit(struct vgpu_device *vdev, int i, u32 epoch, const struct vgpu_command *command,
		  const struct vgpu_buffer *buffer)
{
	struct vgpu_slot *slot = &vdev->slot[i];
	int r = -ENODEV;

	spin_lock_irq(&vdev->lock);
	if (vdev->epoch == epoch) {
		if (buffer)
			slot->keep = *buffer;
		vdev->admin->slot[i].command = *command;
		vdev->admin->slot[i].command.sequence = cpu_to_le32(slot->sequence);
		WRITE_ONCE(vdev->admin->slot[i].reply.sequence, 0);
		writel(i, vdev->bar + VGPU_REG_COMMAND); /* orders the stores before it */
		r = 0;
	}
	spin_unlock_irq(&vdev->lock);
	return r;
}

/* Takes the reply and frees the slot; or leaves it to the device (r: why nobody waits any more). */
static int finish(struct vgpu_device *vdev, int i, u32 epoch, int r, struct vgpu_buffer *buffer,
		  struct vgpu_reply *ret)
{
	struct vgpu_slot *slot = &vdev->slot[i];
	struct vgpu_buffer kept = {};

	spin_lock_irq(&vdev->lock);
	if (vdev->epoch != epoch) {
		r = -ENODEV;
	} else if (!answer(vdev, i)) {
		slot->state = VGPU_SLOT_ORPHAN;
	} else {
		dma_rmb(); /* the sequence is written last */
		*ret = vdev->admin->slot[i].reply;
		if (le32_to_cpu(ret->sequence) == slot->sequence) {
			kept = slot->keep;
			*slot = (struct vgpu_slot){ .state = VGPU_SLOT_FREE };
			r = 0;
		} else {
			slot->state = VGPU_SLOT_ORPHAN;
			r = -EPROTO;
		}
	}
	spin_unlock_irq(&vdev->lock);
	if (buffer)
		*buffer = kept;
	wake_up_all(&vdev->command_wait);
	if (r == -EPROTO)
		dev_err_ratelimited(&vdev->pdev->dev, "the device answered a command that was not given\n");
	return r;
}

/*
 * Gives a command and waits for its reply: seconds at most and only while the process lives, or if it is patient for
 * as long as the device is there. buffer (or NULL) is what the command names; it is the caller's again when it comes
 * back with va set, which also means that the device has done with it: else the device may still be about it.
 * 0: *ret holds the reply, of this command; its contents are the device's word. The caller has entered.
 */
int vgpu_command(struct vgpu_device *vdev, const struct vgpu_command *command, struct vgpu_buffer *buffer,
		 bool patient, struct vgpu_reply *ret)
{
	unsigned long deadline = jiffies + vgpu_timeout * HZ;
	struct vgpu_buffer stale = {};
	int i = -EAGAIN, r;
	u32 epoch;

	do {
		if (patient)
			r = wait_event_idle_timeout(vdev->command_wait,
						    (i = slot_take(vdev, &stale, &epoch)) != -EAGAIN, HZ);
		else
			r = wait_event_killable_timeout(vdev->command_wait,
							(i = slot_take(vdev, &stale, &epoch)) != -EAGAIN, HZ);
		if (r < 0)
			return -EINTR;
		if (i == -EAGAIN)
			vgpu_device_check(vdev);
		if (i == -EAGAIN && !patient && time_after(jiffies, deadline))
			return -EBUSY;
	} while (i == -EAGAIN);
	if (i < 0)
		return i;
	vgpu_buffer_free(vdev, &stale);
	r = submit(vdev, i, epoch, command, buffer);
	if (r < 0)
		return r;
	for (;;) {
		if (patient)
			r = wait_event_idle_timeout(vdev->command_wait, is_over(vdev, i, epoch), HZ);
		else
			r = wait_event_killable_timeout(vdev->command_wait, is_over(vdev, i, epoch), HZ);
		if (r > 0)
			return finish(vdev, i, epoch, 0, buffer, ret);
		if (r < 0)
			return finish(vdev, i, epoch, -EINTR, buffer, ret);
		vgpu_device_check(vdev);
		if (!patient && time_after(jiffies, deadline))
			return finish(vdev, i, epoch, -ETIMEDOUT, buffer, ret);
	}
}
