// SPDX-License-Identifier: Apache-2.0
//
// Arrays, textures and surfaces by CUDA's runtime, whatever version of it: argv[1] is the path of a
// libcudart.so. Kernels of kernels/textures.ptx are launched through the driver, in the context that the
// runtime made.
#include "tests/e2e/check.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_TO_DEVICE = 1, DEVICE_TO_HOST = 2, DEVICE_TO_DEVICE = 3 };
enum { SIGNED = 0, UNSIGNED = 1, FLOATS = 2 }; // kinds of channels
enum { LAYERED = 1, SURFACE = 2 };

struct channels {
	int x, y, z, w, kind; // bits
};
struct extent {
	size_t width, height, depth;
};
// Both grew from version to version; what is used lies at the same place in all, and the rest is zero.
struct resource {
	int type;
	void *array;
	char more[240];
};
struct texture {
	int address_modes[3], filter, read_mode, srgb;
	float border[4];
	int normalized;
	char more[200];
};
struct pitched {
	void *ptr;
	size_t pitch, xsize, ysize;
};
struct copy_3d {
	void *src_array;
	size_t src_pos[3];
	struct pitched src_ptr;
	void *dst_array;
	size_t dst_pos[3];
	struct pitched dst_ptr;
	struct extent extent;
	int kind;
};

#define RUNTIME(ENTRY)                                                                                    \
	ENTRY(cudaSetDevice, (int))                                                                       \
	ENTRY(cudaFree, (void *))                                                                         \
	ENTRY(cudaMallocArray, (void **, const struct channels *, size_t, size_t, unsigned))              \
	ENTRY(cudaMalloc3DArray, (void **, const struct channels *, struct extent, unsigned))             \
	ENTRY(cudaFreeArray, (void *))                                                                    \
	ENTRY(cudaArrayGetInfo, (struct channels *, struct extent *, unsigned *, void *))                 \
	ENTRY(cudaMemcpy2DToArray, (void *, size_t, size_t, const void *, size_t, size_t, size_t, int))   \
	ENTRY(cudaMemcpy2DFromArray, (void *, size_t, const void *, size_t, size_t, size_t, size_t, int)) \
	ENTRY(cudaMemcpy2DToArrayAsync,                                                                   \
	      (void *, size_t, size_t, const void *, size_t, size_t, size_t, int, void *))                \
	ENTRY(cudaMemcpy2DArrayToArray,                                                                   \
	      (void *, size_t, size_t, const void *, size_t, size_t, size_t, size_t, int))                \
	ENTRY(cudaMemcpy3D, (const struct copy_3d *))                                                     \
	ENTRY(cudaCreateTextureObject,                                                                    \
	      (CUtexObject *, const struct resource *, const struct texture *, const void *))             \
	ENTRY(cudaDestroyTextureObject, (CUtexObject))                                                    \
	ENTRY(cudaGetTextureObjectResourceDesc, (struct resource *, CUtexObject))                         \
	ENTRY(cudaCreateSurfaceObject, (CUsurfObject *, const struct resource *))                         \
	ENTRY(cudaDestroySurfaceObject, (CUsurfObject))                                                   \
	ENTRY(cudaDeviceSynchronize, (void))                                                              \
	ENTRY(cudaDeviceReset, (void))

#define POINTER(name, parameters) static int(*name) parameters;
RUNTIME(POINTER)
#define FINE(call) check_equal(__FILE__, __LINE__, #call, 0, call)

