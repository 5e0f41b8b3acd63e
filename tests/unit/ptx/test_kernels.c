// SPDX-License-Identifier: Apache-2.0
/*
 * Whole kernels as nvcc, clang and numba make them: they load, run on several workers and give the right
 * results.
 */
#include "tests/unit/ptx/ptx_test.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static struct ptx_module *nvcc, *clang;

static int setup(void **state)
{
	ptx_test_threads = 4;
	return ptx_test_setup(state);
}

static void with_nvcc(void)
{
	nvcc = load_file("kernels/nvcc_kernels.ptx");
}

static void with_clang(void)
{
	clang = load_file("kernels/clang_kernels.ptx");
}

static int after(void **state)
{
	(void)state;
	ptx_module_free(nvcc);
	ptx_module_free(clang);
	nvcc = clang = NULL;
	dev_free_all();
	return 0;
}

static uint64_t f32(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	return u;
}

static float *floats(size_t n)
{
	float *v = dev_alloc(n * 4);

	for (size_t i = 0; i < n; i++)
		v[i] = (float)((int)(i * 37 % 101) - 50) / 8;
	return v;
}

static int *ints(size_t n)
{
	int *v = dev_alloc(n * 4);

	for (size_t i = 0; i < n; i++)
		v[i] = (int)(i * 2654435761u >> 7) % 1000 - 400;
	return v;
}

static void saxpy_of_many_blocks(void **state)
{
	enum { N = 100000 };
	float *x, *y, *want;

	(void)state;
	with_nvcc();
	x = floats(N);
	y = floats(N);
	want = malloc(N * 4);
	for (int i = 0; i < N; i++)
		want[i] = fmaf(2.5f, x[i], y[i]);
	RUN(nvcc, "saxpy", SHAPE((N + 255) / 256, 256), f32(2.5f), P(x), P(y), N);
	assert_memory_equal(y, want, N * 4);
	free(want);
}

static void reductions(void **state)
{
	enum { N = 10000 };
	float *x, *sum, want = 0;
	int *xi, *sumi, wanti = 0;

	(void)state;
	with_nvcc();
	x = floats(N);
	sum = dev_alloc(4);
	xi = ints(N);
	sumi = dev_alloc(4);
	for (int i = 0; i < N; i++) {
		want += x[i]; // all partial sums are exact
		wanti += xi[i];
	}
	RUN(nvcc, "reduce_shared", SHAPE((N + 255) / 256, 256), P(x), P(sum), N);
	assert_true(*sum == want);
	RUN(nvcc, "reduce_warp", SHAPE((N + 127) / 128, 128), P(xi), P(sumi), N);
	assert_int_equal(*sumi, wanti);
}

static void tiled_matrix_product(void **state)
{
	enum { N = 64 };
	float *a, *b, *c;

	(void)state;
	with_nvcc();
	a = floats(N * N);
	b = floats(N * N);
	c = dev_alloc(N * N * 4);
	RUN(nvcc, "matmul_tiled", (&(struct shape){ { N / 16, N / 16, 1 }, { 16, 16, 1 }, 0 }), P(a), P(b),
	    P(c), N);
	for (int y = 0; y < N; y++)
		for (int x = 0; x < N; x++) {
			float want = 0;

			for (int k = 0; k < N; k++)
				want = fmaf(a[y * N + k], b[k * N + x], want);
			assert_true(c[y * N + x] == want);
		}
}

static void scan_in_dynamic_shared_memory(void **state)
{
	int *in, *out, sum = 0;

	(void)state;
	with_nvcc();
	in = ints(512);
	out = dev_alloc(512 * 4);
	RUN(nvcc, "scan_dynamic", (&(struct shape){ { 1, 1, 1 }, { 512, 1, 1 }, 512 * 4 }), P(in), P(out));
	for (int i = 0; i < 512; i++) {
		sum += in[i];
		assert_int_equal(out[i], sum);
	}
}

static bool near(double got, double want, double ulps, double eps)
{
	return fabs(got - want) <= ulps * eps * fmax(1, fabs(want));
}

static void mathematical_functions(void **state)
{
	enum { N = 500 };
	float *x, *out;
	double *xd, *outd;

	(void)state;
	with_nvcc();
	x = floats(N);
	out = dev_alloc(N * 4);
	xd = dev_alloc(N * 8);
	outd = dev_alloc(N * 8);
	for (int i = 0; i < N; i++)
		xd[i] = x[i] * 1.37;
	RUN(nvcc, "math_functions", SHAPE(4, 128), P(x), P(out), P(xd), P(outd), N);
	for (int i = 0; i < N; i++) {
		double v = x[i], d = xd[i];
		double want = sin(v) + cos(v) * exp(v) - log(1 + v * v) + sqrt(fabs(v)) + tanh(v) +
			      pow(fabs(v), 0.7f) + erf(v);
		double wantd = sin(d) + exp(d) - log(1 + d * d) + pow(fabs(d), 1.3) + cbrt(d) + atan2(d, 2);

		assert_true(near(out[i], want, 16, 0x1p-24));
		assert_true(near(outd[i], wantd, 16, 0x1p-53));
	}
}

