// SPDX-License-Identifier: Apache-2.0
// See the header. Used by the inventory in the mediator's loop, and by the unit tests.
#include "mediator/inventory/slot_id.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SHA1_BYTES 20
#define NAME_BYTES 512

// bb6cb8a3-ad08-490b-8223-d1e46458ce93, of this program alone. Another one would give every slot another
// uuid.
static const uint8_t slots_space[16] = { 0xbb, 0x6c, 0xb8, 0xa3, 0xad, 0x08, 0x49, 0x0b,
					 0x82, 0x23, 0xd1, 0xe4, 0x64, 0x58, 0xce, 0x93 };

int uuid_of_name(const uint8_t space[static 16], const void *name, size_t n, char ret[static VM_UUID_BYTES])
{
	uint8_t text[16 + NAME_BYTES], u[SHA1_BYTES];

	if (n > NAME_BYTES)
		return -ENAMETOOLONG;
	memcpy(text, space, 16);
	memcpy(text + 16, name, n);
	if (gnutls_hash_fast(GNUTLS_DIG_SHA1, text, 16 + n, u) < 0)
		return -EOPNOTSUPP; // forbidden by the host's policy
	u[6] = (uint8_t)((u[6] & 0x0f) | 0x50);
	vm_uuid_print(u, ret);
	return 0;
}

int slot_id(const char *machine, const char *gpu, const char *profile, uint32_t number,
	    char ret[static VM_UUID_BYTES])
{
	char name[NAME_BYTES];
	int n = snprintf(name, sizeof(name), "%s|%s|%s|%" PRIu32, machine, gpu, profile, number);

	if (n >= (int)sizeof(name))
		return -ENAMETOOLONG;
	return uuid_of_name(slots_space, name, (size_t)n, ret);
}
