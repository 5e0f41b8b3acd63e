// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack: what Apache CloudStack's KVM agent calls; docs/cloudstack.md.
#include "admin/cloudstack/discover.h"
#include "admin/commands.h"

static const struct admin_option discover_options[] = {
	{ "merge", "SCRIPT", NULL, TYPE_TEXT, NAMES_FILE, NULL,
	  "Add the GPUs that this discovery script (CloudStack's own) finds beside the mediator's. It is "
	  "left out "
	  "when it fails." },
	{ "store", "FILE", NULL, TYPE_TEXT, NAMES_FILE, NULL,
	  "The mediator's database (store.path), which is read when no mediator answers. Default: "
	  "/var/lib/vgpu/store.db." },
	{ 0 },
};

static const struct admin_action actions[] = {
	{ "discover",
	  "Prints the GPU and its vGPUs, with the instances that have them, as the agent's gpudiscovery.sh "
	  "does: "
	  "one line of JSON. Without a mediator only those in use.",
	  .options = discover_options, .run = cloudstack_discover },
	{ 0 },
};

static const char *const examples[] = {
	"cloudstack discover --merge /usr/share/cloudstack-common/scripts/vm/hypervisor/kvm/gpudiscovery.sh",
	"what the host's GPUs are, those of others included", NULL
};

const struct admin_command admin_command_cloudstack = {
	"cloudstack", "What the KVM agent of Apache CloudStack calls",
	"These are for scripts: they print what the agent takes, or nothing.", actions, examples
};