static void open_runtime(const char *path)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		check_bail("%s", dlerror());
#define FIND(name, parameters)                           \
	name = (int(*) parameters)dlsym(library, #name); \
	if (!name)                                       \
		check_bail("no %s", #name);
	RUNTIME(FIND)
}

enum { WIDTH = 32, HEIGHT = 16, POINTS = WIDTH * HEIGHT };
static float in[HEIGHT][WIDTH][4], out[POINTS][4], at[POINTS][4];
static CUmodule module;

static void textures(void)
{
	struct channels c = { 32, 32, 32, 32, FLOATS }, told;
	struct resource r = { .type = 0 }, told_resource;
	struct texture t = { .address_modes = { CU_TR_ADDRESS_MODE_CLAMP, CU_TR_ADDRESS_MODE_CLAMP } };
	struct extent extent;
	void *array = NULL, *other = NULL;
	CUdeviceptr at_dev, out_dev;
	CUtexObject texture = 0;
	unsigned flags = 77;
	int n = POINTS, wrong = 0;

	for (int i = 0; i < POINTS; i++) {
		at[i][0] = (float)(i % WIDTH) + 0.5f;
		at[i][1] = (float)(i / WIDTH) + 0.5f;
		for (int k = 0; k < 4; k++)
			in[i / WIDTH][i % WIDTH][k] = (float)(i * 4 + k);
	}
	FINE(cudaMallocArray(&array, &c, WIDTH, HEIGHT, 0));
	FINE(cudaMallocArray(&other, &c, WIDTH, HEIGHT, 0));
	FINE(cudaArrayGetInfo(&told, &extent, &flags, array));
	CHECK(!memcmp(&told, &c, sizeof(c)) && extent.width == WIDTH && extent.height == HEIGHT &&
		  !extent.depth && !flags,
	      "what the runtime says of the array");
	FINE(cudaMemcpy2DToArray(other, 0, 0, in, sizeof(in[0]), sizeof(in[0]), HEIGHT / 2, HOST_TO_DEVICE));
	FINE(cudaMemcpy2DToArrayAsync(other, 0, HEIGHT / 2, in[HEIGHT / 2], sizeof(in[0]), sizeof(in[0]),
				      HEIGHT / 2, HOST_TO_DEVICE, NULL));
	FINE(cudaMemcpy2DArrayToArray(array, 0, 0, other, 0, 0, sizeof(in[0]), HEIGHT, DEVICE_TO_DEVICE));
	memset(out, 0, sizeof(out));
	FINE(cudaMemcpy2DFromArray(out, sizeof(in[0]), array, 0, 0, sizeof(in[0]), HEIGHT, DEVICE_TO_HOST));
	CHECK(!memcmp(in, out, sizeof(in)), "to an array, to another, and back");
	r.array = array;
	FINE(cudaCreateTextureObject(&texture, &r, &t, NULL));
	FINE(cudaGetTextureObjectResourceDesc(&told_resource, texture));
	CHECK(told_resource.array == array, "the texture's array");
	MUST(cuMemAlloc_v2(&at_dev, sizeof(at)));
	MUST(cuMemAlloc_v2(&out_dev, sizeof(out)));
	MUST(cuMemcpyHtoD_v2(at_dev, at, sizeof(at)));
	LAUNCH(check_function(module, "sample_2d"), POINTS / 128, 128, NULL, &texture, &at_dev, &out_dev, &n);
	MUST(cuMemcpyDtoH_v2(out, out_dev, sizeof(out)));
	for (int i = 0; i < POINTS; i++)
		wrong += memcmp(out[i], in[i / WIDTH][i % WIDTH], sizeof(out[i])) != 0;
	CHECK(!wrong, "texels through a kernel: %d wrong", wrong);
	FINE(cudaDestroyTextureObject(texture));
	FINE(cudaFreeArray(array));
	FINE(cudaFreeArray(other));
	MUST(cuMemFree_v2(at_dev));
	MUST(cuMemFree_v2(out_dev));
}

static void surfaces(void)
{
	enum { W = 8, H = 4, D = 3 };
	struct channels c = { 8, 8, 8, 8, UNSIGNED };
	struct resource r = { .type = 0 };
	struct copy_3d copy = { .extent = { W, H, D }, .kind = DEVICE_TO_HOST };
	static uint8_t back[D][H][W][4];
	CUsurfObject surface = 0;
	void *array = NULL;
	int width = W, height = H, depth = D, wrong = 0;

	FINE(cudaMalloc3DArray(&array, &c, (struct extent){ W, H, D }, LAYERED | SURFACE));
	r.array = array;
	FINE(cudaCreateSurfaceObject(&surface, &r));
	LAUNCH(check_function(module, "surface_fill_layers"), 1, W * H * D, NULL, &surface, &width, &height,
	       &depth);
	copy.src_array = array;
	copy.dst_ptr = (struct pitched){ back, W * 4, W, H };
	FINE(cudaMemcpy3D(&copy));
	for (int i = 0; i < W * H * D; i++) {
		const uint8_t want[4] = { (uint8_t)(i % W), (uint8_t)(i / W % H), (uint8_t)(i / W / H), 255 };
		wrong += memcmp(back[i / W / H][i / W % H][i % W], want, 4) != 0;
	}
	CHECK(!wrong, "layers of a surface: %d wrong", wrong);
	FINE(cudaDestroySurfaceObject(surface));
	FINE(cudaFreeArray(array));
}

int main(int argc, char **argv)
{
	void *array = NULL;
	struct channels c = { 16, 0, 0, 0, UNSIGNED };

	if (argc != 2)
		check_bail("usage: %s libcudart.so", argv[0]);
	if (!check_computes())
		check_skip("this backend does not read modules");
	open_runtime(argv[1]);
	FINE(cudaSetDevice(0));
	FINE(cudaFree(NULL)); // the context is there from here on
	check_context();
	module = check_module("textures.ptx");
	textures();
	surfaces();
	FINE(cudaMallocArray(&array, &c, 100, 100, 0)); // and one that goes with the context
	FINE(cudaDeviceSynchronize());
	FINE(cudaDeviceReset());
	return check_done();
}
