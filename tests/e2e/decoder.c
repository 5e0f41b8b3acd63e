// SPDX-License-Identifier: Apache-2.0
//
// A program as LLM runners are made: a pool of temporary memory that grows into reserved addresses, weights
// that come over a stream of their own while events tell the other, a prompt through products of matrices
// (cuBLAS when argv[1] names its library, else a kernel), then token by token one graph that is captured anew
// and updated in place. What comes out is compared with a processor's numbers.
#include "tests/e2e/check.h"
#include "tests/e2e/decoder_model.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESERVED (4096 * MIB)
#define CHUNK	 (256 * KIB) // of the upload

static const int prompt[PROMPT] = { 11, 401, 7, 260, 33, 509, 128 };

static struct {
	CUfunction matvec, quantize, get_row, rms_norm, store, attend, gate, add, dequantize, product;
} kernel;
static CUstream work, upload;

// ---- the pool: a stack of temporary blocks at growing addresses

static struct {
	CUdeviceptr base;
	size_t mapped, used, granularity;
	int grown; // times
} pool;

static void pool_init(void)
{
	CUmemAllocationProp prop = { .type = CU_MEM_ALLOCATION_TYPE_PINNED,
				     .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 } };
	int supported = 0;

	MUST(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 0));
	// Runners that find 0 here take plain allocations; this program is about the pool.
	if (check_backend() == BACKEND_NATIVE || check_backend() == BACKEND_CUDA)
		EQUAL(1, supported);
	OK(cuMemGetAllocationGranularity(&pool.granularity, &prop, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED));
	OK(cuMemAddressReserve(&pool.base, RESERVED, 0, 0, 0));
}

static void pool_grow(size_t need)
{
	CUmemAllocationProp prop = { .type = CU_MEM_ALLOCATION_TYPE_PINNED,
				     .location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 } };
	CUmemAccessDesc access = { .location = prop.location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
	size_t more = (need + pool.granularity - 1) / pool.granularity * pool.granularity;
	CUmemGenericAllocationHandle handle;

	OK(cuMemCreate(&handle, more, &prop, 0));
	OK(cuMemMap(pool.base + pool.mapped, more, 0, handle, 0));
	OK(cuMemRelease(handle)); // the mapping keeps it
	OK(cuMemSetAccess(pool.base + pool.mapped, more, &access, 1));
	pool.mapped += more;
	pool.grown++;
}

static CUdeviceptr pool_take(size_t bytes)
{
	CUdeviceptr at = pool.base + pool.used;

	pool.used += (bytes + 127) & ~(size_t)127;
	if (pool.used > pool.mapped)
		pool_grow(pool.used - pool.mapped);
	return at;
}

static void pool_done(void)
{
	OK(cuMemUnmap(pool.base, pool.mapped));
	OK(cuMemAddressFree(pool.base, RESERVED));
}

// ---- memory that lasts

static struct {
	CUdeviceptr model, keys[LAYERS], values[LAYERS];
	CUdeviceptr token, x, h, packed, q, k, v, a, b, likelihoods;
	int *host_token; // pinned
	float *host_likelihoods;
} memory;

static CUdeviceptr device(size_t bytes)
{
	CUdeviceptr p;

	MUST(cuMemAlloc_v2(&p, bytes));
	return p;
}

static CUdeviceptr weights(int layer, enum matrix m)
{
	return memory.model + model_offset(layer, m) * sizeof(struct block);
}

