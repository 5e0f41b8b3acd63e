// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack on-start, on-stop: what the agent says of a VM's life. It says so also of a stop that
// failed, and not of every end. The journal gets a line on what the mediator thinks of that VM's vGPU. A stop
// gives back what was reserved for a start that never got to libvirt, whose hook would have done it: the VM's
// stub waits for a QEMU then, and nothing but the host's next start would end that.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "admin/call.h"
#include "admin/cloudstack/hooks.h"
#include "admin/cloudstack/slots.h"
#include "admin/cloudstack/stub_unit.h"
#include "admin/text.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define HINT_S	       2
#define GIVE_BACK_S    5
#define MOST_ARGUMENTS (256u << 10) // bytes of a process's that are looked at

// ---- whether a VM runs

static bool has_uuid(const char *pid, const char *vm, char *text)
{
	cleanup_free char *path = text_print("/proc/%s/cmdline", pid), *wanted = text_print("-uuid_%s", vm);
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0, len = strlen(wanted) + 1;
	ssize_t got;

	wanted[strlen("-uuid")] = 0; // as between arguments
	while (fd >= 0 && n < MOST_ARGUMENTS && (got = read(fd, text + n, MOST_ARGUMENTS - n)) > 0)
		n += (size_t)got;
	return memmem(text, n, wanted, len);
}

// Libvirt tells QEMU the VM's uuid. True also when that cannot be found out.
static bool has_qemu(const char *vm)
{
	cleanup_free char *text = text_memory(malloc(MOST_ARGUMENTS));
	const struct dirent *entry;
	bool found = false;
	DIR *proc = opendir("/proc");

	if (!proc)
		return true;
	while (!found && (entry = readdir(proc)) != NULL) {
		if (strspn(entry->d_name, "0123456789") == strlen(entry->d_name))
			found = has_uuid(entry->d_name, vm, text);
	}
	closedir(proc);
	return found;
}

// ---- what is said, and done

static void give_back(struct slots *s, const struct slot *slot)
{
	cleanup_free char *why = NULL, *failed = NULL, *socket = NULL;
	bool kept;

	s->until_ns = clock_now_ns() + GIVE_BACK_S * NSEC_PER_SEC;
	socket = slots_reserve(s, slot->vgpu, slot->vm, slot->name, &why); // which tells it
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
		if (stopped && strcmp(s.slot[i].state, "running") != 0 && !has_qemu(s.slot[i].vm))
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
