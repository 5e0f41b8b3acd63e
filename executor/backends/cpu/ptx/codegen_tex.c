// SPDX-License-Identifier: Apache-2.0
/*
 * Code generator: textures and surfaces. A fetch is a call of the engine (ptx_rt_tex.c); a surface access
 * asks the engine for the place and touches it itself. Runs in the executor at module load.
 */
#include "executor/backends/cpu/ptx/codegen.h"
#include "executor/backends/cpu/ptx/ptx_rt.h"

static enum ptx_geometry geometry(struct ptx_cg *cg, const struct ptx_insn *in)
{
	static const uint8_t words[] = {
		[GEOM_1D] = W_g1d,  [GEOM_2D] = W_g2d,	  [GEOM_3D] = W_g3d,	 [GEOM_A1D] = W_a1d,
		[GEOM_A2D] = W_a2d, [GEOM_CUBE] = W_cube, [GEOM_ACUBE] = W_acube
	};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (ptx_has(in, words[i]))
			return i;
	cg_fail(cg, "no geometry");
}

static LLVMValueRef word_at(struct ptx_cg *cg, LLVMValueRef words, unsigned i)
{
	LLVMValueRef at = cg_u(cg, 64, 4ul * i);

	return i ? LLVMBuildGEP2(cg->b, cg->i8, words, &at, 1, "") : words;
}

// The coordinates as ptx_rt.h wants them: layer, x, y, z. Vectors may be longer than the geometry needs.
static LLVMValueRef coordinates(struct ptx_cg *cg, const struct ptx_operand *o, enum ptx_geometry g)
{
	static const uint8_t counts[] = { [GEOM_1D] = 1,  [GEOM_2D] = 2,   [GEOM_3D] = 3,   [GEOM_A1D] = 2,
					  [GEOM_A2D] = 3, [GEOM_CUBE] = 3, [GEOM_ACUBE] = 4 };
	bool layered = g == GEOM_A1D || g == GEOM_A2D || g == GEOM_ACUBE;
	LLVMValueRef words = cg_alloca(cg, LLVMArrayType2(cg->i32, PTX_TEX_COORDS), 4);
	unsigned at = layered ? 0 : 1;

	if (o->n < counts[g] || o->n > 4)
		cg_fail(cg, "%u coordinates are needed", counts[g]);
	for (unsigned i = 0; i < PTX_TEX_COORDS; i++)
		LLVMBuildStore(cg->b, cg_u(cg, 32, 0), word_at(cg, words, i));
	for (unsigned i = 0; i < counts[g]; i++)
		LLVMBuildStore(cg->b, cg_get(cg, &o->elems[i], T_B32), word_at(cg, words, at + i));
	return words;
}

static LLVMValueRef object_of(struct ptx_cg *cg, const struct ptx_operand *o)
{
	struct ptx_operand reg = { .kind = OPD_REG, .reg = o->reg };

	if (!o->reg || ptx_type_bits(o->reg->type) != 64)
		cg_fail(cg, "an object has 64 bits");
	return cg_get(cg, &reg, T_B64);
}

static unsigned component(const struct ptx_insn *in)
{
	return ptx_has(in, W_g) ? 1 : ptx_has(in, W_b) ? 2 : ptx_has(in, W_a) ? 3 : 0;
}

// Four 32-bit registers from four words.
static void set_channels(struct ptx_cg *cg, const struct ptx_operand *dst, LLVMValueRef words)
{
	for (unsigned i = 0; i < 4; i++)
		cg_set(cg, &dst->elems[i], T_B32, LLVMBuildLoad2(cg->b, cg->i32, word_at(cg, words, i), ""));
}

static void check_fetch(struct ptx_cg *cg, const struct ptx_insn *in, enum ptx_geometry g)
{
	bool gather = in->op->arg;

	if (!ptx_has(in, W_v4) || in->ops[0].kind != OPD_VEC || in->ops[0].n != 4 ||
	    ptx_type_bits(cg_type(cg, 0)) != 32 ||
	    ptx_type_float(cg_type(cg, 0)) != (cg_type(cg, 0) == T_F32))
		cg_fail(cg, "four channels of 32 bits are needed");
	if (cg_type(cg, 1) != T_F32 && cg_type(cg, 1) != T_S32)
		cg_fail(cg, "coordinates are .f32 or .s32");
	if (in->ops[1].kind != OPD_TEX)
		cg_fail(cg, "expected an object with coordinates");
	if (ptx_has(in, W_level) != (in->n_ops == 3) || (in->n_ops == 3 && cg_type(cg, 1) != T_F32))
		cg_fail(cg, "offsets, comparisons and levels of integers are not supported");
	if (gather && ((g != GEOM_2D && g != GEOM_A2D) || cg_type(cg, 1) != T_F32 || ptx_has(in, W_level)))
		cg_fail(cg, "unsupported form");
	if (cg_type(cg, 1) == T_S32 && (g == GEOM_CUBE || g == GEOM_ACUBE))
		cg_fail(cg, "a cube has no integer coordinates");
}

