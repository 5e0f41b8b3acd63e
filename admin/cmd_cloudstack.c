// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack: this host's vGPUs as CloudStack's GPU devices: what its agent and libvirt call, and
// what asks its API. What each does is in admin/cloudstack; docs/cloudstack.md.
#include "admin/cloudstack/cloudstack.h"
#include "admin/cloudstack/discover.h"
#include "admin/cloudstack/hooks.h"
#include "admin/cloudstack/install.h"
#include "admin/commands.h"

static const struct admin_option config_option[] = { CLOUDSTACK_CONFIG_OPTION, { 0 } };
static const struct admin_option change_options[] = {
	{ "dry-run", NULL, NULL, TYPE_FLAG, NAMES_NONE, NULL, "Only say what would be done." },
	CLOUDSTACK_CONFIG_OPTION,
	{ 0 },
};
static const struct admin_option drain_options[] = {
	{ "dry-run", NULL, NULL, TYPE_FLAG, NAMES_NONE, NULL, "Only list what has to be stopped." },
	{ "forced", NULL, NULL, TYPE_FLAG, NAMES_NONE, NULL, "Power VMs off that do not end by themselves." },
	CLOUDSTACK_CONFIG_OPTION,
	{ 0 },
};
static const struct admin_option usage_options[] = {
	{ "from", "TIME", NULL, TYPE_AT, NAMES_NONE, NULL,
	  "Not before: -24h, 2026-11-01, '2026-11-01 10:00' (UTC); whole hours. Default: all that is "
	  "recorded." },
	{ "to", "TIME", NULL, TYPE_AT, NAMES_NONE, NULL, "Not from then on. Default: now." },
	{ "csv", NULL, NULL, TYPE_FLAG, NAMES_NONE, NULL, "Comma-separated, with a line of titles." },
	CLOUDSTACK_CONFIG_OPTION,
	{ 0 },
};
static const struct admin_option discover_options[] = {
	{ "merge", "SCRIPT", NULL, TYPE_TEXT, NAMES_FILE, NULL,
	  "Add the GPUs that this discovery script (CloudStack's own) finds beside the mediator's. It is "
	  "left out when it fails." },
	{ "store", "FILE", NULL, TYPE_TEXT, NAMES_FILE, NULL,
	  "The mediator's database (store.path), which is read when no mediator answers. Default: "
	  "/var/lib/vgpu/store.db." },
	{ 0 },
};
#define ROOT_OPTION(help) { "root", "DIR", NULL, TYPE_TEXT, NAMES_FILE, NULL, help }
static const struct admin_option install_options[] = {
	{ "dry-run", NULL, NULL, TYPE_FLAG, NAMES_NONE, NULL,
	  "Only show what would be written and what is left to do." },
	{ "replace", NULL, NULL, TYPE_FLAG, NAMES_NONE, NULL,
	  "Move what others have put in the way to NAME.before-vgpu, from where uninstall puts it back." },
	ROOT_OPTION("Write below this folder, for an image. Default: /."),
	{ "from", "DIR", NULL, TYPE_TEXT, NAMES_FILE, NULL,
	  "Where the files come from. Default: " CLOUDSTACK_FILES " below the root." },
	{ 0 },
};
static const struct admin_option uninstall_options[] = {
	{ "dry-run", NULL, NULL, TYPE_FLAG, NAMES_NONE, NULL, "Only show what would be removed." },
	{ "force", NULL, NULL, TYPE_FLAG, NAMES_NONE, NULL, "Also while VMs have vGPUs." },
	ROOT_OPTION("Look below this folder. Default: /."),
	{ 0 },
};
static const struct admin_option doctor_options[] = {
	ROOT_OPTION("Look at the files and programs below this folder. Default: /."),
	CLOUDSTACK_CONFIG_OPTION,
	{ 0 },
};
static const struct admin_argument host_argument[] = {
	{ "HOST", NULL, true, NAMES_NONE, NULL,
	  "Its name, address or id in CloudStack. Without it: this one (host of the configuration)." },
	{ 0 },
};
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
	{ "status", "Shows CloudStack's hosts and, of this host, its devices beside the mediator's vGPUs.",
	  .options = config_option, .run = cloudstack_status },
	{ "setup",
	  "Makes the card, our profiles and their service offerings known. What is there stays as it is.",
	  .options = change_options, .run = cloudstack_setup },
	{ "usage", "Shows what each VM used, with its account, domain and offering, for billing.",
	  .options = usage_options, .run = cloudstack_usage },
	{ "drain", "Stops the VMs that hold vGPUs of a host, before it is serviced.",
	  .arguments = host_argument, .options = drain_options, .run = cloudstack_drain },
	{ "prune",
	  "Deletes this host's devices in the state Error that are no vGPUs of the mediator any more.",
	  .options = change_options, .run = cloudstack_prune },
	{ "reconcile",
	  "Says where CloudStack and the mediator differ about who holds what, and has it look again.",
	  .options = change_options, .run = cloudstack_reconcile },
	{ "install",
	  "Puts the hooks, the discovery script and templates of settings into place on this host.",
	  .options = install_options, .run = cloudstack_install },
	{ "uninstall", "Removes what install wrote, unless it was changed since.",
	  .options = uninstall_options, .run = cloudstack_uninstall },
	{ "doctor", "Checks all that a VM's vGPU needs on this host, and says what to do where it fails.",
	  .options = doctor_options, .run = cloudstack_doctor },
	{ "discover",
	  "Prints the GPU and its vGPUs, with the instances that have them, as the agent's gpudiscovery.sh "
	  "does: one line of JSON. Without a mediator only those in use.",
	  .options = discover_options, .run = cloudstack_discover },
	{ "transform",
	  "Reads a domain's XML and prints it with vGPUs in place of the mediated devices that are ours.",
	  .run = cloudstack_transform },
	{ "libvirt-hook",
	  "For libvirt's hook, with the domain's XML as input: refuses to start a VM whose vGPU was not "
	  "prepared, and releases it at its end.",
	  .arguments = hook_arguments, .run = cloudstack_libvirt_hook },
	{ "on-start", "For the agent's hook: notes in the journal that a VM was started.",
	  .arguments = name_argument, .run = cloudstack_on_start },
	{ "on-stop", "For the agent's hook: gives back the vGPU of a VM that never started.",
	  .arguments = name_argument, .run = cloudstack_on_stop },
	{ 0 },
};

