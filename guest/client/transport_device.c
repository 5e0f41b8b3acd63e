// SPDX-License-Identifier: Apache-2.0
// In a virtual machine: /dev/vgpu0, the virtual GPU's driver. Channel memory is the driver's; the program's
// own memory is pinned in place and mapped by the executor at the same address, so nothing is moved or
// copied. Runs in the program's process.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest/client/client_internal.h"
#include "protocol/cuda/cuda_abi.h"
#include "protocol/guest/vgpu_ioctl.h"
#include "protocol/guest/vgpu_pci.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 // Linux 5.14
#endif

static_assert(offsetof(struct channel_header, wake_word) == VGPU_WAKE_WORD_OFFSET, "the driver reads it");
static_assert(CHANNEL_HEADER_BYTES + VGPU_RING_BYTES + VGPU_REPLY_SLOTS * VGPU_REPLY_SLOT_BYTES +
		      VGPU_FENCE_SLOTS * sizeof(uint64_t) ==
		  VGPU_VM_CHANNEL_BYTES,
	      "the driver allocates it");
static_assert((unsigned)LINK_LIBRARY_CUDA == VGPU_LIBRARY_CUDA &&
		  (unsigned)LINK_LIBRARY_VGPU == VGPU_LIBRARY_VGPU,
	      "libraries are the host link's");
static_assert(LINK_E_SHUTDOWN == VGPU_REASON_DEVICE, "reasons are the host link's");

static int call(int fd, unsigned long request, void *argument)
{
	return ioctl(fd, request, argument) < 0 ? -errno : 0;
}

int transport_device_file(void)
{
	struct vgpu_ioc_info info = { 0 };
	int fd = open(VGPU_DEVICE_NODE, O_RDWR | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = call(fd, VGPU_IOC_INFO, &info);
	if (!r && info.device_version != VGPU_DEVICE_VERSION)
		r = -EPROTO;
	if (!r)
		return fd;
	close(fd);
	return r;
}

static const char *result_text(uint32_t result)
{
	switch (result) {
	case VGPU_RESULT_BACKEND: return "no executor could be started";
	case VGPU_RESULT_ENDED: return "the executor ended while it started";
	case VGPU_RESULT_QUARANTINED: return "the host keeps this virtual machine out (quarantine)";
	case VGPU_RESULT_DEVICE_LOST: return "the host's GPU is lost";
	case VGPU_RESULT_DRAINING: return "the host is being drained: no new program can use its GPU";
	case VGPU_RESULT_PROTOCOL: return "the host lets no programs of this library in (protocol)";
	case VGPU_RESULT_NOT_SHARED: return "the virtual machine's memory is not shared with the host";
	default: return "the host refused";
	}
}

static int open_channel(struct vgpu_client *c)
{
	struct vgpu_ioc_channel ok = { .library = client_library(c) };
	int r = call(c->device, VGPU_IOC_CHANNEL, &ok);

	if (r == -EINVAL) { // a driver that is older than the field
		ok = (struct vgpu_ioc_channel){ 0 };
		r = call(c->device, VGPU_IOC_CHANNEL, &ok);
	}
	if (r == -EIO && ok.error == VGPU_RESULT_QUARANTINED)
		client_refused(LINK_E_QUARANTINED);
	if (r == -EIO && ok.error == VGPU_RESULT_DEVICE_LOST)
		client_refused(LINK_E_DEVICE_LOST);
	if (r == -EIO && ok.error == VGPU_RESULT_DRAINING)
		client_refused(LINK_E_DRAINING);
	if (r == -EIO)
		return client_fail(-ECONNREFUSED, "%s", result_text(ok.error));
	if (r == -EMFILE)
		return client_fail(r, "the virtual GPU has no channel left");
	if (r < 0)
		return client_fail(r, "the virtual GPU gives no channel: %s", strerror(-r));
	c->tenant = ok.tenant_id;
	c->geometry = (struct link_geometry){
		.ring_offset = ok.ring_offset,
		.ring_bytes = ok.ring_bytes,
		.reply_offset = ok.reply_offset,
		.reply_slots = ok.reply_slots,
		.fence_offset = ok.fence_offset,
		.fence_slots = ok.fence_slots,
		.channel_bytes = ok.channel_bytes,
		.host_window_base = ok.host_window_base,
		.host_window_bytes = ok.host_window_bytes,
		.arena_bytes = ok.arena_bytes,
		.device_window_base = ok.device_window_base,
		.device_window_bytes = ok.device_window_bytes,
	};
	if (!client_geometry_is_sane(&c->geometry))
		return client_fail(-EPROTO, "the virtual GPU's channel is malformed");
	return 0;
}

static int map_all(struct vgpu_client *c)
{
	const int prot = PROT_READ | PROT_WRITE;
	void *page;
	int r = client_take_channel(
	    c, mmap(NULL, c->geometry.channel_bytes, prot, MAP_SHARED, c->device, (off_t)VGPU_MMAP_CHANNEL));

	if (r < 0)
		return r;
	page =
	    mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), prot, MAP_SHARED, c->device, (off_t)VGPU_MMAP_DOORBELL);
	if (page == MAP_FAILED)
		return client_fail(-errno, "cannot map the doorbell: %s", strerror(errno));
	c->doorbell_page = page;
	r = client_reserve_windows(c);
	if (r < 0)
		return r;
	if (mmap(c->window, c->geometry.arena_bytes, prot, MAP_SHARED | MAP_FIXED, c->device,
		 (off_t)VGPU_MMAP_ARENA) == MAP_FAILED)
		return client_fail(-errno, "cannot map the arena: %s", strerror(errno));
	return 0;
}

