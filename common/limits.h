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
// Where a program has the host windows of clients beside libcuda's: behind all of these, gpu.window_offset
// included. Executors have nothing of their own there, for in a virtual machine pinned memory has the same
// address on both sides.
#define VGPU_APART_BEGIN 0x400000000000ull
#define VGPU_APART_END	 0x500000000000ull

// Sessions and channels.
#define VGPU_MAX_TENANTS	     1024
#define VGPU_MAX_CHANNELS_PER_TENANT 64
#define VGPU_MAX_LINK_BACKLOG	     64 // packets a client may leave unread before it is closed
#define VGPU_MAX_WARM		     64 // executors that wait for a tenant
#define VGPU_MAX_HELLO_WAIT_NS	     5000000000ull
#define VGPU_MAX_LINK_PACKETS_PER_S  1000
#define VGPU_MAX_DEVICE_ASKS_PER_S   100	   // DEVICE of one link
#define VGPU_MAX_TENANT_ASKS_PER_S   1000	   // and of all links of a tenant
#define VGPU_MAX_DEVICE_WAIT_NS	     8000000000ull // DEVICE is answered by then, with what is known
#define VGPU_MIN_WEIGHT		     1
#define VGPU_MAX_WEIGHT		     10000
#define VGPU_MAX_NAME		     63 // bytes of a tenant's name, without the terminator
#define VGPU_MAX_STORED_TENANTS \
	65536 // that the store tells apart; usage of further ones is booked as "others"

// Pools, profiles and the control socket (operators).
#define VGPU_MAX_POOLS			64
#define VGPU_MAX_PROFILES		64
#define VGPU_MAX_VMS			2048		 // that the inventory knows
#define VGPU_MAX_SLOTS			1024		 // vGPUs of the inventory
#define VGPU_MAX_DRAIN_S		2592000ull	 // that channels may be left when the host is drained
#define VGPU_MAX_POLICY_NAME		40		 // bytes of a pool's or profile's name
#define VGPU_MAX_RATE			1000000000000ull // launches or bytes a second that a limit can be
#define VGPU_MAX_QUEUE_DEPTH		512
#define VGPU_MAX_CONTROL_LINKS		32
#define VGPU_MAX_CONTROL_LINE		16384 // bytes of a request
#define VGPU_MAX_CONTROL_DEPTH		4     // objects and lists inside of one another
#define VGPU_MAX_CONTROL_REQUESTS_PER_S 1000  // of one connection

// The HTTP API, each of its doors (unix socket, TCP) by itself.
#define VGPU_MAX_API_LINKS	    64		   // connections
#define VGPU_MAX_API_VIEWER_LINKS   32		   // of them by those who may only look (unix socket)
#define VGPU_MAX_API_ADDRESS_LINKS  32		   // of them from one address (TCP)
#define VGPU_MAX_API_TURNED_AWAY    8		   // beyond them, which are only told so
#define VGPU_MAX_API_BODY	    16384	   // bytes of a request's body
#define VGPU_MAX_API_HEAD	    16384	   // and of its line and header together
#define VGPU_MAX_API_QUERY	    16		   // parameters of a request
#define VGPU_MAX_API_REQUESTS_PER_S 200		   // of one connection
#define VGPU_MAX_API_REQUEST_NS	    10000000000ull // from the connection, or the last answer, to all of a request
#define VGPU_MAX_API_WAIT_NS	    600000000000ull // for an operation that answers later
#define VGPU_MAX_API_ANSWER_NS	    60000000000ull  // to take an answer
#define VGPU_MAX_API_TOKENS	    256		    // lines of api.tokens
#define VGPU_MAX_API_TOKEN	    256		    // bytes of one
#define VGPU_MAX_API_FILE	    VGPU_MIB(1)	    // of api.tokens, api.certificate, api.key

// Events, as long as the mediator has them in mind.
#define VGPU_MAX_HELD_EVENTS	    1024 // each of those that come often and those that do not
#define VGPU_MAX_OFTEN_EVENTS_PER_S 100
#define VGPU_MAX_EVENTS_ASKED	    1000
#define VGPU_MAX_EVENT_LISTENERS    32
#define VGPU_MAX_EVENT_LAG	    512 // events that a listener may be behind before it is cut off

// What is told about tenants (/metrics): those with samples of their own, the oldest.
#define VGPU_MAX_METRIC_TENANTS 256

// What the executors of one tenant share with each other (IPC), as the mediator keeps it.
#define VGPU_MAX_SHARES	    4096 // of a tenant: keys
#define VGPU_MAX_SHARE_USES 8192 // of a tenant: takers of all keys
#define VGPU_MAX_SHARE_FDS  512	 // of a tenant; all tenants together get half of what the mediator may open

