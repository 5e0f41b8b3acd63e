// SPDX-License-Identifier: Apache-2.0
//
// Weights and reference of the small language model (see the header). Runs in the decoder program, one
// thread.
#include "tests/e2e/decoder_model.h"

#include <math.h>
#include <stdlib.h>

const struct shape model_shapes[MATRICES] = {
	[QUERY] = { WIDTH, WIDTH }, [KEY] = { WIDTH, WIDTH },	[VALUE] = { WIDTH, WIDTH },
	[OUT] = { WIDTH, WIDTH },   [GATE] = { HIDDEN, WIDTH }, [UP] = { HIDDEN, WIDTH },
	[DOWN] = { WIDTH, HIDDEN },
};

static size_t blocks_of(enum matrix m)
{
	return (size_t)model_shapes[m].rows * (size_t)model_shapes[m].columns / 32;
}

size_t model_offset(int layer, enum matrix m)
{
	size_t whole = 0, before = 0;

	for (int i = 0; i < MATRICES; i++) {
		whole += blocks_of((enum matrix)i);
		if (i < (int)m)
			before += blocks_of((enum matrix)i);
	}
	return (size_t)VOCABULARY * WIDTH / 32 + (size_t)layer * whole + before;
}

size_t model_blocks(void)
{
	return model_offset(LAYERS, QUERY);
}

struct block *model_make(void)
{
	size_t n = model_blocks();
	struct block *b = calloc(n, sizeof(*b));
	uint32_t x = 20;

	for (size_t i = 0; b && i < n; i++) {
		for (int k = 0; k < 32; k++) {
			x = x * 1664525u + 1013904223u;
			b[i].q[k] = (int8_t)((int)(x >> 24) - 128);
		}
		b[i].scale = (1.0f + (float)(x >> 8 & 0xff) / 256.0f) / 1100.0f;
	}
	return b;
}

int model_best(const float *likelihoods)
{
	int best = 0;

	for (int i = 1; i < VOCABULARY; i++)
		if (likelihoods[i] > likelihoods[best])
			best = i;
	return best;
}

struct reference {
	const struct block *model;
	int length;
	float keys[LAYERS][CONTEXT][WIDTH], values[LAYERS][CONTEXT][WIDTH];
	float x[WIDTH], likelihoods[VOCABULARY];
};

struct reference *reference_new(const struct block *model)
{
	struct reference *r = calloc(1, sizeof(*r));

	if (r)
		r->model = model;
	return r;
}

void reference_free(struct reference *r)
{
	free(r);
}

// What the activations become when they are packed and unpacked again.
static void pack(float *x, int n)
{
	for (int at = 0; at < n; at += 32) {
		float top = 0;

		for (int i = at; i < at + 32; i++)
			top = fmaxf(top, fabsf(x[i]));
		for (int i = at; i < at + 32 && top > 0; i++)
			x[i] = rintf(x[i] / (top / 127.0f)) * (top / 127.0f);
	}
}

static void matvec(const struct block *w, const float *x, float *out, int rows, int columns, bool add)
{
	for (int row = 0; row < rows; row++) {
		double sum = 0;

		for (int i = 0; i < columns; i++) {
			const struct block *b = &w[((size_t)row * (size_t)columns + (size_t)i) / 32];

			sum += (double)b->q[i % 32] * (double)b->scale * (double)x[i];
		}
		out[row] = add ? out[row] + (float)sum : (float)sum;
	}
}

static void normal(const float *x, float *out)
{
	double sum = 0;

	for (int i = 0; i < WIDTH; i++)
		sum += (double)x[i] * (double)x[i];
	for (int i = 0; i < WIDTH; i++)
		out[i] = x[i] / sqrtf((float)(sum / WIDTH) + 1e-5f);
}

static void attend(const struct reference *r, int layer, const float *q, float *out)
{
	for (int at = 0; at < WIDTH; at += HEAD) {
		double score[CONTEXT], top = -1e30, sum = 0;

		for (int t = 0; t <= r->length; t++) {
			score[t] = 0;
			for (int i = at; i < at + HEAD; i++)
				score[t] += (double)q[i] * (double)r->keys[layer][t][i];
			score[t] /= sqrt(HEAD);
			top = fmax(top, score[t]);
		}
		for (int t = 0; t <= r->length; t++) {
			score[t] = exp(score[t] - top);
			sum += score[t];
		}
		for (int i = at; i < at + HEAD; i++) {
			double v = 0;

			for (int t = 0; t <= r->length; t++)
				v += score[t] * (double)r->values[layer][t][i];
			out[i] = (float)(v / sum);
		}
	}
}

static void one_layer(struct reference *r, int layer, bool prompt)
{
	const struct block *m = r->model;
	float h[WIDTH], q[WIDTH], out[WIDTH], a[HIDDEN], b[HIDDEN];

	normal(r->x, h);
	if (!prompt)
		pack(h, WIDTH);
	matvec(m + model_offset(layer, QUERY), h, q, WIDTH, WIDTH, false);
	matvec(m + model_offset(layer, KEY), h, r->keys[layer][r->length], WIDTH, WIDTH, false);
	matvec(m + model_offset(layer, VALUE), h, r->values[layer][r->length], WIDTH, WIDTH, false);
	attend(r, layer, q, out);
	if (!prompt)
		pack(out, WIDTH);
	matvec(m + model_offset(layer, OUT), out, r->x, WIDTH, WIDTH, true);
	normal(r->x, h);
	if (!prompt)
		pack(h, WIDTH);
	matvec(m + model_offset(layer, GATE), h, a, HIDDEN, WIDTH, false);
	matvec(m + model_offset(layer, UP), h, b, HIDDEN, WIDTH, false);
	for (int i = 0; i < HIDDEN; i++)
		a[i] = a[i] / (1.0f + expf(-a[i])) * b[i];
	if (!prompt)
		pack(a, HIDDEN);
	matvec(m + model_offset(layer, DOWN), a, r->x, WIDTH, HIDDEN, true);
}

const float *reference_step(struct reference *r, int token, bool prompt)
{
	float h[WIDTH];

	for (int i = 0; i < WIDTH; i++) {
		const struct block *b = &r->model[((size_t)token * WIDTH + (size_t)i) / 32];

		r->x[i] = (float)b->q[i % 32] * b->scale;
	}
	for (int layer = 0; layer < LAYERS; layer++)
		one_layer(r, layer, prompt);
	r->length++;
	normal(r->x, h);
	pack(h, WIDTH);
	matvec(r->model, h, r->likelihoods, VOCABULARY, WIDTH, false);
	return r->likelihoods;
}
