// SPDX-License-Identifier: Apache-2.0
/*
 * Owner of the engine's address window: reserves it and the gaps between the windows, hands out slots to
 * workers. In the executor; called by ptx_machine.c and ptx_cta.c from any thread.
 */
#include "executor/backends/cpu/ptx/ptx_window.h"

#include "executor/backends/cpu/ptx/ptx_rt.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool ready;
static uint64_t used[(PTX_SLOTS + 63) / 64];

static int reserve(uint64_t from, uint64_t to)
{
	void *want = (void *)(uintptr_t)from;
	void *got = mmap(want, to - from, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (got == MAP_FAILED)
		return -errno;
	if (got != want) { // a kernel that does not know MAP_FIXED_NOREPLACE
		munmap(got, to - from);
		return -EEXIST;
	}
	return 0;
}

int ptx_window_init(void)
{
	static const uint64_t ranges[][2] = {
		{ PTX_REACH_LO, PTX_WINDOW_ENGINE + PTX_WINDOW_SIZE },
		{ PTX_WINDOW_ENGINE + PTX_WINDOW_SIZE, PTX_WINDOW_HOST },
		{ PTX_WINDOW_HOST + PTX_WINDOW_SIZE, PTX_WINDOW_DEVICE },
	};
	int rc = 0;

	pthread_mutex_lock(&lock);
	for (int i = 0; !ready && !rc && i < 3; i++) {
		rc = reserve(ranges[i][0], ranges[i][1]);
		for (int k = 0; rc && k < i; k++)
			munmap((void *)(uintptr_t)ranges[k][0], ranges[k][1] - ranges[k][0]);
	}
	ready = !rc;
	pthread_mutex_unlock(&lock);
	return rc;
}

// ---- extra ranges: few, and looked for only by accesses that miss the windows ----

struct extra {
	uint64_t addr, size;
};

static pthread_rwlock_t extra_lock = PTHREAD_RWLOCK_INITIALIZER;
static struct extra *extras; // no order
static size_t n_extras, room_extras;

int ptx_extra_add(uint64_t addr, uint64_t size)
{
	int rc = 0;

	pthread_rwlock_wrlock(&extra_lock);
	if (n_extras == room_extras) {
		size_t room = room_extras ? 2 * room_extras : 16;
		struct extra *more = realloc(extras, room * sizeof(*more));

		if (more) {
			extras = more;
			room_extras = room;
		} else {
			rc = -ENOMEM;
		}
	}
	if (!rc)
		extras[n_extras++] = (struct extra){ addr, size };
	pthread_rwlock_unlock(&extra_lock);
	return rc;
}

void ptx_extra_remove(uint64_t addr)
{
	pthread_rwlock_wrlock(&extra_lock);
	for (size_t i = 0; i < n_extras; i++) {
		if (extras[i].addr == addr) {
			extras[i] = extras[--n_extras];
			break;
		}
	}
	pthread_rwlock_unlock(&extra_lock);
}

bool ptx_extra_holds(uint64_t addr, uint64_t size)
{
	bool found = false;

	pthread_rwlock_rdlock(&extra_lock);
	for (size_t i = 0; i < n_extras && !found; i++)
		found = addr >= extras[i].addr && size <= extras[i].size &&
			addr - extras[i].addr <= extras[i].size - size;
	pthread_rwlock_unlock(&extra_lock);
	return found;
}

bool ptx_rt_is_extra(uint64_t addr, uint32_t size)
{
	return addr % size == 0 && ptx_extra_holds(addr, size);
}

uint64_t ptx_window_slot_get(void)
{
	uint64_t base = 0;

	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; !base && i < PTX_SLOTS; i++)
		if (!(used[i / 64] >> (i % 64) & 1)) {
			used[i / 64] |= 1ull << (i % 64);
			base = PTX_REACH_LO + i * PTX_SLOT_SIZE;
		}
	pthread_mutex_unlock(&lock);
	return base;
}

void ptx_window_slot_put(uint64_t base)
{
	uint32_t i = (base - PTX_REACH_LO) / PTX_SLOT_SIZE;
	void *at = (void *)(uintptr_t)base;

	if (!base)
		return;
	mmap(at, PTX_SLOT_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	pthread_mutex_lock(&lock);
	used[i / 64] &= ~(1ull << (i % 64));
	pthread_mutex_unlock(&lock);
}

int ptx_window_commit(uint64_t addr, uint64_t size)
{
	uint64_t from = addr & ~4095ull, to = (addr + size + 4095) & ~4095ull;

	if (!size)
		return 0;
	return mprotect((void *)(uintptr_t)from, to - from, PROT_READ | PROT_WRITE) ? -errno : 0;
}
