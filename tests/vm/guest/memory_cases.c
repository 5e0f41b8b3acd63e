// SPDX-License-Identifier: Apache-2.0
// Memory of the process that the host maps. The host checks that the first word of each page is the page's
// address and stores the complement behind it.
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/vm/guest/guest.h"

#define MIB (1u << 20)

static uint64_t *marked(uint64_t address, uint64_t bytes, int flags)
{
	void *p = mmap((void *)address, bytes, PROT_READ | PROT_WRITE,
		       MAP_ANONYMOUS | flags | (address ? MAP_FIXED : 0), -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	for (uint64_t at = 0; at < bytes; at += 4096)
		*(uint64_t *)((char *)p + at) = (uint64_t)p + at;
	return p;
}

static bool host_was_here(uint64_t *p, uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes; at += 4096)
		if (p[at / 8 + 1] != ~((uint64_t)p + at))
			return false;
	return true;
}

static int map(const struct guest *g, const void *p, uint64_t bytes)
{
	struct vgpu_ioc_map m = { .address = (uintptr_t)p, .bytes = bytes };

	return ask(g->fd, VGPU_IOC_MAP, &m);
}

static int unmap(const struct guest *g, const void *p)
{
	struct vgpu_ioc_unmap m = { .address = (uintptr_t)p };

	return ask(g->fd, VGPU_IOC_UNMAP, &m);
}

static int mapped(int flags)
{
	long before = pinned_pages();
	struct guest g;
	uint64_t *p;

	CHECK(open_mapped("ok", &g) == 0);
	p = marked(0, 3 * MIB, flags);
	CHECK(p && map(&g, p, 3 * MIB) == 0);
	CHECK(host_was_here(p, 3 * MIB));
	CHECK(pinned_pages() - before == 768);
	CHECK(map(&g, p, 4096) == EEXIST && map(&g, (char *)p + 2 * MIB, 2 * MIB) == EEXIST);
	CHECK(unmap(&g, (char *)p + 4096) == ENOENT);
	CHECK(unmap(&g, p) == 0 && unmap(&g, p) == ENOENT);
	CHECK(pinned_pages() == before);
	munmap(p, 3 * MIB);
	close_guest(&g);
	return 0;
}

static int private_memory(void)
{
	return mapped(MAP_PRIVATE);
}

static int shared_memory(void)
{
	return mapped(MAP_SHARED);
}

static int huge_pages(void)
{
	uint64_t base = 0x200040000000;
	struct guest g;
	uint64_t *p;
	uint32_t pieces;

	CHECK(open_mapped("ok", &g) == 0);
	p = mmap((void *)base, 8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0);
	CHECK(p != MAP_FAILED);
	CHECK(madvise(p, 8 * MIB, MADV_HUGEPAGE) == 0);
	for (uint64_t at = 0; at < 8 * MIB; at += 4096)
		p[at / 8] = base + at;
	CHECK(map(&g, p, 8 * MIB) == 0);
	pieces = *(uint32_t *)(g.channel + 1024);
	if (pieces > 4)
		return say_failed("more pieces than huge pages", __FILE__, (int)pieces);
	CHECK(host_was_here(p, 8 * MIB));
	close_guest(&g);
	munmap(p, 8 * MIB);
	return 0;
}

static int bad_ranges(void)
{
	struct guest g;
	void *p, *constant;

	CHECK(open_mapped("ok", &g) == 0);
	p = marked(0, 4 * 4096, MAP_PRIVATE);
	constant = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(map(&g, p, 0) == EINVAL && map(&g, p, 100) == EINVAL && map(&g, (char *)p + 8, 4096) == EINVAL);
	CHECK(map(&g, (void *)-4096, 8192) == EINVAL);
	CHECK(map(&g, constant, 4096) == EFAULT);
	CHECK(map(&g, g.channel, 4096) == EFAULT);
	CHECK(map(&g, (void *)g.doorbell, 4096) == EFAULT);
	munmap((char *)p + 2 * 4096, 4096);
	CHECK(map(&g, p, 4 * 4096) == EFAULT);
	CHECK(map(&g, (void *)0xffff800000000000, 4096) == EFAULT);
	CHECK(map(&g, p, 1ull << 40) == ENOMEM);
	close_guest(&g);
	return 0;
}

static int no_room(void)
{
	long before = pinned_pages();
	struct guest g;
	void *p = marked(0, MIB, MAP_PRIVATE);

	CHECK(open_mapped("mapaddress", &g) == 0);
	CHECK(map(&g, p, MIB) == EADDRNOTAVAIL);
	CHECK(pinned_pages() == before);
	close_guest(&g);
	munmap(p, MIB);
	return 0;
}

static int as_user(void)
{
	struct rlimit limit = { 65536, 65536 };
	struct guest g;
	void *p = marked(0, MIB, MAP_PRIVATE);

	CHECK(open_mapped("ok", &g) == 0);
	CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0 && setuid(1000) == 0);
	CHECK(map(&g, p, MIB) == ENOMEM);
	CHECK(map(&g, p, 65536) == 0 && map(&g, (char *)p + 65536, 4096) == ENOMEM);
	CHECK(unmap(&g, p) == 0 && map(&g, (char *)p + 65536, 65536) == 0);
	return 0;
}

static int limit_of_user(void)
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(as_user() ? 1 : 0);
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return 0;
}

// A child that maps 1 MiB and is killed; before it, `pinned` pages are.
static int kill_with_map(const char *name, long pinned)
{
	int status;
	pid_t child = fork();
	struct guest g;

	if (!child) {
		void *p = marked(0, MIB, MAP_PRIVATE);

		if (!open_mapped(name, &g))
			map(&g, p, MIB);
		pause();
	}
	CHECK(pinned_comes_to(pinned + 256));
	usleep(100000);
	CHECK(kill(child, SIGKILL) == 0);
	CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
	return 0;
}

static int close_is_waited_for(void)
{
	long pinned = pinned_pages();
	struct guest g;

	CHECK(kill_with_map("holdclose", pinned) == 0);
	sleep(6); // longer than the end of a process waits for the host
	CHECK(pinned_pages() == pinned + 256);
	CHECK(open_as("release", &g) == 0); // now the host answers the CLOSE
	CHECK(pinned_comes_to(pinned));
	close(g.fd);
	return 0;
}

static int killed_in_map(void)
{
	long pinned = pinned_pages();

	CHECK(kill_with_map("mapnever", pinned) == 0);
	CHECK(pinned_comes_to(pinned));
	return 0;
}

void memory_cases(void)
{
	run_case("private memory is mapped in place", private_memory);
	run_case("shared memory is mapped in place", shared_memory);
	run_case("huge pages are one extent each", huge_pages);
	run_case("ranges that are not there, not whole or not writable are refused", bad_ranges);
	run_case("what the host cannot map is unpinned", no_room);
	run_case("pinned memory counts as locked memory", limit_of_user);
	run_case("pages stay pinned until the host has answered CLOSE", close_is_waited_for);
	run_case("a process can be killed in a map", killed_in_map);
}
