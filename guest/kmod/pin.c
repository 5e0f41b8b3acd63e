// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of the process that the host maps: pinned, counted as locked memory, told as extents. vgpu_channel.lock is
 * held throughout.
 */
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "vgpu_drv.h"

#define MAX_PIN_BYTES (64ull << 30)
#define PIN_BATCH     32768	/* pages between looks for a signal */

static int account(struct vgpu_channel *channel, struct vgpu_pin *pin)
{
	int r;

	if (!vgpu_memlock)
		return 0;
	r = account_locked_vm(channel->mm, pin->bytes >> PAGE_SHIFT, true);
	pin->accounted = !r;
	return r;
}

static void unaccount(struct vgpu_channel *channel, struct vgpu_pin *pin)
{
	if (pin->accounted)
		account_locked_vm(channel->mm, pin->bytes >> PAGE_SHIFT, false);
	pin->accounted = false;
}

/* Pins all pages or none. */
static int pin_pages(const struct vgpu_pin *pin, struct page **pages)
{
	unsigned long n = pin->bytes >> PAGE_SHIFT, done = 0;
	int r = 0;

	while (done < n) {
		r = fatal_signal_pending(current) ? -EINTR :
		    pin_user_pages_fast(pin->address + (done << PAGE_SHIFT), min_t(unsigned long, n - done, PIN_BATCH),
					FOLL_WRITE | FOLL_LONGTERM, pages + done);
		if (r <= 0)
			break;
		done += r;
	}
	if (done == n)
		return 0;
	unpin_user_pages(pages, done);
	return r ? r : -EFAULT;
}

/* Pinned pages as a list of contiguous pieces, which is all that is kept of them. */
static int pin_list(struct vgpu_pin *pin)
{
	unsigned long n = pin->bytes >> PAGE_SHIFT;
	struct page **pages;
	int r;

	pages = kvmalloc_array(n, sizeof(*pages), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!pages)
		return -ENOMEM;
	r = pin_pages(pin, pages);
	if (!r) {
		r = sg_alloc_table_from_pages(&pin->sgt, pages, n, 0, pin->bytes, GFP_KERNEL_ACCOUNT);
		if (r)
			unpin_user_pages(pages, n);
	}
	kvfree(pages);
	return r;
}

static void unpin_list(struct vgpu_pin *pin)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sgtable_sg(&pin->sgt, sg, i)
		unpin_user_page_range_dirty_lock(sg_page(sg), sg->length >> PAGE_SHIFT, true);
	sg_free_table(&pin->sgt);
}

/* Everything of a pin that the host does not use, from the device to the accounts. */
static void pin_undo(struct vgpu_channel *channel, struct vgpu_pin *pin)
{
	dma_unmap_sgtable(&channel->vdev->pdev->dev, &pin->sgt, DMA_BIDIRECTIONAL, 0);
	unpin_list(pin);
	unaccount(channel, pin);
	kfree(pin);
}

static int pin_new(struct vgpu_channel *channel, u64 address, u64 bytes, struct vgpu_pin **ret)
{
	struct device *dev = &channel->vdev->pdev->dev;
	struct vgpu_pin *pin = kzalloc(sizeof(*pin), GFP_KERNEL_ACCOUNT);
	int r;

	if (!pin)
		return -ENOMEM;
	pin->address = address;
	pin->bytes = bytes;
	r = account(channel, pin);
	if (r < 0)
		goto out_free;
	r = pin_list(pin);
	if (r < 0)
		goto out_account;
	r = dma_map_sgtable(dev, &pin->sgt, DMA_BIDIRECTIONAL, 0);
	if (r < 0)
		goto out_unpin;
	*ret = pin;
	return 0;

out_unpin:
	unpin_list(pin);
out_account:
	unaccount(channel, pin);
out_free:
	kfree(pin);
	return r;
}

/* The pieces as the device sees them, joined where they touch. list NULL: only counts. */
static size_t list_extents(struct device *dev, struct sg_table *sgt, struct vgpu_extent *list)
{
	struct scatterlist *sg;
	u64 begin = 0, end = 0;
	size_t n = 0;
	unsigned int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (!n || sg_dma_address(sg) != end) {
			begin = sg_dma_address(sg);
			n++;
		}
		end = sg_dma_address(sg) + sg_dma_len(sg);
		if (list)
			list[n - 1] = (struct vgpu_extent){ cpu_to_le64(begin), cpu_to_le64(end - begin) };
	}
	return n;
}

static bool any_bounced(struct device *dev, struct sg_table *sgt)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (vgpu_is_bounced(dev, sg_dma_address(sg)))
			return true;
	}
	return false;
}

