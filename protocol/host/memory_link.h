// SPDX-License-Identifier: Apache-2.0
// The memory link: a SOCK_SEQPACKET pair between a VM's stub and the executor of one of its channels. The
// stub says which pieces of guest memory the executor is to map at which address; the executor answers each
// request, in their order. One packet is one message, as on the host link (link.h: header, cookies, fds, byte
// order).
//
//   stub                                   executor
//     | MAP {extent list, guest memory} ----->|  mmap; the fds are closed at once
//     |<---------------------------------- DONE
//     | UNMAP ------------------------------->|  registrations undone when the device is idle, munmap
//     |<---------------------------------- DONE
//
// Each side takes what the other says as hostile: the executor may have been taken over by its tenant, and
// what the stub says comes from a guest.
#ifndef VGPU_PROTOCOL_HOST_MEMORY_LINK_H
#define VGPU_PROTOCOL_HOST_MEMORY_LINK_H

#include "protocol/host/link.h"

enum memory_link_type {
	MEMORY_MAP = 0x0701,   // fds: extent list, then guest memory
	MEMORY_UNMAP = 0x0702, // the whole of what one MAP mapped
	MEMORY_DONE = 0x0801,
};

// An extent list is a file of struct memory_extent, read once from its beginning.
struct memory_extent {
	uint32_t memory; // index among the guest memory fds of the packet
	uint32_t reserved;
	uint64_t offset, bytes; // in that file, whole pages
};
static_assert(sizeof(struct memory_extent) == 24, "wire");

struct memory_map {
	struct link_header header;
	uint64_t address; // of the guest's process, and here
	uint64_t bytes;	  // sum of the extents
	uint32_t extents;
	uint32_t reserved;
};
static_assert(sizeof(struct memory_map) == 40, "wire");

struct memory_unmap {
	struct link_header header;
	uint64_t address;
};
static_assert(sizeof(struct memory_unmap) == 24, "wire");

enum memory_result {
	MEMORY_OK = 0,
	MEMORY_INVALID = 1, // malformed, or about something that is not there
	MEMORY_LIMIT = 2,   // of common/limits.h
	MEMORY_ADDRESS = 3, // taken in the executor, or not a place for a program's memory
};

struct memory_done {
	struct link_header header; // cookie of the request
	uint32_t result;	   // enum memory_result
	uint32_t reserved;
};
static_assert(sizeof(struct memory_done) == 24, "wire");

#endif
