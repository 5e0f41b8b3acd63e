// SPDX-License-Identifier: Apache-2.0
// What libcuda.so.1 keeps for each thread of the program: current context and stack, its own default stream.
// The small part is static thread-local memory, the rest is made when first needed and freed with the thread.
#include <pthread.h>
#include <stdlib.h>

#include "guest/libcuda/libcuda.h"

__thread struct vc_thread vc_thread __attribute__((tls_model("initial-exec")));

static pthread_key_t heap_key;
static pthread_once_t heap_once = PTHREAD_ONCE_INIT;
static int heap_key_made;

// Runs when a thread ends.
static void heap_free(void *p)
{
	struct vc_thread_heap *heap = p;

	if (heap->stream && atomic_load(&vc_state) == VC_READY)
		vc_stream_destroy(heap->stream);
	if (vc_thread.heap == heap)
		vc_thread.heap = NULL;
	free(heap->stack);
	free(heap);
}

static void make_key(void)
{
	heap_key_made = pthread_key_create(&heap_key, heap_free) == 0;
}

struct vc_thread_heap *vc_thread_heap(void)
{
	struct vc_thread_heap *heap = vc_thread.heap;

	if (heap)
		return heap;
	pthread_once(&heap_once, make_key);
	heap = heap_key_made ? calloc(1, sizeof(*heap)) : NULL;
	if (heap && pthread_setspecific(heap_key, heap)) {
		free(heap);
		heap = NULL;
	}
	vc_thread.heap = heap;
	return heap;
}

int vc_stack_push(struct vc_context *ctx, uint64_t handle)
{
	struct vc_thread_heap *heap;

	if (vc_thread.current) {
		heap = vc_thread_heap();
		if (!heap)
			return -1;
		if (heap->depth == heap->room) {
			size_t room = heap->room ? 2 * heap->room : 8;
			struct vc_stack_entry *more = realloc(heap->stack, room * sizeof(*more));

			if (!more)
				return -1;
			heap->stack = more;
			heap->room = room;
		}
		heap->stack[heap->depth++] =
		    (struct vc_stack_entry){ vc_thread.current, vc_thread.current_handle };
	}
	vc_thread.current = ctx;
	vc_thread.current_handle = handle;
	return 0;
}

uint64_t vc_stack_pop(void)
{
	struct vc_thread_heap *heap = vc_thread.heap;
	uint64_t handle = vc_thread.current_handle;

	if (!vc_thread.current)
		return 0;
	vc_thread.current = NULL;
	vc_thread.current_handle = 0;
	if (heap && heap->depth) {
		struct vc_stack_entry below = heap->stack[--heap->depth];

		vc_thread.current = below.ctx;
		vc_thread.current_handle = below.handle;
	}
	return handle;
}
