// SPDX-License-Identifier: Apache-2.0
// Objects that a program knows by a value of the host's driver, since its kernels use it out of memory where
// no handle could be translated: textures and surfaces. Finds what this library knows of such a value.
// Thread-safe.
#ifndef VGPU_LIBCUDA_VALUES_H
#define VGPU_LIBCUDA_VALUES_H

#include <pthread.h>
#include <stdint.h>

#include "guest/libcuda/handles.h"

#define VC_VALUE_BUCKETS 1024u

// First member of such an object.
struct vc_valued {
	struct vgpu_object object;
	struct vc_context *ctx;
	uint64_t value;
	struct vc_valued *next; // of its bucket
};

struct vc_values {
	pthread_mutex_t lock;
	struct vc_valued *buckets[VC_VALUE_BUCKETS];
};
#define VC_VALUES_INIT                     \
	{                                  \
		PTHREAD_MUTEX_INITIALIZER, \
		{                          \
			NULL               \
		}                          \
	}

void vc_value_add(struct vc_values *v, struct vc_valued *object);
// The object of that value, or NULL. Its memory stays even if another thread destroys it meanwhile.
struct vc_valued *vc_value_find(struct vc_values *v, uint64_t value);
// Takes it out, for only one of several threads: NULL for the others.
struct vc_valued *vc_value_take(struct vc_values *v, uint64_t value);

#endif
