// SPDX-License-Identifier: Apache-2.0
// gpu.backend = auto: cuda if this machine has an NVIDIA device and its libcuda.so.1, else cpu. Decided by
// looking only: loading the driver's library would bring its threads, signal handlers and device files into
// the daemon. The library counts as there if the dynamic loader's cache has it (what dlopen in the executor
// will consult) or it lies where container runtimes put it. A wrong guess costs nothing silently: executors
// then fail to start with the driver's own words. Runs in the mediator at start.
#include "mediator/backend.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"

#define LIBRARY "libcuda.so.1"

static bool cache_has_library(void)
{
	cleanup_fd int fd = open("/etc/ld.so.cache", O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *map;
	bool found;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0)
		return false;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return false;
	found = memmem(map, (size_t)st.st_size, LIBRARY, sizeof(LIBRARY)) != NULL; // its NUL included
	munmap(map, (size_t)st.st_size);
	return found;
}

static bool has_library(void)
{
	static const char *const places[] = {
		"/usr/lib/x86_64-linux-gnu/" LIBRARY,
		"/usr/lib/aarch64-linux-gnu/" LIBRARY,
		"/usr/lib64/" LIBRARY,
		"/usr/lib/" LIBRARY,
		"/usr/local/nvidia/lib64/" LIBRARY,
	};

	if (cache_has_library())
		return true;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (access(places[i], R_OK) == 0)
			return true;
	}
	return false;
}

const char *backend_decide(const char *wanted)
{
	bool device, library;

	if (strcmp(wanted, "auto") != 0)
		return wanted;
	device = access("/dev/nvidiactl", R_OK | W_OK) == 0;
	library = has_library();
	log_info("backend auto: NVIDIA device %s, " LIBRARY " %s",
		 device ? "found" : "not found (or not ours to open)", library ? "found" : "not found");
	return device && library ? "cuda" : "cpu";
}