static void allocate(void)
{
	void *p;

	memory.model = device(model_blocks() * sizeof(struct block));
	for (int i = 0; i < LAYERS; i++) {
		memory.keys[i] = device(sizeof(float[CONTEXT][WIDTH]));
		memory.values[i] = device(sizeof(float[CONTEXT][WIDTH]));
	}
	memory.token = device(sizeof(int));
	CUdeviceptr *const rows[] = { &memory.x, &memory.h, &memory.q, &memory.k,
				      &memory.v, &memory.a, &memory.b };
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		*rows[i] = device(sizeof(float[HIDDEN]));
	memory.packed = device(HIDDEN / 32 * sizeof(struct block));
	memory.likelihoods = device(sizeof(float[VOCABULARY]));
	MUST(cuMemHostAlloc(&p, sizeof(int), 0));
	memory.host_token = p;
	MUST(cuMemHostAlloc(&p, sizeof(float[VOCABULARY]), 0));
	memory.host_likelihoods = p;
	memset(p, 0, sizeof(float[VOCABULARY]));
}

static void release(void)
{
	MUST(cuMemFree_v2(memory.model));
	for (int i = 0; i < LAYERS; i++) {
		MUST(cuMemFree_v2(memory.keys[i]));
		MUST(cuMemFree_v2(memory.values[i]));
	}
	const CUdeviceptr rest[] = { memory.token, memory.x, memory.h, memory.q,      memory.k,
				     memory.v,	   memory.a, memory.b, memory.packed, memory.likelihoods };
	for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
		MUST(cuMemFree_v2(rest[i]));
	MUST(cuMemFreeHost(memory.host_token));
	MUST(cuMemFreeHost(memory.host_likelihoods));
}

// The weights go over piece by piece through two pinned buffers; an event each tells when its buffer is free.
static void upload_model(const struct block *model)
{
	size_t bytes = model_blocks() * sizeof(*model);
	CUevent free_again[2], all;
	void *stage[2];

	for (int i = 0; i < 2; i++) {
		MUST(cuMemHostAlloc(&stage[i], CHUNK, 0));
		MUST(cuEventCreate(&free_again[i], CU_EVENT_DISABLE_TIMING));
	}
	for (size_t at = 0, i = 0; at < bytes; at += CHUNK, i ^= 1) {
		size_t n = bytes - at < CHUNK ? bytes - at : CHUNK;

		MUST(cuEventSynchronize(free_again[i]));
		memcpy(stage[i], (const char *)model + at, n);
		MUST(cuMemcpyHtoDAsync_v2(memory.model + at, stage[i], n, upload));
		MUST(cuEventRecord(free_again[i], upload));
	}
	MUST(cuEventCreate(&all, CU_EVENT_DISABLE_TIMING));
	OK(cuEventRecord(all, upload));
	OK(cuStreamWaitEvent(work, all, 0));
	OK(cuEventDestroy_v2(all)); // what waits goes on waiting
	for (int i = 0; i < 2; i++) {
		MUST(cuEventSynchronize(free_again[i]));
		MUST(cuEventDestroy_v2(free_again[i]));
		MUST(cuMemFreeHost(stage[i]));
	}
}

// ---- launches

#define RUN(function, gx, gy, bx, by, shared, ...)                                                      \
	do {                                                                                            \
		void *run_arguments[] = { __VA_ARGS__ };                                                \
		MUST(cuLaunchKernel(kernel.function, gx, gy, 1, bx, by, 1, shared, work, run_arguments, \
				    NULL));                                                             \
	} while (0)

static void get_row(CUdeviceptr token, CUdeviceptr out)
{
	int blocks = WIDTH / 32;

	RUN(get_row, 1, 1, WIDTH, 1, 0, &memory.model, &token, &out, &blocks);
}

static void normal(CUdeviceptr x, CUdeviceptr out)
{
	int n = WIDTH;

	RUN(rms_norm, 1, 1, 128, 1, 0, &x, &out, &n);
}

static void pack(CUdeviceptr x, int n)
{
	RUN(quantize, (unsigned)n / 32, 1, 32, 1, 0, &x, &memory.packed);
}

// Of what pack() has left.
static void matvec(CUdeviceptr w, CUdeviceptr out, struct shape shape, int add)
{
	int blocks = shape.columns / 32;

	RUN(matvec, (unsigned)(shape.rows + 3) / 4, 1, 32, 4, 0, &w, &memory.packed, &out, &shape.rows,
	    &blocks, &add);
}

