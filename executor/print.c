// SPDX-License-Identifier: Apache-2.0
// The buffer between kernels that print and the guest that takes their text; see the header. Also the handler
// of print_take.
#include "executor/print.h"

#include <string.h>

#include "executor/executor.h"
#include "protocol/cuda/cuda_abi.h"

void print_init(struct print_buffer *p, _Atomic uint32_t *flags, uint32_t bit)
{
	pthread_mutex_init(&p->lock, NULL);
	p->flags = flags;
	p->bit = bit;
	p->start = 0;
	p->used = 0;
	p->lost = 0;
}

void print_put(void *opaque, const char *text, size_t length)
{
	struct print_buffer *p = opaque;
	size_t room, fits;

	pthread_mutex_lock(&p->lock);
	if (p->start + p->used + length > sizeof(p->text) && p->start) {
		memmove(p->text, p->text + p->start, p->used);
		p->start = 0;
	}
	room = sizeof(p->text) - p->start - p->used;
	fits = length < room ? length : room;
	memcpy(p->text + p->start + p->used, text, fits);
	p->used += fits;
	p->lost += length - fits;
	// Before the value that the guest waits for is stored: that comes when the kernel is done.
	if (p->flags && length)
		atomic_fetch_or_explicit(p->flags, p->bit, memory_order_release);
	pthread_mutex_unlock(&p->lock);
}

size_t print_take(struct print_buffer *p, char *ret, size_t room)
{
	size_t n;

	pthread_mutex_lock(&p->lock);
	n = p->used < room ? p->used : room;
	memcpy(ret, p->text + p->start, n);
	p->start += n;
	p->used -= n;
	if (!p->used) {
		p->start = 0;
		if (p->flags)
			atomic_fetch_and_explicit(p->flags, ~p->bit, memory_order_release);
	}
	pthread_mutex_unlock(&p->lock);
	return n;
}

uint64_t print_lost(struct print_buffer *p)
{
	uint64_t lost;

	pthread_mutex_lock(&p->lock);
	lost = p->lost;
	p->lost = 0;
	pthread_mutex_unlock(&p->lock);
	return lost;
}

// Text and machine code name vprintf in their symbols, and LZ4 leaves a name's first appearance readable.
// zstd does not, and asking for every zstd image would cost each wait of every PyTorch program a round trip:
// kernels of such images print nothing (docs/limits.md).
bool print_in_image(const void *image, size_t bytes)
{
	return memmem(image, bytes, "vprintf", strlen("vprintf"));
}

int32_t on_print_take(struct executor *x, const struct record_print_take *r, struct reply_print_take *ret,
		      struct reply_tail *ret_tail)
{
	size_t room = ret_tail->room < CHANNEL_PRINT_BYTES ? ret_tail->room : CHANNEL_PRINT_BYTES;

	struct print_buffer *from = r->what == PRINT_KIND_COMPLAINTS ? &x->complaints : &x->print;

	if (from == &x->print && x->ops->print_flush && x->active && !x->sticky)
		x->ops->print_flush(x->backend);
	ret_tail->bytes = (uint32_t)print_take(from, (char *)ret_tail->data, room);
	ret->lost = print_lost(from);
	if (from == &x->print && ret_tail->bytes)
		executor_used(x, UINT64_C(1) << FEATURE_PRINTF);
	return CUDA_SUCCESS;
}
