// SPDX-License-Identifier: Apache-2.0
// Bearer tokens: who may use the API over the network. Kept as SHA-256, so that the file does not give
// anybody access. Pure, but for reading the file.
#ifndef VGPU_MEDIATOR_API_TOKENS_H
#define VGPU_MEDIATOR_API_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/limits.h"

#define TOKEN_HASH_BYTES 32

struct api_token {
	char name[VGPU_MAX_POLICY_NAME + 1];
	bool admin; // else a viewer
	uint8_t hash[TOKEN_HASH_BYTES];
};

struct api_tokens {
	struct api_token *list; // NULL: none
	unsigned n;
};

// Lines "role sha256-hex name", empty ones and comments (#). 0, or -EINVAL or -ENOMEM with error.
int api_tokens_parse(struct api_tokens *t, const char *text, char *error, size_t error_bytes);
void api_tokens_done(struct api_tokens *t); // accepts all zero

// The token whose hash secret (n bytes) has. Takes as long whichever it is, or none (NULL).
const struct api_token *api_tokens_find(const struct api_tokens *t, const char *secret, size_t n);

// The file, whole, as text; is_secret: it must be root's or ours and not readable by others. To be freed. 0,
// or -errno with error, which begins with what.
int api_read_file(const char *what, const char *path, bool is_secret, char **ret, char *error,
		  size_t error_bytes);

#endif
