// SPDX-License-Identifier: Apache-2.0
// Every ceiling on a quantity that a tenant can choose, in one place. Whoever checks one of these names it in
// its error text, so that an operator who meets the text finds the number here. Sizes are bytes.
#ifndef VGPU_COMMON_LIMITS_H
#define VGPU_COMMON_LIMITS_H

#include <stdint.h>

#define VGPU_KIB(n) ((uint64_t)(n) << 10)
#define VGPU_MIB(n) ((uint64_t)(n) << 20)
#define VGPU_GIB(n) ((uint64_t)(n) << 30)
#define VGPU_TIB(n) ((uint64_t)(n) << 40)

// Address windows (design.md 2): the same on both sides, far from where programs live.
#define VGPU_SCRATCH_WINDOW_BASE 0x100000000000ull // cpu backend: shared and local memory of running blocks
#define VGPU_HOST_WINDOW_BASE	 0x200000000000ull // host memory that the GPU may touch
#define VGPU_DEVICE_WINDOW_BASE	 0x300000000000ull // device memory
#define VGPU_WINDOW_BYTES	 VGPU_TIB(1)

// Sessions and channels.
#define VGPU_MAX_TENANTS	     1024
#define VGPU_MAX_CHANNELS_PER_TENANT 64
#define VGPU_MAX_LINK_BACKLOG	     64 // packets a client may leave unread before it is closed
#define VGPU_MAX_HELLO_WAIT_NS	     5000000000ull
#define VGPU_MAX_LINK_PACKETS_PER_S  1000
#define VGPU_MIN_WEIGHT		     1
#define VGPU_MAX_WEIGHT		     10000
#define VGPU_MAX_NAME		     63 // bytes of a tenant's name, without the terminator

// One channel.
#define VGPU_RING_BYTES	       VGPU_MIB(1)
#define VGPU_RECORD_MAX	       VGPU_KIB(64) // header and padding included
#define VGPU_REPLY_SLOTS       128
#define VGPU_REPLY_SLOT_BYTES  VGPU_KIB(8)
#define VGPU_FENCE_SLOTS       65536 // one for each live stream, event or host function
#define VGPU_ARENA_BYTES       VGPU_MIB(32)
#define VGPU_HOST_WINDOW_LIMIT VGPU_GIB(64) // arena and pinned memory of one channel
#define VGPU_MAX_HOST_RANGES   4096

// Objects of one channel. The index part of a handle is below its kind's limit.
#define VGPU_MAX_STREAMS     4096
#define VGPU_MAX_EVENTS	     32768
#define VGPU_MAX_MODULES     4096
#define VGPU_MAX_FUNCTIONS   65536
#define VGPU_MAX_BLOBS	     16
#define VGPU_MAX_GRAPHS	     4096
#define VGPU_MAX_GRAPH_NODES 262144 // of one executable graph
#define VGPU_MAX_GRAPH_EDGES 1048576
#define VGPU_MAX_GRAPH_BYTES VGPU_GIB(1) // of the descriptions of all graphs of a channel

#define VGPU_MAX_ALLOCATIONS  1048576
#define VGPU_MAX_RESERVATIONS 4096 // of addresses (cuMemAddressReserve)
#define VGPU_MAX_IMAGE_BYTES  VGPU_GIB(1)
#define VGPU_MAX_IMAGES_BYTES VGPU_GIB(4) // all images of a channel that are held at once
#define VGPU_MAX_SYMBOL	      4096	  // bytes of a kernel's or global's name
#define VGPU_MAX_PARAM_BYTES  32764	  // kernel parameters, CUDA 12.1 and later on sm_70 and up
#define VGPU_MAX_LAUNCH_ATTRS 16
#define VGPU_MAX_JIT_LOG      VGPU_KIB(4)
#define VGPU_MAX_WATCHES      VGPU_MAX_EVENTS
#define VGPU_MAX_LOG_LINE     512	  // bytes of tenant-caused text in one log line
#define VGPU_MAX_PRINT_BYTES  VGPU_MIB(1) // kernels' text that waits for the guest
#define VGPU_MAX_LAST_WORDS   VGPU_KIB(4)

#endif
