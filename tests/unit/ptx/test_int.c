// SPDX-License-Identifier: Apache-2.0
/*
 * Integer instructions against the same in C, over operands at the edges of every width.
 */
#include "tests/unit/ptx/op_table.h"

#include <stdlib.h>

typedef __int128 wide;
typedef unsigned __int128 uwide;

#define FN(name, expr)                                           \
	static uint64_t name(uint64_t a, uint64_t b, uint64_t c) \
	{                                                        \
		(void)a;                                         \
		(void)b;                                         \
		(void)c;                                         \
		return expr;                                     \
	}
#define S32(x) ((int64_t)(int32_t)(x))
#define S16(x) ((int64_t)(int16_t)(x))
#define S64(x) ((int64_t)(x))
#define U32(x) ((uint64_t)(uint32_t)(x))

static int64_t sat32(int64_t v)
{
	return v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : v;
}

FN(add, a + b)
FN(sub, a - b)
FN(add_sat, sat32(S32(a) + S32(b)))
FN(sub_sat, sat32(S32(a) - S32(b)))
FN(mul, a *b)
FN(mul_hi_u32, a *b >> 32)
FN(mul_hi_s32, S32(a) * S32(b) >> 32)
FN(mul_hi_u64, (uwide)a *b >> 64)
FN(mul_hi_s64, (wide)S64(a) * S64(b) >> 64)
FN(mul_wide_s16, S16(a) * S16(b))
FN(mul_wide_s32, S32(a) * S32(b))
FN(mad, a *b + c)
FN(mad_hi_s32, (S32(a) * S32(b) >> 32) + c)
FN(mad_hi_sat, sat32((S32(a) * S32(b) >> 32) + S32(c)))
FN(mad_wide_u32, a *b + c)
FN(mul24_lo_s, (S64(a << 40) >> 40) * (S64(b << 40) >> 40))
FN(mul24_hi_u, (a & 0xffffff) * (b & 0xffffff) >> 16)
FN(mad24, (a & 0xffffff) * (b & 0xffffff) + c)
FN(sad_s, c + (uint64_t)llabs(S32(a) - S32(b)))
FN(sad_u, c + (a > b ? a - b : b - a))
FN(div_u32, b ? a / b : UINT32_MAX)
FN(rem_u32, b ? a % b : a)
FN(div_s32, S32(b) ? S32(a) / S32(b) : -1)
FN(rem_s32, S32(b) ? S32(a) % S32(b) : (int64_t)a)
FN(div_s64, !b ? ~0ull : S64(b) == -1 ? -a : (uint64_t)(S64(a) / S64(b)))
FN(rem_s64, !b ? a : S64(b) == -1 ? 0 : (uint64_t)(S64(a) % S64(b)))
FN(div_u16, b ? a / b : 0xffff)
FN(abs_s32, llabs(S32(a)))
FN(neg, -a)
FN(min_s32, S32(a) < S32(b) ? a : b)
FN(max_u64, a > b ? a : b)
FN(min_s16, S16(a) < S16(b) ? a : b)