static void store(int layer, CUdeviceptr k, CUdeviceptr v, int position)
{
	int n = WIDTH;

	RUN(store, WIDTH / 128, 1, 128, 1, 0, &k, &v, &memory.keys[layer], &memory.values[layer], &position,
	    &n);
}

static void attend(int layer, CUdeviceptr q, CUdeviceptr out, int length)
{
	int n = WIDTH, head = HEAD;

	RUN(attend, HEADS, 1, 32, 1, (unsigned)length * 4, &q, &memory.keys[layer], &memory.values[layer],
	    &out, &length, &n, &head);
}

static void gate(CUdeviceptr a, CUdeviceptr b, int n)
{
	RUN(gate, (unsigned)n / 128, 1, 128, 1, 0, &a, &b, &n);
}

static void last(CUdeviceptr x)
{
	normal(x, memory.h);
	pack(memory.h, WIDTH);
	matvec(memory.model, memory.likelihoods, (struct shape){ VOCABULARY, WIDTH }, 0);
	MUST(cuMemcpyDtoHAsync_v2(memory.host_likelihoods, memory.likelihoods, sizeof(float[VOCABULARY]),
				  work));
}

// ---- the prompt: products of matrices

static struct {
	void *handle;
	int (*create)(void **);
	int (*destroy)(void *);
	int (*set_stream)(void *, CUstream);
	int (*sgemm)(void *, int, int, int, int, int, const float *, const void *, int, const void *, int,
		     const float *, void *, int);
} cublas;

static void open_cublas(const char *path)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		check_bail("%s", dlerror());
	cublas.create = (int (*)(void **))dlsym(library, "cublasCreate_v2");
	cublas.destroy = (int (*)(void *))dlsym(library, "cublasDestroy_v2");
	cublas.set_stream = (int (*)(void *, CUstream))dlsym(library, "cublasSetStream_v2");
	*(void **)&cublas.sgemm = dlsym(library, "cublasSgemm_v2");
	if (!cublas.create || !cublas.destroy || !cublas.set_stream || !cublas.sgemm)
		check_bail("%s lacks a function", path);
	EQUAL(0, cublas.create(&cublas.handle));
	EQUAL(0, cublas.set_stream(cublas.handle, work));
}

static CUdeviceptr product(int layer, enum matrix m, CUdeviceptr b, int columns)
{
	int rows = model_shapes[m].rows, inner = model_shapes[m].columns;
	CUdeviceptr packed = weights(layer, m), a = pool_take(sizeof(float) * (size_t)rows * (size_t)inner);
	CUdeviceptr c = pool_take(sizeof(float) * (size_t)rows * (size_t)columns);
	float one = 1, zero = 0;

	RUN(dequantize, (unsigned)(rows * inner) / 32, 1, 32, 1, 0, &packed, &a);
	if (cublas.handle) // both lie row by row, which that library reads as columns: 1 is "transposed"
		EQUAL(0, cublas.sgemm(cublas.handle, 1, 0, rows, columns, inner, &one, (void *)(uintptr_t)a,
				      inner, (void *)(uintptr_t)b, inner, &zero, (void *)(uintptr_t)c, rows));
	else
		RUN(product, (unsigned)rows / 16, (unsigned)(columns + 15) / 16, 16, 16, 0, &a, &b, &c, &rows,
		    &inner, &columns);
	return c;
}

static void add(CUdeviceptr x, CUdeviceptr y, int n)
{
	RUN(add, (unsigned)n / 128, 1, 128, 1, 0, &x, &y, &n);
}

static CUdeviceptr row(CUdeviceptr matrix, int i, int width)
{
	return matrix + sizeof(float) * (size_t)i * (size_t)width;
}

