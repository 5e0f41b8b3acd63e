// SPDX-License-Identifier: GPL-2.0-only
/*
 * A channel's life. Its references: the open file, vgpu_device.channels as long as the host may use its memory, and
 * the work that closes it.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "vgpu_drv.h"

#define CLOSE_WAIT (5 * HZ)	/* how long close() of the file waits for the host */

void vgpu_channel_free(struct kref *ref)
{
	struct vgpu_channel *channel = container_of(ref, struct vgpu_channel, ref);

	vgpu_memory_free(&channel->memory);
	vgpu_memory_free(&channel->arena);
	if (channel->dummy)
		__free_page(channel->dummy);
	mmdrop(channel->mm);
	kref_put(&channel->vdev->ref, vgpu_device_free);
	kfree(channel);
}

/* vgpu_device.lock is held. */
void vgpu_channel_end(struct vgpu_channel *channel, u32 reason)
{
	if (!channel->ended)
		WRITE_ONCE(channel->ended, 1 + reason);
	wake_up_all(&channel->wait);
}

u32 vgpu_channel_wake_word(struct vgpu_channel *channel)
{
	u8 *header = page_address(channel->memory.piece[0].page);

	return READ_ONCE(*(u32 *)(header + VGPU_WAKE_WORD_OFFSET));
}

/* Whatever the host had of the channel is the guest's again. channel->lock is held, so is a reference. */
void vgpu_channel_let_go(struct vgpu_channel *channel)
{
	struct vgpu_device *vdev = channel->vdev;

	if (!channel->named)
		return;
	WRITE_ONCE(channel->named, false);
	vgpu_unpin_all(channel);
	vgpu_memory_unmap(vdev, &channel->memory);
	vgpu_memory_unmap(vdev, &channel->arena);
	spin_lock_irq(&vdev->lock);
	vdev->channel[channel->number] = NULL;
	spin_unlock_irq(&vdev->lock);
	mutex_lock(&vdev->list_lock);
	list_del(&channel->list);
	mutex_unlock(&vdev->list_lock);
	kref_put(&channel->ref, vgpu_channel_free);
}

static void close_channel(struct vgpu_channel *channel)
{
	struct vgpu_command command = { .code = cpu_to_le32(VGPU_COMMAND_CLOSE) };
	struct vgpu_reply reply;
	int index;

	if (!vgpu_device_enter(channel->vdev, &index))
		return;
	mutex_lock(&channel->lock);
	command.close.channel = cpu_to_le32(channel->number);
	if (channel->named && !vgpu_command(channel->vdev, &command, NULL, true, &reply))
		vgpu_channel_let_go(channel);
	mutex_unlock(&channel->lock);
	vgpu_device_exit(index);
}

/* A work of its own, for the process may be dying, and the host may take its time. */
static void close_work(struct work_struct *work)
{
	struct vgpu_channel *channel = container_of(work, struct vgpu_channel, close);

	close_channel(channel);
	complete_all(&channel->closed);
	kref_put(&channel->ref, vgpu_channel_free);
}

/* Gives up the file's reference. When it returns the host has let go, if it answers within seconds. */
void vgpu_channel_release(struct vgpu_channel *channel)
{
	kref_get(&channel->ref);
	queue_work(vgpu_workqueue, &channel->close);
	wait_for_completion_timeout(&channel->closed, CLOSE_WAIT);
	kref_put(&channel->ref, vgpu_channel_free);
}

/* With its memory, unknown to the host. The caller has entered. */
struct vgpu_channel *vgpu_channel_new(struct vgpu_device *vdev)
{
	struct vgpu_channel *channel = kzalloc(sizeof(*channel), GFP_KERNEL_ACCOUNT);
	int r = -ENOMEM;

	if (!channel)
		return ERR_PTR(r);
	kref_init(&channel->ref);
	kref_get(&vdev->ref);
	channel->vdev = vdev;
	channel->mm = current->mm;
	mmgrab(channel->mm);
	channel->user = current_uid();
	INIT_LIST_HEAD(&channel->pins);
	mutex_init(&channel->lock);
	init_waitqueue_head(&channel->wait);
	INIT_WORK(&channel->close, close_work);
	init_completion(&channel->closed);
	channel->dummy = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (channel->dummy)
		r = vgpu_memory_alloc(vdev, &channel->memory, VGPU_VM_CHANNEL_BYTES);
	if (!r)
		r = vgpu_memory_alloc(vdev, &channel->arena, (u64)vgpu_arena_mib << 20);
	if (!r)
		return channel;
	vgpu_memory_unmap(vdev, &channel->memory);
	vgpu_memory_unmap(vdev, &channel->arena);
	kref_put(&channel->ref, vgpu_channel_free);
	return ERR_PTR(r);
}

