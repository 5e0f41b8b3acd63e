// SPDX-License-Identifier: Apache-2.0
// What the examples share: a call that must succeed, a module from a file.
#ifndef VGPU_EXAMPLE_H
#define VGPU_EXAMPLE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <vgpu.h>

#define MUST(call) must(call, #call)

static inline void must(int result, const char *call)
{
	if (!result)
		return;
	fprintf(stderr, "%s: %s. %s\n", call, vgpu_error_text(result), vgpu_open_error());
	exit(1);
}

// Loads PTX from a file; what the compiler says of it goes to stderr.
static inline struct vgpu_module *load(struct vgpu *gpu, const char *path)
{
	struct vgpu_module *module;
	char *text = calloc(1, 1 << 20), log[4096];
	FILE *f = fopen(path, "rb");
	size_t bytes = f && text ? fread(text, 1, (1 << 20) - 1, f) : 0;
	int result;

	if (!bytes) {
		fprintf(stderr, "%s: cannot be read\n", path);
		exit(1);
	}
	fclose(f);
	result = vgpu_module_load(gpu, text, bytes + 1, NULL, log, sizeof(log), &module);
	if (result)
		fprintf(stderr, "%s: %s\n", path, log);
	must(result, "vgpu_module_load");
	free(text);
	return module;
}

#endif
