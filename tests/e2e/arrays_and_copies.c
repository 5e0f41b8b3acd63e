// SPDX-License-Identifier: Apache-2.0
//
// Arrays of all shapes, and every way that bytes get into and out of them: each copy is followed to the byte
// by a picture of the array that the processor keeps.
#include "tests/e2e/check.h"

#include <stdlib.h>
#include <string.h>

static CUstream stream;

// An array and what it must hold: rows without gaps, slices or layers behind each other.
struct picture {
	CUarray array;
	CUDA_ARRAY3D_DESCRIPTOR desc;
	size_t row, rows, slices, bytes;
	uint8_t *want, *got;
	CUdeviceptr device; // as many bytes
	uint32_t seed;
};

static size_t element_of(const CUDA_ARRAY3D_DESCRIPTOR *d)
{
	size_t bytes = d->Format == CU_AD_FORMAT_FLOAT						    ? 4
		       : d->Format == CU_AD_FORMAT_UNSIGNED_INT16 || d->Format == CU_AD_FORMAT_HALF ? 2
												    : 1;
	return bytes * d->NumChannels;
}

static struct picture picture_new(CUDA_ARRAY3D_DESCRIPTOR desc)
{
	struct picture p = { .desc = desc,
			     .row = desc.Width * element_of(&desc),
			     .rows = desc.Height ? desc.Height : 1,
			     .slices = desc.Depth ? desc.Depth : 1,
			     .seed = 1 };
	p.bytes = p.row * p.rows * p.slices;
	p.want = calloc(1, p.bytes);
	p.got = malloc(p.bytes);
	if (!p.want || !p.got)
		check_bail("no memory");
	OK(cuArray3DCreate_v2(&p.array, &desc));
	MUST(cuMemAlloc_v2(&p.device, p.bytes));
	return p;
}

static void picture_done(struct picture *p)
{
	OK(cuArrayDestroy(p->array));
	MUST(cuMemFree_v2(p->device));
	free(p->want);
	free(p->got);
}

enum side { HOST, DEVICE, ARRAY };

static CUDA_MEMCPY3D between(enum side dst, enum side src, struct picture *p, void *host)
{
	CUDA_MEMCPY3D c = { .WidthInBytes = p->row, .Height = p->rows, .Depth = p->slices };
	c.srcMemoryType = src == HOST	  ? CU_MEMORYTYPE_HOST
			  : src == DEVICE ? CU_MEMORYTYPE_DEVICE
					  : CU_MEMORYTYPE_ARRAY;
	c.dstMemoryType = dst == HOST	  ? CU_MEMORYTYPE_HOST
			  : dst == DEVICE ? CU_MEMORYTYPE_DEVICE
					  : CU_MEMORYTYPE_ARRAY;
	c.srcHost = c.dstHost = host;
	c.srcDevice = c.dstDevice = p->device;
	c.srcArray = c.dstArray = p->array;
	c.srcPitch = c.dstPitch = p->row;
	c.srcHeight = c.dstHeight = p->rows;
	return c;
}

// All of the array, by cuMemcpy3D, against the picture.
static void picture_check(struct picture *p, const char *what)
{
	CUDA_MEMCPY3D down = between(HOST, ARRAY, p, p->got);
	memset(p->got, 0xee, p->bytes);
	MUST(cuMemcpy3D_v2(&down));
	if (!check_computes())
		return;
	for (size_t i = 0; i < p->bytes; i++) {
		if (p->got[i] == p->want[i])
			continue;
		CHECK(false, "%s: byte %zu of row %zu of slice %zu is %02x, expected %02x", what, i % p->row,
		      i / p->row % p->rows, i / p->row / p->rows, p->got[i], p->want[i]);
		return;
	}
	CHECK(true, "%s", what);
}

// New contents everywhere, through the picture.
static void picture_fill(struct picture *p)
{
	CUDA_MEMCPY3D up = between(ARRAY, HOST, p, p->want);
	pattern_fill(p->want, p->bytes, p->seed++);
	OK(cuMemcpy3D_v2(&up));
}

