// SPDX-License-Identifier: Apache-2.0
// Shared events; see the header. Executor process: records on the loop thread, completions also on a
// backend's worker.
#include "executor/backends/event_word.h"

#include <assert.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "protocol/cuda/cuda_abi.h"

#define PAGE	4096u
#define SEALS	(F_SEAL_SHRINK | F_SEAL_GROW)
#define RECORDS 255u

// Records complete in any order, each says so in a place of its own. One that is 255 records old and still
// not complete shares its place with a newer one, and counts as complete when that is.
struct record {
	_Atomic uint64_t complete; // number of the newest one that is
	_Atomic uint64_t recorder; // who made the newest one: its number << 32 | pid
};

struct counts {
	_Atomic uint64_t recorded;
	uint64_t reserved;
	struct record records[RECORDS];
};
static_assert(sizeof(struct counts) == PAGE, "one page");

struct event_word {
	struct counts *counts;
	int fd, peers;
	atomic_uint references;
};

static bool is_dead(const struct event_word *w, uint32_t pid)
{
	struct flock byte = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)pid, .l_len = 1 };

	return pid != (uint32_t)getpid() && w->peers >= 0 && fcntl(w->peers, F_GETLK, &byte) == 0 &&
	       byte.l_type == F_UNLCK;
}

// Takes fd over.
static int word_map(int peers, int fd, struct event_word **ret)
{
	cleanup_fd int own = fd;
	struct event_word *w = calloc(1, sizeof(*w));
	void *p;

	if (!w)
		return CUDA_ERROR_OUT_OF_MEMORY;
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
	if (p == MAP_FAILED) {
		free(w);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	w->counts = p;
	w->fd = take_fd(&own);
	w->peers = peers;
	atomic_init(&w->references, 1);
	*ret = w;
	return CUDA_SUCCESS;
}

int event_word_new(int peers, struct event_word **ret)
{
	cleanup_fd int fd = memfd_create("vgpu-event", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, PAGE) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return CUDA_ERROR_OUT_OF_MEMORY;
	return word_map(peers, take_fd(&fd), ret);
}

int event_word_import(int peers, const struct backend_share *share, struct event_word **ret)
{
	int seals = share->fd < 0 ? -1 : fcntl(share->fd, F_GET_SEALS), copy;
	struct stat st;

	if (seals < 0 || (seals & SEALS) != SEALS || fstat(share->fd, &st) < 0 || st.st_size != PAGE)
		return CUDA_ERROR_INVALID_VALUE;
	copy = fcntl(share->fd, F_DUPFD_CLOEXEC, 0);
	return copy < 0 ? CUDA_ERROR_OUT_OF_MEMORY : word_map(peers, copy, ret);
}

int event_word_export(const struct event_word *w, struct backend_share *ret)
{
	if (!w)
		return CUDA_ERROR_INVALID_HANDLE;
	*ret = (struct backend_share){ .fd = fcntl(w->fd, F_DUPFD_CLOEXEC, 0) };
	return ret->fd < 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

struct event_word *event_word_ref(struct event_word *w)
{
	atomic_fetch_add(&w->references, 1);
	return w;
}

void event_word_unref(struct event_word *w)
{
	if (!w || atomic_fetch_sub(&w->references, 1) != 1)
		return;
	munmap(w->counts, PAGE);
	close_fd(&w->fd);
	free(w);
}

static struct record *place_of(const struct event_word *w, uint64_t number)
{
	return &w->counts->records[number % RECORDS];
}

uint64_t event_word_record(struct event_word *w)
{
	uint64_t number = atomic_fetch_add(&w->counts->recorded, 1) + 1;

	atomic_store(&place_of(w, number)->recorder, number << 32 | (uint32_t)getpid());
	return number;
}

void event_word_complete(struct event_word *w, uint64_t number)
{
	struct record *r = place_of(w, number);
	uint64_t now = atomic_load(&r->complete);

	while (now < number && !atomic_compare_exchange_weak(&r->complete, &now, number))
		;
}

uint64_t event_word_last(const struct event_word *w)
{
	return atomic_load(&w->counts->recorded);
}

bool event_word_done(const struct event_word *w, uint64_t number)
{
	const struct record *r = place_of(w, number);
	uint64_t recorder;

	if (atomic_load(&r->complete) >= number)
		return true;
	recorder = atomic_load(&r->recorder);
	return recorder >> 32 == (uint32_t)number && is_dead(w, (uint32_t)recorder);
}
