// SPDX-License-Identifier: Apache-2.0
// cuMemHostAlloc and cuMemHostRegister. Pinned memory lies in the shared host window, at the same address on
// both sides; small allocations share pieces of 2 MiB, since registering a piece with the GPU is slow.
// Registered ranges are moved into the window in place, by whole pages; ranges that share a page share that
// page's span. Runs in the guest program; one lock, for these calls are rare.
#include "guest/libcuda/hostmem.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "guest/libcuda/otherstack.h"

#define PAGE	  4096ull
#define PIECE	  (2ull << 20)
#define MIN_CLASS 9u  // 512 bytes
#define MAX_CLASS 19u // 512 KiB; larger ones get pieces of their own
#define WORDS	  (PIECE >> MIN_CLASS >> 6)

// A piece of the window, cut in slots of 1 << class bytes; bit set: slot in use.
struct piece {
	struct piece *next;
	uint64_t base;
	unsigned int class, used;
	uint64_t map[WORDS];
};

// Whole pages of the program that were moved into the window; refs counts the registered ranges that touch
// it.
struct span {
	struct span *next;
	uint64_t begin, end, offset;
	unsigned int refs;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct piece *pieces;
static struct span *spans;

// ---- pinned allocations

static uint64_t page_up(uint64_t n)
{
	return (n + PAGE - 1) & ~(PAGE - 1);
}

static CUresult window_get(uint64_t bytes, uint64_t *ret)
{
	void *p;
	CUresult result = (CUresult)vgpu_pinned_alloc(vc_client, bytes, &p);

	if (!result)
		*ret = (uintptr_t)p;
	return result;
}

static void window_put(uint64_t address, uint64_t bytes)
{
	vgpu_pinned_free(vc_client, (void *)(uintptr_t)address, bytes);
}

static unsigned int class_of(uint64_t bytes)
{
	unsigned int class = MIN_CLASS;

	while ((1ull << class) < bytes)
		class ++;
	return class;
}

static struct piece *piece_new(unsigned int class)
{
	struct piece *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	if (window_get(PIECE, &p->base)) {
		free(p);
		return NULL;
	}
	p->class = class;
	p->next = pieces;
	pieces = p;
	return p;
}

static CUresult slot_get(uint64_t bytes, uint64_t *ret)
{
	unsigned int class = class_of(bytes), slots = (unsigned int)(PIECE >> class);
	struct piece *p = pieces;
	unsigned int i = 0;

	while (p && (p->class != class || p->used == slots))
		p = p->next;
	if (!p)
		p = piece_new(class);
	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	while (p->map[i / 64] >> (i % 64) & 1)
		i++;
	p->map[i / 64] |= 1ull << (i % 64);
	p->used++;
	*ret = p->base + ((uint64_t)i << class);
	return CUDA_SUCCESS;
}

static void slot_put(uint64_t address)
{
	struct piece **link = &pieces, *p;
	uint64_t i;

	while (*link && address - (*link)->base >= PIECE)
		link = &(*link)->next;
	p = *link;
	if (!p)
		return;
	i = (address - p->base) >> p->class;
	p->map[i / 64] &= ~(1ull << (i % 64));
	if (--p->used)
		return;
	*link = p->next;
	window_put(p->base, PIECE);
	free(p);
}

static CUresult pinned_get(uint64_t bytes, uint64_t *ret)
{
	CUresult result;

	pthread_mutex_lock(&lock);
	result = bytes <= 1ull << MAX_CLASS ? slot_get(bytes, ret) : window_get(bytes, ret);
	pthread_mutex_unlock(&lock);
	return result;
}

static void pinned_put(uint64_t address, uint64_t bytes)
{
	pthread_mutex_lock(&lock);
	if (bytes <= 1ull << MAX_CLASS)
		slot_put(address);
	else
		window_put(address, bytes);
	pthread_mutex_unlock(&lock);
}

CUresult vc_pinned_alloc(struct vc_context *ctx, uint64_t bytes, enum vc_range_kind kind, unsigned int flags,
			 uint64_t *ret)
{
	CUresult result = bytes > SIZE_MAX - PAGE ? CUDA_ERROR_OUT_OF_MEMORY : pinned_get(bytes, ret);

	if (result)
		return result;
	if (vc_range_add(&(struct vc_range){
		.base = *ret, .bytes = bytes, .kind = kind, .flags = flags, .owner = ctx })) {
		pinned_put(*ret, bytes);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void **ptr, size_t bytes, unsigned int flags)
{
	const unsigned int known =
	    CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
	uint64_t address;
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (result)
		return result;
	if (!ptr || (flags & ~known))
		return CUDA_ERROR_INVALID_VALUE;
	if (!bytes) {
		*ptr = NULL;
		return CUDA_SUCCESS;
	}
	result = vc_pinned_alloc(ctx, bytes, VC_RANGE_PINNED, flags | CU_MEMHOSTALLOC_DEVICEMAP, &address);
	if (!result)
		*ptr = (void *)(uintptr_t)address;
	return result;
}

CUresult cuMemAllocHost_v2(void **ptr, size_t bytes)
{
	return cuMemHostAlloc(ptr, bytes, 0);
}

CUresult cuMemAllocHost(void **ptr, unsigned int bytes)
{
	return cuMemAllocHost_v2(ptr, bytes);
}

CUresult cuMemFreeHost(void *ptr)
{
	struct vc_range range;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result || !ptr)
		return result;
	result = vc_streams_wait_all(NULL);
	if (vc_range_remove((uintptr_t)ptr, 1u << VC_RANGE_PINNED, &range))
		return result ? result : CUDA_ERROR_INVALID_VALUE;
	vc_hostmem_release(&range);
	return result;
}

// ---- registered ranges

// What moves a span in or out of the window; static, for the pages may be those of the caller's stack.
static struct {
	struct span *span;
	int result;
} move;

static void move_in(void *unused)
{
	struct span *s = move.span;

	(void)unused;
	move.result =
	    vgpu_window_adopt(vc_client, (void *)(uintptr_t)s->begin, s->end - s->begin, &s->offset);
}

static void move_out(void *unused)
{
	struct span *s = move.span;

	(void)unused;
	move.result =
	    vgpu_window_release(vc_client, (void *)(uintptr_t)s->begin, s->end - s->begin, s->offset);
}

static int move_span(struct span *s, void (*how)(void *unused))
{
	int r;

	move.span = s;
	r = vc_on_other_stack(how, NULL);
	return r ? r : move.result;
}

static CUresult span_new(uint64_t begin, uint64_t end)
{
	struct span *s = calloc(1, sizeof(*s));
	struct record_host_register record = { .address = begin, .size = end - begin };
	int r;

	if (!s)
		return CUDA_ERROR_OUT_OF_MEMORY;
	s->begin = begin;
	s->end = end;
	r = move_span(s, move_in);
	if (r) {
		free(s);
		return r == -ENOMEM	  ? CUDA_ERROR_OUT_OF_MEMORY
		       : r == -EOPNOTSUPP ? CUDA_ERROR_NOT_SUPPORTED
					  : CUDA_ERROR_INVALID_VALUE;
	}
	record.offset = s->offset;
	r = vgpu_call_host_register(vc_client, &record);
	if (r) {
		move_span(s, move_out);
		free(s);
		return (CUresult)r;
	}
	s->next = spans;
	spans = s;
	return CUDA_SUCCESS;
}

// The first span that overlaps [begin, end): the one with the lowest begin.
static struct span *first_span(uint64_t begin, uint64_t end)
{
	struct span *first = NULL;