static int map_errno(u32 result)
{
	switch (result) {
	case VGPU_RESULT_OK:
		return 0;
	case VGPU_RESULT_LIMIT:
		return -ENOSPC;
	case VGPU_RESULT_ADDRESS:
		return -EADDRNOTAVAIL;
	case VGPU_RESULT_NO_HOST:
	case VGPU_RESULT_ENDED:
		return -ENOLINK;
	default:
		return -EIO;
	}
}

/* *unsure: whether the host may use the pages all the same. */
static int pin_tell(struct vgpu_channel *channel, struct vgpu_pin *pin, bool *unsure)
{
	struct vgpu_device *vdev = channel->vdev;
	struct device *dev = &vdev->pdev->dev;
	struct vgpu_command command = { .code = cpu_to_le32(VGPU_COMMAND_MAP) };
	size_t n = list_extents(dev, &pin->sgt, NULL);
	struct vgpu_buffer list;
	struct vgpu_reply reply;
	int r;

	*unsure = false;
	if (any_bounced(dev, &pin->sgt))
		return -EOPNOTSUPP;
	if (n > VGPU_MAX_EXTENTS)
		return -E2BIG;
	r = vgpu_buffer_alloc(vdev, n * sizeof(struct vgpu_extent), &list);
	if (r < 0)
		return r;
	list_extents(dev, &pin->sgt, list.va);
	command.map.channel = cpu_to_le32(channel->number);
	command.map.address = cpu_to_le64(pin->address);
	command.map.bytes = cpu_to_le64(pin->bytes);
	command.map.list = cpu_to_le64(list.dma);
	command.map.extents = cpu_to_le32(n);
	r = vgpu_command(vdev, &command, &list, false, &reply);
	*unsure = !list.va;
	vgpu_buffer_free(vdev, &list);
	if (r < 0)
		return r;
	r = map_errno(le32_to_cpu(reply.result));
	*unsure = r == -ENOLINK; /* the executor may end a moment later */
	return r;
}

static struct vgpu_pin *find(struct vgpu_channel *channel, u64 address, u64 bytes)
{
	struct vgpu_pin *pin;

	list_for_each_entry(pin, &channel->pins, list) {
		if (address < pin->address + pin->bytes && pin->address < address + bytes)
			return pin;
	}
	return NULL;
}

/* VGPU_IOC_MAP. A pin that the host may use without having said so stays, until the channel is closed. */
int vgpu_pin(struct vgpu_channel *channel, u64 address, u64 bytes)
{
	struct vgpu_pin *pin;
	bool unsure;
	int r;

	if (!bytes || !PAGE_ALIGNED(address | bytes) || address + bytes < address)
		return -EINVAL;
	if (bytes > MAX_PIN_BYTES)
		return -ENOMEM;
	if (!channel->named || channel->ended)
		return -ENOLINK;
	if (channel->n_pins == VGPU_MAX_PINS)
		return -ENOSPC;
	if (find(channel, address, bytes))
		return -EEXIST;
	r = pin_new(channel, address, bytes, &pin);
	if (r < 0)
		return r;
	r = pin_tell(channel, pin, &unsure);
	if (r < 0 && !unsure) {
		pin_undo(channel, pin);
		return r;
	}
	list_add(&pin->list, &channel->pins);
	channel->n_pins++;
	return r;
}

static void pin_remove(struct vgpu_channel *channel, struct vgpu_pin *pin)
{
	list_del(&pin->list);
	channel->n_pins--;
	pin_undo(channel, pin);
}

/* VGPU_IOC_UNMAP */
int vgpu_unpin(struct vgpu_channel *channel, u64 address)
{
	struct vgpu_command command = { .code = cpu_to_le32(VGPU_COMMAND_UNMAP) };
	struct vgpu_pin *pin = find(channel, address, 1);
	struct vgpu_reply reply;
	int r;

	if (!pin || pin->address != address)
		return -ENOENT;
	command.unmap.channel = cpu_to_le32(channel->number);
	command.unmap.address = cpu_to_le64(address);
	r = vgpu_command(channel->vdev, &command, NULL, false, &reply);
	if (!r)
		r = map_errno(le32_to_cpu(reply.result));
	if (!r)
		pin_remove(channel, pin);
	return r;
}

/* The host has let go of the channel. */
void vgpu_unpin_all(struct vgpu_channel *channel)
{
	while (!list_empty(&channel->pins))
		pin_remove(channel, list_first_entry(&channel->pins, struct vgpu_pin, list));
}
