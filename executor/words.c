// SPDX-License-Identifier: Apache-2.0
// Streams and words in memory: the handler of words. Every operation is checked before the first is given to
// the backend. Called by the generated dispatch in the executor's loop, and for the nodes of a graph.
#include <string.h>

#include "executor/executor.h"
#include "executor/objects.h"
#include "executor/work.h"
#include "protocol/cuda/cuda_abi.h"
#include "protocol/guest/words.h"

#define MAX_OPS		256u
#define OPS_PER_RECORD	16u // so many count as one record in flight
#define RECORDS_OF_WAIT 2u // what a wait adds: the store that says that it is over, and the wait for the turn

static bool flags_are_known(const struct word_op *op)
{
	if (word_is_wait(op))
		return !(op->flags & ~(CU_STREAM_WAIT_VALUE_FLUSH | CU_STREAM_WAIT_VALUE_NOR));
	if (word_is_write(op))
		return !op->flags;
	if (op->operation == CU_STREAM_MEM_OP_BARRIER)
		return op->flags <= CU_STREAM_MEMORY_BARRIER_TYPE_GPU;
	return op->operation == CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES && !op->flags;
}

static bool is_right(const struct executor *x, const struct word_op *op)
{
	uint32_t bytes = word_bytes(op);

	if (!flags_are_known(op) || op->reserved || op->space > MEMORY_SPACE_HOST)
		return false;
	if (!bytes)
		return !op->address && !op->value;
	return op->address % bytes == 0 && (bytes == 8 || op->value <= UINT32_MAX) &&
	       space_contains(x, op->space, op->address, bytes,
			      word_is_write(op) ? VM_ACCESS_READ_WRITE : VM_ACCESS_READ);
}

static uint32_t records_of(uint32_t n)
{
	return (n + OPS_PER_RECORD - 1) / OPS_PER_RECORD;
}

bool words_wait(const uint8_t *tail, uint32_t bytes)
{
	struct word_op op;

	for (uint32_t at = 0; at + sizeof(op) <= bytes; at += (uint32_t)sizeof(op)) {
		memcpy(&op, tail + at, sizeof(op));
		if (word_is_wait(&op))
			return true;
	}
	return false;
}

static int32_t submit_wait(struct executor *x, const struct word_op *ops, uint32_t n, struct stream *stream)
{
	uint32_t lane = work_lane(stream);
	int32_t result;

	if (lane == TRACK_NOWHERE)
		return CUDA_ERROR_NOT_SUPPORTED; // only a replay can give the turn back meanwhile
	track_before(x, lane);
	result = track_word_waits(x, lane);
	if (!result)
		result = x->ops->words(x->backend, ops, n, work_stream(stream));
	return result ? result : track_word_waited(x, lane, records_of(n) + RECORDS_OF_WAIT);
}

int32_t on_words(struct executor *x, const struct record_words *r, struct stream *stream, const uint8_t *tail,
		 uint32_t tail_bytes)
{
	struct word_op ops[MAX_OPS];
	uint32_t lane = work_lane(stream);
	int32_t result = executor_ready(x);

	if (result)
		return result;
	if (tail_bytes != r->n * sizeof(ops[0]))
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(ops, tail, tail_bytes);
	for (uint32_t i = 0; i < r->n; i++)
		if (!is_right(x, &ops[i]))
			return CUDA_ERROR_INVALID_VALUE;
	if (lane != TRACK_NOWHERE &&
	    x->track.records + records_of(r->n) + RECORDS_OF_WAIT > TRACK_MAX_RECORDS)
		return RESULT_AGAIN;
	if (words_wait(tail, tail_bytes))
		return submit_wait(x, ops, r->n, stream);
	track_before(x, lane);
	result = x->ops->words(x->backend, ops, r->n, work_stream(stream));
	for (uint32_t i = 0; !result && i < records_of(r->n); i++)
		track_after(x, lane, 0, TRACK_SMALL_NS);
	return result;
}
