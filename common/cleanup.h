// SPDX-License-Identifier: Apache-2.0
// Scope-bound ownership: a variable marked with one of these gives its resource back when it goes out of
// scope; take_*() moves the resource out and nulls the source.
#ifndef VGPU_COMMON_CLEANUP_H
#define VGPU_COMMON_CLEANUP_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define cleanup(f) __attribute__((cleanup(f)))

static inline void cleanup_free_ptr(void *p)
{
	free(*(void **)p);
}

// Closes *fd if it is one, keeps errno, and marks it closed.
static inline void close_fd(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		close(*fd);
		errno = saved;
	}
	*fd = -1;
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define cleanup_free cleanup(cleanup_free_ptr)
#define cleanup_fd   cleanup(close_fd)
#define cleanup_file cleanup(cleanup_fclose)

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#define take_ptr(p)                         \
	({                                  \
		__typeof__(p) taken_ = (p); \
		(p) = NULL;                 \
		taken_;                     \
	})

#endif
