// SPDX-License-Identifier: Apache-2.0
// Tells kinds of program images apart; see the header. Called by libcuda in the tenant's program, by the cpu
// backend in the executor, and by vgpu-admin.
#include "image/image.h"

#include <stdbool.h>
#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_at(const char *text, size_t bytes, size_t i, const char *what)
{
	return i + 1 < bytes && text[i] == what[0] && text[i + 1] == what[1];
}

static bool is_ptx(const char *text, size_t bytes)
{
	size_t i = 0;

	while (i < bytes && text[i]) {
		if (is_blank(text[i])) {
			i++;
		} else if (is_at(text, bytes, i, "//")) {
			while (i < bytes && text[i] && text[i] != '\n')
				i++;
		} else if (is_at(text, bytes, i, "/*")) {
			for (i += 2; i < bytes && text[i] && !is_at(text, bytes, i, "*/"); i++)
				;
			if (i >= bytes || !text[i])
				return false;
			i += 2;
		} else {
			return text[i] == '.';
		}
	}
	return false;
}

enum image_kind image_kind(const void *image, size_t bytes)
{
	static const struct {
		char magic[5];
		enum image_kind kind;
	} kinds[] = {
		{ "\x50\xed\x55\xba", IMAGE_FATBIN },
		{ "\xb1\x43\x62\x46", IMAGE_WRAPPER },
		{ "\x7f"
		  "ELF",
		  IMAGE_ELF },
		{ "!<ar", IMAGE_ARCHIVE },
	};
	const char *p = image;

	// Byte by byte: a text may end before the fourth.
	for (size_t i = 0; i < 4; i++) {
		if (i >= bytes || !p[i])
			return IMAGE_NONE;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (memcmp(p, kinds[i].magic, 4) == 0)
			return kinds[i].kind;
	}
	return is_ptx(p, bytes) ? IMAGE_PTX : IMAGE_NONE;
}
