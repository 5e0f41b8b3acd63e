// SPDX-License-Identifier: Apache-2.0
// Mapping guest memory; see the header. Called by start.c (the channel's own memory) and by the loop (MAP and
// UNMAP). The stub's numbers come from a guest: each is checked against the files and the limits.
#include "executor/guest_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/seqpacket.h"
#include "executor/executor.h"
#include "executor/tree.h" // last

#define PAGE 4096u

struct guest_map {
	RB_ENTRY(guest_map) by_address;
	uint64_t address, bytes;
	uint32_t pieces;
};

static int map_compare(struct guest_map *a, struct guest_map *b)
{
	return a->address < b->address ? -1 : a->address > b->address;
}

RB_GENERATE_STATIC(guest_maps, guest_map, by_address, map_compare)

void guest_memory_init(struct guest_memory *g, const struct link_geometry *geometry, int link, int bell)
{
	*g = (struct guest_memory){
		.is = true,
		.link = link,
		.bell = bell,
		.geometry = geometry,
	};
	RB_INIT(&g->maps);
}

// ---- extents ----

static int read_whole(int fd, void *to, size_t bytes)
{
	size_t done = 0;

	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	while (done < bytes) {
		ssize_t n = read(fd, (char *)to + done, bytes - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPROTO;
		done += (size_t)n;
	}
	return 0;
}

static bool extent_fits(const struct memory_extent *e, const uint64_t *sizes, unsigned n_memory)
{
	return e->memory < n_memory && !e->reserved && e->bytes && (e->offset | e->bytes) % PAGE == 0 &&
	       e->bytes <= sizes[e->memory] && e->offset <= sizes[e->memory] - e->bytes;
}

int guest_extents_read(int list, uint32_t n, const int *memory, unsigned n_memory, struct memory_extent **ret)
{
	cleanup_free struct memory_extent *e = NULL;
	uint64_t sizes[LINK_MAX_GUEST_MEMORY] = { 0 };
	struct stat st;
	int r;

	if (!n || n > VGPU_MAX_VM_PIECES || n_memory > LINK_MAX_GUEST_MEMORY || fstat(list, &st) < 0 ||
	    !S_ISREG(st.st_mode))
		return -EPROTO;
	for (unsigned i = 0; i < n_memory; i++) {
		if (fstat(memory[i], &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 0)
			return -EPROTO;
		sizes[i] = (uint64_t)st.st_size;
	}
	e = calloc(n, sizeof(*e));
	if (!e)
		return -ENOMEM;
	r = read_whole(list, e, n * sizeof(*e));
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < n; i++)
		if (!extent_fits(&e[i], sizes, n_memory))
			return -EPROTO;
	*ret = take_ptr(e);
	return 0;
}

int guest_extents_map(const struct memory_extent *e, uint32_t n, const int *memory, uint64_t address,
		      uint64_t bytes)
{
	uint32_t i = 0;

	for (; i < n && bytes; i++) {
		if (e[i].bytes > bytes)
			return -EPROTO;
		if (mmap((void *)(uintptr_t)address, e[i].bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED | MAP_NORESERVE, memory[e[i].memory],
			 (off_t)e[i].offset) == MAP_FAILED)
			return -errno;
		address += e[i].bytes;
		bytes -= e[i].bytes;
	}
	return bytes ? -EPROTO : (int)i;
}

// ---- maps ----

// The last map that begins at or below address.
static struct guest_map *map_below(const struct guest_memory *g, uint64_t address)
{
	struct guest_map *m = RB_ROOT(&g->maps), *at = NULL;

	while (m) {
		if (m->address <= address) {
			at = m;
			m = RB_RIGHT(m, by_address);
		} else {
			m = RB_LEFT(m, by_address);
		}
	}
	return at;
}

bool guest_memory_contains(const struct guest_memory *g, uint64_t address, uint64_t bytes)
{
	const struct guest_map *m = map_below(g, address);

	return m && address - m->address < m->bytes && bytes <= m->bytes - (address - m->address);
}

static bool in_window(const struct guest_memory *g, uint64_t address)
{
	return address - g->geometry->host_window_base < VGPU_WINDOW_BYTES;
}

static int reserve(const struct guest_memory *g, uint64_t address, uint64_t bytes, bool anew)
{
	void *want = (void *)(uintptr_t)address, *got;

	// The host window is reserved as a whole, and stays so.
	if (in_window(g, address) && !anew)
		return 0;
	got = mmap(want, bytes, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
		       (in_window(g, address) ? MAP_FIXED : MAP_FIXED_NOREPLACE),
		   -1, 0);
	if (got == MAP_FAILED)
		return -errno;
	if (got != want) { // kernels before 4.17 take it as a hint
		munmap(got, bytes);
		return -EEXIST;
	}
	return 0;
}

static void give_back(const struct guest_memory *g, uint64_t address, uint64_t bytes)
{
	int r = 0;

	if (in_window(g, address))
		r = reserve(g, address, bytes, true);
	else if (munmap((void *)(uintptr_t)address, bytes) < 0)
		r = -errno;
	if (r < 0) { // the stub is about to be told that nothing is mapped here
		log_error("guest memory cannot be unmapped: %s", strerror(-r));
		abort();
	}
}

static enum memory_result check_map(const struct guest_memory *g, const struct memory_map *m)
{
	const struct guest_map *last;

	if (!m->bytes || (m->address | m->bytes) % PAGE || m->reserved || !m->extents)
		return MEMORY_INVALID;
	if (m->extents > VGPU_MAX_VM_PIECES - g->n_pieces || g->n_maps >= VGPU_MAX_VM_MAPS ||
	    m->bytes > VGPU_MAX_VM_MAP_BYTES - g->bytes)
		return MEMORY_LIMIT;
	if (!hostmem_is_place(g->geometry, m->address, m->bytes))
		return MEMORY_ADDRESS;
	last = map_below(g, m->address + m->bytes - 1);
	return last && last->address + last->bytes > m->address ? MEMORY_ADDRESS : MEMORY_OK;
}

static enum memory_result do_map(struct guest_memory *g, const struct memory_map *m, const int *fds,
				 unsigned n_fds)
{
	cleanup_free struct memory_extent *e = NULL;
	struct guest_map *map;
	enum memory_result result = check_map(g, m);
	int r;

	if (result)
		return result;
	if (n_fds < 2)
		return MEMORY_INVALID;
	r = guest_extents_read(fds[0], m->extents, fds + 1, n_fds - 1, &e);
	if (r < 0)
		return r == -ENOMEM ? MEMORY_LIMIT : MEMORY_INVALID;
	map = calloc(1, sizeof(*map));
	if (!map)
		return MEMORY_LIMIT;
	r = reserve(g, m->address, m->bytes, false);
	if (r < 0) {
		free(map);
		return MEMORY_ADDRESS;
	}
	r = guest_extents_map(e, m->extents, fds + 1, m->address, m->bytes);
	if (r < 0 || (uint32_t)r != m->extents) {
		give_back(g, m->address, m->bytes);
		free(map);
		return r == -ENOMEM ? MEMORY_LIMIT : r >= 0 || r == -EPROTO ? MEMORY_INVALID : MEMORY_ADDRESS;
	}
	*map = (struct guest_map){ .address = m->address, .bytes = m->bytes, .pieces = m->extents };
	RB_INSERT(guest_maps, &g->maps, map);
	g->n_maps++;
	g->n_pieces += map->pieces;
	g->bytes += map->bytes;
	return MEMORY_OK;
}

static struct guest_map *find(const struct guest_memory *g, uint64_t address)
{
	struct guest_map *m = map_below(g, address);

	return m && m->address == address ? m : NULL;
}

static void do_unmap(struct executor *x, struct guest_map *m)
{
	struct guest_memory *g = &x->guest;

	if (hostmem_unregister_in(&x->hostmem, m->address, m->bytes))
		x->gone++;
	give_back(g, m->address, m->bytes);
	RB_REMOVE(guest_maps, &g->maps, m);
	g->n_maps--;
	g->n_pieces -= m->pieces;
	g->bytes -= m->bytes;
	free(m);
}

// ---- link ----

static int answer(const struct guest_memory *g, uint32_t cookie, enum memory_result result)
{
	struct memory_done m = { .header = { LINK_MAGIC, MEMORY_DONE, 0, sizeof(m), cookie },
				 .result = result };

	if (result)
		log_debug("memory link: request refused (%d)", result);
	// A stub that does not read its answers is no stub any more.
	return seqpacket_send(g->link, &m, sizeof(m), NULL, 0, MSG_DONTWAIT) < 0 ? -EPIPE : 0;
}

static int go_on_unmap(struct executor *x)
{
	struct guest_memory *g = &x->guest;
	struct guest_map *m = find(g, g->unmap.address);

	// Like a host_unregister record, but nobody has to push one.
	if (m && hostmem_any_in(&x->hostmem, m->address, m->bytes) && !track_idle(&x->track)) {
		g->waits = true;
		return 0;
	}
	g->waits = false;
	if (m)
		do_unmap(x, m);
	return answer(g, g->unmap.header.cookie, m ? MEMORY_OK : MEMORY_INVALID);
}

union memory_packet {
	struct link_header header;
	struct memory_map map;
	struct memory_unmap unmap;
};

// Closes the fds before it answers: the stub shall be able to rely on it.
static int answer_map(struct guest_memory *g, const struct memory_map *m, int *fds, unsigned n_fds)
{
	enum memory_result result = do_map(g, m, fds, n_fds);

	for (unsigned i = 0; i < n_fds; i++)
		close_fd(&fds[i]);
	return answer(g, m->header.cookie, result);
}

static int handle(struct executor *x, const union memory_packet *p, size_t bytes, int *fds, unsigned n_fds,
		  const char **why)
{
	struct guest_memory *g = &x->guest;

	if (bytes < sizeof(p->header) || p->header.magic != LINK_MAGIC || p->header.length != bytes ||
	    p->header.n_fds != n_fds) {
		*why = "memory link: malformed packet";
		return -EPROTO;
	}
	if (p->header.type == MEMORY_MAP && bytes == sizeof(p->map))
		return answer_map(g, &p->map, fds, n_fds);
	if (p->header.type == MEMORY_UNMAP && bytes == sizeof(p->unmap)) {
		g->unmap = p->unmap;
		return go_on_unmap(x);
	}
	*why = "memory link: unknown message";
	return -EPROTO;
}

int guest_memory_serve(struct executor *x, const char **why)
{
	struct guest_memory *g = &x->guest;
	int r = g->waits ? go_on_unmap(x) : 0;

	while (!r && g->readable && !g->waits) {
		union memory_packet packet;
		int fds[SEQPACKET_MAX_FDS];
		unsigned n_fds;
		int n = seqpacket_recv(g->link, &packet, sizeof(packet), fds, &n_fds, MSG_DONTWAIT);

		if (n == -EAGAIN) {
			g->readable = false;
			break;
		}
		if (n <= 0) {
			*why = "memory link: malformed packet";
			return n == -EMSGSIZE || n == -EPROTO ? -EPROTO : -EPIPE;
		}
		r = handle(x, &packet, (size_t)n, fds, n_fds, why);
		for (unsigned i = 0; i < n_fds; i++)
			close_fd(&fds[i]);
	}
	return r;
}

void guest_memory_ring(const struct guest_memory *g)
{
	static const uint64_t one = 1;

	if (write(g->bell, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_warning("guest bell: %m");
}
