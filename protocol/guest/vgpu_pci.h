/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The virtual GPU as the guest's kernel sees it on the PCI bus: registers in BAR0, and commands in guest
 * memory. Shared by vgpu.ko, the stub and tests; no types but those of <linux/types.h>. Little endian,
 * reserved fields zero.
 *
 * The device has one BAR, memory, not mappable by the VMM, so that writes are posted: a read waits for the
 * stub (tens of microseconds), a write does not. Everything that is large or often read lies in guest memory.
 * One MSI vector.
 *
 *   BAR0  +0x0000  registers (VGPU_REG_*), 32 bit wide, 8-byte ones as two halves, low first
 *         +0x1000  a page for each channel, for its process to map: any write to it rings the channel's
 * executor
 *
 * Commands. The guest gives the device one area of memory (VGPU_REG_ADMIN_*): VGPU_COMMAND_SLOTS slots, then
 * the channels' bell words. A command is written into a free slot, then the slot's number into
 * VGPU_REG_COMMAND. The device copies a command once, checks it, and acts; it may take seconds (an executor
 * starts, work is waited for). When it is done it writes the slot's reply, then reply.sequence, and
 * interrupts. Commands of different slots are carried out side by side; those of one channel in the order of
 * VGPU_REG_COMMAND. Replies and bell words lie in memory, so an interrupt handler needs no register: the
 * device interrupts for each change, whether VGPU_REG_CAUSE was cleared or not.
 *
 * Ending (VGPU_REG_ADMIN_ENABLE) closes every channel, as a reset does; VGPU_STATUS_ENABLED goes when the
 * host has let go of all memory that it was told of.
 *
 * Memory is named by extents: pieces that are contiguous for the device, whole pages, listed in guest memory.
 * One extent may span several of the VMM's DMA maps (behind an IOMMU most do).
 * From the time a command names them until its reply (OPEN, MAP: until CLOSE's or UNMAP's reply says
 * so) the host may read and write them. The guest frees nothing before.
 */
#ifndef VGPU_PROTOCOL_GUEST_VGPU_PCI_H
#define VGPU_PROTOCOL_GUEST_VGPU_PCI_H

#include <linux/types.h>

/*
 * The 'custom' personality. 1af4:10f0 is of the range 1af4:10f0 to 1af4:10ff, which Red Hat, whose vendor id
 * 1af4 is, leaves to anybody for experiments (QEMU's specification "PCI IDs"). That is enough for a
 * laboratory and not for a product: who ships this has a device id of a vendor's own assigned, and either
 * puts it here or gives it to the stub (--pci-id), and to a driver that was built without it by its file
 * new_id. The driver binds by the ids and then asks VGPU_REG_MAGIC, so another's experiment under the same
 * number is left alone.
 */
#define VGPU_PCI_VENDOR	   0x1af4
#define VGPU_PCI_DEVICE	   0x10f0
#define VGPU_PCI_SUBVENDOR 0x1af4
#define VGPU_PCI_SUBDEVICE 0x10f0
#define VGPU_PCI_REVISION  1
#define VGPU_PCI_CLASS	   0x120000 /* processing accelerator */

#define VGPU_MAX_VM_CHANNELS 64
#define VGPU_BAR0_BYTES	     0x80000 /* power of two: registers, 64 channel pages */
#define VGPU_BAR0_CHANNEL(i) (0x1000 + 0x1000 * (i))