/* Whether its user has as many as one may have, so that one user leaves the others some. vgpu_device.lock is held. */
static bool user_has_enough(const struct vgpu_channel *channel)
{
	unsigned int n = 0, i;

	for (i = 0; i < VGPU_MAX_VM_CHANNELS; i++) {
		const struct vgpu_channel *other = channel->vdev->channel[i];

		n += other && uid_eq(other->user, channel->user);
	}
	return n >= READ_ONCE(vgpu_user_channels);
}

/* Gives it a free number, with page and bell word. */
static int take_number(struct vgpu_channel *channel)
{
	struct vgpu_device *vdev = channel->vdev;
	bool limited = !capable(CAP_SYS_RESOURCE);
	u32 i = 0;
	int r;

	spin_lock_irq(&vdev->lock);
	while (i < vdev->max_channels && vdev->channel[i])
		i++;
	if (vdev->state != VGPU_UP) {
		r = -ENODEV;
	} else if (i == vdev->max_channels || (limited && user_has_enough(channel))) {
		r = -EMFILE;
	} else {
		vdev->channel[i] = channel;
		WRITE_ONCE(vdev->admin->bell[i], 0);
		channel->bell_seen = 0;
		channel->number = i;
		r = 0;
	}
	spin_unlock_irq(&vdev->lock);
	return r;
}

static bool part_fits(u32 offset, u64 bytes)
{
	return bytes && IS_ALIGNED(offset, 8) && offset + bytes <= VGPU_VM_CHANNEL_BYTES;
}

/* The process checks it again; here it must not reach out of the channel's memory. */
static bool geometry_is_sane(const struct vgpu_channel *channel, const struct vgpu_geometry *g)
{
	return le64_to_cpu(g->channel_bytes) == channel->memory.bytes &&
	       le64_to_cpu(g->arena_bytes) == channel->arena.bytes &&
	       le64_to_cpu(g->host_window_bytes) >= channel->arena.bytes &&
	       part_fits(le32_to_cpu(g->ring_offset), le32_to_cpu(g->ring_bytes)) &&
	       part_fits(le32_to_cpu(g->reply_offset), le32_to_cpu(g->reply_slots)) &&
	       part_fits(le32_to_cpu(g->fence_offset), 8ull * le32_to_cpu(g->fence_slots));
}

static int tell(struct vgpu_channel *channel, u32 library, struct vgpu_buffer *list, struct vgpu_reply *ret)
{
	struct vgpu_command command = { .code = cpu_to_le32(VGPU_COMMAND_OPEN) };
	struct vgpu_command_open *open = &command.open;
	struct vgpu_extent *extent = list->va;

	open->channel = cpu_to_le32(channel->number);
	open->pid = cpu_to_le32(task_tgid_nr(current));
	get_task_comm(open->name, current);
	open->channel_bytes = cpu_to_le64(channel->memory.bytes);
	open->arena_bytes = cpu_to_le64(channel->arena.bytes);
	open->list = cpu_to_le64(list->dma);
	open->channel_extents = cpu_to_le32(channel->memory.n);
	open->arena_extents = cpu_to_le32(channel->arena.n);
	if (channel->vdev->features & VGPU_FEATURE_LIBRARY)
		open->library = cpu_to_le32(library);
	vgpu_memory_list(&channel->memory, extent);
	vgpu_memory_list(&channel->arena, extent + channel->memory.n);
	return vgpu_command(channel->vdev, &command, list, false, ret);
}

/*
 * Opens it at the host. 0: the host answered, *ret says what; on any refusal or failure the channel is of no use but
 * to be released. The caller has entered.
 */
int vgpu_channel_open(struct vgpu_channel *channel, u32 library, struct vgpu_reply *ret)
{
	struct vgpu_device *vdev = channel->vdev;
	size_t extents = channel->memory.n + channel->arena.n;
	struct vgpu_buffer list = {};
	int r;

	mutex_lock(&channel->lock);
	r = vgpu_buffer_alloc(vdev, extents * sizeof(struct vgpu_extent), &list);
	if (!r)
		r = take_number(channel);
	if (r < 0)
		goto out;
	channel->named = true;
	kref_get(&channel->ref);
	mutex_lock(&vdev->list_lock);
	list_add_tail(&channel->list, &vdev->channels);
	mutex_unlock(&vdev->list_lock);
	r = tell(channel, library, &list, ret);
	if (list.va && (r < 0 || ret->result)) /* it never came to the host, or the host does not want it */
		vgpu_channel_let_go(channel);
	else if (!r && !geometry_is_sane(channel, &ret->open.geometry))
		r = -EPROTO;
out:
	vgpu_buffer_free(vdev, &list);
	if (!channel->named) {
		vgpu_memory_unmap(vdev, &channel->memory);
		vgpu_memory_unmap(vdev, &channel->arena);
	}
	mutex_unlock(&channel->lock);
	return r;
}
