// SPDX-License-Identifier: Apache-2.0
// How an executor comes to be: mapping what ASSIGN brought, opening the backend, and the way back. Called by
// main.c and by the tests' fixture.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/log.h"
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

static int map_windows(const struct link_geometry *g, int host_window)
{
	int r = reserve(g->host_window_base, VGPU_WINDOW_BYTES);

	if (r < 0)
		return r;
	r = check_memfd(host_window, g->host_window_bytes, true);
	if (!r && mmap((void *)(uintptr_t)g->host_window_base, g->host_window_bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED | MAP_NORESERVE, host_window, 0) == MAP_FAILED)
		r = -errno;
	if (!r)
		r = reserve(g->device_window_base, g->device_window_bytes);
	if (r)
		munmap((void *)(uintptr_t)g->host_window_base, VGPU_WINDOW_BYTES);
	return r;
}

static void unmap_windows(const struct link_geometry *g)
{
	munmap((void *)(uintptr_t)g->host_window_base, VGPU_WINDOW_BYTES);
	munmap((void *)(uintptr_t)g->device_window_base, g->device_window_bytes);
}

int executor_map(struct executor *x, const struct link_assign *assign, const int fds[ASSIGN_FDS], char *why,
		 size_t why_bytes)
{
	void *channel = NULL, *turn = NULL, *tenant = NULL;
	const char *what = "windows";
	int r;

	memset(x, 0, sizeof(*x));
	x->link = -1;
	x->assign = *assign;
	x->doorbell = fds[ASSIGN_DOORBELL];
	x->kick = fds[ASSIGN_KICK];
	x->host_window = fds[ASSIGN_HOST_WINDOW];
	r = map_windows(&assign->geometry, x->host_window);
	if (!r) {
		what = "channel";
		r = map_memfd(fds[ASSIGN_CHANNEL], assign->geometry.channel_bytes, true, &channel);
		if (!r) {
			what = "turn page";
			r = map_memfd(fds[ASSIGN_TURN_PAGE], VGPU_TURN_PAGE_BYTES, false, &turn);
		}
		if (!r) {
			what = "tenant page";
			r = map_memfd(fds[ASSIGN_TENANT_PAGE], sizeof(struct vgpu_tenant_page), false,
				      &tenant);
		}
		x->channel = channel;
		x->turn = turn;
		x->tenant = tenant;
		if (r)
			executor_unmap(x);
	}
	if (r) {
		snprintf(why, why_bytes, "mapping the %s: %s", what, strerror(-r));
		return r;
	}
	x->header = (struct channel_header *)x->channel;
	x->fences = (_Atomic uint64_t *)(x->channel + assign->geometry.fence_offset);
	return 0;
}

void executor_unmap(struct executor *x)
{
	unmap_windows(&x->assign.geometry);
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

static int open_backend(struct executor *x, char *why, size_t why_bytes)
{
	const struct link_geometry *g = &x->assign.geometry;
	struct backend_env env = {
		.device = x->assign.device,
		.host_window = (void *)(uintptr_t)g->host_window_base,
		.host_window_bytes = g->host_window_bytes,
		.device_window = g->device_window_base,
		.device_window_bytes = g->device_window_bytes,
		.print = backend_print,
		.log = backend_log,
		.opaque = x,
	};
	char error[LINK_TEXT_BYTES] = "";
	int r;

	if (x->ops->version != BACKEND_VERSION || x->ops->size != sizeof(struct backend_ops)) {
		snprintf(why, why_bytes, "backend has version %u and size %u, this executor wants %u and %zu",
			 x->ops->version, x->ops->size, BACKEND_VERSION, sizeof(struct backend_ops));
		return -ENOEXEC;
	}
	r = x->ops->open(&env, &x->backend, error, sizeof(error));
	if (r) {
		error[sizeof(error) - 1] = 0;
		snprintf(why, why_bytes, "backend %s, device %u: CUDA error %d: %s", x->ops->name, env.device,
			 r, error);
		return -ENODEV;
	}
	return 0;
}

int executor_init(struct executor *x, const struct backend_ops *ops, char *why, size_t why_bytes)
{
	const struct link_geometry *g = &x->assign.geometry;
	int r;

	x->ops = ops;
	print_init(&x->print, &x->header->print);
	r = open_backend(x, why, why_bytes);
	if (r < 0)
		return r;
	r = memory_init(&x->memory, ops, x->backend, g->device_window_base, g->device_window_bytes, x->turn,
			x->tenant);
	if (!r)
		r = track_init(&x->track);
	if (r < 0) {
		snprintf(why, why_bytes, "backend %s: %s", ops->name, strerror(-r));
		memory_done(&x->memory);
		ops->close(x->backend);
		return r;
	}
	hostmem_init(&x->hostmem, ops, x->backend, g, x->host_window);
	predict_init(&x->predict);
	gate_init(&x->gate, x->turn);
	ring_init(&x->ring, x->header, x->channel + g->ring_offset, g->ring_bytes, g->reply_slots);
	return 0;
}

void executor_reset(struct executor *x)
{
	watches_poll(x);
	watches_drop(x);
	track_reset(&x->track);
	handle_each(x, HANDLE_GRAPH, graph_free);
	handle_each(x, HANDLE_MODULE, module_free);
	handle_each(x, HANDLE_EVENT, event_free);
	handle_each(x, HANDLE_STREAM, stream_free);
	handle_each(x, HANDLE_BLOB, blob_free);
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
	track_done(&x->track);
	x->ops->close(x->backend);
}
