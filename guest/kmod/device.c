// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device as a whole: who may touch it, starting and stopping it, noticing that it died, its interrupt.
 */
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/jiffies.h>

#include "vgpu_drv.h"

#define ALL_ONES (~0u)	/* what reads give when nobody answers */

DEFINE_STATIC_SRCU(vgpu_srcu);

bool vgpu_device_enter(struct vgpu_device *vdev, int *index)
{
	*index = srcu_read_lock(&vgpu_srcu);
	if (!READ_ONCE(vdev->gone))
		return true;
	srcu_read_unlock(&vgpu_srcu, *index);
	return false;
}

void vgpu_device_exit(int index)
{
	srcu_read_unlock(&vgpu_srcu, index);
}

/* Nobody is inside any more when it returns, and nobody gets in. */
void vgpu_device_drain(struct vgpu_device *vdev)
{
	WRITE_ONCE(vdev->gone, true);
	synchronize_srcu(&vgpu_srcu);
}

static u32 reg_read(struct vgpu_device *vdev, u32 reg)
{
	return readl(vdev->bar + reg);
}

static void reg_write(struct vgpu_device *vdev, u32 reg, u32 value)
{
	writel(value, vdev->bar + reg);
}

/* Ends what was under way: every channel is lost, every command unanswered. Returns the state before. */
static enum vgpu_device_state leave_up(struct vgpu_device *vdev, enum vgpu_device_state state)
{
	enum vgpu_device_state before;
	int i;

	spin_lock_irq(&vdev->lock);
	before = vdev->state;
	if (before == VGPU_UP || state == VGPU_GONE)
		vdev->state = state;
	if (before == VGPU_UP) {
		vdev->epoch++;
		for (i = 0; i < VGPU_MAX_VM_CHANNELS; i++) {
			if (vdev->channel[i])
				vgpu_channel_end(vdev->channel[i], VGPU_REASON_DEVICE);
		}
	}
	spin_unlock_irq(&vdev->lock);
	wake_up_all(&vdev->command_wait);
	return before;
}

static void died(struct vgpu_device *vdev, const char *how)
{
	if (leave_up(vdev, VGPU_DEAD) == VGPU_UP)
		dev_err(&vdev->pdev->dev, "%s: its channels are lost, their memory stays in use until it is reset\n",
			how);
}

/* Looks whether the device is still there and was not reset, at most once a second. The caller has entered. */
void vgpu_device_check(struct vgpu_device *vdev)
{
	u32 generation, expected;
	bool due;

	spin_lock_irq(&vdev->lock);
	due = vdev->state == VGPU_UP && time_after(jiffies, vdev->checked + HZ);
	if (due)
		vdev->checked = jiffies;
	expected = vdev->generation;
	spin_unlock_irq(&vdev->lock);
	if (!due)
		return;
	generation = reg_read(vdev, VGPU_REG_GENERATION);
	if (generation == ALL_ONES)
		died(vdev, "the device does not answer");
	else if (generation != expected)
		died(vdev, "the device was reset by somebody else");
}

/* -ENODEV: it is gone or does not answer. */
int vgpu_device_read(struct vgpu_device *vdev, u32 reg, u32 *ret)
{
	int index;

	if (!vgpu_device_enter(vdev, &index))
		return -ENODEV;
	*ret = reg_read(vdev, reg);
	if (*ret == ALL_ONES)
		died(vdev, "the device does not answer");
	vgpu_device_exit(index);
	return *ret == ALL_ONES ? -ENODEV : 0;
}

/* What channels and commands of before the stop or reset hold is free: the host has let go. */
static void let_go_of_all(struct vgpu_device *vdev)
{
	struct vgpu_channel *channel;

	vgpu_commands_drop(vdev);
	for (;;) {
		mutex_lock(&vdev->list_lock);
		channel = list_first_entry_or_null(&vdev->channels, struct vgpu_channel, list);
		if (channel)
			kref_get(&channel->ref);
		mutex_unlock(&vdev->list_lock);
		if (!channel)
			break;
		mutex_lock(&channel->lock);
		vgpu_channel_let_go(channel);
		mutex_unlock(&channel->lock);
		kref_put(&channel->ref, vgpu_channel_free);
	}
	/* Their doorbells will be other channels'. */
	synchronize_srcu(&vgpu_srcu);
	vgpu_unmap_doorbells(vdev);
}

