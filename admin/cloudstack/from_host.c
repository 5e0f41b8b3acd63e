// SPDX-License-Identifier: Apache-2.0
// What the kernel and another discovery script say; see sources.h. Runs in vgpu-admin.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin/cloudstack/listing.h"
#include "admin/cloudstack/sources.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define SCRIPT_NS    (10 * NSEC_PER_SEC)
#define SCRIPT_BYTES (256u << 10)

// A script that starts this program again, since somebody named the wrong one, is not to go on for ever.
#define WITHIN "VGPU_DISCOVERING"

// ---- the kernel ----

static int read_numa(const char *folder)
{
	char path[PATH_MAX + 16];
	int node = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/numa_node", folder);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fscanf(f, "%d", &node) != 1 || node < 0)
		node = -1;
	fclose(f);
	return node;
}

const char *source_kernel(const char *pci, int *ret_numa, char *root, size_t n)
{
	unsigned domain, bus, device, function;
	char folder[64], real[PATH_MAX];
	const char *port, *end;

	*ret_numa = -1;
	if (sscanf(pci, "%x:%x:%x.%x", &domain, &bus, &device, &function) != 4)
		return NULL;
	snprintf(folder, sizeof(folder), "/sys/bus/pci/devices/%04x:%02x:%02x.%x", domain, bus, device,
		 function);
	if (!realpath(folder, real))
		return NULL;
	*ret_numa = read_numa(real);
	// .../pci0000:3a/0000:3a:01.0/.../0000:3b:00.0
	port = strstr(real, "/pci");
	port = port ? strchr(port + 1, '/') : NULL;
	end = port ? strchr(port + 1, '/') : NULL;
	if (!end || (size_t)(end - port) > n)
		return NULL; // on the root bus itself
	snprintf(root, n, "%.*s", (int)(end - port - 1), port + 1);
	return root;
}

// ---- the script ----

static pid_t start(const char *path, int output)
{
	char *argv[] = { (char *)path, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	pid_t pid = -1;

	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	// What it starts is in its group, and ends with it.
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
	setenv(WITHIN, "1", 1);
	if (posix_spawn(&pid, path, &files, &attr, argv, environ) != 0)
		pid = -1;
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return pid;
}

// Until its end, the limit, or the time is over. Bytes; -1: not all of it.
static ssize_t read_all(int fd, char *to, size_t most)
{
	uint64_t end = clock_now_ns() + SCRIPT_NS, now;
	size_t n = 0;

	while (n < most && (now = clock_now_ns()) < end) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t got = 0;

		if (poll(&p, 1, (int)((end - now) / 1000000) + 1) > 0) {
			got = read(fd, to + n, most - n);
			if (got == 0)
				return (ssize_t)n;
			if (got < 0 && errno != EINTR)
				return -1;
		}
		n += got > 0 ? (size_t)got : 0;
	}
	return -1;
}

json_t *source_script(const char *path)
{
	cleanup_free char *text = getenv(WITHIN) ? NULL : malloc(SCRIPT_BYTES);
	cleanup_fd int from = -1;
	int ends[2], status = -1;
	ssize_t n;
	pid_t pid;

	if (!text || pipe2(ends, O_CLOEXEC) < 0)
		return NULL;
	from = ends[0];
	pid = start(path, ends[1]);
	close(ends[1]);
	if (pid < 0)
		return NULL;
	n = read_all(from, text, SCRIPT_BYTES);
	if (n < 0)
		kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return n >= 0 && status == 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
}
