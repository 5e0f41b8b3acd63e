// SPDX-License-Identifier: Apache-2.0
// Streams. Each counts the records pushed to it; a fence record asks the executor to store a number in the
// stream's slot when all before it is done, so queries and waits need no call. All streams are non-blocking
// ones: there is no stream that waits for all others. Runs in the program, in any of its threads.
#include <errno.h>

#include "common/clock.h"
#include "guest/client/calls_gen.h"
#include "guest/libvgpu/libvgpu.h"

#define LOOK_NS	     100000000ull // a wait looks for errors of calls without reply this often
#define NON_BLOCKING 1u

// ---- slots

struct wanted {
	const struct vgpu_client *client;
	size_t slot_offset;
};

// A value of the place's last user, coming late, would fall below the new one's: such a place rests.
static bool is_free(const void *object, const void *arg)
{
	const struct wanted *w = arg;
	const struct lv_slot *slot =
	    (const struct lv_slot *)(const void *)((const char *)object + w->slot_offset);

	return !slot->has || vgpu_slot_read(w->client, slot->number) >= slot->value;
}

int lv_object_new(struct vgpu *gpu, struct vgpu_objects *t, size_t slot_offset, void **ret)
{
	const struct wanted wanted = { gpu->client, slot_offset };
	void *object = vgpu_object_new_if(t, is_free, &wanted);
	struct lv_slot *slot;

	if (!object)
		return VGPU_E_LIMIT;
	slot = (struct lv_slot *)(void *)((char *)object + slot_offset);
	if (!slot->has) {
		slot->number = vgpu_slot_get(gpu->client);
		slot->has = slot->number != UINT32_MAX;
	}
	if (!slot->has) {
		vgpu_object_free(t, object);
		return VGPU_E_LIMIT;
	}
	*ret = object;
	return VGPU_OK;
}

int lv_slot_wait(struct vgpu *gpu, const struct vgpu_slot_value *list, size_t n, uint64_t timeout_ns,
		 size_t *ret_which)
{
	uint64_t start = clock_now_ns();
	int result;

	do {
		uint64_t waited = clock_now_ns() - start, slice;

		slice = waited >= timeout_ns ? 0 : timeout_ns - waited;
		result =
		    vgpu_slot_wait_any(gpu->client, list, n, slice < LOOK_NS ? slice : LOOK_NS, ret_which);
		if (result != -ETIMEDOUT)
			break;
		result = vgpu_client_deferred(gpu->client);
		if (result)
			break;
		result = -ETIMEDOUT;
	} while (timeout_ns == VGPU_FOREVER || clock_now_ns() - start < timeout_ns);
	return lv_error(result);
}

// ---- what other files need of streams

int lv_enter_stream(struct vgpu *gpu, struct vgpu_stream *stream, struct lv_stream **ret)
{
	int result = lv_enter(gpu);

	if (result)
		return result;
	*ret = stream ? vgpu_object_find(&gpu->streams, (uintptr_t)stream) : gpu->first;
	return *ret ? VGPU_OK : VGPU_E_HANDLE;
}

int lv_stream_fence(struct vgpu *gpu, struct lv_stream *s, uint64_t *value)
{
	uint64_t position;
	int result = VGPU_OK;

	pthread_mutex_lock(&s->lock);
	position = atomic_load_explicit(&s->submitted, memory_order_acquire);
	if (s->covered != position) {
		struct record_fence record = { .stream = vgpu_object_handle(&gpu->streams, s),
					       .value = s->slot.value + 1,
					       .slot = s->slot.number };

		result = lv_error(vgpu_push_fence(gpu->client, &record));
		if (!result) {
			s->slot.value++;
			s->covered = position;
		}
	}
	*value = s->slot.value;
	pthread_mutex_unlock(&s->lock);
	return result;
}

int lv_stream_wait(struct vgpu *gpu, struct lv_stream *s, uint64_t value, uint64_t timeout_ns)
{
	const struct vgpu_slot_value wanted = { value, s->slot.number };
	size_t which;
	int result = lv_slot_wait(gpu, &wanted, 1, timeout_ns, &which);

	if (!result)
		result = lv_enter(gpu); // a fault of the work that was waited for
	return result ? result : lv_deferred(gpu);
}

