// SPDX-License-Identifier: Apache-2.0
//
// Texture objects under kernels of kernels/textures.cu: what is fetched, against the formulas of
// CUDA's programming guide ("Texture Fetching"). A GPU keeps 8 bits of a filter's weight, so that mixed
// values may be off by 1/256 of what they mix; all others are exact.
#include "tests/e2e/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS = 600, THREADS = 128 };
struct f4 {
	float x, y, z, w;
};

static CUmodule module;
static CUdeviceptr points_dev, out_dev;
static struct f4 points[POINTS], out[POINTS];

// Four channels of float: no two texels alike, neighbours not far from each other.
static struct f4 texel(int x, int y, int z)
{
	return (struct f4){ (float)(x * 3 + y * 5 + z * 7), (float)x / 4, (float)(y - z),
			    (float)(x * y) / 8 };
}

struct picture {
	int width, height, depth; // depth: slices or layers; 0 where the dimension lacks
	bool layered;
};

static CUarray make_array(const struct picture *p, unsigned flags)
{
	CUDA_ARRAY3D_DESCRIPTOR d = { .Width = (size_t)p->width,
				      .Height = (size_t)p->height,
				      .Depth = (size_t)p->depth,
				      .Format = CU_AD_FORMAT_FLOAT,
				      .NumChannels = 4,
				      .Flags = flags | (p->layered ? CUDA_ARRAY3D_LAYERED : 0) };
	size_t rows = p->height ? (size_t)p->height : 1, slices = p->depth ? (size_t)p->depth : 1;
	struct f4 *texels = calloc((size_t)p->width * rows * slices, sizeof(*texels)), *t = texels;
	CUDA_MEMCPY3D up = { .srcMemoryType = CU_MEMORYTYPE_HOST,
			     .srcPitch = (size_t)p->width * sizeof(*t),
			     .srcHeight = rows,
			     .dstMemoryType = CU_MEMORYTYPE_ARRAY,
			     .WidthInBytes = (size_t)p->width * sizeof(*t),
			     .Height = rows,
			     .Depth = slices };
	CUarray array;
	if (!texels)
		check_bail("no memory");
	for (int z = 0; z < (int)slices; z++)
		for (int y = 0; y < (int)rows; y++)
			for (int x = 0; x < p->width; x++)
				*t++ = texel(x, y, z);
	MUST(cuArray3DCreate_v2(&array, &d));
	up.srcHost = texels;
	up.dstArray = array;
	MUST(cuMemcpy3D_v2(&up));
	free(texels);
	return array;
}

static CUtexObject texture_of(CUarray array, const CUDA_TEXTURE_DESC *desc)
{
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_ARRAY };
	CUtexObject t = 0;
	r.res.array.hArray = array;
	MUST(cuTexObjectCreate(&t, &r, desc, NULL));
	return t;
}

static void run(const char *kernel, CUtexObject t)
{
	int n = POINTS;
	MUST(cuMemcpyHtoD_v2(points_dev, points, sizeof(points)));
	MUST(cuMemsetD8_v2(out_dev, 0xee, sizeof(out)));
	LAUNCH(check_function(module, kernel), (POINTS + THREADS - 1) / THREADS, THREADS, NULL, &t,
	       &points_dev, &out_dev, &n);
	MUST(cuMemcpyDtoH_v2(out, out_dev, sizeof(out)));
}

// ---- the formulas

static int bring_in(int mode, int i, int n) // -1: the border
{
	if (i >= 0 && i < n)
		return i;
	switch (mode) {
	case CU_TR_ADDRESS_MODE_BORDER: return -1;
	case CU_TR_ADDRESS_MODE_WRAP: return ((i % n) + n) % n;
	case CU_TR_ADDRESS_MODE_MIRROR:
		i = ((i % (2 * n)) + 2 * n) % (2 * n);
		return i < n ? i : 2 * n - 1 - i;
	default: return i < 0 ? 0 : n - 1;
	}
}

static const float border[4] = { 100, -7, 0.5f, 3 };

static struct f4 at(const struct picture *p, const int i[3], int layer, int mode)
{
	int n[3] = { p->width, p->height ? p->height : 1, p->layered || !p->depth ? 1 : p->depth }, in[3];
	for (int d = 0; d < 3; d++) {
		in[d] = bring_in(mode, i[d], n[d]);
		if (in[d] < 0)
			return (struct f4){ border[0], border[1], border[2], border[3] };
	}
	return texel(in[0], in[1], p->layered ? layer : in[2]);
}

