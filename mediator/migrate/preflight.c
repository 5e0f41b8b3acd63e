// SPDX-License-Identifier: Apache-2.0
// Whether a VM may be moved: what its host says, looked at anew each time, and what its guest said. Runs in
// the mediator's loop.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "common/clock.h"
#include "common/log.h"
#include "mediator/mediator.h"
#include "mediator/migrate/migrate.h"
#include "mediator/session/session.h"
#include "mediator/tenant.h"

#define SECOND_SOCKET ".nvidia" // behind the stub's, as vgpu-stub names it

__attribute__((format(printf, 4, 5))) static bool say(char *why, char *next, const char *step,
						      const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, MIGRATE_WHY_BYTES, format, args);
	va_end(args);
	snprintf(next, MIGRATE_WHY_BYTES, "%s", step);
	return false;
}

static bool path_fits(struct mediator *m, const char *vm, char *why, char *next)
{
	char path[SLOT_PATH_BYTES];

	slot_stub_path(m, vm, path);
	if (strlen(path) + strlen(SECOND_SOCKET) < sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return true;
	return say(why, next, "shorten the setting slot.stub_socket, and the stub's --socket with it",
		   "the path of the second device's socket would be too long: %.200s%s", path, SECOND_SOCKET);
}

static bool host_may(struct mediator *m, const struct vm *vm, char *why, char *next)
{
	const struct tenant *t = vm->tenant;
	uint64_t left;

	if (!vm->slot)
		return say(why, next, "vgpu-admin slot assign", "the VM has no vGPU");
	if (!t)
		return say(why, next, "the mediator's log says more", "its tenant could not be made");
	if (strikes_keep_out(&t->watch.book, clock_now_ns(), &left))
		return say(why, next, "vgpu-admin quarantine list", "the VM is in quarantine");
	if (session_vm_is_there(t) && !session_of_stub(t))
		return say(why, next, "update vgpu-stub on this host, then start the VM anew",
			   "its stub is of a version that knows no personalities");
	return !m->migrate.to_nvidia || path_fits(m, vm->uuid, why, next);
}

bool migrate_may_move(struct mediator *m, const struct migrate_vm *v, char *why, char *next)
{
	const struct vm *vm = vm_find(m, v->uuid);
	char step[MIGRATE_WHY_BYTES];

	why[0] = next[0] = 0;
	if (!vm)
		return say(why, next, "", "the VM is no longer known");
	if (!host_may(m, vm, why, next))
		return false;
	snprintf(step, sizeof(step),
		 "in the VM: vgpu-guest-check --json --for %s; here: vgpu-admin migrate preflight %s "
		 "--report=FILE",
		 migrate_target(&m->migrate), v->uuid);
	if (v->report == MIGRATE_REPORT_NONE)
		return say(why, next, step, "there is no report of its guest");
	if (v->report == MIGRATE_REPORT_FAILED)
		return say(why, next, step, "%s", v->report_why);
	return true;
}

// ---- the guest's report ----

static int refuse(char *why, int error, const char *text)
{
	snprintf(why, MIGRATE_WHY_BYTES, "%s", text);
	return error;
}

static struct migrate_vm *same_machine(struct mediator *m, const struct migrate_vm *v, const char *machine)
{
	struct migrate_vm *other;

	TAILQ_FOREACH (other, &m->migrate.vms, link)
		if (other != v && machine[0] && strcmp(other->machine, machine) == 0)
			break;
	return other;
}

static int find(struct mediator *m, const char *vm, struct migrate_vm **ret, char *why)
{
	if (!migrate_goes_on(&m->migrate))
		return refuse(why, -EBUSY, "there is no run that goes on: migrate.plan begins one");
	*ret = migrate_vm_find(m, vm);
	if (*ret)
		return 0;
	snprintf(why, MIGRATE_WHY_BYTES, "the VM '%.40s' is not in the run", vm);
	return -ENOENT;
}

int migrate_take_report(struct mediator *m, const char *vm, const char *text, size_t len, char *why)
{
	int64_t age_s = (int64_t)(m->settings->migrate_report_age / NSEC_PER_SEC);
	char buffer[MIGRATE_TEXT_BYTES];
	struct migrate_report r;
	const struct migrate_vm *other;
	const char *objection;
	struct migrate_vm *v;
	int e = migrate_report_parse(text, len, &r, why);

	if (e < 0)
		return e;
	if (!vm && !r.vm[0])
		return refuse(
		    why, -EINVAL,
		    "the report does not say whose it is (run vgpu-guest-check as root): say the VM");
	e = find(m, vm ? vm : r.vm, &v, why);
	if (e < 0)
		return e;
	objection = migrate_report_objection(&r, v->uuid, migrate_target(&m->migrate), migrate_now_s(), age_s,
					     buffer);
	if (objection)
		return refuse(why, -EINVAL, objection);
	// Copies of a machine may have its id: then only the uuid tells them apart.
	other = r.vm[0] ? NULL : same_machine(m, v, r.machine);
	if (other) {
		snprintf(why, MIGRATE_WHY_BYTES,
			 "the report is of the machine, or a copy of it, whose report VM %s has: run "
			 "vgpu-guest-check as root, so that it says whose it is",
			 other->uuid);
		return -EINVAL;
	}
	v->report = r.ready ? MIGRATE_REPORT_PASSED : MIGRATE_REPORT_FAILED;
	v->report_s = r.at_s;
	snprintf(v->machine, sizeof(v->machine), "%s", r.machine);
	snprintf(v->report_why, sizeof(v->report_why), "%s", r.why);
	migrate_tell_vm(m, v);
	return 0;
}

int migrate_waive_report(struct mediator *m, const char *vm, const char *reason, char *why)
{
	struct migrate_vm *v;
	int e = find(m, vm, &v, why);

	if (e < 0)
		return e;
	if (!reason[0] || strlen(reason) > 200)
		return refuse(why, -EINVAL, "without_report: a reason of 1 to 200 bytes");
	v->report = MIGRATE_REPORT_WAIVED;
	v->report_s = migrate_now_s();
	log_sanitize(v->report_why, sizeof(v->report_why), reason, strlen(reason));
	migrate_tell_vm(m, v);
	return 0;
}
