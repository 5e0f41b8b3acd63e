// SPDX-License-Identifier: Apache-2.0
// vgpu-admin backup: the mediator's records, copied, and how they are.
#include "admin/commands.h"

static const struct view_column columns[] = {
	{ "Database", "path", FORMAT_TEXT },
	{ "State", "state", FORMAT_STATE },
	{ "Why", "text", FORMAT_TEXT },
	{ "Waiting to be written", "waiting", FORMAT_COUNT },
	{ "Transactions", "transactions", FORMAT_COUNT },
	{ "Failures", "failures", FORMAT_COUNT },
	{ "Refused", "refused", FORMAT_COUNT },
	{ "Longest commit", "longest_commit_ns", FORMAT_NS },
	{ 0 },
};
static const struct view view = { .columns = columns };

static const struct admin_argument file_argument[] = {
	{ "FILE", "path", false, NAMES_FILE, NULL,
	  "The new file, which must not exist: an absolute path on the mediator's host. The mediator's user "
	  "writes it." },
	{ 0 },
};

static const struct admin_action actions[] = {
	{ "status", "Shows whether what is to be kept is kept.", "GET", "/v1/store", .view = &view },
	{ "create", "Copies the database to a new file while the mediator runs.", "POST", "/v1/store/backup",
	  file_argument, .done = "The backup %s is complete." },
	{ 0 },
};

static const char *const examples[] = { "backup create /var/backups/vgpu.db", "copy the database", NULL };

const struct admin_command admin_command_backup = {
	"backup", "The database of settings, usage and audit",
	"Restoring is done while the mediator is stopped: vgpu-mediator --restore-store.", actions, examples
};
