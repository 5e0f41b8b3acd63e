// SPDX-License-Identifier: Apache-2.0
// Copies, writes and sets: every address is checked to lie entirely inside live device memory or a registered
// host range, or inside an array, before the backend sees it. Handlers of copy, copy_array, write, set.
#include <string.h>

#include "executor/executor.h"
#include "executor/objects.h"
#include "executor/work.h"
#include "protocol/cuda/cuda_abi.h"

bool box_span(uint64_t width, uint64_t height, uint64_t depth, uint64_t pitch, uint64_t slice, uint64_t *ret)
{
	uint64_t plane = width, last;

	if (!width || !height || !depth)
		return false;
	if (height > 1) {
		if (pitch < width || __builtin_mul_overflow(pitch, height - 1, &last) ||
		    __builtin_add_overflow(last, width, &plane))
			return false;
	}
	*ret = plane;
	if (depth == 1)
		return true;
	return slice >= plane && !__builtin_mul_overflow(slice, depth - 1, &last) &&
	       !__builtin_add_overflow(last, plane, ret);
}

bool space_contains(const struct executor *x, uint32_t space, uint64_t address, uint64_t bytes,
		    enum vm_access access)
{
	return space == MEMORY_SPACE_DEVICE ? memory_contains(&x->memory, address, bytes, access)
					    : hostmem_contains(&x->hostmem, address, bytes);
}

// ---- host memory in neighbouring registrations: the driver refuses a transfer across their border

static uint64_t run_of(const struct executor *x, uint64_t address, bool device)
{
	return device ? UINT64_MAX : hostmem_run(&x->hostmem, address);
}

static bool in_one_piece(const struct executor *x, const struct backend_copy *c, uint64_t dst_bytes,
			 uint64_t src_bytes)
{
	return run_of(x, c->dst, c->dst_device) >= dst_bytes && run_of(x, c->src, c->src_device) >= src_bytes;
}

static int32_t copy_row(struct executor *x, struct backend_copy c, struct backend_stream *s)
{
	uint64_t left = c.width;
	int32_t result = CUDA_SUCCESS;

	for (; left && !result; left -= c.width, c.dst += c.width, c.src += c.width, c.dst_at[0] += c.width,
				c.src_at[0] += c.width) {
		uint64_t dst = run_of(x, c.dst, c.dst_device), src = run_of(x, c.src, c.src_device);

		c.width = left < dst ? left : dst;
		c.width = c.width < src ? c.width : src;
		result = x->ops->copy(x->backend, &c, s);
	}
	return result;
}

static int32_t copy_in_pieces(struct executor *x, const struct backend_copy *c, struct backend_stream *s)
{
	struct backend_copy row = *c;
	int32_t result = CUDA_SUCCESS;

	row.height = row.depth = 1;
	for (uint64_t z = 0; z < c->depth && !result; z++)
		for (uint64_t y = 0; y < c->height && !result; y++) {
			row.dst = c->dst + z * c->dst_slice + y * c->dst_pitch;
			row.src = c->src + z * c->src_slice + y * c->src_pitch;
			row.dst_at[1] = c->dst_at[1] + y;
			row.src_at[1] = c->src_at[1] + y;
			row.dst_at[2] = c->dst_at[2] + z;
			row.src_at[2] = c->src_at[2] + z;
			result = copy_row(x, row, s);
		}
	return result;
}

static void submitted(struct executor *x, uint32_t lane, unsigned kind, uint64_t bytes)
{
	uint64_t key = predict_copy_key(kind, bytes);

	if (lane == TRACK_NOWHERE)
		x->collected.copy_bytes += bytes;
	else
		counter_add(&x->turn->copy_bytes, bytes);
	track_after(x, lane, key, predict_ns(&x->predict, key, predict_copy_guess_ns(bytes)));
}

int32_t on_copy(struct executor *x, const struct record_copy *r, struct stream *stream)
{
	uint32_t lane = work_lane(stream);
	int32_t result = executor_ready(x);
	uint64_t dst_bytes, src_bytes;
	struct backend_copy c;

	if (result)
		return result;
	if (!r->width || !r->height || !r->depth)
		return CUDA_SUCCESS;
	if (!box_span(r->width, r->height, r->depth, r->dst_pitch, r->dst_slice, &dst_bytes) ||
	    !box_span(r->width, r->height, r->depth, r->src_pitch, r->src_slice, &src_bytes) ||
	    !space_contains(x, r->dst_space, r->dst, dst_bytes, VM_ACCESS_READ_WRITE) ||
	    !space_contains(x, r->src_space, r->src, src_bytes, VM_ACCESS_READ))
		return CUDA_ERROR_INVALID_VALUE;
	c = (struct backend_copy){
		.dst = r->dst,
		.src = r->src,
		.width = r->width,
		.height = r->height,
		.depth = r->depth,
		.dst_pitch = r->dst_pitch,
		.src_pitch = r->src_pitch,
		.dst_slice = r->dst_slice,
		.src_slice = r->src_slice,
		.dst_device = r->dst_space == MEMORY_SPACE_DEVICE,
		.src_device = r->src_space == MEMORY_SPACE_DEVICE,
	};
	track_before(x, lane);
	result = in_one_piece(x, &c, dst_bytes, src_bytes) ? x->ops->copy(x->backend, &c, work_stream(stream))
							   : copy_in_pieces(x, &c, work_stream(stream));
	// Rows and slices do not overlap, so the product is below the span.
	if (!result)
		submitted(x, lane, (unsigned)c.dst_device << 1 | c.src_device,
			  r->width * r->height * r->depth);
	return result;
}