void ptx_emit_tex(struct ptx_cg *cg, const struct ptx_insn *in)
{
	enum ptx_geometry g = geometry(cg, in);
	LLVMValueRef coords, ret = cg_alloca(cg, LLVMArrayType2(cg->i32, 4), 4);
	uint32_t how = g;

	check_fetch(cg, in, g);
	coords = coordinates(cg, &in->ops[1], g);
	if (ptx_has(in, W_level))
		LLVMBuildStore(cg->b, cg_get(cg, &in->ops[2], T_F32),
			       word_at(cg, coords, PTX_TEX_COORDS - 1));
	if (cg_type(cg, 1) == T_S32)
		how |= PTX_TEX_INTEGER;
	if (in->op->arg)
		how |= PTX_TEX_GATHER | component(in) << PTX_TEX_COMP;
	CG_RT(cg, ptx_rt_tex, cg->void_t, cg->blk, object_of(cg, &in->ops[1]), cg_u(cg, 32, how), coords,
	      ret);
	set_channels(cg, &in->ops[0], ret);
}

void ptx_emit_txq(struct ptx_cg *cg, const struct ptx_insn *in)
{
	static const uint8_t words[] = { [QUERY_WIDTH] = W_width,	[QUERY_HEIGHT] = W_height,
					 [QUERY_DEPTH] = W_depth,	[QUERY_LAYERS] = W_array_size,
					 [QUERY_LEVELS] = W_num_levels, [QUERY_NORMALIZED] = W_normalized };
	unsigned query = 0;

	if (in->ops[1].kind != OPD_ADDR || in->ops[1].off || in->ops[1].var)
		cg_fail(cg, "expected an object in a register");
	while (query < sizeof(words) / sizeof(words[0]) && !ptx_has(in, words[query]))
		query++;
	if (query == sizeof(words) / sizeof(words[0]) || (in->op->arg && query > QUERY_LAYERS))
		cg_fail(cg, "unsupported query");
	cg_set(cg, &in->ops[0], T_B32,
	       CG_RT(cg, ptx_rt_txq, cg->i32, cg->blk, object_of(cg, &in->ops[1]), cg_u(cg, 32, query),
		     cg_u(cg, 32, in->op->arg)));
}

// ---- surfaces

struct surface_access {
	unsigned n, bytes; // elements, and bytes of each
	enum ptx_type type;
	bool zero;
	LLVMValueRef place; // 64 bits; 0: outside
};

static struct surface_access surface_access(struct ptx_cg *cg, const struct ptx_insn *in,
					    const struct ptx_operand *o)
{
	struct surface_access a = { .type = cg_type(cg, 0),
				    .n = ptx_has(in, W_v4)   ? 4
					 : ptx_has(in, W_v2) ? 2
							     : 1,
				    .zero = ptx_has(in, W_zero) };
	enum ptx_surface_clamp clamp = a.zero		      ? SURFACE_ZERO
				       : ptx_has(in, W_clamp) ? SURFACE_CLAMP
							      : SURFACE_TRAP;
	enum ptx_geometry g = geometry(cg, in);

	a.bytes = ptx_type_bits(a.type) / 8;
	if (!ptx_has(in, W_b))
		cg_fail(cg, "only accesses of bytes (.b) are supported");
	if (o->kind != OPD_TEX || g == GEOM_CUBE || g == GEOM_ACUBE || !a.bytes || a.bytes * a.n > 16)
		cg_fail(cg, "unsupported form");
	a.place =
	    CG_RT(cg, ptx_rt_surface, cg->i64, cg->blk, object_of(cg, o),
		  cg_u(cg, 32, g | (unsigned)clamp << 3), coordinates(cg, o, g), cg_u(cg, 32, a.bytes * a.n));
	return a;
}

