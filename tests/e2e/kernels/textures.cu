// SPDX-License-Identifier: Apache-2.0
//
// Texture fetches and surface accesses of every shape, one point a thread. textures.ptx beside this file is made
// by CUDA 13.0's
// nvcc -ptx -arch=sm_75 -o tests/e2e/kernels/textures.ptx tests/e2e/kernels/textures.cu
#define KERNEL extern "C" __global__ void
#define EACH(i, n)                                       \
	int i = (int)(blockIdx.x * blockDim.x + threadIdx.x); \
	if (i >= (n))                                    \
		return;

KERNEL fetch_1d(cudaTextureObject_t t, int first, float *out, int n)
{
	EACH(i, n)
	out[i] = tex1Dfetch<float>(t, first + i);
}

KERNEL fetch_1d_uint4(cudaTextureObject_t t, int first, uint4 *out, int n)
{
	EACH(i, n)
	out[i] = tex1Dfetch<uint4>(t, first + i);
}

KERNEL sample_1d(cudaTextureObject_t t, const float4 *at, float4 *out, int n)
{
	EACH(i, n)
	out[i] = tex1D<float4>(t, at[i].x);
}

KERNEL sample_2d(cudaTextureObject_t t, const float4 *at, float4 *out, int n)
{
	EACH(i, n)
	out[i] = tex2D<float4>(t, at[i].x, at[i].y);
}

KERNEL sample_3d(cudaTextureObject_t t, const float4 *at, float4 *out, int n)
{
	EACH(i, n)
	out[i] = tex3D<float4>(t, at[i].x, at[i].y, at[i].z);
}

KERNEL sample_2d_short2(cudaTextureObject_t t, const float4 *at, int2 *out, int n)
{
	EACH(i, n)
	short2 v = tex2D<short2>(t, at[i].x, at[i].y);
	out[i] = make_int2(v.x, v.y);
}

// at.w is the layer, or the level of detail.
KERNEL sample_1d_layered(cudaTextureObject_t t, const float4 *at, float4 *out, int n)
{
	EACH(i, n)
	out[i] = tex1DLayered<float4>(t, at[i].x, (int)at[i].w);
}

KERNEL sample_2d_layered(cudaTextureObject_t t, const float4 *at, float4 *out, int n)
{
	EACH(i, n)
	out[i] = tex2DLayered<float4>(t, at[i].x, at[i].y, (int)at[i].w);
}

KERNEL sample_2d_level(cudaTextureObject_t t, const float4 *at, float4 *out, int n)
{
	EACH(i, n)
	out[i] = tex2DLod<float4>(t, at[i].x, at[i].y, at[i].w);
}

KERNEL sample_cube(cudaTextureObject_t t, const float4 *at, float4 *out, int n)
{
	EACH(i, n)
	out[i] = texCubemap<float4>(t, at[i].x, at[i].y, at[i].z);
}

KERNEL gather_2d(cudaTextureObject_t t, const float4 *at, float4 *out, int n)
{
	EACH(i, n)
	out[i] = tex2Dgather<float4>(t, at[i].x, at[i].y, 1);
}

// Objects out of memory: nothing on the way can have translated them.
KERNEL sum_of_objects(const cudaTextureObject_t *list, int count, float *out, int n)
{
	EACH(i, n)
	float sum = 0;
	for (int k = 0; k < count; k++)
		sum += tex1Dfetch<float>(list[k], i);
	out[i] = sum;
}

KERNEL surface_transpose(cudaSurfaceObject_t from, cudaSurfaceObject_t to, int width, int height)
{
	EACH(i, width * height)
	int x = i % width, y = i / width;
	float v;
	surf2Dread(&v, from, x * (int)sizeof(float), y);
	surf2Dwrite(v, to, y * (int)sizeof(float), x);
}

KERNEL surface_zero(cudaSurfaceObject_t from, int first, uint2 *out, int n)
{
	EACH(i, n)
	out[i] = surf1Dread<uint2>(from, (first + i) * (int)sizeof(uint2), cudaBoundaryModeZero);
}

KERNEL surface_clamp(cudaSurfaceObject_t from, int first, uint2 *out, int n)
{
	EACH(i, n)
	out[i] = surf1Dread<uint2>(from, (first + i) * (int)sizeof(uint2), cudaBoundaryModeClamp);
}

KERNEL surface_fill_3d(cudaSurfaceObject_t to, int width, int height, int depth)
{
	EACH(i, width * height * depth)
	int x = i % width, y = i / width % height, z = i / width / height;
	surf3Dwrite((unsigned short)(i * 7 + 1), to, x * (int)sizeof(unsigned short), y, z);
}

KERNEL surface_fill_layers(cudaSurfaceObject_t to, int width, int height, int layers)
{
	EACH(i, width * height * layers)
	int x = i % width, y = i / width % height, layer = i / width / height;
	surf2DLayeredwrite(make_uchar4(x, y, layer, 255), to, x * 4, y, layer);
}
