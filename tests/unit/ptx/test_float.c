// SPDX-License-Identifier: Apache-2.0
/*
 * Floating point instructions and conversions: exact ones bit for bit (any NaN equals any NaN), approximated
 * ones within the error that the PTX manual documents.
 */
#include "tests/unit/ptx/op_table.h"

#include <fenv.h>
#include <math.h>
#include <string.h>

static float f(uint64_t v)
{
	uint32_t w = v;
	float r;

	memcpy(&r, &w, 4);
	return r;
}

static double d(uint64_t v)
{
	double r;

	memcpy(&r, &v, 8);
	return r;
}

static uint64_t uf(float v)
{
	uint32_t w;

	memcpy(&w, &v, 4);
	return w;
}

static uint64_t ud(double v)
{
	uint64_t w;

	memcpy(&w, &v, 8);
	return w;
}

static uint64_t float_operand(unsigned i, unsigned which)
{
	static const uint32_t special[] = { 0,		0x80000000, 0x3f800000, 0xbf800000, 0x7f800000,
					    0xff800000, 0x7fc00000, 0x00000001, 0x807fffff, 0x00800000,
					    0x7f7fffff, 0x3f000000, 0x40490fdb, 0x4b000000, 0x4b800001,
					    0xcf000000, 0x4f800000, 0x5f000000, 0x477fe000, 0x387fc000,
					    0x33800000, 0x3f801000, 0x3f803000, 0x3f808000, 0x3f818000,
					    0x43fa4000, 0xc2f6e979, 0x3dcccccd, 0x42fe0000, 0x80000001 };
	uint64_t r = int_operand(i * 7 + which * 3 + 100, which) * 0x9e3779b97f4a7c15ull;

	if ((i + which) % 3 == 0)
		return special[(i * (which + 3) + which) % (sizeof(special) / 4)];
	if ((i + which) % 3 == 1)
		return 0x3c000000 + (r >> 20) % 0x08000000 + (r & 0x80000000);
	return r >> 32;
}

static uint64_t double_operand(unsigned i, unsigned which)
{
	uint64_t r = int_operand(i * 5 + which, which) * 0xbf58476d1ce4e5b9ull;

	if ((i + which) % 3 == 0)
		return ud(f(float_operand(i, which)));
	if ((i + which) % 3 == 1)
		return (r & 0x800fffffffffffffull) | (1023 - 8 + (r >> 52) % 70) << 52;
	return r;
}

static bool same_f(uint64_t a, uint64_t b)
{
	return (isnan(f(a)) && isnan(f(b))) || a == b;
}

static bool same_d(uint64_t a, uint64_t b)
{
	return (isnan(d(a)) && isnan(d(b))) || a == b;
}

static bool same_h(uint64_t a, uint64_t b)
{
	return ((a & 0x7fff) > 0x7c00 && (b & 0x7fff) > 0x7c00) || a == b;
}

// Relative error of 2^-21 or an absolute one of 2^-21: what sin, cos, lg2, ex2, tanh and the like may have.
static bool close_f(uint64_t a, uint64_t b)
{
	return same_f(a, b) || fabs((double)f(a) - f(b)) <= 0x1p-21 * fmax(1, fabs(f(b))) ||
	       isinf(f(a)) == isinf(f(b) * 2);
}

static float ftz(float v)
{
	return fabsf(v) < 0x1p-126f ? copysignf(0, v) : v;
}

static float sat(float v)
{
	return v > 0 ? v < 1 ? v : 1 : 0;
}

static float rounded(int mode, char op, float a, float b, float c)
{
	volatile float x = a, y = b, z = c, r;

	fesetround(mode);
	r = op == '+' ? x + y : op == '*' ? x * y : op == '/' ? x / y : op == 's' ? sqrtf(x) : fmaf(x, y, z);
	fesetround(FE_TONEAREST);
	return r;
}

