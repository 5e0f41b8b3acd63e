// SPDX-License-Identifier: Apache-2.0
// The client's life: which way it reaches the host, its tables, its end; fence slots and what is asked about
// it. Runs in the program's process.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"
#include "guest/client/client_internal.h"
#include "protocol/cuda/cuda_abi.h"

static _Thread_local char open_error[LINK_TEXT_BYTES + 128];
static _Thread_local int open_result = CUDA_ERROR_NO_DEVICE;

const char *vgpu_client_open_error(void)
{
	return open_error;
}

int vgpu_client_open_result(void)
{
	return open_result;
}

void client_refused(uint32_t code)
{
	if (code == LINK_E_QUARANTINED || code == LINK_E_DEVICE_LOST)
		open_result = CUDA_ERROR_DEVICE_UNAVAILABLE;
	else if (code == LINK_E_DRAINING)
		open_result = CUDA_ERROR_SYSTEM_NOT_READY;
}

int client_fail(int code, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(open_error, sizeof(open_error), format, ap);
	va_end(ap);
	return code;
}

bool client_geometry_is_sane(const struct link_geometry *g)
{
	return g->ring_bytes && !(g->ring_bytes & (g->ring_bytes - 1)) &&
	       g->reply_slots == VGPU_REPLY_SLOTS &&
	       g->ring_offset + (uint64_t)g->ring_bytes <= g->channel_bytes &&
	       g->reply_offset + (uint64_t)g->reply_slots * VGPU_REPLY_SLOT_BYTES <= g->channel_bytes &&
	       g->fence_offset + (uint64_t)g->fence_slots * sizeof(uint64_t) <= g->channel_bytes &&
	       g->arena_bytes && g->arena_bytes <= g->host_window_bytes &&
	       g->host_window_bytes <= VGPU_WINDOW_BYTES;
}

static bool reserve(void *at, uint64_t bytes)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
	void *got = mmap(at, bytes, PROT_NONE, flags, -1, 0);

	if (got != MAP_FAILED && got != at) // a kernel that does not know the flag
		munmap(got, bytes);
	return got == at;
}

// In a virtual machine the executor maps pinned memory at the program's address, so that is chosen where an
// executor has nothing of its own (VGPU_APART_BEGIN).
static int reserve_apart(struct vgpu_client *c)
{
	const uint64_t bytes = c->geometry.host_window_bytes;

	for (uint64_t at = VGPU_APART_BEGIN; at <= VGPU_APART_END - bytes; at += bytes) {
		if (reserve((void *)(uintptr_t)at, bytes)) {
			c->window = (void *)(uintptr_t)at;
			c->window_reserved = bytes;
			return 0;
		}
	}
	return client_fail(-EEXIST, "no address is left in this process for one more host window");
}

int client_reserve_windows(struct vgpu_client *c)
{
	const struct link_geometry *g = &c->geometry;
	void *at = (void *)(uintptr_t)g->host_window_base;

	if (c->apart)
		return reserve_apart(c);
	if (!reserve(at, VGPU_WINDOW_BYTES))
		return client_fail(-EEXIST, "address window %p is taken in this process", at);
	c->window_reserved = VGPU_WINDOW_BYTES;
	c->window = at;
	at = (void *)(uintptr_t)g->device_window_base;
	if (!reserve(at, g->device_window_bytes))
		return client_fail(-EEXIST, "address window %p is taken in this process", at);
	c->device_reserved = true;
	return 0;
}

int client_take_channel(struct vgpu_client *c, void *memory)
{
	if (memory == MAP_FAILED)
		return client_fail(-errno, "cannot map the channel: %s", strerror(errno));
	c->channel = memory;
	c->header = memory;
	c->ring = c->channel + c->geometry.ring_offset;
	c->fences = (_Atomic uint64_t *)(c->channel + c->geometry.fence_offset);
	if (c->header->magic != CHANNEL_MAGIC || c->header->version != CHANNEL_VERSION)
		return client_fail(-EPROTO, "the channel has version %u, this library %u", c->header->version,
				   CHANNEL_VERSION);
	return 0;
}

static int init_tables(struct vgpu_client *c)
{
	uint32_t n = c->geometry.fence_slots;

	pthread_mutex_init(&c->ring_lock, NULL);
	pthread_mutex_init(&c->fence_lock, NULL);
	for (unsigned i = 0; i < VGPU_REPLY_SLOTS / 64; i++)
		c->reply_free[i] = UINT64_MAX;
	c->fence_free = malloc(n * sizeof(*c->fence_free));
	if (!c->fence_free)
		return -ENOMEM;
	while (n)
		c->fence_free[c->fence_free_count++] = --n;
	arena_init(c);
	return window_init(c);
}

