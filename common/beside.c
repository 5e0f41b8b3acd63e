// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in the mediator, vgpu-run and vgpu-demo at start.
#include "common/beside.h"

#include <errno.h>
#include <limits.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"

int beside_find(const char *const *candidates, char *ret, size_t ret_bytes)
{
	char self[PATH_MAX], path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n < 0)
		return -errno;
	self[n] = 0;
	slash = strrchr(self, '/');
	if (!slash)
		return -ENOENT;
	*slash = 0;
	for (; *candidates; candidates++) {
		cleanup_free char *real = NULL;

		if ((size_t)snprintf(path, sizeof(path), "%s/%s", self, *candidates) >= sizeof(path))
			continue;
		real = realpath(path, NULL);
		if (!real)
			continue;
		if (strlen(real) >= ret_bytes)
			return -ENAMETOOLONG;
		memcpy(ret, real, strlen(real) + 1);
		return 0;
	}
	return -ENOENT;
}
