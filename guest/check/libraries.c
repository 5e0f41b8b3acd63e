// SPDX-License-Identifier: Apache-2.0
// Checks of what programs find by name: libcuda.so.1, libnvidia-ml.so.1, libvgpu.so.1, nvidia-smi; whether
// they are ours and of one version. Runs in vgpu-guest-check.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "guest/check/check.h"
#include "guest/check/files.h"
#include "guest/check/loader.h"
#include "guest/check/rules.h"

// How a library that is not ours got before ours, and so what to do.
static void next_for_other(const struct machine *m, const char *path, struct check_result *r)
{
	const char *list = m->root[0] ? NULL : getenv("LD_LIBRARY_PATH"), *name = strrchr(path, '/');
	int length = name ? (int)(name - path) : 0;

	if (list && rule_list_has(list, path, (size_t)length)) {
		const char *what = strstr(path, "/stubs/") ? ": what is there is only for linking"
				   : strstr(path, "/compat/")
				       ? ": what is there belongs to NVIDIA's kernel driver"
				       : ", or put " VGPU_LIBRARIES " before it";

		check_next(r, "take %.*s out of LD_LIBRARY_PATH%s", length, path, what);
	} else if (strstr(path, "/compat/") || strstr(path, "/stubs/")) {
		check_next(r, "take %.*s out of /etc/ld.so.conf.d and run ldconfig", length, path);
	} else {
		check_next(r, "dpkg -S %s says whose it is: remove that, apt install vgpu-guest, ldconfig",
			   path);
	}
}

static void check_library(struct machine *m, const char *name, enum check_version which,
			  struct check_result *r)
{
	char path[CHECK_PATH_BYTES];
	cleanup_free char *real = NULL;
	bool link;

	switch (loader_find(name, m->limit_s, path)) {
	case LOADER_NOT_FOUND:
		check_say(r, CHECK_FAILED, "programs find no %s: %s", name, path);
		check_next(r,
			   "apt install vgpu-guest (it names " VGPU_LIBRARIES " to the loader), or ldconfig");
		return;
	case LOADER_HANGS:
	case LOADER_DIES:
		check_say(r, CHECK_FAILED, "a program that loads %s hangs or dies", name);
		check_next(r, "ldconfig -p | grep %s, LD_LIBRARY_PATH and LD_PRELOAD say which that is",
			   name);
		return;
	case LOADER_FOUND: break;
	}
	real = realpath(path, NULL);
	link = real && strcmp(real, path) != 0;
	if (loader_version(path, m->versions[which])) {
		check_say(r, CHECK_OK, "programs load vgpu's, %s: %s%s%s", m->versions[which], path,
			  link ? " -> " : "", link ? real : "");
	} else {
		check_say(r, CHECK_FAILED, "programs load one that is not vgpu's: %s%s%s", path,
			  link ? " -> " : "", link ? real : "");
		next_for_other(m, path, r);
	}
}

void check_libcuda(struct machine *m, struct check_result *r)
{
	check_library(m, "libcuda.so.1", VERSION_LIBCUDA, r);
}

void check_libnvml(struct machine *m, struct check_result *r)
{
	check_library(m, "libnvidia-ml.so.1", VERSION_LIBNVML, r);
}

// For programs on our own interface, which move with the custom personality. Others need none.
void check_libvgpu(struct machine *m, struct check_result *r)
{
	char path[CHECK_PATH_BYTES];
	bool wanted = m->target_given && m->target == PERSONALITY_CUSTOM;

	if (loader_find("libvgpu.so.1", m->limit_s, path) == LOADER_FOUND) {
		loader_version(path, m->versions[VERSION_LIBVGPU]);
		check_say(r, CHECK_OK, "installed: %s", path);
		return;
	}
	check_say(r, wanted ? CHECK_FAILED : CHECK_OK, "libvgpu.so.1 is not installed%s",
		  wanted ? "" : "; only programs of vgpu's own interface need it");
	if (wanted)
		check_next(r, "apt install vgpu-libs of a version that has it, then ldconfig");
}

// ---- the cache, which is what services without an environment of their own go by ----

