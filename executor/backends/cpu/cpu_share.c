// SPDX-License-Identifier: Apache-2.0
// Device memory and events of the cpu backend that several executors of a tenant have. Executor process, loop
// thread. Memory is private and anonymous until it is shared for the first time: then it moves into a memfd
// in place, so programs that share nothing pay nothing.
#include "executor/backends/cpu/cpu_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/cleanup.h"
#include "executor/backends/event_word.h"

// Memory that was moved into a memfd, by the address that it was mapped at.
struct cpu_shared {
	SLIST_ENTRY(cpu_shared) link;
	uint64_t address;
	int fd;
};

static struct cpu_shared *shared_at(struct backend *b, uint64_t address)
{
	struct cpu_shared *s;

	SLIST_FOREACH(s, &b->shared, link)
	if (s->address == address)
		break;
	return s;
}

static int memfd_of(uint64_t address, uint64_t size)
{
	int fd = cpu_memfd_new(size);
	void *copy = fd < 0 ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (copy == MAP_FAILED) {
		close_fd(&fd);
		return -ENOMEM;
	}
	memcpy(copy, (const void *)(uintptr_t)address, size);
	munmap(copy, size);
	return fd;
}

static int map_shared(int fd, uint64_t address, uint64_t size)
{
	return mmap((void *)(uintptr_t)address, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		    0) == MAP_FAILED
		   ? -errno
		   : 0;
}

// Nothing may touch the memory meanwhile. What stands in the queue may wait for a call that comes after this
// one, so only what runs is waited for.
static int move_shared(struct backend *b, uint64_t address, uint64_t size, int *ret_fd)
{
	int fd, result = CUDA_ERROR_NOT_READY;

	pthread_mutex_lock(&b->queue.lock);
	if (!b->queue.running) {
		fd = memfd_of(address, size);
		result = fd < 0 || map_shared(fd, address, size) < 0 ? CUDA_ERROR_OUT_OF_MEMORY : 0;
		if (result)
			close_fd(&fd);
		*ret_fd = fd;
	}
	pthread_mutex_unlock(&b->queue.lock);
	return result;
}

int cpu_mem_export(struct backend *b, uint64_t address, uint64_t size, struct backend_share *ret)
{
	struct cpu_shared *s = shared_at(b, address);
	int fd = -1, result;

	if (!cpu_ranges_has(&b->device, address, size) || address >= b->private_base)
		return CUDA_ERROR_INVALID_VALUE;
	if (!s) {
		s = calloc(1, sizeof(*s));
		result = s ? move_shared(b, address, size, &fd) : CUDA_ERROR_OUT_OF_MEMORY;
		if (result) {
			free(s);
			return result;
		}
		*s = (struct cpu_shared){ .address = address, .fd = fd };
		SLIST_INSERT_HEAD(&b->shared, s, link);
	}
	*ret = (struct backend_share){ .fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 0) };
	return ret->fd < 0 ? CUDA_ERROR_OUT_OF_MEMORY : 0;
}

void cpu_shared_forget(struct backend *b, uint64_t address)
{
	struct cpu_shared *s = shared_at(b, address);

	if (!s)
		return;
	SLIST_REMOVE(&b->shared, s, cpu_shared, link);
	close_fd(&s->fd);
	free(s);
}

// ---- events

// Takes the reference to the word over, also when it fails.
static int event_new(struct event_word *word, uint32_t flags, struct backend_event **ret)
{
	struct backend_event *e = calloc(1, sizeof(*e));

	if (!e) {
		event_word_unref(word);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	e->flags = flags;
	e->word = word;
	*ret = e;
	return 0;
}

int cpu_event_export(struct backend *b, struct backend_event *e, struct backend_share *ret)
{
	(void)b;
	return event_word_export(e->word, ret);
}

int cpu_event_import(struct backend *b, const struct backend_share *share, struct backend_event **ret)
{
	struct event_word *word;
	int result = event_word_import(b->tenant.peers, share, &word);

	return result ? result : event_new(word, CU_EVENT_INTERPROCESS | CU_EVENT_DISABLE_TIMING, ret);
}

int cpu_event_follow(struct backend *b, struct backend_event *e, struct backend_event **ret)
{
	int result;

	(void)b;
	if (!e->word)
		return CUDA_ERROR_INVALID_HANDLE;
	result = event_new(event_word_ref(e->word), e->flags, ret);
	if (!result)
		(*ret)->follows = event_word_last(e->word);
	return result;
}
