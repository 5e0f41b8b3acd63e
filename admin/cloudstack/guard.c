// SPDX-License-Identifier: Apache-2.0
// vgpu-admin cloudstack libvirt-hook: what libvirt runs at each step of a domain's life. Before it starts:
// lets no domain through that names a vGPU and has none. When it has ended: the vGPU is free again. Nowhere
// else may this fail: libvirt kills a running guest for it. A hook must not ask libvirt anything.
#include <string.h>
#include <unistd.h>

#include "admin/call.h"
#include "admin/cloudstack/domain.h"
#include "admin/cloudstack/hooks.h"
#include "admin/cloudstack/slots.h"
#include "admin/cloudstack/stub_unit.h"
#include "admin/text.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define GUARD_S	  10
#define RELEASE_S 5

enum { OBJECT, OPERATION };

static int refuse_slot(const struct domain *d, const struct slot *slot)
{
	cleanup_free char *name = text_clean(slot->name);

	if (!slot->vm[0])
		return hook_refuse(
		    "the vGPU %s was not prepared: it is free, so the agent's XML hook did not run or "
		    "failed; its log says why",
		    slot->vgpu);
	if (strcmp(slot->vm, d->uuid) == 0)
		return hook_refuse(
		    "the vGPU %s was not prepared: it is reserved for this VM, but the agent's XML hook "
		    "did not finish; its log says why",
		    slot->vgpu);
	return hook_refuse("the vGPU %s was not prepared: it is that of the VM %s (%s)", slot->vgpu, name,
			   slot->vm);
}

// Real mediated devices are none of our business, whether the mediator is up or not.
static bool are_all_real(const struct domain *d)
{
	bool real = d->n_sockets == 0;

	for (size_t i = 0; i < d->n_mdevs && real; i++) {
		cleanup_free char *path = text_print("/sys/bus/mdev/devices/%s", d->mdevs[i].uuid);

		real = access(path, F_OK) == 0;
	}
	return real;
}

static int check_with_mediator(struct admin_call *c, const struct domain *d)
{
	struct slots s = { 0 };
	cleanup_free char *why = NULL;
	const struct slot *left = NULL;
	int status = ADMIN_OK;

	if (!slots_list(&s, c, clock_now_ns() + GUARD_S * NSEC_PER_SEC, &why)) {
		if (!are_all_real(d))
			status = hook_refuse("whether the VM's vGPU is prepared cannot be told: %s", why);
		slots_done(&s);
		return status;
	}
	for (size_t i = 0; i < d->n_mdevs && !left; i++)
		left = slots_find(&s, d->mdevs[i].uuid);
	if (left)
		status = refuse_slot(d, left);
	else if (!slots_are_of(&s, d, &why))
		status = hook_refuse("%s", why);
	slots_done(&s);
	return status;
}

static int check(struct admin_call *c, const struct domain *d)
{
	if (d->strange)
		return hook_refuse("%s", d->strange);
	if (d->host_bridge)
		return hook_refuse(
		    "a hostdev is the PCI device 0000:00:00.0: CloudStack takes a vGPU for a PCI device "
		    "(type of the GPU device: MDEV)");
	return domain_concerns_us(d) ? check_with_mediator(c, d) : ADMIN_OK;
}

// False: something of the VM's is still its own, by an operator's word or since that failed. True also when
// nobody could be asked.
static bool release_slots(struct admin_call *c, const struct domain *d)
{
	struct slots s = { 0 };
	cleanup_free char *why = NULL;
	bool all = true;

	if (!slots_list(&s, c, clock_now_ns() + RELEASE_S * NSEC_PER_SEC, &why))
		hook_refuse("the vGPU of %s is not released before its stub's end is seen: %s", d->uuid, why);
	for (size_t i = 0; i < s.n; i++) {
		cleanup_free char *failed = NULL;
		bool kept = false;

		if (strcmp(s.slot[i].vm, d->uuid) != 0)
			continue;
		if (!slots_release(&s, s.slot[i].vgpu, d->uuid, &kept, &failed))
			hook_refuse("the vGPU of %s is not released: %s", d->uuid, failed);
		all &= !failed && !kept;
	}
	slots_done(&s);
	return all;
}

// The next mediator frees what no stub is connected for, so the stub ends even if there is none now.
static void release(struct admin_call *c, const struct domain *d)
{
	if (!domain_concerns_us(d) || !d->uuid[0] || !release_slots(c, d))
		return;
	for (size_t i = 0; i < d->n_sockets && !d->strange; i++)
		stub_unit_stop(d->uuid, d->sockets[i]);
}

int cloudstack_libvirt_hook(struct admin_call *c)
{
	const char *operation = c->argument[OPERATION];
	bool prepares = strcmp(operation, "prepare") == 0;
	cleanup_free char *xml = NULL, *why = NULL;
	struct domain *d;
	size_t len = 0;
	int status = ADMIN_OK;

	if (!prepares && strcmp(operation, "release") != 0 && strcmp(operation, "stopped") != 0)
		return ADMIN_OK;
	xml = hook_input(DOMAIN_MOST_LIVE, &len);
	d = xml ? domain_read(xml, len, DOMAIN_MOST_LIVE, &why) : NULL;
	if (!d)
		return prepares ? hook_refuse("%s", why ? why : "stdin cannot be read") : ADMIN_OK;
	if (prepares)
		status = check(c, d);
	else
		release(c, d);
	domain_free(d);
	return status;
}