// ---- arrays

static bool at_origin(const uint64_t at[3])
{
	return !at[0] && !at[1] && !at[2];
}

// One side of the copy: the array's box, or memory with *ret_bytes from the first to the last byte.
static bool side_valid(const struct executor *x, const struct record_copy_array *r, const struct array *a,
		       bool dst, uint64_t *ret_bytes)
{
	const uint64_t *at = dst ? r->dst_at : r->src_at;
	uint64_t address = dst ? r->dst : r->src, pitch = dst ? r->dst_pitch : r->src_pitch,
		 slice = dst ? r->dst_slice : r->src_slice;
	uint32_t space = dst ? r->dst_space : r->src_space;

	*ret_bytes = 0;
	if (a)
		return !address && !pitch && !slice && space == MEMORY_SPACE_DEVICE &&
		       array_holds(&a->shape, at, r->width, r->height, r->depth);
	return at_origin(at) && box_span(r->width, r->height, r->depth, pitch, slice, ret_bytes) &&
	       space_contains(x, space, address, *ret_bytes, dst ? VM_ACCESS_READ_WRITE : VM_ACCESS_READ);
}

// Arrays whose elements differ in size cannot be copied into each other.
static bool arrays_match(const struct array *dst, const struct array *src)
{
	return !dst || !src ||
	       array_element_bytes(dst->shape.format, dst->shape.channels) ==
		   array_element_bytes(src->shape.format, src->shape.channels);
}

int32_t on_copy_array(struct executor *x, const struct record_copy_array *r, struct stream *stream,
		      struct array *dst, struct array *src)
{
	uint32_t lane = work_lane(stream);
	int32_t result = executor_ready(x);
	uint64_t dst_bytes, src_bytes, bytes;
	struct backend_copy c;

	if (result)
		return result;
	if (!r->width || !r->height || !r->depth)
		return CUDA_SUCCESS;
	if ((!dst && !src) || !arrays_match(dst, src) || !side_valid(x, r, dst, true, &dst_bytes) ||
	    !side_valid(x, r, src, false, &src_bytes) ||
	    __builtin_mul_overflow(r->width, r->height, &bytes) ||
	    __builtin_mul_overflow(bytes, r->depth, &bytes))
		return CUDA_ERROR_INVALID_VALUE;
	c = (struct backend_copy){
		.dst = r->dst,
		.src = r->src,
		.width = r->width,
		.height = r->height,
		.depth = r->depth,
		.dst_pitch = r->dst_pitch,
		.src_pitch = r->src_pitch,
		.dst_slice = r->dst_slice,
		.src_slice = r->src_slice,
		.dst_device = r->dst_space == MEMORY_SPACE_DEVICE,
		.src_device = r->src_space == MEMORY_SPACE_DEVICE,
		.dst_array = dst ? dst->backend : NULL,
		.src_array = src ? src->backend : NULL,
	};
	memcpy(c.dst_at, r->dst_at, sizeof(c.dst_at));
	memcpy(c.src_at, r->src_at, sizeof(c.src_at));
	track_before(x, lane);
	result = in_one_piece(x, &c, dst_bytes, src_bytes) ? x->ops->copy(x->backend, &c, work_stream(stream))
							   : copy_in_pieces(x, &c, work_stream(stream));
	if (!result)
		submitted(x, lane, 6, bytes);
	return result;
}

int32_t on_write(struct executor *x, const struct record_write *r, struct stream *stream, const uint8_t *tail,
		 uint32_t tail_bytes)
{
	uint32_t lane = work_lane(stream);
	int32_t result = executor_ready(x);

	if (result)
		return result;
	if (!space_contains(x, r->dst_space, r->dst, tail_bytes, VM_ACCESS_READ_WRITE))
		return CUDA_ERROR_INVALID_VALUE;
	track_before(x, lane);
	result = x->ops->write(x->backend, r->dst, r->dst_space == MEMORY_SPACE_DEVICE, tail, tail_bytes,
			       work_stream(stream));
	if (!result)
		submitted(x, lane, 4, tail_bytes);
	return result;
}

int32_t on_set(struct executor *x, const struct record_set *r, struct stream *stream)
{
	uint32_t lane = work_lane(stream);
	int32_t result = executor_ready(x);
	struct backend_set s;
	uint64_t row, span;

	if (result)
		return result;
	if (r->element == 3 || r->dst % r->element)
		return CUDA_ERROR_INVALID_VALUE;
	if (!r->width || !r->height)
		return CUDA_SUCCESS;
	if (__builtin_mul_overflow(r->width, (uint64_t)r->element, &row) ||
	    (r->height > 1 && r->pitch % r->element) || !box_span(row, r->height, 1, r->pitch, 0, &span) ||
	    !space_contains(x, r->dst_space, r->dst, span, VM_ACCESS_READ_WRITE))
		return CUDA_ERROR_INVALID_VALUE;
	s = (struct backend_set){
		.dst = r->dst,
		.width = r->width,
		.height = r->height,
		.pitch = r->pitch,
		.value = r->value,
		.element = r->element,
		.dst_device = r->dst_space == MEMORY_SPACE_DEVICE,
	};
	track_before(x, lane);
	result = x->ops->set(x->backend, &s, work_stream(stream));
	if (!result)
		submitted(x, lane, 5, row * r->height);
	return result;
}
