// SPDX-License-Identifier: Apache-2.0
//
// The small language model of decoder.c: its sizes, its weights, and what a processor computes for it.
// Weights and, while it decodes, activations are blocks of 32 signed bytes with one scale; a prompt's
// activations are plain numbers.
#ifndef VGPU_TESTS_E2E_DECODER_MODEL_H
#define VGPU_TESTS_E2E_DECODER_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WIDTH = 256, HIDDEN = 512, LAYERS = 3, VOCABULARY = 512, HEADS = 4, HEAD = WIDTH / HEADS };
enum { PROMPT = 7, TOKENS = 24, CONTEXT = PROMPT + TOKENS };

struct block {
	float scale;
	int8_t q[32];
};

// The matrices of a layer, in the order in which they lie in memory.
enum matrix { QUERY, KEY, VALUE, OUT, GATE, UP, DOWN, MATRICES };
struct shape {
	int rows, columns;
};
extern const struct shape model_shapes[MATRICES];

// Blocks of the whole model: the table of tokens (which is the last matrix too), then layer by layer.
size_t model_blocks(void);
size_t model_offset(int layer, enum matrix m); // in blocks, of a layer's matrix
// Made of nothing but the numbers above; to be freed by the caller. NULL when there is no memory.
struct block *model_make(void);

struct reference;
struct reference *reference_new(const struct block *model);
void reference_free(struct reference *r);
// Takes the next token of the sequence; the likelihoods of what follows, VOCABULARY numbers, valid until the
// next call.
const float *reference_step(struct reference *r, int token, bool prompt);

int model_best(const float *likelihoods);

#endif
