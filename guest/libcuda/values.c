// SPDX-License-Identifier: Apache-2.0
// Values of the host's driver and the objects behind them; see the header. Runs in the guest program.
#include "guest/libcuda/values.h"

static struct vc_valued **bucket(struct vc_values *v, uint64_t value)
{
	return &v->buckets[((value * 0x9e3779b97f4a7c15ull) >> 32) % VC_VALUE_BUCKETS];
}

void vc_value_add(struct vc_values *v, struct vc_valued *object)
{
	struct vc_valued **b = bucket(v, object->value);

	pthread_mutex_lock(&v->lock);
	object->next = *b;
	*b = object;
	pthread_mutex_unlock(&v->lock);
}

struct vc_valued *vc_value_find(struct vc_values *v, uint64_t value)
{
	struct vc_valued *o;

	pthread_mutex_lock(&v->lock);
	for (o = *bucket(v, value); o && o->value != value; o = o->next)
		;
	pthread_mutex_unlock(&v->lock);
	return o;
}

struct vc_valued *vc_value_take(struct vc_values *v, uint64_t value)
{
	struct vc_valued **at, *o;

	pthread_mutex_lock(&v->lock);
	for (at = bucket(v, value); *at && (*at)->value != value; at = &(*at)->next)
		;
	o = *at;
	if (o)
		*at = o->next;
	pthread_mutex_unlock(&v->lock);
	return o;
}
