// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack on-start, on-stop: what the agent says of a VM's life. It says so also of a stop that
// failed, and not of every end. The journal gets a line on what the mediator thinks of that VM's vGPU. A stop
// gives back at once what was reserved for a start that never got to libvirt, whose hook would have done it,
// and ends the stub that waits for a QEMU.
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "admin/call.h"
#include "admin/cloudstack/hooks.h"
#include "admin/cloudstack/slots.h"
#include "admin/cloudstack/stub_unit.h"
#include "admin/text.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define HINT_S	    2
#define GIVE_BACK_S 5

static void give_back(struct slots *s, const struct slot *slot)
{
	cleanup_free char *why = NULL, *failed = NULL, *socket = NULL, *nvidia = NULL;
	bool kept;

	s->until_ns = clock_now_ns() + GIVE_BACK_S * NSEC_PER_SEC;
	socket = slots_reserve(s, slot->vgpu, slot->vm, slot->name, &nvidia, &why); // which tells it
	if (socket && slots_release(s, slot->vgpu, slot->vm, &kept, &failed) && !kept) {
		stub_unit_stop(slot->vm, socket);
		syslog(LOG_INFO | LOG_DAEMON,
		       "cloudstack: the vGPU %s was reserved for %s, which did not start", slot->vgpu,
		       slot->vm);
	}
}

static int hint(struct admin_call *c, const char *what, bool stopped)
{
	struct slots s = { 0 };
	cleanup_free char *why = NULL;

	slots_list(&s, c, clock_now_ns() + HINT_S * NSEC_PER_SEC, &why);
	for (size_t i = 0; i < s.n; i++) {
		cleanup_free char *name = text_clean(s.slot[i].name), *state = text_clean(s.slot[i].state);

		if (strcmp(s.slot[i].name, c->argument[0]) != 0 || !s.slot[i].vm[0])
			continue;
		syslog(LOG_INFO | LOG_DAEMON, "cloudstack %s %s: the mediator has its vGPU %s as '%s'", what,
		       name, s.slot[i].vgpu, state);
		if (stopped && strcmp(s.slot[i].state, "reserved") == 0) // no QEMU is connected
			give_back(&s, &s.slot[i]);
	}
	slots_done(&s);
	return ADMIN_OK;
}

int cloudstack_on_start(struct admin_call *c)
{
	return hint(c, "started", false);
}

int cloudstack_on_stop(struct admin_call *c)
{
	return hint(c, "stopped", true);
}
