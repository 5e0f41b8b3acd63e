/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
// Which attributes of cuLaunchKernelEx travel in a launch record. Their values are numbers; those that hold
// events, graph nodes or pointers of the guest's process mean nothing on the host. The access policy window's
// address is a hint on device memory. The guest refuses the others, and the executor refuses whoever sends
// them all the same.
#ifndef VGPU_PROTOCOL_GUEST_LAUNCH_ATTRIBUTES_H
#define VGPU_PROTOCOL_GUEST_LAUNCH_ATTRIBUTES_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/cuda/cuda_abi.h"

static inline bool launch_attribute_travels(uint32_t id)
{
	switch (id) {
	case CU_LAUNCH_ATTRIBUTE_IGNORE:
	case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
	case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
	case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
	case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
	case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
	case CU_LAUNCH_ATTRIBUTE_PRIORITY:
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
	case CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION:
	case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
	case CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING: return true;
	default: return false;
	}
}

// Those that a stream has; they count for the kernels given to it.
static inline bool stream_attribute_travels(uint32_t id)
{
	switch (id) {
	case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
	case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
	case CU_LAUNCH_ATTRIBUTE_PRIORITY:
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN: return true;
	default: return false;
	}
}

#endif
