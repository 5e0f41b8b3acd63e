// SPDX-License-Identifier: Apache-2.0
/*
 * Memory of a parsed module and the table of special registers. Used by the parser, sema and the code
 * generator.
 */
#include "executor/backends/cpu/ptx/ptx_ast.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK (64u << 10)

struct ptx_arena_chunk {
	struct ptx_arena_chunk *next;
	max_align_t data[];
};

void *ptx_arena_alloc(struct ptx_arena *a, size_t size)
{
	struct ptx_arena_chunk *c = a->chunks;

	size = (size + 15) & ~(size_t)15;
	if (!c || a->cap - a->used < size) {
		size_t cap = size > CHUNK ? size : CHUNK;

		c = calloc(1, sizeof(*c) + cap);
		if (!c)
			return NULL;
		c->next = a->chunks;
		a->chunks = c;
		a->cap = cap;
		a->used = 0;
	}
	a->used += size;
	return (char *)c->data + a->used - size;
}

void ptx_arena_done(struct ptx_arena *a)
{
	while (a->chunks) {
		struct ptx_arena_chunk *c = a->chunks;

		a->chunks = c->next;
		free(c);
	}
	a->used = a->cap = 0;
}

static const char *const sreg_names[SR_COUNT] = {
#define X(id) [SR_##id] = #id,
	PTX_SREGS(X)
#undef X
	    [SR_WARP_SZ] = "WARP_SZ",
};

const char *ptx_sreg_name(enum ptx_sreg r)
{
	return sreg_names[r];
}

int ptx_sreg_find(const char *s, size_t n)
{
	if (n > 6 && n <= 8 && !memcmp(s, "envreg", 6))
		return SR_envreg;
	for (int i = 0; i < SR_WARP_SZ; i++)
		if (strlen(sreg_names[i]) == n && !memcmp(sreg_names[i], s, n))
			return i;
	return -1;
}

unsigned ptx_sreg_bits(enum ptx_sreg r)
{
	if (r == SR_is_explicit_cluster)
		return 1;
	return r == SR_clock64 || r == SR_globaltimer || r == SR_gridid ? 64 : 32;
}

bool ptx_sreg_has_component(enum ptx_sreg r)
{
	return r <= SR_nctaid || (r >= SR_clusterid && r <= SR_cluster_nctaid);
}
