// SPDX-License-Identifier: Apache-2.0
/*
 * Tests of single instructions: a row is one PTX statement on registers %a %b %c giving %d, the widths of
 * these, and the same in C. All rows of a table become kernels of one module; each runs on a few thousand
 * operand triples.
 */
#ifndef VGPU_TESTS_UNIT_PTX_OP_TABLE_H
#define VGPU_TESTS_UNIT_PTX_OP_TABLE_H

#include "tests/unit/ptx/ptx_test.h"

#include <stdbool.h>

struct op_row {
	const char *text; // may use %p, %q (predicates) and %t0..%t7 (.b32), %h0..%h7 (.b16), %w0..%w3 (.b64)
	uint8_t wd, wa, wb, wc;
	uint64_t (*want)(uint64_t a, uint64_t b, uint64_t c);
	bool (*same)(uint64_t got, uint64_t want); // NULL: equal bits
};

void check_table(const struct op_row *rows, unsigned n, uint64_t (*operand)(unsigned i, unsigned which));
// Operands that matter to integers: small, large, powers of two, random.
uint64_t int_operand(unsigned i, unsigned which);

#endif