/* Registers. Unknown ones read 0. */
#define VGPU_REG_MAGIC	      0x000 /* VGPU_DEVICE_MAGIC */
#define VGPU_REG_VERSION      0x004 /* VGPU_DEVICE_VERSION */
#define VGPU_REG_FEATURES     0x008 /* 8 bytes: VGPU_FEATURE_* */
#define VGPU_REG_VM_ID	      0x010 /* the tenant's number on its host */
#define VGPU_REG_POOL	      0x014
#define VGPU_REG_WEIGHT	      0x018
#define VGPU_REG_PROFILE      0x01c
#define VGPU_REG_MEMORY	      0x020 /* 8 bytes: quota of device memory, 0: the card's own size limits */
#define VGPU_REG_CHANNELS     0x028 /* how many channels may be open, up to VGPU_MAX_VM_CHANNELS */
#define VGPU_REG_STATUS	      0x040 /* VGPU_STATUS_* */
#define VGPU_REG_ERROR	      0x044 /* the last device-wide error, enum vgpu_command_result */
#define VGPU_REG_CAUSE	      0x048 /* VGPU_CAUSE_*, cleared by writing 1; interrupts do not depend on it */
#define VGPU_REG_GENERATION   0x04c /* grows by 1 at each reset of the device */
#define VGPU_REG_ADMIN	      0x080 /* 8 bytes: guest address of the area, page-aligned; 0: none */
#define VGPU_REG_ADMIN_BYTES  0x088 /* its size, at least sizeof(struct vgpu_admin_area) */
#define VGPU_REG_ADMIN_ENABLE 0x08c /* 1: begin; 0: end */
#define VGPU_REG_COMMAND      0x090 /* write: the number of a slot with a new command */

#define VGPU_DEVICE_MAGIC   0x55504756 /* "VGPU" */
#define VGPU_DEVICE_VERSION 1

#define VGPU_FEATURE_LIBRARY 0x1 /* OPEN has a library; else that and what is behind it is 0 */

#define VGPU_STATUS_READY     0x1 /* the mediator answers: channels can be opened */
#define VGPU_STATUS_NO_SHARED 0x2 /* guest memory has no fds (share=on is missing): no channel opens */
#define VGPU_STATUS_ENABLED   0x4 /* the admin area is in use */

#define VGPU_CAUSE_COMMAND 0x1 /* a reply was written */
#define VGPU_CAUSE_BELL	   0x2 /* a bell word changed */
#define VGPU_CAUSE_STATUS  0x4 /* VGPU_REG_STATUS changed */

enum vgpu_command_code {
	VGPU_COMMAND_OPEN = 1,
	VGPU_COMMAND_CLOSE = 2,
	VGPU_COMMAND_MAP = 3,
	VGPU_COMMAND_UNMAP = 4,
	VGPU_COMMAND_DEVICE = 5,
};

enum vgpu_command_result {
	VGPU_RESULT_OK = 0,
	VGPU_RESULT_INVALID = 1, /* malformed, or about something that is not there */
	VGPU_RESULT_LIMIT = 2,	 /* a limit of the tenant or the device */
	VGPU_RESULT_NO_HOST = 3, /* the mediator does not answer */
	VGPU_RESULT_BACKEND = 4, /* no executor could be started */
	VGPU_RESULT_ENDED = 5, /* the channel has ended (OPEN's channel died while a command was under way) */
	VGPU_RESULT_NOT_SHARED = 6, /* an extent is not memory with an fd */
	VGPU_RESULT_ADDRESS = 7,    /* the executor cannot map there */
	VGPU_RESULT_INTERNAL = 8,
	VGPU_RESULT_QUARANTINED = 9,  /* OPEN: the host keeps this virtual machine out for what it did */
	VGPU_RESULT_DEVICE_LOST = 10, /* OPEN: the host's card does not answer */
	VGPU_RESULT_DRAINING = 11,    /* OPEN: the host is being emptied */
	VGPU_RESULT_PROTOCOL = 12,    /* OPEN: the host lets no programs of that library in */
};

/* What a channel's memory holds as the host lays it out today, and where in it the word lies that threads
 * sleep on (struct channel_header of protocol/guest/channel.h). */
#define VGPU_VM_CHANNEL_BYTES 0x281000
#define VGPU_WAKE_WORD_OFFSET 260

/* One piece of guest memory, whole pages. */
struct vgpu_extent {
	__le64 address; /* guest-physical */
	__le64 bytes;
};

#define VGPU_MAX_EXTENTS 65536 /* of one command; the list is at most 1 MiB */

/*
 * OPEN: a channel for a process. Its memory is the channel memory (protocol/guest/channel.h: header, ring,
 * replies, fences, at the offsets below), then the arena; both begin with an extent of their own. The guest
 * has zeroed it and written nothing into it, and has zeroed the channel's bell word.
 */
