// SPDX-License-Identifier: Apache-2.0
// Reply slots and the wake word of the channel; see the header. Called by the loop.
#include "executor/reply.h"

#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/limits.h"
#include "executor/executor.h"

static struct reply_slot *slot_at(struct executor *x, uint16_t slot)
{
	return (struct reply_slot *)(x->channel + x->assign.geometry.reply_offset +
				     (size_t)slot * VGPU_REPLY_SLOT_BYTES);
}

uint8_t *reply_payload(struct executor *x, uint16_t slot)
{
	return slot_at(x, slot)->payload;
}

void reply_send(struct executor *x, uint16_t slot, uint64_t cookie, int32_t result, uint32_t length)
{
	struct reply_slot *s = slot_at(x, slot);

	s->result = result;
	s->length = length;
	atomic_store_explicit(&s->cookie, cookie, memory_order_release);
	x->stored = true;
}

void reply_wake(struct executor *x)
{
	if (!x->stored)
		return;
	x->stored = false;
	// Pairs with the guest's: guest_waiters + 1, then look again at what it waits for.
	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load_explicit(&x->header->guest_waiters, memory_order_relaxed))
		return;
	atomic_fetch_add_explicit(&x->header->wake_word, 1, memory_order_release);
	if (x->guest.is) // the threads sleep in another kernel
		guest_memory_ring(&x->guest);
	else
		syscall(SYS_futex, &x->header->wake_word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
