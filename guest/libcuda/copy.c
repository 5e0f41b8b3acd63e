// SPDX-License-Identifier: Apache-2.0
// How bytes move. Memory that the GPU reaches, and arrays, are copied by one record. Pageable memory of the
// program goes through the arena in pieces, small writes travel inside the record. What the program may rely
// on is CUDA's: a pageable source may be reused when the call returns, a pageable destination is filled then.
// Runs in the guest program.
#include <string.h>

#include "guest/client/calls_gen.h"
#include "common/limits.h"
#include "guest/libcuda/graph.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/ranges.h"
#include "guest/libcuda/vmem.h"

#define WRITE_MAX  16384u		// bytes that travel in a record
#define STAGED_MAX (64u << 10)		// a synchronous copy of this much returns once staged
#define PIECE	   (VGPU_CHUNK_MAX / 2) // so that filling one piece overlaps the copy of another
#define FETCHES	   3u			// pieces on their way to the program at once

enum place { PAGEABLE, GPU_DEVICE, GPU_HOST, GPU_ARRAY };

static int on_gpu(enum place place)
{
	return place == GPU_DEVICE || place == GPU_ARRAY;
}

// Bytes from the first to the last one that a side of the copy touches; 0 on overflow.
static uint64_t extent(const struct vc_copy *c, uint64_t pitch, uint64_t slice)
{
	uint64_t rows, slices, sum;

	if (__builtin_mul_overflow(c->height - 1, pitch, &rows) ||
	    __builtin_mul_overflow(c->depth - 1, slice, &slices) ||
	    __builtin_add_overflow(rows, slices, &sum) || __builtin_add_overflow(sum, c->width, &sum))
		return 0;
	return sum;
}

// Where [address, address + bytes) lies. The side is what the program called it; access is what the copy
// needs.
static CUresult locate(uint64_t address, uint64_t bytes, enum vc_side side, int access, enum place *ret)
{
	struct vc_range range;

	if (side == VC_SIDE_ARRAY) { // the box was checked against it
		*ret = GPU_ARRAY;
		return vc_object_find(VC_ARRAY, address) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
	}
	if (!bytes || address + (bytes - 1) < address)
		return CUDA_ERROR_INVALID_VALUE;
	if (!vc_range_find(address, &range) && range.bytes - (address - range.base) >= bytes) {
		*ret = vc_range_is_device(&range) ? GPU_DEVICE : GPU_HOST;
		return vc_range_allows(&range, address, bytes, access) ? CUDA_SUCCESS
								       : CUDA_ERROR_INVALID_VALUE;
	}
	// A range that only begins in known memory, or lies in a window, or is called device memory: refused.
	if (side == VC_SIDE_DEVICE || !address || vgpu_client_in_window(vc_client, address))
		return CUDA_ERROR_INVALID_VALUE;
	*ret = PAGEABLE; // a registered range's bytes may be copied by the processor too
	return CUDA_SUCCESS;
}

static enum memory_space space_of(enum place place)
{
	return on_gpu(place) ? MEMORY_SPACE_DEVICE : MEMORY_SPACE_HOST;
}

static struct record_copy_array array_record_of(uint64_t stream, const struct vc_copy *c, enum place dst,
						enum place src)
{
	struct record_copy_array r = { .stream = stream,
				       .width = c->width,
				       .height = c->height,
				       .depth = c->depth,
				       .dst_space = space_of(dst),
				       .src_space = space_of(src) };

	if (dst == GPU_ARRAY) {
		r.dst_array = c->dst;
		memcpy(r.dst_at, c->dst_at, sizeof(r.dst_at));
	} else {
		r.dst = c->dst;
		r.dst_pitch = c->dst_pitch;
		r.dst_slice = c->dst_slice;
	}
	if (src == GPU_ARRAY) {
		r.src_array = c->src;
		memcpy(r.src_at, c->src_at, sizeof(r.src_at));
	} else {
		r.src = c->src;
		r.src_pitch = c->src_pitch;
		r.src_slice = c->src_slice;
	}
	return r;
}

