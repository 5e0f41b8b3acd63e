// SPDX-License-Identifier: Apache-2.0
// vfio-user: how a virtual machine monitor (QEMU's vfio-user-pci, cloud-hypervisor) talks to a process that
// is its PCI device, over a unix stream socket. What is here is what those two were seen to send; the numbers
// are those of Linux's vfio interface. Little endian. The monitor asks, the device answers; an answer that
// says an error is a header alone.
#ifndef VGPU_PROTOCOL_VMM_VFIO_USER_H
#define VGPU_PROTOCOL_VMM_VFIO_USER_H

#include <assert.h>
#include <stdint.h>

#define VFIO_USER_MAX_FDS   16u			       // with one message, as we offer it
#define VFIO_USER_MAX_DATA  65536u		       // of one region access, as we offer it
#define VFIO_USER_MAX_BYTES (VFIO_USER_MAX_DATA + 64u) // of a whole message that is taken

enum vfio_user_command {
	VFIO_USER_VERSION = 1,
	VFIO_USER_DMA_MAP = 2, // 0 or 1 fd
	VFIO_USER_DMA_UNMAP = 3,
	VFIO_USER_DEVICE_GET_INFO = 4,
	VFIO_USER_DEVICE_GET_REGION_INFO = 5,
	VFIO_USER_DEVICE_GET_IRQ_INFO = 7,
	VFIO_USER_DEVICE_SET_IRQS = 8, // fds
	VFIO_USER_REGION_READ = 9,
	VFIO_USER_REGION_WRITE = 10,
	VFIO_USER_DEVICE_RESET = 13,
};

#define VFIO_USER_TYPE	   0xfu // of flags: 0 request, 1 reply
#define VFIO_USER_REPLY	   0x1u
#define VFIO_USER_NO_REPLY 0x10u
#define VFIO_USER_ERROR	   0x20u

struct vfio_user_header {
	uint16_t id; // chosen by who asks, repeated in the reply
	uint16_t command;
	uint32_t size; // header included
	uint32_t flags;
	uint32_t error; // positive errno, with VFIO_USER_ERROR
};
static_assert(sizeof(struct vfio_user_header) == 16, "wire");

struct vfio_user_version {
	uint16_t major, minor;
	char text[]; // JSON, NUL-terminated
};
static_assert(sizeof(struct vfio_user_version) == 4, "wire");

#define VFIO_USER_DMA_READ  1u
#define VFIO_USER_DMA_WRITE 2u

struct vfio_user_dma_map {
	uint32_t argsz, flags; // VFIO_USER_DMA_*
	uint64_t offset;       // in the fd
	uint64_t address, bytes;
};
static_assert(sizeof(struct vfio_user_dma_map) == 32, "wire");

#define VFIO_USER_UNMAP_ALL 2u

struct vfio_user_dma_unmap {
	uint32_t argsz, flags;
	uint64_t address, bytes;
};
static_assert(sizeof(struct vfio_user_dma_unmap) == 24, "wire");

#define VFIO_USER_DEVICE_RESETS 1u
#define VFIO_USER_DEVICE_PCI	2u

struct vfio_user_device_info {
	uint32_t argsz, flags;
	uint32_t n_regions, n_irqs;
};
static_assert(sizeof(struct vfio_user_device_info) == 16, "wire");

// Some clients know a fifth word (offset of capabilities, 0: none), and read an answer as long as their
// request.
#define VFIO_USER_DEVICE_INFO_MAX_BYTES 20u

enum vfio_user_region {
	VFIO_USER_REGION_BAR0 = 0, // a BAR of 64 bits takes two of them
	VFIO_USER_REGION_BAR2 = 2,
	VFIO_USER_REGION_BAR4 = 4,
	VFIO_USER_REGION_CONFIG = 7,
	VFIO_USER_REGIONS = 9,
};

#define VFIO_USER_REGION_READABLE 1u
#define VFIO_USER_REGION_WRITABLE 2u

struct vfio_user_region_info {
	uint32_t argsz, flags;
	uint32_t index, capabilities;
	uint64_t bytes, offset;
};
static_assert(sizeof(struct vfio_user_region_info) == 32, "wire");

enum vfio_user_irq {
	VFIO_USER_IRQ_INTX = 0,
	VFIO_USER_IRQ_MSI = 1,
	VFIO_USER_IRQ_MSIX = 2,
	VFIO_USER_IRQ_ERROR = 3, // writing it stops the VM
	VFIO_USER_IRQ_REQUEST = 4,
	VFIO_USER_IRQS = 5,
};

#define VFIO_USER_IRQ_EVENTFD 1u

struct vfio_user_irq_info {
	uint32_t argsz, flags;
	uint32_t index, count;
};
static_assert(sizeof(struct vfio_user_irq_info) == 16, "wire");

#define VFIO_USER_IRQ_DATA_NONE	   0x01u
#define VFIO_USER_IRQ_DATA_BOOL	   0x02u
#define VFIO_USER_IRQ_DATA_EVENTFD 0x04u
#define VFIO_USER_IRQ_MASK	   0x08u
#define VFIO_USER_IRQ_UNMASK	   0x10u
#define VFIO_USER_IRQ_TRIGGER	   0x20u

struct vfio_user_set_irqs {
	uint32_t argsz, flags;
	uint32_t index, start, count;
};
static_assert(sizeof(struct vfio_user_set_irqs) == 20, "wire");

struct vfio_user_access {
	uint64_t offset;
	uint32_t region, count;
	uint8_t data[];
};
static_assert(sizeof(struct vfio_user_access) == 16, "wire");

#endif
