// SPDX-License-Identifier: Apache-2.0
// The device, its one context, and the records about them: ping, device_info, context_*, limit_set, mem_*,
// host_*. Also what happens when the context fails or is given up.
#include <string.h>

#include "common/log.h"
#include "executor/executor.h"
#include "executor/objects.h"
#include "protocol/cuda/cuda_abi.h"

int32_t executor_ready(const struct executor *x)
{
	if (x->sticky)
		return x->sticky;
	return x->active ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

void executor_fail(struct executor *x, int32_t result)
{
	if (x->sticky)
		return;
	log_info("the context failed with CUDA error %d", result);
	x->sticky = result;
	atomic_store_explicit(&x->header->sticky_error, (uint32_t)result, memory_order_release);
	counter_add(&x->turn->faults, 1);
	track_reset(x);
	watches_drop(x);
	x->stored = true;
}

void executor_defer(struct executor *x, int32_t result)
{
	uint32_t none = 0;

	counter_add(&x->turn->faults, 1);
	if (!x->sticky)
		atomic_compare_exchange_strong_explicit(&x->header->deferred_error, &none, (uint32_t)result,
							memory_order_release, memory_order_relaxed);
}

int32_t on_ping(struct executor *x, const struct record_ping *r, struct reply_ping *ret)
{
	(void)x;
	ret->value = r->value;
	return CUDA_SUCCESS;
}

int32_t on_device_info(struct executor *x, const struct record_device_info *r, struct reply_device_info *ret)
{
	uint64_t quota = atomic_load_explicit(&x->tenant->memory_quota, memory_order_relaxed);
	int result = x->ops->device_info(x->backend, ret);

	(void)r;
	if (!result && quota && quota < ret->total_memory)
		ret->total_memory = quota;
	return result;
}

// The private words, the fence page and the arena are memory that the device stores to or copies from.
static int32_t register_shared(struct executor *x)
{
	const struct link_geometry *g = &x->assign.geometry;
	int32_t r = x->ops->host_register(x->backend, (uintptr_t)x->track.words, x->track.words_bytes);

	if (r)
		return r;
	r = x->ops->host_register(x->backend, (uintptr_t)x->fences,
				  (uint64_t)g->fence_slots * sizeof(uint64_t));
	if (!r) {
		r = hostmem_add_arena(&x->hostmem);
		if (!r)
			return CUDA_SUCCESS;
		x->ops->host_unregister(x->backend, (uintptr_t)x->fences);
	}
	x->ops->host_unregister(x->backend, (uintptr_t)x->track.words);
	return r;
}

static uint64_t resident_threads(const struct executor *x)
{
	struct reply_device_info info = { 0 };

	if (x->ops->device_info(x->backend, &info))
		return 0;
	return (uint64_t)(uint32_t)info.attributes[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT] *
	       (uint32_t)info.attributes[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR];
}

int32_t on_context_activate(struct executor *x, const struct record_context_activate *r,
			    struct reply_context_activate *ret)
{
	int32_t result;

	if (x->sticky)
		return x->sticky;
	if (!x->active) {
		memset(&x->activation, 0, sizeof(x->activation));
		result = x->ops->activate(x->backend, r->flags, &x->activation);
		if (result)
			return result;
		result = register_shared(x);
		if (result) {
			x->ops->deactivate(x->backend);
			return result;
		}
		x->active = true;
		static_assert(sizeof(x->first_limits) == sizeof(x->activation.limits), "the same limits");
		memcpy(x->first_limits, x->activation.limits, sizeof(x->first_limits));
		x->resident_threads = resident_threads(x);
	}
	*ret = x->activation;
	return CUDA_SUCCESS;
}

int32_t on_context_reset(struct executor *x, const struct record_context_reset *r)
{
	(void)r;
	if (!x->active)
		return CUDA_SUCCESS;
	if (!track_idle(&x->track))
		return RESULT_AGAIN;
	executor_reset(x);
	return CUDA_SUCCESS;
}

// Device memory that the context takes for a limit's value: buffers for prints and for the kernels' heap, and
// a stack for each thread that the device can have at once.
static uint64_t limit_bytes(const struct executor *x, uint32_t limit, uint64_t value)
{
	uint64_t bytes;

	switch (limit) {
	case CU_LIMIT_PRINTF_FIFO_SIZE:
	case CU_LIMIT_MALLOC_HEAP_SIZE: return value;
	case CU_LIMIT_STACK_SIZE:
		return __builtin_mul_overflow(value, x->resident_threads, &bytes) ? UINT64_MAX : bytes;
	default: return 0;
	}
}

// What the context has from its beginning is nobody's; what a program asks for beyond it is its tenant's.
static uint64_t limit_excess(const struct executor *x, uint32_t limit, uint64_t value)
{
	uint64_t bytes = limit_bytes(x, limit, value), first = limit_bytes(x, limit, x->first_limits[limit]);

	return bytes > first ? bytes - first : 0;
}

static int32_t set_limit(struct executor *x, uint32_t limit, uint64_t value, uint64_t *ret)
{
	uint64_t held = x->limit_charged[limit], want = limit_excess(x, limit, value), now;
	int32_t result;

	if (want > held) {
		if (!memory_charge(&x->memory, want - held))
			return CUDA_ERROR_OUT_OF_MEMORY;
		held = want;
	}
	result = x->ops->limit_set(x->backend, limit, value, ret);
	now = result ? x->limit_charged[limit] : limit_excess(x, limit, *ret); // drivers round, or refuse
	if (now > held && !memory_charge(&x->memory, now - held))
		now = held;
	if (now < held)
		memory_uncharge(&x->memory, held - now);
	x->limit_charged[limit] = now;
	return result;
}

void limits_forget(struct executor *x)
{
	for (unsigned i = 0; i < EXECUTOR_LIMITS; i++) {
		memory_uncharge(&x->memory, x->limit_charged[i]);
		x->limit_charged[i] = 0;
	}
}

int32_t on_limit_set(struct executor *x, const struct record_limit_set *r, struct reply_limit_set *ret)
{
	int32_t result = executor_ready(x);

	if (result)
		return result;
	if (r->limit >= EXECUTOR_LIMITS)
		return CUDA_ERROR_INVALID_VALUE;
	result = set_limit(x, r->limit, r->value, &ret->value);
	if (!result)
		x->activation.limits[r->limit] = ret->value;
	return result;
}

int32_t on_mem_info(struct executor *x, const struct record_mem_info *r, struct reply_mem_info *ret)
{
	int32_t result = executor_ready(x);

	(void)r;
	return result ? result : memory_info(&x->memory, &ret->free, &ret->total);
}

int32_t on_mem_alloc(struct executor *x, const struct record_mem_alloc *r, struct reply_mem_alloc *ret)
{
	int32_t result = executor_ready(x);

	if (!result)
		result = park_room(x, memory_alloc(&x->memory, r->size, &ret->address, &ret->charged));
	return result;
}

int32_t on_mem_free(struct executor *x, const struct record_mem_free *r)
{
	int32_t result = executor_ready(x);

	if (result)
		return result;
	if (!memory_is_base(&x->memory, r->address))
		return CUDA_ERROR_INVALID_VALUE;
	if (!track_idle(&x->track))
		return RESULT_AGAIN;
	x->gone++;
	return memory_free(&x->memory, r->address);
}

int32_t on_host_register(struct executor *x, const struct record_host_register *r)
{
	int32_t result = executor_ready(x);

	if (!result)
		result = hostmem_register(&x->hostmem, r->address, r->size, r->offset);
	if (!result && r->address - x->assign.geometry.host_window_base >= VGPU_WINDOW_BYTES)
		executor_used(x, UINT64_C(1) << FEATURE_REGISTERED_MEMORY);
	return result;
}

int32_t on_host_unregister(struct executor *x, const struct record_host_unregister *r)
{
	int32_t result = executor_ready(x);

	if (result)
		return result;
	if (!hostmem_is_base(&x->hostmem, r->address))
		return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
	if (!track_idle(&x->track))
		return RESULT_AGAIN;
	x->gone++;
	return hostmem_unregister(&x->hostmem, r->address);
}
