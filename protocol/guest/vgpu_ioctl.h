/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only WITH Linux-syscall-note */
/*
 * What a guest process asks of /dev/vgpu0 (vgpu.ko). One open file is one channel at most; everything it has
 * ends with the file. Fixed-width types, no pointers of varying size, reserved fields zero (else EINVAL).
 *
 *   mmap offsets:  VGPU_MMAP_CHANNEL  channel memory, exactly channel_bytes, shared, read and write
 *                  VGPU_MMAP_ARENA    the arena, exactly arena_bytes
 *                  VGPU_MMAP_DOORBELL one page of the device; any 4-byte store into it rings the executor
 *   poll:          POLLIN  the wake word has changed since the last VGPU_IOC_WAIT
 *                  POLLHUP the channel is lost
 *
 * The channel belongs to the process that opened it: a forked child that inherits the file gets EPERM, and
 * none of the maps. It ends when the last copy of the file is closed and nothing of it is mapped.
 */
#ifndef VGPU_PROTOCOL_GUEST_VGPU_IOCTL_H
#define VGPU_PROTOCOL_GUEST_VGPU_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define VGPU_DEVICE_NODE "/dev/vgpu0"

/* Reason of a channel that ended with its device (reset, suspended, unplugged): LINK_E_SHUTDOWN of the host
 * link. */
#define VGPU_REASON_DEVICE 9

#define VGPU_MMAP_CHANNEL  0x00000000ull
#define VGPU_MMAP_ARENA	   0x10000000ull
#define VGPU_MMAP_DOORBELL 0x20000000ull

/* Whose program opens a channel; passed on as it is, for those who look at the host. 0: not told. As enum
 * link_library of the host link. */
#define VGPU_LIBRARY_CUDA 1
#define VGPU_LIBRARY_VGPU 2
#define VGPU_LIBRARY_MOST 255

/* What the device is; needs no channel. */
struct vgpu_ioc_info {
	__u32 device_version; /* VGPU_DEVICE_VERSION of the device */
	__u32 status;	      /* VGPU_STATUS_* */
	__u32 tenant_id;
	__u32 weight;
	__u64 memory_quota;
	__u32 pci_domain, pci_bus, pci_slot, pci_function;
	__u64 reserved;
};

/* Opens the channel. ENODEV: the host does not answer or the device is gone; EMFILE, ENOMEM: limits; EIO with
 * error set: the host refused; EBUSY: this file has a channel. */
struct vgpu_ioc_channel {
	__u32 error;	 /* out: enum vgpu_command_result when EIO */
	__u32 tenant_id; /* out, as all below */
	__u64 channel_id;
	__u32 ring_offset, ring_bytes, reply_offset, reply_slots, fence_offset, fence_slots;
	__u64 channel_bytes;
	__u64 host_window_base, host_window_bytes;
	__u64 arena_bytes;
	__u64 device_window_base, device_window_bytes;
	__u32 library; /* in: VGPU_LIBRARY_*; vgpu.ko of before takes 0 alone (EINVAL) */
	__u32 reserved;
};

/* Pins the calling process's pages [address, address + bytes), whole pages, writable, and has the host map
 * them at that address. EFAULT: not mapped or not writable; ENOMEM: the user's limit of pinned memory
 * (RLIMIT_MEMLOCK); EEXIST: overlaps another; EADDRNOTAVAIL: the host has no room at that address; E2BIG: too
 * many scattered pages for one command; ENOSPC: too many maps; ENOLINK: the channel is lost. */
struct vgpu_ioc_map {
	__u64 address;
	__u64 bytes;
	__u64 reserved;
};

/* Undoes a whole VGPU_IOC_MAP, by its address. ENOENT. Returns when the host has let go. */
struct vgpu_ioc_unmap {
	__u64 address;
	__u64 reserved;
};

/* Sleeps until the channel's wake_word is not `seen`, at most timeout_ns. 0; ETIMEDOUT; EINTR; ENOLINK: lost,
 * with reason set. */
struct vgpu_ioc_wait {
	__u32 seen;
	__u32 reason; /* out with ENOLINK: enum link_error_code */
	__u64 timeout_ns;
	__u64 reserved;
};

/* A question about the device to the host (protocol/host/link.h, LINK_DEVICE): one packet there, its answer's
 * packets back, one behind another. EMSGSIZE: the answer is larger than room. */
struct vgpu_ioc_device {
	__u64 request; /* user address */
	__u64 answer;  /* user address */
	__u32 request_bytes, room;
	__u32 answer_bytes; /* out */
	__u32 reserved;
};

#define VGPU_IOC_INFO	 _IOR('V', 0x80, struct vgpu_ioc_info)
#define VGPU_IOC_CHANNEL _IOWR('V', 0x81, struct vgpu_ioc_channel)
#define VGPU_IOC_MAP	 _IOW('V', 0x82, struct vgpu_ioc_map)
#define VGPU_IOC_UNMAP	 _IOW('V', 0x83, struct vgpu_ioc_unmap)
#define VGPU_IOC_WAIT	 _IOWR('V', 0x84, struct vgpu_ioc_wait)
#define VGPU_IOC_DEVICE	 _IOWR('V', 0x85, struct vgpu_ioc_device)

#endif
