// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack on-start, on-stop: what the agent says of a VM's life. It says so also of a stop that
// failed, and not of every end, so nothing is decided by it: the journal gets a line on what the mediator
// thinks of that VM's vGPU, for whoever has to find out why the two disagree.
#include <string.h>
#include <syslog.h>

#include "admin/call.h"
#include "admin/cloudstack/hooks.h"
#include "admin/cloudstack/slots.h"
#include "admin/text.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define HINT_S 2

static int hint(struct admin_call *c, const char *what)
{
	struct slots s = { 0 };
	cleanup_free char *why = NULL;

	slots_list(&s, c, clock_now_ns() + HINT_S * NSEC_PER_SEC, &why);
	for (size_t i = 0; i < s.n; i++) {
		cleanup_free char *name = text_clean(s.slot[i].name), *state = text_clean(s.slot[i].state);

		if (strcmp(s.slot[i].name, c->argument[0]) == 0)
			syslog(LOG_INFO | LOG_DAEMON,
			       "cloudstack %s %s: the mediator has its vGPU %s as '%s'", what, name,
			       s.slot[i].vgpu, state);
	}
	slots_done(&s);
	return ADMIN_OK;
}

int cloudstack_on_start(struct admin_call *c)
{
	return hint(c, "started");
}

int cloudstack_on_stop(struct admin_call *c)
{
	return hint(c, "stopped");
}