static void structures_by_value(void **state)
{
	struct {
		double x, y;
		int id;
		char tag[12];
	} p = { 1.5, 2, 7, { 10, 20, 30 } }, *q;
	unsigned char params[64] = { 0 };
	uint32_t grid[3] = { 1, 1, 1 }, block[3] = { 12, 1, 1 };
	const struct ptx_kernel *k;
	uint64_t args[2];
	double *out;

	(void)state;
	with_nvcc();
	q = dev_alloc(12 * sizeof(p));
	out = dev_alloc(12 * 8);
	for (int i = 0; i < 12; i++)
		q[i].y = i;
	args[0] = P(q);
	args[1] = P(out);
	k = ptx_module_kernel(nvcc, "by_value");
	assert_int_equal(ptx_kernel_info(k)->params[0].size, sizeof(p));
	memcpy(params, &p, sizeof(p));
	memcpy(params + ptx_kernel_info(k)->params[1].offset, args, 16);
	assert_int_equal(ptx_launch(ptx_test_machine, k, grid, block, 0, params,
				    ptx_kernel_info(k)->param_bytes, &last_fault),
			 0);
	for (int i = 0; i < 12; i++)
		assert_true(out[i] == 1.5 * i + p.tag[i] + 7);
}

static void recursion_and_virtual_calls(void **state)
{
	static const int fib[] = { 0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610 };
	int *out;
	float *area;

	(void)state;
	with_nvcc();
	out = dev_alloc(64);
	area = dev_alloc(128);
	RUN(nvcc, "recursion", SHAPE(1, 16), P(out));
	assert_memory_equal(out, fib, sizeof(fib));
	RUN(nvcc, "virtual_calls", SHAPE(1, 32), P(area));
	for (int i = 0; i < 32; i++)
		assert_true(area[i] == (i & 1 ? 1.0f : 3.0f) * i * i);
}

static void module_variables(void **state)
{
	static const int table[8] = { 3, 1, 4, 1, 5, 9, 2, 6 };
	uint64_t addr;
	size_t size;
	int *out;

	(void)state;
	with_nvcc();
	out = dev_alloc(32);
	RUN(nvcc, "variables", SHAPE(1, 8), P(out));
	assert_int_equal(ptx_module_global(nvcc, "counter", &addr, &size), 0);
	assert_int_equal(size, 4);
	assert_int_equal(*(int *)addr, 48);
	for (int i = 0; i < 8; i++)
		assert_in_range(out[i], table[i] + 40, table[i] + 47);
	assert_int_equal(ptx_module_global(nvcc, "table", &addr, &size), 0);
	assert_memory_equal((void *)addr, table, sizeof(table));
	assert_int_equal(ptx_module_global(nvcc, "nothing", &addr, &size), -2);
}

static unsigned reverse(unsigned v)
{
	unsigned r = 0;

	for (int i = 0; i < 32; i++)
		r |= (v >> i & 1) << (31 - i);
	return r;
}

static long long int_mix(int a, int b)
{
	long long r = (long long)a * b;
	uint64_t both = (uint64_t)(uint32_t)b << 32 | (uint32_t)a;
	uint32_t perm =
	    (both & 255) | (both >> 32 & 255) << 8 | (both >> 8 & 255) << 16 | (both >> 40 & 255) << 24;

	// every term as CUDA types it: unsigned ones wrap at 32 bits in between
	r += (unsigned)(__builtin_popcount(a) + (b ? __builtin_clz(b) : 32)) + reverse(a) + __builtin_ffs(b) +
	     (unsigned)((uint64_t)(uint32_t)a * (uint32_t)b >> 32) +
	     ((a > b ? (unsigned)a - b : (unsigned)b - a) + 7u);
	r ^= (long long)(a / (b | 1)) + a % (b | 1);
	r += (unsigned)(perm + (uint32_t)((uint32_t)b << 11 | (uint32_t)a >> 21)) + (a < b ? a : b) + abs(a);
	switch (a & 7) {
	case 0: return r + 1;
	case 1: return r * 3;
	case 2: return r ^ 0x55;
	case 3: return r - 9;
	case 4: return (long long)((unsigned long long)r << 2);
	case 5: return ~r;
	default: return -r;
	}
}