struct expected {
	double v[4], slack;
};

static struct expected expect(const struct picture *p, const double u[3], int dims, int layer, int mode,
			      bool linear)
{
	struct expected e = { { 0 }, 1e-5 };
	double low = HUGE_VAL, high = -HUGE_VAL;
	int base[3] = { 0 };
	double weight[3] = { 0 };
	for (int d = 0; d < dims; d++) {
		double b = linear ? u[d] - 0.5 : u[d];
		base[d] = (int)floor(b);
		weight[d] = b - floor(b);
	}
	for (int corner = 0; corner < (linear ? 1 << dims : 1); corner++) {
		int i[3] = { 0 };
		double w = 1;
		for (int d = 0; d < dims; d++) {
			i[d] = base[d] + (corner >> d & 1);
			if (linear)
				w *= corner >> d & 1 ? weight[d] : 1 - weight[d];
		}
		struct f4 t = at(p, i, layer, mode);
		const float c[4] = { t.x, t.y, t.z, t.w };
		for (int k = 0; k < 4; k++) {
			e.v[k] += w * c[k];
			low = fmin(low, c[k]);
			high = fmax(high, c[k]);
		}
	}
	if (linear)
		e.slack += (high - low) * dims / 256;
	return e;
}

// The guide does not say it, GPUs do it: one dimension without layers is filtered as a picture of one row,
// with 0 for the second coordinate. That is the row's edge, so half of the result is the row before. Which is
// the row itself in all modes of the second dimension but one.
static int dims_of_filter(const struct picture *p, int dims, int second_mode, bool linear, double u[3])
{
	if (dims != 1 || p->layered || !linear || second_mode != CU_TR_ADDRESS_MODE_BORDER)
		return dims;
	u[1] = 0;
	return 2;
}

static bool close_to(const struct f4 *got, const struct expected *e)
{
	const float g[4] = { got->x, got->y, got->z, got->w };
	for (int k = 0; k < 4; k++)
		if (!(fabs(g[k] - e->v[k]) <= e->slack))
			return false;
	return true;
}

// ---- arrays of one to three dimensions, layered or not, in all modes

static void sample(const char *kernel, const struct picture *p, int dims)
{
	static const char *const modes[] = { "wrap", "clamp", "mirror", "border" };
	CUarray array = make_array(p, 0);
	const int n[3] = { p->width, p->height, p->depth };
	for (int form = 0; form < 32; form++) {
		int mode = form & 3, rest = form & 16 ? CU_TR_ADDRESS_MODE_CLAMP : mode;
		bool linear = form & 4, normalized = form & 8;
		CUDA_TEXTURE_DESC desc = { .addressMode = { mode, rest, rest },
					   .filterMode =
					       linear ? CU_TR_FILTER_MODE_LINEAR : CU_TR_FILTER_MODE_POINT,
					   .flags = normalized ? CU_TRSF_NORMALIZED_COORDINATES : 0 };
		int wrong = 0, first = -1;
		if (!normalized && (mode == CU_TR_ADDRESS_MODE_WRAP || mode == CU_TR_ADDRESS_MODE_MIRROR))
			continue; // for normalised coordinates only
		if (form & 16 && (dims > 1 || rest == mode))
			continue;
		memcpy(desc.borderColor, border, sizeof(border));
		CUtexObject t = texture_of(array, &desc);
		for (int i = 0; i < POINTS; i++) {
			// Sixteenths, never at an edge between texels; extents are powers of two, so nothing
			// is rounded.
			double u[3] = { (i * 7 % 1024) / 16.0 + 1 / 32.0 - 2 * n[0],
					(i * 13 % 512) / 16.0 + 3 / 32.0 - n[1],
					(i * 5 % 128) / 16.0 + 5 / 32.0 - n[2] };
			float *c[3] = { &points[i].x, &points[i].y, &points[i].z };
			for (int d = 0; d < dims; d++)
				*c[d] = (float)(normalized ? u[d] / n[d] : u[d]);
			points[i].w = (float)(p->layered ? i % p->depth : 0);
		}
		run(kernel, t);
		for (int i = 0; i < POINTS && check_computes(); i++) {
			double u[3] = { (i * 7 % 1024) / 16.0 + 1 / 32.0 - 2 * n[0],
					(i * 13 % 512) / 16.0 + 3 / 32.0 - n[1],
					(i * 5 % 128) / 16.0 + 5 / 32.0 - n[2] };
			int filtered = dims_of_filter(p, dims, rest, linear, u);
			struct expected e = expect(p, u, filtered, (int)points[i].w, mode, linear);
			if (!close_to(&out[i], &e) && !wrong++)
				first = i;
		}
		CHECK(!wrong, "%s, %s %s, %s, %s: %d of %d differ, the first at %d: %g %g %g %g", kernel,
		      modes[mode], modes[rest], linear ? "linear" : "point",
		      normalized ? "normalised" : "in texels", wrong, POINTS, first,
		      first < 0 ? 0 : (double)out[first].x, first < 0 ? 0 : (double)out[first].y,
		      first < 0 ? 0 : (double)out[first].z, first < 0 ? 0 : (double)out[first].w);
		OK(cuTexObjectDestroy(t));
	}
	OK(cuArrayDestroy(array));
}