static const struct ptx_operand *channels(struct ptx_cg *cg, const struct ptx_operand *o, unsigned n)
{
	if (n == 1 && o->kind != OPD_VEC)
		return o;
	if (o->kind != OPD_VEC || o->n != n)
		cg_fail(cg, "a vector of %u registers is needed", n);
	return o->elems;
}

static LLVMValueRef channel_pointer(struct ptx_cg *cg, const struct surface_access *a, unsigned i)
{
	LLVMValueRef at = LLVMBuildAdd(cg->b, a->place, cg_u(cg, 64, (uint64_t)i * a->bytes), "");

	return LLVMBuildIntToPtr(cg->b, at, cg->ptr, "");
}

// Begins what is done only inside of the surface; *ret_next is what follows.
static void only_inside(struct ptx_cg *cg, const struct surface_access *a, LLVMBasicBlockRef *ret_next)
{
	LLVMBasicBlockRef inside = cg_new_bb(cg, "");

	*ret_next = cg_new_bb(cg, "");
	LLVMBuildCondBr(cg->b, LLVMBuildICmp(cg->b, LLVMIntNE, a->place, cg_u(cg, 64, 0), ""), inside,
			*ret_next);
	cg_start(cg, inside);
}

void ptx_emit_suld(struct ptx_cg *cg, const struct ptx_insn *in)
{
	struct surface_access a = surface_access(cg, in, &in->ops[1]);
	const struct ptx_operand *dst = channels(cg, &in->ops[0], a.n);
	LLVMTypeRef type = cg_int(cg, 8 * a.bytes);
	LLVMValueRef slots[4];
	LLVMBasicBlockRef next;

	for (unsigned i = 0; i < a.n; i++) {
		slots[i] = cg_alloca(cg, type, a.bytes);
		LLVMBuildStore(cg->b, cg_u(cg, 8 * a.bytes, 0), slots[i]);
	}
	only_inside(cg, &a, &next);
	for (unsigned i = 0; i < a.n; i++)
		LLVMBuildStore(cg->b, LLVMBuildLoad2(cg->b, type, channel_pointer(cg, &a, i), ""), slots[i]);
	LLVMBuildBr(cg->b, next);
	cg_start(cg, next);
	for (unsigned i = 0; i < a.n; i++)
		cg_set(cg, &dst[i], a.type, LLVMBuildLoad2(cg->b, type, slots[i], ""));
}

void ptx_emit_sust(struct ptx_cg *cg, const struct ptx_insn *in)
{
	struct surface_access a = surface_access(cg, in, &in->ops[0]);
	const struct ptx_operand *src = channels(cg, &in->ops[1], a.n);
	LLVMBasicBlockRef next;
	LLVMValueRef v[4];

	for (unsigned i = 0; i < a.n; i++)
		v[i] = cg_get(cg, &src[i], a.type);
	only_inside(cg, &a, &next);
	for (unsigned i = 0; i < a.n; i++)
		LLVMBuildStore(cg->b, v[i], channel_pointer(cg, &a, i));
	LLVMBuildBr(cg->b, next);
	cg_start(cg, next);
}

void ptx_emit_sured(struct ptx_cg *cg, const struct ptx_insn *in)
{
	struct surface_access a = surface_access(cg, in, &in->ops[0]);
	bool is_signed = ptx_type_signed(a.type);
	LLVMAtomicRMWBinOp op = ptx_has(in, W_add)   ? LLVMAtomicRMWBinOpAdd
				: ptx_has(in, W_and) ? LLVMAtomicRMWBinOpAnd
				: ptx_has(in, W_or)  ? LLVMAtomicRMWBinOpOr
				: ptx_has(in, W_min)
				    ? is_signed ? LLVMAtomicRMWBinOpMin : LLVMAtomicRMWBinOpUMin
				: is_signed ? LLVMAtomicRMWBinOpMax
					    : LLVMAtomicRMWBinOpUMax;
	LLVMBasicBlockRef next;
	LLVMValueRef v;

	if (ptx_has(in, W_add) + ptx_has(in, W_and) + ptx_has(in, W_or) + ptx_has(in, W_min) +
		    ptx_has(in, W_max) !=
		1 ||
	    (a.bytes != 4 && a.bytes != 8))
		cg_fail(cg, "unsupported form");
	v = cg_get(cg, &in->ops[1], a.type);
	only_inside(cg, &a, &next);
	LLVMBuildAtomicRMW(cg->b, op, channel_pointer(cg, &a, 0), v, LLVMAtomicOrderingMonotonic, false);
	LLVMBuildBr(cg->b, next);
	cg_start(cg, next);
}
