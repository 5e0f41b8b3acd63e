/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vgpu.ko: the guest's driver of the virtual GPU. What its files share.
 *
 * A device has channels, one for each open file that asked for one. A channel's memory and the pages that its process
 * had pinned are the host's to use from the command that names them until the host has let go: until CLOSE (or
 * UNMAP) is answered, or the whole device was stopped or reset. Only then is anything unpinned or freed. When the
 * device died and cannot say so, everything stays where it is.
 *
 * Locks, outermost first: vgpu_file.lock, vgpu_channel.lock, vgpu_device.list_lock, vgpu_device.lock. Whoever touches
 * registers or the DMA API is between vgpu_device_enter() and vgpu_device_exit(); remove() waits for them.
 */
#ifndef VGPU_DRV_H
#define VGPU_DRV_H

#include <linux/completion.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "protocol/guest/vgpu_ioctl.h"
#include "protocol/guest/vgpu_pci.h"

#define VGPU_MAX_PINS	4096	/* maps of one channel */
#define VGPU_MAX_PIECES	64	/* of channel memory or arena; more fragmented memory is refused */

/* Memory that the device reads or writes while a command runs. */
struct vgpu_buffer {
	void *va;		/* NULL: none */
	size_t bytes;
	dma_addr_t dma;
};

enum vgpu_slot_state {
	VGPU_SLOT_FREE,
	VGPU_SLOT_BUSY,
	VGPU_SLOT_ORPHAN,	/* nobody waits any more; the device may still use keep */
};

struct vgpu_slot {
	enum vgpu_slot_state state;
	u32 sequence;
	struct vgpu_buffer keep;
};

enum vgpu_device_state {
	VGPU_DOWN,		/* between probe, suspend, reset and the next start */
	VGPU_UP,
	VGPU_DEAD,		/* does not answer any more */
	VGPU_GONE,		/* removed */
};

struct vgpu_channel;

struct vgpu_device {
	struct kref ref;
	struct pci_dev *pdev;
	struct miscdevice misc;
	int minor;		/* of /dev/vgpuN */
	char name[16];
	struct miscdevice nvidia;	/* nvidia_names.c */
	char nvidia_name[16];

	bool gone;		/* removed: nobody enters any more */
	void __iomem *bar;
	phys_addr_t bar_phys;

	struct vgpu_admin_area *admin;
	dma_addr_t admin_dma;

	/* What the device said of itself when it was probed. */
	u32 version, features, tenant_id, weight, max_channels;
	u64 memory_quota;

	spinlock_t lock;	/* all below; taken by the interrupt handler */
	enum vgpu_device_state state;
	u32 epoch;		/* grows when the device stops or dies: commands of before get no answer */
	u32 generation;		/* VGPU_REG_GENERATION when it was started */
	u32 sequence;
	struct vgpu_slot slot[VGPU_COMMAND_SLOTS];
	struct vgpu_channel *channel[VGPU_MAX_VM_CHANNELS];
	unsigned long checked;	/* jiffies */
	wait_queue_head_t command_wait;

	struct mutex list_lock;	/* the lists below */
	struct list_head channels;	/* whose memory the host may use; each entry holds a reference */
	struct list_head files;
};

/* One physically contiguous piece of channel memory. */
struct vgpu_piece {
	struct page *page;
	unsigned int order;
	dma_addr_t dma;
};

struct vgpu_memory {
	u64 bytes;
	unsigned int n;		/* pieces that are allocated */
	unsigned int mapped;	/* of them, those that the device was mapped to see */
	struct vgpu_piece piece[VGPU_MAX_PIECES];
};

/* A range of the process that is pinned and told to the host. */
struct vgpu_pin {
	struct list_head list;
	u64 address, bytes;
	bool accounted;		/* in the process's locked memory */
	struct sg_table sgt;
};

struct vgpu_channel {
	struct kref ref;
	struct vgpu_device *vdev;
	struct mm_struct *mm;	/* of the process that opened it; grabbed, not pinned */
	kuid_t user;		/* whose it is */
	struct list_head list;	/* vgpu_device.channels */

