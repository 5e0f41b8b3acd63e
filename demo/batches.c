// SPDX-License-Identifier: Apache-2.0
//
// The demo's work: launches, windows and their check by the processor (see the header). Runs in the workload
// program; called by workload.c only.
#include "demo/batches.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "demo/kernels.ptx.h"

enum {
	HASH_BLOCK = 128,
	HASH_WORDS = 6 << 20,
	SIDE = 1024,
	TILE = 16,
	TILES = (SIDE / TILE) * (SIDE / TILE)
};

static uint32_t next_random(struct batches *batches)
{
	uint32_t x = batches->random;
	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return batches->random = x;
}

// Elements of the input matrices: small whole numbers, so that the float product is exact in any order.
static int element(uint32_t matrix, uint32_t row, uint32_t column)
{
	return (int)((row * 7 + column * 13 + matrix * 5 + (row ^ column)) % 15) - 7;
}

static void launch_hash(struct work *work, struct batch *batch)
{
	void *arguments[] = { &batch->out, &batch->seed, &batch->rounds };
	driver_must(cuLaunchKernel(work->function, batch->grid, 1, 1, HASH_BLOCK, 1, 1, 0, work->stream,
				   arguments, NULL),
		    "cuLaunchKernel of hash_chain");
	batch->first = batch->seed % (batch->grid * HASH_BLOCK - WINDOW + 1);
}

static bool check_hash(const struct batch *batch)
{
	for (uint32_t i = 0; i < WINDOW; i++) {
		uint32_t x = batch->seed + batch->first + i;
		for (uint32_t r = 0; r < batch->rounds; r++) {
			x ^= x >> 16;
			x *= 0x7feb352du;
			x ^= x >> 15;
			x *= 0x846ca68bu;
		}
		if (x != batch->window[i])
			return false;
	}
	return true;
}

static uint32_t factor_of(const struct batch *batch)
{
	return batch->seed % 200 + 1;
}

static void launch_product(struct work *work, struct batch *batch)
{
	uint32_t side = SIDE, first = batch->seed % TILES;
	float factor = (float)factor_of(batch);
	void *arguments[] = { &work->a, &work->b, &batch->out, &side, &first, &factor };
	driver_must(cuLaunchKernel(work->function, batch->grid, 1, 1, TILE, TILE, 1, 0, work->stream,
				   arguments, NULL),
		    "cuLaunchKernel of tile_product");
	// The window: one row inside one of the tiles computed, and its neighbour's where that was computed
	// too.
	uint32_t tile = (first + batch->seed / TILES % batch->grid) % TILES;
	uint32_t row = tile / (SIDE / TILE) * TILE + batch->seed / 7 % TILE;
	batch->first = row * SIDE + tile % (SIDE / TILE) * TILE;
}

static bool check_product(const struct batch *batch)
{
	uint32_t row = batch->first / SIDE, column = batch->first % SIDE;
	for (uint32_t i = 0; i < TILE; i++) {
		int sum = 0;
		float got;
		for (uint32_t k = 0; k < SIDE; k++)
			sum += element(0, row, k) * element(1, k, column + i);
		memcpy(&got, &batch->window[i], sizeof(got));
		if (got != (float)(sum * (int)factor_of(batch)))
			return false;
	}
	return true;
}

static void start(struct batches *batches, struct work *work, struct batch *batch)
{
	uint32_t words = work->check == check_hash ? WINDOW : TILE;
	batch->seed = next_random(batches);
	batch->grid = work->grid;
	batch->rounds = work->rounds;
	memset(batch->window, 0xff, WINDOW * sizeof(uint32_t));
	work->launch(work, batch);
	driver_must(cuMemcpyDtoHAsync_v2(batch->window, batch->out + batch->first * sizeof(uint32_t),
					 words * sizeof(uint32_t), work->stream),
		    "cuMemcpyDtoHAsync");
	driver_must(cuEventRecord(batch->done, work->stream), "cuEventRecord");
	batch->busy = true;
}

static void finish(struct batches *batches, struct work *work, struct batch *batch)
{
	driver_must(cuEventSynchronize(batch->done), work->name);
	batch->busy = false;
	if (!batches->check || work->check(batch)) {
		batches->right++;
	} else {
		batches->wrong++;
		fprintf(stderr, "%s: wrong result: seed %u, window at %u\n", work->name, batch->seed,
			batch->first);
	}
}

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