static const char *const examples[] = {
	"cloudstack install --dry-run",
	"what would be written where",
	"cloudstack doctor",
	"whether this host is ready, and what is missing",
	"cloudstack setup --dry-run",
	"what CloudStack lacks",
	"cloudstack usage --from=2026-11-01 --to=2026-12-01 --csv",
	"November, for billing",
	"cloudstack reconcile",
	"after a fault",
	"cloudstack discover --merge /usr/share/cloudstack-common/scripts/vm/hypervisor/kvm/gpudiscovery.sh",
	"what the host's GPUs are, those of others included",
	"cloudstack transform <domain.xml",
	"the domain as libvirt gets it from the agent's hook",
	NULL
};

const struct admin_command admin_command_cloudstack = {
	"cloudstack", "vGPUs as GPU devices of Apache CloudStack",
	"status, setup, usage, drain, prune and reconcile ask CloudStack's API, with the keys in " CONFIG_PATH
	", and the mediator. install, uninstall and doctor work on this host; doctor exits with 1 when a "
	"check failed. The others are for scripts: they print what the agent or libvirt takes, or "
	"nothing. transform exits with 1 and prints nothing when anything is not as expected; the agent then "
	"goes on with the XML as it was, which libvirt refuses. VGPU_CLOUDSTACK_EMULATOR in its environment "
	"is "
	"a QEMU that is put in place of the domain's.",
	actions, examples
};
