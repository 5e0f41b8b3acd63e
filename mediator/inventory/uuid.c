// SPDX-License-Identifier: Apache-2.0
// See the header. Used by the inventory in the mediator's loop, and by the unit tests.
#include "mediator/inventory/uuid.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define DIGITS "0123456789abcdefABCDEF"

static bool is_dash(unsigned place)
{
	return place == 8 || place == 13 || place == 18 || place == 23;
}

bool vm_uuid_parse(const char *text, char ret[static VM_UUID_BYTES])
{
	bool nil = true;

	if (strlen(text) != VM_UUID_BYTES - 1)
		return false;
	for (unsigned i = 0; i < VM_UUID_BYTES - 1; i++) {
		if (is_dash(i) ? text[i] != '-' : !strchr(DIGITS, text[i]))
			return false;
		nil &= text[i] == '0' || text[i] == '-';
	}
	if (nil)
		return false;
	for (unsigned i = 0; i < VM_UUID_BYTES; i++)
		ret[i] = (char)tolower((unsigned char)text[i]);
	return true;
}

int vm_uuid_make(char ret[static VM_UUID_BYTES])
{
	uint8_t u[16];

	if (getrandom(u, sizeof(u), GRND_NONBLOCK) != (ssize_t)sizeof(u))
		return errno ? -errno : -EIO;
	u[6] = (uint8_t)((u[6] & 0x0f) | 0x40); // version 4
	vm_uuid_print(u, ret);
	return 0;
}

void vm_uuid_print(const uint8_t bytes[static 16], char ret[static VM_UUID_BYTES])
{
	uint8_t u[16];
	size_t n = 0;

	memcpy(u, bytes, sizeof(u));
	u[8] = (uint8_t)((u[8] & 0x3f) | 0x80); // the variant of RFC 9562
	for (unsigned i = 0; i < sizeof(u); i++)
		n += (size_t)snprintf(ret + n, VM_UUID_BYTES - n, "%s%02x",
				      i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
}
