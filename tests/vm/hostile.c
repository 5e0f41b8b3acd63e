// SPDX-License-Identifier: Apache-2.0
// vm-hostile SEED SECONDS [channel]: root of a guest that means harm. Without vgpu.ko it maps the device's
// BAR0 from sysfs and stores random words into registers and doorbells, some of them near what would be
// right: an area of this process's own memory filled with random commands as admin area, then the numbers of
// its slots. With "channel" it opens one through vgpu.ko as a program would and fills its ring and all the
// rest with random words. Says how often it did something.
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "protocol/guest/vgpu_ioctl.h"
#include "protocol/guest/vgpu_pci.h"

enum { AREA_PAGES = (sizeof(struct vgpu_admin_area) + 4095) / 4096 };

static uint64_t state;

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

// The guest's physical address of a page of this process; 0 if it is not told.
static uint64_t physical(const void *page)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || pread(fd, &entry, 8, (off_t)((uintptr_t)page / 4096 * 8)) != 8)
		entry = 0;
	if (fd >= 0)
		close(fd);
	return (entry & ((1ull << 55) - 1)) * 4096;
}

// Physically contiguous pages for an admin area, found among many; NULL: none.
static uint8_t *find_area(uint64_t *ret_address)
{
	enum { PAGES = 4096 };
	uint8_t *pages = mmap(NULL, PAGES * 4096ul, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int run = 1;

	if (pages == MAP_FAILED)
		return NULL;
	for (int i = 1; i < PAGES; i++) {
		uint64_t here = physical(pages + i * 4096ul);

		run = here && here == physical(pages + (i - 1) * 4096ul) + 4096 ? run + 1 : 1;
		if (run == AREA_PAGES) {
			*ret_address = physical(pages + (i - AREA_PAGES + 1) * 4096ul);
			return pages + (i - AREA_PAGES + 1) * 4096ul;
		}
	}
	return NULL;
}

// A command that is right in some places and wrong in others.
static void invent(struct vgpu_command *c, uint64_t area)
{
	uint64_t *words = (uint64_t *)c;

	for (unsigned i = 0; i < sizeof(*c) / 8; i++)
		words[i] = rnd() % 3 ? rnd() : rnd() % 65;
	c->code = (uint32_t)(rnd() % 7);
	if (rnd() % 2 && c->code == VGPU_COMMAND_OPEN) {
		c->open.channel = (uint32_t)(rnd() % VGPU_MAX_VM_CHANNELS);
		c->open.list = area + rnd() % 4096 / 8 * 8;
		c->open.channel_extents = (uint32_t)(rnd() % 4);
		c->open.arena_extents = (uint32_t)(rnd() % 4);
		c->open.channel_bytes = (rnd() % 1024) << 12;
		c->open.arena_bytes = (rnd() % 4096) << 12;
	} else if (rnd() % 2 && c->code == VGPU_COMMAND_DEVICE) {
		c->device.buffer = area;
		c->device.buffer_bytes = (uint32_t)(rnd() % 17) << 12;
		c->device.request_bytes = (uint32_t)(rnd() % 64);
	}
}

static void turn(volatile uint32_t *bar, uint8_t *area, uint64_t address)
{
	struct vgpu_admin_area *admin = (struct vgpu_admin_area *)area;
	unsigned slot = (unsigned)(rnd() % VGPU_COMMAND_SLOTS);

	switch (rnd() % 8) {
	case 0: bar[rnd() % (VGPU_BAR0_BYTES / 4)] = (uint32_t)rnd(); break;
	case 1: bar[rnd() % 64] = (uint32_t)rnd(); break;
	case 2: (void)bar[rnd() % (VGPU_BAR0_BYTES / 4)]; break;
	case 3: bar[VGPU_BAR0_CHANNEL(rnd() % VGPU_MAX_VM_CHANNELS) / 4] = 1; break;
	case 4:
		if (!area || rnd() % 16)
			break;
		bar[VGPU_REG_ADMIN / 4] = (uint32_t)address;
		bar[VGPU_REG_ADMIN / 4 + 1] = (uint32_t)(address >> 32);
		bar[VGPU_REG_ADMIN_BYTES / 4] = AREA_PAGES * 4096;
		bar[VGPU_REG_ADMIN_ENABLE / 4] = rnd() % 4 != 0;
		break;
	default:
		if (!area)
			break;
		invent(&admin->slot[slot].command, address);
		bar[VGPU_REG_COMMAND / 4] = rnd() % 16 ? slot : (uint32_t)rnd();
		invent(&admin->slot[slot].command, address); // while the device reads it
		break;
	}
}

static unsigned long harm_device(time_t end)
{
	uint64_t address = 0;
	unsigned long turns = 0;
	int fd = open("/sys/bus/pci/devices/0000:01:00.0/resource0", O_RDWR | O_CLOEXEC);
	uint32_t *bar =
	    fd < 0 ? MAP_FAILED : mmap(NULL, VGPU_BAR0_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint8_t *area = find_area(&address);

	if (bar == MAP_FAILED || !area) {
		perror(area ? "BAR0" : "no contiguous pages");
		exit(1);
	}
	for (; time(NULL) < end; turns += 64) {
		for (int i = 0; i < 64; i++)
			turn(bar, area, address);
	}
	bar[VGPU_REG_ADMIN_ENABLE / 4] = 0; // the pages are the kernel's again when this process has ended
	return turns;
}

// Until the executor has had enough of it. Nothing is left mapped: a channel's memory is free only when the
// process has neither the file nor a map of it.
static bool harm_one_channel(void)
{
	struct vgpu_ioc_wait wait = { .timeout_ns = 20ull * 1000 * 1000 * 1000 };
	struct vgpu_ioc_channel channel = { 0 };
	int fd = open(VGPU_DEVICE_NODE, O_RDWR | O_CLOEXEC);
	uint64_t *memory;
	volatile uint32_t *doorbell;

	if (fd < 0 || ioctl(fd, VGPU_IOC_CHANNEL, &channel) < 0) {
		if (errno == EIO) // what the host answered
			fprintf(stderr, "refused: %u\n", channel.error);
		perror(VGPU_DEVICE_NODE);
		exit(1);
	}
	memory = mmap(NULL, channel.channel_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, VGPU_MMAP_CHANNEL);
	doorbell = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, VGPU_MMAP_DOORBELL);
	if (memory == MAP_FAILED || doorbell == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	for (size_t i = 0; i < channel.channel_bytes / 8; i++)
		memory[i] = rnd();
	*doorbell = 1;
	memcpy(&wait.seen, (char *)memory + VGPU_WAKE_WORD_OFFSET, 4);
	while (ioctl(fd, VGPU_IOC_WAIT, &wait) == 0)
		memcpy(&wait.seen, (char *)memory + VGPU_WAKE_WORD_OFFSET, 4);
	munmap((void *)doorbell, 4096);
	munmap(memory, channel.channel_bytes);
	close(fd);
	return wait.reason != 0;
}

static unsigned long harm_channels(time_t end)
{
	unsigned long turns = 0;

	while (time(NULL) < end && harm_one_channel())
		turns++;
	return turns;
}

int main(int argc, char **argv)
{
	bool channel = argc == 4 && !strcmp(argv[3], "channel");
	time_t end;

	if (argc != 3 && !channel)
		return 64;
	state = strtoull(argv[1], NULL, 10) * 0x9e3779b97f4a7c15ull + 1;
	end = time(NULL) + strtol(argv[2], NULL, 10);
	printf("%lu turns\n", channel ? harm_channels(end) : harm_device(end));
	return 0;
}
