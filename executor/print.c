// SPDX-License-Identifier: Apache-2.0
// The buffer between kernels that print and whoever will carry their text; see the header.
#include "executor/print.h"

#include <string.h>

#include "common/log.h"

void print_init(struct print_buffer *p)
{
	pthread_mutex_init(&p->lock, NULL);
	p->used = 0;
	p->dropped = 0;
}

void print_put(void *opaque, const char *text, size_t length)
{
	struct print_buffer *p = opaque;
	size_t fits;

	pthread_mutex_lock(&p->lock);
	fits = length < PRINT_BYTES - p->used ? length : PRINT_BYTES - p->used;
	memcpy(p->text + p->used, text, fits);
	p->used += fits;
	p->dropped += length - fits;
	pthread_mutex_unlock(&p->lock);
}

size_t print_take(struct print_buffer *p, char *ret, size_t room)
{
	size_t n;

	pthread_mutex_lock(&p->lock);
	n = p->used < room ? p->used : room;
	memcpy(ret, p->text, n);
	memmove(p->text, p->text + n, p->used - n);
	p->used -= n;
	pthread_mutex_unlock(&p->lock);
	return n;
}

void print_discard(struct print_buffer *p)
{
	size_t n;

	pthread_mutex_lock(&p->lock);
	n = p->used;
	p->used = 0;
	p->dropped += n;
	pthread_mutex_unlock(&p->lock);
	if (n)
		log_debug("dropped %zu bytes of kernel output", n);
}
