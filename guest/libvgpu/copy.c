// SPDX-License-Identifier: Apache-2.0
// Copies and fills. Pinned memory is copied by one record; any other goes through the arena in pieces, small
// writes inside the record itself. Runs in the program, in any of its threads.
#include <string.h>

#include "common/limits.h"
#include "guest/client/calls_gen.h"
#include "guest/libvgpu/libvgpu.h"

#define WRITE_MAX 16384u	       // bytes that travel in a record
#define PIECE	  (VGPU_CHUNK_MAX / 2) // so that filling one piece overlaps the copy of another
#define FETCHES	  3u		       // pieces on their way to the program at once

static int push_copy(struct vgpu *gpu, struct lv_stream *s, uint64_t dst, enum memory_space dst_space,
		     uint64_t src, enum memory_space src_space, uint64_t bytes)
{
	struct record_copy record = { .stream = vgpu_object_handle(&gpu->streams, s),
				      .dst = dst,
				      .src = src,
				      .width = bytes,
				      .height = 1,
				      .depth = 1,
				      .dst_space = dst_space,
				      .src_space = src_space };
	int result = lv_error(vgpu_push_copy(gpu->client, &record));

	if (!result)
		lv_submitted(s);
	return result;
}

static int push_write(struct vgpu *gpu, struct lv_stream *s, uint64_t dst, const void *src, uint32_t bytes)
{
	struct record_write record = { .stream = vgpu_object_handle(&gpu->streams, s),
				       .dst = dst,
				       .size = bytes,
				       .dst_space = MEMORY_SPACE_DEVICE };
	int result = lv_error(vgpu_push_write(gpu->client, &record, src, bytes));

	if (!result)
		lv_submitted(s);
	return result;
}

// Checks that all copies share.
static int enter_copy(struct vgpu *gpu, struct vgpu_stream *stream, uint64_t a, uint64_t b, size_t bytes,
		      uint32_t flags, struct lv_stream **ret)
{
	int result = lv_enter_stream(gpu, stream, ret);

	if (result)
		return result;
	if (flags & ~VGPU_WAIT || (bytes && (!a || !b)) || a + bytes < a || b + bytes < b)
		return VGPU_E_ARGUMENT;
	return VGPU_OK;
}

static int arena_get(struct vgpu *gpu, size_t bytes, struct vgpu_chunk *ret)
{
	return lv_error(vgpu_arena_get(gpu->client, bytes, ret));
}

static int send_piece(struct vgpu *gpu, struct lv_stream *s, uint64_t dst, const char *src, size_t bytes)
{
	struct vgpu_chunk chunk;
	uint64_t value = 0;
	int result;

	if (bytes <= WRITE_MAX)
		return push_write(gpu, s, dst, src, (uint32_t)bytes);
	result = arena_get(gpu, bytes, &chunk);
	if (result)
		return result;
	vgpu_copy_bytes(chunk.address, src, bytes);
	result = push_copy(gpu, s, dst, MEMORY_SPACE_DEVICE,
			   vgpu_client_gpu_address(gpu->client, chunk.address), MEMORY_SPACE_HOST, bytes);
	if (!result)
		result = lv_stream_fence(gpu, s, &value);
	vgpu_arena_put(gpu->client, &chunk, result ? UINT32_MAX : s->slot.number, value);
	return result;
}

LV_EXPORT int vgpu_copy_in(struct vgpu *gpu, struct vgpu_stream *stream, uint64_t dst, const void *src,
			   size_t bytes, uint32_t flags)
{
	struct lv_stream *s;
	int result = enter_copy(gpu, stream, dst, (uintptr_t)src, bytes, flags, &s);

	if (result)
		return result;
	if (bytes && lv_host_contains(gpu, src, bytes)) {
		result = push_copy(gpu, s, dst, MEMORY_SPACE_DEVICE,
				   vgpu_client_gpu_address(gpu->client, src), MEMORY_SPACE_HOST, bytes);
	} else {
		for (size_t at = 0; !result && at < bytes; at += PIECE)
			result = send_piece(gpu, s, dst + at, (const char *)src + at,
					    bytes - at < PIECE ? bytes - at : PIECE);
	}
	return result ? result : lv_stream_end(gpu, s, flags);
}

struct fetch {
	struct vgpu_chunk chunk;
	char *to;
	uint64_t value;
	bool busy;
};

