// SPDX-License-Identifier: Apache-2.0
// Registers that were touched; see the header. Called by nvidia.c for every access of a guest: a look into a
// hash table that is never more than half full.
#include "stub/personality/touched.h"

#include <assert.h>
#include <stddef.h>

// The row of the register, made if there is room; NULL: there is none.
static struct touched_row *find(struct touched *t, uint32_t offset)
{
	uint32_t at = (offset / 4 * 0x9e3779b1u) >> 22;

	static_assert(TOUCHED_INDEX == 1u << 10, "the hash's upper bits are the index");
	for (; t->index[at]; at = (at + 1) % TOUCHED_INDEX) {
		struct touched_row *row = &t->rows[t->index[at] - 1];

		if (row->offset == offset)
			return row;
	}
	if (t->n == TOUCHED_ROWS)
		return NULL;
	t->rows[t->n].offset = offset;
	t->index[at] = (uint16_t)(t->n + 1);
	return &t->rows[t->n++];
}

void touched_read(struct touched *t, uint32_t offset, uint32_t answer)
{
	struct touched_row *row = find(t, offset);

	if (!row) {
		t->more_reads++;
		return;
	}
	row->reads++;
	row->answer = answer;
}

void touched_write(struct touched *t, uint32_t offset, uint32_t value)
{
	struct touched_row *row = find(t, offset);

	if (!row) {
		t->more_writes++;
		return;
	}
	row->writes++;
	row->written = value;
}
