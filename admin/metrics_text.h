// SPDX-License-Identifier: Apache-2.0
// What /metrics tells, read: samples with their labels, and quantiles of histograms. Pure.
#ifndef VGPU_ADMIN_METRICS_TEXT_H
#define VGPU_ADMIN_METRICS_TEXT_H

#include <stddef.h>

#define METRICS_MOST_LABELS  8
#define METRICS_MOST_BUCKETS 40

struct metrics_label {
	const char *name, *value; // the value without its escapes
};

struct metrics_sample {
	const char *name;
	struct metrics_label labels[METRICS_MOST_LABELS];
	size_t n_labels;
	double value;
};

// Calls each for every sample of the text, which is changed on the way. Lines that are none are passed over.
void metrics_each(char *text, void (*each)(void *opaque, const struct metrics_sample *s), void *opaque);

// The label's value, or NULL.
const char *metrics_label(const struct metrics_sample *s, const char *name);

// A histogram's buckets in the order of their bounds, counted up as the text has them.
struct metrics_buckets {
	size_t n;
	double bound[METRICS_MOST_BUCKETS]; // INFINITY: the last
	double count[METRICS_MOST_BUCKETS];
};

// A sample named ..._bucket, added. Beyond METRICS_MOST_BUCKETS they are left out.
void metrics_buckets_add(struct metrics_buckets *b, const struct metrics_sample *s);

// The quantile q (0 to 1) of what came between two readings, before may be NULL: of all. Negative: nothing
// came.
double metrics_quantile(const struct metrics_buckets *now, const struct metrics_buckets *before, double q);

#endif
