// SPDX-License-Identifier: Apache-2.0
// Maps a file for vgpu-admin image; see the header. Not copied: libraries have hundreds of MB.
#include "admin/image_map.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/command.h"
#include "common/cleanup.h"

// What lies behind the new end of a file that was cut is no memory any more.
static void on_bus_error(int signal)
{
	static const char text[] =
	    "vgpu-admin: the file became shorter, or could not be read, while it was looked at\n";

	(void)signal;
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(ADMIN_REFUSED);
}

int image_map(const char *path, struct image_map *ret)
{
	// A pipe would wait for its other end.
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct sigaction action = { .sa_handler = on_bus_error };
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	*ret = (struct image_map){ "", 0 };
	if (!st.st_size)
		return 0;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	sigaction(SIGBUS, &action, NULL);
	*ret = (struct image_map){ p, (size_t)st.st_size };
	return 0;
}

void image_map_done(struct image_map *m)
{
	if (m->n)
		munmap((void *)m->bytes, m->n);
	*m = (struct image_map){ 0 };
}
