// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack: this host's vGPUs as CloudStack's GPU devices. What each does is in
// admin/cloudstack.
#include "admin/cloudstack/cloudstack.h"
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
static const struct admin_argument host_argument[] = {
	{ "HOST", NULL, true, NAMES_NONE, NULL,
	  "Its name, address or id in CloudStack. Without it: this one (host of the configuration)." },
	{ 0 },
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
	{ 0 },
};

static const char *const examples[] = { "cloudstack setup --dry-run",
					"what CloudStack lacks",
					"cloudstack usage --from=2026-11-01 --to=2026-12-01 --csv",
					"November, for billing",
					"cloudstack reconcile",
					"after a fault",
					NULL };

const struct admin_command admin_command_cloudstack = {
	"cloudstack", "vGPUs as GPU devices of Apache CloudStack",
	"Asks CloudStack's API, with the keys in " CONFIG_PATH ", and the mediator.", actions, examples
};