static struct vc_copy_record record_of(uint64_t stream, const struct vc_copy *c, enum place dst,
				       enum place src)
{
	if (dst == GPU_ARRAY || src == GPU_ARRAY)
		return (struct vc_copy_record){ .opcode = OPCODE_COPY_ARRAY,
						.copy_array = array_record_of(stream, c, dst, src) };
	return (struct vc_copy_record){ .opcode = OPCODE_COPY,
					.copy = {
					    .stream = stream,
					    .dst = c->dst,
					    .src = c->src,
					    .width = c->width,
					    .height = c->height,
					    .depth = c->depth,
					    .dst_pitch = c->dst_pitch,
					    .src_pitch = c->src_pitch,
					    .dst_slice = c->dst_slice,
					    .src_slice = c->src_slice,
					    .dst_space = space_of(dst),
					    .src_space = space_of(src),
					} };
}

static CUresult push_copy(struct vc_stream *s, const struct vc_copy *c, enum place dst, enum place src)
{
	struct vc_copy_record r = record_of(s->handle, c, dst, src);
	CUresult result =
	    (CUresult)(r.opcode == OPCODE_COPY ? vgpu_push_copy(vc_client, &r.copy)
					       : vgpu_push_copy_array(vc_client, &r.copy_array));

	if (!result)
		vc_stream_submitted(s);
	return result;
}

static CUresult push_write(struct vc_stream *s, uint64_t dst, const void *src, uint32_t bytes,
			   enum place place)
{
	struct record_write record = {
		.stream = s->handle, .dst = dst, .size = bytes, .dst_space = space_of(place)
	};
	CUresult result = (CUresult)vgpu_push_write(vc_client, &record, src, bytes);

	if (!result)
		vc_stream_submitted(s);
	return result;
}

// ---- pieces: runs of rows, or parts of a row, that fit the arena at once

struct piece {
	uint64_t slice, row, column; // where it begins in the copy
	uint64_t rows, bytes;	     // rows of bytes each; more than one only if bytes is the whole width
};

// The piece that begins at `at`; 0 when the copy is over.
static int piece_at(const struct vc_copy *c, uint64_t slice, uint64_t row, uint64_t column, struct piece *ret)
{
	if (slice >= c->depth)
		return 0;
	*ret = (struct piece){ .slice = slice, .row = row, .column = column, .rows = 1 };
	if (column || c->width > PIECE) {
		ret->bytes = c->width - column < PIECE ? c->width - column : PIECE;
	} else {
		uint64_t fit = PIECE / c->width;

		ret->bytes = c->width;
		ret->rows = c->height - row < fit ? c->height - row : fit;
	}
	return 1;
}

static int piece_next(const struct vc_copy *c, struct piece *p)
{
	uint64_t slice = p->slice, row = p->row, column = p->column + p->bytes;

	if (column == c->width) {
		column = 0;
		row += p->rows;
	}
	if (row == c->height) {
		row = 0;
		slice++;
	}
	return piece_at(c, slice, row, column, p);
}

static uint64_t dst_of(const struct vc_copy *c, const struct piece *p)
{
	return c->dst + p->slice * c->dst_slice + p->row * c->dst_pitch + p->column;
}

static uint64_t src_of(const struct vc_copy *c, const struct piece *p)
{
	return c->src + p->slice * c->src_slice + p->row * c->src_pitch + p->column;
}

// One side of the copy of a piece.
static void piece_dst(const struct vc_copy *c, const struct piece *p, enum place place, struct vc_copy *part)
{
	part->dst_pitch = p->rows > 1 ? c->dst_pitch : p->bytes;
	part->dst = place == GPU_ARRAY ? c->dst : dst_of(c, p);
	part->dst_at[0] = c->dst_at[0] + p->column;
	part->dst_at[1] = c->dst_at[1] + p->row;
	part->dst_at[2] = c->dst_at[2] + p->slice;
}