static double rounded_d(int mode, char op, double a, double b, double c)
{
	volatile double x = a, y = b, z = c, r;

	fesetround(mode);
	r = op == '+' ? x + y : op == '*' ? x * y : op == '/' ? x / y : op == 's' ? sqrt(x) : fma(x, y, z);
	fesetround(FE_TONEAREST);
	return r;
}

static float least(float a, float b)
{
	if (isnan(a) || isnan(b))
		return isnan(a) ? b : a;
	return a < b || (a == b && signbit(a)) ? a : b;
}

static float most(float a, float b)
{
	if (isnan(a) || isnan(b))
		return isnan(a) ? b : a;
	return a > b || (a == b && !signbit(a)) ? a : b;
}

#define FN(name, expr)                                           \
	static uint64_t name(uint64_t a, uint64_t b, uint64_t c) \
	{                                                        \
		(void)a;                                         \
		(void)b;                                         \
		(void)c;                                         \
		return expr;                                     \
	}
#define A f(a)
#define B f(b)
#define C f(c)

FN(add, uf(A + B))
FN(add_ftz, uf(ftz(ftz(A) + ftz(B))))
FN(add_sat, uf(sat(A + B)))
FN(add_rz, uf(rounded(FE_TOWARDZERO, '+', A, B, 0)))
FN(sub, uf(A - B))
FN(mul, uf(A *B))
FN(mul_rm, uf(rounded(FE_DOWNWARD, '*', A, B, 0)))
FN(mul_then_add, uf((float)(A *B) + C))
FN(fma_, uf(fmaf(A, B, C)))
FN(fma_rp, uf(rounded(FE_UPWARD, 'f', A, B, C)))
FN(fma_sat, uf(sat(fmaf(A, B, C))))
FN(div_, uf(A / B))
FN(div_rz, uf(rounded(FE_TOWARDZERO, '/', A, B, 0)))
FN(rcp, uf(1 / A))
FN(sqrt_, uf(sqrtf(A)))
FN(sqrt_rp, uf(rounded(FE_UPWARD, 's', A, 0, 0)))
FN(neg, a ^ 0x80000000)
FN(abs_, a & 0x7fffffff)
FN(min_, uf(least(A, B)))
FN(max_, uf(most(A, B)))
FN(min_nan, isnan(A) || isnan(B) ? 0x7fffffff : uf(least(A, B)))
FN(copysign_, uf(copysignf(B, A)))
FN(rsqrt, uf((float)(1 / sqrt((double)A))))
FN(ex2, uf(exp2f(A)))
FN(lg2, uf(log2f(A)))
FN(tanh_, uf(tanhf(A)))
FN(sin_, uf(sinf(fabsf(A) < 100 ? A : 1)))
FN(cmp_lt, A < B)
FN(cmp_ltu, !(A >= B))
FN(cmp_ne, A != B && !isnan(A) && !isnan(B))
FN(cmp_neu, A != B)
FN(cmp_num, !isnan(A) && !isnan(B))
FN(testp, isfinite(A) ? fpclassify(A) == FP_NORMAL ? 3 : fpclassify(A) == FP_SUBNORMAL ? 5 : 1 : 0)

