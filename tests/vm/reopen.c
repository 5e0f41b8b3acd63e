// SPDX-License-Identifier: Apache-2.0
// vm-reopen TIMES [killed]: opens a channel, maps all of it, touches it, pins memory, and gives everything
// back, so many times one right after the other; with "killed" each time is a process of its own that is
// killed there instead. What then is missing anywhere has leaked.
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/guest/vgpu_ioctl.h"

#define PINNED_BYTES (1ul << 20)

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void *map_part(int fd, size_t bytes, off_t what)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, what);

	if (p == MAP_FAILED)
		fail("mmap");
	return p;
}

static void use_channel(bool die)
{
	struct vgpu_ioc_channel channel = { 0 };
	struct vgpu_ioc_map map = { .bytes = PINNED_BYTES };
	int fd = open(VGPU_DEVICE_NODE, O_RDWR | O_CLOEXEC);
	void *memory, *arena, *doorbell, *pinned;

	if (fd < 0 || ioctl(fd, VGPU_IOC_CHANNEL, &channel) < 0)
		fail(VGPU_DEVICE_NODE);
	memory = map_part(fd, channel.channel_bytes, VGPU_MMAP_CHANNEL);
	arena = map_part(fd, channel.arena_bytes, VGPU_MMAP_ARENA);
	doorbell = map_part(fd, 4096, VGPU_MMAP_DOORBELL);
	pinned = mmap(NULL, PINNED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pinned == MAP_FAILED)
		fail("mmap");
	memset(pinned, 1, PINNED_BYTES);
	memset(arena, 1, channel.arena_bytes);
	*(volatile uint32_t *)doorbell = 1;
	map.address = (uintptr_t)pinned;
	if (ioctl(fd, VGPU_IOC_MAP, &map) < 0)
		fail("VGPU_IOC_MAP");
	if (die)
		raise(SIGKILL);
	munmap(memory, channel.channel_bytes);
	munmap(arena, channel.arena_bytes);
	munmap(doorbell, 4096);
	close(fd); // gives the pinned pages back with the channel
	munmap(pinned, PINNED_BYTES);
}

static void in_a_process_that_is_killed(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		use_channel(true);
		_exit(2);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		fail("fork");
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
		fprintf(stderr, "a process ended with 0x%x\n", (unsigned)status);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	bool killed = argc == 3 && !strcmp(argv[2], "killed");

	if (argc != 2 && !killed)
		return 64;
	for (long left = strtol(argv[1], NULL, 10); left > 0; left--) {
		if (killed)
			in_a_process_that_is_killed();
		else
			use_channel(false);
	}
	return 0;
}
