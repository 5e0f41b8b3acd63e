// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack discover: what CloudStack's KVM agent runs to learn of a host's GPUs. Prints the list
// as one line and nothing else, or nothing: what the agent cannot read it takes for a host without GPUs, and
// what is left out of a list for broken. Changes nothing.
#include "admin/cloudstack/discover.h"

#include <errno.h>
#include <stdlib.h>

#include "admin/call.h"
#include "admin/cloudstack/listing.h"
#include "admin/cloudstack/sources.h"
#include "common/cleanup.h"

#define STORE_DEFAULT "/var/lib/vgpu/store.db"

// Without a mediator no new VM can start here: only what is in use is listed then, so that its owner is
// known.
static int find(struct admin_call *c, json_t *gpus)
{
	const char *store = admin_option(c, "store");
	char why[SOURCE_WHY_BYTES] = "", also[SOURCE_WHY_BYTES] = "";
	int r;

	if (!store)
		store = STORE_DEFAULT;
	r = source_mediator(c, store, gpus, why);
	if (r != -EIO || source_store(store, gpus, also) == 0)
		also[0] = 0;
	if (r == -EIO && json_array_size(gpus))
		r = 0;
	if (r < 0)
		admin_complain("%s%s%s", why, also[0] ? "\n" : "", also);
	return r;
}

int cloudstack_discover(struct admin_call *c)
{
	const char *script = admin_option(c, "merge");
	cleanup_free char *line = NULL;
	json_t *gpus, *found = NULL;
	int r;

	if (!admin_connect(c))
		return ADMIN_USAGE;
	gpus = json_array();
	r = find(c, gpus);
	if (r == 0 && script)
		found = source_script(script);
	if (found)
		listing_merge(gpus, found);
	if (r == 0)
		line = listing_print(gpus);
	if (r == 0 && !line)
		admin_complain("the list would be longer than %u bytes, which the agent does not take",
			       LISTING_MOST_BYTES);
	if (line)
		fprintf(c->output.out, "%s\n", line);
	json_decref(found);
	json_decref(gpus);
	return line ? ADMIN_OK : ADMIN_REFUSED;
}
