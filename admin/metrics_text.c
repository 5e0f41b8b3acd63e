// SPDX-License-Identifier: Apache-2.0
// The text format of Prometheus as far as vgpu-admin needs it; see the header. Used by top.
#include "admin/metrics_text.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// Takes a quoted value at *at apart, in place. NULL: it has no end.
static char *take_value(char **at)
{
	char *from = *at, *to = *at, *value = *at;

	for (; *from && *from != '"'; from++) {
		if (*from == '\\' && from[1]) {
			from++;
			*to++ = *from == 'n' ? '\n' : *from;
		} else {
			*to++ = *from;
		}
	}
	if (!*from)
		return NULL;
	*at = from + 1;
	*to = 0;
	return value;
}

// {a="b",c="d"}; *at stands behind the brace.
static bool take_labels(struct metrics_sample *s, char **at)
{
	char *p = *at;

	while (*p && *p != '}') {
		char *name = p, *equals = strchr(p, '='), *value;

		if (!equals || equals[1] != '"')
			return false;
		*equals = 0;
		p = equals + 2;
		value = take_value(&p);
		if (!value)
			return false;
		if (s->n_labels < METRICS_MOST_LABELS)
			s->labels[s->n_labels++] = (struct metrics_label){ name, value };
		p += strspn(p, ", ");
	}
	if (!*p)
		return false;
	*at = p + 1;
	return true;
}

static bool parse(char *line, struct metrics_sample *s)
{
	char *p = line + strcspn(line, "{ "), *end;
	char after = *p;

	*s = (struct metrics_sample){ .name = line };
	if (p == line || !after)
		return false;
	*p++ = 0;
	if (after == '{' && !take_labels(s, &p))
		return false;
	p += strspn(p, " ");
	s->value = strtod(p, &end);
	return end != p;
}

void metrics_each(char *text, void (*each)(void *opaque, const struct metrics_sample *s), void *opaque)
{
	char *line, *rest = text;

	while ((line = strsep(&rest, "\n"))) {
		struct metrics_sample s;

		if (*line && *line != '#' && parse(line, &s))
			each(opaque, &s);
	}
}

const char *metrics_label(const struct metrics_sample *s, const char *name)
{
	for (size_t i = 0; i < s->n_labels; i++) {
		if (strcmp(s->labels[i].name, name) == 0)
			return s->labels[i].value;
	}
	return NULL;
}

void metrics_buckets_add(struct metrics_buckets *b, const struct metrics_sample *s)
{
	const char *text = metrics_label(s, "le");
	double bound = text ? strtod(text, NULL) : NAN;

	if (isnan(bound) || b->n == METRICS_MOST_BUCKETS || (b->n && bound <= b->bound[b->n - 1]))
		return;
	b->bound[b->n] = bound;
	b->count[b->n++] = s->value;
}

static double came(const struct metrics_buckets *now, const struct metrics_buckets *before, size_t i)
{
	double n = now->count[i] - (before && before->n == now->n ? before->count[i] : 0);

	return n > 0 ? n : 0;
}

double metrics_quantile(const struct metrics_buckets *now, const struct metrics_buckets *before, double q)
{
	double all = now->n ? came(now, before, now->n - 1) : 0, below = 0, least = 0;

	if (all <= 0)
		return -1;
	for (size_t i = 0; i < now->n; i++) {
		double n = came(now, before, i);

		if (n < q * all) {
			below = n;
			least = now->bound[i];
			continue;
		}
		if (isinf(now->bound[i]) || n <= below)
			return least;
		return least + (now->bound[i] - least) * (q * all - below) / (n - below);
	}
	return least;
}