static void single_precision(void **state)
{
	static const struct op_row rows[] = {
		{ "add.f32 %d, %a, %b;", 32, 32, 32, 32, add, same_f },
		{ "add.rn.ftz.f32 %d, %a, %b;", 32, 32, 32, 32, add_ftz, same_f },
		{ "add.sat.f32 %d, %a, %b;", 32, 32, 32, 32, add_sat, same_f },
		{ "add.rz.f32 %d, %a, %b;", 32, 32, 32, 32, add_rz, same_f },
		{ "sub.f32 %d, %a, %b;", 32, 32, 32, 32, sub, same_f },
		{ "mul.f32 %d, %a, %b;", 32, 32, 32, 32, mul, same_f },
		{ "mul.rm.f32 %d, %a, %b;", 32, 32, 32, 32, mul_rm, same_f },
		{ "mul.f32 %t1, %a, %b; add.f32 %d, %t1, %c;", 32, 32, 32, 32, mul_then_add, same_f },
		{ "fma.rn.f32 %d, %a, %b, %c;", 32, 32, 32, 32, fma_, same_f },
		{ "mad.rn.f32 %d, %a, %b, %c;", 32, 32, 32, 32, fma_, same_f },
		{ "fma.rp.f32 %d, %a, %b, %c;", 32, 32, 32, 32, fma_rp, same_f },
		{ "fma.rn.sat.f32 %d, %a, %b, %c;", 32, 32, 32, 32, fma_sat, same_f },
		{ "div.rn.f32 %d, %a, %b;", 32, 32, 32, 32, div_, same_f },
		{ "div.full.f32 %d, %a, %b;", 32, 32, 32, 32, div_, same_f },
		{ "div.rz.f32 %d, %a, %b;", 32, 32, 32, 32, div_rz, same_f },
		{ "rcp.rn.f32 %d, %a;", 32, 32, 32, 32, rcp, same_f },
		{ "sqrt.rn.f32 %d, %a;", 32, 32, 32, 32, sqrt_, same_f },
		{ "sqrt.rp.f32 %d, %a;", 32, 32, 32, 32, sqrt_rp, same_f },
		{ "neg.f32 %d, %a;", 32, 32, 32, 32, neg, same_f },
		{ "abs.f32 %d, %a;", 32, 32, 32, 32, abs_, same_f },
		{ "min.f32 %d, %a, %b;", 32, 32, 32, 32, min_, same_f },
		{ "max.f32 %d, %a, %b;", 32, 32, 32, 32, max_, same_f },
		{ "min.NaN.f32 %d, %a, %b;", 32, 32, 32, 32, min_nan, NULL },
		{ "copysign.f32 %d, %a, %b;", 32, 32, 32, 32, copysign_, same_f },
		{ "rsqrt.approx.f32 %d, %a;", 32, 32, 32, 32, rsqrt, close_f },
		{ "ex2.approx.f32 %d, %a;", 32, 32, 32, 32, ex2, close_f },
		{ "lg2.approx.f32 %d, %a;", 32, 32, 32, 32, lg2, close_f },
		{ "tanh.approx.f32 %d, %a;", 32, 32, 32, 32, tanh_, close_f },
		{ "abs.f32 %t1, %a; setp.lt.f32 %p, %t1, 0f42C80000; selp.f32 %t1, %a, 0f3F800000, %p;"
		  "sin.approx.f32 %d, %t1;",
		  32, 32, 32, 32, sin_, close_f },
		{ "setp.lt.f32 %p, %a, %b; selp.u32 %d, 1, 0, %p;", 32, 32, 32, 32, cmp_lt, NULL },
		{ "setp.ltu.f32 %p, %a, %b; selp.u32 %d, 1, 0, %p;", 32, 32, 32, 32, cmp_ltu, NULL },
		{ "setp.ne.f32 %p, %a, %b; selp.u32 %d, 1, 0, %p;", 32, 32, 32, 32, cmp_ne, NULL },
		{ "setp.neu.f32 %p, %a, %b; selp.u32 %d, 1, 0, %p;", 32, 32, 32, 32, cmp_neu, NULL },
		{ "setp.num.f32 %p, %a, %b; selp.u32 %d, 1, 0, %p;", 32, 32, 32, 32, cmp_num, NULL },
		{ "testp.finite.f32 %p, %a; selp.u32 %d, 1, 0, %p; testp.normal.f32 %p, %a; @%p or.b32 %d, "
		  "%d, 2;"
		  "testp.subnormal.f32 %p, %a; @%p or.b32 %d, %d, 4;",
		  32, 32, 32, 32, testp, NULL },
	};

	(void)state;
	check_table(rows, sizeof(rows) / sizeof(rows[0]), float_operand);
}