// Doubles a batch until it takes about so long, as the device is: one processor core or an H100.
static void choose_size(struct batches *batches, struct work *work, double milliseconds)
{
	double started = now_ms();
	start(batches, work, &work->batches[0]); // the first launch also compiles
	finish(batches, work, &work->batches[0]);
	while (now_ms() - started < 2000) {
		double before = now_ms();
		start(batches, work, &work->batches[0]);
		finish(batches, work, &work->batches[0]);
		if (now_ms() - before > 0.7 * milliseconds)
			return;
		if (work->grid < work->max_grid)
			work->grid *= 2;
		else if (work->rounds < work->max_rounds)
			work->rounds *= 2;
		else
			return;
	}
}

static void fill_matrix(CUdeviceptr *matrix, uint32_t which)
{
	size_t bytes = (size_t)SIDE * SIDE * sizeof(float);
	float *values = malloc(bytes);
	if (!values) {
		fprintf(stderr, "out of memory\n");
		exit(2);
	}
	for (uint32_t i = 0; i < SIDE * SIDE; i++)
		values[i] = (float)element(which, i / SIDE, i % SIDE);
	driver_must(cuMemAlloc_v2(matrix, bytes), "cuMemAlloc");
	driver_must(cuMemcpyHtoD_v2(*matrix, values, bytes), "cuMemcpyHtoD");
	free(values);
}

static void init_work(struct batches *batches, struct work *work, size_t result_bytes)
{
	driver_must(cuModuleGetFunction(&work->function, batches->module, work->name), work->name);
	driver_must(cuStreamCreate(&work->stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
	for (int i = 0; i < BATCHES_IN_FLIGHT; i++) {
		struct batch *batch = &work->batches[i];
		void *window;
		driver_must(cuMemAlloc_v2(&batch->out, result_bytes), "cuMemAlloc");
		driver_must(cuMemHostAlloc(&window, WINDOW * sizeof(uint32_t), 0), "cuMemHostAlloc");
		driver_must(cuEventCreate(&batch->done, CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING),
			    "cuEventCreate");
		batch->window = window;
	}
}

void batches_init(struct batches *batches, bool check, uint32_t milliseconds)
{
	*batches = (struct batches){ .check = check, .random = (uint32_t)time(NULL) | 1 };
	driver_must(cuModuleLoadData(&batches->module, kernels_ptx), "cuModuleLoadData");
	batches->works[0] = (struct work){ .name = "hash_chain",
					   .grid = 4,
					   .rounds = 64,
					   .max_grid = HASH_WORDS / HASH_BLOCK / 2,
					   .max_rounds = 1024 * milliseconds,
					   .launch = launch_hash,
					   .check = check_hash };
	batches->works[1] = (struct work){ .name = "tile_product",
					   .grid = 1,
					   .rounds = 1,
					   .max_grid = TILES,
					   .max_rounds = 1,
					   .launch = launch_product,
					   .check = check_product };
	init_work(batches, &batches->works[0], HASH_WORDS * sizeof(uint32_t));
	init_work(batches, &batches->works[1], SIDE * SIDE * sizeof(float));
	fill_matrix(&batches->works[1].a, 0);
	fill_matrix(&batches->works[1].b, 1);
	for (int i = 0; i < 2; i++)
		choose_size(batches, &batches->works[i], milliseconds);
}

void batches_turn(struct batches *batches)
{
	for (int slot = 0; slot < BATCHES_IN_FLIGHT; slot++) {
		for (int i = 0; i < 2; i++) {
			struct work *work = &batches->works[i];
			struct batch *batch = &work->batches[slot];
			if (batch->busy)
				finish(batches, work, batch);
			start(batches, work, batch);
		}
	}
}

void batches_done(struct batches *batches)
{
	for (int i = 0; i < 2; i++) {
		struct work *work = &batches->works[i];
		for (int slot = 0; slot < BATCHES_IN_FLIGHT; slot++) {
			struct batch *batch = &work->batches[slot];
			if (batch->busy)
				finish(batches, work, batch);
			driver_must(cuMemFree_v2(batch->out), "cuMemFree");
			driver_must(cuMemFreeHost(batch->window), "cuMemFreeHost");
			driver_must(cuEventDestroy_v2(batch->done), "cuEventDestroy");
		}
		if (work->a) {
			driver_must(cuMemFree_v2(work->a), "cuMemFree");
			driver_must(cuMemFree_v2(work->b), "cuMemFree");
		}
		driver_must(cuStreamDestroy_v2(work->stream), "cuStreamDestroy");
	}
	driver_must(cuModuleUnload(batches->module), "cuModuleUnload");
}
