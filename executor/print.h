// SPDX-License-Identifier: Apache-2.0
// Text that kernels print. It belongs to the guest program, which takes it with print_take records after its
// waits; until then it lies in a bounded buffer. Filled by any thread, emptied by the executor's loop.
#ifndef VGPU_EXECUTOR_PRINT_H
#define VGPU_EXECUTOR_PRINT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/limits.h"

struct print_buffer {
	pthread_mutex_t lock;
	_Atomic uint32_t *flags; // enum channel_print bits that the guest sees; may be NULL
	uint32_t bit;		 // the one of them that says that text is here
	size_t start, used;
	uint64_t lost; // bytes that found no room since the last print_lost
	char text[VGPU_MAX_PRINT_BYTES];
};

void print_init(struct print_buffer *p, _Atomic uint32_t *flags, uint32_t bit);

// A backend's thread has text (backend_env.print; opaque is the buffer). What does not fit is counted and
// lost.
void print_put(void *opaque, const char *text, size_t length);

// Moves up to room bytes out, oldest first; returns how many.
size_t print_take(struct print_buffer *p, char *ret, size_t room);

// How many bytes found no room since this was asked last.
uint64_t print_lost(struct print_buffer *p);

// Whether kernels of the image may print: it names the function that does, or is packed so that one cannot
// see.
bool print_in_image(const void *image, size_t bytes);

#endif