FN(dadd, ud(d(a) + d(b)))
FN(dfma, ud(fma(d(a), d(b), d(c))))
FN(dfma_rm, ud(rounded_d(FE_DOWNWARD, 'f', d(a), d(b), d(c))))
FN(ddiv, ud(d(a) / d(b)))
FN(dsqrt, ud(sqrt(d(a))))
FN(dmul_rp, ud(rounded_d(FE_UPWARD, '*', d(a), d(b), 0)))
FN(drcp, ud(1 / d(a)))
FN(dmax, isnan(d(a)) ? b : isnan(d(b)) ? a : d(a) > d(b) || (d(a) == d(b) && !signbit(d(a))) ? a : b)

static void double_precision(void **state)
{
	static const struct op_row rows[] = {
		{ "add.f64 %d, %a, %b;", 64, 64, 64, 64, dadd, same_d },
		{ "fma.rn.f64 %d, %a, %b, %c;", 64, 64, 64, 64, dfma, same_d },
		{ "fma.rm.f64 %d, %a, %b, %c;", 64, 64, 64, 64, dfma_rm, same_d },
		{ "div.rn.f64 %d, %a, %b;", 64, 64, 64, 64, ddiv, same_d },
		{ "sqrt.rn.f64 %d, %a;", 64, 64, 64, 64, dsqrt, same_d },
		{ "mul.rp.f64 %d, %a, %b;", 64, 64, 64, 64, dmul_rp, same_d },
		{ "rcp.rn.f64 %d, %a;", 64, 64, 64, 64, drcp, same_d },
		{ "max.f64 %d, %a, %b;", 64, 64, 64, 64, dmax, same_d },
	};

	(void)state;
	check_table(rows, sizeof(rows) / sizeof(rows[0]), double_operand);
}

// ---- conversions ----

static uint64_t clamp_int(double v, double lo, double hi, uint64_t at_lo, uint64_t at_hi)
{
	return v <= lo ? at_lo : v >= hi ? at_hi : v < 0 ? (uint64_t)(int64_t)v : (uint64_t)v;
}

static float directed(int mode, double v)
{
	volatile double x = v;
	volatile float r;

	fesetround(mode);
	r = (float)x;
	fesetround(FE_TONEAREST);
	return r;
}

static float from_s64(int mode, int64_t v)
{
	volatile int64_t x = v;
	volatile float r;

	fesetround(mode);
	r = (float)x;
	fesetround(FE_TONEAREST);
	return r;
}

// Nearest value of a format with few bits, by search among neighbours found with plain arithmetic: no shared
// code.
static double grid(double v, int mantissa, int least_exp)
{
	int e;
	double step;

	if (v == 0 || !isfinite(v))
		return v;
	frexp(v, &e);
	e = e - 1 < least_exp ? least_exp : e - 1;
	step = ldexp(1, e - mantissa);
	return nearbyint(v / step) * step;
}

static uint64_t half_bits(double v)
{
	double g = grid(v, 10, -14);
	int e;

	if (isnan(v))
		return 0x7fff;
	if (fabs(g) >= 65536)
		return signbit(v) ? 0xfc00 : 0x7c00;
	if (fabs(g) < 0x1p-14)
		return (signbit(v) ? 0x8000 : 0) | (uint64_t)(fabs(g) * 0x1p24);
	frexp(g, &e);
	return (signbit(v) ? 0x8000 : 0) | (uint64_t)(e + 14) << 10 |
	       (uint64_t)(ldexp(fabs(g), 11 - e) - 1024);
}

static double half(uint64_t h)
{
	int e = h >> 10 & 31;
	double m = e == 31 ? (h & 1023 ? NAN : INFINITY)
		   : e	   ? ldexp(1024 + (h & 1023), e - 25)
			   : ldexp(h & 1023, -24);

	return h >> 15 & 1 ? -m : m;
}