// A waiter that spins takes the processor from whoever would answer it when there are few.
static uint64_t choose_spin(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN) > 3 ? 50 * NSEC_PER_USEC : 5 * NSEC_PER_USEC;
}

// An explicit socket means the socket. Else the virtual GPU, if there is one that answers; what it then
// refuses is refused. Else the default socket.
static int open_transport(struct vgpu_client *c, const char *path)
{
	char why[sizeof(open_error)];
	int r, device = -ENOENT;

	if (!client_explicit_socket(path)) {
		c->transport = &transport_device;
		device = c->transport->open(c, path);
		if (!device || c->device >= 0)
			return device;
		memcpy(why, open_error, sizeof(why));
	}
	c->transport = &transport_link;
	r = c->transport->open(c, path);
	// Neither is there: what is wrong with the virtual GPU is the better answer where one is.
	if (r < 0 && c->link < 0 && device != -ENOENT)
		memcpy(open_error, why, sizeof(why));
	return r;
}

static int open_client(const char *path, bool apart, struct vgpu_client **ret)
{
	struct vgpu_client *c = calloc(1, sizeof(*c));
	int r;

	open_result = CUDA_ERROR_NO_DEVICE;
	if (!c)
		return client_fail(-ENOMEM, "out of memory");
	c->link = c->window_fd = c->doorbell = c->device = -1;
	c->apart = apart;
	c->spin_ns = choose_spin();
	r = open_transport(c, path);
	if (!r)
		r = init_tables(c);
	if (r < 0) {
		vgpu_client_close(c);
		return r;
	}
	*ret = c;
	return 0;
}

int vgpu_client_open(const char *path, struct vgpu_client **ret)
{
	return open_client(path, false, ret);
}

int vgpu_client_open_apart(const char *path, struct vgpu_client **ret)
{
	return open_client(path, true, ret);
}

static void client_free(struct vgpu_client *c)
{
	c->transport->close(c);
	free(c->fence_free);
	window_done(c);
	free(c);
}

void vgpu_client_close(struct vgpu_client *c)
{
	if (!c)
		return;
	if (c->channel)
		munmap(c->channel, c->geometry.channel_bytes);
	if (c->window_reserved)
		munmap(c->window, c->window_reserved);
	if (c->device_reserved)
		munmap((void *)(uintptr_t)c->geometry.device_window_base, c->geometry.device_window_bytes);
	client_free(c);
}

void vgpu_client_forget(struct vgpu_client *c)
{
	c->transport->forget(c);
	client_free(c);
}

// The CUresult that programs see for a lost channel; the reasons are the host link's.
int client_result_of_loss(uint32_t code)
{
	switch (code) {
	case LINK_E_WATCHDOG: return CUDA_ERROR_LAUNCH_TIMEOUT;
	case LINK_E_BAD_RECORD: return CUDA_ERROR_LAUNCH_FAILED;
	default: return CUDA_ERROR_DEVICE_UNAVAILABLE;
	}
}

uint32_t vgpu_slot_get(struct vgpu_client *c)
{
	uint32_t slot = UINT32_MAX;

	pthread_mutex_lock(&c->fence_lock);
	if (c->fence_free_count)
		slot = c->fence_free[--c->fence_free_count];
	pthread_mutex_unlock(&c->fence_lock);
	if (slot != UINT32_MAX)
		atomic_store_explicit(&c->fences[slot], 0, memory_order_release);
	return slot;
}

void vgpu_slot_put(struct vgpu_client *c, uint32_t slot)
{
	pthread_mutex_lock(&c->fence_lock);
	c->fence_free[c->fence_free_count++] = slot;
	pthread_mutex_unlock(&c->fence_lock);
}

uint32_t vgpu_client_object_limit(const struct vgpu_client *c, unsigned which)
{
	return atomic_load_explicit(&c->header->objects[which], memory_order_relaxed);
}

uint64_t vgpu_client_window_base(const struct vgpu_client *c)
{
	return c->geometry.host_window_base;
}

// Pinned memory of a virtual machine stays the program's, and the executor has it at the same address.
uint64_t vgpu_client_gpu_address(const struct vgpu_client *c, const void *p)
{
	uint64_t offset = (uint64_t)((const uint8_t *)p - c->window);

	return c->device >= 0 && offset >= c->geometry.arena_bytes ? (uintptr_t)p
								   : c->geometry.host_window_base + offset;
}

bool vgpu_client_in_window(const struct vgpu_client *c, uint64_t address)
{
	return address - c->geometry.host_window_base < VGPU_WINDOW_BYTES ||
	       address - c->geometry.device_window_base < c->geometry.device_window_bytes;
}

uint32_t vgpu_client_tenant(const struct vgpu_client *c)
{
	return c->tenant;
}

bool vgpu_client_is_virtual(const struct vgpu_client *c)
{
	return c->device >= 0;
}
