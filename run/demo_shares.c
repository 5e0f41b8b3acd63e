// SPDX-License-Identifier: Apache-2.0
// Shares of the demo's tenants; see the header. Called by vgpu-demo and its unit test.
#include "run/demo_shares.h"

// A tenant counts as in demand if it was for this part of the interval: its programs start and end inside
// one.
#define NEARLY_ALL 0.95
#define LEAST_NS   1000000000ull // of one time without a gap

static bool all_in_demand(const struct demo_sample *from, const struct demo_sample *to)
{
	double wall = (double)(to->now_ns - from->now_ns);

	for (unsigned i = 0; i < DEMO_TENANTS; i++) {
		if ((double)(to->tenant[i].contended_ns - from->tenant[i].contended_ns) < NEARLY_ALL * wall)
			return false;
	}
	return true;
}

static void count(struct demo_shares *s, const struct demo_sample *from, const struct demo_sample *to)
{
	s->common_ns += to->now_ns - from->now_ns;
	for (unsigned i = 0; i < DEMO_TENANTS; i++)
		s->common_gpu_ns[i] += to->tenant[i].contended_gpu_ns - from->tenant[i].contended_gpu_ns;
}

void demo_shares_add(struct demo_shares *s, const struct demo_sample *sample)
{
	bool counted = s->gapless_ns >= LEAST_NS;

	if (s->started && sample->now_ns <= s->last.now_ns)
		return;
	if (!s->started || !all_in_demand(&s->last, sample))
		s->since = *sample;
	s->gapless_ns = sample->now_ns - s->since.now_ns;
	if (s->gapless_ns >= LEAST_NS)
		count(s, counted ? &s->last : &s->since, sample);
	s->last = *sample;
	s->started = true;
}

double demo_shares_target(const struct demo_shares *s, unsigned tenant)
{
	double sum = 0;

	for (unsigned i = 0; i < DEMO_TENANTS; i++)
		sum += s->weight[i];
	return s->weight[tenant] / sum;
}

double demo_shares_achieved(const struct demo_shares *s, unsigned tenant)
{
	double sum = 0;

	for (unsigned i = 0; i < DEMO_TENANTS; i++)
		sum += (double)s->common_gpu_ns[i];
	return sum > 0 ? (double)s->common_gpu_ns[tenant] / sum : 0;
}

double demo_shares_error(const struct demo_shares *s)
{
	double worst = 0;

	for (unsigned i = 0; i < DEMO_TENANTS; i++) {
		double off = 100 * (demo_shares_achieved(s, i) - demo_shares_target(s, i));

		if (off < 0)
			off = -off;
		if (off > worst)
			worst = off;
	}
	return worst;
}
