// SPDX-License-Identifier: Apache-2.0
//
// The workload's two kinds of work, each on its own stream with two batches in flight: a hash chain and a
// matrix product. A batch is one kernel and the copy of a small window of its result, which the processor
// computes again and compares. One thread; every function ends the program on a CUDA error.
#ifndef VGPU_DEMO_BATCHES_H
#define VGPU_DEMO_BATCHES_H

#include "demo/driver.h"

#include <stdbool.h>

enum { BATCHES_IN_FLIGHT = 2, WINDOW = 32 };

struct batch {
	CUevent done;	  // behind the window's copy
	CUdeviceptr out;  // the whole result
	uint32_t *window; // pinned, WINDOW words
	bool busy;
	uint32_t seed, first; // what it was launched with; first element of the window
	uint32_t grid, rounds;
};

struct work {
	const char *name;
	CUfunction function;
	CUstream stream;
	CUdeviceptr a, b; // inputs of the product
	struct batch batches[BATCHES_IN_FLIGHT];
	uint32_t grid, rounds; // size of a batch: chosen by how long its kernel shall take
	uint32_t max_grid, max_rounds;
	void (*launch)(struct work *work, struct batch *batch);
	bool (*check)(const struct batch *batch);
};

struct batches {
	CUmodule module;
	struct work works[2];
	uint32_t random;       // state of the generator that picks seeds and windows
	uint64_t right, wrong; // results
	bool check;
};

enum { BATCH_MS_MAX = 100 };

// Context must be current. Allocates about 64 MiB of device memory, fills it, measures and sizes the batches:
// so many milliseconds each (up to BATCH_MS_MAX), as far as the work can be made so large.
void batches_init(struct batches *batches, bool check, uint32_t milliseconds);
// Starts a batch wherever one is idle, then waits for the oldest of each kind and checks it.
void batches_turn(struct batches *batches);
// Waits for all that is in flight and checks it, frees everything.
void batches_done(struct batches *batches);

// Ends the program with status 2 and the error's name unless the result is CUDA_SUCCESS.
void must(CUresult result, const char *what);

#endif
