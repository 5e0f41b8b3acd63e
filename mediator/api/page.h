// SPDX-License-Identifier: Apache-2.0
// Files of the web page that are compiled in, and served as they are. Nothing in them is worth a token.
#ifndef VGPU_MEDIATOR_API_PAGE_H
#define VGPU_MEDIATOR_API_PAGE_H

#include <stddef.h>

struct api_page {
	const char *path, *type; // of the content
	const void *data;
	size_t bytes;
};

extern const struct api_page api_pages[]; // ended by one without a path

// NULL: there is none at that path.
const struct api_page *api_page_find(const char *path);

#endif
