// SPDX-License-Identifier: Apache-2.0
// Sharing in the null backend; see the header. Called by the executor's loop thread.
#include "executor/backends/null/null_share.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "executor/backends/event_word.h"
#include "protocol/cuda/cuda_abi.h"

int null_mem_export(struct backend *b, uint64_t address, uint64_t size, struct backend_share *ret)
{
	(void)b;
	(void)address;
	*ret = (struct backend_share){ .fd = -1 };
	memcpy(ret->data, &size, sizeof(size));
	return CUDA_SUCCESS;
}

int null_physical_export(struct backend *b, struct backend_physical *p, struct backend_share *ret)
{
	return null_mem_export(b, 0, p->size, ret);
}

int null_physical_import(struct backend *b, const struct backend_share *share, uint64_t size,
			 struct backend_physical **ret)
{
	struct backend_physical *p;
	uint64_t said;

	(void)b;
	memcpy(&said, share->data, sizeof(said));
	if (share->fd >= 0 || said != size)
		return CUDA_ERROR_INVALID_VALUE;
	p = malloc(sizeof(*p));
	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*p = (struct backend_physical){ .size = size, .imported = true };
	*ret = p;
	return CUDA_SUCCESS;
}

// Takes the reference to the word over, also when it fails.
static int event_new(struct event_word *word, struct backend_event **ret)
{
	struct backend_event *e = calloc(1, sizeof(*e));

	if (!e) {
		event_word_unref(word);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	e->event.references = 1;
	e->event.word = word;
	*ret = e;
	return CUDA_SUCCESS;
}

int null_event_export(struct backend *b, struct backend_event *e, struct backend_share *ret)
{
	(void)b;
	return event_word_export(e->event.word, ret);
}

int null_event_import(struct backend *b, const struct backend_share *share, struct backend_event **ret)
{
	struct event_word *word;
	int result = event_word_import(null_peers(b), share, &word);

	return result ? result : event_new(word, ret);
}

int null_event_follow(struct backend *b, struct backend_event *e, struct backend_event **ret)
{
	int result;

	(void)b;
	if (!e->event.word)
		return CUDA_ERROR_INVALID_HANDLE;
	result = event_new(event_word_ref(e->event.word), ret);
	if (!result)
		(*ret)->event.follows = event_word_last(e->event.word);
	return result;
}
