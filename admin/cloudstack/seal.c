// SPDX-License-Identifier: Apache-2.0
// Seals of installed files; see the header. Runs in vgpu-admin (install, uninstall, doctor).
#include "admin/cloudstack/seal.h"

#include <gnutls/crypto.h>
#include <stdbool.h>
#include <string.h>

#include "admin/text.h"
#include "common/cleanup.h"

#define MARK	   "# written by 'vgpu-admin cloudstack install'; SHA-256 of what is above: "
#define DIGEST	   32
#define MARK_BYTES (sizeof(MARK) - 1)
#define SEAL_BYTES (MARK_BYTES + 2 * DIGEST + 1) // with the newline

// The seal of the text, with its newline; to be freed.
static char *seal_of(const char *text, size_t n)
{
	unsigned char digest[DIGEST];
	char hex[2 * DIGEST + 1];

	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, text, n, digest) < 0)
		text_memory(NULL); // GnuTLS has had it since it is there
	for (size_t i = 0; i < DIGEST; i++)
		snprintf(&hex[2 * i], 3, "%02x", digest[i]);
	return text_print(MARK "%s\n", hex);
}

char *seal_add(const char *text, size_t n, size_t *ret_n)
{
	bool ends = n && text[n - 1] == '\n';
	size_t body = n + !ends;
	char *sealed = text_memory(malloc(body + SEAL_BYTES + 1));
	cleanup_free char *seal = NULL;

	memcpy(sealed, text, n);
	sealed[body - 1] = '\n';
	seal = seal_of(sealed, body);
	memcpy(sealed + body, seal, SEAL_BYTES + 1);
	*ret_n = body + SEAL_BYTES;
	return sealed;
}

enum seal seal_check(const char *text, size_t n)
{
	cleanup_free char *seal = NULL;

	if (!memmem(text, n, MARK, MARK_BYTES))
		return SEAL_NONE;
	if (n < SEAL_BYTES)
		return SEAL_BROKEN;
	seal = seal_of(text, n - SEAL_BYTES);
	return memcmp(text + n - SEAL_BYTES, seal, SEAL_BYTES) == 0 ? SEAL_WHOLE : SEAL_BROKEN;
}