// ---- memory

enum { LINE = 500 };
static float line[LINE];

// Memory of the line's, as floats.
static CUDA_RESOURCE_DESC linear_of(CUdeviceptr memory, size_t bytes)
{
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_LINEAR };

	r.res.linear.devPtr = memory;
	r.res.linear.format = CU_AD_FORMAT_FLOAT;
	r.res.linear.numChannels = 1;
	r.res.linear.sizeInBytes = bytes;
	return r;
}

static CUtexObject linear_texture(const CUDA_RESOURCE_DESC *r)
{
	CUDA_TEXTURE_DESC desc = { .flags = CU_TRSF_READ_AS_INTEGER };
	CUtexObject t = 0;

	OK(cuTexObjectCreate(&t, r, &desc, NULL));
	return t;
}

static void linear_memory_tells_of_itself(CUtexObject t, CUdeviceptr memory)
{
	CUDA_RESOURCE_VIEW_DESC view, untouched;
	CUDA_RESOURCE_DESC told;
	CUDA_TEXTURE_DESC told_desc;

	OK(cuTexObjectGetResourceDesc(&told, t));
	OK(cuTexObjectGetTextureDesc(&told_desc, t));
	CHECK(told.resType == CU_RESOURCE_TYPE_LINEAR && told.res.linear.devPtr == memory &&
		  told.res.linear.sizeInBytes == sizeof(line) && told_desc.flags == CU_TRSF_READ_AS_INTEGER,
	      "what the object tells of itself");
	memset(&view, 0xee, sizeof(view));
	memcpy(&untouched, &view, sizeof(view));
	OK(cuTexObjectGetResourceViewDesc(&view, t));
	CHECK(!memcmp(&view, &untouched, sizeof(view)), "a texture without a view tells none");
}

static void linear_memory_is_fetched(CUtexObject t, CUdeviceptr results)
{
	static float got[POINTS];
	int first = -50, n = POINTS, wrong = 0;

	LAUNCH(check_function(module, "fetch_1d"), (POINTS + THREADS - 1) / THREADS, THREADS, NULL, &t,
	       &first, &results, &n);
	MUST(cuMemcpyDtoH_v2(got, results, sizeof(got)));
	for (int i = 0; i < POINTS; i++)
		wrong += got[i] != (i + first >= 0 && i + first < LINE ? line[i + first] : 0);
	CHECK(!wrong || !check_computes(), "tex1Dfetch inside, and zeros outside: %d wrong", wrong);
}

// The same memory as bytes: integers as they are.
static void linear_memory_as_bytes(CUdeviceptr memory, CUdeviceptr results)
{
	CUDA_RESOURCE_DESC r = linear_of(memory, sizeof(line));
	static uint32_t words[POINTS][4];
	int first = 0, n = LINE, wrong = 0;
	CUtexObject t;

	r.res.linear.format = CU_AD_FORMAT_UNSIGNED_INT8;
	r.res.linear.numChannels = 4;
	t = linear_texture(&r);
	LAUNCH(check_function(module, "fetch_1d_uint4"), (LINE + THREADS - 1) / THREADS, THREADS, NULL, &t,
	       &first, &results, &n);
	MUST(cuMemcpyDtoH_v2(words, results, sizeof(words)));
	for (int i = 0; i < LINE; i++)
		for (int k = 0; k < 4; k++)
			wrong += words[i][k] != ((const uint8_t *)&line[i])[k];
	CHECK(!wrong || !check_computes(), "bytes as integers: %d wrong", wrong);
	OK(cuTexObjectDestroy(t));
}