static bool cached(const struct machine *m, const void *cache, size_t bytes, const char *name,
		   char path[CHECK_PATH_BYTES], struct check_result *r)
{
	char below_root[2 * CHECK_PATH_BYTES], version[CHECK_VERSION_BYTES];
	bool ours_by_path = m->versions[VERSION_LIBCUDA][0]; // this environment is all right

	switch (rule_cache_first(cache, bytes, name, path, CHECK_PATH_BYTES)) {
	case RULE_CACHE_UNKNOWN:
		check_say(r, CHECK_NOT_DONE, "/etc/ld.so.cache is not of a kind that is known here");
		return false;
	case RULE_CACHE_NONE:
		check_say(r, ours_by_path ? CHECK_WARNING : CHECK_FAILED, "the loader's cache has no %s%s",
			  name, ours_by_path ? ": programs without this LD_LIBRARY_PATH find none" : "");
		check_next(r, "apt install vgpu-guest, or name " VGPU_LIBRARIES
			      " in /etc/ld.so.conf.d; then ldconfig");
		return false;
	case RULE_CACHE_FOUND: break;
	}
	snprintf(below_root, sizeof(below_root), "%s%s", m->root, path);
	if (loader_version(below_root, version))
		return true;
	check_say(r, ours_by_path ? CHECK_WARNING : CHECK_FAILED,
		  "first in the loader's cache for %s is %s, not vgpu's%s", name, path,
		  ours_by_path ? ": for programs without this LD_LIBRARY_PATH" : "");
	next_for_other(m, path, r);
	return false;
}

void check_loader_cache(struct machine *m, struct check_result *r)
{
	char cuda[CHECK_PATH_BYTES], nvml[CHECK_PATH_BYTES];
	size_t bytes = 0;
	cleanup_free char *cache = file_read(m, FILE_LARGE, &bytes, "/etc/ld.so.cache");

	if (!cache)
		check_say(r, CHECK_NOT_DONE, "there is no /etc/ld.so.cache");
	else if (cached(m, cache, bytes, "libcuda.so.1", cuda, r) &&
		 cached(m, cache, bytes, "libnvidia-ml.so.1", nvml, r))
		check_say(r, CHECK_OK, "first for both: vgpu's, %s", cuda);
}

// ---- nvidia-smi ----

static bool find_program(const struct machine *m, const char *name, char ret[CHECK_PATH_BYTES])
{
	const char *list = getenv("PATH");

	for (const char *p = list ? list : "/usr/bin"; *p; p += *p == ':') {
		size_t length = strcspn(p, ":");
		int n = snprintf(ret, CHECK_PATH_BYTES, "%s%.*s/%s", m->root, (int)length, p, name);

		p += length;
		if (length && n < CHECK_PATH_BYTES && !access(ret, X_OK))
			return true;
	}
	return false;
}

void check_smi(struct machine *m, struct check_result *r)
{
	char path[CHECK_PATH_BYTES];
	const char *shown = path + strlen(m->root);

	if (!find_program(m, "nvidia-smi", path)) {
		check_say(r, CHECK_WARNING, "there is no nvidia-smi in PATH");
		check_next(r, "apt install vgpu-guest, where something wants it");
	} else if (loader_version(path, m->versions[VERSION_SMI])) {
		check_say(r, CHECK_OK, "vgpu's, %s: %s", m->versions[VERSION_SMI], shown);
	} else {
		check_say(r, CHECK_WARNING, "%s is not vgpu's", shown);
		check_next(r, "dpkg -S %s says whose it is; vgpu's comes with vgpu-guest", shown);
	}
}

// ---- versions ----

void check_versions(struct machine *m, struct check_result *r)
{
	static const char *const names[N_VERSIONS] = { "libcuda", "libnvidia-ml", "libvgpu", "nvidia-smi",
						       "vgpu.ko (DKMS)" };
	unsigned found = 0;

	for (unsigned i = 0; i < N_VERSIONS; i++) {
		found += m->versions[i][0] != 0;
		if (!m->versions[i][0] || !strcmp(m->versions[i], VGPU_VERSION))
			continue;
		check_say(r, CHECK_WARNING, "%s is of version %s, vgpu-guest-check of " VGPU_VERSION,
			  names[i], m->versions[i]);
		check_next(r, "install vgpu-libs, vgpu-guest and vgpu-guest-dkms of one version, and restart "
			      "the programs");
		return;
	}
	if (found)
		check_say(r, CHECK_OK, "all of " VGPU_VERSION " that was found");
	else
		check_say(r, CHECK_NOT_DONE, "nothing of vgpu was found");
}
