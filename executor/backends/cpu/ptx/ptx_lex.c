// SPDX-License-Identifier: Apache-2.0
/*
 * Lexer of PTX text, for the parser only. Works on hostile bytes: every read is bounded by the end of the
 * text.
 */
#include "executor/backends/cpu/ptx/ptx_lex.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void ptx_lex_init(struct ptx_lex *lx, const char *text, size_t len)
{
	const char *nul = memchr(text, 0, len);

	lx->at = text;
	lx->end = nul ? nul : text + len;
	lx->line = 1;
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static bool is_name(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '$' ||
	       c == '%';
}

static int peek(const struct ptx_lex *lx, size_t i)
{
	return (size_t)(lx->end - lx->at) > i ? (unsigned char)lx->at[i] : -1;
}

static void skip_block_comment(struct ptx_lex *lx)
{
	lx->at += 2;
	while (lx->at < lx->end && !(peek(lx, 0) == '*' && peek(lx, 1) == '/')) {
		if (*lx->at == '\n')
			lx->line++;
		lx->at++;
	}
	lx->at = lx->end - lx->at >= 2 ? lx->at + 2 : lx->end;
}

static void skip_space(struct ptx_lex *lx)
{
	for (;;) {
		int c = peek(lx, 0);

		if (c == '\n') {
			lx->line++;
			lx->at++;
		} else if (c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v') {
			lx->at++;
		} else if (c == '/' && peek(lx, 1) == '/') {
			while (lx->at < lx->end && *lx->at != '\n')
				lx->at++;
		} else if (c == '/' && peek(lx, 1) == '*') {
			skip_block_comment(lx);
		} else {
			return;
		}
	}
}

static int digit_value(int c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 99;
}

// Digits of the base from lx->at on; false when there is none or the value needs more than 64 bits.
static bool lex_digits(struct ptx_lex *lx, unsigned base, uint64_t *ret)
{
	uint64_t v = 0;
	const char *start = lx->at;

	for (; digit_value(peek(lx, 0)) < (int)base; lx->at++) {
		if (v > UINT64_MAX / base)
			return false;
		v = v * base;
		if (v > UINT64_MAX - digit_value(*lx->at))
			return false;
		v += digit_value(*lx->at);
	}
	*ret = v;
	return lx->at > start;
}

static bool lex_float_bits(struct ptx_lex *lx, struct ptx_tok *t, size_t digits)
{
	lx->at += 2;
	const char *start = lx->at;

	t->kind = digits == 8 ? TOK_F32 : TOK_F64;
	return lex_digits(lx, 16, &t->u) && (size_t)(lx->at - start) == digits;
}

static bool lex_decimal_float(struct ptx_lex *lx, struct ptx_tok *t)
{
	char buf[64];
	size_t n = 0;
	double d;

	while (is_digit(peek(lx, n)) || peek(lx, n) == '.' || peek(lx, n) == 'e' || peek(lx, n) == 'E' ||
	       ((peek(lx, n) == '-' || peek(lx, n) == '+') && n &&
		(lx->at[n - 1] == 'e' || lx->at[n - 1] == 'E')))
		if (++n >= sizeof(buf))
			return false;
	memcpy(buf, lx->at, n);
	buf[n] = 0;
	d = strtod(buf, NULL);
	memcpy(&t->u, &d, sizeof(d));
	t->kind = TOK_F64;
	lx->at += n;
	return true;
}

static bool lex_number(struct ptx_lex *lx, struct ptx_tok *t)
{
	int second = peek(lx, 1);
	size_t n = 0;
	unsigned base = 10;

	if (*lx->at == '0' && (second == 'f' || second == 'F'))
		return lex_float_bits(lx, t, 8);
	if (*lx->at == '0' && (second == 'd' || second == 'D'))
		return lex_float_bits(lx, t, 16);
	while (is_digit(peek(lx, n)))
		n++;
	if (peek(lx, n) == '.' || ((peek(lx, n) == 'e' || peek(lx, n) == 'E') && *lx->at != '0'))
		return lex_decimal_float(lx, t);
	if (*lx->at == '0' && (second == 'x' || second == 'X')) {
		base = 16;
		lx->at += 2;
	} else if (*lx->at == '0' && (second == 'b' || second == 'B')) {
		base = 2;
		lx->at += 2;
	} else if (*lx->at == '0' && is_digit(second)) {
		base = 8;
	}
	t->kind = TOK_INT;
	if (!lex_digits(lx, base, &t->u))
		return false;
	if (peek(lx, 0) == 'U')
		lx->at++;
	return !is_name(peek(lx, 0));
}

static void lex_dot(struct ptx_lex *lx, struct ptx_tok *t)
{
	t->kind = TOK_DOT;
	t->text = ++lx->at;
	while (is_name(peek(lx, 0)) || (peek(lx, 0) == ':' && peek(lx, 1) == ':' && is_name(peek(lx, 2))))
		lx->at += peek(lx, 0) == ':' ? 2 : 1;
	t->len = lx->at - t->text;
}

static void lex_string(struct ptx_lex *lx, struct ptx_tok *t)
{
	t->kind = TOK_STRING;
	t->text = ++lx->at;
	while (lx->at < lx->end && *lx->at != '"' && *lx->at != '\n')
		lx->at += *lx->at == '\\' && lx->end - lx->at > 1 ? 2 : 1;
	if (lx->at >= lx->end || *lx->at != '"') {
		t->kind = TOK_BAD;
		lx->at = lx->end;
		return;
	}
	t->len = lx->at++ - t->text;
}

static void lex_punct(struct ptx_lex *lx, struct ptx_tok *t)
{
	static const char pairs[][3] = { "<<L", ">>R", "==E", "!=N" };

	t->kind = TOK_PUNCT;
	t->text = lx->at;
	t->len = 1;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (peek(lx, 0) == pairs[i][0] && peek(lx, 1) == pairs[i][1]) {
			t->punct = pairs[i][2];
			t->len = 2;
			lx->at += 2;
			return;
		}
	t->punct = *lx->at++;
	if (!strchr("{}[](),;:@!|+-~*/&^<>=?", t->punct))
		t->kind = TOK_BAD;
}

struct ptx_tok ptx_lex_next(struct ptx_lex *lx)
{
	struct ptx_tok t = { 0 };

	skip_space(lx);
	t.line = lx->line;
	t.text = lx->at;
	if (lx->at >= lx->end)
		return t;
	if (is_digit(*lx->at)) {
		const char *start = lx->at;

		if (!lex_number(lx, &t))
			t.kind = TOK_BAD;
		t.text = start;
		t.len = lx->at - start;
	} else if (is_name((unsigned char)*lx->at)) {
		t.kind = TOK_NAME;
		while (is_name(peek(lx, 0)))
			lx->at++;
		t.len = lx->at - t.text;
	} else if (*lx->at == '.') {
		lex_dot(lx, &t);
	} else if (*lx->at == '"') {
		lex_string(lx, &t);
	} else {
		lex_punct(lx, &t);
	}
	return t;
}
