// SPDX-License-Identifier: Apache-2.0
// A treap over disjoint address ranges. Runs in the guest program, any thread.
#include "guest/libcuda/ranges.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct node {
	struct vc_range range;
	struct node *left, *right;
	uint32_t weight; // random; parents weigh more than children
};

static struct node *root;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static uint64_t next_id = 1;
static uint32_t seed = 0x9e3779b9u;

static uint32_t random_weight(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

// The node with the greatest base <= address.
static struct node *at_or_below(uint64_t address)
{
	struct node *n = root, *best = NULL;

	while (n) {
		if (n->range.base <= address) {
			best = n;
			n = n->right;
		} else {
			n = n->left;
		}
	}
	return best;
}

static struct node *holding(uint64_t address)
{
	struct node *n = at_or_below(address);

	return n && address - n->range.base < n->range.bytes ? n : NULL;
}

static int overlaps(uint64_t base, uint64_t bytes)
{
	struct node *n = at_or_below(base + (bytes - 1));

	return n && (n->range.base >= base || base - n->range.base < n->range.bytes);
}

// Parts the tree in bases below `base` and the rest.
static void split(struct node *n, uint64_t base, struct node **below, struct node **rest)
{
	while (n) {
		if (n->range.base < base) {
			*below = n;
			below = &n->right;
			n = n->right;
		} else {
			*rest = n;
			rest = &n->left;
			n = n->left;
		}
	}
	*below = NULL;
	*rest = NULL;
}

// All of a's bases are below b's.
static struct node *merge(struct node *a, struct node *b)
{
	struct node *top = NULL, **link = &top;

	while (a && b) {
		if (a->weight >= b->weight) {
			*link = a;
			link = &a->right;
			a = a->right;
		} else {
			*link = b;
			link = &b->left;
			b = b->left;
		}
	}
	*link = a ? a : b;
	return top;
}

static struct node **link_to(uint64_t base)
{
	struct node **link = &root;

	while (*link && (*link)->range.base != base)
		link = base < (*link)->range.base ? &(*link)->left : &(*link)->right;
	return link;
}

static void insert(struct node *n)
{
	struct node **link = &root;

	while (*link && (*link)->weight >= n->weight)
		link = n->range.base < (*link)->range.base ? &(*link)->left : &(*link)->right;
	split(*link, n->range.base, &n->left, &n->right);
	*link = n;
}

static void take_out(struct node **link, struct vc_range *ret)
{
	struct node *n = *link;

	assert(n);
	*link = merge(n->left, n->right);
	*ret = n->range;
	free(n);
}

int vc_range_add(const struct vc_range *range)
{
	struct node *n = malloc(sizeof(*n));
	int r = 0;

	if (!n)
		return -ENOMEM;
	n->range = *range;
	pthread_rwlock_wrlock(&lock);
	if (overlaps(range->base, range->bytes)) {
		r = -EEXIST;
	} else {
		n->range.id = next_id++;
		n->weight = random_weight();
		insert(n);
	}
	pthread_rwlock_unlock(&lock);
	if (r)
		free(n);
	return r;
}

int vc_range_find(uint64_t address, struct vc_range *ret)
{
	struct node *n;

	pthread_rwlock_rdlock(&lock);
	n = holding(address);
	if (n)
		*ret = n->range;
	pthread_rwlock_unlock(&lock);
	return n ? 0 : -ENOENT;
}

int vc_range_overlaps(uint64_t base, uint64_t bytes)
{
	int found;

	pthread_rwlock_rdlock(&lock);
	found = overlaps(base, bytes);
	pthread_rwlock_unlock(&lock);
	return found;
}

int vc_range_remove(uint64_t base, unsigned int kinds, struct vc_range *ret)
{
	struct node **link;
	int r = -ENOENT;

	pthread_rwlock_wrlock(&lock);
	link = link_to(base);
	if (*link && (kinds >> (*link)->range.kind & 1)) {
		take_out(link, ret);
		r = 0;
	}
	pthread_rwlock_unlock(&lock);
	return r;
}

// Depth is logarithmic with overwhelming likelihood, so recursion is shallow.
static struct node *find_owned(struct node *n, const void *owner)
{
	struct node *found;

	if (!n)
		return NULL;
	found = find_owned(n->left, owner);
	if (found)
		return found;
	return n->range.owner == owner ? n : find_owned(n->right, owner);
}

int vc_range_remove_owned(const void *owner, struct vc_range *ret)
{
	struct node *n;

	pthread_rwlock_wrlock(&lock);
	n = find_owned(root, owner);
	if (n)
		take_out(link_to(n->range.base), ret);
	pthread_rwlock_unlock(&lock);
	return n ? 0 : -ENOENT;
}

int vc_range_set_sync(uint64_t address, int sync)
{
	struct node *n;

	pthread_rwlock_wrlock(&lock);
	n = holding(address);
	if (n)
		n->range.sync_memops = sync;
	pthread_rwlock_unlock(&lock);
	return n ? 0 : -ENOENT;
}