int lv_stream_end(struct vgpu *gpu, struct lv_stream *s, uint32_t flags)
{
	uint64_t value;
	int result;

	if (!(flags & VGPU_WAIT))
		return VGPU_OK;
	result = lv_stream_fence(gpu, s, &value);
	return result ? result : lv_stream_wait(gpu, s, value, VGPU_FOREVER);
}

int lv_stream_make(struct vgpu *gpu, int priority, struct lv_stream **ret)
{
	struct record_stream_create record = { .flags = NON_BLOCKING, .priority = priority };
	struct lv_stream *s;
	void *object;
	int result = lv_object_new(gpu, &gpu->streams, offsetof(struct lv_stream, slot), &object);

	if (result)
		return result;
	s = object;
	atomic_store(&s->submitted, 0);
	s->covered = 0;
	record.stream = vgpu_object_handle(&gpu->streams, s);
	result = lv_error(vgpu_push_stream_create(gpu->client, &record));
	if (result) {
		vgpu_object_free(&gpu->streams, s);
		return result;
	}
	vgpu_object_publish(&gpu->streams, s);
	*ret = s;
	return VGPU_OK;
}

// ---- vgpu.h

LV_EXPORT int vgpu_stream_new(struct vgpu *gpu, int priority, struct vgpu_stream **ret)
{
	int result = lv_enter(gpu);
	struct lv_stream *s;

	if (result)
		return result;
	if (!ret)
		return VGPU_E_ARGUMENT;
	if (priority > gpu->info.priority_least)
		priority = gpu->info.priority_least;
	if (priority < gpu->info.priority_greatest)
		priority = gpu->info.priority_greatest;
	result = lv_stream_make(gpu, priority, &s);
	if (!result)
		*ret = (struct vgpu_stream *)(uintptr_t)vgpu_object_handle(&gpu->streams, s);
	return result;
}

LV_EXPORT int vgpu_stream_free(struct vgpu *gpu, struct vgpu_stream *stream)
{
	struct record_stream_destroy record = { .stream = (uintptr_t)stream };
	struct lv_stream *s;
	uint64_t value;
	int result = lv_enter_stream(gpu, stream, &s);

	if (result)
		return result;
	if (!stream || !vgpu_object_claim(s, record.stream))
		return VGPU_E_HANDLE;
	lv_stream_fence(gpu, s, &value); // the place's next user waits for it
	result = lv_error(vgpu_push_stream_destroy(gpu->client, &record));
	vgpu_object_free(&gpu->streams, s);
	return result;
}

LV_EXPORT int vgpu_stream_wait(struct vgpu *gpu, struct vgpu_stream *stream, uint64_t timeout_ns)
{
	struct lv_stream *s;
	uint64_t value;
	int result = lv_enter_stream(gpu, stream, &s);

	if (!result)
		result = lv_stream_fence(gpu, s, &value);
	return result ? result : lv_stream_wait(gpu, s, value, timeout_ns);
}

LV_EXPORT int vgpu_stream_query(struct vgpu *gpu, struct vgpu_stream *stream)
{
	struct lv_stream *s;
	uint64_t value;
	int result = lv_enter_stream(gpu, stream, &s);

	if (!result)
		result = lv_stream_fence(gpu, s, &value);
	if (result)
		return result;
	if (vgpu_slot_read(gpu->client, s->slot.number) < value) {
		result = lv_error(vgpu_client_look(gpu->client));
		if (!result)
			result = lv_deferred(gpu);
		return result ? result : VGPU_E_NOT_READY;
	}
	return lv_deferred(gpu);
}

LV_EXPORT int vgpu_stream_after(struct vgpu *gpu, struct vgpu_stream *stream, struct vgpu_fence *fence)
{
	struct record_stream_wait_event record = { .event = (uintptr_t)fence };
	struct lv_stream *s;
	int result = lv_enter_stream(gpu, stream, &s);

	if (result)
		return result;
	if (!vgpu_object_find(&gpu->fences, record.event))
		return VGPU_E_HANDLE;
	record.stream = vgpu_object_handle(&gpu->streams, s);
	result = lv_error(vgpu_push_stream_wait_event(gpu->client, &record));
	if (!result)
		lv_submitted(s);
	return result;
}
