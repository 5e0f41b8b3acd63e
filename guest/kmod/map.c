// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a process maps of its channel: channel memory, arena, and its page of the device. Not for its children.
 */
#include <linux/mm.h>
#include <linux/version.h>

#include "vgpu_drv.h"

static void set_flags(struct vm_area_struct *vma, unsigned long flags)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
	vma->vm_flags |= flags;
#else
	vm_flags_set(vma, flags);
#endif
}

static void forbid_exec(struct vm_area_struct *vma)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
	vma->vm_flags &= ~VM_MAYEXEC;
#else
	vm_flags_clear(vma, VM_MAYEXEC);
#endif
}

static int map_memory(struct vm_area_struct *vma, const struct vgpu_memory *memory)
{
	unsigned long at = vma->vm_start, bytes;
	unsigned int i;
	int r;

	if (vma->vm_end - vma->vm_start != memory->bytes)
		return -EINVAL;
	for (i = 0; i < memory->n; i++) {
		bytes = PAGE_SIZE << memory->piece[i].order;
		r = remap_pfn_range(vma, at, page_to_pfn(memory->piece[i].page), bytes, vma->vm_page_prot);
		if (r)
			return r;
		at += bytes;
	}
	return 0;
}

/* The device's page; or, when that is not the channel's any more, one where stores do nothing: nobody dies of them. */
static vm_fault_t doorbell_fault(struct vm_fault *vmf)
{
	struct vgpu_file *f = vmf->vma->vm_file->private_data;
	struct vgpu_channel *channel = vgpu_file_channel(f);
	phys_addr_t at = f->vdev->bar_phys + VGPU_BAR0_CHANNEL(channel->number);
	unsigned long pfn = page_to_pfn(channel->dummy);
	vm_fault_t r;
	int index;

	if (!vgpu_device_enter(f->vdev, &index))
		return vmf_insert_pfn(vmf->vma, vmf->address, pfn);
	if (READ_ONCE(channel->named))
		pfn = PHYS_PFN(at);
	r = vmf_insert_pfn(vmf->vma, vmf->address, pfn);
	vgpu_device_exit(index);
	return r;
}

static const struct vm_operations_struct doorbell_ops = {
	.fault = doorbell_fault,
};

static int map_doorbell(struct vm_area_struct *vma)
{
	if (vma->vm_end - vma->vm_start != PAGE_SIZE)
		return -EINVAL;
	set_flags(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	vma->vm_ops = &doorbell_ops;
	return 0;
}

int vgpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct vgpu_file *f = file->private_data;
	struct vgpu_channel *channel = vgpu_file_channel(f);

	if (!channel)
		return -ENXIO;
	if (channel->mm != current->mm)
		return -EPERM;
	if (!(vma->vm_flags & VM_SHARED) || (vma->vm_flags & VM_EXEC))
		return -EINVAL;
	forbid_exec(vma);
	set_flags(vma, VM_DONTCOPY);
	switch ((u64)vma->vm_pgoff << PAGE_SHIFT) {
	case VGPU_MMAP_CHANNEL:
		return map_memory(vma, &channel->memory);
	case VGPU_MMAP_ARENA:
		return map_memory(vma, &channel->arena);
	case VGPU_MMAP_DOORBELL:
		return map_doorbell(vma);
	default:
		return -EINVAL;
	}
}
