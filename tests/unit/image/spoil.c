// SPDX-License-Identifier: Apache-2.0
// Spoilt files for tests; see the header.
#include "tests/unit/image/spoil.h"

#include <stdlib.h>
#include <string.h>

static void read_copy(const void *file, size_t bytes, void (*read)(const void *file, size_t bytes))
{
	void *copy = malloc(bytes ? bytes : 1);

	memcpy(copy, file, bytes);
	read(copy, bytes);
	free(copy);
}

void spoil(const void *file, size_t bytes, void (*read)(const void *file, size_t bytes))
{
	static const unsigned char changes[] = { 0x01, 0x08, 0x40, 0x80, 0xff };
	unsigned char *changed = malloc(bytes);

	for (size_t n = 0; n <= bytes; n++)
		read_copy(file, n, read);
	for (size_t at = 0; at < bytes; at++) {
		for (size_t i = 0; i < sizeof(changes); i++) {
			memcpy(changed, file, bytes);
			changed[at] ^= changes[i];
			read_copy(changed, bytes, read);
		}
	}
	// A number of eight bytes that is wild.
	for (size_t at = 0; at + 8 <= bytes; at += 4) {
		memcpy(changed, file, bytes);
		memset(changed + at, 0xff, 8);
		read_copy(changed, bytes, read);
	}
	free(changed);
}