static void integer_intrinsics(void **state)
{
	enum { N = 300 };
	long long *out;
	int *a, *b;

	(void)state;
	with_nvcc();
	a = ints(N);
	b = ints(N + 50) + 50;
	out = dev_alloc(N * 8);
	RUN(nvcc, "int_mix", SHAPE(3, 100), P(a), P(b), P(out), N);
	for (int i = 0; i < N; i++)
		assert_int_equal(out[i], int_mix(a[i], b[i]));
}

static void votes_of_a_warp(void **state)
{
	unsigned *out, ballot = 0, sum = 0;
	int *x, any = 0, all = 1;

	(void)state;
	with_nvcc();
	x = dev_alloc(128);
	out = dev_alloc(32 * 24);
	for (int i = 0; i < 32; i++) {
		x[i] = (i * 7 + 3) % 60;
		ballot |= (unsigned)(x[i] & 1) << i;
		any |= x[i] > 50;
		all &= x[i] > 0;
		sum += x[i];
	}
	RUN(nvcc, "votes", SHAPE(1, 32), P(x), P(out));
	for (int i = 0; i < 32; i++) {
		unsigned match = 0;

		for (int k = 0; k < 32; k++)
			match |= (unsigned)(x[k] % 3 == x[i] % 3) << k;
		assert_int_equal(out[i * 6], all);
		assert_int_equal(out[i * 6 + 1], any);
		assert_int_equal(out[i * 6 + 2], ballot);
		assert_int_equal(out[i * 6 + 3], match);
		assert_int_equal(out[i * 6 + 4], sum);
		assert_int_equal(out[i * 6 + 5], i & 1 ? 0xaaaaaaaa : 0);
	}
}

static char printed[8192];
static size_t printed_len;

static void collect(void *opaque, const char *text, size_t len)
{
	(void)opaque;
	assert_true(printed_len + len < sizeof(printed));
	memcpy(printed + printed_len, text, len);
	printed_len += len;
	printed[printed_len] = 0;
}

static void printf_reaches_the_sink(void **state)
{
	(void)state;
	with_nvcc();
	ptx_machine_output(ptx_test_machine, collect, NULL);
	RUN(nvcc, "prints", SHAPE(1, 3), 3);
	ptx_machine_output(ptx_test_machine, NULL, NULL);
	assert_string_equal(printed, "thread 0 of 3: text 0.00 1099511627776 x%\n"
				     "thread 1 of 3: text 1.50 1099511627776 x%\n"
				     "thread 2 of 3: text 3.00 1099511627776 x%\n");
}

static void assertion_carries_its_message(void **state)
{
	(void)state;
	with_nvcc();
	RUN(nvcc, "asserts", SHAPE(2, 64), 64);
	assert_int_equal(launch(nvcc, "asserts", SHAPE(1, 64), 1, (uint64_t[]){ 63 }), -14);
	assert_int_equal(last_fault.kind, PTX_FAULT_ASSERT);
	assert_non_null(strstr(last_fault.text, "nvcc_kernels.cu:"));
	assert_non_null(strstr(last_fault.text, "thread: [63,0,0] Assertion `n > (int)threadIdx.x` failed."));
}

static void local_arrays(void **state)
{
	int *idx, *out;

	(void)state;
	with_nvcc();
	idx = ints(1000);
	out = dev_alloc(4000);
	RUN(nvcc, "local_array", SHAPE(1, 1000), P(idx), P(out));
	for (int i = 0; i < 1000; i++) {
		int a = idx[i] & 31, b = (idx[i] * 7) & 31;

		assert_int_equal(out[i], a * a + b * b + 2 * i);
	}
}

static void blocks_that_wait_for_each_other(void **state)
{
	unsigned *arrived;
	int *data, *out;

	(void)state;
	with_nvcc();
	arrived = dev_alloc(4);
	data = dev_alloc(32 * 64 * 4);
	out = dev_alloc(32 * 4);
	RUN(nvcc, "grid_barrier", SHAPE(32, 64), P(arrived), P(data), P(out));
	for (int i = 0; i < 32; i++)
		assert_int_equal(out[i], 32 * 33 / 2);
}