// Objects that the kernel finds in memory.
static void linear_memory_by_a_list(CUtexObject whole, CUdeviceptr memory, CUdeviceptr results)
{
	// As aligned as textures must be.
	CUDA_RESOURCE_DESC rest = linear_of(memory + 512, sizeof(line) - 512);
	CUtexObject objects[2] = { whole, linear_texture(&rest) };
	static float got[POINTS];
	int n = LINE - 128, two = 2, wrong = 0;
	CUdeviceptr list;

	CHECK(objects[0] != objects[1], "each object has its value");
	MUST(cuMemAlloc_v2(&list, sizeof(objects)));
	MUST(cuMemcpyHtoD_v2(list, objects, sizeof(objects)));
	LAUNCH(check_function(module, "sum_of_objects"), (LINE + THREADS - 1) / THREADS, THREADS, NULL, &list,
	       &two, &results, &n);
	MUST(cuMemcpyDtoH_v2(got, results, sizeof(got)));
	for (int i = 0; i < n; i++)
		wrong += got[i] != line[i] + line[i + 128];
	CHECK(!wrong || !check_computes(), "objects out of memory: %d wrong", wrong);
	OK(cuTexObjectDestroy(objects[1]));
	MUST(cuMemFree_v2(list));
}

static void linear_memory(void)
{
	CUDA_RESOURCE_DESC r;
	CUdeviceptr memory, results;
	size_t most = 0;
	CUtexObject t;

	MUST(cuMemAlloc_v2(&memory, sizeof(line)));
	MUST(cuMemAlloc_v2(&results, 4 * POINTS * sizeof(uint32_t)));
	for (int i = 0; i < LINE; i++)
		line[i] = (float)i * 0.75f + 1;
	MUST(cuMemcpyHtoD_v2(memory, line, sizeof(line)));
	r = linear_of(memory, sizeof(line));
	t = linear_texture(&r);
	linear_memory_tells_of_itself(t, memory);
	linear_memory_is_fetched(t, results);
	linear_memory_as_bytes(memory, results);
	linear_memory_by_a_list(t, memory, results);
	OK(cuTexObjectDestroy(t));
	OK(cuDeviceGetTexture1DLinearMaxWidth(&most, CU_AD_FORMAT_FLOAT, 1, 0));
	CHECK(most >= 1u << 27, "up to %zu elements of memory", most);
	MUST(cuMemFree_v2(memory));
	MUST(cuMemFree_v2(results));
}

static void pitched_memory(void)
{
	struct picture p = { 16, 8, 0, false };
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_PITCH2D };
	CUDA_TEXTURE_DESC desc = { .addressMode = { CU_TR_ADDRESS_MODE_BORDER, CU_TR_ADDRESS_MODE_BORDER },
				   .filterMode = CU_TR_FILTER_MODE_LINEAR };
	static struct f4 texels[8][32];
	CUdeviceptr memory;
	CUtexObject t;
	int wrong = 0;
	MUST(cuMemAlloc_v2(&memory, sizeof(texels)));
	for (int y = 0; y < p.height; y++)
		for (int x = 0; x < p.width; x++)
			texels[y][x] = texel(x, y, 0);
	MUST(cuMemcpyHtoD_v2(memory, texels, sizeof(texels)));
	r.res.pitch2D.devPtr = memory;
	r.res.pitch2D.format = CU_AD_FORMAT_FLOAT;
	r.res.pitch2D.numChannels = 4;
	r.res.pitch2D.width = (size_t)p.width;
	r.res.pitch2D.height = (size_t)p.height;
	r.res.pitch2D.pitchInBytes = sizeof(texels[0]);
	memcpy(desc.borderColor, border, sizeof(border));
	OK(cuTexObjectCreate(&t, &r, &desc, NULL));
	for (int i = 0; i < POINTS; i++)
		points[i] = (struct f4){ (float)(i % 40) / 2 - 1.1875f, (float)(i / 40) - 1.3125f, 0, 0 };
	run("sample_2d", t);
	for (int i = 0; i < POINTS; i++) {
		double u[3] = { points[i].x, points[i].y, 0 };
		struct expected e = expect(&p, u, 2, 0, CU_TR_ADDRESS_MODE_BORDER, true);
		wrong += !close_to(&out[i], &e);
	}
	CHECK(!wrong || !check_computes(), "memory with a pitch, filtered: %d wrong", wrong);
	OK(cuTexObjectDestroy(t));
	MUST(cuMemFree_v2(memory));
}

