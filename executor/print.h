// SPDX-License-Identifier: Apache-2.0
// Text that kernels print. It belongs to the guest program, and no record carries it there yet: it is kept in
// a bounded buffer, and print_take is the one place from which it goes on.
#ifndef VGPU_EXECUTOR_PRINT_H
#define VGPU_EXECUTOR_PRINT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define PRINT_BYTES 65536u

struct print_buffer {
	pthread_mutex_t lock;
	_Atomic size_t used; // changed under the lock
	uint64_t dropped;    // bytes that found no room, or that nobody took
	char text[PRINT_BYTES];
};

void print_init(struct print_buffer *p);

// A backend's thread has text (backend_env.print; opaque is the buffer). What does not fit is counted and
// lost.
void print_put(void *opaque, const char *text, size_t length);

// Moves up to room bytes out, oldest first; returns how many.
size_t print_take(struct print_buffer *p, char *ret, size_t room);

// Drops what is there, counted and said once at debug level. The loop calls it as long as nobody takes the
// text.
void print_discard(struct print_buffer *p);

#endif