static void prompt_layer(int layer, CUdeviceptr x, int first, int n)
{
	CUdeviceptr h = pool_take(sizeof(float[WIDTH]) * (size_t)n), q, k, v, out;

	for (int i = 0; i < n; i++)
		normal(row(x, i, WIDTH), row(h, i, WIDTH));
	q = product(layer, QUERY, h, n);
	k = product(layer, KEY, h, n);
	v = product(layer, VALUE, h, n);
	for (int i = 0; i < n; i++)
		store(layer, row(k, i, WIDTH), row(v, i, WIDTH), first + i);
	for (int i = 0; i < n; i++)
		attend(layer, row(q, i, WIDTH), row(h, i, WIDTH), first + i + 1);
	out = product(layer, OUT, h, n);
	add(x, out, n * WIDTH);
	for (int i = 0; i < n; i++)
		normal(row(x, i, WIDTH), row(h, i, WIDTH));
	q = product(layer, GATE, h, n);
	k = product(layer, UP, h, n);
	gate(q, k, n * HIDDEN);
	out = product(layer, DOWN, q, n);
	add(x, out, n * WIDTH);
}

// Tokens first to first + n - 1 of the prompt; the pool is as before when their work has been handed over.
static void run_prompt(int first, int n)
{
	size_t used = pool.used;
	CUdeviceptr x = pool_take(sizeof(float[WIDTH]) * (size_t)n),
		    tokens = pool_take(sizeof(int) * (size_t)n);

	MUST(cuMemcpyHtoDAsync_v2(tokens, prompt + first, sizeof(int) * (size_t)n, work));
	for (int i = 0; i < n; i++)
		get_row(tokens + sizeof(int) * (size_t)i, row(x, i, WIDTH));
	for (int layer = 0; layer < LAYERS; layer++) {
		size_t here = pool.used;

		prompt_layer(layer, x, first, n);
		pool.used = here;
	}
	last(row(x, n - 1, WIDTH));
	pool.used = used;
}

// ---- a token at a time: one graph

static void layer_of_token(int layer, int position)
{
	normal(memory.x, memory.h);
	pack(memory.h, WIDTH);
	matvec(weights(layer, QUERY), memory.q, model_shapes[QUERY], 0);
	matvec(weights(layer, KEY), memory.k, model_shapes[KEY], 0);
	matvec(weights(layer, VALUE), memory.v, model_shapes[VALUE], 0);
	store(layer, memory.k, memory.v, position);
	attend(layer, memory.q, memory.h, position + 1);
	pack(memory.h, WIDTH);
	matvec(weights(layer, OUT), memory.x, model_shapes[OUT], 1);
	normal(memory.x, memory.h);
	pack(memory.h, WIDTH);
	matvec(weights(layer, GATE), memory.a, model_shapes[GATE], 0);
	matvec(weights(layer, UP), memory.b, model_shapes[UP], 0);
	gate(memory.a, memory.b, HIDDEN);
	pack(memory.a, HIDDEN);
	matvec(weights(layer, DOWN), memory.x, model_shapes[DOWN], 1);
}

static CUgraph capture_token(int position)
{
	CUgraph graph;

	MUST(cuStreamBeginCapture_v2(work, CU_STREAM_CAPTURE_MODE_RELAXED));
	get_row(memory.token, memory.x);
	for (int layer = 0; layer < LAYERS; layer++)
		layer_of_token(layer, position);
	last(memory.x);
	MUST(cuStreamEndCapture(work, &graph));
	return graph;
}

static struct {
	CUgraphExec exec;
	int made, updated;
} graphs;

