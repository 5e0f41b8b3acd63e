// SPDX-License-Identifier: Apache-2.0
// Configuration space; see the header. A BAR's size is nothing but its writable bits: all ones written, the
// mask comes back.
#include "stub/config_space.h"

#include <assert.h>
#include <string.h>

void config_space_put(struct config_space *c, uint32_t offset, unsigned width, uint32_t value,
		      uint32_t writable)
{
	assert(width <= 4 && offset + width <= CONFIG_SPACE_BYTES);
	for (unsigned i = 0; i < width; i++) {
		c->bytes[offset + i] = (uint8_t)(value >> 8 * i);
		c->writable[offset + i] = (uint8_t)(writable >> 8 * i);
	}
}

void config_space_identify(struct config_space *c, uint16_t vendor, uint16_t device)
{
	config_space_put(c, 0x00, 2, vendor, 0);
	config_space_put(c, 0x02, 2, device, 0);
	config_space_put(c, 0x2c, 2, vendor, 0);
	config_space_put(c, 0x2e, 2, device, 0);
}

void config_space_read(const struct config_space *c, uint64_t offset, void *to, uint32_t count)
{
	uint32_t n = offset >= CONFIG_SPACE_BYTES		     ? 0
		     : count < CONFIG_SPACE_BYTES - (uint32_t)offset ? count
								     : CONFIG_SPACE_BYTES - (uint32_t)offset;

	memcpy(to, c->bytes + (n ? offset : 0), n);
	memset((uint8_t *)to + n, 0, count - n);
}

void config_space_write(struct config_space *c, uint64_t offset, const void *from, uint32_t count)
{
	const uint8_t *p = from;

	for (uint32_t i = 0; i < count && offset + i < CONFIG_SPACE_BYTES; i++) {
		uint8_t mask = c->writable[offset + i];

		c->bytes[offset + i] = (uint8_t)((c->bytes[offset + i] & ~mask) | (p[i] & mask));
	}
}
