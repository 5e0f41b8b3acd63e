// SPDX-License-Identifier: Apache-2.0
/*
 * Arithmetic that LLVM has no exact operation for: directed rounding, narrow formats, the functions that the
 * GPU approximates. Called by generated code on worker threads. Approximated functions are at least as exact
 * as the GPU documents.
 */
#include "executor/backends/cpu/ptx/ptx_rt.h"

#include <fenv.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

static const int fe_modes[] = { FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD };

// The volatile operands keep the compiler from computing before or after the mode changes.
#define DEFINE_ROUNDED(name, type, fma_fn, sqrt_fn)                   \
	type name(uint32_t op, uint32_t mode, type a, type b, type c) \
	{                                                             \
		volatile type x = a, y = b, z = c, r;                 \
                                                                      \
		fesetround(fe_modes[mode & 3]);                       \
		switch (op) {                                         \
		case FOP_ADD: r = x + y; break;                       \
		case FOP_SUB: r = x - y; break;                       \
		case FOP_MUL: r = x * y; break;                       \
		case FOP_DIV: r = x / y; break;                       \
		case FOP_SQRT: r = sqrt_fn(x); break;                 \
		default: r = fma_fn(x, y, z); break;                  \
		}                                                     \
		fesetround(FE_TONEAREST);                             \
		return r;                                             \
	}

DEFINE_ROUNDED(ptx_rt_round_f32, float, fmaf, sqrtf)
DEFINE_ROUNDED(ptx_rt_round_f64, double, fma, sqrt)

float ptx_rt_f64_to_f32(uint32_t mode, double v)
{
	volatile double x = v;
	volatile float r;

	fesetround(fe_modes[mode & 3]);
	r = (float)x;
	fesetround(FE_TONEAREST);
	return r;
}

float ptx_rt_int_to_f32(uint32_t mode, uint64_t v, uint32_t is_signed)
{
	volatile uint64_t x = v;
	volatile float r;

	fesetround(fe_modes[mode & 3]);
	r = is_signed ? (float)(int64_t)x : (float)x;
	fesetround(FE_TONEAREST);
	return r;
}

// mode UINT32_MAX: towards zero, the last bit set when bits were lost, so that a second rounding is right.
double ptx_rt_int_to_f64(uint32_t mode, uint64_t v, uint32_t is_signed)
{
	bool neg = is_signed && (int64_t)v < 0;
	volatile uint64_t x = v;
	volatile double r;
	uint64_t mag = neg ? -v : v, lost = 0;
	double d;

	if (mode != UINT32_MAX) {
		fesetround(fe_modes[mode & 3]);
		r = is_signed ? (double)(int64_t)x : (double)x;
		fesetround(FE_TONEAREST);
		return r;
	}
	if (mag >> 53) {
		int extra = 11 - __builtin_clzll(mag);

		lost = mag & ((1ull << extra) - 1);
		mag &= ~((1ull << extra) - 1);
		if (lost)
			mag |= 1ull << extra;
	}
	d = (double)mag;
	return neg ? -d : d;
}

struct format {
	int mantissa; // bits after the point
	int least;    // exponent of the smallest normal
	int most;     // largest exponent
};

static const struct format formats[] = {
	[NARROW_F16] = { 10, -14, 15 }, [NARROW_BF16] = { 7, -126, 127 }, [NARROW_TF32] = { 10, -126, 127 }
};

static bool round_up(uint32_t mode, bool neg, double whole, double rest)
{
	if (mode == ROUND_RM)
		return neg && rest > 0;
	if (mode == ROUND_RP)
		return !neg && rest > 0;
	if (mode == ROUND_RNA)
		return rest >= 0.5;
	if (mode == ROUND_RN)
		return rest > 0.5 || (rest == 0.5 && fmod(whole, 2) != 0);
	return false;
}

// Bits without the sign; mag is finite and not negative.
static uint32_t narrow_magnitude(const struct format *f, uint32_t mode, bool neg, double mag)
{
	double scaled, whole;
	uint32_t bits;
	int e = mag ? ilogb(mag) : f->least;

	if (e < f->least)
		e = f->least;
	if (e > f->most)
		e = f->most + 1;
	scaled = scalbn(mag, f->mantissa - e); // in [0, 2^(mantissa + 1))
	if (e > f->most) {
		bool to_inf = mode == ROUND_RN || mode == ROUND_RNA || (mode == ROUND_RP && !neg) ||
			      (mode == ROUND_RM && neg);

		return ((uint32_t)(f->most - f->least + 2) << f->mantissa) - (to_inf ? 0 : 1);
	}
	whole = floor(scaled);
	bits = (uint32_t)whole + round_up(mode, neg, whole, scaled - whole);
	// A subnormal has exponent field 0; the hidden bit of the others adds one to the field below.
	return bits + ((uint32_t)(e - f->least) << f->mantissa);
}

uint32_t ptx_rt_narrow(uint32_t format, uint32_t mode, double v)
{
	const struct format *f = &formats[format];
	uint32_t sign = signbit(v) ? 1u : 0, inf = (uint32_t)(f->most - f->least + 2) << f->mantissa, r;
	int width = format == NARROW_TF32 ? 19 : 16;

	if (isnan(v))
		r = format == NARROW_TF32 ? 0x3ffff : 0x7fff;
	else if (isinf(v))
		r = inf | sign << (width - 1);
	else
		r = narrow_magnitude(f, mode, sign, fabs(v)) | sign << (width - 1);
	return format == NARROW_TF32 ? (isnan(v) ? 0x7fffffff : r << 13) : r;
}