// ---- formats

static void formats(void)
{
	static const struct {
		int format;
		unsigned bytes;
		double scale; // of integers read as floats
		bool is_signed;
	} cases[] = { { CU_AD_FORMAT_UNSIGNED_INT8, 1, 255, false },
		      { CU_AD_FORMAT_SIGNED_INT8, 1, 127, true },
		      { CU_AD_FORMAT_UNSIGNED_INT16, 2, 65535, false },
		      { CU_AD_FORMAT_SIGNED_INT16, 2, 32767, true } };
	CUDA_TEXTURE_DESC desc = { .addressMode = { CU_TR_ADDRESS_MODE_CLAMP, CU_TR_ADDRESS_MODE_CLAMP } };
	int32_t pairs[POINTS][2];
	for (int i = 0; i < POINTS; i++)
		points[i] = (struct f4){ (float)(i % 32) + 0.5f, (float)(i / 32 % 16) + 0.5f, 0, 0 };
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		CUDA_ARRAY_DESCRIPTOR d = { 32, 16, cases[c].format, 2 };
		static uint8_t in[32 * 16 * 4];
		CUDA_MEMCPY2D up = { .srcMemoryType = CU_MEMORYTYPE_HOST,
				     .srcHost = in,
				     .srcPitch = 64 * cases[c].bytes,
				     .dstMemoryType = CU_MEMORYTYPE_ARRAY,
				     .WidthInBytes = 64 * cases[c].bytes,
				     .Height = 16 };
		CUarray array;
		CUtexObject t;
		int wrong = 0;
		pattern_fill(in, sizeof(in), 40 + (uint32_t)c);
		MUST(cuArrayCreate_v2(&array, &d));
		up.dstArray = array;
		MUST(cuMemcpy2D_v2(&up));
		desc.flags = 0;
		t = texture_of(array, &desc);
		run("sample_2d", t);
		for (int i = 0; i < POINTS; i++) {
			const uint8_t *p = in + ((i / 32 % 16) * 64 + (i % 32) * 2) * cases[c].bytes;
			double raw = cases[c].bytes == 1  ? cases[c].is_signed ? (int8_t)p[0] : p[0]
				      : cases[c].is_signed ? (int16_t)(p[0] | p[1] << 8)
							  : p[0] | p[1] << 8;
			wrong += !(fabs(out[i].x - fmax(raw / cases[c].scale, -1)) <= 1e-6);
		}
		CHECK(!wrong || !check_computes(), "format %#x scaled to 1: %d wrong",
		      (unsigned)cases[c].format, wrong);
		OK(cuTexObjectDestroy(t));
		if (cases[c].format == CU_AD_FORMAT_SIGNED_INT16) {
			desc.flags = CU_TRSF_READ_AS_INTEGER;
			t = texture_of(array, &desc);
			run("sample_2d_short2", t);
			memcpy(pairs, out, sizeof(pairs));
			wrong = 0;
			for (int i = 0; i < POINTS; i++) {
				int16_t want[2];
				memcpy(want, in + ((i / 32 % 16) * 64 + (i % 32) * 2) * 2, sizeof(want));
				wrong += pairs[i][0] != want[0] || pairs[i][1] != want[1];
			}
			CHECK(!wrong || !check_computes(), "16 bits as integers: %d wrong", wrong);
			OK(cuTexObjectDestroy(t));
		}
		OK(cuArrayDestroy(array));
	}
}

// ---- mipmaps, cubes, gathers