static void piece_src(const struct vc_copy *c, const struct piece *p, enum place place, struct vc_copy *part)
{
	part->src_pitch = p->rows > 1 ? c->src_pitch : p->bytes;
	part->src = place == GPU_ARRAY ? c->src : src_of(c, p);
	part->src_at[0] = c->src_at[0] + p->column;
	part->src_at[1] = c->src_at[1] + p->row;
	part->src_at[2] = c->src_at[2] + p->slice;
}

// Packs rows from the program's memory, or unpacks them there.
static void copy_rows(char *dst, uint64_t dst_pitch, const char *src, uint64_t src_pitch,
		      const struct piece *p)
{
	if (p->rows == 1 || (dst_pitch == p->bytes && src_pitch == p->bytes)) {
		vgpu_copy_bytes(dst, src, p->rows * p->bytes);
		return;
	}
	for (uint64_t i = 0; i < p->rows; i++)
		memcpy(dst + i * dst_pitch, src + i * src_pitch, p->bytes);
}

// ---- pageable source

static CUresult stage_piece(struct vc_stream *s, const struct vc_copy *c, const struct piece *p,
			    enum place dst)
{
	const char *src = (const char *)(uintptr_t)src_of(c, p);
	struct vgpu_chunk chunk;
	struct vc_copy part;
	uint64_t value = 0;
	CUresult result;
	int r;

	if (dst != GPU_ARRAY && p->rows == 1 && p->bytes <= WRITE_MAX)
		return push_write(s, dst_of(c, p), src, (uint32_t)p->bytes, dst);
	r = vgpu_arena_get(vc_client, p->rows * p->bytes, &chunk);
	if (r)
		return r < 0 ? CUDA_ERROR_INVALID_VALUE : (CUresult)r;
	copy_rows(chunk.address, p->bytes, src, c->src_pitch, p);
	part = (struct vc_copy){ .src = (uintptr_t)chunk.address,
				 .width = p->bytes,
				 .height = p->rows,
				 .depth = 1,
				 .src_pitch = p->bytes };
	piece_dst(c, p, dst, &part);
	result = push_copy(s, &part, dst, GPU_HOST);
	if (!result)
		result = vc_stream_fence(s, &value);
	vgpu_arena_put(vc_client, &chunk, result ? UINT32_MAX : s->fence.slot, value);
	return result;
}

static CUresult from_pageable(struct vc_stream *s, const struct vc_copy *c, enum place dst)
{
	CUresult result = CUDA_SUCCESS;
	struct piece p;
	int more = piece_at(c, 0, 0, 0, &p);

	while (more && !result) {
		result = stage_piece(s, c, &p, dst);
		more = piece_next(c, &p);
	}
	return result;
}

// ---- pageable destination: several pieces in flight, so that unpacking one overlaps the copy of the next

struct fetch {
	struct piece piece;
	struct vgpu_chunk chunk;
	uint64_t value;
	int busy;
};

static CUresult fetch_start(struct vc_stream *s, const struct vc_copy *c, const struct piece *p,
			    enum place src, struct fetch *f)
{
	struct vc_copy part;
	CUresult result;
	int r = vgpu_arena_get(vc_client, p->rows * p->bytes, &f->chunk);

	if (r)
		return r < 0 ? CUDA_ERROR_INVALID_VALUE : (CUresult)r;
	f->piece = *p;
	f->busy = 1;
	part = (struct vc_copy){ .dst = (uintptr_t)f->chunk.address,
				 .width = p->bytes,
				 .height = p->rows,
				 .depth = 1,
				 .dst_pitch = p->bytes };
	piece_src(c, p, src, &part);
	result = push_copy(s, &part, GPU_HOST, src);
	return result ? result : vc_stream_fence(s, &f->value);
}