// One channel.
#define VGPU_RING_BYTES	       VGPU_MIB(1)
#define VGPU_RECORD_MAX	       VGPU_KIB(64) // header and padding included
#define VGPU_REPLY_SLOTS       128
#define VGPU_REPLY_SLOT_BYTES  VGPU_KIB(8)
#define VGPU_FENCE_SLOTS       65536 // one for each live stream, event or host function
#define VGPU_ARENA_BYTES       VGPU_MIB(32)
#define VGPU_HOST_WINDOW_LIMIT VGPU_GIB(64) // arena and pinned memory of one channel
#define VGPU_MAX_HOST_RANGES   4096

// Virtual machines: what a guest may ask of its stub and executors. Counts of channels, commands and extents
// of one command stand in protocol/guest/vgpu_pci.h.
#define VGPU_MIN_VM_ARENA     VGPU_KIB(64)
#define VGPU_MAX_VM_MAPS      4096	   // MAPs of one channel that are held
#define VGPU_MAX_VM_PIECES    32768	   // and their pieces: each takes a mapping of the process's 65530
#define VGPU_MAX_VM_MAP_BYTES VGPU_GIB(64) // and their bytes, together
#define VGPU_MAX_DMA_MAPS     65535	   // ranges of a VM's memory that its VMM tells the stub
#define VGPU_MAX_DMA_FILES    64	   // and the files they lie in

// Objects of one channel. The index part of a handle is below its kind's limit.
#define VGPU_MAX_STREAMS     4096
#define VGPU_MAX_EVENTS	     32768
#define VGPU_MAX_MODULES     4096
#define VGPU_MAX_FUNCTIONS   65536
#define VGPU_MAX_BLOBS	     16
#define VGPU_MAX_GRAPHS	     4096
#define VGPU_MAX_ARRAYS	     65536 // with the levels of mipmapped arrays that were asked for
#define VGPU_MAX_MIPMAPS     4096
#define VGPU_MAX_TEXTURES    65536 // texture objects; the cpu backend's kernels index a table of so many
#define VGPU_MAX_SURFACES    65536
#define VGPU_MAX_GRAPH_NODES 262144 // of one executable graph
#define VGPU_MAX_GRAPH_EDGES 1048576
#define VGPU_MAX_GRAPH_BYTES VGPU_GIB(1) // of the descriptions of all graphs of a channel

// Of these kinds a tenant's own limit may be lower (limits.streams, ... of the mediator's settings).
enum vgpu_object_limit {
	VGPU_OBJECTS_STREAMS,
	VGPU_OBJECTS_EVENTS,
	VGPU_OBJECTS_MODULES,
	VGPU_OBJECTS_FUNCTIONS,
	VGPU_OBJECTS_GRAPHS,
	VGPU_OBJECTS_ARRAYS,
	VGPU_OBJECTS_MIPMAPS,
	VGPU_OBJECTS_TEXTURES,
	VGPU_OBJECTS_SURFACES,
	VGPU_OBJECTS_PHYSICAL,
	VGPU_OBJECT_LIMITS,
};

#define VGPU_MAX_GRAPH_DEPTH	16   // conditional nodes inside of one another's bodies
#define VGPU_MAX_BODIES		1024 // of one conditional node
#define VGPU_MAX_CONDITIONS	1024 // of one graph
#define VGPU_MAX_CONDITION_SETS 4096 // graphs that have conditions

#define VGPU_MAX_ALLOCATIONS   1048576
#define VGPU_MAX_ARRAY_BYTES   VGPU_TIB(1) // of one array; what all hold is the quota's business
#define VGPU_MAX_RESERVATIONS  4096	   // of addresses (cuMemAddressReserve)
#define VGPU_MAX_PHYSICAL      65536	   // pieces of memory without an address (cuMemCreate)
#define VGPU_MAX_IMAGE_BYTES   VGPU_GIB(1)
#define VGPU_MAX_IMAGES_BYTES  VGPU_GIB(4) // all images of a channel that are held at once
#define VGPU_MAX_IMAGE_SYMBOLS 1048576	   // kernels, and variables, of one image (cpu backend)
#define VGPU_MAX_IMAGE_ENTRIES 65536	   // of one file that vgpu-admin image tells
#define VGPU_MAX_IMAGE_LISTED  262144	   // and its kernels, parameters and variables, together
#define VGPU_MAX_LINK_INPUTS   256
#define VGPU_MAX_SYMBOL	       4096  // bytes of a kernel's or global's name
#define VGPU_MAX_PARAM_BYTES   32764 // kernel parameters, CUDA 12.1 and later on sm_70 and up
#define VGPU_MAX_LAUNCH_ATTRS  16
#define VGPU_MAX_JIT_LOG       VGPU_KIB(4)
#define VGPU_MAX_WATCHES       VGPU_MAX_EVENTS
#define VGPU_MAX_LOG_LINE      512	   // bytes of tenant-caused text in one log line
#define VGPU_MAX_PRINT_BYTES   VGPU_MIB(1) // kernels' text that waits for the guest
#define VGPU_MAX_LAST_WORDS    VGPU_KIB(4)

#define VGPU_MAX_COMPLAINT_BYTES VGPU_KIB(64) // what a driver writes to stderr between two looks

#endif
