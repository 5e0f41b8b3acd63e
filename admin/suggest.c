// SPDX-License-Identifier: Apache-2.0
// Distance of words by letters that are missing, too many, wrong or swapped; see the header.
#include "admin/suggest.h"

#include <string.h>

#define MOST 32 // letters of a word that is compared

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static unsigned distance(const char *a, size_t na, const char *b, size_t nb)
{
	unsigned rows[3][MOST + 1];
	unsigned *older = rows[0], *old = rows[1], *now = rows[2];

	for (size_t j = 0; j <= nb; j++)
		old[j] = (unsigned)j;
	for (size_t i = 1; i <= na; i++) {
		unsigned *spare = older;

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= nb; j++) {
			now[j] =
			    least(least(old[j] + 1, now[j - 1] + 1), old[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least(now[j], older[j - 2] + 1);
		}
		older = old;
		old = now;
		now = spare;
	}
	return old[nb];
}

const char *suggest(const char *word, const char *const *names, size_t n)
{
	const char *best = NULL;
	size_t len = strlen(word);
	unsigned best_distance = 0;

	if (!len || len > MOST)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t other = strlen(names[i]);
		unsigned d;

		if (other > MOST)
			continue;
		// The beginning of a name is near, however much is missing.
		d = len >= 2 && strncmp(word, names[i], len) == 0 ? 1 : distance(word, len, names[i], other);
		if (d > (len <= 3 ? 1 : len <= 7 ? 2 : 3) || (best && d >= best_distance))
			continue;
		best = names[i];
		best_distance = d;
	}
	return best;
}