	struct mutex lock;	/* held over commands */
	bool named;		/* has a number; the host may use its memory */
	unsigned int number;
	struct vgpu_memory memory, arena;
	struct page *dummy;	/* what the doorbell is once the device is gone */
	struct list_head pins;
	unsigned int n_pins;

	wait_queue_head_t wait;
	u32 bell_seen;		/* vgpu_device.lock */
	u32 ended;		/* 0, or 1 + the reason */
	u32 poll_seen;

	struct work_struct close;
	struct completion closed;
};

/* One open file. */
struct vgpu_file {
	struct vgpu_device *vdev;
	struct address_space *mapping;
	struct list_head list;
	struct mutex lock;		/* opening the channel */
	struct vgpu_channel *channel;	/* NULL: none yet; set once */
};

extern struct workqueue_struct *vgpu_workqueue;
extern unsigned int vgpu_arena_mib, vgpu_timeout, vgpu_user_channels;
extern bool vgpu_memlock;

/* device.c */
bool vgpu_device_enter(struct vgpu_device *vdev, int *index);
void vgpu_device_exit(int index);
void vgpu_device_drain(struct vgpu_device *vdev);
int vgpu_device_start(struct vgpu_device *vdev);
bool vgpu_device_stop(struct vgpu_device *vdev, enum vgpu_device_state state);
void vgpu_device_check(struct vgpu_device *vdev);
int vgpu_device_read(struct vgpu_device *vdev, u32 reg, u32 *ret);
irqreturn_t vgpu_interrupt(int irq, void *data);

/* command.c */
int vgpu_buffer_alloc(struct vgpu_device *vdev, size_t bytes, struct vgpu_buffer *ret);
void vgpu_buffer_free(struct vgpu_device *vdev, struct vgpu_buffer *buffer);
int vgpu_command(struct vgpu_device *vdev, const struct vgpu_command *command, struct vgpu_buffer *buffer,
		 bool patient, struct vgpu_reply *ret);
void vgpu_commands_drop(struct vgpu_device *vdev);
bool vgpu_commands_answered(struct vgpu_device *vdev);

/* channel.c */
struct vgpu_channel *vgpu_channel_new(struct vgpu_device *vdev);
int vgpu_channel_open(struct vgpu_channel *channel, u32 library, struct vgpu_reply *ret);
void vgpu_channel_release(struct vgpu_channel *channel);
void vgpu_channel_let_go(struct vgpu_channel *channel);
void vgpu_channel_end(struct vgpu_channel *channel, u32 reason);
u32 vgpu_channel_wake_word(struct vgpu_channel *channel);
void vgpu_channel_free(struct kref *ref);

/* pieces.c */
bool vgpu_is_bounced(struct device *dev, dma_addr_t dma);
int vgpu_memory_alloc(struct vgpu_device *vdev, struct vgpu_memory *memory, u64 bytes);
void vgpu_memory_unmap(struct vgpu_device *vdev, struct vgpu_memory *memory);
void vgpu_memory_free(struct vgpu_memory *memory);
void vgpu_memory_list(const struct vgpu_memory *memory, struct vgpu_extent *list);

/* pin.c */
int vgpu_pin(struct vgpu_channel *channel, u64 address, u64 bytes);
int vgpu_unpin(struct vgpu_channel *channel, u64 address);
void vgpu_unpin_all(struct vgpu_channel *channel);

/* nvidia_names.c */
int vgpu_names_init(void);
void vgpu_names_exit(void);
int vgpu_names_add(struct vgpu_device *vdev);
void vgpu_names_remove(struct vgpu_device *vdev);

/* main.c, file.c, ioctl.c, map.c */
void vgpu_device_free(struct kref *ref);
extern const struct file_operations vgpu_fops;
struct vgpu_channel *vgpu_file_channel(struct vgpu_file *f);
long vgpu_ioctl(struct file *file, unsigned int request, unsigned long arg);
int vgpu_mmap(struct file *file, struct vm_area_struct *vma);
void vgpu_unmap_doorbells(struct vgpu_device *vdev);

#endif
