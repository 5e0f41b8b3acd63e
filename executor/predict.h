// SPDX-License-Identifier: Apache-2.0
// What a piece of GPU work will take, learnt from what it took: a moving average keyed by the kernel and the
// size class of its grid (or by the kind of copy and the size class of its bytes). Pure: no clock, no
// allocation. A fixed table; when a key's places are taken the least used one makes room.
#ifndef VGPU_EXECUTOR_PREDICT_H
#define VGPU_EXECUTOR_PREDICT_H

#include <stdint.h>

#define PREDICT_ENTRIES	   4096u // power of two
#define PREDICT_WAYS	   8u	 // places that a key may have
#define PREDICT_UNKNOWN_NS 100000ull
#define PREDICT_MAX_NS	   60000000000ull // longer measurements count as this
// Shorter ones count as this: what is measured is divided in the measure of what was predicted, so nothing
// would ever be learnt again of work that is predicted to take no time.
#define PREDICT_MIN_NS 100ull

struct predict_entry {
	uint64_t key; // 0: free
	uint64_t ns;  // average
	uint32_t uses;
};

struct predict {
	struct predict_entry entries[PREDICT_ENTRIES];
};

void predict_init(struct predict *p);

// Key of a kernel (id >= 1, never reused) with that many blocks.
uint64_t predict_kernel_key(uint64_t id, uint64_t blocks);

// Key of a copy or set: kind below 16, bytes moved.
uint64_t predict_copy_key(unsigned kind, uint64_t bytes);

// A first guess for a copy or set: what one costs at least, and its bytes on the slowest usual way.
static inline uint64_t predict_copy_guess_ns(uint64_t bytes)
{
	return 2000 + bytes / 25;
}

// Nanoseconds that work of this key is expected to take; fallback when nothing is known of it.
uint64_t predict_ns(const struct predict *p, uint64_t key, uint64_t fallback);

// One piece of work of this key took ns.
void predict_learn(struct predict *p, uint64_t key, uint64_t ns);

#endif