/* Has the device end everything. True: it said that the host has let go. */
static bool quiesce(struct vgpu_device *vdev)
{
	unsigned long deadline = jiffies + vgpu_timeout * HZ;
	u32 status;

	reg_write(vdev, VGPU_REG_ADMIN_ENABLE, 0);
	for (;;) {
		status = reg_read(vdev, VGPU_REG_STATUS);
		if (status == ALL_ONES)
			return false;
		if (!(status & VGPU_STATUS_ENABLED))
			return true;
		if (time_after(jiffies, deadline))
			return false;
		msleep(20);
	}
}

/* Begins anew with a device that was just probed or reset. */
int vgpu_device_start(struct vgpu_device *vdev)
{
	u32 status = reg_read(vdev, VGPU_REG_STATUS);

	if (status == ALL_ONES)
		return -ENODEV;
	if (status & VGPU_STATUS_ENABLED && !quiesce(vdev))
		return -EIO;
	let_go_of_all(vdev);
	memset(vdev->admin, 0, sizeof(*vdev->admin));
	reg_write(vdev, VGPU_REG_ADMIN, lower_32_bits(vdev->admin_dma));
	reg_write(vdev, VGPU_REG_ADMIN + 4, upper_32_bits(vdev->admin_dma));
	reg_write(vdev, VGPU_REG_ADMIN_BYTES, sizeof(*vdev->admin));
	reg_write(vdev, VGPU_REG_ADMIN_ENABLE, 1);
	status = reg_read(vdev, VGPU_REG_STATUS);
	if (status == ALL_ONES)
		return -ENODEV;
	if (!(status & VGPU_STATUS_ENABLED)) {
		reg_write(vdev, VGPU_REG_ADMIN_ENABLE, 0);
		dev_err(&vdev->pdev->dev, "the device does not start (error %u)\n",
			reg_read(vdev, VGPU_REG_ERROR));
		return -EIO;
	}
	if (status & VGPU_STATUS_NO_SHARED)
		dev_warn(&vdev->pdev->dev, "the VM's memory is not shared with the host: no channel can be opened\n");
	spin_lock_irq(&vdev->lock);
	vdev->generation = reg_read(vdev, VGPU_REG_GENERATION);
	vdev->checked = jiffies;
	vdev->state = VGPU_UP;
	spin_unlock_irq(&vdev->lock);
	return 0;
}

/*
 * Ends all channels; state is VGPU_DOWN, or VGPU_GONE for good. False: the host may go on using the memory that it was
 * given, the admin area included.
 */
bool vgpu_device_stop(struct vgpu_device *vdev, enum vgpu_device_state state)
{
	if (leave_up(vdev, state) == VGPU_DOWN)
		return true;
	if (quiesce(vdev)) {
		let_go_of_all(vdev);
		return true;
	}
	dev_err(&vdev->pdev->dev, "the host did not say that it let go of the memory it was given: that stays in use\n");
	spin_lock_irq(&vdev->lock);
	if (vdev->state != VGPU_GONE)
		vdev->state = VGPU_DEAD;
	spin_unlock_irq(&vdev->lock);
	return false;
}

/*
 * Everything it looks at lies in memory: reading a register would stop this processor until the host's process has
 * run, and writing one would wake that process.
 */
irqreturn_t vgpu_interrupt(int irq, void *data)
{
	struct vgpu_device *vdev = data;
	struct vgpu_channel *channel;
	bool answered;
	u32 bell;
	int i;

	spin_lock(&vdev->lock);
	for (i = 0; i < VGPU_MAX_VM_CHANNELS; i++) {
		channel = vdev->channel[i];
		bell = le32_to_cpu(READ_ONCE(vdev->admin->bell[i]));
		if (!channel || bell == channel->bell_seen)
			continue;
		channel->bell_seen = bell;
		if (bell & VGPU_BELL_ENDED)
			vgpu_channel_end(channel, bell >> 16);
		else
			wake_up_all(&channel->wait);
	}
	answered = vgpu_commands_answered(vdev);
	spin_unlock(&vdev->lock);
	if (answered)
		wake_up_all(&vdev->command_wait);
	return IRQ_HANDLED;
}