static void atomics_of_many_blocks(void **state)
{
	unsigned long long *l;
	unsigned *u;
	double *d;
	float *f;
	int *mm;

	(void)state;
	with_nvcc();
	f = dev_alloc(4);
	d = dev_alloc(8);
	u = dev_alloc(4);
	l = dev_alloc(8);
	mm = dev_alloc(16);
	RUN(nvcc, "float_atomics", SHAPE(64, 256), P(f), P(d), P(u), P(l), P(mm));
	assert_true(*f == 16384);
	assert_true(*d == 8192);
	assert_int_equal(*u, 16384 % 100);
	assert_int_equal(*l, 3 * 16384);
	assert_int_equal(mm[0], 16383);
	assert_int_equal(mm[1], -16383);
	assert_int_equal(mm[2], -1);
	assert_int_equal(mm[3], 2 * 16384);
}

static void clang_simple_kernels(void **state)
{
	enum { N = 1000 };
	unsigned *bins, want[256] = { 0 };
	unsigned char *data;
	float *a, *b, *c;
	int *in, *out;

	(void)state;
	with_clang();
	a = floats(N);
	b = floats(N + 3) + 3;
	c = dev_alloc(N * 4);
	RUN(clang, "vector_add", SHAPE(8, 128), P(a), P(b), P(c), N);
	for (int i = 0; i < N; i++)
		assert_true(c[i] == a[i] + b[i]);
	in = ints(128 * 20);
	out = dev_alloc(20 * 4);
	RUN(clang, "block_sum", SHAPE(20, 128), P(in), P(out));
	for (int k = 0; k < 20; k++) {
		int sum = 0;

		for (int i = 0; i < 128; i++)
			sum += in[k * 128 + i];
		assert_int_equal(out[k], sum);
	}
	data = dev_alloc(50000);
	bins = dev_alloc(1024);
	for (int i = 0; i < 50000; i++)
		want[data[i] = (unsigned char)((unsigned)i * i >> 3)]++;
	RUN(clang, "histogram", SHAPE(16, 128), P(data), P(bins), 50000);
	assert_memory_equal(bins, want, sizeof(want));
	RUN(clang, "warp_sum", SHAPE(1, 32), P(in), P(out = dev_alloc(128)));
	for (int i = 1; i < 32; i++)
		assert_int_equal(out[i], out[0]);
}

static int escape_time(int x, int y, int w, int h, int limit)
{
	double cr = -2.0 + 3.0 * x / w, ci = -1.0 + 2.0 * y / h, zr = 0, zi = 0;
	int n = 0;

	for (; n < limit && zr * zr + zi * zi < 4; n++) {
		double t = zr * zr - zi * zi + cr;

		zi = 2 * zr * zi + ci;
		zr = t;
	}
	return n;
}

// Contraction to fma moves a few pixels of the edge: nearly all must agree.
static void check_mandelbrot(const int *image, int w, int h, int limit)
{
	int differ = 0, inside = 0;

	for (int y = 0; y < h; y++)
		for (int x = 0; x < w; x++) {
			differ += image[y * w + x] != escape_time(x, y, w, h, limit);
			inside += image[y * w + x] == limit;
		}
	assert_in_range(inside, w * h / 8, w * h / 2);
	assert_in_range(differ, 0, w * h / 50);
}

static void clang_other_kernels(void **state)
{
	struct {
		double d;
		short s[3];
		char c;
	} p = { 0.5, { 100, 200, 300 }, 3 };
	unsigned char params[32] = { 0 };
	uint32_t grid[3] = { 1, 1, 1 }, block[3] = { 9, 1, 1 };
	const struct ptx_kernel *k;
	uint64_t addr;
	size_t size;
	int *image, *data;
	double *out;
	float *w;

	(void)state;
	with_clang();
	image = dev_alloc(96 * 64 * 4);
	RUN(clang, "mandelbrot", (&(struct shape){ { 3, 64, 1 }, { 32, 1, 1 }, 0 }), P(image), 96, 64, 100);
	check_mandelbrot(image, 96, 64, 100);
	out = dev_alloc(9 * 8);
	k = ptx_module_kernel(clang, "by_value");
	memcpy(params, &p, sizeof(p));
	memcpy(params + 16, &out, 8);
	assert_int_equal(ptx_launch(ptx_test_machine, k, grid, block, 0, params, 24, &last_fault), 0);
	for (int i = 0; i < 9; i++)
		assert_true(out[i] == 0.5 * i + p.s[i % 3] + 3);
	w = dev_alloc(64);
	RUN(clang, "variables", SHAPE(1, 16), P(w));
	assert_true(w[7] == 2.0f && w[4] == 0.25f);
	assert_int_equal(ptx_module_global(clang, "total", &addr, &size), 0);
	assert_int_equal(*(uint64_t *)addr, 42);
	data = ints(16 * 10);
	RUN(clang, "local_sort", SHAPE(1, 10), P(data));
	for (int i = 0; i < 159; i++)
		assert_true(i % 16 == 15 || data[i] <= data[i + 1]);
}