struct vgpu_command_open {
	__le32 channel; /* number of a channel that is not open: page and bell word of that number are its */
	__le32 pid;	/* in the guest, for the operator's eyes */
	__u8 name[16];	/* of the process, NUL-terminated */
	__le64 channel_bytes; /* VGPU_VM_CHANNEL_BYTES; VGPU_RESULT_INVALID: the host wants another size */
	__le64 arena_bytes;
	__le64 list; /* guest address of struct vgpu_extent[extents], 8-byte aligned */
	__le32 channel_extents, arena_extents;
	__le32 library; /* VGPU_LIBRARY_* of vgpu_ioctl.h, as the process says; 0: not told */
	__le32 reserved;
};

/* CLOSE: answered when the executor is gone; also for a channel that has ended or never opened (any result).
 */
struct vgpu_command_close {
	__le32 channel;
	__le32 reserved;
};

/* MAP: makes guest memory visible to the channel's executor at the process's own address. */
struct vgpu_command_map {
	__le32 channel;
	__le32 reserved;
	__le64 address; /* of the process, page-aligned */
	__le64 bytes;	/* sum of the extents */
	__le64 list;
	__le32 extents;
	__le32 reserved2;
};

/* UNMAP: the whole of what one MAP mapped. Registrations of it with the GPU are undone first. */
struct vgpu_command_unmap {
	__le32 channel;
	__le32 reserved;
	__le64 address;
};

/*
 * DEVICE: one question of the host link about the device (protocol/host/link.h: LINK_DEVICE), as a whole
 * packet at buffer, answered in place: the packets of the answer one behind another, reply.bytes of them at
 * most buffer_bytes.
 */
struct vgpu_command_device {
	__le64 buffer;
	__le32 buffer_bytes; /* up to 64 KiB, whole pages, physically contiguous */
	__le32 request_bytes;
};

struct vgpu_command {
	__le32 code;	 /* enum vgpu_command_code */
	__le32 sequence; /* not 0, chosen by the guest, repeated in the reply */
	union {
		struct vgpu_command_open open;
		struct vgpu_command_close close;
		struct vgpu_command_map map;
		struct vgpu_command_unmap unmap;
		struct vgpu_command_device device;
		__u8 bytes[120];
	};
};

/* Where things lie in a channel's memory, and what the process reserves addresses for. */
struct vgpu_geometry {
	__le32 ring_offset, ring_bytes;
	__le32 reply_offset, reply_slots;
	__le32 fence_offset, fence_slots;
	__le64 channel_bytes;
	__le64 host_window_base, host_window_bytes;
	__le64 arena_bytes;
	__le64 device_window_base, device_window_bytes;
};

struct vgpu_reply {
	__le32 sequence; /* of the command, written last */
	__le32 result;	 /* enum vgpu_command_result */
	union {
		struct {
			__le64 channel_id;
			struct vgpu_geometry geometry;
			__le32 tenant_id;
			__le32 reserved;
		} open;
		struct {
			__le32 bytes;
		} device;
		__u8 bytes[120];
	};
};

#define VGPU_COMMAND_SLOTS 32

/* What a bell word says, by its low bits; the device stores into it when something happened to the channel.
 */
#define VGPU_BELL_WAKE	1 /* toggled: the channel's wake_word was rung */
#define VGPU_BELL_ENDED 2 /* the channel is lost; upper 16 bits: enum link_error_code of the host link */

/* VGPU_REG_ADMIN points to it. */
struct vgpu_admin_area {
	struct {
		struct vgpu_command command; /* written by the guest */
		struct vgpu_reply reply;     /* written by the device */
	} slot[VGPU_COMMAND_SLOTS];
	__le32 bell[VGPU_MAX_VM_CHANNELS]; /* written by the device */
};

_Static_assert(sizeof(struct vgpu_extent) == 16, "wire");
_Static_assert(sizeof(struct vgpu_command_open) == 64, "wire");
_Static_assert(sizeof(struct vgpu_command_map) == 40, "wire");
_Static_assert(sizeof(struct vgpu_command) == 128, "wire");
_Static_assert(sizeof(struct vgpu_geometry) == 72, "wire");
_Static_assert(sizeof(struct vgpu_reply) == 128, "wire");
_Static_assert(sizeof(struct vgpu_admin_area) == VGPU_COMMAND_SLOTS * 256 + 256, "wire");

#endif