static CUresult fetch_finish(struct vc_stream *s, const struct vc_copy *c, struct fetch *f, CUresult result)
{
	if (!f->busy)
		return result;
	if (!result)
		result = vc_stream_wait_value(s, f->value);
	if (!result)
		copy_rows((char *)(uintptr_t)dst_of(c, &f->piece), c->dst_pitch, f->chunk.address,
			  f->piece.bytes, &f->piece);
	vgpu_arena_put(vc_client, &f->chunk, UINT32_MAX, 0);
	f->busy = 0;
	return result;
}

static CUresult to_pageable(struct vc_stream *s, const struct vc_copy *c, enum place src)
{
	struct fetch fetches[FETCHES] = { 0 };
	CUresult result = CUDA_SUCCESS;
	unsigned int turn = 0;
	struct piece p;
	int more = piece_at(c, 0, 0, 0, &p);

	while (more && !result) {
		result = fetch_finish(s, c, &fetches[turn], result);
		if (!result)
			result = fetch_start(s, c, &p, src, &fetches[turn]);
		turn = (turn + 1) % FETCHES;
		more = piece_next(c, &p);
	}
	for (unsigned int i = 0; i < FETCHES; i++, turn = (turn + 1) % FETCHES)
		result = fetch_finish(s, c, &fetches[turn], result);
	vc_printed();
	return result ? result : (CUresult)vgpu_client_deferred(vc_client);
}

// Both sides are the program's own: its turn in the stream, then the processor copies.
static CUresult within_program(struct vc_stream *s, const struct vc_copy *c)
{
	CUresult result = vc_stream_wait(s);
	struct piece row = { .rows = 1, .bytes = c->width };

	if (result)
		return result;
	for (row.slice = 0; row.slice < c->depth; row.slice++)
		for (row.row = 0; row.row < c->height; row.row++)
			memmove((void *)(uintptr_t)dst_of(c, &row), (const void *)(uintptr_t)src_of(c, &row),
				c->width);
	return CUDA_SUCCESS;
}

// Rows that follow each other without a gap on both sides are one row.
static void flatten(struct vc_copy *c)
{
	if (c->dst_side == VC_SIDE_ARRAY || c->src_side == VC_SIDE_ARRAY)
		return; // an array's rows are apart
	if (c->depth > 1 && c->dst_slice == c->dst_pitch * c->height &&
	    c->src_slice == c->src_pitch * c->height) {
		c->height *= c->depth;
		c->depth = 1;
	}
	if (c->depth == 1 && c->height > 1 && c->dst_pitch == c->width && c->src_pitch == c->width) {
		c->width *= c->height;
		c->height = 1;
	}
}

CUresult vc_copy_describe(const struct vc_copy *copy, struct vc_copy_record *ret)
{
	struct vc_copy c = *copy;
	enum place dst, src;
	CUresult result;

	if (!c.width || !c.height || !c.depth)
		return CUDA_ERROR_INVALID_VALUE;
	result = locate(c.dst, extent(&c, c.dst_pitch, c.dst_slice), c.dst_side,
			CU_MEM_ACCESS_FLAGS_PROT_READWRITE, &dst);
	if (!result)
		result = locate(c.src, extent(&c, c.src_pitch, c.src_slice), c.src_side,
				CU_MEM_ACCESS_FLAGS_PROT_READ, &src);
	if (result)
		return result;
	if (dst == PAGEABLE || src == PAGEABLE)
		return CUDA_ERROR_INVALID_VALUE;
	flatten(&c);
	*ret = record_of(STREAM_LEGACY, &c, dst, src);
	return CUDA_SUCCESS;
}

