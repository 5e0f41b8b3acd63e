// SPDX-License-Identifier: Apache-2.0
// How an executor comes to be: its windows and the backend, which need no tenant, then mapping what ASSIGN
// brought, and the way back. Called by main.c and by the tests' fixture.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "executor/complaint.h"
#include "executor/executor.h"
#include "executor/graph.h"
#include "executor/work.h"

// ---- shared memory ----

// A memfd that the guest has too must not shrink under our feet (SIGBUS).
static int check_memfd(int fd, uint64_t bytes, bool guest_has_it)
{
	struct stat st;
	int seals;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < 0 || (uint64_t)st.st_size < bytes)
		return -EMSGSIZE;
	seals = guest_has_it ? fcntl(fd, F_GET_SEALS) : F_SEAL_SHRINK;
	return seals < 0 ? -errno : seals & F_SEAL_SHRINK ? 0 : -EPERM;
}

static int map_memfd(int fd, uint64_t bytes, bool guest_has_it, void **ret)
{
	int r = check_memfd(fd, bytes, guest_has_it);
	void *p;

	if (r < 0)
		return r;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*ret = p;
	return 0;
}

static int reserve(uint64_t base, uint64_t bytes)
{
	void *want = (void *)(uintptr_t)base;
	void *p = mmap(want, bytes, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	if (p != want) {
		munmap(p, bytes);
		return -EEXIST;
	}
	return 0;
}

static int failed(char *why, size_t why_bytes, const char *what, int r)
{
	snprintf(why, why_bytes, "mapping the %s: %s", what, strerror(-r));
	return r;
}

int executor_reserve(struct executor *x, const struct executor_place *place, char *why, size_t why_bytes)
{
	int r;

	memset(x, 0, sizeof(*x));
	x->link = x->host_window = -1;
	x->place = *place;
	r = reserve(place->host_window, VGPU_WINDOW_BYTES);
	if (!r) {
		r = reserve(place->device_window, VGPU_WINDOW_BYTES);
		if (r)
			munmap((void *)(uintptr_t)place->host_window, VGPU_WINDOW_BYTES);
	}
	return r < 0 ? failed(why, why_bytes, "windows", r) : 0;
}

static int map_host_window(const struct link_geometry *g, int fd)
{
	int r = check_memfd(fd, g->host_window_bytes, true);

	if (!r && mmap((void *)(uintptr_t)g->host_window_base, g->host_window_bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0) == MAP_FAILED)
		r = -errno;
	return r;
}

// What was made before the tenant came fits what it was assigned to.
static int begin(struct executor *x, const struct link_assign *assign, char *why, size_t why_bytes)
{
	const struct link_geometry *g = &assign->geometry;

	if (assign->device != x->place.device || g->host_window_base != x->place.host_window ||
	    g->device_window_base != x->place.device_window || g->device_window_bytes != VGPU_WINDOW_BYTES) {
		snprintf(why, why_bytes, "ASSIGN: another device or other windows than this process has");
		return -EINVAL;
	}
	x->assign = *assign;
	return 0;
}

// Channel and windows are mapped: the pages of the mediator, and who lies where. what: on failure.
static int map_pages(struct executor *x, int turn_fd, int tenant_fd, const char **what)
{
	void *turn = NULL, *tenant = NULL;
	int r;

	*what = "turn page";
	r = map_memfd(turn_fd, VGPU_TURN_PAGE_BYTES, false, &turn);
	x->turn = turn;
	if (!r) {
		*what = "tenant page";
		r = map_memfd(tenant_fd, sizeof(struct vgpu_tenant_page), false, &tenant);
		x->tenant = tenant;
	}
	x->header = (struct channel_header *)x->channel;
	x->fences = (_Atomic uint64_t *)(x->channel + x->assign.geometry.fence_offset);
	return r;
}

int executor_map(struct executor *x, const struct link_assign *assign, const int fds[ASSIGN_FDS], char *why,
		 size_t why_bytes)
{
	const char *what = "channel";
	void *channel = NULL;
	int r = begin(x, assign, why, why_bytes);

	if (r < 0)
		return r;
	x->doorbell = fds[ASSIGN_DOORBELL];
	x->kick = fds[ASSIGN_KICK];
	x->host_window = fds[ASSIGN_HOST_WINDOW];
	x->tenant_file = fds[ASSIGN_TENANT_PAGE];
	r = map_host_window(&assign->geometry, x->host_window);
	if (r < 0)
		return failed(why, why_bytes, "host window", r);
	r = map_memfd(fds[ASSIGN_CHANNEL], assign->geometry.channel_bytes, true, &channel);
	x->channel = channel;
	if (!r)
		r = map_pages(x, fds[ASSIGN_TURN_PAGE], fds[ASSIGN_TENANT_PAGE], &what);
	return r < 0 ? failed(why, why_bytes, what, r) : 0;
}

// Channel memory, then the arena: what ASSIGN_VM's extents must make up.
static int map_guest(struct executor *x, const struct link_assign_vm *assign, const int *fds, unsigned n_fds)
{
	const struct link_geometry *g = &x->assign.geometry;
	const int *memory = fds + ASSIGN_VM_FDS;
	cleanup_free struct memory_extent *e = NULL;
	void *channel;
	int r =
	    guest_extents_read(fds[ASSIGN_VM_EXTENTS], assign->extents, memory, n_fds - ASSIGN_VM_FDS, &e);
	int used;

	if (r < 0)
		return r;
	channel = mmap(NULL, g->channel_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (channel == MAP_FAILED)
		return -errno;
	x->channel = channel;
	used = guest_extents_map(e, assign->extents, memory, (uintptr_t)channel, g->channel_bytes);
	if (used < 0)
		return used;
	r = guest_extents_map(e + used, assign->extents - (uint32_t)used, memory, g->host_window_base,
			      g->arena_bytes);
	if (r < 0)
		return r;
	return (uint32_t)(used + r) == assign->extents ? 0 : -EPROTO;
}

int executor_map_vm(struct executor *x, const struct link_assign_vm *assign, const int *fds, unsigned n_fds,
		    char *why, size_t why_bytes)
{
	const char *what = "guest's memory";
	int r = begin(x, &assign->assign, why, why_bytes);

	if (r < 0)
		return r;
	x->doorbell = fds[ASSIGN_VM_DOORBELL];
	x->kick = fds[ASSIGN_VM_KICK];
	x->tenant_file = fds[ASSIGN_VM_TENANT_PAGE];
	guest_memory_init(&x->guest, &x->assign.geometry, fds[ASSIGN_VM_MEMORY_LINK], fds[ASSIGN_VM_BELL]);
	r = map_guest(x, assign, fds, n_fds);
	if (!r)
		r = map_pages(x, fds[ASSIGN_VM_TURN_PAGE], fds[ASSIGN_VM_TENANT_PAGE], &what);
	if (r < 0)
		return failed(why, why_bytes, what, r);
	x->header->magic = CHANNEL_MAGIC;
	x->header->version = CHANNEL_VERSION;
	return 0;
}

void executor_unmap(struct executor *x)
{
	munmap((void *)(uintptr_t)x->place.host_window, VGPU_WINDOW_BYTES);
	munmap((void *)(uintptr_t)x->place.device_window, VGPU_WINDOW_BYTES);
	if (x->channel)
		munmap(x->channel, x->assign.geometry.channel_bytes);
	if (x->turn)
		munmap(x->turn, VGPU_TURN_PAGE_BYTES);
	if (x->tenant)
		munmap(x->tenant, sizeof(struct vgpu_tenant_page));
	x->channel = NULL;
	x->turn = NULL;
	x->tenant = NULL;
}

// ---- backend ----

static void backend_log(void *opaque, const char *text)
{
	char line[VGPU_MAX_LOG_LINE];

	(void)opaque;
	log_sanitize(line, sizeof(line), text, strnlen(text, sizeof(line)));
	log_info("backend: %s", line);
}

static void backend_print(void *opaque, const char *text, size_t length)
{
	struct executor *x = opaque;

	print_put(&x->print, text, length);
}

int executor_open(struct executor *x, const struct backend_ops *ops, char *why, size_t why_bytes)
{
	struct backend_env env = {
		.device = x->place.device,
		.device_window = x->place.device_window,
		.device_window_bytes = VGPU_WINDOW_BYTES,
		.print = backend_print,
		.complain = complaint_put,
		.log = backend_log,
		.opaque = x,
	};
	char error[LINK_TEXT_BYTES] = "";
	int r;

	x->ops = ops;
	print_init(&x->print, NULL, 0);
	print_init(&x->complaints, NULL, 0);
	r = x->ops->open(&env, &x->backend, error, sizeof(error));
	if (r) {
		error[sizeof(error) - 1] = 0;
		snprintf(why, why_bytes, "backend %s, device %u: CUDA error %d: %s", x->ops->name, env.device,
			 r, error);
		return -ENODEV;
	}
	return 0;
}

int executor_prepare(struct executor *x, struct link_warm *ret, char *why, size_t why_bytes)
{
	int r = x->ops->prepare ? x->ops->prepare(x->backend) : 0;

	if (!r)
		r = x->ops->mem_available(x->backend, &ret->device_free, &ret->device_memory);
	if (!r)
		return 0;
	snprintf(why, why_bytes, "backend %s: the context: CUDA error %d", x->ops->name, r);
	return -ENODEV;
}

static void attach_backend(struct executor *x)
{
	const struct link_geometry *g = &x->assign.geometry;
	struct backend_tenant tenant = {
		.host_window = (void *)(uintptr_t)g->host_window_base,
		// In a VM only the arena is there for sure; what is mapped behind it is registered first.
		.host_window_bytes = x->guest.is ? g->arena_bytes : g->host_window_bytes,
		.peers = x->tenant_file,
	};

	x->ops->attach(x->backend, &tenant);
}

// A lock that goes with the process; nothing else of this process ever closes an fd of that file.
static int show_alive(const struct executor *x)
{
	struct flock byte = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)getpid(), .l_len = 1
	};

	return fcntl(x->tenant_file, F_SETLK, &byte) < 0 ? -errno : 0;
}

