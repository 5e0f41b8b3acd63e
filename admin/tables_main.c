// SPDX-License-Identifier: Apache-2.0
// vgpu-admin-tables, which is built and not installed: writes what is made from the table of commands, the
// manual page (around a template on stdin) and bash's completion.
#include <stdio.h>
#include <string.h>

#include "admin/generate.h"

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*generate)(FILE *out);
	} kinds[] = {
		{ "man", generate_manual },
		{ "bash", generate_bash },
		{ "routes", generate_routes },
	};

	for (size_t i = 0; argc == 2 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(argv[1], kinds[i].name) == 0) {
			kinds[i].generate(stdout);
			return fflush(stdout) == 0 ? 0 : 1;
		}
	}
	fputs("usage: vgpu-admin-tables man|bash|routes\n", stderr);
	return 2;
}