FN(to_s32, isnan(A) ? 0 : clamp_int(trunc(A), INT32_MIN, INT32_MAX, INT32_MIN, INT32_MAX))
FN(to_u32_rni, isnan(A) ? 0 : clamp_int(nearbyint(A), 0, UINT32_MAX, 0, UINT32_MAX))
FN(to_s64_rmi, isnan(A) ? 1ull << 63 : clamp_int(floor(A), -0x1p63, 0x1p63, 1ull << 63, ~0ull >> 1))
FN(to_u8_rpi, isnan(A) ? 0 : clamp_int(ceil(A), 0, 255, 0, 255))
FN(rni, uf(rintf(A)))
FN(rmi, uf(floorf(A)))
FN(to_f64, ud(A))
FN(to_f16, half_bits(A))
FN(to_bf16, isnan(A) ? 0x7fff : uf(grid(A, 7, -126)) >> 16)
FN(to_f16x2, half_bits(A) << 16 | half_bits(B))
FN(from_f16, uf(half(a)))
FN(d_to_f32, uf((float)d(a)))
FN(d_to_f32_rz, uf(directed(FE_TOWARDZERO, d(a))))
FN(d_to_s64, isnan(d(a)) ? 1ull << 63 : clamp_int(trunc(d(a)), -0x1p63, 0x1p63, 1ull << 63, ~0ull >> 1))
FN(d_to_u64, isnan(d(a)) ? 1ull << 63 : clamp_int(trunc(d(a)), 0, 0x1p64, 0, ~0ull))
FN(d_to_f16, half_bits(d(a)))
FN(s32_to_f32, uf((float)(int32_t)a))
FN(u64_to_f32, uf((float)a))
FN(s64_to_f32_rp, uf(from_s64(FE_UPWARD, a)))
FN(u64_to_f64, ud((double)a))
FN(u32_to_f16, half_bits((uint32_t)a))
FN(sat_f32, uf(sat(A)))

static bool same_h2(uint64_t a, uint64_t b)
{
	return same_h(a & 0xffff, b & 0xffff) && same_h(a >> 16, b >> 16);
}

static void conversions_of_floats(void **state)
{
	static const struct op_row rows[] = {
		{ "cvt.rzi.s32.f32 %d, %a;", 32, 32, 32, 32, to_s32, NULL },
		{ "cvt.rni.u32.f32 %d, %a;", 32, 32, 32, 32, to_u32_rni, NULL },
		{ "cvt.rmi.s64.f32 %d, %a;", 64, 32, 32, 32, to_s64_rmi, NULL },
		{ "cvt.rpi.u8.f32 %d, %a;", 32, 32, 32, 32, to_u8_rpi, NULL },
		{ "cvt.rni.f32.f32 %d, %a;", 32, 32, 32, 32, rni, same_f },
		{ "cvt.rmi.f32.f32 %d, %a;", 32, 32, 32, 32, rmi, same_f },
		{ "cvt.f64.f32 %d, %a;", 64, 32, 32, 32, to_f64, same_d },
		{ "cvt.rn.f16.f32 %d, %a;", 16, 32, 32, 32, to_f16, same_h },
		{ "cvt.rn.bf16.f32 %d, %a;", 16, 32, 32, 32, to_bf16, NULL },
		{ "cvt.rn.f16x2.f32 %d, %a, %b;", 32, 32, 32, 32, to_f16x2, same_h2 },
		{ "cvt.f32.f16 %d, %a;", 32, 16, 32, 32, from_f16, same_f },
		{ "cvt.sat.f32.f32 %d, %a;", 32, 32, 32, 32, sat_f32, same_f },
	};

	(void)state;
	check_table(rows, sizeof(rows) / sizeof(rows[0]), float_operand);
}