// ---- runs of bytes

static void runs(void)
{
	struct picture p = picture_new((CUDA_ARRAY3D_DESCRIPTOR){
	    .Width = 1001, .Format = CU_AD_FORMAT_UNSIGNED_INT16, .NumChannels = 2 });
	uint8_t bytes[400];
	void *pinned;
	MUST(cuMemAllocHost_v2(&pinned, sizeof(bytes)));
	picture_fill(&p);
	picture_check(&p, "an array of one dimension");
	pattern_fill(bytes, sizeof(bytes), 77);
	OK(cuMemcpyHtoA_v2(p.array, 36, bytes, 396));
	memcpy(p.want + 36, bytes, 396);
	picture_check(&p, "host to array");
	memset(bytes, 0, sizeof(bytes));
	OK(cuMemcpyAtoH_v2(bytes, p.array, 40, 388));
	CHECK(!check_computes() || !memcmp(bytes, p.want + 40, 388), "array to host");
	OK(cuMemcpyAtoD_v2(p.device, p.array, 4, 2000));
	OK(cuMemcpyDtoA_v2(p.array, 1004, p.device, 1000));
	memmove(p.want + 1004, p.want + 4, 1000);
	picture_check(&p, "array to device and back");
	OK(cuMemcpyAtoA_v2(p.array, 3000, p.array, 1000, 800));
	memmove(p.want + 3000, p.want + 1000, 800);
	picture_check(&p, "array to array");
	pattern_fill(pinned, 400, 78);
	OK(cuMemcpyHtoAAsync_v2(p.array, 8, pinned, 200, stream));
	OK(cuMemcpyAtoHAsync_v2((char *)pinned + 200, p.array, 8, 200, stream));
	MUST(cuStreamSynchronize(stream));
	memcpy(p.want + 8, pinned, 200);
	picture_check(&p, "in a stream");
	CHECK(!check_computes() || !memcmp((char *)pinned + 200, pinned, 200), "and out again");
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoA_v2(p.array, 3800, bytes, 400));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpyAtoH_v2(bytes, p.array, 4004, 4));
	picture_check(&p, "what does not fit changes nothing");
	MUST(cuMemFreeHost(pinned));
	picture_done(&p);
}

// ---- rectangles

static void paste(struct picture *p, size_t x, size_t y, size_t z, const uint8_t *from, size_t pitch,
		  size_t slice, size_t width, size_t height, size_t depth)
{
	for (size_t k = 0; k < depth; k++)
		for (size_t i = 0; i < height; i++)
			memcpy(p->want + ((z + k) * p->rows + y + i) * p->row + x,
			       from + k * slice + i * pitch, width);
}

static CUresult copy_2d(int form, const CUDA_MEMCPY2D *c)
{
	switch (form) {
	case 0: return cuMemcpy2D_v2(c);
	case 1: return cuMemcpy2DUnaligned_v2(c);
	default: return cuMemcpy2DAsync_v2(c, stream);
	}
}

enum { PITCH = 512, ROWS = 40 };
static uint8_t sheet[PITCH * ROWS], back[PITCH * ROWS];

static void rectangle_from_the_host(int form, struct picture *p)
{
	CUDA_MEMCPY2D c = { .srcXInBytes = 9,
			    .srcY = 2,
			    .srcMemoryType = CU_MEMORYTYPE_HOST,
			    .srcHost = sheet,
			    .srcPitch = PITCH,
			    .dstXInBytes = 24,
			    .dstY = 5,
			    .dstMemoryType = CU_MEMORYTYPE_ARRAY,
			    .dstArray = p->array,
			    .WidthInBytes = 400,
			    .Height = 31 };

	pattern_fill(sheet, sizeof(sheet), 100 + (uint32_t)form);
	OK(copy_2d(form, &c));
	MUST(cuStreamSynchronize(stream));
	paste(p, 24, 5, 0, sheet + 2 * PITCH + 9, PITCH, 0, 400, 31, 1);
	picture_check(p, "a rectangle from the host");
}