int executor_init(struct executor *x, char *why, size_t why_bytes)
{
	const struct link_geometry *g = &x->assign.geometry;
	const struct backend_ops *ops = x->ops;
	int r = show_alive(x);

	if (r < 0) {
		snprintf(why, why_bytes, "locking a byte of the tenant page: %s", strerror(-r));
		return r;
	}
	print_init(&x->print, &x->header->print, CHANNEL_PRINT_WAITING);
	print_init(&x->complaints, &x->header->print, CHANNEL_PRINT_COMPLAINTS);
	attach_backend(x);
	r = memory_init(&x->memory, ops, x->backend, g->device_window_base, g->device_window_bytes, x->turn,
			x->tenant);
	if (!r)
		r = track_init(&x->track);
	if (r < 0) {
		snprintf(why, why_bytes, "backend %s: %s", ops->name, strerror(-r));
		memory_done(&x->memory);
		return r;
	}
	passer_init(&x->passer, x);
	share_init(x);
	hostmem_init(&x->hostmem, ops, x->backend, g, x->host_window, x->guest.is ? &x->guest : NULL);
	hostmem_count(&x->hostmem, x->turn, x->tenant);
	handles_tell_limits(x);
	predict_init(&x->predict);
	gate_init(&x->gate, x->turn);
	rates_init(&x->rates, x->turn, x->tenant);
	delay_init(&x->delay, x->turn);
	ring_init(&x->ring, x->header, x->channel + g->ring_offset, g->ring_bytes, g->reply_slots);
	return 0;
}

