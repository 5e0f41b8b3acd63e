// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests of processes. Structs are copied once, checked, then acted on; what goes back is made here, field by field.
 */
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "vgpu_drv.h"

#define MAX_QUESTION (64 << 10)

static long ioc_info(struct vgpu_device *vdev, void __user *arg)
{
	struct vgpu_ioc_info info = {
		.device_version = vdev->version,
		.tenant_id = vdev->tenant_id,
		.weight = vdev->weight,
		.memory_quota = vdev->memory_quota,
		.pci_domain = pci_domain_nr(vdev->pdev->bus),
		.pci_bus = vdev->pdev->bus->number,
		.pci_slot = PCI_SLOT(vdev->pdev->devfn),
		.pci_function = PCI_FUNC(vdev->pdev->devfn),
	};
	int r = vgpu_device_read(vdev, VGPU_REG_STATUS, &info.status);

	if (r < 0)
		return r;
	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static int open_errno(u32 result)
{
	switch (result) {
	case VGPU_RESULT_OK:
		return 0;
	case VGPU_RESULT_LIMIT:
		return -EMFILE;
	case VGPU_RESULT_NO_HOST:
		return -ENODEV;
	default:
		return -EIO;
	}
}

static void tell_channel(struct vgpu_ioc_channel *to, const struct vgpu_reply *reply)
{
	const struct vgpu_geometry *g = &reply->open.geometry;

	to->tenant_id = le32_to_cpu(reply->open.tenant_id);
	to->channel_id = le64_to_cpu(reply->open.channel_id);
	to->ring_offset = le32_to_cpu(g->ring_offset);
	to->ring_bytes = le32_to_cpu(g->ring_bytes);
	to->reply_offset = le32_to_cpu(g->reply_offset);
	to->reply_slots = le32_to_cpu(g->reply_slots);
	to->fence_offset = le32_to_cpu(g->fence_offset);
	to->fence_slots = le32_to_cpu(g->fence_slots);
	to->channel_bytes = le64_to_cpu(g->channel_bytes);
	to->host_window_base = le64_to_cpu(g->host_window_base);
	to->host_window_bytes = le64_to_cpu(g->host_window_bytes);
	to->arena_bytes = le64_to_cpu(g->arena_bytes);
	to->device_window_base = le64_to_cpu(g->device_window_base);
	to->device_window_bytes = le64_to_cpu(g->device_window_bytes);
}

/* f->lock is held. The channel becomes the file's only when all went well. */
static int open_channel(struct vgpu_file *f, u32 library, struct vgpu_ioc_channel *answer)
{
	struct vgpu_channel *channel;
	struct vgpu_reply reply;
	int r;

	if (f->channel)
		return -EBUSY;
	channel = vgpu_channel_new(f->vdev);
	if (IS_ERR(channel))
		return PTR_ERR(channel);
	r = vgpu_channel_open(channel, library, &reply);
	if (!r) {
		answer->error = le32_to_cpu(reply.result);
		r = open_errno(answer->error);
	}
	if (r < 0) {
		vgpu_channel_release(channel);
		return r == -EPROTO ? -EIO : r;
	}
	tell_channel(answer, &reply);
	/* With the load in vgpu_file_channel(). */
	smp_store_release(&f->channel, channel);
	return 0;
}

static long ioc_channel(struct vgpu_file *f, void __user *arg)
{
	struct vgpu_ioc_channel in, out = {};
	u32 library;
	int r;

	if (copy_from_user(&in, arg, sizeof(in)))
		return -EFAULT;
	library = in.library;
	in.library = 0;
	if (library > VGPU_LIBRARY_MOST)
		return -EINVAL;
	if (memchr_inv(&in, 0, sizeof(in)))
		return -EINVAL;
	if (mutex_lock_killable(&f->lock))
		return -EINTR;
	r = open_channel(f, library, &out);
	mutex_unlock(&f->lock);
	if ((!r || r == -EIO) && copy_to_user(arg, &out, sizeof(out)))
		return -EFAULT;
	return r;
}

/* What a process is told when a command about its memory failed: to it, a device that is gone is a lost channel. */
static int memory_errno(int r)
{
	return r == -ENODEV ? -ENOLINK : r == -EPROTO ? -EIO : r;
}

static long ioc_map(struct vgpu_channel *channel, void __user *arg)
{
	struct vgpu_ioc_map map;
	int r;

	if (copy_from_user(&map, arg, sizeof(map)))
		return -EFAULT;
	if (map.reserved)
		return -EINVAL;
	if (mutex_lock_killable(&channel->lock))
		return -EINTR;
	r = vgpu_pin(channel, map.address, map.bytes);
	mutex_unlock(&channel->lock);
	return memory_errno(r);
}

static long ioc_unmap(struct vgpu_channel *channel, void __user *arg)
{
	struct vgpu_ioc_unmap unmap;
	int r;

	if (copy_from_user(&unmap, arg, sizeof(unmap)))
		return -EFAULT;
	if (unmap.reserved)
		return -EINVAL;
	if (mutex_lock_killable(&channel->lock))
		return -EINTR;
	r = vgpu_unpin(channel, unmap.address);
	mutex_unlock(&channel->lock);
	return memory_errno(r);
}

/* A device that died rings no bell; waits that end by time are where it is noticed. */
static void look_at_device(struct vgpu_device *vdev)
{
	int index;

	if (!vgpu_device_enter(vdev, &index))
		return;
	vgpu_device_check(vdev);
	vgpu_device_exit(index);
}

static long ioc_wait(struct vgpu_channel *channel, void __user *arg)
{
	struct vgpu_ioc_wait wait;
	ktime_t limit;
	int r;

	if (copy_from_user(&wait, arg, sizeof(wait)))
		return -EFAULT;
	if (wait.reason || wait.reserved)
		return -EINVAL;
	limit = ns_to_ktime(min_t(u64, wait.timeout_ns, KTIME_MAX));
	r = wait_event_interruptible_hrtimeout(channel->wait,
					       vgpu_channel_wake_word(channel) != wait.seen ||
					       READ_ONCE(channel->ended), limit);
	if (r == -ETIME)
		look_at_device(channel->vdev);
	WRITE_ONCE(channel->poll_seen, vgpu_channel_wake_word(channel));
	if (READ_ONCE(channel->ended)) {
		wait.reason = READ_ONCE(channel->ended) - 1;
		return copy_to_user(arg, &wait, sizeof(wait)) ? -EFAULT : -ENOLINK;
	}
	return r == -ETIME ? -ETIMEDOUT : r == -ERESTARTSYS ? -EINTR : r;
}

static int question_errno(u32 result)
{
	switch (result) {
	case VGPU_RESULT_OK:
		return 0;
	case VGPU_RESULT_LIMIT:
		return -EBUSY;
	case VGPU_RESULT_NO_HOST:
		return -ENODEV;
	case VGPU_RESULT_INVALID:
		return -EINVAL;
	default:
		return -EIO;
	}
}

/* buffer holds the question, then the answer. */
static int ask(struct vgpu_device *vdev, struct vgpu_ioc_device *q, struct vgpu_buffer *buffer)
{
	struct vgpu_command command = { .code = cpu_to_le32(VGPU_COMMAND_DEVICE) };
	size_t room = buffer->bytes;
	struct vgpu_reply reply;
	int r;

	if (copy_from_user(buffer->va, u64_to_user_ptr(q->request), q->request_bytes))
		return -EFAULT;
	command.device.buffer = cpu_to_le64(buffer->dma);
	command.device.buffer_bytes = cpu_to_le32(room);
	command.device.request_bytes = cpu_to_le32(q->request_bytes);
	r = vgpu_command(vdev, &command, buffer, false, &reply);
	if (!r)
		r = question_errno(le32_to_cpu(reply.result));
	if (r < 0)
		return r;
	q->answer_bytes = le32_to_cpu(reply.device.bytes);
	if (q->answer_bytes > room)
		return -EIO;
	if (q->answer_bytes > q->room)
		return -EMSGSIZE;
	return copy_to_user(u64_to_user_ptr(q->answer), buffer->va, q->answer_bytes) ? -EFAULT : 0;
}

static long ioc_device(struct vgpu_device *vdev, void __user *arg)
{
	struct vgpu_ioc_device q;
	struct vgpu_buffer buffer;
	int r;

	if (copy_from_user(&q, arg, sizeof(q)))
		return -EFAULT;
	if (q.reserved || q.answer_bytes || !q.request_bytes || q.request_bytes > MAX_QUESTION)
		return -EINVAL;
	r = vgpu_buffer_alloc(vdev, clamp_t(u32, q.room, q.request_bytes, MAX_QUESTION), &buffer);
	if (r < 0)
		return r;
	r = ask(vdev, &q, &buffer);
	vgpu_buffer_free(vdev, &buffer);
	if ((!r || r == -EMSGSIZE) && copy_to_user(arg, &q, sizeof(q)))
		return -EFAULT;
	return r;
}

/* Requests for which the device must stay: the caller has entered. */
static long entered(struct vgpu_file *f, unsigned int request, void __user *arg)
{
	struct vgpu_channel *channel = vgpu_file_channel(f);

	switch (request) {
	case VGPU_IOC_INFO:
		return ioc_info(f->vdev, arg);
	case VGPU_IOC_CHANNEL:
		return ioc_channel(f, arg);
	case VGPU_IOC_DEVICE:
		return ioc_device(f->vdev, arg);
	case VGPU_IOC_MAP:
	case VGPU_IOC_UNMAP:
		if (!channel)
			return -ENXIO;
		if (channel->mm != current->mm)
			return -EPERM;
		return request == VGPU_IOC_MAP ? ioc_map(channel, arg) : ioc_unmap(channel, arg);
	default:
		return -ENOTTY;
	}
}

long vgpu_ioctl(struct file *file, unsigned int request, unsigned long arg)
{
	struct vgpu_file *f = file->private_data;
	struct vgpu_channel *channel = vgpu_file_channel(f);
	int index;
	long r;

	if (request == VGPU_IOC_WAIT) { /* sleeps: remove() must not wait for it */
		if (!channel)
			return -ENXIO;
		if (channel->mm != current->mm)
			return -EPERM;
		return ioc_wait(channel, (void __user *)arg);
	}
	if (!vgpu_device_enter(f->vdev, &index))
		return request == VGPU_IOC_MAP || request == VGPU_IOC_UNMAP ? -ENOLINK : -ENODEV;
	r = entered(f, request, (void __user *)arg);
	vgpu_device_exit(index);
	return r;
}
