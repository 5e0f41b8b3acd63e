// SPDX-License-Identifier: GPL-2.0-only
/*
 * Open files of /dev/vgpu0.
 */
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/slab.h>

#include "vgpu_drv.h"

/* The file's channel, once it is open: it stays for the life of the file. */
struct vgpu_channel *vgpu_file_channel(struct vgpu_file *f)
{
	/* With the store in open_channel(): who sees the channel sees it whole. */
	return smp_load_acquire(&f->channel);
}

/* misc_open() holds off misc_deregister(), so the device is there. */
static int vgpu_open(struct inode *inode, struct file *file)
{
	struct vgpu_device *vdev = container_of(file->private_data, struct vgpu_device, misc);
	struct vgpu_file *f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);

	if (!f)
		return -ENOMEM;
	kref_get(&vdev->ref);
	f->vdev = vdev;
	f->mapping = file->f_mapping;
	mutex_init(&f->lock);
	mutex_lock(&vdev->list_lock);
	list_add(&f->list, &vdev->files);
	mutex_unlock(&vdev->list_lock);
	file->private_data = f;
	return nonseekable_open(inode, file);
}

static int vgpu_release(struct inode *inode, struct file *file)
{
	struct vgpu_file *f = file->private_data;

	mutex_lock(&f->vdev->list_lock);
	list_del(&f->list);
	mutex_unlock(&f->vdev->list_lock);
	if (f->channel)
		vgpu_channel_release(f->channel);
	kref_put(&f->vdev->ref, vgpu_device_free);
	kfree(f);
	return 0;
}

static __poll_t vgpu_poll(struct file *file, struct poll_table_struct *table)
{
	struct vgpu_file *f = file->private_data;
	struct vgpu_channel *channel = vgpu_file_channel(f);

	if (!channel)
		return EPOLLERR;
	poll_wait(file, &channel->wait, table);
	if (READ_ONCE(channel->ended))
		return EPOLLHUP | EPOLLIN;
	return vgpu_channel_wake_word(channel) == READ_ONCE(channel->poll_seen) ? 0 : EPOLLIN;
}

/* The pages of a device that goes away are somebody else's soon: whoever had one gets a page of nothing instead. */
void vgpu_unmap_doorbells(struct vgpu_device *vdev)
{
	struct vgpu_file *f;

	mutex_lock(&vdev->list_lock);
	list_for_each_entry(f, &vdev->files, list)
		unmap_mapping_range(f->mapping, VGPU_MMAP_DOORBELL, PAGE_SIZE, 1);
	mutex_unlock(&vdev->list_lock);
}

const struct file_operations vgpu_fops = {
	.owner = THIS_MODULE,
	.open = vgpu_open,
	.release = vgpu_release,
	.poll = vgpu_poll,
	.unlocked_ioctl = vgpu_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = vgpu_mmap,
};
