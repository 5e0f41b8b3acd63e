// SPDX-License-Identifier: Apache-2.0
// Tests of vgpu.ko inside of a guest, against tests/vm/fake_stub.py. Speaks TAP on the console.
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "tests/vm/guest/guest.h"

static int cases;

int say_failed(const char *what, const char *file, int line)
{
	printf("# %s:%d: %s (errno %d)\n", file, line, what, errno);
	return line;
}

int ask(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? errno : 0;
}

int open_as(const char *name, struct guest *ret)
{
	*ret = (struct guest){ .fd = open(VGPU_DEVICE_NODE, O_RDWR | O_CLOEXEC) };
	if (ret->fd < 0)
		return errno;
	prctl(PR_SET_NAME, name);
	return ask(ret->fd, VGPU_IOC_CHANNEL, &ret->ok);
}

int open_mapped(const char *name, struct guest *ret)
{
	int prot = PROT_READ | PROT_WRITE;

	CHECK(open_as(name, ret) == 0);
	ret->channel = mmap(NULL, ret->ok.channel_bytes, prot, MAP_SHARED, ret->fd, VGPU_MMAP_CHANNEL);
	ret->arena = mmap((void *)ret->ok.host_window_base, ret->ok.arena_bytes, prot, MAP_SHARED | MAP_FIXED,
			  ret->fd, VGPU_MMAP_ARENA);
	ret->doorbell = mmap(NULL, 4096, prot, MAP_SHARED, ret->fd, VGPU_MMAP_DOORBELL);
	CHECK(ret->channel != MAP_FAILED && ret->arena != MAP_FAILED && ret->doorbell != MAP_FAILED);
	return 0;
}

void close_guest(struct guest *g)
{
	if (g->channel)
		munmap(g->channel, g->ok.channel_bytes);
	if (g->arena)
		munmap(g->arena, g->ok.arena_bytes);
	if (g->doorbell)
		munmap((void *)g->doorbell, 4096);
	close(g->fd);
}

uint32_t wake_word(const struct guest *g)
{
	return *(volatile uint32_t *)(g->channel + 260);
}

int wait_word(const struct guest *g, uint32_t seen, uint64_t timeout_ns, uint32_t *reason)
{
	struct vgpu_ioc_wait wait = { .seen = seen, .timeout_ns = timeout_ns };
	int r = ask(g->fd, VGPU_IOC_WAIT, &wait);

	if (reason)
		*reason = wait.reason;
	return r;
}

long pinned_pages(void)
{
	long acquired = 0, released = 0;
	FILE *f;
	char line[128];

	write_text("/proc/sys/vm/stat_refresh", "1"); // what single processors have counted
	f = fopen("/proc/vmstat", "re");
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "nr_foll_pin_acquired %ld", &acquired);
		sscanf(line, "nr_foll_pin_released %ld", &released);
	}
	if (f)
		fclose(f);
	return acquired - released;
}

int device_folder(char *ret, unsigned long room)
{
	glob_t found;

	if (glob("/sys/bus/pci/drivers/vgpu/0000:*", 0, NULL, &found))
		return -1;
	snprintf(ret, room, "/sys/bus/pci/devices/%s", strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);
	return 0;
}

int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		r = errno;
	if (fd >= 0)
		close(fd);
	return r;
}

bool comes_true(bool (*what)(void))
{
	struct timespec nap = { .tv_nsec = 20000000 };

	for (int i = 0; i < 1000; i++) {
		if (what())
			return true;
		nanosleep(&nap, NULL);
	}
	return false;
}

static long pinned_wanted;

static bool pinned_is_as_wanted(void)
{
	return pinned_pages() == pinned_wanted;
}

bool pinned_comes_to(long pages)
{
	pinned_wanted = pages;
	return comes_true(pinned_is_as_wanted);
}

void ask_host(const char *what)
{
	printf("HOST %s\n", what);
}

void run_case(const char *name, int (*how)(void))
{
	int line;

	errno = 0;
	line = how();
	printf("%s %d - %s\n", line ? "not ok" : "ok", ++cases, name);
}

// "suspend": what leaves a guest behind that cannot go on with the rest.
int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 2 && !strcmp(argv[1], "suspend")) {
		suspend_cases();
	} else {
		channel_cases();
		memory_cases();
		device_cases();
	}
	printf("1..%d\n", cases);
	return 0;
}