static void levels(void)
{
	CUDA_ARRAY3D_DESCRIPTOR d = {
		.Width = 16, .Height = 16, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 4
	};
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY };
	CUDA_TEXTURE_DESC desc = { .addressMode = { CU_TR_ADDRESS_MODE_CLAMP, CU_TR_ADDRESS_MODE_CLAMP },
				   .flags = CU_TRSF_NORMALIZED_COORDINATES,
				   .maxMipmapLevelClamp = 10 };
	static struct f4 texels[16 * 16];
	CUmipmappedArray mipmap;
	CUarray level;
	CUtexObject t;
	int wrong = 0;
	OK(cuMipmappedArrayCreate(&mipmap, &d, 4));
	for (unsigned i = 0; i < 4; i++) {
		size_t n = 16u >> i;
		CUDA_MEMCPY2D up = { .srcMemoryType = CU_MEMORYTYPE_HOST,
				     .srcHost = texels,
				     .srcPitch = n * sizeof(texels[0]),
				     .dstMemoryType = CU_MEMORYTYPE_ARRAY,
				     .WidthInBytes = n * sizeof(texels[0]),
				     .Height = n };
		for (size_t k = 0; k < n * n; k++)
			texels[k] = (struct f4){ (float)i * 8, (float)(k % n), (float)(k / n), 1 };
		MUST(cuMipmappedArrayGetLevel(&level, mipmap, i));
		up.dstArray = level;
		MUST(cuMemcpy2D_v2(&up));
	}
	r.res.mipmap.hMipmappedArray = mipmap;
	for (int i = 0; i < POINTS; i++)
		points[i] =
		    (struct f4){ (float)(i % 16) / 16 + 1 / 64.0f, (float)(i / 16 % 16) / 16 + 1 / 64.0f, 0,
				 (float)(i % 23) / 4 - 1.125f };
	for (int linear = 0; linear < 2; linear++) {
		desc.mipmapFilterMode = linear ? CU_TR_FILTER_MODE_LINEAR : CU_TR_FILTER_MODE_POINT;
		OK(cuTexObjectCreate(&t, &r, &desc, NULL));
		run("sample_2d_level", t);
		for (int i = 0; i < POINTS; i++) {
			double detail = fmin(fmax(points[i].w, 0), 3),
			       want = linear ? detail * 8 : floor(detail + 0.5) * 8;
			int n = 16 >> (int)floor(detail + 0.5);
			wrong += !(fabs(out[i].x - want) <= (linear ? 8 / 128.0 : 0));
			if (!linear)
				wrong +=
				    out[i].y != floor(points[i].x * n) || out[i].z != floor(points[i].y * n);
		}
		CHECK(!wrong || !check_computes(), "levels, %s: %d wrong",
		      linear ? "mixed" : "the nearest one", wrong);
		OK(cuTexObjectDestroy(t));
	}
	OK(cuMipmappedArrayDestroy(mipmap));
}

static void cube(void)
{
	struct picture p = { 8, 8, 6, false };
	CUarray array = make_array(&p, CUDA_ARRAY3D_CUBEMAP);
	CUDA_TEXTURE_DESC desc = { .addressMode = { CU_TR_ADDRESS_MODE_CLAMP, CU_TR_ADDRESS_MODE_CLAMP,
						    CU_TR_ADDRESS_MODE_CLAMP },
				   .flags = CU_TRSF_NORMALIZED_COORDINATES };
	CUtexObject t = texture_of(array, &desc);
	int wrong = 0;
	for (int i = 0; i < POINTS; i++) {
		float s = (float)(i / 6 % 8) / 4 - 0.875f, u = (float)(i / 48 % 8) / 4 - 0.875f;
		const struct f4 faces[6] = { { 1, u, s, 0 },  { -1, u, s, 0 }, { s, 1, u, 0 },
					     { s, -1, u, 0 }, { s, u, 1, 0 },  { s, u, -1, 0 } };
		points[i] = faces[i % 6];
	}
	run("sample_cube", t);
	for (int i = 0; i < POINTS; i++) {
		const struct f4 *d = &points[i];
		const double sc[6] = { -d->z, d->z, d->x, d->x, d->x, -d->x },
			     tc[6] = { -d->y, -d->y, d->z, -d->z, -d->y, -d->y };
		struct f4 want =
		    texel((int)floor((sc[i % 6] + 1) * 4), (int)floor((tc[i % 6] + 1) * 4), i % 6);
		wrong += memcmp(&want, &out[i], sizeof(want)) != 0;
	}
	CHECK(!wrong || !check_computes(), "faces of a cube: %d wrong", wrong);
	OK(cuTexObjectDestroy(t));
	OK(cuArrayDestroy(array));
}

