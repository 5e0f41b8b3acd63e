// SPDX-License-Identifier: Apache-2.0
// A product of matrices, band by band, with copies beside launches: while one stream computes a band, the
// other brings the next one and takes the last one away. Copies overlap because both ends are memory that the
// GPU reaches. usage: matrix_product [kernels.ptx]
#include "example.h"

#define N     256u // rows and columns
#define BAND  32u  // rows at a time
#define BANDS (N / BAND)
#define TILE  16u // of the kernel
#define BYTES ((size_t)N * N * sizeof(float))

struct lane {
	struct vgpu_stream *stream;
	uint64_t a, c; // a band of each on the device
};

// Small whole numbers, so that sums are exact in any order.
static void fill(float *m, uint32_t seed)
{
	for (uint32_t i = 0; i < N * N; i++) {
		seed = seed * 1664525u + 1013904223u;
		m[i] = (float)(seed >> 28) - 8;
	}
}

static uint32_t count_wrong(const float *a, const float *b, const float *c)
{
	uint32_t wrong = 0;

	for (uint32_t row = 0; row < N; row++) {
		for (uint32_t column = 0; column < N; column++) {
			float sum = 0;

			for (uint32_t k = 0; k < N; k++)
				sum += a[row * N + k] * b[k * N + column];
			wrong += c[row * N + column] != sum;
		}
	}
	return wrong;
}

int main(int argc, char **argv)
{
	const struct vgpu_shape shape = { sizeof(shape), { N / TILE, BAND / TILE, 1 }, { TILE, TILE, 1 }, 0 };
	const size_t band = BYTES / BANDS;
	struct lane lanes[2];
	struct vgpu_function *product;
	struct vgpu_fence *b_is_there;
	float *a, *b, *c;
	uint32_t n = N, wrong;
	uint64_t b_device;
	struct vgpu *gpu;

	MUST(vgpu_open(NULL, &gpu));
	MUST(vgpu_function_get(gpu, load(gpu, argc > 1 ? argv[1] : "kernels.ptx"), "matrix_product",
			       &product));
	MUST(vgpu_host_alloc(gpu, BYTES, (void **)&a));
	MUST(vgpu_host_alloc(gpu, BYTES, (void **)&b));
	MUST(vgpu_host_alloc(gpu, BYTES, (void **)&c));
	MUST(vgpu_alloc(gpu, BYTES, &b_device));
	MUST(vgpu_fence_new(gpu, &b_is_there));
	fill(a, 1);
	fill(b, 2);
	for (int i = 0; i < 2; i++) {
		MUST(vgpu_stream_new(gpu, 0, &lanes[i].stream));
		MUST(vgpu_alloc(gpu, band, &lanes[i].a));
		MUST(vgpu_alloc(gpu, band, &lanes[i].c));
	}
	// One stream brings the second matrix, the other waits for it on the GPU; the processor waits for
	// nothing.
	MUST(vgpu_copy_in(gpu, lanes[0].stream, b_device, b, BYTES, 0));
	MUST(vgpu_fence_record(gpu, b_is_there, lanes[0].stream));
	MUST(vgpu_stream_after(gpu, lanes[1].stream, b_is_there));
	for (uint32_t i = 0; i < BANDS; i++) {
		struct lane *l = &lanes[i % 2];

		MUST(vgpu_copy_in(gpu, l->stream, l->a, a + i * BAND * N, band, 0));
		MUST(vgpu_launch(gpu, l->stream, product, &shape,
				 (const void *const[]){ &l->a, &b_device, &l->c, &n }));
		MUST(vgpu_copy_out(gpu, l->stream, c + i * BAND * N, l->c, band, 0));
	}
	for (int i = 0; i < 2; i++)
		MUST(vgpu_stream_wait(gpu, lanes[i].stream, VGPU_FOREVER));
	wrong = count_wrong(a, b, c);
	printf("%u x %u in %u bands: %u wrong\n", N, N, BANDS, wrong);
	vgpu_close(gpu); // with all that belongs to it
	return wrong != 0;
}
