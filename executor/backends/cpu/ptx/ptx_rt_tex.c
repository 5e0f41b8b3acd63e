// SPDX-License-Identifier: Apache-2.0
/*
 * Texture fetches: from an object's value and coordinates to four channels, by the formulas of CUDA's
 * programming guide ("Texture Fetching"): weights of linear filtering have 8 bits of fraction. Called by
 * generated code on worker threads, on kernels' own stacks: memory that has gone faults there, as any access
 * of the kernel.
 */
#include "executor/backends/cpu/ptx/ptx_cta.h"
#include "executor/backends/cpu/ptx/ptx_rt.h"
#include "executor/backends/cpu/ptx/ptx_texture.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FAR 1e9 // no texture is so large; larger coordinates count as this

struct place { // in texels: along each dimension, and the layer
	int64_t at[3];
	uint32_t layer;
};

// ---- texels

static float half_to_float(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
	uint32_t bits;
	float f;

	if (exponent == 31)
		bits = sign | 0x7f800000 | fraction << 13;
	else if (exponent)
		bits = sign | (exponent + 112) << 23 | fraction << 13;
	else
		return (sign ? -1.0f : 1.0f) * (float)fraction * 0x1p-24f;
	memcpy(&f, &bits, sizeof(f));
	return f;
}

static float from_srgb(float v)
{
	return v <= 0.04045f ? v / 12.92f : powf((v + 0.055f) / 1.055f, 2.4f);
}

static float clamped(float v)
{
	return v < -1.0f ? -1.0f : v;
}

