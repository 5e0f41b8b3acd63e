// SPDX-License-Identifier: Apache-2.0
// Events of the cuda backend. Executor process, loop thread; nothing here waits. What stays in this process
// is the driver's event; one that several executors record and wait for is a word in shared memory
// (event_word.h) that a host function behind the record counts up. The driver's own interprocess events are
// not used: they are files that the driver makes in /dev/shm, which the sandbox forbids, and which a killed
// executor leaves behind; and whoever knows their handle opens them, of whatever tenant.
#include "executor/backends/cuda/cuda_backend.h"

#include <stdlib.h>

#include "executor/backends/event_word.h"

struct backend_event {
	CUevent cu;		 // NULL: word
	struct event_word *word; // NULL: cu
	uint64_t follows;	 // the record that is asked for; 0: the last one
};

static int event_new(CUevent cu, struct event_word *word, struct backend_event **ret)
{
	struct backend_event *e = calloc(1, sizeof(*e));

	if (!e)
		return CUDA_ERROR_OUT_OF_MEMORY;
	e->cu = cu;
	e->word = word;
	*ret = e;
	return 0;
}

// Takes the reference over, also when it fails.
static int event_of_word(struct event_word *word, struct backend_event **ret)
{
	int result = event_new(NULL, word, ret);

	if (result)
		event_word_unref(word);
	return result;
}

int cuda_event_create(struct backend *b, uint32_t flags, struct backend_event **ret)
{
	struct event_word *word;
	CUevent event;
	int result;

	if (flags & CU_EVENT_INTERPROCESS) {
		result = event_word_new(b->tenant.peers, &word);
		return result ? result : event_of_word(word, ret);
	}
	result = cuda_result(b, b->cu.event_create(&event, flags));
	if (result)
		return result;
	result = event_new(event, NULL, ret);
	if (result)
		b->cu.event_destroy(event);
	return result;
}

void cuda_event_destroy(struct backend *b, struct backend_event *e)
{
	if (!e)
		return;
	if (e->cu)
		cuda_result(b, b->cu.event_destroy(e->cu));
	event_word_unref(e->word);
	free(e);
}

int cuda_event_record(struct backend *b, struct backend_event *e, struct backend_stream *s, uint32_t flags)
{
	if (e->word)
		return cuda_host_record(b, cuda_stream(s), e->word);
	if (flags && b->cu.event_record_flags)
		return cuda_result(b, b->cu.event_record_flags(e->cu, cuda_stream(s), flags));
	return cuda_result(b, b->cu.event_record(e->cu, cuda_stream(s)));
}

int cuda_event_query(struct backend *b, struct backend_event *e)
{
	if (!e->word)
		return cuda_result(b, b->cu.event_query(e->cu));
	return event_word_done(e->word, e->follows ? e->follows : event_word_last(e->word))
		   ? 0
		   : CUDA_ERROR_NOT_READY;
}

int cuda_stream_wait_event(struct backend *b, struct backend_stream *s, struct backend_event *e,
			   uint32_t flags)
{
	if (e->word) // in a graph: it would keep the turn that the other process may need
		return CUDA_ERROR_NOT_SUPPORTED;
	return cuda_result(b, b->cu.stream_wait_event(cuda_stream(s), e->cu, flags));
}

int cuda_event_export(struct backend *b, struct backend_event *e, struct backend_share *ret)
{
	(void)b;
	return event_word_export(e->word, ret);
}

int cuda_event_import(struct backend *b, const struct backend_share *share, struct backend_event **ret)
{
	struct event_word *word;
	int result = event_word_import(b->tenant.peers, share, &word);

	return result ? result : event_of_word(word, ret);
}

int cuda_event_follow(struct backend *b, struct backend_event *e, struct backend_event **ret)
{
	int result;

	(void)b;
	if (!e->word)
		return CUDA_ERROR_INVALID_HANDLE;
	result = event_of_word(event_word_ref(e->word), ret);
	if (!result)
		(*ret)->follows = event_word_last(e->word);
	return result;
}

int cuda_event_elapsed(struct backend *b, struct backend_event *start, struct backend_event *end,
		       float *ret_ms)
{
	float ms;
	int result;

	if (start->word || end->word)
		return CUDA_ERROR_INVALID_HANDLE;
	result = cuda_result(b, b->cu.event_elapsed(&ms, start->cu, end->cu));
	if (!result)
		*ret_ms = ms;
	return result;
}
