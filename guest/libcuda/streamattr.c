// SPDX-License-Identifier: Apache-2.0
// Attributes of streams. The device's driver judges a new value; what it took is kept here for questions, for
// copies, and for kernels that are captured, whose nodes carry what their stream gave them. Runs in the guest
// program.
#include <string.h>

#include "common/limits.h"
#include "guest/client/calls_gen.h"
#include "guest/libcuda/libcuda.h"
#include "protocol/guest/launch_attributes.h"

#define SYNC_POLICY_UNSET (-1) // what the driver tells of a stream that was never given one
#define REMOTE_DOMAIN	  1    // the default map: local 0, remote 1, a byte each

static const uint8_t places[VC_STREAM_ATTRIBUTES] = {
	CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW,
	CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY,
	CU_LAUNCH_ATTRIBUTE_PRIORITY,
	CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP,
	CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN,
};

static unsigned int place_of(CUlaunchAttributeID id)
{
	unsigned int i = 0;

	while (i < VC_STREAM_ATTRIBUTES && places[i] != id)
		i++;
	return i;
}

// Under the stream's lock.
static void get(const struct vc_stream *s, unsigned int place, CUlaunchAttributeValue *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (s->attributes.set >> place & 1)
		*ret = s->attributes.values[place];
	else if (places[place] == CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY)
		ret->priority = SYNC_POLICY_UNSET; // an int, like this one
	else if (places[place] == CU_LAUNCH_ATTRIBUTE_PRIORITY)
		ret->priority = s->priority;
	else if (places[place] == CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP)
		ret->pad[1] = REMOTE_DOMAIN;
}

// Under the stream's lock.
static CUresult set(struct vc_stream *s, unsigned int place, const CUlaunchAttributeValue *value)
{
	struct record_stream_set record = { .stream = s->handle, .attribute = places[place] };
	CUresult result;

	memcpy(record.value, value, sizeof(record.value));
	result = (CUresult)vgpu_call_stream_set(vc_client, &record);
	if (result)
		return result;
	s->attributes.values[place] = *value;
	s->attributes.set |= 1u << place;
	if (places[place] == CU_LAUNCH_ATTRIBUTE_PRIORITY)
		s->priority = value->priority;
	return CUDA_SUCCESS;
}

unsigned int vc_stream_attributes_of(struct vc_stream *s, CUlaunchAttribute *list, unsigned int n)
{
	pthread_mutex_lock(&s->lock);
	for (unsigned int place = 0; place < VC_STREAM_ATTRIBUTES && n < VGPU_MAX_LAUNCH_ATTRS; place++) {
		int priority = places[place] == CU_LAUNCH_ATTRIBUTE_PRIORITY && s->priority;
		unsigned int i = 0;

		while (i < n && list[i].id != places[place])
			i++;
		if (i < n || !launch_attribute_travels(places[place]) ||
		    !(priority || (s->attributes.set >> place & 1)))
			continue;
		memset(&list[n], 0, sizeof(list[n]));
		list[n].id = places[place];
		get(s, place, &list[n++].value);
	}
	pthread_mutex_unlock(&s->lock);
	return n;
}

static CUresult enter(CUstream stream, struct vc_stream **ret)
{
	struct vc_context *ctx;
	CUresult result = vc_enter(&ctx);

	return result ? result : vc_stream_resolve_any(stream, ret);
}

CUresult cuStreamGetAttribute(CUstream stream, CUlaunchAttributeID id, CUlaunchAttributeValue *value)
{
	unsigned int place = place_of(id);
	struct vc_stream *s;
	CUresult result = enter(stream, &s);

	if (result)
		return result;
	if (place == VC_STREAM_ATTRIBUTES || !value)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&s->lock);
	get(s, place, value);
	pthread_mutex_unlock(&s->lock);
	return CUDA_SUCCESS;
}

CUresult cuStreamSetAttribute(CUstream stream, CUlaunchAttributeID id, const CUlaunchAttributeValue *value)
{
	unsigned int place = place_of(id);
	struct vc_stream *s;
	CUresult result = enter(stream, &s);

	if (result)
		return result;
	if (place == VC_STREAM_ATTRIBUTES || !value)
		return CUDA_ERROR_INVALID_VALUE;
	pthread_mutex_lock(&s->lock);
	result = set(s, place, value);
	pthread_mutex_unlock(&s->lock);
	return result;
}

CUresult cuStreamCopyAttributes(CUstream dst, CUstream src)
{
	struct vc_stream_attributes copy;
	struct vc_stream *to, *from;
	CUresult result = enter(dst, &to);

	if (!result)
		result = vc_stream_resolve_any(src, &from);
	if (result)
		return result;
	pthread_mutex_lock(&from->lock);
	copy = from->attributes;
	pthread_mutex_unlock(&from->lock);
	pthread_mutex_lock(&to->lock);
	for (unsigned int place = 0; !result && place < VC_STREAM_ATTRIBUTES; place++)
		if (copy.set >> place & 1)
			result = set(to, place, &copy.values[place]);
	pthread_mutex_unlock(&to->lock);
	return result;
}
