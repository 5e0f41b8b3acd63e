// SPDX-License-Identifier: Apache-2.0
// The identity device of the nvidia personality: what a VM sees of an H100 on its PCI bus, beside vgpu's own
// device that does the work. It has no memory, raises no interrupt and reads none of the VM's memory; drivers
// find the ids, sizes and registers that they identify the chip by, and a clock. Pure; docs/decisions/0030.
#ifndef VGPU_STUB_PERSONALITY_NVIDIA_H
#define VGPU_STUB_PERSONALITY_NVIDIA_H

#include <stdbool.h>
#include <stdint.h>

#include "stub/config_space.h"
#include "stub/personality/touched.h"

#define NVIDIA_BAR0_BYTES	  (16ull << 20)
#define NVIDIA_BAR2_BYTES	  (32ull << 20)
#define NVIDIA_BAR1_LEAST_BYTES	  (64ull << 20)
#define NVIDIA_BAR1_MOST_BYTES	  (128ull << 30) // of a board with 80 GB
#define NVIDIA_BAR1_DEFAULT_BYTES (512ull << 20)

struct nvidia_model {
	const char *name; // on the command line
	uint16_t device, subsystem;
	uint64_t memory_mib; // that a driver finds where nothing else is said
};

const struct nvidia_model *nvidia_model_find(const char *name); // NULL: there is none
const struct nvidia_model *nvidia_model_default(void);

// What is said of one device. Fixed while a monitor has it.
struct nvidia_setup {
	const struct nvidia_model *model;
	uint64_t bar1_bytes;   // a power of two
	uint64_t memory_bytes; // 0: the model's
	uint64_t serial;       // 0: none is shown
};

struct nvidia {
	struct nvidia_setup setup;
	struct config_space config;
	uint64_t started_ns;	// of the clock that the guest reads
	uint32_t flush_page[2]; // where the driver wants reads flushed to; kept for it, never used
	struct touched touched;
};

// As after power-on. What was touched stays counted.
void nvidia_reset(struct nvidia *d, uint64_t now_ns);

// Bytes of a region (enum vfio_user_region); 0: none.
uint64_t nvidia_region_bytes(const struct nvidia *d, uint32_t region);

// Any region, offset and count; fills all of to.
void nvidia_read(struct nvidia *d, uint64_t now_ns, uint32_t region, uint64_t offset, void *to,
		 uint32_t count);
void nvidia_write(struct nvidia *d, uint64_t now_ns, uint32_t region, uint64_t offset, const void *from,
		  uint32_t count);

// ---- between the files

void nvidia_config(struct config_space *c, const struct nvidia_setup *setup); // c is all zero

// A word of BAR0.
uint32_t nvidia_register(const struct nvidia *d, uint64_t now_ns, uint32_t offset);
void nvidia_set_register(struct nvidia *d, uint32_t offset, uint32_t value);
// "" where nothing is known of it.
const char *nvidia_register_name(uint32_t offset);

#endif
