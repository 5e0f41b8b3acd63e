// SPDX-License-Identifier: Apache-2.0
//
// libvgpu from many threads: one device shared by all, with streams of their own, and devices of their own;
// with "cuda", a thread that uses CUDA in the same process at the same time; with "loop", work until the
// device is lost, whose error it prints (exit status 3).
#include "tests/e2e/capi.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define THREADS 8
#define ROUNDS	60
#define WORDS	5000u

static struct vgpu *shared;
static struct vgpu_function *shared_add;

struct work {
	struct vgpu *gpu;
	struct vgpu_function *add;
	uint32_t number;
	int wrong;
};

static int is_meant_to_fail; // "loop"

// Whether it went wrong, which it says.
static int fails(const char *what, int result)
{
	if (result && !is_meant_to_fail)
		printf("# %s: %s\n", what, vgpu_error_text(result));
	return result != VGPU_OK;
}

static int one_round(struct work *w, struct vgpu_stream *stream, uint64_t memory, uint32_t *words,
		     uint32_t round)
{
	uint32_t n = WORDS, what = round;
	int wrong;

	for (uint32_t i = 0; i < n; i++)
		words[i] = i * w->number;
	wrong = fails("copy in", vgpu_copy_in(w->gpu, stream, memory, words, n * 4, 0));
	wrong += fails("launch", CAPI_LAUNCH(w->gpu, stream, w->add, 40, 128, &memory, &n, &what));
	memset(words, 0, n * 4);
	wrong += fails("copy out", vgpu_copy_out(w->gpu, stream, words, memory, n * 4, 0));
	for (uint32_t i = 0; check_computes() && i < n; i++)
		wrong += words[i] != i * w->number + round;
	return wrong;
}

static void *work(void *arg)
{
	struct work *w = arg;
	struct vgpu_stream *stream;
	uint32_t *words = malloc(WORDS * 4);
	uint64_t memory;

	for (uint32_t round = 0; round < ROUNDS; round++) {
		if (fails("stream", vgpu_stream_new(w->gpu, 0, &stream)) ||
		    fails("alloc", vgpu_alloc(w->gpu, WORDS * 4, &memory))) {
			w->wrong++;
			break;
		}
		w->wrong += one_round(w, stream, memory, words, round);
		w->wrong += fails("stream free", vgpu_stream_free(w->gpu, stream)) +
			    fails("free", vgpu_free(w->gpu, memory));
	}
	free(words);
	return NULL;
}

static void *work_alone(void *arg)
{
	struct work *w = arg;

	w->gpu = capi_open();
	w->add = capi_function(w->gpu, capi_module(w->gpu, "basic.ptx"), "add_to_all");
	work(w);
	vgpu_close(w->gpu);
	return NULL;
}

static void *cuda(void *arg)
{
	struct work *w = arg;
	CUfunction step;
	CUdeviceptr word;
	uint32_t got, want;

	check_context();
	step = check_function(check_module("basic.ptx"), "step");
	MUST(cuMemAlloc_v2(&word, 4));
	for (uint32_t round = 0; round < ROUNDS; round++) {
		MUST(cuMemsetD32_v2(word, round, 1));
		LAUNCH(step, 1, 1, NULL, &word, &round);
		MUST(cuMemcpyDtoH_v2(&got, word, 4));
		want = check_computes() ? 4 * round : got;
		w->wrong += got != want;
	}
	MUST(cuMemFree_v2(word));
	return NULL;
}

static void run(const char *what, void *(*fn)(void *arg), int threads, int with_cuda)
{
	struct work works[THREADS + 1] = { 0 };
	pthread_t ids[THREADS + 1];

	for (int i = 0; i < threads + with_cuda; i++) {
		works[i] = (struct work){ .gpu = shared, .add = shared_add, .number = (uint32_t)i + 1 };
		if (pthread_create(&ids[i], NULL, i < threads ? fn : cuda, &works[i]))
			check_bail("no thread");
	}
	for (int i = 0; i < threads + with_cuda; i++) {
		pthread_join(ids[i], NULL);
		CHECK(!works[i].wrong, "%s: thread %d, %d wrong", what, i, works[i].wrong);
	}
}

static int loop(void)
{
	struct work w = { .gpu = shared, .add = shared_add, .number = 1 };
	uint32_t *words = malloc(WORDS * 4);
	uint64_t memory, again;
	int result;

	NEED(vgpu_alloc(shared, WORDS * 4, &memory));
	is_meant_to_fail = 1;
	printf("ready\n");
	fflush(stdout);
	while (!one_round(&w, NULL, memory, words, 1))
		;
	do // the error may have come with the last of them
		result = vgpu_stream_wait(shared, NULL, VGPU_FOREVER);
	while (!result);
	printf("error %d %s\n", result, vgpu_error_text(result));
	if (vgpu_alloc(shared, 4, &again) != result || vgpu_check(shared) != result)
		printf("not told again\n");
	vgpu_close(shared);
	// The device is there again when the host has another executor.
	shared = capi_open();
	NEED(vgpu_alloc(shared, 4, &again));
	printf("again\n");
	vgpu_close(shared);
	free(words);
	return 3;
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";

	shared = capi_open();
	shared_add = capi_function(shared, capi_module(shared, "basic.ptx"), "add_to_all");
	if (!strcmp(how, "loop"))
		return loop();
	if (!strcmp(how, "cuda")) {
		run("beside CUDA", work, 2, 1);
	} else {
		run("one device", work, THREADS, 0);
		run("devices of their own", work_alone, 3, 0);
	}
	vgpu_close(shared);
	return check_done();
}