static int device_open(struct vgpu_client *c, const char *path)
{
	int r = transport_device_file();

	(void)path;
	if (r < 0)
		return client_fail(r, "the virtual GPU %s: %s", VGPU_DEVICE_NODE, strerror(-r));
	c->device = r;
	r = open_channel(c);
	return r ? r : map_all(c);
}

static void device_close(struct vgpu_client *c)
{
	if (c->doorbell_page)
		munmap((void *)c->doorbell_page, (size_t)sysconf(_SC_PAGESIZE));
	close_fd(&c->device);
}

// The kernel gave the child none of the maps, and copies of the program's pages.
static void device_forget(struct vgpu_client *c)
{
	c->doorbell_page = NULL;
}

static void device_ring(struct vgpu_client *c)
{
	atomic_store_explicit(c->doorbell_page, 1, memory_order_relaxed);
}

// Any answer but these means that there is nothing to wait for any more.
static void wait_for(struct vgpu_client *c, uint32_t seen, uint64_t timeout_ns)
{
	struct vgpu_ioc_wait wait = { .seen = seen, .timeout_ns = timeout_ns };
	int r = call(c->device, VGPU_IOC_WAIT, &wait);

	if (r == -ENOLINK)
		client_set_lost(c, client_result_of_loss(wait.reason));
	else if (r && r != -ETIMEDOUT && r != -EINTR)
		client_set_lost(c, CUDA_ERROR_DEVICE_UNAVAILABLE);
}

static void device_sleep(struct vgpu_client *c, uint32_t seen)
{
	wait_for(c, seen, CLIENT_SLICE_NS);
}

// The driver woke everybody when the channel ended.
static void device_wake(struct vgpu_client *c)
{
	(void)c;
}

static void device_check(struct vgpu_client *c)
{
	if (!vgpu_client_lost(c))
		wait_for(c, atomic_load(&c->header->wake_word), 0);
}

static int map(struct vgpu_client *c, void *address, uint64_t bytes)
{
	struct vgpu_ioc_map map = { .address = (uintptr_t)address, .bytes = bytes };

	return call(c->device, VGPU_IOC_MAP, &map);
}

static int unmap(struct vgpu_client *c, void *address)
{
	struct vgpu_ioc_unmap unmap = { .address = (uintptr_t)address };

	return call(c->device, VGPU_IOC_UNMAP, &unmap);
}

// The window's addresses as they are when nobody uses them.
static void reserve_again(void *at, uint64_t bytes)
{
	mmap(at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

static int device_back(struct vgpu_client *c, uint64_t offset, uint64_t bytes)
{
	void *at = c->window + offset;
	int r = 0;

	if (mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	    MAP_FAILED)
		return -errno;
	// One extent each instead of 512, and short tables on the host.
	if (bytes >= VGPU_MIB(2))
		madvise(at, bytes, MADV_HUGEPAGE);
	if (madvise(at, bytes, MADV_POPULATE_WRITE) < 0 && errno == ENOMEM)
		r = -ENOMEM;
	if (!r)
		r = map(c, at, bytes);
	if (r < 0)
		reserve_again(at, bytes);
	return r;
}

// A lost channel's pages stay pinned until the client is closed; the address is free all the same.
static void device_unback(struct vgpu_client *c, uint64_t offset, uint64_t bytes)
{
	unmap(c, c->window + offset);
	reserve_again(c->window + offset, bytes);
}

static int device_adopt(struct vgpu_client *c, void *address, uint64_t bytes, uint64_t *ret_offset)
{
	int r = map(c, address, bytes);

	if (!r)
		*ret_offset = 0; // it is not in the window
	return r == -E2BIG || r == -ENOSPC ? -ENOMEM : r;
}

static int device_release(struct vgpu_client *c, void *address, uint64_t bytes, uint64_t offset)
{
	int r = unmap(c, address);

	(void)bytes;
	(void)offset;
	return r == -ENOLINK ? 0 : r; // the pages are the program's again when the client is closed
}

const struct transport transport_device = {
	.open = device_open,
	.close = device_close,
	.forget = device_forget,
	.ring = device_ring,
	.sleep = device_sleep,
	.wake = device_wake,
	.check = device_check,
	.back = device_back,
	.unback = device_unback,
	.adopt = device_adopt,
	.release = device_release,
};
