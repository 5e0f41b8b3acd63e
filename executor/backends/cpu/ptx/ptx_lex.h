// SPDX-License-Identifier: Apache-2.0
/*
 * Tokens of PTX text. A dotted word (".u32", ".shared::cta") is one token; opcodes and identifiers hold no
 * dot.
 */
#ifndef VGPU_EXECUTOR_CPU_PTX_LEX_H
#define VGPU_EXECUTOR_CPU_PTX_LEX_H

#include <stddef.h>
#include <stdint.h>

enum ptx_tok_kind {
	TOK_END,
	TOK_NAME,   // identifier, register, opcode
	TOK_DOT,    // dotted word; text excludes the dot
	TOK_INT,    // u holds the value
	TOK_F32,    // u holds the bits (0f...)
	TOK_F64,    // u holds the bits (0d... or decimal)
	TOK_STRING, // text excludes the quotes
	TOK_PUNCT,  // punct holds the character; "<<" is 'L', ">>" is 'R', "==" 'E', "!=" 'N'
	TOK_BAD,
};

struct ptx_tok {
	enum ptx_tok_kind kind;
	char punct;
	unsigned line;
	const char *text;
	size_t len;
	uint64_t u;
};

struct ptx_lex {
	const char *at, *end;
	unsigned line;
};

void ptx_lex_init(struct ptx_lex *lx, const char *text, size_t len);
// TOK_END repeats at the end; TOK_BAD stands for a character or number that is not PTX.
struct ptx_tok ptx_lex_next(struct ptx_lex *lx);

#endif