// ---- numba: an array is seven parameters: meminfo, parent, count, item size, data, shape, strides ----

#define ARRAY(p, n, size) 0, 0, n, size, P(p), n, size

static const char *only_kernel(struct ptx_module *m)
{
	assert_int_equal(ptx_module_kernel_count(m), 1);
	return ptx_kernel_info(ptx_module_kernel_at(m, 0))->name;
}

static void numba_vector_add_and_sum(void **state)
{
	enum { N = 5000 };
	float *a, *b, *c, sum = 0;

	(void)state;
	nvcc = load_file("kernels/numba_vector_add.ptx");
	a = floats(N);
	b = floats(N + 9) + 9;
	c = dev_alloc(N * 4);
	RUN(nvcc, only_kernel(nvcc), SHAPE(20, 256), ARRAY(a, N, 4), ARRAY(b, N, 4), ARRAY(c, N, 4));
	for (int i = 0; i < N; i++) {
		assert_true(c[i] == a[i] + b[i]);
		sum += a[i];
	}
	clang = load_file("kernels/numba_block_sum.ptx");
	memset(c, 0, 4);
	RUN(clang, only_kernel(clang), SHAPE(20, 256), ARRAY(a, N, 4), ARRAY(c, 1, 4));
	assert_true(c[0] == sum);
}

static void numba_histogram(void **state)
{
	enum { N = 20000, BINS = 37 };
	int *data, *bins, want[BINS] = { 0 };

	(void)state;
	nvcc = load_file("kernels/numba_histogram.ptx");
	data = dev_alloc(N * 4);
	bins = dev_alloc(BINS * 4);
	for (int i = 0; i < N; i++)
		want[(data[i] = (int)(i * 2654435761u >> 9)) % BINS]++;
	RUN(nvcc, only_kernel(nvcc), SHAPE(8, 128), ARRAY(data, N, 4), ARRAY(bins, BINS, 4));
	assert_memory_equal(bins, want, sizeof(want));
}

static void numba_mandelbrot_and_math(void **state)
{
	enum { W = 80, H = 60, N = 200 };
	float *x, *out;
	int *image;

	(void)state;
	nvcc = load_file("kernels/numba_mandelbrot.ptx");
	image = dev_alloc(W * H * 4);
	RUN(nvcc, only_kernel(nvcc), (&(struct shape){ { 5, 8, 1 }, { 16, 8, 1 }, 0 }), 0, 0, W * H, 4,
	    P(image), H, W, W * 4, 4, 100);
	check_mandelbrot(image, W, H, 100);
	clang = load_file("kernels/numba_math_mix.ptx");
	x = floats(N);
	out = dev_alloc(N * 4);
	RUN(clang, only_kernel(clang), SHAPE(4, 64), ARRAY(x, N, 4), ARRAY(out, N, 4));
	for (int i = 0; i < N; i++) {
		double v = x[i], want = sin(v) + exp(v) * log(1 + v * v) + pow(v, 3);

		assert_true(near(out[i], want, 64, 0x1p-24));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(saxpy_of_many_blocks, after),
		cmocka_unit_test_teardown(reductions, after),
		cmocka_unit_test_teardown(tiled_matrix_product, after),
		cmocka_unit_test_teardown(scan_in_dynamic_shared_memory, after),
		cmocka_unit_test_teardown(mathematical_functions, after),
		cmocka_unit_test_teardown(structures_by_value, after),
		cmocka_unit_test_teardown(recursion_and_virtual_calls, after),
		cmocka_unit_test_teardown(module_variables, after),
		cmocka_unit_test_teardown(integer_intrinsics, after),
		cmocka_unit_test_teardown(votes_of_a_warp, after),
		cmocka_unit_test_teardown(printf_reaches_the_sink, after),
		cmocka_unit_test_teardown(assertion_carries_its_message, after),
		cmocka_unit_test_teardown(local_arrays, after),
		cmocka_unit_test_teardown(blocks_that_wait_for_each_other, after),
		cmocka_unit_test_teardown(atomics_of_many_blocks, after),
		cmocka_unit_test_teardown(clang_simple_kernels, after),
		cmocka_unit_test_teardown(clang_other_kernels, after),
		cmocka_unit_test_teardown(numba_vector_add_and_sum, after),
		cmocka_unit_test_teardown(numba_histogram, after),
		cmocka_unit_test_teardown(numba_mandelbrot_and_math, after),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("ptx kernels", tests, setup, ptx_test_teardown);
}
