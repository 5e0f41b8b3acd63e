// SPDX-License-Identifier: Apache-2.0
// Fences: events of the executor. Who asks for one has the executor watch its last record, which stores a
// number in the fence's slot when it is complete. Runs in the program, in any of its threads.
#include <string.h>

#include "guest/client/calls_gen.h"
#include "guest/libvgpu/libvgpu.h"

#define MAX_WAIT_ANY 1024

static int enter_fence(struct vgpu *gpu, struct vgpu_fence *fence, struct lv_fence **ret)
{
	int result = lv_enter(gpu);

	if (result)
		return result;
	*ret = vgpu_object_find(&gpu->fences, (uintptr_t)fence);
	return *ret ? VGPU_OK : VGPU_E_HANDLE;
}

LV_EXPORT int vgpu_fence_new(struct vgpu *gpu, struct vgpu_fence **ret)
{
	struct record_event_create record = { .flags = 0 };
	int result = lv_enter(gpu);
	struct lv_fence *f;
	void *object;

	if (result)
		return result;
	if (!ret)
		return VGPU_E_ARGUMENT;
	result = lv_object_new(gpu, &gpu->fences, offsetof(struct lv_fence, slot), &object);
	if (result)
		return result;
	f = object;
	f->recorded = f->watched = 0;
	record.event = vgpu_object_handle(&gpu->fences, f);
	result = lv_error(vgpu_push_event_create(gpu->client, &record));
	if (result) {
		vgpu_object_free(&gpu->fences, f);
		return result;
	}
	vgpu_object_publish(&gpu->fences, f);
	*ret = (struct vgpu_fence *)(uintptr_t)record.event;
	return VGPU_OK;
}

LV_EXPORT int vgpu_fence_free(struct vgpu *gpu, struct vgpu_fence *fence)
{
	struct record_event_destroy record = { .event = (uintptr_t)fence };
	struct lv_fence *f;
	int result = enter_fence(gpu, fence, &f);

	if (result)
		return result;
	if (!vgpu_object_claim(f, record.event))
		return VGPU_E_HANDLE;
	result = lv_error(vgpu_push_event_destroy(gpu->client, &record));
	vgpu_object_free(&gpu->fences, f);
	return result;
}

LV_EXPORT int vgpu_fence_record(struct vgpu *gpu, struct vgpu_fence *fence, struct vgpu_stream *stream)
{
	struct record_event_record record = { .event = (uintptr_t)fence };
	struct lv_stream *s;
	struct lv_fence *f;
	int result = enter_fence(gpu, fence, &f);

	if (!result)
		result = lv_enter_stream(gpu, stream, &s);
	if (result)
		return result;
	record.stream = vgpu_object_handle(&gpu->streams, s);
	pthread_mutex_lock(&f->lock);
	result = lv_error(vgpu_push_event_record(gpu->client, &record));
	if (!result)
		f->recorded++;
	pthread_mutex_unlock(&f->lock);
	if (!result)
		lv_submitted(s);
	return result;
}

// Makes sure that the executor watches the last record; *ret is what to wait for.
static int watch(struct vgpu *gpu, struct lv_fence *f, struct vgpu_slot_value *ret)
{
	int result = VGPU_OK;

	pthread_mutex_lock(&f->lock);
	if (f->watched != f->recorded) {
		struct record_event_watch record = { .event = vgpu_object_handle(&gpu->fences, f),
						     .value = f->slot.value + 1,
						     .slot = f->slot.number };

		result = lv_error(vgpu_push_event_watch(gpu->client, &record));
		if (!result) {
			f->slot.value++;
			f->watched = f->recorded;
		}
	}
	*ret = (struct vgpu_slot_value){ f->slot.value, f->slot.number };
	pthread_mutex_unlock(&f->lock);
	return result;
}

LV_EXPORT int vgpu_fence_query(struct vgpu *gpu, struct vgpu_fence *fence)
{
	struct vgpu_slot_value wanted;
	struct lv_fence *f;
	int result = enter_fence(gpu, fence, &f);

	if (!result)
		result = watch(gpu, f, &wanted);
	if (result)
		return result;
	if (vgpu_slot_read(gpu->client, wanted.slot) < wanted.value) {
		result = lv_error(vgpu_client_look(gpu->client));
		if (!result)
			result = lv_deferred(gpu);
		return result ? result : VGPU_E_NOT_READY;
	}
	return lv_deferred(gpu);
}

LV_EXPORT int vgpu_fence_wait_any(struct vgpu *gpu, struct vgpu_fence *const *fences, size_t n,
				  uint64_t timeout_ns, size_t *ret_which)
{
	struct vgpu_slot_value list[MAX_WAIT_ANY];
	struct lv_fence *f;
	size_t which = 0;
	int result = lv_enter(gpu);

	if (result)
		return result;
	if (!fences || !n || n > MAX_WAIT_ANY || !ret_which)
		return VGPU_E_ARGUMENT;
	for (size_t i = 0; i < n && !result; i++) {
		result = enter_fence(gpu, fences[i], &f);
		if (!result)
			result = watch(gpu, f, &list[i]);
	}
	if (!result)
		result = lv_slot_wait(gpu, list, n, timeout_ns, &which);
	if (!result)
		result = lv_enter(gpu); // a fault of the work that was waited for
	if (!result)
		result = lv_deferred(gpu);
	if (!result)
		*ret_which = which;
	return result;
}

LV_EXPORT int vgpu_fence_wait(struct vgpu *gpu, struct vgpu_fence *fence, uint64_t timeout_ns)
{
	size_t which;

	return vgpu_fence_wait_any(gpu, &fence, 1, timeout_ns, &which);
}

LV_EXPORT int vgpu_fence_elapsed(struct vgpu *gpu, struct vgpu_fence *from, struct vgpu_fence *to,
				 float *ret_ms)
{
	struct record_event_elapsed record = { .start = (uintptr_t)from, .end = (uintptr_t)to };
	struct reply_event_elapsed reply;
	struct lv_fence *f;
	int result = enter_fence(gpu, from, &f);

	if (!result)
		result = enter_fence(gpu, to, &f);
	if (result)
		return result;
	if (!ret_ms)
		return VGPU_E_ARGUMENT;
	result = lv_error(vgpu_call_event_elapsed(gpu->client, &record, &reply));
	if (!result)
		*ret_ms = reply.milliseconds;
	return result;
}
