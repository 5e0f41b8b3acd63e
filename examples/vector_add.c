// SPDX-License-Identifier: Apache-2.0
// The smallest program: adds two vectors. usage: vector_add [kernels.ptx]
#include "example.h"

#define N 1000000u

int main(int argc, char **argv)
{
	const struct vgpu_shape shape = { sizeof(shape), { (N + 255) / 256, 1, 1 }, { 256, 1, 1 }, 0 };
	float *x = malloc(N * sizeof(*x)), *y = malloc(N * sizeof(*y));
	struct vgpu_info info = { .size = sizeof(info) };
	struct vgpu_function *add;
	uint64_t a, b, c;
	uint32_t n = N, wrong = 0;
	struct vgpu *gpu;

	if (!x || !y)
		return 1;
	MUST(vgpu_open(NULL, &gpu));
	MUST(vgpu_info(gpu, &info));
	MUST(vgpu_function_get(gpu, load(gpu, argc > 1 ? argv[1] : "kernels.ptx"), "vector_add", &add));
	MUST(vgpu_alloc(gpu, N * sizeof(*x), &a));
	MUST(vgpu_alloc(gpu, N * sizeof(*x), &b));
	MUST(vgpu_alloc(gpu, N * sizeof(*x), &c));
	for (uint32_t i = 0; i < N; i++) {
		x[i] = (float)i;
		y[i] = (float)(N - i);
	}
	MUST(vgpu_copy_in(gpu, NULL, a, x, N * sizeof(*x), 0));
	MUST(vgpu_copy_in(gpu, NULL, b, y, N * sizeof(*y), 0));
	MUST(vgpu_launch(gpu, NULL, add, &shape, (const void *const[]){ &a, &b, &c, &n }));
	MUST(vgpu_copy_out(gpu, NULL, x, c, N * sizeof(*x), 0));
	for (uint32_t i = 0; i < N; i++)
		wrong += x[i] != (float)N;
	printf("%s: %u sums, %u wrong\n", info.name, N, wrong);
	vgpu_close(gpu);
	free(x);
	free(y);
	return wrong != 0;
}
