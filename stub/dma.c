// SPDX-License-Identifier: Apache-2.0
// The table of the VM's memory; see the header. Filled by server.c, asked by command.c and extents.c.
#include "stub/dma.h"

#include <assert.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cleanup.h"

void dma_init(struct dma *d)
{
	memset(d, 0, sizeof(*d));
	for (unsigned i = 0; i < VGPU_MAX_DMA_FILES; i++)
		d->files[i].fd = -1;
}

static void file_drop(struct dma *d, int file)
{
	if (file >= 0 && --d->files[file].uses == 0)
		close_fd(&d->files[file].fd);
}

void dma_done(struct dma *d)
{
	for (uint32_t i = 0; i < d->n_maps; i++)
		file_drop(d, d->maps[i].file);
	free(d->maps);
	dma_init(d);
}

// The first map that ends above address; n_maps: none.
static uint32_t first_above(const struct dma *d, uint64_t address)
{
	uint32_t low = 0, high = d->n_maps;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (d->maps[mid].address + d->maps[mid].bytes > address)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static bool can_share(int fd, struct stat *ret)
{
	struct statfs fs;

	// Executors map pieces of 4 KiB, which a file of huge pages cannot give.
	return fd >= 0 && fstat(fd, ret) == 0 && S_ISREG(ret->st_mode) && fstatfs(fd, &fs) == 0 &&
	       fs.f_type != HUGETLBFS_MAGIC;
}

// The file's place in the table (fd taken over); -1: not to be shared (fd closed); -ENOSPC.
static int file_take(struct dma *d, int fd)
{
	int free_place = -1;
	struct stat st;

	if (!can_share(fd, &st)) {
		close_fd(&fd);
		return -1;
	}
	for (int i = 0; i < VGPU_MAX_DMA_FILES; i++) {
		struct dma_file *f = &d->files[i];

		if (f->fd < 0) {
			free_place = i;
		} else if (f->device == st.st_dev && f->inode == st.st_ino) {
			close_fd(&fd);
			f->uses++;
			return i;
		}
	}
	if (free_place < 0) {
		close_fd(&fd);
		return -ENOSPC;
	}
	d->files[free_place] =
	    (struct dma_file){ .device = st.st_dev, .inode = st.st_ino, .fd = fd, .uses = 1 };
	return free_place;
}

static int make_room(struct dma *d, uint32_t more)
{
	uint32_t room = d->room ? d->room * 2 : 64;
	struct dma_map *maps;

	if (d->n_maps + more > VGPU_MAX_DMA_MAPS)
		return -ENOSPC;
	if (d->n_maps + more <= d->room)
		return 0;
	maps = reallocarray(d->maps, room, sizeof(*maps));
	if (!maps)
		return -ENOMEM;
	d->maps = maps;
	d->room = room;
	return 0;
}

static void insert(struct dma *d, uint32_t at, struct dma_map map)
{
	memmove(d->maps + at + 1, d->maps + at, (d->n_maps - at) * sizeof(*d->maps));
	d->maps[at] = map;
	d->n_maps++;
	d->n_shared += map.file >= 0;
}

bool dma_overlaps(const struct dma *d, uint64_t address, uint64_t bytes)
{
	uint32_t at = first_above(d, address);

	return at < d->n_maps && d->maps[at].address < address + bytes;
}

int dma_add(struct dma *d, uint64_t address, uint64_t bytes, int fd, uint64_t offset, bool writable)
{
	uint32_t at = first_above(d, address);
	int file = -1, r = dma_overlaps(d, address, bytes) ? -EEXIST : make_room(d, 1);

	if (r < 0 || !writable) {
		close_fd(&fd);
		if (r < 0)
			return r;
	}
	if (fd >= 0) {
		file = file_take(d, fd);
		if (file < -1)
			return file;
	}
	insert(d, at, (struct dma_map){ .address = address, .bytes = bytes, .offset = offset, .file = file });
	return 0;
}

uint64_t dma_users(const struct dma *d, uint64_t address, uint64_t bytes)
{
	uint64_t users = 0, last = address + bytes - 1;

	for (uint32_t i = first_above(d, address); i < d->n_maps && d->maps[i].address <= last; i++)
		users |= d->maps[i].channels;
	return users;
}

static void drop(struct dma *d, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		d->n_shared -= d->maps[i].file >= 0;
		file_drop(d, d->maps[i].file);
	}
	memmove(d->maps + from, d->maps + to, (d->n_maps - to) * sizeof(*d->maps));
	d->n_maps -= to - from;
}

int dma_remove(struct dma *d, uint64_t address, uint64_t bytes)
{
	uint64_t end = address + bytes;
	uint32_t from = first_above(d, address), to;
	struct dma_map *m = from < d->n_maps ? &d->maps[from] : NULL;

	assert(d->maps || !d->n_maps);
	if (m && m->address < address && m->address + m->bytes > end) { // a hole in one
		struct dma_map rest = *m;
		int r = make_room(d, 1); // moves the table

		if (r < 0)
			return r;
		rest.bytes = rest.address + rest.bytes - end;
		rest.offset += end - rest.address;
		rest.address = end;
		d->maps[from].bytes = address - d->maps[from].address;
		if (rest.file >= 0)
			d->files[rest.file].uses++;
		insert(d, from + 1, rest);
		return 0;
	}
	if (m && m->address < address) {
		m->bytes = address - m->address;
		from++;
	}
	for (to = from; to < d->n_maps && d->maps[to].address + d->maps[to].bytes <= end; to++)
		;
	if (to < d->n_maps && d->maps[to].address < end) {
		m = &d->maps[to];
		m->offset += end - m->address;
		m->bytes -= end - m->address;
		m->address = end;
	}
	drop(d, from, to);
	return 0;
}

void dma_forget_channel(struct dma *d, unsigned channel)
{
	for (uint32_t i = 0; i < d->n_maps; i++)
		d->maps[i].channels &= ~(1ull << channel);
}

bool dma_find(struct dma *d, uint64_t address, uint64_t bytes, struct dma_piece *ret)
{
	uint32_t at = first_above(d, address);
	struct dma_map *m;
	uint64_t skip;

	if (at == d->n_maps || d->maps[at].address > address || d->maps[at].file < 0)
		return false;
	m = &d->maps[at];
	skip = address - m->address;
	*ret = (struct dma_piece){
		.map = m,
		.file = m->file,
		.fd = d->files[m->file].fd,
		.offset = m->offset + skip,
		.bytes = bytes < m->bytes - skip ? bytes : m->bytes - skip,
	};
	return true;
}

static int move(struct dma *d, uint64_t address, void *to, const void *from, size_t bytes)
{
	while (bytes) {
		struct dma_piece piece;
		ssize_t n;

		if (!dma_find(d, address, bytes, &piece))
			return -EFAULT;
		n = to ? pread(piece.fd, to, piece.bytes, (off_t)piece.offset)
		       : pwrite(piece.fd, from, piece.bytes, (off_t)piece.offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EFAULT;
		if (to)
			to = (char *)to + n;
		else
			from = (const char *)from + n;
		address += (uint64_t)n;
		bytes -= (size_t)n;
	}
	return 0;
}

int dma_read(struct dma *d, uint64_t address, void *to, size_t bytes)
{
	return move(d, address, to, NULL, bytes);
}

int dma_write(struct dma *d, uint64_t address, const void *from, size_t bytes)
{
	return move(d, address, NULL, from, bytes);
}