static void gather(void)
{
	struct picture p = { 16, 8, 0, false };
	CUarray array = make_array(&p, CUDA_ARRAY3D_TEXTURE_GATHER);
	CUDA_TEXTURE_DESC desc = { .addressMode = { CU_TR_ADDRESS_MODE_CLAMP, CU_TR_ADDRESS_MODE_CLAMP } };
	CUtexObject t = texture_of(array, &desc);
	int wrong = 0;
	for (int i = 0; i < POINTS; i++)
		points[i] = (struct f4){ (float)(i % 36) / 2 - 0.8125f, (float)(i / 36) / 2 - 0.6875f, 0, 0 };
	run("gather_2d", t);
	for (int i = 0; i < POINTS; i++) {
		int x = (int)floor(points[i].x - 0.5), y = (int)floor(points[i].y - 0.5);
		float want[4];
		for (int k = 0; k < 4; k++) {
			int corner[3] = { x + (k == 1 || k == 2), y + (k < 2), 0 };
			want[k] = at(&p, corner, 0, CU_TR_ADDRESS_MODE_CLAMP).y;
		}
		wrong += memcmp(want, &out[i], sizeof(want)) != 0;
	}
	CHECK(!wrong || !check_computes(), "four texels at once: %d wrong", wrong);
	OK(cuTexObjectDestroy(t));
	OK(cuArrayDestroy(array));
}

// ---- what is refused

static void refusals(void)
{
	struct picture p = { 16, 8, 0, false };
	CUarray array = make_array(&p, 0);
	CUDA_RESOURCE_DESC r = { .resType = CU_RESOURCE_TYPE_ARRAY };
	CUDA_TEXTURE_DESC desc = { .addressMode = { CU_TR_ADDRESS_MODE_CLAMP } };
	CUtexObject t;
	CUsurfObject s;
	r.res.array.hArray = array;
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuTexObjectCreate(NULL, &r, &desc, NULL));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuTexObjectCreate(&t, NULL, &desc, NULL));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuTexObjectCreate(&t, &r, NULL, NULL));
	OK(cuSurfObjectCreate(&s, &r)); // though the array was not made for it
	OK(cuSurfObjectDestroy(s));
	r.resType = 7;
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuTexObjectCreate(&t, &r, &desc, NULL));
	r = (CUDA_RESOURCE_DESC){ .resType = CU_RESOURCE_TYPE_LINEAR };
	r.res.linear.devPtr = points_dev + 4; // not aligned
	r.res.linear.format = CU_AD_FORMAT_FLOAT;
	r.res.linear.numChannels = 1;
	r.res.linear.sizeInBytes = 64;
	if (check_computes())
		EXPECT(CUDA_ERROR_INVALID_VALUE, cuTexObjectCreate(&t, &r, &desc, NULL));
	if (check_backend() != BACKEND_NATIVE) {
		r.res.linear.devPtr = points_dev;
		r.res.linear.sizeInBytes = (size_t)1 << 40; // more than there is
		EXPECT(CUDA_ERROR_INVALID_VALUE, cuTexObjectCreate(&t, &r, &desc, NULL));
		EXPECT(CUDA_ERROR_INVALID_VALUE, cuTexObjectDestroy(0x1234567812345678));
		EXPECT(CUDA_ERROR_INVALID_VALUE, cuSurfObjectDestroy(0x1234567812345678));
	}
	OK(cuArrayDestroy(array));
}

int main(void)
{
	check_context();
	module = check_module("textures.ptx");
	MUST(cuMemAlloc_v2(&points_dev, sizeof(points)));
	MUST(cuMemAlloc_v2(&out_dev, sizeof(out)));
	sample("sample_1d", &(struct picture){ 16, 0, 0, false }, 1);
	sample("sample_2d", &(struct picture){ 16, 8, 0, false }, 2);
	sample("sample_3d", &(struct picture){ 16, 8, 4, false }, 3);
	sample("sample_1d_layered", &(struct picture){ 16, 0, 5, true }, 1);
	sample("sample_2d_layered", &(struct picture){ 16, 8, 3, true }, 2);
	linear_memory();
	pitched_memory();
	formats();
	levels();
	cube();
	gather();
	refusals();
	MUST(cuMemFree_v2(points_dev));
	MUST(cuMemFree_v2(out_dev));
	return check_done();
}