static void arithmetic(void **state)
{
	static const struct op_row rows[] = {
		{ "add.s32 %d, %a, %b;", 32, 32, 32, 32, add, NULL },
		{ "add.u16 %d, %a, %b;", 16, 16, 16, 16, add, NULL },
		{ "add.s64 %d, %a, %b;", 64, 64, 64, 64, add, NULL },
		{ "sub.u32 %d, %a, %b;", 32, 32, 32, 32, sub, NULL },
		{ "add.sat.s32 %d, %a, %b;", 32, 32, 32, 32, add_sat, NULL },
		{ "sub.sat.s32 %d, %a, %b;", 32, 32, 32, 32, sub_sat, NULL },
		{ "mul.lo.s32 %d, %a, %b;", 32, 32, 32, 32, mul, NULL },
		{ "mul.lo.u64 %d, %a, %b;", 64, 64, 64, 64, mul, NULL },
		{ "mul.lo.s16 %d, %a, %b;", 16, 16, 16, 16, mul, NULL },
		{ "mul.hi.u32 %d, %a, %b;", 32, 32, 32, 32, mul_hi_u32, NULL },
		{ "mul.hi.s32 %d, %a, %b;", 32, 32, 32, 32, mul_hi_s32, NULL },
		{ "mul.hi.u64 %d, %a, %b;", 64, 64, 64, 64, mul_hi_u64, NULL },
		{ "mul.hi.s64 %d, %a, %b;", 64, 64, 64, 64, mul_hi_s64, NULL },
		{ "mul.wide.s16 %d, %a, %b;", 32, 16, 16, 16, mul_wide_s16, NULL },
		{ "mul.wide.s32 %d, %a, %b;", 64, 32, 32, 32, mul_wide_s32, NULL },
		{ "mad.lo.u32 %d, %a, %b, %c;", 32, 32, 32, 32, mad, NULL },
		{ "mad.hi.s32 %d, %a, %b, %c;", 32, 32, 32, 32, mad_hi_s32, NULL },
		{ "mad.hi.sat.s32 %d, %a, %b, %c;", 32, 32, 32, 32, mad_hi_sat, NULL },
		{ "mad.wide.u32 %d, %a, %b, %c;", 64, 32, 32, 64, mad_wide_u32, NULL },
		{ "mul24.lo.s32 %d, %a, %b;", 32, 32, 32, 32, mul24_lo_s, NULL },
		{ "mul24.hi.u32 %d, %a, %b;", 32, 32, 32, 32, mul24_hi_u, NULL },
		{ "mad24.lo.u32 %d, %a, %b, %c;", 32, 32, 32, 32, mad24, NULL },
		{ "sad.s32 %d, %a, %b, %c;", 32, 32, 32, 32, sad_s, NULL },
		{ "sad.u32 %d, %a, %b, %c;", 32, 32, 32, 32, sad_u, NULL },
		{ "div.u32 %d, %a, %b;", 32, 32, 32, 32, div_u32, NULL },
		{ "rem.u32 %d, %a, %b;", 32, 32, 32, 32, rem_u32, NULL },
		{ "div.s32 %d, %a, %b;", 32, 32, 32, 32, div_s32, NULL },
		{ "rem.s32 %d, %a, %b;", 32, 32, 32, 32, rem_s32, NULL },
		{ "div.s64 %d, %a, %b;", 64, 64, 64, 64, div_s64, NULL },
		{ "rem.s64 %d, %a, %b;", 64, 64, 64, 64, rem_s64, NULL },
		{ "div.u16 %d, %a, %b;", 16, 16, 16, 16, div_u16, NULL },
		{ "abs.s32 %d, %a;", 32, 32, 32, 32, abs_s32, NULL },
		{ "neg.s64 %d, %a;", 64, 64, 64, 64, neg, NULL },
		{ "min.s32 %d, %a, %b;", 32, 32, 32, 32, min_s32, NULL },
		{ "max.u64 %d, %a, %b;", 64, 64, 64, 64, max_u64, NULL },
		{ "min.s16 %d, %a, %b;", 16, 16, 16, 16, min_s16, NULL },
	};

	(void)state;
	check_table(rows, sizeof(rows) / sizeof(rows[0]), int_operand);
}

static uint64_t shl(uint64_t v, uint64_t n, unsigned bits)
{
	return n >= bits ? 0 : v << n;
}

static uint64_t bfe_u(uint64_t a, uint64_t pos, uint64_t len, unsigned bits)
{
	uint64_t r = 0;

	for (unsigned i = 0; i < bits; i++)
		if (i < (len & 255) && (pos & 255) + i < bits)
			r |= (a >> ((pos & 255) + i) & 1) << i;
	return r;
}

static uint64_t bfe_s(uint64_t a, uint64_t pos, uint64_t len, unsigned bits)
{
	uint64_t r = 0, sign, last;

	pos &= 255;
	len &= 255;
	last = pos + len - 1 < bits ? pos + len - 1 : bits - 1;
	sign = len ? a >> last & 1 : 0;
	for (unsigned i = 0; i < bits; i++)
		r |= (i < len && pos + i < bits ? a >> (pos + i) & 1 : sign) << i;
	return r;
}

static uint64_t bfi(uint64_t a, uint64_t b, uint64_t pos, uint64_t len, unsigned bits)
{
	for (unsigned i = 0; i < (len & 255) && (pos & 255) + i < bits; i++) {
		uint64_t bit = 1ull << ((pos & 255) + i);

		b = (b & ~bit) | (a >> i & 1 ? bit : 0);
	}
	return b;
}

static uint64_t highest(uint64_t v)
{
	return v ? 63u - __builtin_clzll(v) : UINT32_MAX;
}

static uint64_t reverse(uint64_t v, unsigned bits)
{
	uint64_t r = 0;

	for (unsigned i = 0; i < bits; i++)
		r |= (v >> i & 1) << (bits - 1 - i);
	return r;
}

static uint64_t dp4a_us(uint64_t a, uint64_t b, uint64_t c)
{
	for (int i = 0; i < 4; i++)
		c += (a >> (8 * i) & 255) * (int64_t)(int8_t)(b >> (8 * i));
	return c;
}

