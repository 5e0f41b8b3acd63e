// SPDX-License-Identifier: Apache-2.0
// How a guest thread waits: fence values and replies. Spins a while (both sides awake: no system call), then
// sleeps on the channel's wake word in slices, looking at the link in between, so that a dead host ends every
// wait. Runs in the program's threads.
#include <errno.h>

#include "common/clock.h"
#include "guest/client/client_internal.h"

static void wake_own_waiters(struct vgpu_client *c)
{
	atomic_fetch_add(&c->header->wake_word, 1);
	c->transport->wake(c);
}

void client_set_lost(struct vgpu_client *c, int code)
{
	uint32_t no_error = 0;
	int none = 0;

	if (!atomic_compare_exchange_strong(&c->lost, &none, code))
		return;
	// Calls that only look whether the context has failed shall find it as well.
	atomic_compare_exchange_strong(&c->header->sticky_error, &no_error, (uint32_t)code);
	wake_own_waiters(c);
}

int vgpu_client_lost(struct vgpu_client *c)
{
	return atomic_load_explicit(&c->lost, memory_order_relaxed);
}

int vgpu_client_look(struct vgpu_client *c)
{
	uint64_t now = clock_now_ns(), before = atomic_load_explicit(&c->looked_ns, memory_order_relaxed);

	if (now - before >= CLIENT_SLICE_NS &&
	    atomic_compare_exchange_strong_explicit(&c->looked_ns, &before, now, memory_order_relaxed,
						    memory_order_relaxed))
		c->transport->check(c);
	return vgpu_client_lost(c);
}

int vgpu_client_sticky(struct vgpu_client *c)
{
	return (int)atomic_load_explicit(&c->header->sticky_error, memory_order_relaxed);
}

uint32_t vgpu_client_printed(struct vgpu_client *c)
{
	return atomic_load_explicit(&c->header->print, memory_order_acquire);
}

int vgpu_client_deferred(struct vgpu_client *c)
{
	if (!atomic_load_explicit(&c->header->deferred_error, memory_order_relaxed))
		return 0;
	return (int)atomic_exchange(&c->header->deferred_error, 0);
}

uint64_t vgpu_slot_read(const struct vgpu_client *c, uint32_t slot)
{
	return atomic_load_explicit(&c->fences[slot], memory_order_acquire);
}

void vgpu_slot_store(struct vgpu_client *c, uint32_t slot, uint64_t value)
{
	atomic_store_explicit(&c->fences[slot], value, memory_order_release);
	client_ring_doorbell(c); // a backend that waits for the value on the processor may be asleep
}

static bool any_reached(struct vgpu_client *c, const struct vgpu_slot_value *list, size_t n,
			size_t *ret_which)
{
	for (size_t i = 0; i < n; i++) {
		if (vgpu_slot_read(c, list[i].slot) >= list[i].value) {
			*ret_which = i;
			return true;
		}
	}
	return false;
}

// 0: one is reached; -EAGAIN: not yet; else the CUresult that ends the wait.
static int fence_state(struct vgpu_client *c, const struct vgpu_slot_value *list, size_t n, size_t *ret_which)
{
	int code;

	if (any_reached(c, list, n, ret_which))
		return 0;
	code = vgpu_client_lost(c);
	if (!code)
		code = vgpu_client_sticky(c);
	// The error may have been stored after the value that was waited for: the value wins.
	if (code && any_reached(c, list, n, ret_which))
		return 0;
	return code ? code : -EAGAIN;
}

int vgpu_slot_wait_any(struct vgpu_client *c, const struct vgpu_slot_value *list, size_t n,
		       uint64_t timeout_ns, size_t *ret_which)
{
	uint64_t start = clock_now_ns();
	int state;

	while ((state = fence_state(c, list, n, ret_which)) == -EAGAIN) {
		uint64_t now = clock_now_ns();
		uint32_t seen;

		if (timeout_ns != UINT64_MAX && now - start >= timeout_ns)
			return -ETIMEDOUT;
		if (now - start < c->spin_ns) {
			for (int i = 0; i < 32; i++)
				cpu_relax();
			continue;
		}
		atomic_fetch_add(&c->header->guest_waiters, 1);
		client_ring_doorbell(
		    c); // the executor may sleep while the GPU stores the value: it must watch now
		seen = atomic_load(&c->header->wake_word);
		if (fence_state(c, list, n, ret_which) == -EAGAIN)
			c->transport->sleep(c, seen);
		atomic_fetch_sub(&c->header->guest_waiters, 1);
	}
	return state;
}

int vgpu_slot_wait(struct vgpu_client *c, uint32_t slot, uint64_t value, uint64_t timeout_ns)
{
	const struct vgpu_slot_value one = { value, slot };
	size_t which;

	return vgpu_slot_wait_any(c, &one, 1, timeout_ns, &which);
}
