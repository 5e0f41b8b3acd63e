// SPDX-License-Identifier: Apache-2.0
// What the kernel and another discovery script say; see sources.h. Runs in vgpu-admin.
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/cloudstack/listing.h"
#include "admin/cloudstack/program.h"
#include "admin/cloudstack/sources.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define SCRIPT_NS    (10 * NSEC_PER_SEC)
#define SCRIPT_BYTES (256u << 10)

// A script that starts this program again, since somebody named the wrong one, is not to go on for ever.
#define WITHIN "VGPU_DISCOVERING"

// ---- the kernel ----

static int read_numa(const char *folder)
{
	char path[PATH_MAX + 16];
	int node = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/numa_node", folder);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fscanf(f, "%d", &node) != 1 || node < 0)
		node = -1;
	fclose(f);
	return node;
}

const char *source_kernel(const char *pci, int *ret_numa, char *root, size_t n)
{
	unsigned domain, bus, device, function;
	char folder[64], real[PATH_MAX];
	const char *port, *end;

	*ret_numa = -1;
	if (sscanf(pci, "%x:%x:%x.%x", &domain, &bus, &device, &function) != 4)
		return NULL;
	snprintf(folder, sizeof(folder), "/sys/bus/pci/devices/%04x:%02x:%02x.%x", domain, bus, device,
		 function);
	if (!realpath(folder, real))
		return NULL;
	*ret_numa = read_numa(real);
	// .../pci0000:3a/0000:3a:01.0/.../0000:3b:00.0
	port = strstr(real, "/pci");
	port = port ? strchr(port + 1, '/') : NULL;
	end = port ? strchr(port + 1, '/') : NULL;
	if (!end || (size_t)(end - port) > n)
		return NULL; // on the root bus itself
	snprintf(root, n, "%.*s", (int)(end - port - 1), port + 1);
	return root;
}

// ---- the script ----

json_t *source_script(const char *path)
{
	static const char *const within[] = { WITHIN "=1", NULL };
	char *argv[] = { (char *)path, NULL };
	const struct program script = { argv, within, false, SCRIPT_NS, SCRIPT_BYTES };
	cleanup_free char *text = NULL;
	size_t n;

	if (getenv(WITHIN) || program_run(&script, &text, &n) != 0)
		return NULL;
	return json_loadb(text, n, 0, NULL);
}
