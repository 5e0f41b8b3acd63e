// SPDX-License-Identifier: Apache-2.0
/*
 * Look-up of types and modifier words by spelling. Pure tables, used by the parser and the code generator in
 * the executor.
 */
#include "executor/backends/cpu/ptx/ptx_words.h"

#include <string.h>

struct type_row {
	const char *text;
	uint8_t bits;
	bool is_signed, is_float;
};

static const struct type_row types[T_COUNT] = {
	[T_NONE] = { "", 0, false, false },	    [T_PRED] = { "pred", 1, false, false },
	[T_U8] = { "u8", 8, false, false },	    [T_U16] = { "u16", 16, false, false },
	[T_U32] = { "u32", 32, false, false },	    [T_U64] = { "u64", 64, false, false },
	[T_S8] = { "s8", 8, true, false },	    [T_S16] = { "s16", 16, true, false },
	[T_S32] = { "s32", 32, true, false },	    [T_S64] = { "s64", 64, true, false },
	[T_B8] = { "b8", 8, false, false },	    [T_B16] = { "b16", 16, false, false },
	[T_B32] = { "b32", 32, false, false },	    [T_B64] = { "b64", 64, false, false },
	[T_B128] = { "b128", 128, false, false },   [T_F16] = { "f16", 16, false, true },
	[T_F32] = { "f32", 32, false, true },	    [T_F64] = { "f64", 64, false, true },
	[T_BF16] = { "bf16", 16, false, true },	    [T_F16X2] = { "f16x2", 32, false, true },
	[T_BF16X2] = { "bf16x2", 32, false, true }, [T_TF32] = { "tf32", 32, false, true },
	[T_U16X2] = { "u16x2", 32, false, false },  [T_S16X2] = { "s16x2", 32, true, false },
};

unsigned ptx_type_bits(enum ptx_type t)
{
	return types[t].bits;
}

bool ptx_type_signed(enum ptx_type t)
{
	return types[t].is_signed;
}

bool ptx_type_float(enum ptx_type t)
{
	return types[t].is_float;
}

enum ptx_type ptx_type_find(const char *s, size_t n)
{
	for (int i = T_NONE + 1; i < T_COUNT; i++)
		if (strlen(types[i].text) == n && !memcmp(types[i].text, s, n))
			return i;
	return T_NONE;
}

struct word_row {
	const char *text;
	uint32_t classes;
	uint8_t len;
};

static const struct word_row words[W_COUNT] = {
#define X(id, str, cls) [W_##id] = { str, cls, sizeof(str) - 1 },
	PTX_WORDS(X)
#undef X
};

enum ptx_word ptx_word_find(const char *s, size_t n)
{
	for (int i = W_NONE + 1; i < W_COUNT; i++)
		if (words[i].len == n && !memcmp(words[i].text, s, n))
			return i;
	return W_NONE;
}

uint32_t ptx_word_classes(enum ptx_word w)
{
	return words[w].classes;
}

const char *ptx_word_text(enum ptx_word w)
{
	return words[w].text ? words[w].text : "";
}
