// SPDX-License-Identifier: Apache-2.0
// See the header. Runs in vgpu-guest-check.
#include "guest/check/modprobe.h"

#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "guest/check/files.h"
#include "guest/check/rules.h"

static bool folder_refuses(const struct machine *m, const char *folder, const char *module,
			   char ret[CHECK_PATH_BYTES])
{
	struct file_names names = file_names(m, folder);
	bool found = false;

	for (unsigned i = 0; i < names.count && !found; i++) {
		size_t length = strlen(names.name[i]);
		cleanup_free char *text = NULL;

		if (length < 5 || strcmp(names.name[i] + length - 5, ".conf") != 0)
			continue;
		text = file_read(m, FILE_LARGE, NULL, "%s/%s", folder, names.name[i]);
		found = text && rule_modprobe_refuses(text, module);
		if (found)
			snprintf(ret, CHECK_PATH_BYTES, "%s/%s", folder, names.name[i]);
	}
	file_names_free(&names);
	return found;
}

bool modprobe_refuses(const struct machine *m, const char *module, char ret[CHECK_PATH_BYTES])
{
	static const char *const folders[] = { "/etc/modprobe.d", "/run/modprobe.d",
					       "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d",
					       "/lib/modprobe.d" };
	cleanup_free char *words = file_read(m, FILE_SMALL, NULL, "/proc/cmdline");

	if (words && rule_cmdline_refuses(words, module)) {
		snprintf(ret, CHECK_PATH_BYTES, "the kernel's command line");
		return true;
	}
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		if (folder_refuses(m, folders[i], module, ret))
			return true;
	return false;
}
