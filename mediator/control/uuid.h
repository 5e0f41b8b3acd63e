// SPDX-License-Identifier: Apache-2.0
// A GPU's uuid as NVIDIA's tools print it: GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx.
#ifndef VGPU_MEDIATOR_CONTROL_UUID_H
#define VGPU_MEDIATOR_CONTROL_UUID_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <strings.h>

#define UUID_TEXT_BYTES 41

static inline void uuid_print(const uint8_t uuid[16], char ret[static UUID_TEXT_BYTES])
{
	size_t n = (size_t)snprintf(ret, UUID_TEXT_BYTES, "GPU-");

	for (unsigned i = 0; i < 16; i++)
		n += (size_t)snprintf(ret + n, UUID_TEXT_BYTES - n, "%s%02x",
				      i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

static inline bool uuid_equal(const char *a, const char *b)
{
	return strcasecmp(a, b) == 0;
}

#endif
