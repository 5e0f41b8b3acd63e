// SPDX-License-Identifier: Apache-2.0
// What root of a guest can do with a PCI device that no driver has, by its files in sysfs:
//   vm-bar DEVICE read OFFSET...          words of BAR0 in that order, each as "offset value"
//   vm-bar DEVICE write OFFSET=VALUE...
//   vm-bar DEVICE scribble SEED SECONDS   random words, parts of words and reads in all of its BARs and its
//                                         configuration space; says how many
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static int open_file(const char *device, const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

static volatile uint8_t *map(const char *device, const char *name, size_t *ret_bytes)
{
	int fd = open_file(device, name);
	struct stat st;
	void *p;

	if (fstat(fd, &st) < 0)
		exit(1);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED) {
		perror(name);
		exit(1);
	}
	*ret_bytes = (size_t)st.st_size;
	return p;
}

static void access_once(volatile uint8_t *at)
{
	switch (rnd() % 6) {
	case 0: (void)*(volatile uint32_t *)at; break;
	case 1: (void)*(volatile uint64_t *)at; break;
	case 2: *at = (uint8_t)rnd(); break;
	case 3: *(volatile uint16_t *)at = (uint16_t)rnd(); break;
	case 4: *(volatile uint64_t *)at = rnd(); break;
	default: *(volatile uint32_t *)at = (uint32_t)rnd(); break;
	}
}

static void scribble(const char *device, time_t end)
{
	static const char *const names[] = { "resource0", "resource2", "resource4" };
	volatile uint8_t *bars[3];
	int config = open_file(device, "config");
	unsigned long n = 0;
	size_t bytes[3];

	for (int i = 0; i < 3; i++)
		bars[i] = map(device, names[i], &bytes[i]);
	for (; time(NULL) < end; n++) {
		unsigned which = (unsigned)(rnd() % 8);
		uint32_t word = (uint32_t)rnd();

		if (which < 7)
			access_once(bars[which % 3] + rnd() % (bytes[which % 3] / 8) * 8);
		else if (pwrite(config, &word, 4, (off_t)(0x40 + rnd() % 1008 * 4)) !=
			 4) // not where its BARs are
			break;
	}
	close(config);
	printf("%lu accesses\n", n);
}

int main(int argc, char **argv)
{
	volatile uint8_t *bar;
	size_t bytes;

	if (argc < 4)
		return 64;
	if (strcmp(argv[2], "scribble") == 0) {
		state = strtoull(argv[3], NULL, 10) * 0x9e3779b97f4a7c15ull + 1;
		scribble(argv[1], time(NULL) + (argc > 4 ? strtol(argv[4], NULL, 10) : 1));
		return 0;
	}
	bar = map(argv[1], "resource0", &bytes);
	for (int i = 3; i < argc; i++) {
		char *value;
		volatile uint32_t *word =
		    (volatile uint32_t *)(bar + strtoul(argv[i], &value, 16) % bytes / 4 * 4);

		if (strcmp(argv[2], "write") == 0 && *value == '=')
			*word = (uint32_t)strtoul(value + 1, NULL, 16);
		else
			printf("%s %08x\n", argv[i], *word);
	}
	return 0;
}
