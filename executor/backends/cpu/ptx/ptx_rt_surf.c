// SPDX-License-Identifier: Apache-2.0
/*
 * Surface accesses: from an object's value and coordinates to the bytes that generated code then loads,
 * stores or changes. On worker threads of the executor.
 */
#include "executor/backends/cpu/ptx/ptx_cta.h"
#include "executor/backends/cpu/ptx/ptx_rt.h"
#include "executor/backends/cpu/ptx/ptx_texture.h"

#include <stdio.h>

static _Noreturn void surface_fault(const struct ptx_block *blk, enum ptx_fault_kind kind, uint64_t object,
				    const char *why)
{
	struct ptx_worker *w = blk->cta->worker;
	char text[128];

	snprintf(text, sizeof(text), "surface 0x%llx: %s", (unsigned long long)object, why);
	ptx_job_fault(w->job, kind, object, text);
	ptx_leave(w);
}

static bool geometry_suits(const struct ptx_texture *t, enum ptx_geometry g)
{
	switch (g) {
	case GEOM_1D: return t->dims == 1 && !t->layers;
	case GEOM_2D: return t->dims == 2 && !t->layers;
	case GEOM_3D: return t->dims == 3;
	case GEOM_A1D: return t->dims == 1 && t->layers;
	case GEOM_A2D: return t->dims == 2 && t->layers; // cube maps are written face by face
	case GEOM_CUBE:
	case GEOM_ACUBE: break;
	}
	return false;
}

// An index in [0, n - bytes], as .clamp makes it. false: it was outside.
static bool clamp_to(int64_t *at, uint64_t n, uint32_t bytes)
{
	int64_t last = (int64_t)n - bytes, was = *at;

	*at = was < 0 ? 0 : was > last ? last : was;
	return was == *at;
}

uint64_t ptx_rt_surface(const struct ptx_block *blk, uint64_t object, uint32_t how, const uint32_t *coords,
			uint32_t bytes)
{
	const struct ptx_texture *t = ptx_texture_find(object, true);
	enum ptx_surface_clamp clamp = (enum ptx_surface_clamp)(how >> 3);
	int64_t at[4]; // byte of the row, row, slice; layer
	const struct ptx_level *l;
	bool inside;

	if (!t || !geometry_suits(t, (enum ptx_geometry)(how & PTX_TEX_GEOMETRY)))
		surface_fault(blk, PTX_FAULT_ADDRESS, object, "there is none, or it is of another kind");
	l = &t->levels[0];
	at[0] = (int32_t)coords[1];
	at[1] = t->dims > 1 ? (int32_t)coords[2] : 0;
	at[2] = t->dims > 2 ? (int32_t)coords[3] : 0;
	at[3] = t->layers ? (int32_t)coords[0] : 0;
	if (at[0] % bytes)
		surface_fault(blk, PTX_FAULT_MISALIGNED, object, "misaligned access");
	if (bytes > (uint64_t)l->width * t->element)
		surface_fault(blk, PTX_FAULT_TRAP, object, "access of more than a row");
	inside = clamp_to(&at[0], (uint64_t)l->width * t->element / bytes * bytes, bytes);
	inside &= clamp_to(&at[1], l->height, 1);
	inside &= clamp_to(&at[2], l->depth, 1);
	inside &= clamp_to(&at[3], t->layers ? t->layers : 1, 1);
	if (!inside && clamp == SURFACE_TRAP)
		surface_fault(blk, PTX_FAULT_TRAP, object, "access outside of it");
	if (!inside && clamp == SURFACE_ZERO)
		return 0;
	return l->address + (uint64_t)(at[2] + at[3]) * l->slice + (uint64_t)at[1] * l->pitch +
	       (uint64_t)at[0];
}