static uint64_t dp2a_hi(uint64_t a, uint64_t b, uint64_t c)
{
	for (int i = 0; i < 2; i++)
		c += S16(a >> (16 * i)) * (int64_t)(int8_t)(b >> (16 + 8 * i));
	return c;
}

static uint64_t permute(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t both = b << 32 | a, r = 0;

	for (int i = 0; i < 4; i++) {
		uint8_t byte = both >> (8 * (c >> (4 * i) & 7));

		if (c >> (4 * i) & 8)
			byte = byte & 128 ? 255 : 0;
		r |= (uint64_t)byte << (8 * i);
	}
	return r;
}

FN(shl32, shl(a, b, 32))
FN(shl64, shl(a, b, 64))
FN(shl16, shl(a, b, 16))
FN(shr_u32, b > 31 ? 0 : a >> b)
FN(shr_s32, S32(a) >> (b > 31 ? 31 : b))
FN(shr_s64, S64(a) >> (b > 63 ? 63 : b))
FN(shr_s16, S16(a) >> (b > 15 ? 15 : b))
FN(shf_l_wrap, (b << 32 | a) << (c & 31) >> 32)
FN(shf_r_clamp, c >= 32 ? b : (b << 32 | a) >> c)
FN(popc, __builtin_popcountll(a))
FN(clz32, a ? __builtin_clzll(a) - 32 : 32)
FN(clz64, a ? __builtin_clzll(a) : 64)
FN(bfind_u32, highest(a))
FN(bfind_s32, highest(U32(S32(a) < 0 ? ~a : a)))
FN(bfind_s64, highest(S64(a) < 0 ? ~a : a))
FN(bfind_amt, a ? 31 - highest(a) : UINT32_MAX)
FN(brev32, reverse(a, 32))
FN(brev64, reverse(a, 64))
FN(bfe_u32, bfe_u(a, b, c, 32))
FN(bfe_s32, bfe_s(a, b, c, 32))
FN(bfe_s64, bfe_s(a, b, c, 64))
FN(bfi_b32, bfi(a, b, c, 9, 32))
FN(bfi_b64, bfi(a, b, c, 40, 64))
FN(bmsk_clamp, shl(~shl(~0ull, b, 32), a, 32))
FN(bmsk_wrap, shl(~(~0ull << (b & 31)), a & 31, 32))
FN(szext_clamp_s, b == 0 ? 0 : b >= 32 ? a : (uint64_t)(S64(a << (64 - b)) >> (64 - b)))
FN(szext_wrap_u, a & ~(~0ull << (b & 31)))
FN(lop3_xor3, a ^ b ^ c)
FN(lop3_mux, (a & b) | (~a & c))
FN(and_, a &b)
FN(or_, a | b)
FN(xor_, a ^ b)
FN(not_, ~a)
FN(cnot, a == 0)
FN(byte_rc8, (a >> (8 * (c & 3)) & 255) * 0x01010101)

