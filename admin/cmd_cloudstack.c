// SPDX-License-Identifier: Apache-2.0
<<<<<<< HEAD
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
=======
// vgpu-admin cloudstack: what a KVM host of CloudStack runs, as hooks of its agent and of libvirt.
#include "admin/cloudstack/hooks.h"
#include "admin/commands.h"

static const struct admin_argument hook_arguments[] = {
	{ "OBJECT", NULL, false, NAMES_NONE, NULL, "The domain's name, as libvirt gives it." },
	{ "OPERATION", NULL, false, NAMES_NONE, NULL, "prepare, release, stopped; others do nothing." },
	{ "SUBOP", NULL, true, NAMES_NONE, NULL, "As libvirt gives it; it does not matter." },
	{ "EXTRA", NULL, true, NAMES_NONE, NULL, "As libvirt gives it; it does not matter." },
	{ 0 },
};
static const struct admin_argument name_argument[] = {
	{ "NAME", NULL, false, NAMES_NONE, NULL, "The instance's name, i-2-33-VM." }, { 0 }
};

static const struct admin_action actions[] = {
	{ "transform",
	  "Reads a domain's XML and prints it with vGPUs in place of the mediated devices that are ours.",
	  .run = cloudstack_transform },
	{ "libvirt-hook",
	  "For libvirt's hook, with the domain's XML as input: refuses to start a VM whose vGPU was not "
	  "prepared, "
	  "and releases it at its end.",
	  .arguments = hook_arguments, .run = cloudstack_libvirt_hook },
	{ "on-start", "For the agent's hook: notes in the journal that a VM was started.",
	  .arguments = name_argument, .run = cloudstack_on_start },
	{ "on-stop", "For the agent's hook: notes in the journal that a VM was stopped.",
	  .arguments = name_argument, .run = cloudstack_on_stop },
	{ 0 },
};

static const char *const examples[] = { "cloudstack transform <domain.xml",
					"the domain as libvirt gets it from the agent's hook", NULL };

const struct admin_command admin_command_cloudstack = {
	"cloudstack", "Hooks for a KVM host of CloudStack",
	"transform exits with 1 and prints nothing when anything is not as expected; the agent then goes on "
	"with the "
	"XML as it was, which libvirt refuses. VGPU_CLOUDSTACK_EMULATOR in its environment is a QEMU that is "
	"put in "
	"place of the domain's.",
	actions, examples
>>>>>>> cs-domain
};
