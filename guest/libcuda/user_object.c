// SPDX-License-Identifier: Apache-2.0
// User objects: something of the program's that lives as long as graphs use it, then is destroyed by the
// program's own function. Runs in the guest program, in the thread that gave the last reference up; under
// vc_graph_lock except where said.
#include <stdlib.h>

#include "guest/libcuda/graph.h"

void vc_user_object_release(uint64_t handle, unsigned int count)
{
	struct vc_user_object *o = vc_object_find(VC_USER_OBJECT, handle);
	CUhostFn destroy;
	void *ptr;

	if (!o)
		return;
	o->references -= count < o->references ? count : o->references;
	if (o->references)
		return;
	destroy = o->destroy;
	ptr = o->ptr;
	vc_object_free(VC_USER_OBJECT, o);
	destroy(ptr); // may make no CUDA calls (the driver's rule)
}

int vc_user_object_retain(uint64_t handle, unsigned int count)
{
	struct vc_user_object *o = vc_object_find(VC_USER_OBJECT, handle);

	if (!o)
		return -1;
	o->references += count;
	return 0;
}

CUresult cuUserObjectCreate(CUuserObject *ret, void *ptr, CUhostFn destroy, unsigned int references,
			    unsigned int flags)
{
	struct vc_user_object *o;
	CUresult result = vc_graph_enter();

	if (result)
		return result;
	if (!ret || !destroy || !references || flags != CU_USER_OBJECT_NO_DESTRUCTOR_SYNC)
		return vc_graph_leave(CUDA_ERROR_INVALID_VALUE);
	o = vc_object_new(VC_USER_OBJECT);
	if (o) {
		o->ptr = ptr;
		o->destroy = destroy;
		o->references = references;
		vc_object_publish(VC_USER_OBJECT, o);
		*ret = (CUuserObject)(uintptr_t)vc_object_handle(VC_USER_OBJECT, o);
	}
	return vc_graph_leave(o ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY);
}

CUresult cuUserObjectRetain(CUuserObject object, unsigned int count)
{
	CUresult result = vc_graph_enter();

	if (result)
		return result;
	if (!count || vc_user_object_retain((uint64_t)(uintptr_t)object, count))
		result = CUDA_ERROR_INVALID_VALUE;
	return vc_graph_leave(result);
}

CUresult cuUserObjectRelease(CUuserObject object, unsigned int count)
{
	uint64_t handle = (uint64_t)(uintptr_t)object;
	CUresult result = vc_graph_enter();

	if (result)
		return result;
	if (!count || !vc_object_find(VC_USER_OBJECT, handle))
		result = CUDA_ERROR_INVALID_VALUE;
	else
		vc_user_object_release(handle, count);
	return vc_graph_leave(result);
}

static struct vc_user_reference *reference_of(struct vc_graph *g, uint64_t object)
{
	struct vc_user_reference *r;

	SLIST_FOREACH(r, &g->users, next)
	if (r->object == object)
		return r;
	return NULL;
}

// Moved: the caller's references become the graph's. Else the graph gets its own.
static CUresult retain(struct vc_graph *g, uint64_t object, unsigned int count, unsigned int flags)
{
	struct vc_user_reference *r = reference_of(g, object);

	if (!vc_object_find(VC_USER_OBJECT, object) || !count)
		return CUDA_ERROR_INVALID_VALUE;
	if (!r) {
		r = calloc(1, sizeof(*r));
		if (!r)
			return CUDA_ERROR_OUT_OF_MEMORY;
		r->object = object;
		SLIST_INSERT_HEAD(&g->users, r, next);
	}
	r->count += count;
	if (!(flags & CU_GRAPH_USER_OBJECT_MOVE))
		vc_user_object_retain(object, count);
	return CUDA_SUCCESS;
}

CUresult cuGraphRetainUserObject(CUgraph graph, CUuserObject object, unsigned int count, unsigned int flags)
{
	struct vc_graph *g;
	CUresult result = vc_graph_enter();

	if (result)
		return result;
	g = vc_graph_find(graph);
	result = g && !(flags & ~CU_GRAPH_USER_OBJECT_MOVE)
		     ? retain(g, (uint64_t)(uintptr_t)object, count, flags)
		     : CUDA_ERROR_INVALID_VALUE;
	return vc_graph_leave(result);
}

CUresult cuGraphReleaseUserObject(CUgraph graph, CUuserObject object, unsigned int count)
{
	struct vc_user_reference *r;
	struct vc_graph *g;
	CUresult result = vc_graph_enter();

	if (result)
		return result;
	g = vc_graph_find(graph);
	r = g ? reference_of(g, (uint64_t)(uintptr_t)object) : NULL;
	if (!r || !count || count > r->count) {
		result = CUDA_ERROR_INVALID_VALUE;
	} else {
		r->count -= count;
		vc_user_object_release(r->object, count);
		if (!r->count) {
			SLIST_REMOVE(&g->users, r, vc_user_reference, next);
			free(r);
		}
	}
	return vc_graph_leave(result);
}
