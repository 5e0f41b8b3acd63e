// SPDX-License-Identifier: Apache-2.0
// A server that gathers requests of many threads into few launches. Clients put requests in a queue; one
// thread takes all that are there, up to what a batch holds, sends them with one copy, runs one kernel over
// all of them, and answers. While a batch is on its way the next one gathers by itself, so batches grow with
// the load. usage: batch_server [kernels.ptx [clients [requests of each]]]
#include "example.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define MAX_REQUESTS 64u
#define MAX_NUMBERS  1024u // of one request
#define ROOM	     (MAX_REQUESTS * MAX_NUMBERS)

struct request {
	float *x; // n numbers in, n numbers out
	uint32_t n;
	float scale, offset;
	bool done;
	struct request *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t came = PTHREAD_COND_INITIALIZER, answered = PTHREAD_COND_INITIALIZER;
static struct request *first, **last = &first;
static bool closing;

// What travels to the GPU in one copy, and the numbers back.
struct batch {
	float x[ROOM];
	uint32_t owner[ROOM];
	float scale[MAX_REQUESTS], offset[MAX_REQUESTS];
};

struct server {
	struct vgpu *gpu;
	struct vgpu_function *serve;
	struct batch *batch; // memory that the GPU reaches
	uint64_t device;     // the same on the device
	unsigned long batches, requests;
};

// Waits for requests and takes as many as fit; NULL: none will come.
static struct request *take(void)
{
	struct request *taken, *r;
	uint32_t n = 1;

	pthread_mutex_lock(&lock);
	while (!first && !closing)
		pthread_cond_wait(&came, &lock);
	taken = r = first;
	for (; r && r->next && n < MAX_REQUESTS; n++)
		r = r->next;
	if (r) {
		first = r->next;
		r->next = NULL;
		if (!first)
			last = &first;
	}
	pthread_mutex_unlock(&lock);
	return taken;
}

static void answer(struct request *r, const struct batch *b)
{
	pthread_mutex_lock(&lock);
	for (uint32_t at = 0; r; at += r->n, r = r->next) {
		memcpy(r->x, b->x + at, r->n * sizeof(*r->x));
		r->done = true;
	}
	pthread_cond_broadcast(&answered);
	pthread_mutex_unlock(&lock);
}

static void run(struct server *s, struct request *requests)
{
	struct vgpu_shape shape = { sizeof(shape), { 1, 1, 1 }, { 256, 1, 1 }, 0 };
	uint64_t x = s->device, owner = x + offsetof(struct batch, owner),
		 scale = x + offsetof(struct batch, scale), offset = x + offsetof(struct batch, offset);
	uint32_t n = 0, number = 0;

	for (struct request *r = requests; r; r = r->next, number++) {
		memcpy(s->batch->x + n, r->x, r->n * sizeof(*r->x));
		for (uint32_t i = 0; i < r->n; i++)
			s->batch->owner[n + i] = number;
		s->batch->scale[number] = r->scale;
		s->batch->offset[number] = r->offset;
		n += r->n;
	}
	shape.grid[0] = (n + 255) / 256;
	MUST(vgpu_copy_in(s->gpu, NULL, s->device, s->batch, sizeof(*s->batch), 0));
	MUST(vgpu_launch(s->gpu, NULL, s->serve, &shape,
			 (const void *const[]){ &x, &owner, &scale, &offset, &n }));
	MUST(vgpu_copy_out(s->gpu, NULL, s->batch->x, x, n * sizeof(float), VGPU_WAIT));
	s->batches++;
	s->requests += number;
	answer(requests, s->batch);
}

static void *serve(void *arg)
{
	struct server *s = arg;
	struct request *requests;

	while ((requests = take()))
		run(s, requests);
	return NULL;
}

// ---- clients

static void ask(struct request *r)
{
	r->done = false;
	r->next = NULL;
	pthread_mutex_lock(&lock);
	*last = r;
	last = &r->next;
	pthread_cond_signal(&came);
	while (!r->done)
		pthread_cond_wait(&answered, &lock);
	pthread_mutex_unlock(&lock);
}

struct client {
	pthread_t thread;
	uint32_t number, requests, wrong;
};

static void *client(void *arg)
{
	struct client *c = arg;
	float x[MAX_NUMBERS];

	for (uint32_t k = 0; k < c->requests; k++) {
		struct request r = { .x = x,
				     .n = 1 + (k * 37 + c->number * 101) % MAX_NUMBERS,
				     .scale = (float)(c->number + 2),
				     .offset = (float)k };

		for (uint32_t i = 0; i < r.n; i++)
			x[i] = (float)i;
		ask(&r);
		for (uint32_t i = 0; i < r.n; i++)
			c->wrong += x[i] != r.scale * (float)i + r.offset;
	}
	return NULL;
}

static uint32_t number(int argc, char **argv, int i, uint32_t otherwise)
{
	unsigned long n = argc > i ? strtoul(argv[i], NULL, 10) : otherwise;

	return n && n <= 10000 ? (uint32_t)n : otherwise;
}

int main(int argc, char **argv)
{
	uint32_t n = number(argc, argv, 2, 8), requests = number(argc, argv, 3, 200), wrong = 0;
	struct client *clients = calloc(n, sizeof(*clients));
	struct server s = { .batches = 0 };
	pthread_t server;

	if (!clients)
		return 1;
	MUST(vgpu_open(NULL, &s.gpu));
	MUST(vgpu_function_get(s.gpu, load(s.gpu, argc > 1 ? argv[1] : "kernels.ptx"), "serve", &s.serve));
	MUST(vgpu_host_alloc(s.gpu, sizeof(*s.batch), (void **)&s.batch));
	MUST(vgpu_alloc(s.gpu, sizeof(*s.batch), &s.device));
	pthread_create(&server, NULL, serve, &s);
	for (uint32_t i = 0; i < n; i++) {
		clients[i] = (struct client){ .number = i, .requests = requests };
		pthread_create(&clients[i].thread, NULL, client, &clients[i]);
	}
	for (uint32_t i = 0; i < n; i++) {
		pthread_join(clients[i].thread, NULL);
		wrong += clients[i].wrong;
	}
	pthread_mutex_lock(&lock);
	closing = true;
	pthread_cond_signal(&came);
	pthread_mutex_unlock(&lock);
	pthread_join(server, NULL);
	printf("%lu requests of %u clients in %lu batches: %u numbers wrong\n", s.requests, n, s.batches,
	       wrong);
	vgpu_close(s.gpu);
	free(clients);
	return wrong != 0;
}
