// SPDX-License-Identifier: Apache-2.0
// See the header. The table is made of mediator/api/page/ by embed.py.
#include "mediator/api/page.h"

#include <string.h>

const struct api_page *api_page_find(const char *path)
{
	for (const struct api_page *p = api_pages; p->path; p++) {
		if (strcmp(p->path, path) == 0)
			return p;
	}
	return NULL;
}