// From the array to the device, and from there into another place of the array.
static void rectangle_over_the_device(int form, struct picture *p, CUdeviceptr other)
{
	CUDA_MEMCPY2D out = { .srcXInBytes = 16,
			      .srcY = 1,
			      .srcMemoryType = CU_MEMORYTYPE_ARRAY,
			      .srcArray = p->array,
			      .dstMemoryType = CU_MEMORYTYPE_DEVICE,
			      .dstDevice = other,
			      .dstXInBytes = 8,
			      .dstY = 1,
			      .dstPitch = PITCH,
			      .WidthInBytes = 200,
			      .Height = 20 };
	CUDA_MEMCPY2D in = { .srcXInBytes = 8,
			     .srcY = 1,
			     .srcMemoryType = CU_MEMORYTYPE_DEVICE,
			     .srcDevice = other,
			     .srcPitch = PITCH,
			     .dstXInBytes = 200,
			     .dstY = 17,
			     .dstMemoryType = CU_MEMORYTYPE_ARRAY,
			     .dstArray = p->array,
			     .WidthInBytes = 200,
			     .Height = 20 };

	OK(copy_2d(form, &out));
	OK(copy_2d(form, &in));
	MUST(cuStreamSynchronize(stream));
	memcpy(back, p->want, p->bytes);
	paste(p, 200, 17, 0, back + p->row + 16, p->row, 0, 200, 20, 1);
	picture_check(p, "a rectangle over the device");
}

// Into host memory with a gap behind each row.
static void rectangle_to_the_host(int form, const struct picture *p)
{
	CUDA_MEMCPY2D c = { .srcMemoryType = CU_MEMORYTYPE_ARRAY,
			    .srcArray = p->array,
			    .srcXInBytes = 8,
			    .dstMemoryType = CU_MEMORYTYPE_HOST,
			    .dstHost = back,
			    .dstXInBytes = 3,
			    .dstY = 1,
			    .dstPitch = PITCH,
			    .WidthInBytes = 480,
			    .Height = 37 };
	bool right;

	memset(back, 0, sizeof(back));
	OK(copy_2d(form, &c));
	MUST(cuStreamSynchronize(stream));
	right = !back[0] && !back[PITCH + 2] && !back[PITCH + 483];
	for (size_t y = 0; y < 37 && right; y++)
		right = !memcmp(back + (y + 1) * PITCH + 3, p->want + y * p->row + 8, 480);
	CHECK(right || !check_computes(), "form %d: a rectangle to the host", form);
}

static void rectangles_outside(const struct picture *p)
{
	CUDA_MEMCPY2D outside = { .srcMemoryType = CU_MEMORYTYPE_HOST,
				  .srcHost = sheet,
				  .srcPitch = PITCH,
				  .dstXInBytes = 96,
				  .dstMemoryType = CU_MEMORYTYPE_ARRAY,
				  .dstArray = p->array,
				  .WidthInBytes = 400,
				  .Height = 1 };

	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D_v2(&outside));
	outside.dstXInBytes = 0;
	outside.dstY = 36;
	outside.Height = 2;
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D_v2(&outside));
}

static void rectangles(void)
{
	struct picture p = picture_new((CUDA_ARRAY3D_DESCRIPTOR){
	    .Width = 61, .Height = 37, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 2 });
	CUDA_ARRAY_DESCRIPTOR desc;
	CUdeviceptr other;

	MUST(cuMemAlloc_v2(&other, sizeof(sheet)));
	OK(cuArrayGetDescriptor_v2(&desc, p.array));
	CHECK(desc.Width == 61 && desc.Height == 37 && desc.Format == CU_AD_FORMAT_FLOAT &&
		  desc.NumChannels == 2,
	      "its descriptor");
	for (int form = 0; form < 3; form++) {
		picture_fill(&p);
		rectangle_from_the_host(form, &p);
		rectangle_over_the_device(form, &p, other);
		rectangle_to_the_host(form, &p);
	}
	rectangles_outside(&p);
	MUST(cuMemFree_v2(other));
	picture_done(&p);
}

