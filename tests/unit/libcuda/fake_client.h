// SPDX-License-Identifier: Apache-2.0
// A stand-in for guest/client with an executor inside, for tests of libcuda's parts: records are carried out
// at once in this process, on memory mapped where the windows are. Tests look at what was pushed, and may
// hold fences back.
#ifndef VGPU_TEST_FAKE_CLIENT_H
#define VGPU_TEST_FAKE_CLIENT_H

#include <stdint.h>

#include "protocol/guest/calls.h"

#define FAKE_MEMORY (96ull << 20) // bytes of device memory, and of the host window

struct fake {
	uint32_t counts[OPCODE_COUNT]; // records seen, by opcode
	struct record_launch launch;   // the last launch, and its tail
	uint8_t launch_tail[4096];
	uint32_t launch_tail_bytes;
	// The last question about clusters with its first attribute, the last tensor map.
	struct record_occupancy_clusters clusters;
	uint8_t clusters_attribute[72];
	struct record_tensor_map tensor_map;
	struct record_texture_create texture; // the last one
	uint64_t last_object;		      // value of the last texture or surface

	int hold_fences;	 // fences and watches wait until fake_release_fences
	int drop_fences;	 // they never come
	int deferred_after_wait; // becomes deferred when a wait times out
	int sticky, deferred, lost;
	int open_fails;
	int addresses_only;	      // device memory is not there, but plenty
	int fail_opcode, fail_result; // calls of this opcode answer this
	uint64_t waits;		      // how often a wait had to wait
};
extern struct fake fake;

// Stores the values that were held back, in order.
void fake_release_fences(void);

// Forgets counts and switches, not the memory.
void fake_reset(void);

#endif