static int fetch_start(struct vgpu *gpu, struct lv_stream *s, char *dst, uint64_t src, size_t bytes,
		       struct fetch *f)
{
	int result = arena_get(gpu, bytes, &f->chunk);

	if (result)
		return result;
	f->to = dst;
	f->busy = true;
	result = push_copy(gpu, s, vgpu_client_gpu_address(gpu->client, f->chunk.address), MEMORY_SPACE_HOST,
			   src, MEMORY_SPACE_DEVICE, bytes);
	return result ? result : lv_stream_fence(gpu, s, &f->value);
}

// The piece reaches the program, unless an earlier one did not. Returns the first error.
static int fetch_finish(struct vgpu *gpu, struct lv_stream *s, struct fetch *f, int result)
{
	if (!f->busy)
		return result;
	if (!result)
		result = lv_stream_wait(gpu, s, f->value, VGPU_FOREVER);
	if (!result)
		vgpu_copy_bytes(f->to, f->chunk.address, f->chunk.bytes);
	vgpu_arena_put(gpu->client, &f->chunk, UINT32_MAX, 0);
	f->busy = false;
	return result;
}

// Several pieces in flight, so that copying one to the program overlaps the next one's way.
static int fetch_all(struct vgpu *gpu, struct lv_stream *s, char *dst, uint64_t src, size_t bytes)
{
	struct fetch fetches[FETCHES] = { 0 };
	unsigned turn = 0;
	int result = VGPU_OK;

	for (size_t at = 0; !result && at < bytes; at += PIECE, turn = (turn + 1) % FETCHES) {
		result = fetch_finish(gpu, s, &fetches[turn], result);
		if (!result)
			result = fetch_start(gpu, s, dst + at, src + at,
					     bytes - at < PIECE ? bytes - at : PIECE, &fetches[turn]);
	}
	for (unsigned i = 0; i < FETCHES; i++, turn = (turn + 1) % FETCHES)
		result = fetch_finish(gpu, s, &fetches[turn], result);
	return result;
}

LV_EXPORT int vgpu_copy_out(struct vgpu *gpu, struct vgpu_stream *stream, void *dst, uint64_t src,
			    size_t bytes, uint32_t flags)
{
	struct lv_stream *s;
	int result = enter_copy(gpu, stream, (uintptr_t)dst, src, bytes, flags, &s);

	if (result)
		return result;
	if (bytes && lv_host_contains(gpu, dst, bytes))
		result = push_copy(gpu, s, vgpu_client_gpu_address(gpu->client, dst), MEMORY_SPACE_HOST, src,
				   MEMORY_SPACE_DEVICE, bytes);
	else
		result = fetch_all(gpu, s, dst, src, bytes);
	return result ? result : lv_stream_end(gpu, s, flags);
}

LV_EXPORT int vgpu_copy(struct vgpu *gpu, struct vgpu_stream *stream, uint64_t dst, uint64_t src,
			size_t bytes, uint32_t flags)
{
	struct lv_stream *s;
	int result = enter_copy(gpu, stream, dst, src, bytes, flags, &s);

	if (!result && bytes)
		result = push_copy(gpu, s, dst, MEMORY_SPACE_DEVICE, src, MEMORY_SPACE_DEVICE, bytes);
	return result ? result : lv_stream_end(gpu, s, flags);
}

LV_EXPORT int vgpu_fill(struct vgpu *gpu, struct vgpu_stream *stream, uint64_t dst, uint32_t value,
			uint32_t element, size_t count, uint32_t flags)
{
	struct record_set record = { .dst = dst,
				     .width = count,
				     .height = 1,
				     .value = value,
				     .element = element,
				     .dst_space = MEMORY_SPACE_DEVICE };
	struct lv_stream *s;
	int result = lv_enter_stream(gpu, stream, &s);
	uint64_t bytes;

	if (result)
		return result;
	if (flags & ~VGPU_WAIT || (element != 1 && element != 2 && element != 4) || dst % element ||
	    __builtin_mul_overflow(count, element, &bytes) || (bytes && !dst) || dst + bytes < dst)
		return VGPU_E_ARGUMENT;
	if (count) {
		record.stream = vgpu_object_handle(&gpu->streams, s);
		record.pitch = bytes;
		result = lv_error(vgpu_push_set(gpu->client, &record));
		if (!result)
			lv_submitted(s);
	}
	return result ? result : lv_stream_end(gpu, s, flags);
}