static void launch_token(int position)
{
	CUgraphExecUpdateResultInfo info = { .result = CU_GRAPH_EXEC_UPDATE_ERROR };
	CUgraph graph = capture_token(position);

	if (graphs.exec && cuGraphExecUpdate_v2(graphs.exec, graph, &info) == CUDA_SUCCESS) {
		graphs.updated++;
	} else {
		if (graphs.exec)
			MUST(cuGraphExecDestroy(graphs.exec));
		MUST(cuGraphInstantiateWithFlags(&graphs.exec, graph, 0));
		graphs.made++;
	}
	MUST(cuGraphDestroy(graph));
	MUST(cuGraphLaunch(graphs.exec, work));
}

// The token goes over on the other stream; the graph waits for it there.
static void decode(int token, int position)
{
	CUevent there;

	*memory.host_token = token;
	MUST(cuEventCreate(&there, CU_EVENT_DISABLE_TIMING));
	MUST(cuMemcpyHtoDAsync_v2(memory.token, memory.host_token, sizeof(int), upload));
	MUST(cuEventRecord(there, upload));
	MUST(cuStreamWaitEvent(work, there, 0));
	launch_token(position);
	MUST(cuStreamSynchronize(work));
	MUST(cuEventDestroy_v2(there));
}

// ---- against the reference

// Quantised activations may round the other way where the last bit differs, so near is enough.
static bool close_enough(const float *want, int where)
{
	double off = 0, size = 0;

	if (!check_computes())
		return true;
	for (int i = 0; i < VOCABULARY; i++) {
		off = fmax(off, fabs((double)want[i] - (double)memory.host_likelihoods[i]));
		size = fmax(size, fabs((double)want[i]));
	}
	return CHECK(off < 0.03 * size, "token %d: off by %.5f of %.3f", where, off, size);
}

static void generate(const struct block *model)
{
	struct reference *r = reference_new(model);
	const float *want = NULL;
	double sum = 0;
	int token, same = 0;

	if (!r)
		check_bail("no memory");
	run_prompt(0, 2);
	run_prompt(2, PROMPT - 2);
	OK(cuStreamSynchronize(work));
	for (int i = 0; i < PROMPT; i++)
		want = reference_step(r, prompt[i], true);
	close_enough(want, PROMPT);
	for (int i = PROMPT; i < CONTEXT; i++) {
		token = model_best(memory.host_likelihoods);
		same += token == model_best(want);
		decode(token, i);
		want = reference_step(r, token, false);
		close_enough(want, i + 1);
		for (int k = 0; k < VOCABULARY; k++)
			sum += fabs((double)memory.host_likelihoods[k]);
	}
	EQUAL(1, graphs.made);
	EQUAL(TOKENS - 1, graphs.updated);
	printf("# checksum %.4f, %d of %d tokens as the processor chooses them, pool of %zu MiB grown %d "
	       "times\n",
	       sum, same, (int)TOKENS, pool.mapped / MIB, pool.grown);
	MUST(cuGraphExecDestroy(graphs.exec));
	reference_free(r);
}

int main(int argc, char **argv)
{
	struct block *model = model_make();
	CUmodule module;

	if (!model)
		check_bail("no memory");
	check_context();
	module = check_module("decoder.ptx");
#define FIND(name) kernel.name = check_function(module, #name)
	FIND(matvec), FIND(quantize), FIND(get_row), FIND(rms_norm), FIND(store), FIND(attend), FIND(gate),
	    FIND(add);
	FIND(dequantize), FIND(product);
	MUST(cuStreamCreate(&work, CU_STREAM_NON_BLOCKING));
	MUST(cuStreamCreate(&upload, CU_STREAM_NON_BLOCKING));
	if (argc > 1)
		open_cublas(argv[1]);
	pool_init();
	allocate();
	upload_model(model);
	generate(model);
	CHECK(pool.grown > 1, "the pool has grown %d times", pool.grown);
	if (cublas.handle)
		EQUAL(0, cublas.destroy(cublas.handle));
	pool_done();
	release();
	OK(cuStreamDestroy_v2(work));
	OK(cuStreamDestroy_v2(upload));
	OK(cuModuleUnload(module));
	free(model);
	return check_done();
}
