// SPDX-License-Identifier: Apache-2.0
// The PCI configuration space: 4096 bytes, and which bits of them a guest may write. The monitor keeps its
// own copy of BARs, MSI and the like and forwards every write; standard sizing of BARs works here all the
// same, since not every monitor takes sizes from elsewhere.
#ifndef VGPU_STUB_CONFIG_SPACE_H
#define VGPU_STUB_CONFIG_SPACE_H

#include <stdint.h>

#define CONFIG_SPACE_BYTES 4096u

struct config_space {
	uint8_t bytes[CONFIG_SPACE_BYTES];
	uint8_t writable[CONFIG_SPACE_BYTES]; // bit by bit
};

// For personalities: put a value of 1, 2 or 4 bytes, with the bits that can be written.
void config_space_put(struct config_space *c, uint32_t offset, unsigned width, uint32_t value,
		      uint32_t writable);

// Other ids than the personality's, also of the subsystem.
void config_space_identify(struct config_space *c, uint16_t vendor, uint16_t device);

// Any offset and count; what lies outside reads 0 and ignores writes.
void config_space_read(const struct config_space *c, uint64_t offset, void *to, uint32_t count);
void config_space_write(struct config_space *c, uint64_t offset, const void *from, uint32_t count);

#endif
