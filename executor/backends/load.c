// SPDX-License-Identifier: Apache-2.0
// See the header.
#include "executor/backends/load.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/beside.h"

bool backend_name_is_good(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");

	return n && n < 16 && !name[n];
}

static int find_module(const char *name, const char *directory, char *ret, size_t n)
{
	char installed[160], built[128];
	const char *places[] = { installed, built, NULL };

	if (directory)
		return snprintf(ret, n, "%s/vgpu-backend-%s.so", directory, name) < (int)n ? 0
											   : -ENAMETOOLONG;
	snprintf(installed, sizeof(installed), "../../" VGPU_LIBDIR "/vgpu/vgpu-backend-%s.so", name);
	snprintf(built, sizeof(built), "../executor/backends/%s/vgpu-backend-%s.so", name, name);
	return beside_find(places, ret, n);
}

const struct backend_ops *backend_load(const char *name, const char *directory, char *why, size_t why_bytes)
{
	const struct backend_ops *ops;
	backend_entry entry;
	char path[4096];
	void *module;

	if (find_module(name, directory, path, sizeof(path)) < 0) {
		snprintf(why, why_bytes, "no module vgpu-backend-%s.so is here", name);
		return NULL;
	}
	module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	entry = module ? (backend_entry)dlsym(module, BACKEND_ENTRY_SYMBOL) : NULL;
	if (!entry) {
		snprintf(why, why_bytes, "%s", dlerror());
		return NULL;
	}
	ops = entry();
	if (ops->version != BACKEND_VERSION || ops->size != sizeof(*ops)) {
		snprintf(why, why_bytes, "backend has version %u and size %u, this program wants %u and %zu",
			 ops->version, ops->size, BACKEND_VERSION, sizeof(*ops));
		return NULL;
	}
	return ops;
}