static void bits(void **state)
{
	static const struct op_row rows[] = {
		{ "shl.b32 %d, %a, %b;", 32, 32, 32, 32, shl32, NULL },
		{ "shl.b64 %d, %a, %b;", 64, 64, 32, 32, shl64, NULL },
		{ "shl.b16 %d, %a, %b;", 16, 16, 32, 32, shl16, NULL },
		{ "shr.u32 %d, %a, %b;", 32, 32, 32, 32, shr_u32, NULL },
		{ "shr.b32 %d, %a, %b;", 32, 32, 32, 32, shr_u32, NULL },
		{ "shr.s32 %d, %a, %b;", 32, 32, 32, 32, shr_s32, NULL },
		{ "shr.s64 %d, %a, %b;", 64, 64, 32, 32, shr_s64, NULL },
		{ "shr.s16 %d, %a, %b;", 16, 16, 32, 32, shr_s16, NULL },
		{ "shf.l.wrap.b32 %d, %a, %b, %c;", 32, 32, 32, 32, shf_l_wrap, NULL },
		{ "shf.r.clamp.b32 %d, %a, %b, %c;", 32, 32, 32, 32, shf_r_clamp, NULL },
		{ "popc.b64 %d, %a;", 32, 64, 32, 32, popc, NULL },
		{ "clz.b32 %d, %a;", 32, 32, 32, 32, clz32, NULL },
		{ "clz.b64 %d, %a;", 32, 64, 32, 32, clz64, NULL },
		{ "bfind.u32 %d, %a;", 32, 32, 32, 32, bfind_u32, NULL },
		{ "bfind.s32 %d, %a;", 32, 32, 32, 32, bfind_s32, NULL },
		{ "bfind.s64 %d, %a;", 32, 64, 32, 32, bfind_s64, NULL },
		{ "bfind.shiftamt.u32 %d, %a;", 32, 32, 32, 32, bfind_amt, NULL },
		{ "brev.b32 %d, %a;", 32, 32, 32, 32, brev32, NULL },
		{ "brev.b64 %d, %a;", 64, 64, 32, 32, brev64, NULL },
		{ "bfe.u32 %d, %a, %b, %c;", 32, 32, 32, 32, bfe_u32, NULL },
		{ "bfe.s32 %d, %a, %b, %c;", 32, 32, 32, 32, bfe_s32, NULL },
		{ "bfe.s64 %d, %a, %b, %c;", 64, 64, 32, 32, bfe_s64, NULL },
		{ "bfi.b32 %d, %a, %b, %c, 9;", 32, 32, 32, 32, bfi_b32, NULL },
		{ "bfi.b64 %d, %a, %b, %c, 40;", 64, 64, 64, 32, bfi_b64, NULL },
		{ "bmsk.clamp.b32 %d, %a, %b;", 32, 32, 32, 32, bmsk_clamp, NULL },
		{ "bmsk.wrap.b32 %d, %a, %b;", 32, 32, 32, 32, bmsk_wrap, NULL },
		{ "szext.clamp.s32 %d, %a, %b;", 32, 32, 32, 32, szext_clamp_s, NULL },
		{ "szext.wrap.u32 %d, %a, %b;", 32, 32, 32, 32, szext_wrap_u, NULL },
		{ "dp4a.u32.s32 %d, %a, %b, %c;", 32, 32, 32, 32, dp4a_us, NULL },
		{ "dp2a.hi.s32.s32 %d, %a, %b, %c;", 32, 32, 32, 32, dp2a_hi, NULL },
		{ "prmt.b32 %d, %a, %b, %c;", 32, 32, 32, 32, permute, NULL },
		{ "prmt.b32.rc8 %d, %a, %b, %c;", 32, 32, 32, 32, byte_rc8, NULL },
		{ "lop3.b32 %d, %a, %b, %c, 0x96;", 32, 32, 32, 32, lop3_xor3, NULL },
		{ "lop3.b32 %d, %a, %b, %c, 0xca;", 32, 32, 32, 32, lop3_mux, NULL },
		{ "and.b64 %d, %a, %b;", 64, 64, 64, 64, and_, NULL },
		{ "or.b16 %d, %a, %b;", 16, 16, 16, 16, or_, NULL },
		{ "xor.b32 %d, %a, %b;", 32, 32, 32, 32, xor_, NULL },
		{ "not.b32 %d, %a;", 32, 32, 32, 32, not_, NULL },
		{ "cnot.b32 %d, %a;", 32, 32, 32, 32, cnot, NULL },
	};

	(void)state;
	check_table(rows, sizeof(rows) / sizeof(rows[0]), int_operand);
}

FN(add128_hi, (uint64_t)(((uwide)a + b) >> 64) + c)
FN(sub128_hi, c - (a < b))
FN(mad_carry, a *b + c)
FN(cmp_and, S32(a) < S32(b) && c == 5 ? 1 : 2)
FN(cmp_dual, (S32(a) >= S32(b) || c == 5 ? 1 : 0) | (!(S32(a) >= S32(b)) || c == 5 ? 2 : 0))
FN(cmp_unsigned, (a < b) | (a <= b) << 1 | (a > b) << 2 | (a >= b) << 3)
FN(set_, S32(a) == S32(b) ? UINT32_MAX : 0)
FN(set_f, S32(a) > S32(b) ? 0x3f800000 : 0)
FN(slct, S32(c) >= 0 ? a : b)
FN(cvt_s8, (uint64_t)(int64_t)(int8_t)a)
FN(cvt_sat_u8, S32(a) < 0 ? 0 : S32(a) > 255 ? 255 : a)
FN(cvt_sat_s32, S64(a) > INT32_MAX ? INT32_MAX : S64(a) < INT32_MIN ? INT32_MIN : S64(a))
FN(cvt_sext, S32(a))
FN(pack16, (a & 0xffff) | b << 16)
FN(unpack, (a >> 32) + (a << 32))
FN(swap_bytes, __builtin_bswap32(a))
FN(predicated, a & 1 ? b : c)
FN(branchy, a & 1 ? b + 1 : c + 2)
FN(loop, (a & 15) * b)
FN(table_jump, (a & 3) == 0 ? b : (a & 3) == 1 ? c : (a & 3) == 2 ? b + c : 77)