void executor_reset(struct executor *x)
{
	watches_poll(x);
	watches_drop(x);
	track_reset(x);
	handle_each(x, HANDLE_GRAPH, graph_free);
	handle_each(x, HANDLE_CONDITIONS, conditions_drop);
	handle_each(x, HANDLE_MODULE, module_free);
	handle_each(x, HANDLE_EVENT, event_free);
	handle_each(x, HANDLE_STREAM, stream_free);
	handle_each(x, HANDLE_BLOB, blob_free);
	handle_each(x, HANDLE_TEXTURE, texture_free);
	handle_each(x, HANDLE_SURFACE, surface_free);
	handle_each(x, HANDLE_MIPMAP, mipmap_free);
	handle_each(x, HANDLE_ARRAY, array_free);
	handle_each(x, HANDLE_PHYSICAL, physical_free);
	limits_forget(x);
	memory_clear(&x->memory);
	hostmem_clear(&x->hostmem);
	if (!x->active)
		return;
	x->ops->host_unregister(x->backend, (uintptr_t)x->fences);
	x->ops->host_unregister(x->backend, (uintptr_t)x->track.words);
	x->ops->deactivate(x->backend);
	x->active = false;
}

void executor_done(struct executor *x)
{
	executor_reset(x);
	free(x->watches);
	x->watches = NULL;
	handles_done(&x->handles);
	memory_done(&x->memory);
	passer_done(&x->passer);
	track_done(&x->track);
	x->ops->close(x->backend);
}
