// SPDX-License-Identifier: Apache-2.0
// A list of the ranges that have advice, in the order of addresses; ranges that nothing was said about are
// not in it. Runs in the guest program; one lock.
#include "guest/libcuda/advice.h"

#include <pthread.h>
#include <stdlib.h>

struct part {
	struct part *next;
	uint64_t base, end;
	struct vc_advice advice;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct part *parts;

struct vc_advice vc_advice_none(void)
{
	const CUmemLocation nowhere = { 0, CU_DEVICE_INVALID_ID };

	return (struct vc_advice){ .preferred = nowhere, .prefetched = nowhere };
}

// The link to the first part that ends behind the address.
static struct part **behind(uint64_t address)
{
	struct part **link = &parts;

	while (*link && (*link)->end <= address)
		link = &(*link)->next;
	return link;
}

static int insert(struct part **link, uint64_t base, uint64_t end, struct vc_advice advice)
{
	struct part *p = malloc(sizeof(*p));

	if (!p)
		return -1;
	*p = (struct part){ .next = *link, .base = base, .end = end, .advice = advice };
	*link = p;
	return 0;
}

// Makes the address a border of parts.
static int split(uint64_t address)
{
	struct part *p = *behind(address);

	if (!p || p->base >= address)
		return 0;
	if (insert(&p->next, address, p->end, p->advice))
		return -1;
	p->end = address;
	return 0;
}

// Parts without advice where nothing is.
static int fill(uint64_t base, uint64_t end)
{
	struct part **link = behind(base);

	for (; base < end; link = &(*link)->next) {
		uint64_t until = *link && (*link)->base < end ? (*link)->base : end;

		if (until > base) {
			if (insert(link, base, until, vc_advice_none()))
				return -1;
		}
		base = (*link)->end;
	}
	return 0;
}

CUresult vc_advice_change(uint64_t base, uint64_t bytes, void (*change)(struct vc_advice *, const void *arg),
			  const void *arg)
{
	uint64_t end = base + bytes;
	int failed;

	pthread_mutex_lock(&lock);
	failed = split(base) || split(end) || fill(base, end);
	for (struct part *p = *behind(base); !failed && p && p->base < end; p = p->next)
		change(&p->advice, arg);
	pthread_mutex_unlock(&lock);
	return failed ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

static CUmemLocation same(CUmemLocation a, CUmemLocation b)
{
	return a.type == b.type && a.id == b.id ? a : vc_advice_none().preferred;
}

struct vc_advice vc_advice_common(uint64_t base, uint64_t bytes)
{
	struct vc_advice common = vc_advice_none();
	uint64_t at = base, end = base + bytes;

	pthread_mutex_lock(&lock);
	for (struct part *p = *behind(base); p && p->base <= at && at < end; p = p->next) {
		if (at == base)
			common = p->advice;
		common.read_mostly &= p->advice.read_mostly;
		common.by_device &= p->advice.by_device;
		common.by_host &= p->advice.by_host;
		common.preferred = same(common.preferred, p->advice.preferred);
		common.prefetched = same(common.prefetched, p->advice.prefetched);
		at = p->end;
	}
	pthread_mutex_unlock(&lock);
	return at < end ? vc_advice_none() : common;
}

void vc_advice_forget(uint64_t base, uint64_t bytes)
{
	struct part **link;

	pthread_mutex_lock(&lock);
	link = behind(base);
	while (*link && (*link)->base < base + bytes) { // parts never reach beyond their allocation
		struct part *p = *link;

		*link = p->next;
		free(p);
	}
	pthread_mutex_unlock(&lock);
}