// ---- boxes, layers

static void boxes(const char *name, CUDA_ARRAY3D_DESCRIPTOR desc, bool peer)
{
	struct picture p = picture_new(desc), q = picture_new(desc);
	CUDA_ARRAY3D_DESCRIPTOR told;
	CUcontext ctx;
	size_t element = element_of(&desc), x = element, width = p.row - 3 * element, y = p.rows > 2,
	       height = p.rows > 2 ? p.rows - 2 : 1, z = p.slices > 2,
	       depth = p.slices > 2 ? p.slices - 2 : 1;
	CUDA_MEMCPY3D c = between(ARRAY, ARRAY, &p, NULL);
	MUST(cuCtxGetCurrent(&ctx));
	OK(cuArray3DGetDescriptor_v2(&told, p.array));
	CHECK(told.Width == desc.Width && told.Height == desc.Height && told.Depth == desc.Depth &&
		  told.Format == desc.Format && told.NumChannels == desc.NumChannels &&
		  told.Flags == desc.Flags,
	      "%s: descriptor", name);
	picture_fill(&p);
	picture_fill(&q);
	picture_check(&p, name);
	// A part of q into the middle of p.
	c.srcArray = q.array;
	c.srcXInBytes = 0;
	c.dstXInBytes = x;
	c.dstY = y;
	c.dstZ = z;
	c.WidthInBytes = width;
	c.Height = height;
	c.Depth = depth;
	if (peer) {
		CUDA_MEMCPY3D_PEER between_contexts;
		memcpy(&between_contexts, &c, sizeof(c));
		between_contexts.srcContext = between_contexts.dstContext = ctx;
		OK(cuMemcpy3DPeer(&between_contexts));
	} else {
		OK(cuMemcpy3DAsync_v2(&c, stream));
	}
	MUST(cuCtxSynchronize());
	paste(&p, x, y, z, q.want, q.row, q.row * q.rows, width, height, depth);
	picture_check(&p, "array to array");
	// A box of it to the device, rows and slices with gaps, and back to the other end.
	c = between(DEVICE, ARRAY, &p, NULL);
	c.srcXInBytes = x;
	c.srcY = y;
	c.WidthInBytes = width;
	c.Height = height;
	OK(cuMemcpy3D_v2(&c));
	c = between(ARRAY, DEVICE, &p, NULL);
	c.dstXInBytes = 3 * element;
	c.WidthInBytes = width;
	c.Height = height;
	OK(cuMemcpy3D_v2(&c));
	memcpy(q.want, p.want, p.bytes);
	paste(&p, 3 * element, 0, 0, q.want + y * p.row + x, p.row, p.row * p.rows, width, height, p.slices);
	picture_check(&p, "over the device");
	c.dstZ = 1;
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMemcpy3D_v2(&c));
	picture_check(&p, "a slice too many changes nothing");
	picture_done(&p);
	picture_done(&q);
}

// More than one piece of what is on its way at once.
static void large(void)
{
	struct picture p = picture_new((CUDA_ARRAY3D_DESCRIPTOR){
	    .Width = 2047, .Height = 1153, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 4 });
	picture_fill(&p);
	picture_check(&p, "37 MB from and to pageable memory");
	picture_done(&p);
}

// ---- graphs

