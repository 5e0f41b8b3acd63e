/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
// What a stream does to words in memory, as it travels in a `words` record. Operations and flags are the
// numbers of CUstreamBatchMemOpType, CUstreamWaitValue_flags and so on.
#ifndef VGPU_PROTOCOL_GUEST_WORDS_H
#define VGPU_PROTOCOL_GUEST_WORDS_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "protocol/cuda/cuda_abi.h"

struct word_op {
	uint32_t operation; // CU_STREAM_MEM_OP_*
	uint32_t flags;	    // of the operation; which barrier
	uint64_t address;   // of waits and writes, a multiple of their width; else 0
	uint64_t value;	    // below 2^32 for the 32-bit forms
	uint32_t space;	    // enum memory_space: where the address lies
	uint32_t reserved;  // 0
};
static_assert(sizeof(struct word_op) == 32, "wire");

static inline bool word_is_wait(const struct word_op *op)
{
	return op->operation == CU_STREAM_MEM_OP_WAIT_VALUE_32 ||
	       op->operation == CU_STREAM_MEM_OP_WAIT_VALUE_64;
}

static inline bool word_is_write(const struct word_op *op)
{
	return op->operation == CU_STREAM_MEM_OP_WRITE_VALUE_32 ||
	       op->operation == CU_STREAM_MEM_OP_WRITE_VALUE_64;
}

// Bytes that the operation touches; 0: none.
static inline uint32_t word_bytes(const struct word_op *op)
{
	switch (op->operation) {
	case CU_STREAM_MEM_OP_WAIT_VALUE_32:
	case CU_STREAM_MEM_OP_WRITE_VALUE_32: return 4;
	case CU_STREAM_MEM_OP_WAIT_VALUE_64:
	case CU_STREAM_MEM_OP_WRITE_VALUE_64: return 8;
	default: return 0;
	}
}

#endif
