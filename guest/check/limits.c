// SPDX-License-Identifier: Apache-2.0
// Checks of what the system lets a program have: pinned memory, addresses, memory of its cgroup, large pages.
// Runs in vgpu-guest-check.
#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "common/cleanup.h"
#include "common/limits.h"
#include "guest/check/check.h"
#include "guest/check/files.h"
#include "guest/check/rules.h"
#include "protocol/guest/vgpu_pci.h"

#define LOCKED_ENOUGH VGPU_MIB(256) // a program that pins its batches has more than the usual 8 MiB

static bool may_lock_all(const struct machine *m)
{
	cleanup_free char *status = file_read(m, FILE_SMALL, NULL, "/proc/self/status");
	char value[32];

	return status && rule_status(status, "CapEff", value, sizeof(value)) &&
	       (strtoull(value, NULL, 16) >> CAP_IPC_LOCK & 1);
}

void check_locked_memory(struct machine *m, struct check_result *r)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	char line[16];

	getrlimit(RLIMIT_MEMLOCK, &limit);
	file_line(m, line, sizeof(line), "/sys/module/vgpu/parameters/memlock");
	if (line[0] == 'N') {
		check_say(r, CHECK_OK, "pinned memory has no limit (vgpu's memlock=N)");
	} else if (may_lock_all(m)) {
		check_say(r, CHECK_OK, "pinned memory has no limit (CAP_IPC_LOCK)");
	} else if (limit.rlim_cur >= LOCKED_ENOUGH) { // RLIM_INFINITY is the greatest
		check_say(r, CHECK_OK, "the limit of locked memory allows pinned memory");
	} else {
		check_say(r, CHECK_WARNING, "at most %" PRIu64 " KiB of pinned memory (ulimit -l)",
			  (uint64_t)limit.rlim_cur >> 10);
		check_next(r, "'@render - memlock unlimited' in /etc/security/limits.d/vgpu.conf, "
			      "LimitMEMLOCK=infinity in a "
			      "service, or the module's memlock=N");
	}
}

// As libcuda does: addresses without memory.
static bool can_reserve(uint64_t at)
{
	void *got = mmap((void *)(uintptr_t)at, VGPU_WINDOW_BYTES, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (got == MAP_FAILED)
		return false;
	munmap(got, VGPU_WINDOW_BYTES);
	return true;
}

void check_addresses(struct machine *m, struct check_result *r)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	(void)m;
	if (can_reserve(VGPU_HOST_WINDOW_BASE) && can_reserve(VGPU_DEVICE_WINDOW_BASE)) {
		check_say(r, CHECK_OK, "two windows of %" PRIu64 " GiB can be reserved",
			  VGPU_WINDOW_BYTES >> 30);
		return;
	}
	check_say(r, CHECK_FAILED, "two windows of %" PRIu64 " GiB of addresses cannot be reserved: %s",
		  VGPU_WINDOW_BYTES >> 30, strerror(errno));
	getrlimit(RLIMIT_AS, &limit);
	if (limit.rlim_cur != RLIM_INFINITY)
		check_next(r,
			   "ulimit -v unlimited (it is %" PRIu64
			   " MiB): addresses are no memory; a cgroup limits that",
			   (uint64_t)limit.rlim_cur >> 20);
	else
		check_next(r, "a program needs addresses of 47 bits: see what limits them here");
}

// Bytes that a file of a cgroup says; UINT64_MAX: "max", or no such file.
static uint64_t cgroup_bytes(const struct machine *m, const char *group, const char *file)
{
	char line[32];

	if (!file_line(m, line, sizeof(line), "/sys/fs/cgroup%s/%s", group, file) || line[0] < '0' ||
	    line[0] > '9')
		return UINT64_MAX;
	return strtoull(line, NULL, 10);
}

// What the cgroup and those above leave.
static uint64_t cgroup_left(const struct machine *m, char *group)
{
	uint64_t left = UINT64_MAX;

	for (;;) {
		uint64_t most = cgroup_bytes(m, group, "memory.max"),
			 used = cgroup_bytes(m, group, "memory.current");
		char *end = strrchr(group, '/');

		if (most != UINT64_MAX && used != UINT64_MAX && (most > used ? most - used : 0) < left)
			left = most > used ? most - used : 0;
		if (!end)
			return left;
		*end = 0;
	}
}

void check_memory(struct machine *m, struct check_result *r)
{
	cleanup_free char *groups = file_read(m, FILE_SMALL, NULL, "/proc/self/cgroup");
	char group[512] = "", line[16];
	uint64_t left, arena, need;

	if (groups)
		rule_cgroup(groups, group, sizeof(group));
	file_line(m, line, sizeof(line), "/sys/module/vgpu/parameters/arena_mib");
	arena = strtoull(line, NULL, 10);
	need = VGPU_VM_CHANNEL_BYTES + (arena <= 128 ? VGPU_MIB(arena) : 0);
	left = cgroup_left(m, group);
	if (left >= need) {
		check_say(r, CHECK_OK, "a program's %" PRIu64 " KiB of kernel memory fit into its cgroup",
			  need >> 10);
		return;
	}
	check_say(r, CHECK_FAILED,
		  "the cgroup leaves %" PRIu64 " KiB, a program's channel takes %" PRIu64 " KiB of it",
		  left >> 10, need >> 10);
	check_next(r, "raise memory.max (MemoryMax= of the service, --memory of the container)");
}

void check_huge_pages(struct machine *m, struct check_result *r)
{
	char line[64], word[16];

	if (!file_line(m, line, sizeof(line), "/sys/kernel/mm/transparent_hugepage/enabled") ||
	    !rule_chosen(line, word, sizeof(word))) {
		check_say(r, CHECK_NOT_DONE,
			  "this kernel does not say whether it has transparent huge pages");
	} else if (strcmp(word, "never") != 0) {
		check_say(r, CHECK_OK, "transparent huge pages: %s", word);
	} else {
		check_say(r, CHECK_WARNING,
			  "no transparent huge pages: one pinned allocation may be of 256 MiB at most");
		check_next(
		    r, "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled, where programs pin more");
	}
}