static void graphs(void)
{
	struct picture p = picture_new((CUDA_ARRAY3D_DESCRIPTOR){
	    .Width = 33, .Height = 9, .Format = CU_AD_FORMAT_UNSIGNED_INT8, .NumChannels = 4 });
	CUDA_MEMCPY3D up = between(ARRAY, DEVICE, &p, NULL), down, told;
	CUgraph graph;
	CUgraphExec exec;
	CUgraphNode first, second, nodes[2];
	uint8_t *pinned;
	size_t n = 2;
	if (!check_computes()) {
		picture_done(&p);
		return;
	}
	MUST(cuMemAllocHost_v2((void **)&pinned, p.bytes));
	down = between(HOST, ARRAY, &p, pinned);
	OK(cuGraphCreate(&graph, 0));
	OK(cuGraphAddMemcpyNode(&first, graph, NULL, 0, &up, NULL));
	OK(cuGraphAddMemcpyNode(&second, graph, &first, 1, &down, NULL));
	OK(cuGraphMemcpyNodeGetParams(second, &told));
	CHECK(told.srcMemoryType == CU_MEMORYTYPE_ARRAY && told.srcArray == p.array, "the node's parameters");
	OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
	for (uint32_t run = 0; run < 2; run++) {
		pattern_fill(p.want, p.bytes, 500 + run);
		MUST(cuMemcpyHtoD_v2(p.device, p.want, p.bytes));
		memset(pinned, 0, p.bytes);
		OK(cuGraphLaunch(exec, stream));
		MUST(cuStreamSynchronize(stream));
		CHECK(!memcmp(pinned, p.want, p.bytes), "run %u of nodes with an array", run);
	}
	OK(cuGraphExecDestroy(exec));
	OK(cuGraphDestroy(graph));
	// The same captured.
	OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
	OK(cuMemcpy3DAsync_v2(&up, stream));
	OK(cuMemcpy3DAsync_v2(&down, stream));
	OK(cuStreamEndCapture(stream, &graph));
	OK(cuGraphGetNodes(graph, nodes, &n));
	EQUAL(2, n);
	OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
	pattern_fill(p.want, p.bytes, 600);
	MUST(cuMemcpyHtoD_v2(p.device, p.want, p.bytes));
	OK(cuGraphLaunch(exec, stream));
	MUST(cuStreamSynchronize(stream));
	CHECK(!memcmp(pinned, p.want, p.bytes), "captured copies with an array");
	OK(cuGraphExecDestroy(exec));
	OK(cuGraphDestroy(graph));
	MUST(cuMemFreeHost(pinned));
	picture_done(&p);
}

// ---- mipmaps

static void mipmaps(void)
{
	CUDA_ARRAY3D_DESCRIPTOR d = {
		.Width = 40, .Height = 12, .Format = CU_AD_FORMAT_UNSIGNED_INT16, .NumChannels = 1
	};
	static uint8_t in[6][40 * 12 * 2], out[40 * 12 * 2];
	CUmipmappedArray mipmap;
	CUarray level;
	bool right = true;
	OK(cuMipmappedArrayCreate(&mipmap, &d, 6)); // 40x12 20x6 10x3 5x1 2x1 1x1
	for (unsigned i = 0; i < 6; i++) {
		size_t width = 40u >> i, height = 12u >> i ? 12u >> i : 1;
		CUDA_MEMCPY2D c = { .srcMemoryType = CU_MEMORYTYPE_HOST,
				    .srcHost = in[i],
				    .srcPitch = 2 * width,
				    .dstMemoryType = CU_MEMORYTYPE_ARRAY,
				    .WidthInBytes = 2 * width,
				    .Height = height };
		MUST(cuMipmappedArrayGetLevel(&level, mipmap, i));
		MUST(cuArray3DGetDescriptor_v2(&d, level));
		right &= d.Width == width && d.Height == height;
		pattern_fill(in[i], sizeof(in[i]), 700 + i);
		c.dstArray = level;
		MUST(cuMemcpy2D_v2(&c));
	}
	CHECK(right, "extents of the levels");
	for (unsigned i = 0; i < 6 && right; i++) {
		size_t width = 40u >> i, height = 12u >> i ? 12u >> i : 1;
		CUDA_MEMCPY2D c = { .srcMemoryType = CU_MEMORYTYPE_ARRAY,
				    .dstMemoryType = CU_MEMORYTYPE_HOST,
				    .dstHost = out,
				    .dstPitch = 2 * width,
				    .WidthInBytes = 2 * width,
				    .Height = height };
		MUST(cuMipmappedArrayGetLevel(&level, mipmap, i));
		c.srcArray = level;
		MUST(cuMemcpy2D_v2(&c));
		right = !memcmp(out, in[i], 2 * width * height);
	}
	CHECK(right || !check_computes(), "each level has its own contents");
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuMipmappedArrayGetLevel(&level, mipmap, 6));
	OK(cuMipmappedArrayDestroy(mipmap));
}