// How the program would have described it: what cuGraphMemcpyNodeGetParams tells of a captured copy.
static CUDA_MEMCPY3D description_of(const struct vc_copy *c)
{
	CUDA_MEMCPY3D d = { .WidthInBytes = c->width, .Height = c->height, .Depth = c->depth };
	enum place dst = PAGEABLE, src = PAGEABLE;

	locate(c->dst, 1, c->dst_side, CU_MEM_ACCESS_FLAGS_PROT_NONE, &dst);
	locate(c->src, 1, c->src_side, CU_MEM_ACCESS_FLAGS_PROT_NONE, &src);
	d.srcMemoryType = src == GPU_ARRAY    ? CU_MEMORYTYPE_ARRAY
			  : src == GPU_DEVICE ? CU_MEMORYTYPE_DEVICE
					      : CU_MEMORYTYPE_HOST;
	d.dstMemoryType = dst == GPU_ARRAY    ? CU_MEMORYTYPE_ARRAY
			  : dst == GPU_DEVICE ? CU_MEMORYTYPE_DEVICE
					      : CU_MEMORYTYPE_HOST;
	if (src == GPU_ARRAY) {
		d.srcArray = (CUarray)(uintptr_t)c->src;
		d.srcXInBytes = c->src_at[0];
		d.srcY = c->src_at[1];
		d.srcZ = c->src_at[2];
	} else {
		d.srcPitch = c->src_pitch ? c->src_pitch : c->width;
		d.srcHeight = c->src_slice ? c->src_slice / d.srcPitch : c->height;
		d.srcDevice = src == GPU_DEVICE ? c->src : 0;
		d.srcHost = src == GPU_DEVICE ? NULL : (const void *)(uintptr_t)c->src;
	}
	if (dst == GPU_ARRAY) {
		d.dstArray = (CUarray)(uintptr_t)c->dst;
		d.dstXInBytes = c->dst_at[0];
		d.dstY = c->dst_at[1];
		d.dstZ = c->dst_at[2];
	} else {
		d.dstPitch = c->dst_pitch ? c->dst_pitch : c->width;
		d.dstHeight = c->dst_slice ? c->dst_slice / d.dstPitch : c->height;
		d.dstDevice = dst == GPU_DEVICE ? c->dst : 0;
		d.dstHost = dst == GPU_DEVICE ? NULL : (void *)(uintptr_t)c->dst;
	}
	return d;
}

static CUresult capture(struct vc_stream *s, const struct vc_copy *c)
{
	struct vc_what what = { 0 };
	CUresult result;

	pthread_mutex_lock(&vc_graph_lock);
	result = vc_what_copy_body(c, &what);
	if (!result) {
		what.copy = description_of(c);
		result = vc_capture_add(s, &what);
	}
	pthread_mutex_unlock(&vc_graph_lock);
	return result;
}

CUresult vc_copy_submit(struct vc_stream *s, const struct vc_copy *copy, int sync)
{
	enum place dst, src;
	struct vc_copy c = *copy;
	CUresult result;
	int staged;

	if (!c.width || !c.height || !c.depth)
		return CUDA_SUCCESS;
	if (!VC_LIKELY(!vc_stream_captures(s)))
		return capture(s, copy);
	result = locate(c.dst, extent(&c, c.dst_pitch, c.dst_slice), c.dst_side,
			CU_MEM_ACCESS_FLAGS_PROT_READWRITE, &dst);
	if (!result)
		result = locate(c.src, extent(&c, c.src_pitch, c.src_slice), c.src_side,
				CU_MEM_ACCESS_FLAGS_PROT_READ, &src);
	if (result)
		return result;
	flatten(&c);
	if (dst == PAGEABLE)
		return src == PAGEABLE ? within_program(s, &c) : to_pageable(s, &c, src);
	result = src == PAGEABLE ? from_pageable(s, &c, dst) : push_copy(s, &c, dst, src);
	staged =
	    src == PAGEABLE && dst == GPU_DEVICE && c.height == 1 && c.depth == 1 && c.width <= STAGED_MAX;
	if (result || !sync || staged || (on_gpu(dst) && on_gpu(src)))
		return result;
	return vc_stream_wait(s);
}
