// SPDX-License-Identifier: Apache-2.0
// See the header.
#include "tests/unit/client/fake_device.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "protocol/guest/channel.h"
#include "protocol/guest/vgpu_ioctl.h"
#include "protocol/guest/vgpu_pci.h"

static struct fake_device *now;

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
void *__real_mmap64(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t bytes, int prot, int flags, int fd, off_t offset);

int __wrap_open64(const char *path, int flags, ...)
{
	va_list ap;
	int mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, int) : 0;
	va_end(ap);
	if (!now || strcmp(path, VGPU_DEVICE_NODE))
		return __real_open64(path, flags, mode);
	if (now->open_error) {
		errno = now->open_error;
		return -1;
	}
	assert(now->fd < 0);
	now->fd = memfd_create("vgpu0", MFD_CLOEXEC);
	return now->fd;
}

void *__wrap_mmap64(void *at, size_t bytes, int prot, int flags, int fd, off_t offset)
{
	if (!now || fd < 0 || fd != now->fd)
		return __real_mmap64(at, bytes, prot, flags, fd, offset);
	assert(prot == (PROT_READ | PROT_WRITE) && (flags & MAP_SHARED));
	switch ((uint64_t)offset) {
	case VGPU_MMAP_CHANNEL:
		assert(bytes == now->host.geometry.channel_bytes);
		return __real_mmap64(at, bytes, prot, flags, now->channel_fd, 0);
	case VGPU_MMAP_ARENA:
		assert(bytes == now->host.geometry.arena_bytes);
		return __real_mmap64(at, bytes, prot, flags, now->window_fd, 0);
	default:
		assert(offset == VGPU_MMAP_DOORBELL && bytes == 4096);
		return __real_mmap64(at, bytes, prot, flags, now->doorbell_fd, 0);
	}
}

static int open_channel(struct vgpu_ioc_channel *ok)
{
	const struct link_geometry *g = &now->host.geometry;
	struct vgpu_ioc_channel clean = { .library = ok->library };

	assert(!memcmp(ok, &clean, sizeof(clean)));
	if (now->knows_no_library && ok->library)
		return EINVAL;
	now->library = ok->library;
	if (now->channel_error) {
		ok->error = now->refusal;
		return now->channel_error;
	}
	fake_host_make_memory(&now->host, &now->channel_fd, &now->window_fd);
	*ok = (struct vgpu_ioc_channel){
		.tenant_id = 9,
		.channel_id = 1,
		.ring_offset = g->ring_offset,
		.ring_bytes = g->ring_bytes,
		.reply_offset = g->reply_offset,
		.reply_slots = g->reply_slots,
		.fence_offset = g->fence_offset,
		.fence_slots = g->fence_slots,
		.channel_bytes = g->channel_bytes,
		.host_window_base = g->host_window_base,
		.host_window_bytes = g->host_window_bytes,
		.arena_bytes = g->arena_bytes,
		.device_window_base = g->device_window_base,
		.device_window_bytes = g->device_window_bytes,
	};
	return 0;
}

static int wait_word(struct vgpu_ioc_wait *wait)
{
	_Atomic uint32_t *word = &((struct channel_header *)now->host.channel)->wake_word;
	struct timespec limit = { .tv_sec = (time_t)(wait->timeout_ns / 1000000000u),
				  .tv_nsec = (long)(wait->timeout_ns % 1000000000u) };
	uint32_t ended = atomic_load(&now->ended);

	assert(!wait->reason && !wait->reserved);
	if (!ended && atomic_load(word) == wait->seen)
		syscall(SYS_futex, word, FUTEX_WAIT, wait->seen, &limit, NULL, 0);
	ended = atomic_load(&now->ended);
	if (ended) {
		wait->reason = ended - 1;
		return ENOLINK;
	}
	return atomic_load(word) == wait->seen ? ETIMEDOUT : 0;
}

static int map(const struct vgpu_ioc_map *m)
{
	assert(m->bytes && !((m->address | m->bytes) & 4095) && !m->reserved);
	if (now->map_error)
		return now->map_error;
	for (uint64_t at = 0; at < m->bytes;
	     at += 4096) { // as pinning does: the page is there and can be written
		volatile uint8_t *page = (uint8_t *)(uintptr_t)(m->address + at);

		*page = *page;
	}
	assert(now->n_maps < FAKE_MAPS);
	now->map[now->n_maps].address = m->address;
	now->map[now->n_maps++].bytes = m->bytes;
	return 0;
}

static int unmap(const struct vgpu_ioc_unmap *m)
{
	assert(!m->reserved);
	for (unsigned int i = 0; i < now->n_maps; i++) {
		if (now->map[i].address != m->address)
			continue;
		now->map[i] = now->map[--now->n_maps];
		return 0;
	}
	return ENOENT;
}

static int question(struct vgpu_ioc_device *q)
{
	now->question_bytes = q->request_bytes;
	q->answer_bytes = now->answer_bytes;
	if (now->answer_bytes > q->room)
		return EMSGSIZE;
	memcpy((void *)(uintptr_t)q->answer, now->answer, now->answer_bytes);
	return 0;
}

static int info(struct vgpu_ioc_info *ret)
{
	*ret = (struct vgpu_ioc_info){ .device_version = VGPU_DEVICE_VERSION, .status = VGPU_STATUS_READY };
	return now->info_error;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	void *argument;
	va_list ap;

	va_start(ap, request);
	argument = va_arg(ap, void *);
	va_end(ap);
	if (!now || fd < 0 || fd != now->fd)
		return __real_ioctl(fd, request, argument);
	switch (request) {
	case VGPU_IOC_INFO: errno = info(argument); break;
	case VGPU_IOC_CHANNEL: errno = open_channel(argument); break;
	case VGPU_IOC_MAP: errno = map(argument); break;
	case VGPU_IOC_UNMAP: errno = unmap(argument); break;
	case VGPU_IOC_WAIT: errno = wait_word(argument); break;
	case VGPU_IOC_DEVICE: errno = question(argument); break;
	default: errno = ENOTTY; break;
	}
	return errno ? -1 : 0;
}

void fake_device_start(struct fake_device *d)
{
	fake_host_start(&d->host, 0);
	d->fd = d->channel_fd = d->window_fd = -1;
	d->doorbell_fd = memfd_create("doorbell", MFD_CLOEXEC);
	assert(d->doorbell_fd >= 0 && ftruncate(d->doorbell_fd, 4096) == 0);
	d->doorbell = __real_mmap64(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, d->doorbell_fd, 0);
	assert(d->doorbell != MAP_FAILED);
	now = d;
}

void fake_device_stop(struct fake_device *d)
{
	now = NULL;
	fake_host_stop(&d->host);
	munmap((void *)d->doorbell, 4096);
	close(d->doorbell_fd);
	if (d->channel_fd >= 0)
		close(d->channel_fd);
	if (d->window_fd >= 0)
		close(d->window_fd);
}
