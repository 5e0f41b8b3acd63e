// SPDX-License-Identifier: GPL-2.0-only
/*
 * Channel memory: physically contiguous pieces, as large as can be had, zeroed, told to the device by the addresses
 * that it sees them at.
 */
#include <linux/dma-mapping.h>
#include <linux/iommu.h>

#include "vgpu_drv.h"

#define LARGEST_ORDER 10	/* 4 MiB: what every kernel's page allocator has */

static struct page *piece_alloc(u64 left, unsigned int *order)
{
	gfp_t flags = GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN;
	struct page *page = NULL;

	for (*order = min_t(unsigned int, LARGEST_ORDER, ilog2(left >> PAGE_SHIFT)); ; --*order) {
		page = alloc_pages(flags | (*order ? __GFP_NORETRY : __GFP_RETRY_MAYFAIL), *order);
		if (page || !*order)
			return page;
	}
}

/*
 * Whether what the device sees at that address is a copy. An IOMMU that translates shows whole pages as they are; and
 * kernels say of every address behind one that it needs synchronising.
 */
bool vgpu_is_bounced(struct device *dev, dma_addr_t dma)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	if (domain && domain->type != IOMMU_DOMAIN_IDENTITY)
		return false;
	return dma_need_sync(dev, dma);
}

/* Makes it visible to the device, at the same bytes and not by copies. */
static int piece_map(struct device *dev, struct vgpu_piece *piece)
{
	size_t bytes = PAGE_SIZE << piece->order;

	piece->dma = dma_map_page(dev, piece->page, 0, bytes, DMA_BIDIRECTIONAL);
	if (dma_mapping_error(dev, piece->dma))
		return -ENOMEM;
	if (vgpu_is_bounced(dev, piece->dma)) {
		dma_unmap_page(dev, piece->dma, bytes, DMA_BIDIRECTIONAL);
		dev_err_once(dev, "the platform does not let the device share memory (bounce buffers)\n");
		return -EOPNOTSUPP;
	}
	return 0;
}

/* bytes: whole pages. What was allocated stays in *memory on failure too. The caller has entered. */
int vgpu_memory_alloc(struct vgpu_device *vdev, struct vgpu_memory *memory, u64 bytes)
{
	struct vgpu_piece *piece;
	u64 left = bytes;
	int r;

	memory->bytes = bytes;
	while (left) {
		if (memory->n == VGPU_MAX_PIECES)
			return -ENOMEM;
		piece = &memory->piece[memory->n];
		piece->page = piece_alloc(left, &piece->order);
		if (!piece->page)
			return -ENOMEM;
		r = piece_map(&vdev->pdev->dev, piece);
		if (r < 0) {
			__free_pages(piece->page, piece->order);
			return r;
		}
		memory->n++;
		memory->mapped++;
		left -= PAGE_SIZE << piece->order;
	}
	return 0;
}

/* From the device; the memory itself may still be mapped by the process. */
void vgpu_memory_unmap(struct vgpu_device *vdev, struct vgpu_memory *memory)
{
	struct vgpu_piece *piece;

	while (memory->mapped) {
		piece = &memory->piece[--memory->mapped];
		dma_unmap_page(&vdev->pdev->dev, piece->dma, PAGE_SIZE << piece->order, DMA_BIDIRECTIONAL);
	}
}

void vgpu_memory_free(struct vgpu_memory *memory)
{
	while (memory->n) {
		memory->n--;
		__free_pages(memory->piece[memory->n].page, memory->piece[memory->n].order);
	}
}

void vgpu_memory_list(const struct vgpu_memory *memory, struct vgpu_extent *list)
{
	unsigned int i;

	for (i = 0; i < memory->n; i++) {
		list[i].address = cpu_to_le64(memory->piece[i].dma);
		list[i].bytes = cpu_to_le64(PAGE_SIZE << memory->piece[i].order);
	}
}
