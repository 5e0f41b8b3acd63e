// SPDX-License-Identifier: Apache-2.0
// What the null backend says of its device: figures of a large accelerator, so that programs start.
#ifndef VGPU_EXECUTOR_BACKENDS_NULL_NULL_DEVICE_H
#define VGPU_EXECUTOR_BACKENDS_NULL_NULL_DEVICE_H

#include <stdint.h>

#include "common/limits.h"
#include "protocol/guest/calls.h"

#define NULL_DEVICE_MEMORY VGPU_GIB(80)
#define NULL_SHARED_OPTIN  232448
#define NULL_LIMITS	   16u
#define NULL_LIMIT_MASK	   0x1f7u // limits 0-2, 4-8

void null_device_info(struct reply_device_info *ret);
void null_device_limits(uint64_t ret[NULL_LIMITS]);
void null_function_attributes(int32_t ret[16]);

// Blocks of block_threads threads with that much shared memory on one multiprocessor.
int32_t null_device_occupancy(uint32_t block_threads, uint64_t dynamic_shared);

#endif