static void conversions_of_doubles_and_integers(void **state)
{
	static const struct op_row doubles[] = {
		{ "cvt.rn.f32.f64 %d, %a;", 32, 64, 32, 32, d_to_f32, same_f },
		{ "cvt.rz.f32.f64 %d, %a;", 32, 64, 32, 32, d_to_f32_rz, same_f },
		{ "cvt.rzi.s64.f64 %d, %a;", 64, 64, 32, 32, d_to_s64, NULL },
		{ "cvt.rzi.u64.f64 %d, %a;", 64, 64, 32, 32, d_to_u64, NULL },
		{ "cvt.rn.f16.f64 %d, %a;", 16, 64, 32, 32, d_to_f16, same_h },
	};
	static const struct op_row integers[] = {
		{ "cvt.rn.f32.s32 %d, %a;", 32, 32, 32, 32, s32_to_f32, NULL },
		{ "cvt.rn.f32.u64 %d, %a;", 32, 64, 32, 32, u64_to_f32, NULL },
		{ "cvt.rp.f32.s64 %d, %a;", 32, 64, 32, 32, s64_to_f32_rp, NULL },
		{ "cvt.rn.f64.u64 %d, %a;", 64, 64, 32, 32, u64_to_f64, NULL },
		{ "cvt.rn.f16.u32 %d, %a;", 16, 32, 32, 32, u32_to_f16, NULL },
	};

	(void)state;
	check_table(doubles, sizeof(doubles) / sizeof(doubles[0]), double_operand);
	check_table(integers, sizeof(integers) / sizeof(integers[0]), int_operand);
}

// ---- halves: exact results rounded once ----

#define HA	     half(a)
#define HB	     half(b)
#define HC	     half(c)
#define PAIR(lo, hi) ((lo) | (uint64_t)(hi) << 16)

static double bf(uint64_t v)
{
	return f(v << 16);
}

static uint64_t bf_bits(double v)
{
	return isnan(v) ? 0x7fff : uf((float)grid(v, 7, -126)) >> 16;
}

FN(hadd, half_bits(HA + HB))
FN(hmul, half_bits(HA *HB))
FN(hfma, half_bits(fma(HA, HB, HC)))
FN(hadd2, PAIR(half_bits(half(a & 0xffff) + half(b & 0xffff)), half_bits(half(a >> 16) + half(b >> 16))))
FN(hsub_sat, half_bits(isnan(HA - HB) ? 0 : fmin(fmax(HA - HB, 0), 1)))
FN(hmax, isnan(HA) ? (isnan(HB) ? 0x7fff : b) : isnan(HB) || HA > HB || (HA == HB && !signbit(HA)) ? a : b)
FN(bmul, bf_bits(bf(a) * bf(b)))
FN(hlt, HA < HB)

static bool same_b(uint64_t a, uint64_t b)
{
	return (isnan(bf(a)) && isnan(bf(b))) || a == b;
}

static bool same_sat(uint64_t a, uint64_t b)
{
	return (a & 0x7fff) == (b & 0x7fff) ? a == b || !(a & 0x7fff) : false;
}

static void half_precision(void **state)
{
	static const struct op_row rows[] = {
		{ "add.f16 %d, %a, %b;", 16, 16, 16, 16, hadd, same_h },
		{ "mul.f16 %d, %a, %b;", 16, 16, 16, 16, hmul, same_h },
		{ "fma.rn.f16 %d, %a, %b, %c;", 16, 16, 16, 16, hfma, same_h },
		{ "add.f16x2 %d, %a, %b;", 32, 32, 32, 32, hadd2, same_h2 },
		{ "sub.sat.f16 %d, %a, %b;", 16, 16, 16, 16, hsub_sat, same_sat },
		{ "max.f16 %d, %a, %b;", 16, 16, 16, 16, hmax, same_h },
		{ "mul.bf16 %d, %a, %b;", 16, 16, 16, 16, bmul, same_b },
		{ "setp.lt.f16 %p, %a, %b; selp.u16 %d, 1, 0, %p;", 16, 16, 16, 16, hlt, NULL },
	};

	(void)state;
	check_table(rows, sizeof(rows) / sizeof(rows[0]), double_operand);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(single_precision),
		cmocka_unit_test(double_precision),
		cmocka_unit_test(conversions_of_floats),
		cmocka_unit_test(conversions_of_doubles_and_integers),
		cmocka_unit_test(half_precision),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("ptx float", tests, ptx_test_setup, ptx_test_teardown);
}
