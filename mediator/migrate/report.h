// SPDX-License-Identifier: Apache-2.0
// The report of vgpu-guest-check --json, as a VM's operator hands it over. A guest made it, so it is input of
// a tenant: bounded, checked as a whole, and never more than a reason to move that VM itself. Pure; used by
// mediator/migrate/preflight.c and tests/unit/mediator/test_migrate_report.c.
#ifndef VGPU_MEDIATOR_MIGRATE_REPORT_H
#define VGPU_MEDIATOR_MIGRATE_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mediator/inventory/uuid.h"

#define MIGRATE_REPORT_MOST   12288 // bytes; fits into a request of the control socket with its quotes escaped
#define MIGRATE_CHECKS_MOST   128
#define MIGRATE_MACHINE_BYTES 17
#define MIGRATE_TEXT_BYTES    512

struct migrate_report {
	int64_t at_s;
	char vm[VM_UUID_BYTES];		     // "": it does not say (not made by root)
	char machine[MIGRATE_MACHINE_BYTES]; // tells machines apart; "": it does not say
	char target[16];		     // personality that it was made for
	bool ready;			     // nothing failed, and the self-test ran
	char why[MIGRATE_TEXT_BYTES];	     // why it is not; printable
};

// 0, or -EINVAL with why it is not a report (why has MIGRATE_TEXT_BYTES).
int migrate_report_parse(const char *text, size_t len, struct migrate_report *ret, char *why);

// NULL, or why it does not count for this VM now: printable, in buffer. age_s: how old it may be.
const char *migrate_report_objection(const struct migrate_report *r, const char *vm, const char *target,
				     int64_t now_s, int64_t age_s, char buffer[static MIGRATE_TEXT_BYTES]);

#endif