// ---- what is refused, what they take

static void refusals(void)
{
	static const CUDA_ARRAY3D_DESCRIPTOR bad[] = {
		{ .Width = 0, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1 },
		{ .Width = 16, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 3 },
		{ .Width = 16, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 0 },
		{ .Width = 16, .Format = 0x7f, .NumChannels = 1 },
		{ .Width = (size_t)1 << 40, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1 },
		{ .Width = 16,
		  .Height = 8,
		  .Depth = 6,
		  .Format = CU_AD_FORMAT_FLOAT,
		  .NumChannels = 1,
		  .Flags = CUDA_ARRAY3D_CUBEMAP },
	};
	CUDA_ARRAY3D_DESCRIPTOR good = {
		.Width = 16, .Height = 16, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1
	};
	CUDA_ARRAY_SPARSE_PROPERTIES sparse;
	CUDA_ARRAY_MEMORY_REQUIREMENTS needs;
	CUarray array, plane;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		EXPECT(CUDA_ERROR_INVALID_VALUE, cuArray3DCreate_v2(&array, &bad[i]));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuArray3DCreate_v2(NULL, &good));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuArray3DCreate_v2(&array, NULL));
	OK(cuArray3DCreate_v2(&array, &good));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuArrayGetSparseProperties(&sparse, array));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuArrayGetMemoryRequirements(&needs, array, 0));
	EXPECT(CUDA_ERROR_INVALID_VALUE, cuArrayGetPlane(&plane, array, 0));
	OK(cuArrayDestroy(array));
	if (check_backend() != BACKEND_NATIVE) // the driver might follow the pointer
		EXPECT(CUDA_ERROR_INVALID_HANDLE, cuArrayDestroy(array));
}

static void memory_is_counted(void)
{
	CUDA_ARRAY3D_DESCRIPTOR d = {
		.Width = 4096, .Height = 2048, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 4
	};
	size_t before, with, total, bytes = 128 * MIB;
	CUarray array;
	MUST(cuMemGetInfo_v2(&before, &total));
	OK(cuArray3DCreate_v2(&array, &d));
	MUST(cuMemGetInfo_v2(&with, &total));
	CHECK(!check_computes() || before - with >= bytes, "128 MiB took %zu bytes", before - with);
	OK(cuArrayDestroy(array));
	MUST(cuCtxSynchronize());
	MUST(cuMemGetInfo_v2(&with, &total));
	CHECK(before - with < bytes / 2 || with > before, "and gave them back");
}

int main(void)
{
	check_context();
	MUST(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
	runs();
	rectangles();
	boxes(
	    "three dimensions",
	    (CUDA_ARRAY3D_DESCRIPTOR){ 13, 11, 7, CU_AD_FORMAT_UNSIGNED_INT8, 4, CUDA_ARRAY3D_SURFACE_LDST },
	    false);
	boxes("three dimensions, two contexts",
	      (CUDA_ARRAY3D_DESCRIPTOR){ 65, 5, 3, CU_AD_FORMAT_HALF, 1, 0 }, true);
	boxes("layers of rows",
	      (CUDA_ARRAY3D_DESCRIPTOR){ 29, 0, 6, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_LAYERED }, false);
	boxes("layers",
	      (CUDA_ARRAY3D_DESCRIPTOR){ 30, 18, 5, CU_AD_FORMAT_UNSIGNED_INT16, 4, CUDA_ARRAY3D_LAYERED },
	      false);
	boxes("a cube's faces",
	      (CUDA_ARRAY3D_DESCRIPTOR){ 12, 12, 6, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_CUBEMAP }, false);
	large();
	graphs();
	mipmaps();
	refusals();
	memory_is_counted();
	MUST(cuStreamDestroy_v2(stream));
	return check_done();
}