static void carry_compare_select_and_flow(void **state)
{
	static const struct op_row rows[] = {
		{ "add.cc.u64 %w0, %a, %b; addc.u64 %d, %c, 0;", 64, 64, 64, 64, add128_hi, NULL },
		{ "sub.cc.u64 %w0, %a, %b; subc.u64 %d, %c, 0;", 64, 64, 64, 64, sub128_hi, NULL },
		{ "mad.lo.cc.u32 %t1, %a, %b, %c; madc.hi.u32 %t2, %a, %b, 0; mov.b64 %d, {%t1, %t2};", 64,
		  32, 32, 32, mad_carry, NULL },
		{ "setp.eq.s32 %q, %c, 5; setp.lt.and.s32 %p, %a, %b, %q; selp.b32 %d, 1, 2, %p;", 32, 32, 32,
		  32, cmp_and, NULL },
		{ "setp.ne.s32 %q, %c, 5; setp.ge.or.s32 %p|%q, %a, %b, !%q; selp.b32 %t1, 1, 0, %p; "
		  "selp.b32 %t2, 2, 0, %q;"
		  "or.b32 %d, %t1, %t2;",
		  32, 32, 32, 32, cmp_dual, NULL },
		{ "setp.lo.u32 %p, %a, %b; selp.b32 %d, 1, 0, %p; setp.ls.u32 %p, %a, %b; @%p or.b32 %d, %d, "
		  "2;"
		  "setp.hi.u32 %p, %a, %b; @%p or.b32 %d, %d, 4; setp.hs.u32 %p, %a, %b; @%p or.b32 %d, %d, "
		  "8;",
		  32, 32, 32, 32, cmp_unsigned, NULL },
		{ "set.eq.u32.s32 %d, %a, %b;", 32, 32, 32, 32, set_, NULL },
		{ "set.gt.f32.s32 %d, %a, %b;", 32, 32, 32, 32, set_f, NULL },
		{ "slct.b32.s32 %d, %a, %b, %c;", 32, 32, 32, 32, slct, NULL },
		{ "cvt.s32.s8 %d, %a;", 32, 32, 32, 32, cvt_s8, NULL },
		{ "cvt.sat.u8.s32 %d, %a;", 32, 32, 32, 32, cvt_sat_u8, NULL },
		{ "cvt.sat.s32.s64 %d, %a;", 32, 64, 32, 32, cvt_sat_s32, NULL },
		{ "cvt.s64.s32 %d, %a;", 64, 32, 32, 32, cvt_sext, NULL },
		{ "mov.b32 %d, {%a, %b};", 32, 16, 16, 16, pack16, NULL },
		{ "mov.b64 {%t1, %t2}, %a; mov.b64 %d, {%t2, %t1};", 64, 64, 32, 32, unpack, NULL },
		{ "prmt.b32 %d, %a, 0, 0x0123;", 32, 32, 32, 32, swap_bytes, NULL },
		{ "and.b32 %t1, %a, 1; setp.ne.u32 %p, %t1, 0; mov.b32 %d, %c; @%p mov.b32 %d, %b;", 32, 32,
		  32, 32, predicated, NULL },
		{ "and.b32 %t1, %a, 1; setp.ne.u32 %p, %t1, 0; @!%p bra E; add.u32 %d, %b, 1; bra.uni F;\n"
		  "E: add.u32 %d, %c, 2;\nF:",
		  32, 32, 32, 32, branchy, NULL },
		{ "and.b32 %t1, %a, 15; mov.u32 %d, 0;\nL: setp.eq.u32 %p, %t1, 0; @%p bra M; add.u32 %d, "
		  "%d, %b;"
		  "sub.u32 %t1, %t1, 1; bra L;\nM:",
		  32, 32, 32, 32, loop, NULL },
		{ "and.b32 %t1, %a, 3; T: .branchtargets A0, A1, A2, A3; brx.idx %t1, T;\nA0: mov.u32 %d, "
		  "%b; bra Z;\n"
		  "A1: mov.u32 %d, %c; bra Z;\nA2: add.u32 %d, %b, %c; bra Z;\nA3: mov.u32 %d, 77;\nZ:",
		  32, 32, 32, 32, table_jump, NULL },
	};

	(void)state;
	check_table(rows, sizeof(rows) / sizeof(rows[0]), int_operand);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arithmetic),
		cmocka_unit_test(bits),
		cmocka_unit_test(carry_compare_select_and_flow),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("ptx int", tests, ptx_test_setup, ptx_test_teardown);
}
