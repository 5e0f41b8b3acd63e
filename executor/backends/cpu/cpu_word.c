// SPDX-License-Identifier: Apache-2.0
// Stream-ordered words of the cpu backend, and what may have to wait: queued on the executor's loop thread,
// looked at by the worker until it is due. Memory may have gone meanwhile; that is a fault, as on a GPU.
#include <string.h>

#include "executor/backends/cpu/cpu_backend.h"

static bool wait_holds(uint32_t kind, uint64_t word, uint64_t value, uint32_t bytes)
{
	switch (kind) {
	case CU_STREAM_WAIT_VALUE_GEQ:
		return bytes == 4 ? (int32_t)((uint32_t)word - (uint32_t)value) >= 0
				  : (int64_t)(word - value) >= 0;
	case CU_STREAM_WAIT_VALUE_EQ: return word == value;
	case CU_STREAM_WAIT_VALUE_AND: return (word & value) != 0;
	default: return (bytes == 4 ? (uint64_t)(uint32_t)~(word | value) : ~(word | value)) != 0;
	}
}

// False: it is a wait that does not hold. Under memory_lock, the address checked.
static bool do_word(const struct word_op *op)
{
	_Atomic uint32_t *narrow = (_Atomic uint32_t *)(uintptr_t)op->address;
	_Atomic uint64_t *wide = (_Atomic uint64_t *)(uintptr_t)op->address;
	uint32_t bytes = word_bytes(op);
	uint64_t word;

	if (word_is_write(op)) {
		if (bytes == 4)
			atomic_store_explicit(narrow, (uint32_t)op->value, memory_order_release);
		else
			atomic_store_explicit(wide, op->value, memory_order_release);
		return true;
	}
	if (!word_is_wait(op))
		return true; // barriers: work is done by one thread, and kernels have ended
	word = bytes == 4 ? atomic_load_explicit(narrow, memory_order_acquire)
			  : atomic_load_explicit(wide, memory_order_acquire);
	return wait_holds(op->flags & 3, word, op->value, bytes);
}

static bool op_covered(const struct backend *b, const struct word_op *op)
{
	uint32_t bytes = word_bytes(op);

	return !bytes || cpu_memory_covers(b, op->space == MEMORY_SPACE_DEVICE, op->address, bytes,
					   word_is_write(op) ? VM_ACCESS_READ_WRITE : VM_ACCESS_READ);
}

// Goes on behind what was done before.
static bool words_due(struct backend *b, struct cpu_work *w)
{
	bool covered = true, holds = true;

	pthread_rwlock_rdlock(&b->memory_lock);
	while (covered && holds && w->words_done < w->size / sizeof(struct word_op)) {
		struct word_op op;

		memcpy(&op, w->data + w->words_done * sizeof(op), sizeof(op));
		covered = op_covered(b, &op);
		holds = covered && do_word(&op);
		w->words_done += holds;
	}
	pthread_rwlock_unlock(&b->memory_lock);
	if (!covered)
		cpu_fault(b, CUDA_ERROR_ILLEGAL_ADDRESS,
			  "cpu backend: a word lies in memory that is not mapped");
	return holds || !covered;
}

bool cpu_work_due(struct backend *b, struct cpu_work *w)
{
	switch (w->kind) {
	case WORK_WAIT: return atomic_load_explicit(w->word.where, memory_order_acquire) >= w->word.value;
	case WORK_WAIT_EVENT: return atomic_load_explicit(&w->mark->done, memory_order_acquire);
	case WORK_WORDS: return words_due(b, w);
	default: return true;
	}
}

static int submit_word(struct backend *b, struct backend_stream *s, enum cpu_work_kind kind,
		       _Atomic uint64_t *where, uint64_t value)
{
	struct cpu_work *w = cpu_work_new(kind, 0);

	if (!w)
		return CUDA_ERROR_OUT_OF_MEMORY;
	w->word.where = where;
	w->word.value = value;
	return cpu_work_submit(b, s, w);
}

int cpu_stream_write(struct backend *b, struct backend_stream *s, _Atomic uint64_t *where, uint64_t value)
{
	return submit_word(b, s, WORK_STORE, where, value);
}

int cpu_stream_wait(struct backend *b, struct backend_stream *s, _Atomic uint64_t *where, uint64_t value)
{
	return submit_word(b, s, WORK_WAIT, where, value);
}

int cpu_words(struct backend *b, const struct word_op *ops, uint32_t n, struct backend_stream *s)
{
	struct cpu_work *w;

	for (uint32_t i = 0; i < n; i++) {
		if (ops[i].operation == CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES ||
		    (word_is_wait(&ops[i]) && (ops[i].flags & CU_STREAM_WAIT_VALUE_FLUSH)))
			return CUDA_ERROR_NOT_SUPPORTED;
		if (!op_covered(b, &ops[i]))
			return CUDA_ERROR_INVALID_VALUE;
	}
	w = cpu_work_new(WORK_WORDS, n * sizeof(*ops));
	if (!w)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(w->data, ops, w->size);
	return cpu_work_submit(b, s, w);
}