	for (struct span *s = spans; s; s = s->next)
		if (s->begin < end && s->end > begin && (!first || s->begin < first->begin))
			first = s;
	return first;
}

static void count_spans(uint64_t begin, uint64_t end, int by)
{
	for (struct span *s = spans; s; s = s->next)
		if (s->begin < end && s->end > begin)
			s->refs += (unsigned int)by;
}

// Takes the range from the GPU and comes back when the executor has let it go.
static void unregister(uint64_t address)
{
	struct record_host_unregister record = { .address = address };

	vgpu_call_host_unregister(vc_client, &record);
}

// Gives back the spans that nobody holds.
static void drop_spans(void)
{
	struct span **link = &spans;

	while (*link) {
		struct span *s = *link;

		if (s->refs) {
			link = &s->next;
			continue;
		}
		*link = s->next;
		unregister(s->begin);
		move_span(s, move_out);
		free(s);
	}
}

// Spans over all of [begin, end), new ones where there are none yet.
static CUresult cover(uint64_t begin, uint64_t end)
{
	uint64_t at = begin;
	CUresult result = CUDA_SUCCESS;

	while (!result && at < end) {
		struct span *s = first_span(at, end);
		uint64_t gap_end = s ? s->begin : end;

		if (at < gap_end)
			result = span_new(at, gap_end);
		at = s ? s->end : end;
	}
	if (!result)
		count_spans(begin, end, 1);
	drop_spans();
	return result;
}

CUresult cuMemHostRegister_v2(void *ptr, size_t bytes, unsigned int flags)
{
	const unsigned int known =
	    CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP | CU_MEMHOSTREGISTER_READ_ONLY;
	uint64_t begin = (uintptr_t)ptr & ~(PAGE - 1), end;
	struct vc_range of_ours;
	struct vc_context *ctx;
	CUresult result = vc_enter_report(&ctx);

	if (result)
		return result;
	if (!ptr || !bytes || __builtin_add_overflow((uintptr_t)ptr, bytes, &end) || end > UINT64_MAX - PAGE)
		return CUDA_ERROR_INVALID_VALUE;
	if (flags & CU_MEMHOSTREGISTER_IOMEMORY)
		return CUDA_ERROR_NOT_SUPPORTED;
	if (flags & ~known)
		return CUDA_ERROR_INVALID_VALUE;
	if (!vc_range_find((uintptr_t)ptr, &of_ours) && of_ours.kind != VC_RANGE_REGISTERED)
		return CUDA_ERROR_INVALID_VALUE;
	if (vc_range_overlaps((uintptr_t)ptr, bytes))
		return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
	end = page_up(end);
	pthread_mutex_lock(&lock);
	result = cover(begin, end);
	if (!result && vc_range_add(&(struct vc_range){ .base = (uintptr_t)ptr,
							.bytes = bytes,
							.kind = VC_RANGE_REGISTERED,
							.flags = flags | CU_MEMHOSTREGISTER_DEVICEMAP,
							.owner = ctx })) {
		count_spans(begin, end, -1);
		drop_spans();
		result = CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
	}
	pthread_mutex_unlock(&lock);
	return result;
}

void vc_hostmem_release(const struct vc_range *range)
{
	if (range->kind == VC_RANGE_PINNED || range->kind == VC_RANGE_MANAGED) {
		pinned_put(range->base, range->bytes);
	} else if (range->kind == VC_RANGE_REGISTERED) {
		pthread_mutex_lock(&lock);
		count_spans(range->base & ~(PAGE - 1), page_up(range->base + range->bytes), -1);
		drop_spans();
		pthread_mutex_unlock(&lock);
	}
}

CUresult cuMemHostUnregister(void *ptr)
{
	struct vc_range range;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!ptr)
		return CUDA_ERROR_INVALID_VALUE;
	if (!vc_range_find((uintptr_t)ptr, &range) &&
	    (range.kind != VC_RANGE_REGISTERED || range.base != (uintptr_t)ptr))
		return CUDA_ERROR_INVALID_VALUE;
	result = vc_streams_wait_all(NULL);
	if (vc_range_remove((uintptr_t)ptr, 1u << VC_RANGE_REGISTERED, &range))
		return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
	vc_hostmem_release(&range);
	return result;
}

// ---- questions

static CUresult find_host(const void *ptr, struct vc_range *range)
{
	if (vc_range_find((uintptr_t)ptr, range) || vc_range_is_device(range))
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *dev, void *ptr, unsigned int flags)
{
	struct vc_range range;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!dev || flags)
		return CUDA_ERROR_INVALID_VALUE;
	result = find_host(ptr, &range);
	if (!result)
		*dev = (uintptr_t)ptr;
	return result;
}

CUresult cuMemHostGetFlags(unsigned int *flags, void *ptr)
{
	struct vc_range range;
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	if (result)
		return result;
	if (!flags)
		return CUDA_ERROR_INVALID_VALUE;
	result = find_host(ptr, &range);
	if (!result)
		*flags = range.flags;
	return result;
}