// One channel as the bits that the register gets.
static uint32_t channel_bits(const struct ptx_texture *t, const uint8_t *p, unsigned channel)
{
	uint32_t raw = 0, bits;
	float f;

	memcpy(&raw, p, t->element / t->channels);
	switch ((enum ptx_channel)t->channel) {
	case CHANNEL_U8: f = (float)raw / 255.0f; break;
	case CHANNEL_S8:
		raw = (uint32_t)(int8_t)raw;
		f = clamped((float)(int32_t)raw / 127.0f);
		break;
	case CHANNEL_U16: f = (float)raw / 65535.0f; break;
	case CHANNEL_S16:
		raw = (uint32_t)(int16_t)raw;
		f = clamped((float)(int32_t)raw / 32767.0f);
		break;
	case CHANNEL_F16: f = half_to_float((uint16_t)raw); break;
	default: return raw; // 32 bits are never scaled
	}
	if (t->integer)
		return raw;
	if (t->srgb && t->channel == CHANNEL_U8 && channel < 3)
		f = from_srgb(f);
	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static void read_texel(const struct ptx_texture *t, const struct ptx_level *l, const struct place *p,
		       uint32_t ret[4])
{
	uint64_t slice = t->layers ? p->layer : (uint64_t)p->at[2];
	const uint8_t *at =
	    (const uint8_t *)(uintptr_t)(l->address + slice * l->slice + (uint64_t)p->at[1] * l->pitch +
					 (uint64_t)p->at[0] * t->element);

	memset(ret, 0, 4 * sizeof(ret[0]));
	for (unsigned i = 0; i < t->channels; i++)
		ret[i] = channel_bits(t, at + i * (t->element / t->channels), i);
}

static uint32_t extent(const struct ptx_level *l, unsigned dim)
{
	return dim == 0 ? l->width : dim == 1 ? l->height : l->depth;
}

// Brings an index into the texture by the dimension's mode. false: it is outside, the border's.
static bool bring_in(uint32_t n, enum ptx_address_mode mode, int64_t *i)
{
	int64_t m;

	assert(n); // no backend makes a level without extent
	if (*i >= 0 && *i < n)
		return true;
	switch (mode) {
	case ADDRESS_BORDER: return false;
	case ADDRESS_WRAP: *i = (*i % n + n) % n; return true;
	case ADDRESS_MIRROR:
		m = (*i % (2 * (int64_t)n) + 2 * (int64_t)n) % (2 * (int64_t)n);
		*i = m < n ? m : 2 * (int64_t)n - 1 - m;
		return true;
	case ADDRESS_CLAMP: break;
	}
	*i = *i < 0 ? 0 : n - 1;
	return true;
}

// Wrapping and mirroring are for normalised coordinates only.
static enum ptx_address_mode mode_of(const struct ptx_texture *t, unsigned dim, bool normalized)
{
	enum ptx_address_mode mode = t->modes[dim];

	if (t->cube)
		return ADDRESS_CLAMP;
	return normalized || mode == ADDRESS_BORDER ? mode : ADDRESS_CLAMP;
}

static void fetch_texel(const struct ptx_texture *t, const struct ptx_level *l, struct place p, unsigned dims,
			bool normalized, uint32_t ret[4])
{
	bool inside = true;

	for (unsigned d = 0; d < dims && inside; d++)
		inside = bring_in(extent(l, d), mode_of(t, d, normalized), &p.at[d]);
	if (inside)
		read_texel(t, l, &p, ret);
	else
		memcpy(ret, t->border, 4 * sizeof(ret[0]));
}

// ---- coordinates

static double bounded(double v)
{
	return v > FAR ? FAR : v > -FAR ? v : v <= -FAR ? -FAR : 0;
}

// A coordinate in texels. Wrapped and mirrored ones lose their whole part first: it says nothing, and would
// cost precision.
static double to_texels(const struct ptx_texture *t, unsigned dim, float c, uint32_t n)
{
	double v = c;

	if (!t->normalized && !t->cube)
		return bounded(v);
	if (mode_of(t, dim, true) == ADDRESS_WRAP)
		v -= floor(v);
	else if (mode_of(t, dim, true) == ADDRESS_MIRROR)
		v -= 2 * floor(v / 2);
	return bounded(v * n);
}

// The two texels that a coordinate lies between, the lower one's index, and the weight of the upper one in
// 256ths.
static int64_t between(double texels, unsigned *ret_weight)
{
	double lower = floor(texels - 0.5);

	*ret_weight = (unsigned)floor((texels - 0.5 - lower) * 256 + 0.5);
	return (int64_t)lower;
}

// In how many dimensions a GPU filters. A texture of one dimension is a picture of one row to it, sampled at
// that row's edge, half way to the row before: the same row again, unless the second mode says border.
static unsigned dims_of_filter(const struct ptx_texture *t)
{
	return t->dims == 1 && !t->layers && mode_of(t, 1, t->normalized) == ADDRESS_BORDER ? 2 : t->dims;
}

static void sample_linear(const struct ptx_texture *t, const struct ptx_level *l, const double texels[3],
			  uint32_t layer, uint32_t ret[4])
{
	unsigned dims = dims_of_filter(t), weights[3] = { 0 };
	int64_t lower[3] = { 0 };
	double sum[4] = { 0 };

	for (unsigned d = 0; d < dims; d++)
		lower[d] = between(texels[d], &weights[d]);
	for (unsigned corner = 0; corner < 1u << dims; corner++) {
		struct place p = { .layer = layer };
		double weight = 1;
		uint32_t bits[4];

		for (unsigned d = 0; d < dims; d++) {
			unsigned upper = corner >> d & 1;

			p.at[d] = lower[d] + upper;
			weight *= (upper ? weights[d] : 256 - weights[d]) / 256.0;
		}
		if (weight == 0)
			continue;
		fetch_texel(t, l, p, dims, t->normalized, bits);
		for (unsigned i = 0; i < 4; i++) {
			float f;

			memcpy(&f, &bits[i], sizeof(f));
			sum[i] += weight * f;
		}
	}
	for (unsigned i = 0; i < 4; i++) {
		float f = (float)sum[i];

		memcpy(&ret[i], &f, sizeof(f));
	}
}

static void sample_level(const struct ptx_texture *t, uint32_t level, const float *coords, uint32_t layer,
			 uint32_t ret[4])
{
	const struct ptx_level *l = &t->levels[level];
	struct place p = { .layer = layer };
	double texels[3] = { 0 };

	for (unsigned d = 0; d < t->dims; d++)
		texels[d] = to_texels(t, d, coords[d], extent(l, d));
	if (t->linear) {
		sample_linear(t, l, texels, layer, ret);
		return;
	}
	for (unsigned d = 0; d < t->dims; d++)
		p.at[d] = (int64_t)floor(texels[d]);
	fetch_texel(t, l, p, t->dims, t->normalized, ret);
}

static float clamp_level(float detail, float low, float high)
{
	if (!(detail > low))
		detail = low;
	return detail > high ? high : detail;
}

static void sample(const struct ptx_texture *t, const float *coords, uint32_t layer, float detail,
		   uint32_t ret[4])
{
	uint32_t other[4], lower;
	float level, weight;

	if (t->n_levels == 1) {
		sample_level(t, 0, coords, layer, ret);
		return;
	}
	level = clamp_level(clamp_level(detail + t->bias, t->min_level, t->max_level), 0,
			    (float)(t->n_levels - 1));
	if (!t->mip_linear || t->integer) {
		sample_level(t, (uint32_t)floorf(level + 0.5f), coords, layer, ret);
		return;
	}
	lower = (uint32_t)floorf(level);
	weight = floorf((level - (float)lower) * 256 + 0.5f) / 256;
	sample_level(t, lower, coords, layer, ret);
	if (weight == 0)
		return;
	sample_level(t, lower + 1, coords, layer, other);
	for (unsigned i = 0; i < 4; i++) {
		float a, b;

		memcpy(&a, &ret[i], sizeof(a));
		memcpy(&b, &other[i], sizeof(b));
		a = (1 - weight) * a + weight * b;
		memcpy(&ret[i], &a, sizeof(a));
	}
}

// The four texels that linear filtering would mix, one component of each: counter-clockwise, lower left
// first.
static void gather(const struct ptx_texture *t, const float *coords, uint32_t layer, unsigned component,
		   uint32_t ret[4])
{
	static const uint8_t corners[4][2] = { { 0, 1 }, { 1, 1 }, { 1, 0 }, { 0, 0 } };
	const struct ptx_level *l = &t->levels[0];
	unsigned weight;
	int64_t lower[2];

	for (unsigned d = 0; d < 2; d++)
		lower[d] = between(to_texels(t, d, coords[d], extent(l, d)), &weight);
	for (unsigned i = 0; i < 4; i++) {
		struct place p = { { lower[0] + corners[i][0], lower[1] + corners[i][1], 0 }, layer };
		uint32_t bits[4];

		fetch_texel(t, l, p, t->dims, t->normalized, bits);
		ret[i] = bits[component];
	}
}

// The face of a cube that a direction meets, and where on it.
static uint32_t cube_face(const float d[3], float ret[2])
{
	float ax = fabsf(d[0]), ay = fabsf(d[1]), az = fabsf(d[2]), s, t, m;
	uint32_t face;

	if (ax >= ay && ax >= az) {
		face = d[0] < 0;
		m = ax;
		s = face ? d[2] : -d[2];
		t = -d[1];
	} else if (ay >= az) {
		face = 2 + (d[1] < 0);
		m = ay;
		s = d[0];
		t = face == 2 ? d[2] : -d[2];
	} else {
		face = 4 + (d[2] < 0);
		m = az;
		s = face == 4 ? d[0] : -d[0];
		t = -d[1];
	}
	ret[0] = (s / m + 1) / 2;
	ret[1] = (t / m + 1) / 2;
	return face;
}

// ---- entered from generated code

static _Noreturn void no_object(const struct ptx_block *blk, uint64_t object, const char *what)
{
	struct ptx_worker *w = blk->cta->worker;
	char text[96];

	snprintf(text, sizeof(text), "%s 0x%llx is none, or of another kind", what,
		 (unsigned long long)object);
	ptx_job_fault(w->job, PTX_FAULT_ADDRESS, object, text);
	ptx_leave(w);
}

static bool geometry_suits(const struct ptx_texture *t, enum ptx_geometry g)
{
	static const uint8_t dims[] = { [GEOM_1D] = 1,	[GEOM_2D] = 2,	 [GEOM_3D] = 3,	  [GEOM_A1D] = 1,
					[GEOM_A2D] = 2, [GEOM_CUBE] = 2, [GEOM_ACUBE] = 2 };
	bool layered = g == GEOM_A1D || g == GEOM_A2D || g == GEOM_CUBE || g == GEOM_ACUBE;

	if ((g == GEOM_CUBE || g == GEOM_ACUBE) != t->cube)
		return false;
	return t->dims == dims[g] && layered == (t->layers != 0);
}

// An unsigned index (PTX ISA); the last layer stands for those behind it.
static uint32_t layer_of(uint32_t coord, uint32_t n)
{
	return coord < n ? coord : n - 1;
}

// Texels by their index: no filter, no normalisation. Linear memory has nothing but zeros outside.
static void fetch_indexed(const struct ptx_texture *t, const uint32_t *coords, uint32_t layer,
			  uint32_t ret[4])
{
	struct place p = { .layer = layer };

	for (unsigned d = 0; d < t->dims; d++)
		p.at[d] = (int32_t)coords[d];
	if (t->is_memory && t->dims == 1 && (p.at[0] < 0 || p.at[0] >= t->levels[0].width))
		memset(ret, 0, 4 * sizeof(ret[0]));
	else
		fetch_texel(t, &t->levels[0], p, t->dims, false, ret);
}

void ptx_rt_tex(const struct ptx_block *blk, uint64_t object, uint32_t how, const uint32_t *coords,
		uint32_t *ret)
{
	const struct ptx_texture *t = ptx_texture_find(object, false);
	enum ptx_geometry g = (enum ptx_geometry)(how & PTX_TEX_GEOMETRY);
	float c[4], on_face[2], detail;
	uint32_t layer = 0;

	if (!t || !geometry_suits(t, g))
		no_object(blk, object, "texture");
	if (g == GEOM_A1D || g == GEOM_A2D)
		layer = layer_of(coords[0], t->layers);
	if (how & PTX_TEX_INTEGER) {
		fetch_indexed(t, coords + 1, layer, ret);
		return;
	}
	memcpy(c, coords + 1, 3 * sizeof(c[0]));
	memcpy(&detail, coords + PTX_TEX_COORDS - 1, sizeof(detail));
	if (t->cube) {
		layer = cube_face(c, on_face);
		if (g == GEOM_ACUBE)
			layer += 6 * layer_of(coords[0], t->layers / 6);
		memcpy(c, on_face, sizeof(on_face));
	}
	if (how & PTX_TEX_GATHER)
		gather(t, c, layer, how >> PTX_TEX_COMP & 3, ret);
	else
		sample(t, c, layer, detail, ret);
}

uint32_t ptx_rt_txq(const struct ptx_block *blk, uint64_t object, uint32_t query, uint32_t is_surface)
{
	const struct ptx_texture *t = ptx_texture_find(object, is_surface);

	if (!t)
		no_object(blk, object, is_surface ? "surface" : "texture");
	switch ((enum ptx_texture_query)query) {
	case QUERY_WIDTH: return t->levels[0].width;
	case QUERY_HEIGHT: return t->dims > 1 ? t->levels[0].height : 0;
	case QUERY_DEPTH: return t->dims > 2 ? t->levels[0].depth : 0;
	case QUERY_LAYERS: return t->cube ? t->layers / 6 : t->layers;
	case QUERY_LEVELS: return t->n_levels;
	case QUERY_NORMALIZED: return t->normalized;
	}
	return 0;
}