// A sum that is not exact gets an odd last bit, so that rounding it again to few bits is right.
uint32_t ptx_rt_fma_bf16(float a, float b, float c)
{
	double p = (double)a * b, s = p + c, t, err;
	uint64_t u;

	t = s - p;
	err = (p - (s - t)) + (c - t);
	memcpy(&u, &s, 8);
	if (isfinite(s) && err != 0 && !(u & 1)) {
		u += (err > 0) == (s > 0) ? 1 : -1;
		memcpy(&s, &u, 8);
	}
	return ptx_rt_narrow(NARROW_BF16, ROUND_RN, s);
}

float ptx_rt_rsqrt_f32(float v)
{
	return (float)(1.0 / sqrt((double)v));
}

float ptx_rt_tanh_f32(float v)
{
	return tanhf(v);
}

float ptx_rt_ex2_f32(float v)
{
	return exp2f(v);
}

float ptx_rt_lg2_f32(float v)
{
	return log2f(v);
}

float ptx_rt_sin_f32(float v)
{
	return sinf(v);
}

float ptx_rt_cos_f32(float v)
{
	return cosf(v);
}

// ---- atomics without an instruction of their own ----

static float half_value(uint32_t format, uint16_t h)
{
	uint32_t w = (uint32_t)h << 16;
	float f;

	if (format == NARROW_BF16) {
		memcpy(&f, &w, 4);
		return f;
	}
	f = (h >> 10 & 31) == 31 ? (h & 1023 ? NAN : INFINITY)
	    : (h >> 10 & 31)	 ? scalbnf((float)(1024 + (h & 1023)), (h >> 10 & 31) - 25)
				 : scalbnf((float)(h & 1023), -24);
	return h >> 15 ? -f : f;
}

static uint16_t half_sum(uint32_t format, uint16_t a, uint16_t b)
{
	return ptx_rt_narrow(format, ROUND_RN, (double)half_value(format, a) + half_value(format, b));
}

uint32_t ptx_rt_atomic_half(uint64_t addr, uint32_t value, uint32_t n, uint32_t format)
{
	if (n == 1) {
		_Atomic uint16_t *p = (_Atomic uint16_t *)(uintptr_t)addr;
		uint16_t old = atomic_load_explicit(p, memory_order_relaxed);

		while (!atomic_compare_exchange_weak(p, &old, half_sum(format, old, value)))
			;
		return old;
	}
	_Atomic uint32_t *p = (_Atomic uint32_t *)(uintptr_t)addr;
	uint32_t old = atomic_load_explicit(p, memory_order_relaxed), sum;

	do
		sum = half_sum(format, old, value) | (uint32_t)half_sum(format, old >> 16, value >> 16) << 16;
	while (!atomic_compare_exchange_weak(p, &old, sum));
	return old;
}

static atomic_flag wide_lock = ATOMIC_FLAG_INIT;

// Exchange (op 0) or compare and exchange (op 1) of 16 bytes. One at a time: no other access of 16 bytes is
// atomic.
void ptx_rt_cas128(uint64_t addr, const uint64_t *cmp, const uint64_t *val, uint64_t *old, uint32_t op)
{
	volatile uint64_t *p = (volatile uint64_t *)(uintptr_t)addr;
	uint64_t touch[2] = { p[0], p[1] }; // a hole faults here, before the lock is taken

	__atomic_fetch_or(&p[0], 0, __ATOMIC_RELAXED);
	(void)touch;
	while (atomic_flag_test_and_set_explicit(&wide_lock, memory_order_acquire))
		;
	old[0] = p[0];
	old[1] = p[1];
	if (!op || (old[0] == cmp[0] && old[1] == cmp[1])) {
		p[0] = val[0];
		p[1] = val[1];
	}
	atomic_flag_clear_explicit(&wide_lock, memory_order_release);
}

// The modes of prmt other than the plain one, in the order of the words.
uint32_t ptx_rt_prmt(uint32_t a, uint32_t b, uint32_t sel, uint32_t mode)
{
	static const uint8_t from[6][4][4] = {
		{ { 0, 1, 2, 3 }, { 1, 2, 3, 4 }, { 2, 3, 4, 5 }, { 3, 4, 5, 6 } }, // f4e
		{ { 0, 7, 6, 5 }, { 1, 0, 7, 6 }, { 2, 1, 0, 7 }, { 3, 2, 1, 0 } }, // b4e
		{ { 0, 0, 0, 0 }, { 1, 1, 1, 1 }, { 2, 2, 2, 2 }, { 3, 3, 3, 3 } }, // rc8
		{ { 0, 1, 2, 3 }, { 1, 1, 2, 3 }, { 2, 2, 2, 3 }, { 3, 3, 3, 3 } }, // ecl
		{ { 0, 0, 0, 0 }, { 0, 1, 1, 1 }, { 0, 1, 2, 2 }, { 0, 1, 2, 3 } }, // ecr
		{ { 0, 1, 0, 1 }, { 2, 3, 2, 3 }, { 0, 1, 0, 1 }, { 2, 3, 2, 3 } }, // rc16
	};
	uint64_t both = (uint64_t)b << 32 | a;
	uint32_t r = 0;

	for (int i = 0; i < 4; i++)
		r |= (uint32_t)(both >> (8 * from[mode][sel & 3][i]) & 255) << (8 * i);
	return r;
}

uint64_t ptx_rt_globaltimer(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

uint64_t ptx_rt_clock(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
	uint64_t v;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
	return v;
#endif
}
